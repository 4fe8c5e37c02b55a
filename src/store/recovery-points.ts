/**
 * Recovery points in the store: which there are, whose, where they lie, and what became of them. One is on record, with its
 * entry of the ledger in the same transaction, before the transaction that it protects may commit; its fate is written
 * with the outcomes of its actions. Every later change of state is one transaction with an entry of its own.
 */
import type { RecoveryPointBody, SealedBody } from '../core/ledger/entry.ts';
import { Failure } from '../core/failure.ts';
import { mayBecome, type RecoveryPointOnRecord, type RecoveryPointState, type SealedPoint, type TransactionFate } from '../core/recovery/recovery-point.ts';
import type { CaptureMethod } from '../core/recovery/manifest.ts';
import type { Recoverability } from '../core/risk.ts';
import type { Clock } from '../lib/clock.ts';
import type { Changes, Queries, StoreDatabase, Tables } from './database.ts';
import { appendEntries, inGroups } from './ledger-append.ts';
import type { Ledger } from './ledger.ts';

export interface RecoveryPoints {
  /** Durable when it resolves. Throws Failure `ledger_unavailable`. */
  seal(point: SealedPoint): Promise<void>;
  /** At once; written with the next outcomes. What a crash loses of it becomes `unknown`. */
  settle(point: SealedPoint, fate: TransactionFate): void;
  /** Throws Failure `not_found`. */
  get(id: string): Promise<RecoveryPointOnRecord>;
  /** Oldest first; none: nothing of it was captured. */
  ofAction(actionId: string): Promise<readonly RecoveryPointOnRecord[]>;
  /** Those whose id, or that of one of their actions, begins so; oldest first. */
  startingWith(id: string, limit: number): Promise<readonly RecoveryPointOnRecord[]>;
  /** Newest first. */
  list(wanted: WantedPoints): Promise<readonly RecoveryPointOnRecord[]>;
  /** All of them or none. Throws Failure `not_found`, or `conflict` where a state does not allow that. */
  change(ids: readonly string[], to: RecoveryPointBody['change'], by: ChangedBy): Promise<void>;
  /** Of these objects of the bucket, those that a point needs which is not purged. */
  needed(objects: readonly string[]): Promise<ReadonlySet<string>>;
}

export interface WantedPoints {
  readonly agent?: string;
  readonly database?: string;
  /** Absent: any. */
  readonly states?: readonly RecoveryPointState[];
  /** ISO 8601, milliseconds, UTC; the first counts, the last does not. */
  readonly since?: string;
  readonly until?: string;
  /** Only older ones than that: for the next page. */
  readonly before?: string;
  readonly limit: number;
}

export interface ChangedBy {
  /** An operator's name, or `backstop`. */
  readonly by: string;
  readonly note: string | null;
}

export interface RecoveryPointsDeps {
  readonly database: StoreDatabase;
  readonly ledger: Pick<Ledger, 'sealPoint' | 'settlePoint'>;
  readonly clock: Pick<Clock, 'now'>;
}

export function createRecoveryPoints({ database, ledger, clock }: RecoveryPointsDeps): RecoveryPoints {
  const { queries } = database;
  return {
    seal: (point) => ledger.sealPoint(point),
    settle: (point, fate) => { ledger.settlePoint(point, fate); },
    get: (id) => getOne(queries, id),
    ofAction: async (actionId) => (await queries.selectFrom('recovery_point').selectAll().where('id', 'in', (where) =>
      where.selectFrom('recovery_point_action').select('point_id').where('action_id', '=', actionId)).orderBy('id').execute()).map(fromRow),
    startingWith: (id, limit) => startingWith(queries, id, limit),
    list: (wanted) => list(queries, wanted),
    change: (ids, to, by) => database.transact(async (changes) => {
      const points = await findAll(changes, ids);
      const missing = ids.find((id) => points.every((point) => point.id !== id));
      if (missing !== undefined) throw noSuch(missing);
      await changePoints(changes, points, to, by, clock.now());
    }),
    needed: (objects) => needed(queries, objects),
  };
}

