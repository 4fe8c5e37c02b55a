/**
 * Mentions: every name in a statement that the catalog must resolve before the statement can be judged. Reading a
 * parse tree yields mentions (read-statement.ts); resolving mentions against a catalog yields effects (reach.ts).
 * Names are exactly as the parser gives them; `schema` is absent when the text does not qualify.
 */
export type RelationUse =
  | 'read' | 'insert' | 'update' | 'delete' | 'truncate' | 'lock' | 'alter' | 'drop' | 'maintain';

/** Stored columns that a statement may read of a relation: those of its columns that are among the names. */
export interface ColumnReads {
  /** Every name in the statement that may be one of a column. */
  readonly names: ReadonlySet<string>;
  /** What is selected from just this relation: a column of it, or else a function of its whole row. */
  readonly selected: readonly string[];
}

export interface RelationMention {
  readonly catalog?: string;
  readonly schema?: string;
  readonly name: string;
  readonly use: RelationUse;
  /** Written columns for insert and update; undefined = unknown or all. */
  readonly columns?: readonly string[];
  /** Absent: it may read any column. */
  readonly reads?: ColumnReads;
  /** CASCADE was written (TRUNCATE, DROP). */
  readonly cascade?: boolean;
}

export interface FunctionMention {
  readonly schema?: string;
  readonly name: string;
  /** Number of arguments written; undefined when any overload may be meant (DDL that names a function). */
  readonly argCount?: number;
  readonly namedArgs?: readonly string[];
  /** One per argument: the string value of a constant argument, or null when it is computed. */
  readonly constants: readonly (string | null)[];
  /** `kind` call: it runs; reference: only named (a DDL such as CREATE TRIGGER … EXECUTE FUNCTION f()). */
  readonly kind: 'call' | 'reference';
  /** An argument is a column as it is, or cast: nothing computes the call without a row. */
  readonly isOfColumn?: boolean;
  /** The session follows the setting that it changes, see followed-setting.ts. */
  readonly isFollowed?: boolean;
}

export interface OperatorMention { readonly schema?: string; readonly name: string; readonly arity: 1 | 2 }

/** A type that a value is cast to, or that a column definition list, parameter or JSON_TABLE column gives. */
export interface TypeMention { readonly schema?: string; readonly name: string }

export interface Mentions {
  readonly relations: readonly RelationMention[];
  readonly functions: readonly FunctionMention[];
  readonly operators: readonly OperatorMention[];
  readonly types: readonly TypeMention[];
  /** Last names of `x.name`, where x may be a relation: a column, or a call of name(x) in attribute notation (H20). */
  readonly attributes: readonly string[];
  /** Names selected as `(expression).name`: a field, or a call of name(expression) for a value of any type. Absent: they may stand among `attributes`. */
  readonly fields?: readonly string[];
  /** Names of CTEs in scope anywhere in the statement: an unqualified read of one is no relation. */
  readonly ctes: readonly string[];
}

/** Each name once: ten thousand values with a cast to each name one type. */
export function distinct({ relations, functions, operators, types, attributes, fields, ctes }: Mentions): Mentions {
  return {
    // The names that may be of columns are those of the whole statement.
    relations: once(relations, ({ reads, ...mention }) => JSON.stringify([mention, reads?.selected, reads?.names.size])),
    functions: once(functions, JSON.stringify), operators: once(operators, JSON.stringify), types: once(types, JSON.stringify),
    attributes: [...new Set(attributes)], ...(fields === undefined ? {} : { fields: [...new Set(fields)] }), ctes,
  };
}

/** How many names there are to look up, which is also what a statement takes in memory beside its text. */
export function nameCount({ relations, functions, operators, types, attributes }: Mentions): number {
  return relations.length + functions.length + operators.length + types.length + attributes.length;
}

function once<T>(items: readonly T[], key: (item: T) => string): readonly T[] {
  return items.length < 2 ? items : [...new Map(items.map((item) => [key(item), item])).values()];
}
