/** A purge takes what is expired and nothing else, on a real store and a real folder; whatever fails, it can be run again. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { Failure } from '../core/failure.ts';
import { readManifest } from '../core/recovery/manifest.ts';
import type { RecoveryPointState, TransactionFate } from '../core/recovery/recovery-point.ts';
import type { Bucket, ObjectName } from '../remote/bucket/bucket.ts';
import { openFolderBucket } from '../remote/bucket/folder.ts';
import { readObject } from '../remote/bucket/stored-point.ts';
import { createPurgeRecord, type PurgeRecord } from '../store/purge-record.ts';
import { withStore, type TestStore } from '../../test/fixtures/store.ts';
import { keepPoint, pointRoom, readsBack, type PointRoom } from '../../test/fixtures/kept-point.ts';
import { until } from '../../test/fixtures/until.ts';
import { findExpired, findOrphans, purge, removeOrphans, type Expired, type OrphanDeps, type PurgeDeps, type Purged } from './purge.ts';

const folder = mkdtempSync(join(tmpdir(), 'purge-'));
after(() => { rmSync(folder, { recursive: true }); });
const failsWith = (code: string) => (error: unknown): boolean => error instanceof Failure && error.code === code;
const [dayMs, now] = [86_400_000, new Date('2026-11-21T12:00:00.000Z')];
const daysAgo = (days: number): Date => new Date(now.getTime() - days * dayMs);
const month = { until: daysAgo(30).toISOString(), by: 'olga', note: 'older than 30 days' } as const;

interface Scene extends PointRoom {
  readonly store: TestStore;
  readonly record: PurgeRecord;
  readonly bucket: Bucket;
  readonly deps: PurgeDeps & OrphanDeps;
  /** How a removal fails; undefined: it does not. */
  fault: (name: string) => Failure | undefined;
}

let scenes = 0;
const inScene = (work: (scene: Scene) => Promise<void>): Promise<void> => withStore(async (store) => {
  const bucket = await openFolderBucket(join(folder, String(scenes += 1)));
  const record = createPurgeRecord(store);
  const room = await pointRoom(bucket, store.recoveryPoints);
  const scene: Scene = {
    ...room, store, bucket, record, fault: () => undefined,
    deps: {
      points: store.recoveryPoints, record, emptyBin: () => Promise.resolve(),
      bucket: { place: bucket.place, list: bucket.list, remove: async (name) => { const fault = scene.fault(name); if (fault !== undefined) throw fault; await bucket.remove(name as ObjectName); } },
      sessionsIn: async (pack) => (await readObject(room.stored, pack)).toString().trimEnd().split('\n').map((line) => readManifest(line).sessionId),
    },
  };
  await work(scene);
});

const objects = async ({ bucket }: Scene): Promise<readonly string[]> => {
  const names: string[] = [];
  for await (const { name } of bucket.list()) names.push(name);
  return names.sort();
};

async function kept(scene: Scene, days: number, fate: TransactionFate | 'running' = 'committed', rows = 10): Promise<string> {
  const { id, settle } = await keepPoint(scene, { at: daysAgo(days), rows });
  if (fate === 'running') return id;
  settle(fate);
  await isState(scene, id, fate);
  return id;
}

const stateOf = async ({ store }: Scene, id: string): Promise<RecoveryPointState> => (await store.recoveryPoints.get(id)).state;
const isState = (scene: Scene, id: string, state: RecoveryPointState): Promise<unknown> => until(`${id} is ${state}`, async () => await stateOf(scene, id) === state);

test('what is expired goes, and its objects with it; what is younger, or still running, stays whole', () => inScene(async (scene) => {
  const old = [await kept(scene, 40, 'committed', 3_000), await kept(scene, 31, 'discarded'), await kept(scene, 35, 'unknown')];
  const running = await kept(scene, 50, 'running');
  const young = [await kept(scene, 29, 'committed', 3_000), await kept(scene, 1)];
  const before = await objects(scene);
  const expired = await findExpired(scene.deps, month.until);
  assert.deepEqual([expired.points, expired.rows, expired.running], [3, 3_020, 1] satisfies [number, number, number]);
  assert.deepEqual(await objects(scene), before, 'a look changes nothing');
  const purged = await purge(scene.deps, month);
  assert.deepEqual([purged.points, purged.rows, purged.bytes, purged.locked], [expired.points, expired.rows, expired.bytes, []]);
  assert.equal(before.length - (await objects(scene)).length, purged.objects);
  assert.ok(purged.objects > 3, 'chunks went too');
  for (const id of old) assert.equal(await stateOf(scene, id), 'purged');
  for (const id of [running, ...young]) await readsBack(scene, id);
  assert.deepEqual(await scene.record.left('', 10), []);
  assert.deepEqual(await findExpired(scene.deps, month.until), { points: 0, rows: 0, bytes: 0, running: 1 } satisfies Expired);
  const entries = (await scene.store.ledger.entriesAfter(0, 1_000)).map(({ body }) => JSON.parse(body) as { readonly change?: string; readonly by?: string; readonly note?: string });
  assert.deepEqual(entries.filter(({ change }) => change === 'purged').map(({ by, note }) => [by, note]), old.map(() => ['olga', 'older than 30 days']));
}));

test('a pack that a younger point shares stays until that one is expired too', () => inScene(async (scene) => {
  const [old, young] = await Promise.all([keepPoint(scene, { at: daysAgo(40), rows: 5 }), keepPoint(scene, { at: daysAgo(10), rows: 5 })]);
  for (const { id, settle } of [old, young]) { settle('committed'); await isState(scene, id, 'committed'); }
  assert.equal((await objects(scene)).length, 1);
  assert.equal((await purge(scene.deps, month)).objects, 0);
  await readsBack(scene, young.id);
  assert.equal((await purge(scene.deps, { ...month, until: daysAgo(5).toISOString() })).objects, 1);
  assert.deepEqual(await objects(scene), []);
}));

