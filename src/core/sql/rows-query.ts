/**
 * Which rows a plain UPDATE or DELETE of one table is going to change, as a query of its own pieces that may be asked before
 * it runs and means the same rows when it runs: the WHERE looks at nothing but the row itself, and at what stays the same
 * for the whole transaction. undefined: that is not sure, or the change is passed on to other rows, so that what it changes
 * has to be gathered while it runs.
 */
import type { Parser } from '../../lib/pgsql/parser.ts';
import type { Effect, Risk } from '../risk.ts';
import { assess } from './assess.ts';
import { effectivePath, keyOf, type Catalog } from './catalog.ts';
import type { FunctionFact, QualifiedName, RelationFact } from './catalog-facts.ts';
import { dmlParts } from './dml-parts.ts';
import type { SessionFacts, Statement } from './statement.ts';
import { isTree, nodesIn, rangeVarNames, stringIn, treeIn, type Tree } from './tree.ts';

export interface RowsQuery {
  readonly verb: 'update' | 'delete';
  readonly table: QualifiedName;
  /** The same, quoted. */
  readonly relation: string;
  /** The statement itself, from which a server tells the types of its parameters. */
  readonly statement: string;
  /** What columns of the target are qualified with, quoted. */
  readonly alias: string;
  /** The target and the WHERE, as they may stand behind FROM; with the parameters of the statement. */
  readonly rows: string;
  /** It runs code that was not seen to change rows; whether it does is to be counted. */
  readonly runsCode: boolean;
}

export interface RowsQueryInput {
  readonly statements: readonly Statement[];
  /** Of all of them together. */
  readonly risk: Risk;
  readonly session: SessionFacts;
  readonly catalog: Catalog;
  readonly parser: Parser;
}

const verbs: Readonly<Record<string, RowsQuery['verb']>> = { UpdateStmt: 'update', DeleteStmt: 'delete' };

export function rowsQuery({ statements: [statement, ...more], risk, session, catalog, parser }: RowsQueryInput): RowsQuery | undefined {
  const verb = statement === undefined || more.length > 0 ? undefined : verbs[statement.node];
  if (statement === undefined || verb === undefined || session.catalogChanged || session.searchPath === null || !risk.effects.every(isPlainEffect)) return undefined;
  const parsed = parser.parse(statement.text);
  const own = parsed.kind === 'parsed' && parsed.statements.length === 1 ? parsed.statements[0] : undefined;
  if (own === undefined || own.node !== statement.node || ['withClause', 'fromClause', 'usingClause'].some((clause) => Object.hasOwn(own.tree, clause))) return undefined;
  const relation = treeIn(own.tree, 'relation') ?? {};
  const [name = '', schema] = rangeVarNames(relation).toReversed();
  if (session.temporary.has(name) || session.temporaryOpaque.has(name)) return undefined;
  const target = catalog.relation(effectivePath(schema, session.searchPath), name);
  if (target === undefined || !isPlain(target, catalog) || (verb === 'update' && setsKey(own.tree, target)) || looksElsewhere(own.tree['whereClause'])) return undefined;
  const parts = dmlParts(own.node, own.tree, statement.text, parser);
  if (parts === undefined) return undefined;
  const rows = `${parts.target}${parts.where === undefined ? '' : `\nWHERE (${parts.where}\n)`}`;
  if (!isSteady(`SELECT FROM ${rows}`, session, catalog, parser)) return undefined;
  const alias = quoted(stringIn(treeIn(relation, 'alias') ?? {}, 'aliasname') ?? name);
  return { verb, table: keyOf(target), relation: `${quoted(target.schema)}.${quoted(target.name)}`, statement: statement.text, alias, rows, runsCode: risk.effects.some(({ kind }) => kind === 'call') };
}

/** A change of rows is the statement's own; what it calls only computes. */
function isPlainEffect({ kind, via = [], detail }: Effect): boolean {
  switch (kind) {
    case 'read': case 'sequence': return true;
    case 'update': case 'delete': return via.every((step) => step.startsWith('partition '));
    case 'call': return detail === undefined;
    default: return false;
  }
}

