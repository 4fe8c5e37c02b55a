/**
 * Rows of the statement table: reading and writing rows. SELECT, INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY and what
 * makes a table of a query.
 */
import type { Effect, Risk } from '../risk.ts';
import { joinAll, joinRisks, nothing } from '../risk.ts';
import type { RelationMention, RelationUse } from './mentions.ts';
import { effect, isCreatedTemporary, nameOf, onColumns, risk, temporaryWrite, useOf } from './own-reading.ts';
import type { OwnReading, RowContext, StatementRow } from './own-reading.ts';
import { isUnbounded } from './predicate.ts';
import type { Target } from './row-independence.ts';
import type { SessionChange } from './statement.ts';
import { flagIn, nodeIn, nodesIn, rangeVarNames, stringIn, textOfString, treeIn } from './tree.ts';
import type { Node, Tree } from './tree.ts';

export const dataRows: Readonly<Record<string, StatementRow>> = {
  SelectStmt: select,
  InsertStmt: insert,
  UpdateStmt: (tree, context) => change(tree, context, 'update'),
  DeleteStmt: (tree, context) => change(tree, context, 'delete'),
  MergeStmt: merge,
  TruncateStmt: truncate,
  CopyStmt: copy,
  CreateTableAsStmt: createTableAs,
  // Only inside the body of a SQL function.
  ReturnStmt: () => ({ risk: nothing }),
};

function select(tree: Tree): OwnReading {
  const into = treeIn(tree, 'intoClause');
  const locks = nodesIn(tree, 'lockingClause');
  // FOR UPDATE OF names what stands in FROM, not relations.
  const uses = locks.flatMap((lock) => nodesIn(lock.tree, 'lockedRels')).flatMap(({ tree: named }) => useOf(named));
  const lock = locks.length === 0 ? nothing : risk('LOW', 'select.locks-rows', 'It locks the rows that it reads until the transaction ends.', lockEffects(locks, tree));
  if (into === undefined) return { risk: lock, uses };
  const created = createdBy(into);
  return { ...created, risk: joinRisks(lock, created.risk), uses: [...uses, ...created.uses ?? []] };
}

const lockNames: ReadonlyMap<string, string> = new Map([
  ['LCS_FORKEYSHARE', 'FOR KEY SHARE'], ['LCS_FORSHARE', 'FOR SHARE'], ['LCS_FORNOKEYUPDATE', 'FOR NO KEY UPDATE'], ['LCS_FORUPDATE', 'FOR UPDATE'],
]);

/** One effect for each table that stands in FROM and each strength; those hidden in subqueries count as one without a name. */
function lockEffects(locks: readonly Node[], select: Tree): readonly Effect[] {
  const all = sourcesOf(select);
  return [...Map.groupBy(locks, ({ tree }) => lockNames.get(stringIn(tree, 'strength') ?? '') ?? 'FOR UPDATE')].flatMap(([strength, same]) => {
    const named = new Set(same.flatMap(({ tree }) => nodesIn(tree, 'lockedRels').map((node) => stringIn(node.tree, 'relname'))));
    const isOfAll = same.some(({ tree }) => nodesIn(tree, 'lockedRels').length === 0);
    const sources = isOfAll ? all : all.filter(({ alias }) => named.has(alias));
    const isWhole = sources.length > 0 && sources.every(({ relation }) => relation !== undefined);
    return isWhole ? sources.map(({ relation }) => effect('lock', 'table', nameOf(relation), `rows ${strength}`)) : [effect('lock', 'table', undefined, `rows ${strength}`)];
  });
}

interface Source { readonly alias: string | undefined; readonly relation: Tree | undefined }

function sourcesOf(select: Tree): readonly Source[] {
  const sources: Source[] = [];
  const waiting: Node[] = [...nodesIn(select, 'fromClause')];
  for (let item = waiting.pop(); item !== undefined; item = waiting.pop()) {
    if (item.type === 'JoinExpr') {
      waiting.push(...[nodeIn(item.tree, 'larg'), nodeIn(item.tree, 'rarg')].filter((side) => side !== undefined));
      continue;
    }
    const alias = stringIn(treeIn(item.tree, 'alias') ?? {}, 'aliasname') ?? stringIn(item.tree, 'relname');
    sources.push({ alias, relation: item.type === 'RangeVar' ? item.tree : undefined });
  }
  return sources;
}

/** SELECT INTO, CREATE TABLE AS, CREATE MATERIALIZED VIEW (H8). */
function createdBy(into: Tree, objectKind = 'table'): OwnReading {
  const relation = treeIn(into, 'rel');
  const name = stringIn(relation ?? {}, 'relname') ?? '';
  const isTemporary = isCreatedTemporary(relation);
  const changes: readonly SessionChange[] = [isTemporary ? { kind: 'temporary-relation', name } : { kind: 'catalog' }];
  const own = isTemporary
    ? risk('LOW', 'temporary.create', 'It makes a temporary table of this session.', [effect('create', objectKind, nameOf(relation), 'temporary')])
    : risk('HIGH', 'create.from-query', `It makes a ${objectKind} of what the query gives.`, [effect('create', objectKind, nameOf(relation))]);
  return { risk: own, uses: useOf(relation), changes };
}

