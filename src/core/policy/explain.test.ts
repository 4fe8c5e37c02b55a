/**
 * What people and models read says what was decided, why, and what to do; and it stays within bounds.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Coverage } from '../recovery/coverage.ts';
import type { Effect, Recoverability, Risk } from '../risk.ts';
import { decide } from './decide.ts';
import { explain, explainForApprover, undoSentence } from './explain.ts';
import { parsePolicy } from './policy.ts';

const protect = parsePolicy(readFileSync(new URL('../../../policies/protect.yaml', import.meta.url), 'utf8'), 'protect.yaml');
const verdictOf = (risk: Risk, recovery: Recoverability = 'none') => decide(protect.base, { risk, agent: 'ada', database: 'shop', recovery });
const strict = parsePolicy(readFileSync(new URL('../../../policies/strict.yaml', import.meta.url), 'utf8'), 'strict.yaml');
const exact: Coverage = { scope: 'exact-rows', method: 'rows', tables: ['public.orders'], sentence: 'It can be undone to the exact rows.', lost: ['Sequences stay.'] };

const deleteAll: Risk = {
  level: 'CRITICAL', destroys: true, recoverability: 'table', assumptions: [],
  reasons: [{ rule: 'delete.no-where', level: 'CRITICAL', message: 'DELETE without WHERE removes every row.' }],
  effects: [
    { kind: 'delete', object: 'public.payments', objectKind: 'table' },
    { kind: 'delete', object: 'public.refunds', objectKind: 'table', via: ['foreign key refunds_payment_fkey'], detail: 'ON DELETE CASCADE' },
  ],
};
const update: Risk = {
  level: 'HIGH', destroys: true, recoverability: 'exact-rows', assumptions: ['public.t is taken for a plain table'],
  reasons: [{ rule: 'update.where', level: 'HIGH', message: 'UPDATE changes the rows that its WHERE selects.' }],
  effects: [{ kind: 'update', object: 'public.orders', objectKind: 'table' }],
};

test('a refused statement is told the reason, the rule, observed and threshold, what it reaches, and not to retry', () => {
  const { message, detail, hint } = explain(verdictOf(deleteAll), deleteAll);
  assert.match(message, /^Backstop: denied by policy protect, risk CRITICAL: DELETE without WHERE removes every row\. .*that no recovery point can bring back; only an operator's override lets it run/);
  assert.match(detail, /rule recovery\.required \(deny\): observed CRITICAL, destroys data, recovery point: none; threshold recovery point required from HIGH/);
  assert.match(detail, /reason delete\.no-where \(CRITICAL\)/);
  assert.match(detail, /effect delete table public\.refunds \(ON DELETE CASCADE\) through foreign key refunds_payment_fkey/);
  assert.match(hint, /Do not retry it\. Choose a statement that can be undone/);
});

test('a held statement is told to wait and to send the same bytes again', () => {
  const many: Risk = { ...update, level: 'CRITICAL', reasons: [{ rule: 'update.no-where', level: 'CRITICAL', message: 'UPDATE changes every row.' }] };
  const { message, detail, hint } = explain(verdictOf(many, 'exact-rows'), many, exact);
  assert.match(message, /^Backstop: held by policy protect, risk CRITICAL: UPDATE changes every row/);
  assert.match(detail, /undo: It can be undone to the exact rows\.\nnot undone: Sequences stay\./);
  assert.match(hint, /send exactly the same statement again/);
});

test('the approver reads first how far it can be undone, and what not', () => {
  const { detail, hint } = explainForApprover(decide(strict.base, { risk: update, agent: 'ada', database: 'shop', recovery: 'exact-rows' }), update, exact);
  assert.match(detail, /^It can be undone to the exact rows\.\nnot undone: Sequences stay\./);
  assert.match(detail, /assumed: public\.t is taken for a plain table/);
  assert.match(hint, /Approve it only if you know why/);
});

test('whoever may override reads that nothing brings it back', () => {
  const { detail, hint } = explainForApprover(verdictOf(update), update, { ...exact, scope: 'none', method: undefined, lost: [], sentence: 'Backstop cannot undo it, because it has no key.' });
  assert.match(detail, /^Backstop cannot undo it, because it has no key\./);
  assert.match(hint, /Override it only if that is meant/);
});

test('a statement that loses nothing but cannot be taken back says so', () => {
  assert.match(undoSentence({ ...update, destroys: false, recoverability: 'not-needed' }), /nothing undoes.*Nothing stored would be lost/);
  assert.match(undoSentence({ ...update, level: 'SAFE', destroys: false }), /nothing to undo/);
});

test('under observe the message says what would have been decided', () => {
  const watching = { ...verdictOf(deleteAll), decision: 'allow' as const };
  assert.match(explain(watching, deleteAll).message, /^Backstop: allowed, would be denied by policy/);
});

test('a blocked operation tells the agent not to look for another way', () => {
  const program: Risk = { ...deleteAll, destroys: false, effects: [{ kind: 'program', object: 'COPY TO PROGRAM' }] };
  assert.match(explain(verdictOf(program), program).hint, /do not look for another way/);
  const losing: Risk = { ...program, destroys: true, recoverability: 'none' };
  assert.match(explain(verdictOf(losing), losing).hint, /do not look for another way/, 'a WHERE would not help');
});

test('what is harmless does not hide what is worse', () => {
  const reads: Effect[] = Array.from({ length: 50 }, (_, index) => ({ kind: 'read', object: `public.t${index}`, objectKind: 'table' }));
  const calls = Array.from({ length: 50 }, (_, index) => ({ rule: `call.${index}`, level: 'LOW' as const, message: 'It waits.' }));
  const hiding: Risk = { ...deleteAll, effects: [...reads, ...deleteAll.effects], reasons: [...calls, ...deleteAll.reasons] };
  const { detail } = explainForApprover(verdictOf(hiding), hiding);
  assert.match(detail, /reason delete\.no-where/);
  assert.match(detail, /effect delete table public\.refunds/);
});

test('thousands of effects fit in one error, and equal ones are named once', () => {
  const many: Effect[] = Array.from({ length: 5_000 }, (_, index) => ({ kind: 'drop', object: `public.t${index}`, objectKind: 'table' }));
  const flood: Risk = { ...deleteAll, effects: [...many, ...many], reasons: Array(100).fill(deleteAll.reasons[0]) };
  const { detail } = explainForApprover(verdictOf(flood), flood);
  assert.ok(detail.length <= 4_000);
  assert.match(detail, /and 4988 more effects/);
  assert.equal(detail.match(/reason delete\.no-where/g)?.length, 1);
});
