/**
 * The read-only questions that count what an UPDATE, DELETE or MERGE would change: made of the statement's own pieces and
 * of the catalog's foreign keys, and judged SAFE like any client's text before anyone may ask them. What cannot be counted
 * from outside without guessing is unknown, with the reason; what changes no stored row of its own is `none`.
 *
 * A row is changed once, however many rows of FROM or USING it is joined to; hence EXISTS, not a join.
 */
import type { Parser } from '../../lib/pgsql/parser.ts';
import type { TriggerImpact } from '../impact.ts';
import type { Effect, Risk } from '../risk.ts';
import { assess } from './assess.ts';
import { cascadeGraph, descendants, type CascadeNode } from './cascade-graph.ts';
import { changesRows, isMeasured, losesObjects, losesRows, runsCode } from './changes-rows.ts';
import { effectivePath, keyOf, type Catalog } from './catalog.ts';
import type { RelationFact } from './catalog-facts.ts';
import { firingTriggers, type TriggerWrite } from './firing-triggers.ts';
import { dmlParts, type DmlParts, type WhenPart } from './dml-parts.ts';
import { isLossStatement, lossPlan, type LossQuery } from './loss-query.ts';
import { readStatement } from './read-statement.ts';
import type { SessionFacts, Statement } from './statement.ts';
import { mayEndTransaction } from './transaction-control.ts';
import { nodeIn, nodesIn, rangeVarNames, stringIn, treeIn, type Tree } from './tree.ts';

export interface MeasureQuery {
  readonly kind: 'query';
  /** Qualified name of the target. */
  readonly table: string;
  /** The same, quoted, for to_regclass. */
  readonly relation: string;
  /** The statement itself, from which a server tells the types of its parameters. */
  readonly statement: string;
  /** One row of numbers: what `columns` says, in order. */
  readonly count: string;
  readonly columns: readonly CountColumn[];
  /** Some of the rows that match. */
  readonly sample: string;
  /** All rows of the target. */
  readonly total: string;
  readonly triggers: readonly TriggerImpact[];
  /** What it takes on the table. */
  readonly lockMode: 'ROW EXCLUSIVE';
}

export type CountColumn =
  | { readonly kind: 'rows' }
  | { readonly kind: 'action'; readonly action: 'update' | 'delete' | 'insert' }
  | { readonly kind: 'cascade'; readonly table: string; readonly how: string; readonly isExact: boolean };

export type MeasurePlan = MeasureQuery | LossQuery | { readonly kind: 'unknown'; readonly reason: string } | { readonly kind: 'none' };

export interface MeasureInput {
  readonly statements: readonly Statement[];
  /** Of all of them together. */
  readonly risk: Risk;
  readonly session: SessionFacts;
  readonly catalog: Catalog;
  readonly parser: Parser;
  /** Tables that the open transaction has written already; undefined: it may have written any. */
  readonly written: ReadonlySet<string> | undefined;
}

const sampleRows = 5;
const changing: ReadonlySet<string> = new Set(['update', 'delete']);
const measured: ReadonlySet<string> = new Set(['UpdateStmt', 'DeleteStmt', 'MergeStmt']);

export function measurePlan(input: MeasureInput): MeasurePlan {
  const { statements, risk, session, written } = input;
  if (statements.some(isLossStatement) && losesObjects(risk)) return lossPlan(input);
  if (!changesRows(risk)) return { kind: 'none' };
  if (statements.length > 1 && statements.some(({ transaction }) => transaction !== undefined)) return unknown('it begins or ends a transaction in the same message, so it cannot be held to a number of rows');
  if (statements.some(({ changes }) => changes.some((change) => change.kind === 'declare' && change.hold))) return unknown('a cursor WITH HOLD runs its query only when the transaction commits, so it cannot be held to a number of rows');
  if (runsCode(statements)) return unknown(codeReason(input));
  if (!isMeasured(risk)) return losesObjects(risk) && risk.effects.some(losesRows) ? unknown('what it drops or empties is inside something that it calls') : { kind: 'none' };
  const doubt = doubtOf(input);
  if (doubt !== undefined) return unknown(doubt);
  const writing = statements.filter(({ own }) => own.level !== 'SAFE');
  const [statement] = writing;
  if (statement === undefined || writing.length !== 1) return unknown(writing.length === 0 ? 'something that it calls changes rows' : 'several statements of it write, and one may change what the next one finds');
  if (statements.some((one) => one !== statement && one.changes.length > 0)) return unknown('another statement of it changes the session that it runs in');
  if (!measured.has(statement.node)) return unknown('rows are changed inside something else than a plain UPDATE, DELETE or MERGE');
  if (risk.effects.some(isByCode)) return unknown('a function that it calls changes rows as well');
  if (written === undefined || risk.effects.some(({ object }) => object !== undefined && written.has(object))) {
    return unknown('its transaction has written to the same tables already, which nobody else can see yet');
  }
  if (session.searchPath === null) return unknown('the search path of its session is not known');
  return planOf(statement, input);
}

