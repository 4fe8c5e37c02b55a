/**
 * Which recovery points an operator means: those of actions named by their ids, which may be shortened while they stay
 * clear, or all of an agent or of a time. One that cannot be undone is told by name, with what became of it.
 */
import { Failure } from '../core/failure.ts';
import { pointOf, type RecoveryPointOnRecord, type RecoveryPointState } from '../core/recovery/recovery-point.ts';
import type { StoredManifest } from '../remote/bucket/stored-packs.ts';
import type { RecoveryPoints } from '../store/recovery-points.ts';

export type Wanted =
  | { readonly kind: 'ids'; /** `act_…` or `rp_…`, or how they begin. */ readonly ids: readonly string[] }
  /** The newest that can be undone. */
  | { readonly kind: 'last'; readonly agent?: string }
  | { readonly kind: 'window'; readonly agent?: string; /** ISO 8601, milliseconds, UTC. */ readonly since?: string; readonly until?: string };

export interface FindDeps {
  readonly points: Pick<RecoveryPoints, 'list' | 'startingWith'>;
  /** What became of one whose end nobody heard, if the server can tell. */
  readonly resolve: (point: RecoveryPointOnRecord) => Promise<RecoveryPointOnRecord>;
  /** Every manifest that the storage holds: where the store is lost, it alone knows them. */
  readonly stored: () => AsyncIterable<StoredManifest>;
}

const pageSize = 100;
/** In one transaction. */
const pointsMax = 1_000;
const shortestId = 8;

/** What nobody knows the end of is undone all the same: where it was rolled back, every row is as before already. */
const undoable: readonly RecoveryPointState[] = ['committed', 'unknown'];
/** Whoever was to write the end of one that is sealed may be gone. */
const maybeUndoable: readonly RecoveryPointState[] = [...undoable, 'sealed'];
const why: Readonly<Record<Exclude<RecoveryPointState, 'committed' | 'unknown'>, string>> = {
  sealed: 'has not ended yet',
  discarded: 'was rolled back, so there is nothing to undo', undone: 'was undone already', purged: 'is too old: what would undo it was purged',
};

/** Throws Failure `not_found`, `conflict`, `usage` or `too_large`. */
export async function findPoints({ points, resolve, stored }: FindDeps, wanted: Wanted): Promise<readonly RecoveryPointOnRecord[]> {
  if (wanted.kind === 'window') {
    const resolved: RecoveryPointOnRecord[] = [];
    for (const point of await inWindow(points, wanted)) resolved.push(await resolve(point));
    return resolved.filter(({ state }) => undoable.includes(state));
  }
  if (wanted.kind === 'last') return [await newest(points, resolve, wanted.agent)];
  const found = new Map<string, RecoveryPointOnRecord>();
  for (const id of wanted.ids) {
    const onRecord = await named(points, id);
    const point = onRecord === undefined ? await inStorage(stored, id) : await resolve(onRecord);
    if (point.state !== 'committed' && point.state !== 'unknown') throw new Failure('conflict', `the action ${point.actions.join(', ')} ${why[point.state]}`);
    found.set(point.id, point);
  }
  return [...found.values()];
}

/** An undo comes on no connection of a client's. */
export const undoSession = 'undo';

/** To undo everything is not to do again what was undone: an undo is meant only where it, or whoever asked for it, is named. */
function isMeant({ sessionId }: RecoveryPointOnRecord, agent: string | undefined): boolean { return agent !== undefined || sessionId !== undoSession; }

async function newest(points: FindDeps['points'], resolve: FindDeps['resolve'], agent: string | undefined): Promise<RecoveryPointOnRecord> {
  for (let before: string | undefined; ;) {
    const page = await points.list({ states: maybeUndoable, limit: pageSize, ...(agent === undefined ? {} : { agent }), ...(before === undefined ? {} : { before }) });
    for (const point of page) {
      const known = isMeant(point, agent) ? await resolve(point) : undefined;
      if (known !== undefined && undoable.includes(known.state)) return known;
    }
    before = page.at(-1)?.id;
    if (page.length < pageSize) throw new Failure('not_found', 'there is no action that could be undone');
  }
}

async function inWindow(points: Pick<RecoveryPoints, 'list'>, { agent, since, until }: Extract<Wanted, { readonly kind: 'window' }>): Promise<readonly RecoveryPointOnRecord[]> {
  const all = await points.list({ states: maybeUndoable, limit: pointsMax + 1, ...(agent === undefined ? {} : { agent }), ...(since === undefined ? {} : { since }), ...(until === undefined ? {} : { until }) });
  const found = all.filter((point) => isMeant(point, agent));
  if (all.length > pointsMax) throw new Failure('too_large', `more than ${pointsMax} recovery points are meant`, { hint: 'Undo the newest first: choose a shorter time with --since.' });
  if (found.length === 0) throw new Failure('not_found', 'no action of then can be undone: nothing was captured, or all of it was undone or purged');
  return found;
}

/** undefined: none of this id is on record. */
async function named(points: Pick<RecoveryPoints, 'startingWith'>, id: string): Promise<RecoveryPointOnRecord | undefined> {
  if (!/^(act|rp)_[0-9a-z]+$/.test(id)) throw new Failure('usage', `${id} is no id of an action`, { hint: 'Ids begin with act_ (an action, see `backstop log`) or rp_ (a recovery point).' });
  if (id.length < shortestId) throw new Failure('usage', `${id} is too short: give at least ${shortestId} characters`);
  const matching = (await points.startingWith(id, pointsMax)).flatMap((point) => [point.id, ...point.actions].flatMap((name) => (name.startsWith(id) ? [{ name, point }] : [])));
  const exact = matching.find(({ name }) => name === id);
  if (exact !== undefined) return exact.point;
  const [first] = matching;
  if (first === undefined) return undefined;
  if (new Set(matching.map(({ point }) => point.id)).size > 1) throw new Failure('usage', `${id} begins the ids of several actions: ${matching.slice(0, 5).map(({ name }) => name).join(', ')}`);
  return first.point;
}

const wholeId = /^(?:act|rp)_[0-9a-z]{20}$/;

/** Every pack has to be read for that, so only a whole id is worth it. What became of its transaction nobody knows. */
async function inStorage(stored: FindDeps['stored'], id: string): Promise<RecoveryPointOnRecord> {
  if (wholeId.test(id)) {
    for await (const found of stored()) {
      if (found.kind === 'manifest' && [found.manifest.id, ...found.manifest.actions].includes(id)) return { ...pointOf(found.manifest, found), state: 'unknown', changedAt: found.manifest.createdAt };
    }
  }
  throw new Failure('not_found', `nothing was captured by which ${id} could be undone`, { hint: '`backstop log` marks the actions that can be undone. What only reads or inserts is not captured.' });
}
