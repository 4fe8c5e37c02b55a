/**
 * From entries to lines: nothing that was answered is lost, and nothing is shown as run that was not.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EntryBody, StoredEntry, VerdictBody } from '../../core/ledger/entry.ts';
import { LogLines } from './log-lines.ts';

let seq = 0;
function entry(body: EntryBody): StoredEntry {
  seq += 1;
  return { seq, at: '2026-01-02T03:04:05.678Z', kind: body.kind, body: JSON.stringify(body), hash: '' };
}

function verdict(actionId: string, decision: VerdictBody['decision']): VerdictBody {
  return {
    kind: 'verdict', actionId, sessionId: 'ses_1', agent: 'ada', database: 'shop', role: 'app', searchPath: ['public'], digest: 'd', fingerprint: 'f',
    text: 'DELETE FROM t WHERE id = ?', level: 'HIGH', reasons: ['delete.where'], effects: [], destroys: true, recoverability: 'exact-rows',
    decision, wouldBe: decision, fired: [], policyName: 'protect', policyHash: 'p', catalogVersion: 'c', approvalId: null,
  };
}

test('a refusal is a line at once and ran with no outcome', () => {
  const [line] = new LogLines().add(entry(verdict('act_1', 'deny')));
  assert.equal(line?.verdict, 'deny');
  assert.equal(line?.outcome, 'none');
});

test('a permitted statement is a line once its outcome is known, and open until then', () => {
  const lines = new LogLines();
  assert.deepEqual(lines.add(entry(verdict('act_2', 'allow'))), []);
  assert.deepEqual(lines.open().map(({ actionId, outcome }) => [actionId, outcome]), [['act_2', 'open']]);
  const [line] = lines.add(entry({ kind: 'outcome', actionId: 'act_2', outcome: 'rolled-back', rows: 3, sqlstate: null, durationUs: 1_500, note: null }));
  assert.deepEqual([line?.outcome, line?.rows, line?.ms, line?.level], ['rolled-back', 3, 1.5, 'HIGH']);
  assert.deepEqual(lines.open(), []);
});

test('what undoes a statement is named beside it', () => {
  const lines = new LogLines();
  lines.add(entry(verdict('act_6', 'allow')));
  lines.add(entry({
    kind: 'recovery-point', change: 'sealed', recoveryPointId: 'rp_1', actionIds: ['act_6', 'act_7'], agent: 'ada', database: 'shop', scope: 'exact-rows', method: 'rows',
    pack: 'p', line: 'l', rows: 1, bytes: 10, xid: '731',
  }));
  const [line] = lines.add(entry({ kind: 'outcome', actionId: 'act_6', outcome: 'committed', rows: 1, sqlstate: null, durationUs: 1, note: null }));
  assert.ok(line !== undefined);
  assert.deepEqual([line.recoveryPointId, lines.undoOf(line)], ['rp_1', 'can']);
  assert.deepEqual(lines.add(entry({ kind: 'recovery-point', change: 'undone', recoveryPointId: 'rp_1', actionIds: ['act_6'], by: 'olga', note: null })), []);
  assert.equal(lines.undoOf(line), 'undone');
  lines.add(entry({ kind: 'recovery-point', change: 'committed', recoveryPointId: 'rp_1', actionIds: ['act_6'], by: 'backstop', note: 'its undo was undone' }));
  assert.equal(lines.undoOf(line), 'can');
  assert.equal(lines.undoOf({ ...line, recoveryPointId: null }), '');
});

test('reads of a batch come one by one, each with its agent, its text and its time', () => {
  const lines = new LogLines().add(entry({
    kind: 'reads', since: '2026-01-02T03:04:05.000Z', policyName: 'protect', policyHash: 'p',
    sessions: [{ sessionId: 'ses_1', agent: 'ada', database: 'shop' }, { sessionId: 'ses_2', agent: 'bob', database: 'app' }],
    texts: [{ fingerprint: 'f', text: 'SELECT ?' }],
    reads: [[0, 0, 'act_3', 10, 'd', 'committed', 1, 200, null], [1, 0, 'act_4', 20, 'd', 'open', null, 0, null]],
  }));
  assert.deepEqual(lines.map(({ actionId, agent, at, statement }) => [actionId, agent, at, statement]), [['act_3', 'ada', '2026-01-02T03:04:05.010Z', 'SELECT ?']]);
});

test('a read that was open on record is a line when its outcome comes', () => {
  const lines = new LogLines();
  lines.add(entry({
    kind: 'reads', since: '2026-01-02T03:04:05.000Z', policyName: 'protect', policyHash: 'p', sessions: [{ sessionId: 'ses_1', agent: 'ada', database: 'shop' }],
    texts: [{ fingerprint: 'f', text: 'SELECT ?' }], reads: [[0, 0, 'act_5', 10, 'd', 'open', null, 0, null]],
  }));
  const [line] = lines.add(entry({ kind: 'outcome', actionId: 'act_5', outcome: 'failed', rows: null, sqlstate: '57014', durationUs: 9_000, note: null }));
  assert.deepEqual([line?.outcome, line?.sqlstate, line?.level], ['failed', '57014', 'SAFE']);
});
