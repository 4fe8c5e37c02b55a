/**
 * Recovery points in the store: on record with their entry or not at all, found by point, action, agent and time, and with
 * the fate of their transaction, whoever has to find it out.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../core/failure.ts';
import type { EntryBody } from '../core/ledger/entry.ts';
import type { RecoveryPointState } from '../core/recovery/recovery-point.ts';
import { openStore, sealedPoint, stores, verdictOf, withStore, type TestStore } from '../../test/fixtures/store.ts';
import { until } from '../../test/fixtures/until.ts';

const failsWith = (code: string) => (error: unknown): boolean => error instanceof Failure && error.code === code;
const operator = { by: 'olga', note: null } as const;

async function entries({ ledger }: TestStore): Promise<EntryBody[]> {
  return (await ledger.entriesAfter(0, 10_000)).map(({ body }) => JSON.parse(body) as EntryBody);
}

async function stateOf({ recoveryPoints }: TestStore, id: string): Promise<RecoveryPointState> { return (await recoveryPoints.get(id)).state; }

const isSettled = (store: TestStore, id: string, state: RecoveryPointState): Promise<unknown> => until(`${id} is ${state}`, async () => await stateOf(store, id) === state);

async function committed(store: TestStore, ...points: readonly ReturnType<typeof sealedPoint>[]): Promise<void> {
  for (const point of points) {
    await store.recoveryPoints.seal(point);
    store.recoveryPoints.settle(point, 'committed');
  }
  for (const { id } of points) await isSettled(store, id, 'committed');
}

test('a point is on record with its entry when it is sealed, and found by itself and by each of its actions', () => withStore(async (store) => {
  const { recoveryPoints } = store;
  const point = sealedPoint('rp_1', { actions: ['act_b', 'act_a'], chunks: ['c1', 'c2', 'c1'] });
  await recoveryPoints.seal(point);
  const { chunks, ...kept } = point;
  assert.equal(chunks.length, 3);
  assert.deepEqual(await recoveryPoints.get('rp_1'), { ...kept, state: 'sealed', changedAt: point.createdAt });
  for (const action of point.actions) assert.deepEqual((await recoveryPoints.ofAction(action)).map(({ id }) => id), ['rp_1']);
  assert.deepEqual(await recoveryPoints.ofAction('act_c'), []);
  await recoveryPoints.seal(sealedPoint('rp_10', { actions: ['act_c'] }));
  const found = async (id: string, limit = 10): Promise<readonly string[]> => (await recoveryPoints.startingWith(id, limit)).map((each) => each.id);
  assert.deepEqual(await Promise.all(['rp_1', 'rp_10', 'act_', 'act_a', 'act_c', 'rp_2', 'rp_1_'].map((id) => found(id))), [['rp_1', 'rp_10'], ['rp_10'], ['rp_1', 'rp_10'], ['rp_1'], ['rp_10'], [], []]);
  assert.deepEqual(await found('rp_', 1), ['rp_1']);
  await assert.rejects(recoveryPoints.get('rp_2'), failsWith('not_found'));
  assert.deepEqual((await entries(store)).slice(0, 1), [{
    kind: 'recovery-point', change: 'sealed', recoveryPointId: 'rp_1', actionIds: ['act_b', 'act_a'], agent: 'ada', database: 'shop', scope: 'exact-rows', method: 'rows',
    pack: 'pack of rp_1', line: 'l', rows: 1, bytes: 10, xid: '731',
  }]);
  assert.equal((await store.ledger.verify()).broken, undefined);
}));

test('many points that are sealed at once are few transactions', () => withStore(async (store) => {
  const points = Array.from({ length: 250 }, (_, index) => sealedPoint(`rp_${String(index).padStart(3, '0')}`));
  await Promise.all(points.map((point) => store.recoveryPoints.seal(point)));
  for (const point of points) store.recoveryPoints.settle(point, Number(point.id.slice(3)) % 2 === 0 ? 'committed' : 'discarded');
  await isSettled(store, 'rp_249', 'discarded');
  assert.equal((await store.recoveryPoints.list({ states: ['committed'], limit: 1_000 })).length, 125);
  assert.equal((await entries(store)).length, 250);
}));

test('where the entry cannot be written there is no point, and later ones are sealed again', () => withStore(async (store) => {
  await stores().run(store.place, stores().block);
  await assert.rejects(store.recoveryPoints.seal(sealedPoint('rp_1')), failsWith('ledger_unavailable'));
  await stores().run(store.place, stores().unblock);
  await assert.rejects(store.recoveryPoints.get('rp_1'), failsWith('not_found'));
  await store.recoveryPoints.seal(sealedPoint('rp_2'));
  assert.equal(await stateOf(store, 'rp_2'), 'sealed');
}));

test('the fate of a point is written without an entry, and waits for a store that comes back', () => withStore(async (store) => {
  const point = sealedPoint('rp_1');
  await store.recoveryPoints.seal(point);
  await stores().run(store.place, stores().block);
  const append = store.ledger.append({ kind: 'disconnect', sessionId: 'ses_1', agent: 'ada', database: 'shop', note: null });
  store.recoveryPoints.settle(point, 'discarded');
  await assert.rejects(append, failsWith('ledger_unavailable'));
  await stores().run(store.place, stores().unblock);
  await isSettled(store, 'rp_1', 'discarded');
  assert.deepEqual((await entries(store)).map(({ kind }) => kind), ['recovery-point']);
}));

test('what is told last before the end is written', async () => {
  const store = await openStore();
  const point = sealedPoint('rp_1');
  await store.recoveryPoints.seal(point);
  store.recoveryPoints.settle(point, 'committed');
  await store.close();
  const again = await openStore(store.place);
  assert.equal(await stateOf(again, 'rp_1'), 'committed');
  await again.close();
});

test('points are listed newest first, by agent, database, state and time, page by page', () => withStore(async (store) => {
  const { recoveryPoints } = store;
  const at = (hour: number): string => `2026-01-01T0${hour}:00:00.000Z`;
  await committed(store,
    sealedPoint('rp_1', { createdAt: at(1) }), sealedPoint('rp_2', { createdAt: at(2), agent: 'bob' }),
    sealedPoint('rp_3', { createdAt: at(3), database: 'app' }), sealedPoint('rp_4', { createdAt: at(4) }));
  await recoveryPoints.change(['rp_4'], 'undone', operator);
  const ids = async (wanted: Omit<Parameters<typeof recoveryPoints.list>[0], 'limit'>, limit = 10): Promise<readonly string[]> => (await recoveryPoints.list({ ...wanted, limit })).map(({ id }) => id);
  assert.deepEqual(await ids({}), ['rp_4', 'rp_3', 'rp_2', 'rp_1']);
  assert.deepEqual(await ids({ before: 'rp_3' }, 1), ['rp_2']);
  assert.deepEqual(await ids({ agent: 'ada' }), ['rp_4', 'rp_3', 'rp_1']);
  assert.deepEqual(await ids({ database: 'app' }), ['rp_3']);
  assert.deepEqual(await ids({ states: ['undone', 'unknown'] }), ['rp_4']);
  assert.deepEqual(await ids({ since: at(2), until: at(4) }), ['rp_3', 'rp_2']);
}));

test('a change is all or nothing, has an entry, and only what may follow is taken', () => withStore(async (store) => {
  const { recoveryPoints } = store;
  await committed(store, sealedPoint('rp_1'), sealedPoint('rp_2'));
  await recoveryPoints.seal(sealedPoint('rp_3'));
  await assert.rejects(recoveryPoints.change(['rp_1', 'rp_3'], 'purged', operator), failsWith('conflict'), 'its transaction still runs');
  await assert.rejects(recoveryPoints.change(['rp_1', 'rp_9'], 'purged', operator), failsWith('not_found'));
  assert.equal(await stateOf(store, 'rp_1'), 'committed');
  await recoveryPoints.change(['rp_1', 'rp_2'], 'purged', { by: 'olga', note: 'after 30 days' });
  assert.deepEqual((await entries(store)).slice(3), ['rp_1', 'rp_2'].map((id) => (
    { kind: 'recovery-point', change: 'purged', recoveryPointId: id, actionIds: [id.replace('rp_', 'act_')], by: 'olga', note: 'after 30 days' })));
  await assert.rejects(recoveryPoints.change(['rp_1'], 'undone', operator), failsWith('conflict'), 'it is gone');
  assert.equal((await store.ledger.verify()).broken, undefined);
}));

test('what an undo undid is undone once the undo has committed, and counts again once that is undone', () => withStore(async (store) => {
  await committed(store, sealedPoint('rp_1'), sealedPoint('rp_2'));
  const undo = sealedPoint('rp_3', { undoes: ['rp_1', 'rp_2'] });
  await store.recoveryPoints.seal(undo);
  assert.equal(await stateOf(store, 'rp_1'), 'committed', 'not before it has committed');
  store.recoveryPoints.settle(undo, 'committed');
  await isSettled(store, 'rp_3', 'committed');
  assert.deepEqual([await stateOf(store, 'rp_1'), await stateOf(store, 'rp_2')], ['undone', 'undone']);
  await committed(store, sealedPoint('rp_4', { undoes: ['rp_3'] }));
  assert.deepEqual(await Promise.all(['rp_1', 'rp_2', 'rp_3'].map((id) => stateOf(store, id))), ['committed', 'committed', 'undone']);
  const changes = (await entries(store)).flatMap((body) => (body.kind === 'recovery-point' && body.change !== 'sealed' ? [`${body.recoveryPointId} ${body.change} ${body.note}`] : []));
  assert.deepEqual(changes, ['rp_1 undone by act_3', 'rp_2 undone by act_3', 'rp_3 undone by act_4', 'rp_1 committed its undo was undone', 'rp_2 committed its undo was undone']);
  assert.equal((await store.ledger.verify()).broken, undefined);
}));

test('an undo that did not commit undid nothing', () => withStore(async (store) => {
  await committed(store, sealedPoint('rp_1'));
  for (const [id, fate] of [['rp_2', 'discarded'], ['rp_3', 'unknown']] as const) {
    const undo = sealedPoint(id, { undoes: ['rp_1'] });
    await store.recoveryPoints.seal(undo);
    store.recoveryPoints.settle(undo, fate);
    await isSettled(store, id, fate);
  }
  assert.equal(await stateOf(store, 'rp_1'), 'committed');
  await store.recoveryPoints.change(['rp_3'], 'committed', { by: 'backstop', note: 'the server says so' });
  assert.equal(await stateOf(store, 'rp_1'), 'undone', 'found out later');
}));

test('the points of a node that is gone are unknown, and those of one that lives are not', async () => {
  const dead = await openStore(undefined, undefined, 'nod_dead');
  const live = await openStore(dead.place, undefined, 'nod_live');
  const [left, own] = [sealedPoint('rp_left'), sealedPoint('rp_own')];
  await dead.recoveryPoints.seal(left);
  await dead.ledger.issue(verdictOf('act_left'));
  await live.recoveryPoints.seal(own);
  await live.ledger.resolveOpenPermits({ place: 'place of nod_dead' });
  assert.deepEqual([await stateOf(live, 'rp_left'), await stateOf(live, 'rp_own')], ['unknown', 'sealed']);
  assert.deepEqual((await entries(live)).flatMap((body) => (body.kind === 'outcome' ? [body.outcome] : [])), ['unknown']);
  // It was not dead after all: what it knows counts.
  live.recoveryPoints.settle(left, 'committed');
  await isSettled(live, 'rp_left', 'committed');
  await live.close();
  await dead.node?.renew();
  await dead.close();
  await stores().remove(dead.place);
});

test('an object is needed as long as one point needs it that is not purged', () => withStore(async (store) => {
  const { recoveryPoints } = store;
  await committed(store, sealedPoint('rp_1', { pack: 'p', chunks: ['c1', 'shared'] }), sealedPoint('rp_2', { pack: 'p', chunks: ['shared'] }));
  const all = ['p', 'c1', 'shared', 'orphan', ...Array.from({ length: 300 }, (_, index) => `other ${index}`)];
  assert.deepEqual([...await recoveryPoints.needed(all)].toSorted(), ['c1', 'p', 'shared']);
  await recoveryPoints.change(['rp_1'], 'purged', operator);
  assert.deepEqual([...await recoveryPoints.needed(all)].toSorted(), ['p', 'shared']);
  await recoveryPoints.change(['rp_2'], 'purged', operator);
  assert.deepEqual(await recoveryPoints.needed(all), new Set());
}));