function codeReason({ statements, session, catalog }: MeasureInput): string {
  const isFree = statements.length === 1 && statements.some((one) => mayEndTransaction(one, session, catalog));
  return isFree ? 'it runs code that may commit by itself, so outside of a transaction nothing can hold it to a number of rows' : 'it runs code, and what that changes can be counted only while it runs';
}

/** What another connection would see with other eyes. */
function doubtOf({ session, statements }: MeasureInput): string | undefined {
  if (session.catalogChanged) return 'its transaction has changed the schema, which nobody else can see yet';
  const names = statements.flatMap(({ mentions }) => mentions.relations.map(({ name, schema }) => (schema === undefined ? name : undefined)));
  const isTemporary = names.some((name) => name !== undefined && (session.temporary.has(name) || session.temporaryOpaque.has(name)));
  return isTemporary ? 'it uses a temporary table, which nobody else can see' : undefined;
}

/** Reached by calling a function of the text's; what triggers and keys do is measured when it runs. */
function isByCode({ kind, via = [] }: Effect): boolean {
  if (!changing.has(kind) && kind !== 'insert' && kind !== 'truncate') return false;
  const at = via.findIndex((step) => step.startsWith('function '));
  return at >= 0 && !via.slice(0, at).some((step) => step.startsWith('trigger '));
}

function planOf(statement: Statement, input: MeasureInput): MeasurePlan {
  const { parser, catalog, session } = input;
  const parsed = parser.parse(statement.text);
  const own = parsed.kind === 'parsed' ? parsed.statements[0] : undefined;
  if (own === undefined || own.node !== statement.node) return unknown('its text could not be read by itself');
  if (nodesIn(treeIn(own.tree, 'withClause') ?? {}, 'ctes').some(({ tree }) => treeIn(treeIn(tree, 'ctequery') ?? {}, 'SelectStmt') === undefined)) return unknown('WITH holds a statement that writes');
  const relation = treeIn(own.tree, 'relation') ?? {};
  const [name, schema] = rangeVarNames(relation).toReversed();
  const target = catalog.relation(effectivePath(schema, session.searchPath ?? []), name ?? '');
  if (target === undefined) return unknown('its target is not in the catalog');
  if (nodeIn(own.tree, 'whereClause')?.type === 'CurrentOfExpr') return unknown('it changes the row of a cursor, which only its own session can see');
  const event = own.node === 'DeleteStmt' ? 'delete' : own.node === 'UpdateStmt' ? 'update' : undefined;
  const rows = rowsOf(target, own.node, catalog, parser);
  if (rows.kind === 'unknown') return rows;
  const parts = dmlParts(own.node, own.tree, statement.text, parser);
  if (parts === undefined) return unknown('its clauses could not be told apart for sure');
  const alias = quoted(stringIn(treeIn(relation, 'alias') ?? {}, 'aliasname') ?? name ?? '');
  const counted = event === undefined ? mergeCount(parts, rows.base, catalog) : changeCount(parts, alias, rows, event, own.tree, catalog);
  if (counted.kind === 'unknown') return counted;
  const plan: MeasureQuery = {
    kind: 'query', table: keyOf(target), relation: `${quoted(target.schema)}.${quoted(target.name)}`, statement: statement.text, count: counted.sql, columns: counted.columns,
    sample: `${parts.with}\nSELECT ${alias}.* FROM ${matching(parts)}\nLIMIT ${sampleRows}`, total: `SELECT pg_catalog.count(*) FROM ${parts.target}`,
    triggers: firingTriggers(rows, event === undefined ? mergeWrites(parts) : [{ event, columns: event === 'update' ? setColumns(own.tree) : undefined }], counted.nodes, catalog), lockMode: 'ROW EXCLUSIVE',
  };
  const doubt = [plan.count, plan.sample, plan.total].map((sql) => refusalOf(sql, input)).find((reason) => reason !== undefined);
  return doubt === undefined ? plan : unknown(doubt);
}

