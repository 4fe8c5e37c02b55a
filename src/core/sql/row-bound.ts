/**
 * The most rows that a plain UPDATE or DELETE can change, proved from its text and the catalog without a question to the
 * server: its WHERE compares every column of a unique index with constants or parameters. Nothing is proved where another
 * operator, cast, type or collation than the index's own may decide what is equal (an int8 compared as float8 matches its
 * neighbours; a timestamp in the hour that daylight saving skips is another one's twin), where uniqueness may be put off
 * or reaches one table only, or where the change is passed on. undefined: not proved, which says nothing of the rows.
 */
import type { Parser } from '../../lib/pgsql/parser.ts';
import type { Risk } from '../risk.ts';
import { changesElsewhere, isMeasured } from './changes-rows.ts';
import { effectivePath, keyOf, type Catalog } from './catalog.ts';
import type { RelationFact } from './catalog-facts.ts';
import type { SessionFacts, Statement } from './statement.ts';
import { flagIn, isTree, namesIn, nodeIn, nodesIn, nodeOf, numberIn, rangeVarNames, stringIn, textOfString, treeIn, type Node, type Tree } from './tree.ts';

export interface RowBound {
  /** Qualified name of the target. */
  readonly table: string;
  readonly rowsMax: number;
}

export interface RowBoundInput {
  readonly statements: readonly Statement[];
  readonly risk: Risk;
  readonly session: SessionFacts;
  readonly catalog: Catalog;
  readonly parser: Parser;
  /** Type OIDs as the client declared them; 0 or absent: the server infers them. */
  readonly parameterTypes: readonly number[];
}

interface Place {
  readonly target: RelationFact;
  /** What columns of the target may be qualified with. */
  readonly alias: string;
  readonly typeOf: (tree: Tree) => string | undefined;
  readonly parameterType: (number: number) => string | undefined;
  /** Its declared type, if it has one, is PostgreSQL's own: so are all casts of it. */
  readonly isOwnParameter: (number: number) => boolean;
}

const rowsProvedMax = 1_000_000;

export function rowBound(input: RowBoundInput): RowBound | undefined {
  const { statements: [statement, ...more], risk, session, catalog, parser } = input;
  if (statement === undefined || more.length > 0 || (statement.node !== 'UpdateStmt' && statement.node !== 'DeleteStmt')) return undefined;
  if (!isMeasured(risk) || changesElsewhere(risk) || session.catalogChanged || session.searchPath === null || !isPlainEquality(catalog)) return undefined;
  const parsed = parser.parse(statement.text);
  const own = parsed.kind === 'parsed' && parsed.statements.length === 1 ? parsed.statements[0] : undefined;
  const where = own === undefined ? undefined : nodeIn(own.tree, 'whereClause');
  if (own === undefined || own.node !== statement.node || where === undefined || ['withClause', 'fromClause', 'usingClause'].some((clause) => Object.hasOwn(own.tree, clause))) return undefined;
  const relation = treeIn(own.tree, 'relation') ?? {};
  const [name = '', schema] = rangeVarNames(relation).toReversed();
  if (session.temporary.has(name) || session.temporaryOpaque.has(name)) return undefined;
  const target = catalog.relation(effectivePath(schema, session.searchPath), name);
  if (target === undefined || !isOneTable(target, relation)) return undefined;
  const rowsMax = boundOf(where, {
    target, alias: stringIn(treeIn(relation, 'alias') ?? {}, 'aliasname') ?? name,
    typeOf: (tree) => builtinType(tree, session.searchPath ?? [], catalog), ...parametersOf(own.tree, input.parameterTypes),
  });
  return rowsMax === undefined || rowsMax > rowsProvedMax ? undefined : { table: keyOf(target), rowsMax };
}

/** Between types of PostgreSQL's own, nobody has defined an equality or a cast beside its own. */
function isPlainEquality(catalog: Catalog): boolean {
  const isOwn = (type: string | undefined): boolean => type?.startsWith('pg_catalog.') === true;
  return !catalog.operatorsAnywhere('=', 2).some(({ builtin, left, right }) => builtin !== true && isOwn(left) && isOwn(right))
    && !catalog.userCasts.some(({ source, target }) => isOwn(source) && isOwn(target));
}