export function sealedBody({ id, actions, agent, database, scope, method, pack, line, rows, bytes, xid }: SealedPoint): SealedBody {
  return { kind: 'recovery-point', change: 'sealed', recoveryPointId: id, actionIds: actions, agent, database, scope, method, pack, line, rows, bytes, xid };
}

/** In the transaction of their entries. */
export async function keepSealed(changes: Changes, points: readonly SealedPoint[], nodeId: string | null): Promise<void> {
  for (const some of inGroups(points)) await changes.insertInto('recovery_point').values(some.map((point) => toRow(point, nodeId))).execute();
  const actions = points.flatMap(({ id, actions: ids }) => ids.map((action) => ({ action_id: action, point_id: id })));
  for (const some of inGroups(actions)) await changes.insertInto('recovery_point_action').values(some).execute();
  const chunks = points.flatMap(({ id, chunks: names }) => [...new Set(names)].map((name) => ({ name, point_id: id })));
  for (const some of inGroups(chunks)) await changes.insertInto('recovery_point_chunk').values(some).execute();
}

/** A point and what became of it, waiting to be written. */
export interface Settlement { readonly point: SealedPoint; readonly fate: TransactionFate }

/** Without entries: the outcomes of the actions say it. What an undo undid has one. */
export async function keepSettled(changes: Changes, settlements: readonly Settlement[], at: Date): Promise<void> {
  for (const fate of ['committed', 'discarded', 'unknown'] as const) {
    for (const some of inGroups(settlements.filter((settlement) => settlement.fate === fate))) {
      await changes.updateTable('recovery_point').set({ state: fate, changed_at: at.toISOString(), node_id: null })
        .where('id', 'in', some.map(({ point }) => point.id)).where('state', 'in', ['sealed', 'unknown']).execute();
    }
  }
  for (const { point, fate } of settlements) {
    if (fate === 'committed' && point.undoes.length > 0) await undoThose(changes, point, at);
  }
}

/** Each to the same state, with an entry each. Throws Failure `conflict`: then nothing is changed. */
async function changePoints(changes: Changes, points: readonly RecoveryPointOnRecord[], to: RecoveryPointBody['change'], { by, note }: ChangedBy, at: Date): Promise<void> {
  for (const { id, state } of points) {
    if (!mayBecome(state, to)) throw new Failure('conflict', `the recovery point ${id} is ${state}, so it cannot become ${to}`);
  }
  for (const some of inGroups(points)) {
    await changes.updateTable('recovery_point').set({ state: to, changed_at: at.toISOString(), node_id: null }).where('id', 'in', some.map(({ id }) => id)).execute();
  }
  await appendEntries(changes, at, points.map(({ id, actions }) => ({ kind: 'recovery-point', change: to, recoveryPointId: id, actionIds: actions, by, note })));
  for (const point of points) {
    if (to === 'committed') await undoThose(changes, point, at);
    if (to === 'undone') await countAgain(changes, point, at);
  }
}

/** An undo has committed: what it undid is undone. */
async function undoThose(changes: Changes, undo: Pick<SealedPoint, 'id' | 'actions' | 'undoes'>, at: Date): Promise<void> {
  const undone = (await findAll(changes, undo.undoes)).filter(({ state }) => mayBecome(state, 'undone'));
  await changePoints(changes, undone, 'undone', { by: 'backstop', note: `by ${undo.actions.join(', ')}` }, at);
}

/** An undo was undone itself: what it had undone is in force again. */
async function countAgain(changes: Changes, undo: Pick<SealedPoint, 'undoes'>, at: Date): Promise<void> {
  const again = (await findAll(changes, undo.undoes)).filter(({ state }) => state === 'undone');
  await changePoints(changes, again, 'committed', { by: 'backstop', note: 'its undo was undone' }, at);
}

