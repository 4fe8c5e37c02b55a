/**
 * readStatement: what a parsed statement says of itself, before any catalog is asked. Every node of the tree is visited;
 * each statement node inside (a DELETE in WITH, a query behind EXPLAIN or COPY) adds the risk of its row, and each
 * expression adds what it mentions. What the tables do not know makes the statement CRITICAL.
 */
import type { Risk } from '../risk.ts';
import { isAtLeast, joinAll, nothing } from '../risk.ts';
import { ColumnReading } from './column-reading.ts';
import { expressionRows } from './expressions.ts';
import type { MentionSink } from './expressions.ts';
import type { ColumnReads, Mentions, RelationMention } from './mentions.ts';
import { effect, mentionOf, risk } from './own-reading.ts';
import type { OwnReading, RowContext } from './own-reading.ts';
import type { SessionChange, Statement } from './statement.ts';
import { statementRows } from './statement-table.ts';
import { rangeVarNames, stringIn } from './tree.ts';
import type { Node, Tree } from './tree.ts';
import { isCte, walk } from './walk.ts';
import type { Visit } from './walk.ts';

/** `runs`: with the statement; `planned`: EXPLAIN without ANALYZE; `stored`: the body of a view, rule or function. */
type Mode = 'runs' | 'planned' | 'stored';

interface Reading extends MentionSink {
  readonly columns: ColumnReading;
  /** RangeVars of the mentions that come of one. */
  readonly writtenAs: Map<RelationMention, Tree>;
  readonly relations: RelationMention[];
  /** What the relations would be to the statement if EXPLAIN ran it. */
  readonly plannedRelations: RelationMention[];
  readonly uses: Map<Tree, readonly RelationMention[]>;
  readonly plannedUses: Map<Tree, readonly RelationMention[]>;
  readonly changes: SessionChange[];
  /** Unqualified names that were taken for temporary relations. */
  readonly assumed: Set<string>;
  /** The risks that make up its own, and how to ask again for those that depend on what is temporary. */
  readonly ran: { readonly risk: Risk; readonly again?: (isTemporary: RowContext['isTemporary']) => Risk }[];
  asksOfTemporary: boolean;
  ends: Pick<OwnReading, 'transaction' | 'runs' | 'copy' | 'block'>;
}

export function readStatement(parsed: { readonly node: string; readonly tree: Tree; readonly text: string }): Statement {
  const root: Node = { type: parsed.node, tree: parsed.tree };
  const reading = read(root, parsed.text);
  const mentions = mentionsOf(reading, reading.relations);
  const own = joinAll(reading.ran.map(({ risk: said }) => said));
  const isPlanned = reading.plannedRelations.some(({ use }) => use !== 'read');
  return {
    node: parsed.node, text: parsed.text, own, mentions, changes: reading.changes, ...reading.ends,
    ...(reading.assumed.size > 0 && isAtLeast(own.level, 'HIGH') ? { ifTemporary: ifTemporary(reading) } : {}),
    ...(isPlanned ? { planned: mentionsOf(reading, reading.plannedRelations) } : {}),
  };
}

function mentionsOf({ functions, operators, types, attributes, fields, columns, writtenAs }: Reading, all: readonly RelationMention[]): Mentions {
  const known = new Map<Tree, ColumnReads | undefined>();
  const relations = all.map((mention) => {
    const rangeVar = writtenAs.get(mention);
    if (rangeVar === undefined || mention.reads !== undefined) return mention;
    if (!known.has(rangeVar)) known.set(rangeVar, columns.readsOf(rangeVar));
    const reads = known.get(rangeVar);
    return reads === undefined ? mention : { ...mention, reads };
  });
  return { relations, functions, operators, types, attributes, fields, ctes: [] };
}

