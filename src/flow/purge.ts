/**
 * Purge: recovery points whose time is over go, in this order: on record as purged, with an entry of the ledger; then their
 * objects, chunks before packs; then a note that nothing is left. So nothing is lost that the record still promises, and a
 * purge that was interrupted goes on where it was. A pack that any unexpired point needs stays. No put can be in the way:
 * every sealed object is one of its own, so nothing that is removed here is about to be named by a new point.
 */
import { Failure } from '../core/failure.ts';
import type { RecoveryPointState } from '../core/recovery/recovery-point.ts';
import type { Bucket, StoredObject } from '../remote/bucket/bucket.ts';
import { undoSession } from './undo-points.ts';
import type { PurgedPoint, PurgeRecord } from '../store/purge-record.ts';
import type { RecoveryPoints } from '../store/recovery-points.ts';

export interface PurgeDeps {
  readonly points: Pick<RecoveryPoints, 'list' | 'change' | 'needed'>;
  readonly record: Pick<PurgeRecord, 'left' | 'removed'>;
  readonly bucket: { readonly remove: (name: string) => Promise<void> };
  /** Of a point whose tables were set aside on the server in place of being copied: drops them there. Throws Failure. */
  readonly emptyBin: (point: PurgedPoint) => Promise<void>;
}

export interface Expired {
  readonly points: number;
  readonly rows: number;
  /** Of COPY text, before it was compressed. */
  readonly bytes: number;
  /** As old, but nobody knows yet that their transactions have ended; they stay. */
  readonly running: number;
}

export interface Purged {
  readonly points: number;
  readonly rows: number;
  readonly bytes: number;
  /** Removed from the bucket. */
  readonly objects: number;
  /** What does not go yet, and until when; at most some of them. */
  readonly locked: readonly string[];
  readonly lockedCount: number;
}

/** What a purge of recovery points could not do on the server; with its reason each. */
export interface PurgedPoints extends Purged { readonly binsLeft: readonly string[] }

const pagePoints = 200;
const removalsAtOnce = 8;
const lockedShownMax = 20;
/** Between a look and the change, an undo or another purge may have come first. */
const attemptsMax = 5;
const states: readonly RecoveryPointState[] = ['committed', 'discarded', 'unknown', 'undone'];

/** Changes nothing. `until`: ISO 8601; points that are younger stay. */
export async function findExpired({ points }: Pick<PurgeDeps, 'points'>, until: string): Promise<Expired> {
  let [count, rows, bytes, running] = [0, 0, 0, 0];
  for (let before: string | undefined; ;) {
    const page = await points.list({ states: [...states, 'sealed'], until, limit: pagePoints, ...(before === undefined ? {} : { before }) });
    for (const point of page) {
      if (point.state === 'sealed') {
        running += 1;
        continue;
      }
      count += 1;
      rows += point.rows;
      bytes += point.bytes;
    }
    before = page.at(-1)?.id;
    if (page.length < pagePoints) return { points: count, rows, bytes, running };
  }
}

/** `by`: an operator. Throws Failure `bucket_unavailable` or `store_unavailable`: then it can be run again. */
export async function purge(deps: PurgeDeps, { until, by, note }: { readonly until: string; readonly by: string; readonly note: string }): Promise<PurgedPoints> {
  let [count, rows, bytes] = [0, 0, 0];
  for (;;) {
    const page = await markPage(deps, until, { by, note });
    if (page.length === 0) break;
    for (const point of page) {
      count += 1;
      rows += point.rows;
      bytes += point.bytes;
    }
  }
  return { points: count, rows, bytes, ...await removeLeft(deps) };
}

async function markPage({ points }: PurgeDeps, until: string, by: { readonly by: string; readonly note: string }): ReturnType<RecoveryPoints['list']> {
  for (let attempt = 1; ; attempt += 1) {
    const page = await points.list({ states, until, limit: pagePoints });
    try {
      if (page.length > 0) await points.change(page.map(({ id }) => id), 'purged', by);
      return page;
    } catch (error) {
      if (!(error instanceof Failure) || error.code !== 'conflict' || attempt === attemptsMax) throw error;
    }
  }
}

/** Of all points that are on record as purged, whoever marked them. */
async function removeLeft(deps: PurgeDeps): Promise<Pick<PurgedPoints, 'objects' | 'locked' | 'lockedCount' | 'binsLeft'>> {
  const locked: string[] = [];
  const binsLeft: string[] = [];
  let [objects, lockedCount] = [0, 0];
  for (let after = ''; ;) {
    const all = await deps.record.left(after, pagePoints);
    const page = await emptyBins(deps, all, binsLeft);
    const needed = await deps.points.needed(page.flatMap(({ pack, chunks }) => [pack, ...chunks]));
    const gone = new Set<string>();
    const stuck = new Set<string>();
    const remove = (names: readonly string[]): Promise<void> => removeAll(deps, [...new Set(names)].filter((name) => !needed.has(name)), { gone, onLocked: (name, why) => {
      stuck.add(name);
      if (locked.length < lockedShownMax) locked.push(why);
    } });
    await remove(page.flatMap(({ chunks }) => chunks));
    // What says which chunks there are stays as long as any of them.
    await remove(page.filter(({ chunks }) => chunks.every((name) => !stuck.has(name))).map(({ pack }) => pack));
    objects += gone.size;
    lockedCount += stuck.size;
    await deps.record.removed(page.filter((point) => !isStuck(point, stuck)).map(({ id }) => id));
    if (all.length < pagePoints) return { objects, locked, lockedCount, binsLeft };
    after = all.at(-1)?.id ?? after;
  }
}