async function findAll(changes: Changes, ids: readonly string[]): Promise<readonly RecoveryPointOnRecord[]> {
  const found: Tables['recovery_point'][] = [];
  for (const some of inGroups(ids)) found.push(...await changes.selectFrom('recovery_point').selectAll().where('id', 'in', some).orderBy('id').execute());
  return found.map(fromRow);
}

async function list(queries: Queries, { agent, database, states, since, until, before, limit }: WantedPoints): Promise<readonly RecoveryPointOnRecord[]> {
  let query = queries.selectFrom('recovery_point').selectAll().orderBy('id', 'desc').limit(limit);
  if (agent !== undefined) query = query.where('agent', '=', agent);
  if (database !== undefined) query = query.where('database_name', '=', database);
  if (states !== undefined) query = query.where('state', 'in', states);
  // ISO 8601 in UTC with milliseconds: the order of the texts is that of the times.
  if (since !== undefined) query = query.where('created_at', '>=', since);
  if (until !== undefined) query = query.where('created_at', '<', until);
  if (before !== undefined) query = query.where('id', '<', before);
  return (await query.execute()).map(fromRow);
}

/** Follows every character of an id. */
const afterIds = '~';

async function startingWith(queries: Queries, id: string, limit: number): Promise<readonly RecoveryPointOnRecord[]> {
  const rows = await queries.selectFrom('recovery_point').selectAll().orderBy('id').limit(limit).where((where) => where.or([
    where.and([where('id', '>=', id), where('id', '<', `${id}${afterIds}`)]),
    where('id', 'in', where.selectFrom('recovery_point_action').select('point_id').where('action_id', '>=', id).where('action_id', '<', `${id}${afterIds}`)),
  ])).execute();
  return rows.map(fromRow);
}

async function needed(queries: Queries, objects: readonly string[]): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  for (const some of inGroups(objects)) {
    const packs = await queries.selectFrom('recovery_point').select('pack').distinct().where('pack', 'in', some).where('state', '<>', 'purged').execute();
    const chunks = await queries.selectFrom('recovery_point_chunk as c').innerJoin('recovery_point as p', 'p.id', 'c.point_id').select('c.name').distinct()
      .where('c.name', 'in', some).where('p.state', '<>', 'purged').execute();
    for (const { pack } of packs) found.add(pack);
    for (const { name } of chunks) found.add(name);
  }
  return found;
}

async function getOne(queries: Queries, id: string): Promise<RecoveryPointOnRecord> {
  const row = await queries.selectFrom('recovery_point').selectAll().where('id', '=', id).executeTakeFirst();
  if (row === undefined) throw noSuch(id);
  return fromRow(row);
}

function noSuch(id: string): Failure { return new Failure('not_found', `there is no recovery point ${id}`); }

function toRow(point: SealedPoint, nodeId: string | null): Tables['recovery_point'] {
  const { id, actions, agent, sessionId, database, scope, method, pack, line, rows, bytes, systemId, timeline, xid, undoes, createdAt } = point;
  return {
    id, state: 'sealed', agent, session_id: sessionId, database_name: database, scope, method, pack, line, row_count: rows, byte_count: bytes, actions: JSON.stringify(actions),
    system_id: systemId, timeline, xid, undoes: undoes.length === 0 ? null : JSON.stringify(undoes), created_at: createdAt, changed_at: createdAt, node_id: nodeId, objects_left: 1,
  };
}

/** What this module wrote, it can read. */
function fromRow(row: Tables['recovery_point']): RecoveryPointOnRecord {
  return {
    id: row.id, state: row.state as RecoveryPointState, agent: row.agent, sessionId: row.session_id, database: row.database_name,
    scope: row.scope as Recoverability, method: row.method as CaptureMethod, pack: row.pack, line: row.line, rows: row.row_count, bytes: row.byte_count,
    actions: JSON.parse(row.actions) as readonly string[], systemId: row.system_id, timeline: row.timeline, xid: row.xid,
    undoes: row.undoes === null ? [] : JSON.parse(row.undoes) as readonly string[], createdAt: row.created_at, changedAt: row.changed_at,
  };
}