function read(root: Node, text: string): Reading {
  const reading: Reading = {
    columns: new ColumnReading(), writtenAs: new Map(), relations: [], plannedRelations: [], uses: new Map(), plannedUses: new Map(), changes: [], assumed: new Set(), ran: [], asksOfTemporary: false,
    functions: [], operators: [], types: [], attributes: [], fields: [], notTypes: new Set(), ends: {},
  };
  const context: RowContext = {
    isTemporary(names) {
      reading.asksOfTemporary = true;
      const [only] = names;
      if (names.length === 1 && only !== undefined) reading.assumed.add(only);
      return isInTemporarySchema(names);
    },
    readBody: (node) => readStatement({ node: node.type, tree: node.tree, text }),
  };
  walk<Mode>(root, 'runs', (visit) => visitNode(visit, reading, context));
  return reading;
}

function isInTemporarySchema(names: readonly string[]): boolean {
  return names.length === 2 && names[0] === 'pg_temp';
}

/** What the same rows say when the unqualified names that are written mean temporary relations. */
function ifTemporary({ assumed, ran }: Reading): NonNullable<Statement['ifTemporary']> {
  const own = ran.map(({ risk: said, again }) => again?.((names) => names.length === 1 || isInTemporarySchema(names)) ?? said);
  return { names: [...assumed], own: joinAll(own) };
}

function visitNode({ node, scope, context: mode }: Visit<Mode>, reading: Reading, context: RowContext): Mode {
  reading.columns.visit(node);
  const statement = statementRows.get(node.type);
  if (statement !== undefined) {
    reading.asksOfTemporary = false;
    const own = statement(node.tree, context);
    const again = (isTemporary: RowContext['isTemporary']): Risk => statement(node.tree, { ...context, isTemporary }).risk;
    if (mode === 'runs') addRisk(own.risk, reading, reading.asksOfTemporary ? again : undefined);
    return addStatement(own, mode, reading);
  }
  const expression = expressionRows.get(node.type);
  if (expression === undefined) {
    addRisk(unknownNodeRisk, reading, undefined);
    return mode;
  }
  expression(node.tree, reading);
  if (node.type === 'RangeVar') addRelation(node.tree, scope, reading);
  return mode;
}

function addRisk(own: Risk, reading: Reading, again: ((isTemporary: RowContext['isTemporary']) => Risk) | undefined): void {
  if (own === nothing) return;
  reading.ran.push(again === undefined ? { risk: own } : { risk: own, again });
}

const unknownNodeRisk = risk('CRITICAL', 'statement.unknown-node', 'It holds something of the grammar that is not known here.', [effect('unknown', 'statement')], 'none');

function addStatement(own: OwnReading, mode: Mode, reading: Reading): Mode {
  for (const { rangeVar, mentions } of own.uses ?? []) {
    if (mode === 'runs') reading.uses.set(rangeVar, mentions);
    else {
      // Planned or stored, nothing is written yet; what is no relation stays none.
      reading.uses.set(rangeVar, mentions.length === 0 ? [] : [mentionOf(rangeVar, 'read')]);
      if (mode === 'planned') reading.plannedUses.set(rangeVar, mentions);
    }
  }
  reading.functions.push(...own.functions ?? []);
  if (own.runs !== undefined) reading.ends = { ...reading.ends, runs: own.runs };
  if (mode !== 'runs') return mode;
  reading.relations.push(...own.relations ?? []);
  reading.changes.push(...own.changes ?? []);
  const { transaction, copy, block } = own;
  reading.ends = {
    ...reading.ends, ...(transaction === undefined ? {} : { transaction }), ...(copy === undefined ? {} : { copy }), ...(block === undefined ? {} : { block }),
  };
  return own.inner ?? mode;
}

function addRelation(tree: Tree, scope: Visit<Mode>['scope'], reading: Reading): void {
  const known = reading.uses.get(tree);
  // A CTE can only be read; what a statement writes is always a relation.
  if (known === undefined && rangeVarNames(tree).length === 1 && isCte(stringIn(tree, 'relname') ?? '', scope)) return;
  const mentions = known ?? [mentionOf(tree, 'read')];
  const planned = reading.plannedUses.get(tree) ?? mentions;
  for (const mention of [...mentions, ...planned]) reading.writtenAs.set(mention, tree);
  reading.relations.push(...mentions);
  reading.plannedRelations.push(...planned);
}