/** An index of a partitioned table reaches all partitions; one of a table with children does not reach those. */
function isOneTable({ kind, rules = [], children = [] }: RelationFact, relation: Tree): boolean {
  return rules.length === 0 && (kind === 'partitioned-table' || (kind === 'table' && (children.length === 0 || !flagIn(relation, 'inh'))));
}

/** Rows that a condition lets through at most. AND: the narrowest; OR: all together. */
function boundOf(node: Node, place: Place): number | undefined {
  if (node.type === 'BoolExpr' && stringIn(node.tree, 'boolop') === 'OR_EXPR') {
    const arms = allIn(node.tree, 'args')?.map((arm) => boundOf(arm, place)) ?? [undefined];
    return arms.reduce((sum, one) => (sum === undefined || one === undefined ? undefined : sum + one), 0);
  }
  const conditions = isAnd(node) ? nodesIn(node.tree, 'args') : [node];
  const values = new Map<string, number>();
  for (const condition of conditions) {
    const equality = equalityOf(condition, place);
    if (equality !== undefined) values.set(equality.column, Math.min(equality.values, values.get(equality.column) ?? Infinity));
  }
  const byKey = (place.target.uniqueKeys ?? []).map((columns) => columns.reduce((product, column) => product * (values.get(column) ?? Infinity), 1));
  const byOther = isAnd(node) ? conditions.map((one) => boundOf(one, place) ?? Infinity) : [];
  const least = Math.min(...byKey, ...byOther);
  return Number.isFinite(least) ? least : undefined;
}

/** undefined: one of them could not be read, and would be missing in the sum. */
function allIn(tree: Tree, field: string): readonly Node[] | undefined {
  const nodes = nodesIn(tree, field);
  const value = tree[field];
  return nodes.length > 0 && Array.isArray(value) && value.length === nodes.length ? nodes : undefined;
}

function isAnd({ type, tree }: Node): boolean { return type === 'BoolExpr' && stringIn(tree, 'boolop') === 'AND_EXPR'; }

/** `column = value` or `column IN (value, …)`. */
function equalityOf({ type, tree }: Node, place: Place): { readonly column: string; readonly values: number } | undefined {
  const operator = namesIn(tree, 'name');
  if (type !== 'A_Expr' || operator.at(-1) !== '=' || (operator.length > 1 && operator[0] !== 'pg_catalog')) return undefined;
  const [left, right] = [nodeIn(tree, 'lexpr'), nodeIn(tree, 'rexpr')];
  if (left === undefined || right === undefined) return undefined;
  switch (stringIn(tree, 'kind')) {
    case 'AEXPR_OP': {
      const [column, value] = left.type === 'ColumnRef' ? [columnOf(left, place), right] : [columnOf(right, place), left];
      return column !== undefined && isComparable(column, value, place) ? { column, values: 1 } : undefined;
    }
    case 'AEXPR_IN': {
      const column = columnOf(left, place);
      const items = allIn(right.tree, 'items');
      return column !== undefined && items !== undefined && items.every((item) => isComparable(column, item, place)) ? { column, values: items.length } : undefined;
    }
    default: return undefined;
  }
}

function columnOf({ type, tree }: Node, { target, alias }: Place): string | undefined {
  const names = type === 'ColumnRef' ? nodesIn(tree, 'fields').flatMap(textOfString) : [];
  const [column, qualifier, ...more] = names.toReversed();
  if (column === undefined || more.length > 0 || names.length !== nodesIn(tree, 'fields').length || (qualifier !== undefined && qualifier !== alias)) return undefined;
  return target.columns.some(({ name }) => name === column) ? column : undefined;
}

const whole = ['pg_catalog.int2', 'pg_catalog.int4', 'pg_catalog.int8', 'pg_catalog.numeric'];
const texts = ['pg_catalog.text', 'pg_catalog.varchar'];
/**
 * Types whose equality with these others is the unique index's own, or tells even more apart. Not dates and times: where an
 * hour is skipped, timestamps that differ equal one timestamptz, and an index scan that drops one of two conditions
 * on the same column for the other then finds both rows.
 */
