/**
 * The ledger when things go wrong beside it: entries that cannot be written keep out no others, a commit whose answer was
 * lost does no harm, and closing says so when something could not be written.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../core/failure.ts';
import type { EntryBody } from '../core/ledger/entry.ts';
import { systemClock } from '../lib/clock.ts';
import type { StoreDatabase } from './database.ts';
import { createLedger, type Ledger } from './ledger.ts';
import { openStore, readOf, stores, verdictOf, withStore } from '../../test/fixtures/store.ts';

const committed = { kind: 'committed', rows: 1, durationMs: 2.5 } as const;
const isUnavailable = (error: unknown): boolean => error instanceof Failure && error.code === 'ledger_unavailable';

async function bodies(ledger: Ledger): Promise<EntryBody[]> {
  return (await ledger.entriesAfter(0, 10_000)).map((entry) => JSON.parse(entry.body) as EntryBody);
}

/** The same store, counting its transactions and failing them as `fault` says, before or after they are committed. */
function faulty(database: StoreDatabase, fault: (transaction: number) => 'none' | 'before' | 'after'): StoreDatabase & { readonly counted: () => number } {
  let count = 0;
  const failing = (transact: StoreDatabase['transact']): StoreDatabase['transact'] => async (work) => {
    const kind = fault(count += 1);
    if (kind === 'before') throw new Failure('store_unavailable', 'injected');
    const result = await transact(work);
    if (kind === 'after') throw new Failure('store_unavailable', 'injected after the commit');
    return result;
  };
  return { ...database, transact: failing(database.transact), transactRelaxed: failing(database.transactRelaxed), counted: () => count };
}

test('permits asked for at the same time share transactions', () => withStore(async ({ database }) => {
  const counting = faulty(database, () => 'none');
  const ledger = createLedger({ database: counting, clock: systemClock });
  await Promise.all(Array.from({ length: 500 }, (_, index) => ledger.issue(verdictOf(`act_${index}`))));
  assert.ok(counting.counted() <= 3, `${counting.counted()} transactions`);
  assert.deepEqual(await ledger.verify(), { entries: 500, broken: undefined });
  await ledger.close();
}));

test('a permit on record points at its own verdict, also in a shared transaction', () => withStore(async ({ database, ledger }) => {
  await Promise.all(['act_1', 'act_2', 'act_3'].map((id) => ledger.issue(verdictOf(id))));
  const open = await database.queries.selectFrom('open_permit').selectAll().orderBy('action_id').execute();
  const entries = await ledger.entriesAfter(0, 10);
  assert.deepEqual(open.map(({ verdict_seq: seq, action_id: id }) => entries.find((entry) => entry.seq === seq)?.body.includes(`"${id}"`)), [true, true, true]);
}));

test('an entry without a canonical form is refused alone and keeps no other out', () => withStore(async ({ ledger }) => {
  const results = await Promise.allSettled([ledger.issue(verdictOf('act_1')), ledger.issue({ ...verdictOf('act_2'), database: '\ud800' }), ledger.issue(verdictOf('act_3'))]);
  assert.deepEqual(results.map(({ status }) => status), ['fulfilled', 'rejected', 'fulfilled']);
  assert.throws(() => ledger.issueRead({ ...readOf('act_4'), database: '\ud800' }), { name: 'Bug' });
  const permit = await ledger.issue(verdictOf('act_5'));
  await assert.rejects(ledger.settle(permit, { ...committed, rows: NaN }), { name: 'Bug' });
  await ledger.settle(permit, committed);
  assert.equal(ledger.fault, undefined);
  assert.deepEqual((await bodies(ledger)).map(({ kind }) => kind), ['verdict', 'verdict', 'verdict', 'outcome']);
}));

test('a verdict whose commit was answered with an error gives no permit and is settled at start-up', async () => {
  const store = await openStore();
  const ledger = createLedger({ database: faulty(store.database, (transaction) => transaction === 1 ? 'after' : 'none'), clock: systemClock });
  await assert.rejects(ledger.issue(verdictOf('act_1')), isUnavailable);
  await ledger.append(verdictOf('act_2'));
  await store.close();
  const again = await openStore(store.place);
  assert.equal(await again.ledger.resolveOpenPermits(), 1);
  await again.close();
  await stores().remove(store.place);
});