function createTableAs(tree: Tree): OwnReading {
  return createdBy(treeIn(tree, 'into') ?? {}, stringIn(tree, 'objtype') === 'OBJECT_MATVIEW' ? 'materialized view' : 'table');
}

function columnsOf(tree: Tree, field: string): readonly string[] | undefined {
  const targets = nodesIn(tree, field);
  return targets.length === 0 ? undefined : targets.map((target) => stringIn(target.tree, 'name') ?? '');
}

function writing(columns: readonly string[] | undefined): Partial<RelationMention> {
  return columns === undefined ? {} : { columns };
}

function insert(tree: Tree, context: RowContext): OwnReading {
  const relation = treeIn(tree, 'relation');
  const name = nameOf(relation);
  const conflict = treeIn(tree, 'onConflictClause') ?? {};
  const overwrites = stringIn(conflict, 'action') === 'ONCONFLICT_UPDATE';
  const asInsert = ['insert', writing(columnsOf(tree, 'cols'))] as const;
  const asUpdate = ['update', writing(columnsOf(conflict, 'targetList'))] as const;
  const uses = useOf(relation, ...(overwrites ? [asInsert, asUpdate] : [asInsert]));
  if (context.isTemporary(rangeVarNames(relation ?? {}))) return { risk: temporaryWrite('insert', name), uses };
  const inserts = risk('HIGH', 'insert.rows', 'It adds rows.', [onColumns(effect('insert', 'table', name), columnsOf(tree, 'cols'))]);
  if (!overwrites) return { risk: inserts, uses };
  // ON CONFLICT DO UPDATE overwrites what stands there (H71).
  const updates = risk('HIGH', 'insert.overwrites', 'It overwrites rows that conflict with the new ones.', [onColumns(effect('update', 'table', name, 'ON CONFLICT DO UPDATE'), columnsOf(conflict, 'targetList'))], 'exact-rows');
  return { risk: joinRisks(inserts, updates), uses };
}

function targetOf(relation: Tree | undefined): Target {
  const name = stringIn(relation ?? {}, 'relname') ?? '';
  return { relation: name, alias: stringIn(treeIn(relation ?? {}, 'alias') ?? {}, 'aliasname') ?? name };
}

const verbs = { update: ['changes', 'UPDATE'], delete: ['deletes', 'DELETE'] } as const;

function change(tree: Tree, context: RowContext, kind: 'update' | 'delete'): OwnReading {
  const relation = treeIn(tree, 'relation');
  const name = nameOf(relation);
  const uses = useOf(relation, [kind, kind === 'update' ? writing(columnsOf(tree, 'targetList')) : {}]);
  if (context.isTemporary(rangeVarNames(relation ?? {}))) return { risk: temporaryWrite(kind, name), uses };
  const columns = kind === 'update' ? columnsOf(tree, 'targetList') : undefined;
  return { risk: changeRisk(kind, name, columns, isUnbounded(nodeIn(tree, 'whereClause'), targetOf(relation)), nodeIn(tree, 'whereClause')), uses };
}

function changeRisk(kind: 'update' | 'delete', name: string, columns: readonly string[] | undefined, isEverything: boolean, where: Node | undefined): Risk {
  const [verb, word] = verbs[kind];
  const effects = [onColumns(effect(kind, 'table', name), columns)];
  if (!isEverything) return risk('HIGH', `${kind}.where`, `It ${verb} the rows that its WHERE chooses.`, effects, 'exact-rows');
  if (where === undefined) return risk('CRITICAL', `${kind}.no-where`, `${word} without WHERE: it ${verb} every row.`, effects, 'exact-rows');
  return risk('CRITICAL', `${kind}.where-always-true`, `The WHERE of this ${word} keeps no row back, so it ${verb} every row.`, effects, 'exact-rows');
}

function merge(tree: Tree, context: RowContext): OwnReading {
  const relation = treeIn(tree, 'relation');
  const name = nameOf(relation);
  const target = targetOf(relation);
  const join = nodeIn(tree, 'joinCondition');
  const branches = nodesIn(tree, 'mergeWhenClauses').flatMap((when) => branchOf(when, join, target));
  const uses = useOf(relation, 'read', ...branches.map(({ kind, columns }): readonly [RelationUse, Partial<RelationMention>] => [kind, writing(columns)]));
  if (context.isTemporary(rangeVarNames(relation ?? {}))) return { risk: temporaryWrite('update', name), uses };
  const own = branches.map(({ kind, columns, isEverything }) => {
    const effects = [onColumns(effect(kind, 'table', name), columns)];
    if (kind === 'insert') return risk('HIGH', 'merge.insert', 'It adds rows that the source has and the target has not.', effects);
    if (isEverything) return risk('CRITICAL', `merge.${kind}-everything`, `Its conditions keep no row back, so it ${verbs[kind][0]} every row.`, effects, 'exact-rows');
    return risk('HIGH', `merge.${kind}`, `It ${verbs[kind][0]} rows of the target.`, effects, 'exact-rows');
  });
  const idle = risk('HIGH', 'merge.rows', 'It merges rows into a table.', [effect('update', 'table', name)]);
  return { risk: own.length === 0 ? idle : joinAll(own), uses };
}

