/**
 * Catalog facts: what one database's catalog says, as plain rows that can be written to JSON. Everything is named by
 * its qualified name (`public.orders`, type `pg_catalog.int4`), never by OID, so that a snapshot of PostgreSQL's own
 * catalog and the rows of a live server mean the same. Expressions and definitions are SQL as the server deparses it
 * with an empty search_path: every name of the user's is qualified and an unqualified name is PostgreSQL's own.
 */

/** `schema.name`, unquoted. Used only as a key and for display. */
export type QualifiedName = string;

export type RelationKind =
  | 'table' | 'partitioned-table' | 'view' | 'materialized-view' | 'foreign-table' | 'sequence' | 'composite';

export interface ColumnFact {
  readonly name: string;
  readonly type: QualifiedName;
  readonly default?: string;
  readonly generated?: 'stored' | 'virtual';
}

export type WriteEvent = 'insert' | 'update' | 'delete' | 'truncate';

export interface TriggerFact {
  readonly name: string;
  readonly events: readonly WriteEvent[];
  /** UPDATE OF columns; absent: any column. */
  readonly columns?: readonly string[];
  readonly insteadOf: boolean;
  /** Absent: after, for each row. */
  readonly isBefore?: boolean;
  readonly isForStatement?: boolean;
  readonly enabled: boolean;
  /** A constraint trigger that may wait until its transaction ends. */
  readonly isDeferrable?: boolean;
  /** ENABLE ALWAYS or ENABLE REPLICA; absent: neither. */
  readonly fires?: 'always' | 'replica';
  /** `schema.name` of the trigger function, which takes no arguments. */
  readonly function: QualifiedName;
  readonly when?: string;
}

export interface RuleFact {
  readonly name: string;
  readonly event: 'insert' | 'update' | 'delete';
  readonly instead: boolean;
  /** pg_get_ruledef. */
  readonly definition: string;
}

export interface PolicyFact {
  readonly name: string;
  readonly command: 'all' | 'select' | 'insert' | 'update' | 'delete';
  readonly using?: string;
  readonly check?: string;
}

export interface RelationFact {
  readonly schema: string;
  readonly name: string;
  readonly kind: RelationKind;
  /** PostgreSQL's own, unchanged since initdb. */
  readonly builtin?: boolean;
  readonly owner?: string;
  readonly extension?: string;
  readonly columns: readonly ColumnFact[];
  /** Views and materialized views: pg_get_viewdef. */
  readonly definition?: string;
  /** Direct partitions and inheritance children. */
  readonly children?: readonly QualifiedName[];
  readonly foreign?: { readonly server: string; readonly wrapper: string; readonly program: boolean };
  readonly rowSecurity?: boolean;
  readonly triggers?: readonly TriggerFact[];
  readonly rules?: readonly RuleFact[];
  readonly policies?: readonly PolicyFact[];
  readonly checks?: readonly string[];
  /**
   * Columns of each unique index that surely keeps rows apart at any moment: valid, whole, of plain columns, immediate, by
   * an equality of PostgreSQL's own and no coarser collation than comparing the columns has.
   */
  readonly uniqueKeys?: readonly (readonly string[])[];
  /** Which of them is the primary key; absent: none is. */
  readonly primaryKey?: readonly string[];
  /** Something else than views, rules, foreign keys, partitions and children depends on it: a function, a column of its row type, a default of another table … */
  readonly hasOtherDependents?: boolean;
  /** Expressions and predicates of its indexes and exclusion constraints, and partition keys. */
  readonly indexExpressions?: readonly string[];
}

export type ForeignKeyAction = 'no-action' | 'restrict' | 'cascade' | 'set-null' | 'set-default';

export interface ForeignKeyFact {
  readonly name: string;
  readonly from: QualifiedName;
  readonly fromColumns: readonly string[];
  readonly to: QualifiedName;
  readonly toColumns: readonly string[];
  readonly onDelete: ForeignKeyAction;
  readonly onUpdate: ForeignKeyAction;
}