const comparable: Readonly<Record<string, readonly string[]>> = {
  ...Object.fromEntries(whole.map((type) => [type, whole])), ...Object.fromEntries(texts.map((type) => [type, texts])),
  ...Object.fromEntries(['bpchar', 'uuid', 'bool', 'bytea'].map((name) => [`pg_catalog.${name}`, [`pg_catalog.${name}`]])),
};

/** A literal, or a parameter of no declared type, becomes what it is compared with. */
const untyped = 'pg_catalog.unknown';

function isComparable(column: string, value: Node, place: Place): boolean {
  const own = place.target.columns.find(({ name }) => name === column)?.type ?? '';
  const type = valueType(value, place);
  return Object.hasOwn(comparable, own) && type !== undefined && (type === untyped || comparable[own]?.includes(type) === true);
}

/** undefined: no single value, or not known of which type. */
function valueType({ type, tree }: Node, place: Place): string | undefined {
  switch (type) {
    case 'A_Const': return Object.hasOwn(tree, 'ival') ? 'pg_catalog.int4' : Object.hasOwn(tree, 'fval') ? 'pg_catalog.numeric' : Object.hasOwn(tree, 'boolval') ? 'pg_catalog.bool' : Object.hasOwn(tree, 'sval') ? untyped : undefined;
    case 'ParamRef': return place.parameterType(numberIn(tree, 'number'));
    case 'TypeCast': {
      const given = nodeIn(tree, 'arg');
      return given?.type === 'A_Const' || (given?.type === 'ParamRef' && place.isOwnParameter(numberIn(given.tree, 'number'))) ? place.typeOf(treeIn(tree, 'typeName') ?? {}) : undefined;
    }
    default: return undefined;
  }
}

function builtinType(tree: Tree, searchPath: readonly string[], catalog: Catalog): string | undefined {
  if (['arrayBounds', 'setof', 'pct_type'].some((field) => Object.hasOwn(tree, field))) return undefined;
  const [name = '', schema] = namesIn(tree, 'names').toReversed();
  const fact = catalog.type(effectivePath(schema, searchPath), name);
  return fact?.schema === 'pg_catalog' && fact.builtin === true ? keyOf(fact) : undefined;
}

/** OIDs that initdb always gives, from pg_type.dat. */
const typeNames: ReadonlyMap<number, string> = new Map([
  [16, 'bool'], [17, 'bytea'], [20, 'int8'], [21, 'int2'], [23, 'int4'], [25, 'text'], [705, 'unknown'], [1042, 'bpchar'], [1043, 'varchar'], [1082, 'date'],
  [1114, 'timestamp'], [1184, 'timestamptz'], [1700, 'numeric'], [2950, 'uuid'],
]);
const firstUserOid = 16_384;

function parametersOf(tree: Tree, declared: readonly number[]): Pick<Place, 'parameterType' | 'isOwnParameter'> {
  const uses = parameterUses(tree);
  return {
    parameterType: (number) => {
      const oid = declared[number - 1] ?? 0;
      // Where it stands twice, the other place may have given it its type.
      if (oid === 0) return uses.get(number) === 1 ? untyped : undefined;
      return typeNames.has(oid) ? `pg_catalog.${typeNames.get(oid) ?? ''}` : undefined;
    },
    isOwnParameter: (number) => (declared[number - 1] ?? 0) < firstUserOid,
  };
}

function parameterUses(tree: Tree): ReadonlyMap<number, number> {
  const uses = new Map<number, number>();
  const waiting: unknown[] = [tree];
  while (waiting.length > 0) {
    const next = waiting.pop();
    const node = nodeOf(next);
    if (node?.type === 'ParamRef') uses.set(numberIn(node.tree, 'number'), (uses.get(numberIn(node.tree, 'number')) ?? 0) + 1);
    for (const child of Array.isArray(next) ? next as unknown[] : isTree(next) ? Object.values(next) : []) waiting.push(child);
  }
  return uses;
}
