/**
 * The buffer of SAFE reads under any order of reads, outcomes, writes and failed writes: each read and each outcome is
 * written once, nothing is lost, and no entry outgrows the 64 KiB that tiles of a transparency log allow.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Outcome } from '../core/outcome.ts';
import { canonicalJson } from '../lib/canonical-json.ts';
import { ReadBatch, textUnitsMax, type PendingRead, type TakenReads } from './read-batch.ts';
import { readOf } from '../../test/fixtures/store.ts';

const committed: Outcome = { kind: 'committed', rows: 7, durationMs: 1.25 };
const entryBytesMax = 65_535;

/** What the record says of each action: `open`, then its outcome. */
function written(taken: TakenReads, record: Map<string, string[]>): void {
  const add = (actionId: string, what: string): void => { record.set(actionId, [...(record.get(actionId) ?? []), what]); };
  for (const body of taken.reads) for (const [, , actionId, , , outcome] of body.reads) add(actionId, outcome);
  for (const body of taken.late) add(body.actionId, body.outcome);
}

type Step = { readonly kind: 'read' | 'settle' | 'write' | 'fail' | 'wait' | 'settle-during'; readonly which: number };
const step: fc.Arbitrary<Step> = fc.record({ kind: fc.constantFrom('read', 'read', 'settle', 'write', 'fail', 'wait', 'settle-during'), which: fc.nat() });

test('whatever the order, each read is recorded once and each outcome once', () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const batch = new ReadBatch();
    const record = new Map<string, string[]>();
    const unsettled: PendingRead[] = [];
    let [nowMs, reads] = [0, 0];
    const settleOne = (which: number): void => { for (const pending of unsettled.splice(which % (unsettled.length + 1), 1)) batch.settle(pending, committed); };
    for (const { kind, which } of steps) {
      switch (kind) {
        case 'read': unsettled.push(batch.add(readOf(`act_${reads += 1}`, `SELECT ${which % 3}`), nowMs)); break;
        case 'settle': settleOne(which); break;
        case 'wait': nowMs += 600; break;
        case 'write': written(batch.take(nowMs, false), record); break;
        case 'fail': batch.take(nowMs, false).restore(); break;
        case 'settle-during': {
          const taken = batch.take(nowMs, false);
          settleOne(which);
          if (which % 2 === 0) written(taken, record); else taken.restore();
        }
      }
    }
    for (const pending of unsettled) batch.settle(pending, committed);
    written(batch.take(nowMs, true), record);
    assert.equal(batch.size, 0);
    assert.equal(record.size, reads);
    for (const [actionId, said] of record) assert.match(said.join(' '), /^(open )?committed$/, `${actionId}: ${said.join(' ')}`);
  }), { numRuns: 500 });
});

test('no entry outgrows 64 KiB, whatever the texts', () => {
  const text = fc.oneof(fc.string({ maxLength: 200 }), fc.constantFrom('\u0001'.repeat(100_000), '漢'.repeat(9_000), '\ud800'.repeat(7_000), '"\\'.repeat(50_000)));
  const read = fc.record({ text, session: fc.nat(300), policy: fc.nat(1) });
  fc.assert(fc.property(fc.array(read, { maxLength: 400 }), (reads) => {
    const batch = new ReadBatch();
    for (const [index, { text: given, session, policy }] of reads.entries()) {
      const named = { sessionId: `ses_${session}`.padEnd(24, 'x'), agent: 'a'.repeat(63), database: 'd'.repeat(63), digest: 'd'.repeat(64), fingerprint: 'f'.repeat(16) };
      batch.settle(batch.add({ ...readOf(`act_${index}`.padEnd(24, 'x'), given), ...named, policyHash: `p${policy}` }, index), committed);
    }
    const { reads: bodies } = batch.take(0, false);
    for (const body of bodies) assert.ok(Buffer.byteLength(canonicalJson(body)) <= entryBytesMax, `${Buffer.byteLength(canonicalJson(body))} bytes`);
    assert.equal(bodies.reduce((sum, body) => sum + body.reads.length, 0), reads.length);
  }), { numRuns: 50 });
});

test('an entry speaks of one policy, and its lists hold each text and session once', () => {
  const batch = new ReadBatch();
  for (const [index, policyHash] of ['p1', 'p1', 'p2', 'p1'].entries()) batch.add({ ...readOf(`act_${index}`), policyHash }, 0);
  const { reads } = batch.take(0, true);
  assert.deepEqual(reads.map((body) => [body.policyHash, body.reads.length, body.texts.length, body.sessions.length]), [['p1', 2, 1, 1], ['p2', 1, 1, 1], ['p1', 1, 1, 1]]);
});

test('two agents or databases under one session name are told apart', () => {
  const batch = new ReadBatch();
  for (const agent of ['ada', 'eve']) batch.add({ ...readOf(`act_${agent}`), agent }, 0);
  assert.deepEqual(batch.take(0, true).reads[0]?.sessions.map(({ agent }) => agent), ['ada', 'eve']);
});

test('few reads with much text fill the buffer too, and it empties again', () => {
  const batch = new ReadBatch();
  let count = 0;
  while (!batch.isFull) batch.add(readOf(`act_${count += 1}`, `${count} ${'x'.repeat(6_000)}`), 0);
  assert.ok(count <= textUnitsMax / 4_000, `${count} reads`);
  const taken = batch.take(0, true);
  assert.equal(batch.isFull, false);
  taken.restore();
  assert.equal(batch.isFull, true, 'a failed write frees nothing');
});

const impossible: readonly (readonly [what: string, outcome: Outcome])[] = [
  ['rows beyond a safe integer', { ...committed, rows: 2 ** 53 }], ['rows that are no number', { ...committed, rows: NaN }],
  ['a time that is no number', { ...committed, durationMs: NaN }], ['an endless time', { ...committed, durationMs: Infinity }],
  ['a broken SQLSTATE', { ...committed, sqlstate: '\ud800' }],
];
for (const [what, outcome] of impossible) {
  test(`${what} is a bug of its sender and leaves the read as it was`, () => {
    const batch = new ReadBatch();
    const pending = batch.add(readOf('act_1'), 0);
    assert.throws(() => { batch.settle(pending, outcome); }, { name: 'Bug' });
    batch.settle(pending, committed);
    assert.equal(batch.take(0, false).reads[0]?.reads[0]?.[5], 'committed');
  });
}