export interface FunctionFact {
  readonly schema: string;
  readonly name: string;
  /** Input argument types in order; for a variadic one the array type stands last. */
  readonly args: readonly QualifiedName[];
  readonly argNames?: readonly string[];
  /** How many of the last arguments have a default. */
  readonly defaults: number;
  /** Element type of the VARIADIC argument (`pg_catalog.any` for VARIADIC "any"). */
  readonly variadic?: QualifiedName;
  readonly returns: QualifiedName;
  /** Types of OUT, INOUT and TABLE columns. */
  readonly resultTypes?: readonly QualifiedName[];
  readonly kind: 'function' | 'procedure' | 'aggregate' | 'window';
  readonly volatility: 'immutable' | 'stable' | 'volatile';
  readonly language: string;
  readonly builtin?: boolean;
  readonly extension?: string;
  readonly owner?: string;
  readonly securityDefiner?: boolean;
  /** SET clauses: `name=value`. */
  readonly config?: readonly string[];
  /** A planner support function or a transform is attached: code that the body does not show. */
  readonly hasSupport?: boolean;
  /** SQL: the body's statements. PL/pgSQL: the CREATE FUNCTION statement. C and internal: the symbol. */
  readonly source?: string;
  /** SQL-standard body (BEGIN ATOMIC, RETURN): names are already bound; `source` is its deparsed form. */
  readonly boundBody?: boolean;
  /** Aggregates: the functions that do the work. */
  readonly uses?: readonly QualifiedName[];
  /** Expressions of argument defaults, when there are any. */
  readonly defaultExpressions?: string;
}

export interface OperatorFact {
  readonly schema: string;
  readonly name: string;
  /** Absent for a prefix operator. */
  readonly left?: QualifiedName;
  readonly right: QualifiedName;
  /** `schema.name(args)` of the function that does the work; see signatureOf. */
  readonly function: string;
  readonly builtin?: boolean;
}

export interface CastFact {
  readonly source: QualifiedName;
  readonly target: QualifiedName;
  /** Signature of the cast function; absent for binary-coercible casts and casts through text. */
  readonly function?: string;
  readonly context: 'implicit' | 'assignment' | 'explicit';
  readonly builtin?: boolean;
}

export interface TypeFact {
  readonly schema: string;
  readonly name: string;
  readonly kind: 'base' | 'domain' | 'composite' | 'enum' | 'range' | 'multirange' | 'pseudo' | 'array';
  readonly builtin?: boolean;
  readonly extension?: string;
  /** Domain: what it is over. Array: its element. Range and multirange: the subtype. */
  readonly base?: QualifiedName;
  /** Domain CHECK expressions, `VALUE` as deparsed, and its default. */
  readonly checks?: readonly string[];
  /** Signatures of input, output, receive, send, typmod, canonical and difference functions that are not PostgreSQL's own. */
  readonly functions?: readonly string[];
}

export interface EventTriggerFact {
  readonly name: string;
  readonly event: string;
  readonly function: QualifiedName;
  readonly enabled: boolean;
  /** Command tags it is limited to; absent: all. */
  readonly tags?: readonly string[];
}

/** `to` is used by `from`: a view over a table, for DROP … CASCADE. */
export interface DependencyFact { readonly from: QualifiedName; readonly to: QualifiedName }

export interface CatalogFacts {
  readonly mode: 'live' | 'offline';
  readonly major: number;
  /** Digest of everything the facts were read from. */
  readonly version: string;
  readonly schemas: readonly string[];
  readonly relations: readonly RelationFact[];
  readonly foreignKeys: readonly ForeignKeyFact[];
  readonly functions: readonly FunctionFact[];
  readonly operators: readonly OperatorFact[];
  readonly casts: readonly CastFact[];
  readonly types: readonly TypeFact[];
  readonly eventTriggers: readonly EventTriggerFact[];
  readonly dependencies: readonly DependencyFact[];
  /** Signatures of support functions of operator classes and families that are not PostgreSQL's own. */
  readonly operatorClassFunctions: readonly string[];
}