/** Counting is judged like a statement of the client's, because WHERE may call anything; and it must mean the same twice. */
function refusalOf(sql: string, { session, catalog, parser }: MeasureInput): string | undefined {
  const { risk, statements: [one, ...more], error } = assess(sql, session, catalog, parser);
  if (error !== undefined || risk.level !== 'SAFE' || one?.statement.node !== 'SelectStmt' || more.length > 0) return 'counting would itself call something that could not be proved harmless';
  const path = session.searchPath ?? [];
  const isFickle = one.statement.mentions.functions.some(({ schema, name }) =>
    catalog.functions(effectivePath(schema, path), name).some(({ volatility }) => volatility === 'volatile'));
  return isFickle ? 'it calls a function that may answer otherwise each time' : undefined;
}

interface TargetRows {
  readonly kind: 'rows';
  /** The table that is written: the target or what its view shows. */
  readonly base: RelationFact;
  readonly isView: boolean;
  /** Rows of a view with INSTEAD OF triggers are never written themselves. */
  readonly isInstead: boolean;
  readonly target: RelationFact;
}

/** Which rows are changed when it is done to the target. */
function rowsOf(target: RelationFact, node: string, catalog: Catalog, parser: Parser): TargetRows | ReturnType<typeof unknown> {
  if ((target.rules ?? []).length > 0) return unknown(`a rule on ${keyOf(target)} rewrites the statement`);
  if (target.kind === 'table' || target.kind === 'partitioned-table') {
    return hidesDifferently([target, ...descendants(catalog, target)]) ?? { kind: 'rows', base: target, isView: false, isInstead: false, target };
  }
  if (target.kind !== 'view') return unknown(`${keyOf(target)} is no table of this database`);
  if ((target.triggers ?? []).some(({ insteadOf, enabled }) => insteadOf && enabled)) return { kind: 'rows', base: target, isView: true, isInstead: true, target };
  const parsed = parser.parse(target.definition ?? '');
  const bases = parsed.kind !== 'parsed' ? [] : parsed.statements.flatMap((one) => readStatement(one).mentions.relations)
    .map((mention) => catalog.relation([mention.schema ?? 'pg_catalog'], mention.name));
  const [base] = bases;
  if (base === undefined || bases.length !== 1 || (base.kind !== 'table' && base.kind !== 'partitioned-table') || node === 'MergeStmt') {
    return unknown(`${keyOf(target)} is a view, and what it writes through to could not be told`);
  }
  if ((base.rules ?? []).length > 0) return unknown(`a rule on ${keyOf(base)} rewrites the statement`);
  return hidesDifferently([base, ...descendants(catalog, base)]) ?? { kind: 'rows', base, isView: true, isInstead: false, target };
}

/** A policy for some commands only may hide a row from SELECT and not from DELETE, or the other way round. */
function hidesDifferently(relations: readonly RelationFact[]): ReturnType<typeof unknown> | undefined {
  const hidden = relations.find(({ rowSecurity, policies = [] }) => rowSecurity === true && policies.some(({ command }) => command !== 'all' && command !== 'insert'));
  return hidden === undefined ? undefined : unknown(`row security of ${keyOf(hidden)} shows other rows to a SELECT than to a change`);
}

type Counted = { readonly kind: 'counted'; readonly sql: string; readonly columns: readonly CountColumn[]; readonly nodes: readonly CascadeNode[] } | ReturnType<typeof unknown>;

/** FROM and WHERE that give each matching row of the target once. */
function matching({ target, from, where }: DmlParts): string {
  const condition = where === undefined ? '' : `\nWHERE (${where}\n)`;
  return from === undefined ? `${target}${condition}` : `${target}\nWHERE EXISTS (SELECT FROM ${from}${condition}\n)`;
}