test('the record says that it is purged before anything is removed, and an interrupted purge goes on', () => inScene(async (scene) => {
  const id = await kept(scene, 40, 'committed', 3_000);
  let removals = 0;
  scene.fault = () => { removals += 1; return removals > 1 ? new Failure('bucket_unavailable', 'cut') : undefined; };
  await assert.rejects(purge(scene.deps, month), failsWith('bucket_unavailable'));
  assert.equal(await stateOf(scene, id), 'purged');
  assert.deepEqual((await scene.record.left('', 10)).map((left) => left.id), [id]);
  assert.ok((await objects(scene)).length > 1);
  scene.fault = () => undefined;
  const again = await purge(scene.deps, month);
  assert.equal(again.points, 0);
  assert.ok(again.objects > 1);
  assert.deepEqual([await objects(scene), await scene.record.left('', 10)], [[], []]);
}));

test('what is locked is told, stays, and goes with a later purge', () => inScene(async (scene) => {
  await kept(scene, 40, 'committed', 3_000);
  await kept(scene, 41);
  scene.fault = (name) => (name.startsWith('objects/') ? new Failure('object_locked', `${name} is locked until 2026-12-31`) : undefined);
  const purged: Purged = await purge(scene.deps, month);
  assert.ok(purged.lockedCount > 1 && purged.objects === 1 && purged.locked.every((why) => why.endsWith('is locked until 2026-12-31')));
  assert.equal((await scene.record.left('', 10)).length, 1);
  scene.fault = () => undefined;
  assert.equal((await purge(scene.deps, month)).objects, purged.lockedCount + 1);
  assert.deepEqual(await objects(scene), []);
}));

test('whatever is sealed while purges run and fail, every point that is not purged reads back whole, and in the end nothing else lies there', () => inScene(async (scene) => {
  const step = fc.record({ ages: fc.array(fc.integer({ min: 0, max: 60 }), { maxLength: 4 }), rows: fc.constantFrom(1, 3, 2_000), purges: fc.integer({ min: 0, max: 2 }), failing: fc.integer({ min: 0, max: 3 }) });
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 4 }), async (steps) => {
    for (const { ages, rows, purges, failing } of steps) {
      let count = 0;
      scene.fault = () => { count += 1; return count <= failing ? new Failure(count % 2 === 0 ? 'object_locked' : 'bucket_unavailable', 'no') : undefined; };
      await Promise.all([...ages.map((age) => kept(scene, age, 'committed', rows + age)), ...Array.from({ length: purges }, () => purge(scene.deps, month).catch((error: unknown) => { assert.ok(failsWith('bucket_unavailable')(error), String(error)); }))]);
    }
    scene.fault = () => undefined;
    await purge(scene.deps, month);
    const points = await scene.store.recoveryPoints.list({ limit: 10_000 });
    const standing = points.filter(({ state }) => state !== 'purged');
    assert.ok(standing.every(({ createdAt }) => createdAt >= month.until));
    for (const { id } of standing) await readsBack(scene, id);
    const there = await objects(scene);
    assert.deepEqual(await scene.store.recoveryPoints.needed(there), new Set(there));
  }), { numRuns: 15 });
}));

const age = (scene: Scene, name: string, hours: number): void => { utimesSync(join(scene.bucket.place, name), daysAgo(hours / 24), daysAgo(hours / 24)); };

test('what no record names is an orphan after a day, and what a record names never is', () => inScene(async (scene) => {
  await scene.store.ledger.append({ kind: 'connect', sessionId: 'ses_1', agent: 'invoicer', database: 'shop', note: null });
  const named = await kept(scene, 10, 'committed', 3_000);
  const before = new Set(await objects(scene));
  await assert.rejects(keepPoint(await pointRoom(scene.bucket, scene.store.recoveryPoints, () => Promise.reject(new Failure('ledger_unavailable', 'died'))), { at: daysAgo(2), rows: 3_000 }));
  const lost = (await objects(scene)).filter((name) => !before.has(name));
  assert.ok(lost.length > 2);
  for (const name of before) age(scene, name, 500);
  for (const name of lost) age(scene, name, 23);
  assert.deepEqual(await findOrphans(scene.deps, now), { names: [], bytes: 0, isAll: true });
  for (const name of lost) age(scene, name, 25);
  const orphans = await findOrphans(scene.deps, now);
  assert.deepEqual([...orphans.names].sort(), lost);
  assert.deepEqual(await removeOrphans(scene.deps, orphans), { objects: lost.length, locked: [], lockedCount: 0 });
  assert.deepEqual(new Set(await objects(scene)), before);
  await readsBack(scene, named);
  assert.deepEqual(readdirSync(join(scene.bucket.place, 'unfinished')), []);
}));

test('where another Backstop keeps its points in the same place nothing is taken for an orphan', () => inScene(async (scene) => {
  await inScene(async (other) => { await keepPoint(await pointRoom(scene.bucket, other.store.recoveryPoints), { at: daysAgo(9), rows: 3_000 }); });
  const [pack] = (await objects(scene)).filter((name) => name.startsWith('packs/'));
  for (const name of await objects(scene)) age(scene, name, name === pack ? 1 : 500);
  await assert.rejects(findOrphans(scene.deps, now), (error: unknown) => failsWith('conflict')(error) && String(error).includes('ses_1'));
}));