interface MergeBranch { readonly kind: 'insert' | 'update' | 'delete'; readonly isEverything: boolean; readonly columns?: readonly string[] }

const mergeKinds: ReadonlyMap<string, MergeBranch['kind']> = new Map([['CMD_INSERT', 'insert'], ['CMD_UPDATE', 'update'], ['CMD_DELETE', 'delete']]);

function branchOf({ tree }: Node, join: Node | undefined, target: Target): readonly MergeBranch[] {
  const command = stringIn(tree, 'commandType') ?? '';
  if (command === 'CMD_NOTHING') return [];
  const kind = mergeKinds.get(command) ?? 'delete';
  const condition = nodeIn(tree, 'condition');
  // NOT MATCHED BY SOURCE takes the rows that the join does not find.
  const isBySource = stringIn(tree, 'matchKind') === 'MERGE_WHEN_NOT_MATCHED_BY_SOURCE';
  const chosenBy = isBySource && join !== undefined ? { type: 'BoolExpr', tree: { boolop: 'NOT_EXPR', args: [{ [join.type]: join.tree }] } } : join;
  const columns = columnsOf(tree, 'targetList');
  return [{ kind, isEverything: isUnbounded(chosenBy, target) && isUnbounded(condition, target), ...(columns === undefined ? {} : { columns }) }];
}

function truncate(tree: Tree, context: RowContext): OwnReading {
  const relations = nodesIn(tree, 'relations').map((node) => node.tree);
  const cascade = stringIn(tree, 'behavior') === 'DROP_CASCADE';
  const uses = relations.flatMap((relation) => useOf(relation, ['truncate', { cascade }]));
  const own = relations.map((relation) => (context.isTemporary(rangeVarNames(relation)) && !cascade
    ? temporaryWrite('truncate', nameOf(relation))
    : risk('CRITICAL', 'truncate.table', `It empties a table at once${cascade ? ', and every table that refers to it' : ''}.`,
        [effect('truncate', 'table', nameOf(relation), cascade ? 'CASCADE' : undefined)], 'table')));
  const restarts = flagIn(tree, 'restart_seqs') ? risk('HIGH', 'truncate.restarts-sequences', 'It restarts the sequences of the table.', [effect('sequence', 'sequence')]) : nothing;
  return { risk: joinAll([own.every(({ level }) => level === 'LOW') ? nothing : restarts, ...own]), uses };
}

function copy(tree: Tree, context: RowContext): OwnReading {
  const relation = treeIn(tree, 'relation');
  const isFrom = flagIn(tree, 'is_from');
  const columns = nodesIn(tree, 'attlist').flatMap(textOfString);
  const uses = useOf(relation, isFrom ? ['insert', { reads: { names: new Set(), selected: [] }, ...(columns.length > 0 ? { columns } : {}) }] : ['read', columns.length > 0 ? { reads: { names: new Set(columns), selected: [] } } : {}]);
  const place = placeRisk(tree, isFrom);
  const data = !isFrom ? nothing
    : context.isTemporary(rangeVarNames(relation ?? {})) ? temporaryWrite('insert', nameOf(relation))
      : risk('HIGH', 'copy.in', 'It adds the rows of a COPY.', [onColumns(effect('insert', 'table', nameOf(relation)), columns.length > 0 ? columns : undefined)]);
  const isWire = place === nothing;
  return { risk: joinRisks(place, data), uses, ...(isWire ? { copy: isFrom ? 'in' as const : 'out' as const } : {}) };
}

/** COPY with a file or a program works even in a READ ONLY transaction (H56). */
function placeRisk(tree: Tree, isFrom: boolean): Risk {
  if (flagIn(tree, 'is_program')) {
    return risk('CRITICAL', 'copy.program', 'It runs a program on the server.', [effect('program', 'program')], isFrom ? undefined : 'none');
  }
  if (stringIn(tree, 'filename') === undefined) return nothing;
  return isFrom
    ? risk('CRITICAL', 'copy.from-file', 'It reads a file on the server.', [effect('file', 'file')])
    : risk('CRITICAL', 'copy.to-file', 'It writes a file on the server.', [effect('file', 'file')], 'none');
}