function changeCount(parts: DmlParts, alias: string, rows: TargetRows, event: 'update' | 'delete', tree: Tree, catalog: Catalog): Counted {
  const plain: Counted = { kind: 'counted', sql: `${parts.with}\nSELECT pg_catalog.count(*) FROM ${matching(parts)}`, columns: [{ kind: 'rows' }], nodes: [] };
  if (rows.isInstead) return plain;
  const set = event === 'update' ? setColumns(tree) : undefined;
  const graph = cascadeGraph(catalog, rows.base, event, rows.isView ? undefined : set);
  if (graph.kind === 'unknown') return graph;
  const [first, ...reached] = graph.nodes;
  if (first === undefined || (reached.length === 0 && first.loops.length === 0)) return { ...plain, nodes: graph.nodes };
  if (rows.isView) return unknown(`foreign keys pass changes of ${keyOf(rows.base)} on, and they cannot be followed through its view`);
  const base = `${parts.with}\nSELECT ${alias}.tableoid AS ${rowColumns[0]}, ${alias}.ctid AS ${rowColumns[1]}, ${alias}.* FROM ${matching(parts)}`;
  return { kind: 'counted', ...cascadeCount(base, graph.nodes), nodes: graph.nodes };
}

const rowColumns = ['backstop_table', 'backstop_row'] as const;

/** One WITH query for each place that the change reaches, each from the rows of those before it. */
function cascadeCount(base: string, nodes: readonly CascadeNode[]): { readonly sql: string; readonly columns: readonly CountColumn[] } {
  const queries: string[] = [];
  const counts: string[] = [];
  const columns: CountColumn[] = [];
  for (const [index, node] of nodes.entries()) {
    const rows = `backstop_${index}`;
    const found = index === 0 ? base : `SELECT c.tableoid AS ${rowColumns[0]}, c.ctid AS ${rowColumns[1]}, c.* FROM ${relationText(node.relation)} c WHERE ${reachedBy(node, nodes)}`;
    const isLooping = node.loops.length > 0;
    const first = isLooping ? `${rows}_first` : rows;
    queries.push(`${first} AS MATERIALIZED (${found}\n)`);
    if (isLooping) queries.push(`${rows} AS (${generations(node, first, rows)})`);
    const count = `(SELECT pg_catalog.count(*) FROM ${rows})`;
    if (index === 0) {
      counts.push(isLooping ? `(SELECT pg_catalog.count(*) FROM ${first})` : count);
      columns.push({ kind: 'rows' });
    }
    if (index > 0 || isLooping) {
      counts.push(index === 0 ? `${count} - (SELECT pg_catalog.count(*) FROM ${first})` : count);
      columns.push({ kind: 'cascade', table: keyOf(node.relation), how: howText(node), isExact: node.isExact });
    }
  }
  const isRecursive = nodes.some(({ loops }) => loops.length > 0);
  return { sql: `WITH ${isRecursive ? 'RECURSIVE ' : ''}${queries.join(',\n')}\nSELECT ${counts.join(', ')}`, columns };
}

function reachedBy(node: CascadeNode, nodes: readonly CascadeNode[]): string {
  const edges = node.edges.map(({ from, key }) => `EXISTS (SELECT FROM backstop_${from} p WHERE ${keyCondition(node.relation, key, 'p')})`);
  const [first] = nodes;
  // Rows that the statement itself deletes are gone when a key comes to update them; those of later generations may not be.
  const isGone = node.change === 'update' && first?.change === 'delete' && first.relation === node.relation;
  const rest = `NOT EXISTS (SELECT FROM ${(first?.loops.length ?? 0) > 0 ? 'backstop_0_first' : 'backstop_0'} g WHERE g.${rowColumns[0]} = c.tableoid AND g.${rowColumns[1]} = c.ctid)`;
  return isGone ? `(${edges.join(' OR ')}) AND ${rest}` : edges.join(' OR ');
}

function generations({ relation, loops }: CascadeNode, first: string, all: string): string {
  const names = [...new Set([...rowColumns, ...loops.flatMap(({ toColumns }) => toColumns).map(quoted)])];
  const conditions = loops.map((key) => `(${keyCondition(relation, key, 'p')})`).join(' OR ');
  const next = [`c.tableoid`, `c.ctid`, ...names.slice(rowColumns.length).map((name) => `c.${name}`)];
  return `SELECT ${names.join(', ')} FROM ${first} UNION SELECT ${next.join(', ')} FROM ${all} p, ${relationText(relation)} c WHERE ${conditions}`;
}

