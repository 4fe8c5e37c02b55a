/**
 * Approvals in the store: asked for once, answered once, used once, waited for across processes, and kept over a restart.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../core/failure.ts';
import { openStore, wanted, withStore } from '../../test/fixtures/store.ts';
import { pendingMax } from './approvals.ts';

const yes = { answer: 'approved', by: 'olga', reason: null } as const;
const no = { answer: 'denied', by: 'olga', reason: 'not today' } as const;
const failsWith = (code: string) => (error: unknown): boolean => error instanceof Failure && error.code === code;

function clockAt(start: number): { now: () => Date; monotonicMs: () => number; ms: number } {
  const clock = { ms: start, now: () => new Date(clock.ms), monotonicMs: () => clock.ms };
  return clock;
}

test('the same binding asks once, another binding asks again', () => withStore(async ({ approvals }) => {
  assert.equal((await approvals.request(wanted('apr_1', 'x'))).id, 'apr_1');
  assert.equal((await approvals.request(wanted('apr_2', 'x'))).id, 'apr_1');
  assert.equal((await approvals.request(wanted('apr_3', 'y'))).id, 'apr_3');
  assert.deepEqual((await approvals.list('pending', 10)).map(({ id }) => id).sort(), ['apr_1', 'apr_3']);
}));

test('an agent that asks without end is stopped, and hinders no other', () => withStore(async ({ approvals }) => {
  for (let index = 0; index < pendingMax; index += 1) await approvals.request(wanted(`apr_${index}`, `b${index}`));
  await assert.rejects(approvals.request(wanted('apr_more', 'more')), failsWith('too_many_requests'));
  assert.equal((await approvals.request(wanted('apr_again', 'b7'))).id, 'apr_7', 'what waits already is found');
  assert.equal((await approvals.request({ ...wanted('apr_other', 'other'), agent: 'bob' })).state, 'pending');
  await approvals.answer('apr_3', no);
  assert.equal((await approvals.request(wanted('apr_more', 'more'))).state, 'pending');
}));

test('an approval is used once, by the binding it was given for, and never when denied', () => withStore(async ({ approvals }) => {
  await approvals.request(wanted('apr_1', 'x'));
  assert.equal(await approvals.use('apr_1', 'x'), false, 'pending');
  await approvals.answer('apr_1', yes);
  assert.equal(await approvals.use('apr_1', 'other'), false);
  assert.equal(await approvals.use('apr_1', 'x'), true);
  assert.equal(await approvals.use('apr_1', 'x'), false);
  await approvals.request(wanted('apr_2', 'x'));
  assert.equal((await approvals.answer('apr_2', no)).reason, 'not today');
  assert.equal(await approvals.use('apr_2', 'x'), false);
}));

test('a denial stands for its binding until its time is over, and for no other', async () => {
  const clock = clockAt(Date.UTC(2026, 0, 1));
  await withStore(async ({ approvals }) => {
    await approvals.request(wanted('apr_1', 'x', new Date(clock.ms + 1000).toISOString()));
    await approvals.answer('apr_1', no);
    const again = await approvals.request(wanted('apr_2', 'x'));
    assert.deepEqual([again.id, again.state, again.reason], ['apr_1', 'denied', 'not today']);
    assert.equal((await approvals.request(wanted('apr_3', 'y'))).id, 'apr_3');
    clock.ms += 1000;
    assert.equal((await approvals.request(wanted('apr_4', 'x'))).id, 'apr_4');
  }, clock);
});

test('of many sessions that race for one approval exactly one gets it', () => withStore(async ({ approvals, place }) => {
  await approvals.request(wanted('apr_1', 'x'));
  await approvals.answer('apr_1', yes);
  const other = await openStore(place);
  const uses = await Promise.all(Array.from({ length: 40 }, (_, index) => (index % 2 === 0 ? approvals : other.approvals).use('apr_1', 'x')));
  await other.close();
  assert.equal(uses.filter(Boolean).length, 1);
}));

test('an answer is given once; what is unknown or over is a clear failure', () => withStore(async ({ approvals }) => {
  await approvals.request(wanted('apr_1'));
  await approvals.answer('apr_1', no);
  await assert.rejects(approvals.answer('apr_1', yes), failsWith('conflict'));
  await assert.rejects(approvals.answer('apr_9', yes), failsWith('not_found'));
  await assert.rejects(approvals.get('apr_9'), failsWith('not_found'));
}));

test('an approval that has expired can be neither answered nor used, and its binding may ask again', async () => {
  const clock = clockAt(Date.UTC(2026, 0, 1));
  await withStore(async ({ approvals }) => {
    const until = new Date(clock.ms + 1000).toISOString();
    await approvals.request(wanted('apr_1', 'x', until));
    await approvals.request(wanted('apr_2', 'y', until));
    await approvals.answer('apr_2', yes);
    clock.ms += 1000;
    await assert.rejects(approvals.answer('apr_1', yes), failsWith('conflict'));
    assert.equal(await approvals.use('apr_2', 'y'), false);
    assert.equal((await approvals.get('apr_1')).state, 'expired');
    assert.equal((await approvals.request(wanted('apr_3', 'y'))).id, 'apr_3');
  }, clock);
});

test('a waiting caller wakes for an answer of this process and of another one', () => withStore(async ({ approvals, place }) => {
  const never = new AbortController().signal;
  await approvals.request(wanted('apr_1', 'x'));
  const first = approvals.waitForAnswer('apr_1', { timeoutMs: 10_000, signal: never });
  await approvals.answer('apr_1', yes);
  assert.equal((await first).state, 'approved');
  await approvals.request(wanted('apr_2', 'y'));
  const second = approvals.waitForAnswer('apr_2', { timeoutMs: 10_000, signal: never });
  const other = await openStore(place);
  await other.approvals.answer('apr_2', no);
  await other.close();
  assert.equal((await second).state, 'denied');
}));

test('waiting ends with the time or the signal, and the approval stays', () => withStore(async ({ approvals }) => {
  await approvals.request(wanted('apr_1', 'x'));
  const stop = new AbortController();
  assert.equal((await approvals.waitForAnswer('apr_1', { timeoutMs: 1, signal: stop.signal })).state, 'pending');
  const waiting = approvals.waitForAnswer('apr_1', { timeoutMs: 60_000, signal: stop.signal });
  stop.abort();
  assert.equal((await waiting).state, 'pending');
}));

test('an approval and its answer survive a restart, and every change is in the ledger', async () => {
  const store = await openStore();
  await store.approvals.request(wanted('apr_1', 'x'));
  await store.approvals.answer('apr_1', yes);
  await store.close();
  const again = await openStore(store.place);
  assert.equal(await again.approvals.use('apr_1', 'x'), true);
  const changes = (await again.ledger.entriesAfter(0, 10)).map((entry) => (JSON.parse(entry.body) as { change: string; by: string | null }));
  assert.deepEqual(changes.map(({ change, by }) => [change, by]), [['requested', null], ['approved', 'olga'], ['used', null]]);
  await again.close();
});

test('an approval whose time is over while somebody waits for it is expired, in the list too, and on record once', async () => {
  const clock = clockAt(Date.UTC(2026, 0, 1));
  await withStore(async ({ approvals, ledger }) => {
    await approvals.request(wanted('apr_1', 'x', new Date(clock.ms + 1000).toISOString()));
    const waiting = approvals.waitForAnswer('apr_1', { timeoutMs: 60_000, signal: new AbortController().signal });
    clock.ms += 1000;
    assert.equal((await waiting).state, 'expired');
    await approvals.request(wanted('apr_2', 'y', new Date(clock.ms + 1000).toISOString()));
    clock.ms += 1000;
    assert.deepEqual(await approvals.list('pending', 10), []);
    assert.deepEqual((await approvals.list('expired', 10)).map(({ id }) => id), ['apr_2', 'apr_1']);
    const changes = (await ledger.entriesAfter(0, 10)).map((entry) => (JSON.parse(entry.body) as { change: string }).change);
    assert.deepEqual(changes, ['requested', 'expired', 'requested', 'expired']);
  }, clock);
});
