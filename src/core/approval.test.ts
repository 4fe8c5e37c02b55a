/**
 * Every state of an approval against every transition: only the arrows that the type's comment draws exist, time closes
 * all of them, and a binding names exactly one thing that may run.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { answer, bindingOf, expire, use, type Answer, type Approval, type ApprovalState, type Binding, type Change } from './approval.ts';
import { effectKinds, levels, nothing, recoverabilities } from './risk.ts';

const requestedAt = '2026-11-21T12:00:00.000Z';
const expiresAt = '2026-11-21T13:00:00.000Z';
const during = new Date('2026-11-21T12:59:59.999Z');
const after = new Date(expiresAt);

function approvalIn(state: ApprovalState, kind: Approval['kind'] = 'approval'): Approval {
  return {
    id: 'apr_1', kind, state, actionId: 'act_1', binding: 'b', agent: 'ada', database: 'shop', redacted: 'UPDATE t SET a = $1', risk: nothing,
    verdict: { decision: 'hold', wouldBe: 'hold', level: 'HIGH', fired: [], policyName: 'protect', policyHash: 'p' }, impact: { kind: 'none' }, coverage: null, requestedAt, expiresAt, answeredAt: null, answeredBy: null, reason: null,
  };
}

type Transition = 'approve' | 'deny' | 'use' | 'expire';
const transitions: Readonly<Record<Transition, (approval: Approval, now: Date) => Change>> = {
  approve: (approval, now) => answer(approval, { answer: 'approved', by: 'olga', reason: null }, now),
  deny: (approval, now) => answer(approval, { answer: 'denied', by: 'olga', reason: 'not today' }, now),
  use: (approval, now) => use(approval, 'b', now),
  expire,
};

type Row = readonly [state: ApprovalState, during: Partial<Record<Transition, ApprovalState>>, after: Partial<Record<Transition, ApprovalState>>];
const rows: readonly Row[] = [
  ['pending', { approve: 'approved', deny: 'denied' }, { expire: 'expired' }],
  ['approved', { use: 'used' }, { expire: 'expired' }],
  ['denied', {}, {}],
  ['expired', {}, {}],
  ['used', {}, {}],
];
for (const [state, whileValid, afterwards] of rows) {
  for (const [when, now, expected] of [['in its time', during, whileValid], ['after its time', after, afterwards]] as const) {
    for (const [name, change] of Object.entries(transitions) as [Transition, (approval: Approval, now: Date) => Change][]) {
      test(`${name} on one that is ${state}, ${when}: ${expected[name] ?? 'refused'}`, () => {
        const before = approvalIn(state);
        const result = change(before, now);
        assert.equal(result.kind === 'changed' ? result.approval.state : undefined, expected[name]);
        if (result.kind === 'refused') assert.match(result.why, /^apr_1 /);
        assert.deepEqual(before, approvalIn(state), 'a transition changes nothing in place');
      });
    }
  }
}

test('what only an override opens is approved by no other word, and needs a reason', () => {
  const asked = approvalIn('pending', 'override');
  const refusal = (approval: Approval, given: Answer['answer'], reason: string | null): string => {
    const result = answer(approval, { answer: given, by: 'olga', reason }, during);
    return result.kind === 'refused' ? result.why : result.approval.state;
  };
  assert.match(refusal(asked, 'approved', 'fine'), /^apr_1 .* backstop approvals override apr_1 --reason/);
  assert.match(refusal(approvalIn('pending'), 'overridden', 'fine'), /^apr_1 needs no override/);
  for (const reason of [null, '', '  ']) assert.match(refusal(asked, 'overridden', reason), /only with a reason/);
  assert.equal(refusal(asked, 'denied', null), 'denied');
  const overridden = answer(asked, { answer: 'overridden', by: 'olga', reason: 'we have a dump' }, during);
  assert.ok(overridden.kind === 'changed');
  assert.deepEqual([overridden.approval.state, overridden.approval.kind, overridden.approval.reason], ['approved', 'override', 'we have a dump']);
  assert.equal(use(overridden.approval, 'b', during).kind, 'changed');
});

test('an answer says who, when and why', () => {
  const denied = transitions.deny(approvalIn('pending'), during);
  assert.ok(denied.kind === 'changed');
  assert.deepEqual([denied.approval.answeredBy, denied.approval.answeredAt, denied.approval.reason], ['olga', during.toISOString(), 'not today']);
});

test('an approval cannot be used for another binding', () => {
  assert.equal(use(approvalIn('approved'), 'c', during).kind, 'refused');
});

const risk = fc.record({
  level: fc.constantFrom(...levels), destroys: fc.boolean(), recoverability: fc.constantFrom(...recoverabilities), assumptions: fc.constant([]),
  reasons: fc.array(fc.record({ rule: fc.string(), level: fc.constantFrom(...levels), message: fc.constant('') }), { maxLength: 2 }),
  effects: fc.array(fc.record({ kind: fc.constantFrom(...effectKinds), object: fc.string() }), { maxLength: 2 }),
});
const coverage = fc.record({
  scope: fc.constantFrom(...recoverabilities), method: fc.constantFrom('rows', 'transitions', undefined), tables: fc.array(fc.string(), { maxLength: 2 }), sentence: fc.constant('It is so.'),
  lost: fc.array(fc.string(), { maxLength: 2 }),
});
const binding: fc.Arbitrary<Binding> = fc.record({
  kind: fc.constantFrom('approval', 'override'), coverage: fc.option(coverage, { nil: undefined }),
  digest: fc.string(), agent: fc.string(), database: fc.string(), role: fc.string(), searchPath: fc.array(fc.string(), { maxLength: 3 }),
  policyHash: fc.string(), catalogVersion: fc.string(), risk,
});

test('two bindings are equal only when every part is', () => {
  fc.assert(fc.property(binding, binding, fc.constantFrom(...['kind', 'coverage', 'digest', 'agent', 'database', 'role', 'searchPath', 'policyHash', 'catalogVersion', 'risk'] as const), (a, b, part) => {
    const mixed: Binding = { ...a, [part]: b[part] };
    const isSame = JSON.stringify(a[part]) === JSON.stringify(b[part]);
    assert.equal(bindingOf(mixed) === bindingOf(a), isSame);
  }));
});

test('no character moves from one part to the next unseen', () => {
  const base: Binding = { kind: 'approval', digest: 'd', agent: 'a', database: 'b', role: 'r', searchPath: ['x', 'y'], policyHash: 'p', catalogVersion: 'c', risk: nothing };
  const forms = [base, { ...base, agent: 'ab', database: '' }, { ...base, searchPath: ['x,y'] }, { ...base, searchPath: ['xy'] }, { ...base, searchPath: ['y', 'x'] },
    { ...base, valueSettings: new Map([['DateStyle', 'ISO, MDY']]) }, { ...base, valueSettings: new Map([['DateStyle', 'ISO, DMY']]) },
    { ...base, risk: { ...nothing, level: 'LOW' as const } }, { ...base, risk: { ...nothing, destroys: true } }, { ...base, kind: 'override' as const },
    { ...base, coverage: { scope: 'table' as const, method: 'tables' as const, tables: ['a'], sentence: 's', lost: [] } }, { ...base, coverage: { scope: 'table' as const, method: 'tables' as const, tables: ['a', 'b'], sentence: 's', lost: [] } }];
  assert.equal(new Set(forms.map(bindingOf)).size, forms.length);
});