test('an open read whose write was committed but answered with an error is written again without harm', () => withStore(async ({ database }) => {
  let nowMs = 0;
  const clock = { now: () => new Date(nowMs), monotonicMs: () => nowMs };
  const ledger = createLedger({ database: faulty(database, (transaction) => transaction === 1 ? 'after' : 'none'), clock });
  const permit = ledger.issueRead(readOf('act_slow'));
  nowMs = 2_000;
  await assert.rejects(ledger.append(verdictOf('act_1')), isUnavailable);
  await ledger.append(verdictOf('act_2'));
  await ledger.settle(permit, committed);
  await ledger.append(verdictOf('act_3'));
  assert.equal(ledger.fault, undefined);
  assert.equal(await ledger.resolveOpenPermits(), 0);
  assert.equal((await bodies(ledger)).filter((body) => body.kind === 'outcome').length, 1);
  assert.equal((await ledger.verify()).broken, undefined);
  await ledger.close();
}));

test('a permit ahead of its record is given at once, and its verdict is written with those that are waited for', () => withStore(async ({ database }) => {
  const counting = faulty(database, () => 'none');
  const ledger = createLedger({ database: counting, clock: systemClock });
  const ahead = Array.from({ length: 50 }, (_, index) => ledger.issueAhead(verdictOf(`act_${index}`)));
  assert.equal(counting.counted(), 0);
  for (const one of ahead) await one?.recorded;
  assert.ok(counting.counted() <= 2, `${counting.counted()} transactions`);
  for (const one of ahead) if (one !== undefined) await ledger.settle(one.permit, committed);
  assert.deepEqual([(await bodies(ledger)).filter(({ kind }) => kind === 'verdict').length, await ledger.resolveOpenPermits()], [50, 0]);
  await ledger.close();
}));

test('no permit is issued ahead of what is not allowed, of a record that fails or is behind, or once closed', () => withStore(async ({ database }) => {
  let isFailing = false;
  const ledger = createLedger({ database: faulty(database, () => (isFailing ? 'before' : 'none')), clock: systemClock });
  assert.throws(() => ledger.issueAhead({ ...verdictOf('act_0'), decision: 'hold' }));
  const given = Array.from({ length: 1_500 }, (_, index) => ledger.issueAhead(verdictOf(`act_${index}`))).filter((one) => one !== undefined);
  assert.equal(given.length, 1_000);
  await Promise.all(given.map(({ recorded }) => recorded));
  isFailing = true;
  await assert.rejects(ledger.append(verdictOf('act_failing')), isUnavailable);
  assert.equal(ledger.issueAhead(verdictOf('act_then')), undefined);
  isFailing = false;
  await ledger.append(verdictOf('act_again'));
  assert.notEqual(ledger.issueAhead(verdictOf('act_now')), undefined);
  await ledger.close();
  assert.equal(ledger.issueAhead(verdictOf('act_closed')), undefined);
}));

for (const [when, fault] of [['before', 'before'], ['after', 'after']] as const) {
  test(`a verdict of a permit ahead whose write failed ${when} its commit is written later, before its outcome, and leaves nothing open`, () => withStore(async ({ database }) => {
    const ledger = createLedger({ database: faulty(database, (transaction) => (transaction <= 2 ? fault : 'none')), clock: systemClock });
    const ahead = ledger.issueAhead(verdictOf('act_1'));
    assert.ok(ahead !== undefined);
    await assert.rejects(ahead.recorded, isUnavailable);
    await assert.rejects(ledger.settle(ahead.permit, { kind: 'rolled-back', rows: 1, durationMs: 1 }), isUnavailable);
    await ledger.append(verdictOf('act_2'));
    const written = (await bodies(ledger)).filter((body) => 'actionId' in body && body.actionId === 'act_1').map(({ kind }) => kind);
    assert.deepEqual([written.at(-2), written.at(-1)], ['verdict', 'outcome']);
    assert.equal(await ledger.resolveOpenPermits(), 0);
    assert.equal((await ledger.verify()).broken, undefined);
    await ledger.close();
  }));
}

test('closing says so when the last reads could not be written', async () => {
  const store = await openStore();
  const ledger = createLedger({ database: faulty(store.database, () => 'before'), clock: systemClock });
  await ledger.settle(ledger.issueRead(readOf('act_1')), committed);
  await assert.rejects(ledger.close(), isUnavailable);
  await store.close();
  await stores().remove(store.place);
});

test('a closed ledger issues nothing', async () => {
  const store = await openStore();
  await store.ledger.close();
  assert.throws(() => store.ledger.issueRead(readOf('act_1')), isUnavailable);
  await assert.rejects(store.ledger.issue(verdictOf('act_2')), isUnavailable);
  await store.database.close();
  await stores().remove(store.place);
});

test('more open permits than fit one write are all resolved', async () => {
  const store = await openStore();
  for (let index = 0; index < 2_500; index += 1) store.ledger.issueRead(readOf(`act_${index}`));
  await store.close();
  const again = await openStore(store.place);
  assert.equal(await again.ledger.resolveOpenPermits(), 2_500);
  assert.equal((await again.ledger.verify()).broken, undefined);
  await again.close();
  await stores().remove(store.place);
});
