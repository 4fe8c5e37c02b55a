/** What the client sees of the answers to a FunctionCall of our own: nothing, and nothing else is hidden with it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as say from '../../lib/pgwire/backend-encode.ts';
import { backendType } from '../../lib/pgwire/message-type.ts';
import { TransactionFate, type Unit } from './fate.ts';
import { nothingToUndo } from './registry.ts';
import { Replies } from './replies.ts';

interface Scene { readonly replies: Replies; readonly seen: string[]; readonly answers: (string | null | undefined)[]; see(whole: Buffer): void }

function scene(): Scene {
  const seen: string[] = [];
  const answers: (string | null | undefined)[] = [];
  const events = {
    onQueryRan: () => {}, onWatchRows: () => {}, onFatal: () => {}, onError: () => { seen.push('error'); return undefined; },
    onTransactionEnd: (how: string) => { seen.push(how); },
    onParameter: (name: string, value: string) => { seen.push(`${name}=${value}`); return true; },
  };
  const replies = new Replies({ fate: new TransactionFate(), nowMs: () => 0, events });
  return {
    replies, seen, answers,
    see: (whole) => {
      const shown = replies.see(whole[0] ?? 0, whole.subarray(5));
      seen.push(`${String.fromCharCode(whole[0] ?? 0)}${shown === undefined ? '' : ' hidden'}`);
    },
  };
}

const setting = 'default_transaction_read_only';
const unit: Unit = { actionId: 'act', statements: [], source: '', isSafe: true, settle: () => {} };
const functionCallResponse = Buffer.from([backendType.functionCallResponse, 0, 0, 0, 10, 0, 0, 0, 2, 0x6f, 0x6e]);
const bindComplete = Buffer.from([backendType.bindComplete, 0, 0, 0, 4]);
const error = say.encodeErrorResponse({ severity: 'ERROR', code: '57014', message: 'canceled' });

function callThenExecute(): Scene {
  const made = scene();
  const { replies, answers } = made;
  replies.expect({ kind: 'own-call', setting, isShown: (value) => value === 'on', onAnswer: (value) => { answers.push(value); } });
  replies.expect({ kind: 'bind', undo: nothingToUndo });
  replies.expect({ kind: 'execute', unit, undo: nothingToUndo, part: undefined });
  replies.expect({ kind: 'sync' });
  return made;
}

test('the answers to a call of our own are hidden, and its end is no transaction\'s end', () => {
  const { see, seen, answers, replies } = callThenExecute();
  for (const whole of [functionCallResponse, say.encodeParameterStatus(setting, 'off'), say.encodeReadyForQuery('idle')]) see(whole);
  assert.deepEqual(seen, ['V hidden', 'S hidden', 'Z hidden']);
  assert.deepEqual(answers, ['on'], 'it is told what the function returned');
  assert.ok(replies.isUnsynced && !replies.isSettled, 'the client\'s own messages are still owed');
  for (const whole of [bindComplete, say.encodeCommandComplete('SELECT 1'), say.encodeReadyForQuery('idle')]) see(whole);
  assert.deepEqual(seen.slice(3), ['2', 'C', 'committed', 'Z']);
  assert.ok(replies.isSettled && !replies.isUnsynced);
});

test('an error of a call of our own undoes nothing of the client\'s, and is told', () => {
  const { see, seen, answers, replies } = callThenExecute();
  for (const whole of [error, say.encodeReadyForQuery('idle')]) see(whole);
  assert.deepEqual(seen, ['E hidden', 'Z hidden']);
  assert.deepEqual(answers, [undefined]);
  assert.ok(!replies.isSkipping && !replies.isSettled);
});

test('another setting that changes meanwhile is shown', () => {
  const { see, seen } = callThenExecute();
  see(say.encodeParameterStatus('TimeZone', 'UTC'));
  assert.deepEqual(seen, ['TimeZone=UTC', 'S']);
});

test('a report of the setting itself is shown when it is news to the client', () => {
  const { see, seen } = callThenExecute();
  see(say.encodeParameterStatus(setting, 'on'));
  assert.deepEqual(seen, ['S']);
});

test('the same messages are shown when the client asked for them', () => {
  const { replies, see, seen } = scene();
  replies.expect({ kind: 'function-call', unit, part: undefined });
  for (const whole of [functionCallResponse, say.encodeParameterStatus(setting, 'off'), say.encodeReadyForQuery('idle')]) see(whole);
  assert.deepEqual(seen, ['V', `${setting}=off`, 'S', 'committed', 'Z']);
});
