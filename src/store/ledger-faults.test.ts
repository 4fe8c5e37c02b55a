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