/** Its own rows, all of them seen, in one table that has a key, whose changes nothing rewrites or passes on. */
function isPlain(target: RelationFact, catalog: Catalog): boolean {
  const isTable = target.kind === 'partitioned-table' || (target.kind === 'table' && (target.children ?? []).length === 0);
  const held = [target, ...catalog.relatives(keyOf(target)).flatMap((key) => catalog.relationNamed(key) ?? [])];
  return isTable && held.every(({ kind, rules = [], rowSecurity }) => kind !== 'foreign-table' && rules.length === 0 && rowSecurity !== true)
    // A partition that is named itself, or a child, belongs to another table.
    && !catalog.facts.relations.some(({ children = [] }) => children.includes(keyOf(target))) && (target.primaryKey ?? []).length > 0;
}

/** Then what was found by a key before would be another row afterwards. */
function setsKey(tree: Tree, { primaryKey = [] }: RelationFact): boolean {
  const names = nodesIn(tree, 'targetList').map((one) => stringIn(one.tree, 'name'));
  return names.some((name) => name === undefined || primaryKey.includes(name));
}

/** A sub-select sees other rows than its own, which may have changed in between; a cursor is somewhere by then. */
function looksElsewhere(where: unknown): boolean {
  const waiting: unknown[] = [where];
  while (waiting.length > 0) {
    const next = waiting.pop();
    if (isTree(next) && ['SubLink', 'CurrentOfExpr'].some((type) => Object.hasOwn(next, type))) return true;
    for (const child of Array.isArray(next) ? next as readonly unknown[] : isTree(next) ? Object.values(next) : []) waiting.push(child);
  }
  return false;
}

/** Asking must change nothing, and must mean the same for a row each time in one transaction. */
function isSteady(sql: string, session: SessionFacts, catalog: Catalog, parser: Parser): boolean {
  const { risk, statements: [one, ...more], error } = assess(sql, session, catalog, parser);
  if (error !== undefined || risk.level !== 'SAFE' || one?.statement.node !== 'SelectStmt' || more.length > 0) return false;
  const { functions, operators, attributes, fields = [] } = one.statement.mentions;
  const path = (schema: string | undefined): readonly string[] => effectivePath(schema, session.searchPath ?? []);
  return functions.every(({ schema, name }) => catalog.functions(path(schema), name).every((fact) => isConstant(fact) || (fact.builtin === true && steady.has(name))))
    // `row.name` may call a function of the row; those of PostgreSQL's own that take any row only print it.
    && [...attributes, ...fields].every((name) => catalog.functions(path(undefined), name).every((fact) => fact.builtin === true || isConstant(fact)))
    && operators.every(({ schema, name, arity }) => catalog.operators(path(schema), name, arity).every((fact) => fact.builtin === true || isConstant(catalog.functionSigned(fact.function))))
    && catalog.userCasts.every(({ function: cast }) => cast === undefined || isConstant(catalog.functionSigned(cast)));
}

function isConstant(fact: FunctionFact | undefined): boolean { return fact?.volatility === 'immutable'; }

/** Declared stable, and the same for a whole transaction of one session: not statement_timestamp(), and nothing that reads tables. */
const steady: ReadonlySet<string> = new Set(`
  age array_to_json array_to_string concat concat_ws convert convert_from convert_to current_database current_schema current_schemas current_user
  date date_add date_part date_subtract date_trunc extract format json_build_array json_build_object jsonb_build_array jsonb_build_object length
  make_timestamptz now numeric overlaps quote_literal quote_nullable row_to_json session_user time timestamp timestamptz timetz timezone to_char to_date
  to_json to_jsonb to_number to_timestamp transaction_timestamp`.trim().split(/\s+/));

function quoted(name: string): string { return `"${name.replaceAll('"', '""')}"`; }