function keyCondition(relation: RelationFact, key: CascadeNode['loops'][number], parent: string): string {
  return key.fromColumns.map((column, index) => {
    const type = relation.columns.find(({ name }) => name === column)?.type ?? '';
    // A type of the user's may have an equality of its own, which its schema on the search path gives.
    const equal = type.startsWith('pg_catalog.') ? 'OPERATOR(pg_catalog.=)' : '=';
    return `${parent}.${quoted(key.toColumns[index] ?? '')} ${equal} c.${quoted(column)}`;
  }).join(' AND ');
}

function howText({ change, edges, loops }: CascadeNode): string {
  const keys = [...edges.map(({ key, detail }) => `${key.name} (${detail})`), ...loops.map(({ name }) => `${name} (ON DELETE CASCADE)`)];
  return `${change}d by ${[...new Set(keys)].join(', ')}`;
}

/** Foreign keys look at the table alone; partitions belong to theirs. */
function relationText(relation: RelationFact): string {
  return `${relation.kind === 'partitioned-table' ? '' : 'ONLY '}${quoted(relation.schema)}.${quoted(relation.name)}`;
}

function mergeCount(parts: DmlParts, base: RelationFact, catalog: Catalog): Counted {
  const commands = new Set(parts.whens.map(({ command }) => command));
  for (const change of ['delete', 'update'] as const) {
    const graph = commands.has(change) ? cascadeGraph(catalog, base, change, undefined) : undefined;
    const passesOn = graph !== undefined && (graph.kind === 'unknown' || graph.nodes.length > 1 || graph.nodes.some(({ loops }) => loops.length > 0));
    if (passesOn) return unknown(`foreign keys pass changes of ${keyOf(base)} on, and a MERGE does several kinds of them`);
  }
  const source = parts.from ?? '';
  const on = parts.where ?? 'true';
  const places: readonly { readonly match: WhenPart['match']; readonly from: string }[] = [
    { match: 'matched', from: `${parts.target} INNER JOIN ${source}\nON (${on}\n)` },
    { match: 'not-matched-by-target', from: `${source}\nWHERE NOT EXISTS (SELECT FROM ${parts.target} WHERE (${on}\n))` },
    { match: 'not-matched-by-source', from: `${parts.target} WHERE NOT EXISTS (SELECT FROM ${source}\nWHERE (${on}\n))` },
  ];
  const found = places.flatMap(({ match, from }) => {
    const whens = parts.whens.filter((when) => when.match === match);
    const cases = whens.map(({ command, condition }) => `WHEN ${condition === undefined ? 'true' : `(${condition}\n)`} THEN '${command}'`);
    return whens.length === 0 ? [] : [`SELECT CASE ${cases.join(' ')} END AS backstop_action FROM ${from}`];
  });
  const actions = ['update', 'delete', 'insert'] as const;
  const counts = actions.map((action) => `pg_catalog.count(*) FILTER (WHERE backstop_action = '${action}')`);
  return {
    kind: 'counted', nodes: [], columns: actions.map((action) => ({ kind: 'action', action })),
    sql: `${parts.with}\nSELECT ${counts.join(', ')} FROM (${found.join('\nUNION ALL ')}\n) backstop_merge`,
  };
}

function mergeWrites({ whens }: DmlParts): readonly TriggerWrite[] {
  const commands = new Set(whens.map(({ command }) => command));
  return (['update', 'delete', 'insert'] as const).filter((event) => commands.has(event)).map((event) => ({ event, columns: undefined }));
}

/** undefined: an assignment could not be read, so any column may be set. */
function setColumns(tree: Tree): readonly string[] | undefined {
  const names = nodesIn(tree, 'targetList').map((one) => stringIn(one.tree, 'name'));
  return names.every((name) => name !== undefined) ? names : undefined;
}

function unknown(reason: string): { readonly kind: 'unknown'; readonly reason: string } { return { kind: 'unknown', reason }; }

function quoted(name: string): string { return `"${name.replaceAll('"', '""')}"`; }
