/**
 * Points whose fate nobody heard are asked of the server, once for what it can tell and not for ever for what it cannot.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../core/failure.ts';
import type { RecoveryPointOnRecord, TransactionFate } from '../core/recovery/recovery-point.ts';
import { sealedPoint, withStore, type TestStore } from '../../test/fixtures/store.ts';
import { until } from '../../test/fixtures/until.ts';
import { createPointResolver, type PointResolver } from './resolve-points.ts';

const failsWith = (code: string) => (error: unknown): boolean => error instanceof Failure && error.code === code;
type Fate = TransactionFate | 'not-yet';

async function unknown({ recoveryPoints }: TestStore, ...ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    const point = sealedPoint(id);
    await recoveryPoints.seal(point);
    recoveryPoints.settle(point, 'unknown');
  }
  for (const id of ids) await until(`${id} is unknown`, async () => (await recoveryPoints.get(id)).state === 'unknown');
}

interface Scene { readonly resolver: PointResolver; readonly asked: string[]; readonly connections: { opened: number; ended: number } }

function scene({ recoveryPoints }: TestStore, fateOf: (point: RecoveryPointOnRecord) => Fate | Promise<Fate>): Scene {
  const [asked, connections]: [string[], Scene['connections']] = [[], { opened: 0, ended: 0 }];
  const resolver = createPointResolver({
    points: recoveryPoints,
    connect: () => {
      connections.opened += 1;
      return Promise.resolve({ fateOf: (point) => { asked.push(point.id); return Promise.resolve(fateOf(point)); }, end: () => { connections.ended += 1; return Promise.resolve(); } });
    },
  });
  return { resolver, asked, connections };
}

test('what the server knows is on record with an entry; what it cannot tell is asked once, what it cannot tell yet again', () => withStore(async (store) => {
  await unknown(store, 'rp_1', 'rp_2', 'rp_3', 'rp_4');
  const fates: Record<string, Fate> = { rp_1: 'committed', rp_2: 'discarded', rp_3: 'unknown', rp_4: 'not-yet' };
  const { resolver, asked, connections } = scene(store, ({ id }) => fates[id] ?? 'unknown');
  assert.equal(await resolver.resolveAll(), 2);
  assert.equal(await resolver.resolveAll(), 0);
  fates['rp_4'] = 'committed';
  assert.equal(await resolver.resolveAll(), 1);
  assert.deepEqual(asked, ['rp_4', 'rp_3', 'rp_2', 'rp_1', 'rp_4', 'rp_4']);
  assert.deepEqual(await Promise.all(['rp_1', 'rp_2', 'rp_3', 'rp_4'].map(async (id) => (await store.recoveryPoints.get(id)).state)), ['committed', 'discarded', 'unknown', 'committed']);
  assert.equal(await resolver.resolveAll(), 0);
  assert.deepEqual(connections, { opened: 3, ended: 3 }, 'nobody is asked for nothing');
  const entries = (await store.ledger.entriesAfter(4, 10)).map(({ body }) => JSON.parse(body) as { change: string; note: string });
  assert.deepEqual(entries.map(({ change, note }) => [change, note]), [['discarded', 'the server says so'], ['committed', 'the server says so'], ['committed', 'the server says so']]);
}));

test('one that is asked for by itself is asked of the server if it is unknown, and not otherwise', () => withStore(async (store) => {
  await unknown(store, 'rp_1');
  const { resolver, asked } = scene(store, () => 'committed');
  const resolved = await resolver.resolve(await store.recoveryPoints.get('rp_1'));
  assert.equal(resolved.state, 'committed');
  assert.equal((await resolver.resolve(resolved)).state, 'committed');
  assert.deepEqual(asked, ['rp_1']);
}));

test('one whose writer was killed before it wrote its end is asked of the server too, and waits while it runs', () => withStore(async (store) => {
  await store.recoveryPoints.seal(sealedPoint('rp_1'));
  let fate: Fate = 'not-yet';
  const { resolver } = scene(store, () => fate);
  assert.equal((await resolver.resolve(await store.recoveryPoints.get('rp_1'))).state, 'sealed');
  fate = 'committed';
  assert.equal((await resolver.resolve(await store.recoveryPoints.get('rp_1'))).state, 'committed');
}));

test('a point that somebody else has resolved meanwhile is left as it is', () => withStore(async (store) => {
  await unknown(store, 'rp_1', 'rp_2');
  const { resolver } = scene(store, async ({ id }): Promise<Fate> => {
    if (id === 'rp_2') await store.recoveryPoints.change(['rp_2'], 'undone', { by: 'olga', note: null });
    return 'discarded';
  });
  await resolver.resolveAll();
  assert.deepEqual(await Promise.all(['rp_1', 'rp_2'].map(async (id) => (await store.recoveryPoints.get(id)).state)), ['discarded', 'undone']);
}));

test('a server that cannot be asked leaves them unknown', () => withStore(async (store) => {
  await unknown(store, 'rp_1');
  const { resolver, connections } = scene(store, () => { throw new Failure('upstream_unavailable', 'gone'); });
  await assert.rejects(resolver.resolveAll(), failsWith('upstream_unavailable'));
  assert.deepEqual([(await store.recoveryPoints.get('rp_1')).state, connections.ended], ['unknown', 1]);
}));