/** Those of which nothing is left on the server; of the others the manifest stays, which alone says what is there. */
async function emptyBins({ emptyBin }: PurgeDeps, points: readonly PurgedPoint[], left: string[]): Promise<readonly PurgedPoint[]> {
  const emptied: PurgedPoint[] = [];
  for (const point of points) {
    try {
      if (point.method === 'tombstone') await emptyBin(point);
      emptied.push(point);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      if (left.length < lockedShownMax) left.push(`${point.id}: ${error.message}`);
    }
  }
  return emptied;
}

function isStuck({ pack, chunks }: PurgedPoint, stuck: ReadonlySet<string>): boolean {
  return [pack, ...chunks].some((name) => stuck.has(name));
}

interface Removal {
  readonly gone: Set<string>;
  readonly onLocked: (name: string, why: string) => void;
}

/** A few at a time. Throws what a removal throws, but for a lock. */
async function removeAll({ bucket }: Pick<PurgeDeps, 'bucket'>, names: readonly string[], { gone, onLocked }: Removal): Promise<void> {
  for (let at = 0; at < names.length; at += removalsAtOnce) {
    await Promise.all(names.slice(at, at + removalsAtOnce).map(async (name) => {
      try {
        await bucket.remove(name);
        gone.add(name);
      } catch (error) {
        if (!(error instanceof Failure) || error.code !== 'object_locked') throw error;
        onLocked(name, error.message);
      }
    }));
  }
}

export interface OrphanDeps {
  readonly points: Pick<RecoveryPoints, 'needed'>;
  readonly record: Pick<PurgeRecord, 'named' | 'knownSessions'>;
  readonly bucket: Pick<Bucket, 'list' | 'place'> & PurgeDeps['bucket'];
  /** The sessions whose manifests lie in a pack. Throws Failure. */
  readonly sessionsIn: (pack: string) => Promise<readonly string[]>;
}

export interface Orphans {
  readonly names: readonly string[];
  /** As they lie there, compressed. */
  readonly bytes: number;
  /** There may be more: run it again. */
  readonly isAll: boolean;
}

/** Longer than a capture may take, so that what is about to be named is never taken for an orphan. */
const orphanHoursMin = 24;
const orphansAtOnce = 100_000;
const askedAtOnce = 500;

/**
 * Objects that no record names, as a crash leaves them. Where a pack among them, however young, is of a session that this
 * store has never heard of, the place is shared with another Backstop, whose recovery points these would be. Throws Failure
 * `conflict` then.
 */
export async function findOrphans(deps: OrphanDeps, now: Date): Promise<Orphans> {
  const storedBefore = now.getTime() - orphanHoursMin * 3_600_000;
  const names: string[] = [];
  let bytes = 0;
  const look = async (objects: readonly StoredObject[]): Promise<void> => {
    const named = await deps.record.named(objects.map(({ name }) => name));
    for (const { name, bytes: size, storedAt } of objects.filter((object) => !named.has(object.name))) {
      if (name.startsWith('packs/')) await checkOurs(deps, name);
      if (storedAt.getTime() >= storedBefore) continue;
      names.push(name);
      bytes += size;
    }
  };
  let some: StoredObject[] = [];
  // Packs come first, so that whose they are is known before any chunk is taken for an orphan.
  for (const kind of ['packs', 'objects'] as const) {
    for await (const object of deps.bucket.list(kind)) {
      some.push(object);
      if (some.length < askedAtOnce) continue;
      await look(some);
      some = [];
      if (names.length >= orphansAtOnce) return { names, bytes, isAll: false };
    }
    await look(some);
    some = [];
  }
  return { names, bytes, isAll: true };
}

async function checkOurs({ sessionsIn, record, bucket }: OrphanDeps, pack: string): Promise<void> {
  // Undos come in no session, and never alone.
  const sessions = (await sessionsIn(pack)).filter((session) => session !== undoSession);
  const known = await record.knownSessions(sessions);
  const stranger = sessions.find((session) => !known.has(session));
  if (stranger === undefined) return;
  throw new Failure('conflict', `${pack} in ${bucket.place} holds a recovery point of session ${stranger}, which is not on this record`, {
    hint: 'Another Backstop seems to keep its recovery points in the same place. Give each its own prefix or folder; nothing was removed.',
  });
}

/** Of what `findOrphans` found; a name that a point needs by now stays. */
export async function removeOrphans(deps: OrphanDeps, { names }: Orphans): Promise<Pick<Purged, 'objects' | 'locked' | 'lockedCount'>> {
  const gone = new Set<string>();
  const locked: string[] = [];
  let lockedCount = 0;
  const needed = await deps.points.needed(names);
  await removeAll(deps, names.filter((name) => !needed.has(name)), { gone, onLocked: (_, why) => {
    lockedCount += 1;
    if (locked.length < lockedShownMax) locked.push(why);
  } });
  return { objects: gone.size, locked, lockedCount };
}
