/**
 * When the guard has something measured, what becomes of the answer, and to what a permit is held; with a real store.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Impact, MeasuredImpact } from '../core/impact.ts';
import { parsePolicy } from '../core/policy/policy.ts';
import type { Risk } from '../core/risk.ts';
import { systemClock } from '../lib/clock.ts';
import { createBudgets } from '../store/budgets.ts';
import { withStore } from '../../test/fixtures/store.ts';
import { answerApproval } from './answer-approval.ts';
import { createGuard, type Admission, type GuardRequest } from './guard.ts';

const update: Risk = {
  level: 'HIGH', reasons: [{ rule: 'test.rule', level: 'HIGH', message: 'A test.' }], effects: [{ kind: 'update', object: 'public.t', objectKind: 'table' }],
  destroys: true, recoverability: 'exact-rows', assumptions: [],
};
const read: Risk = { ...update, effects: [{ kind: 'read', object: 'public.t', objectKind: 'table' }] };
const secret = 'a value of a row';
const rowsOf = (rows: number): MeasuredImpact => ({
  kind: 'measured', table: 'public.t', rows, tableRows: null, percent: null, cascades: [], triggers: [], lock: null, sample: { columns: ['v'], rows: [[secret]] },
});

interface Tried { readonly admission: Admission; readonly measures: number; readonly ledger: string; readonly again: Admission | undefined }

/** Asked once; and, when `approve`, once more after a person said yes. */
async function tried(policy: string, impact: Impact, { risk = update, approve = false, rowsMax = Infinity } = {}): Promise<Tried> {
  let measures = 0;
  const request: GuardRequest = {
    action: {
      kind: 'sql', id: 'act_1', actor: { kind: 'agent', name: 'ada' }, sessionId: 'ses_1', database: 'shop', role: 'app', searchPath: ['public'], text: 'x',
      redacted: 'x', fingerprint: 'f', digest: 'd', inTransaction: false,
    },
    risk, catalogVersion: 'c1', rejudge: () => Promise.resolve({ risk, catalogVersion: 'c1' }),
    measure: () => { measures += 1; return Promise.resolve(impact); },
    bound: () => (rowsMax === Infinity ? undefined : { kind: 'bounded', table: 'public.t', rowsMax }),
  };
  let result: Tried | undefined;
  await withStore(async (store) => {
    const parsed = parsePolicy(`name: t\ndescription: t\n${policy}\napproval: { wait: 0, expires: 600 }\n`, 't.yaml');
    const guard = createGuard({
      budgets: createBudgets({ database: store.database, clock: systemClock }), ledger: store.ledger, approvals: store.approvals, policy: () => parsed, untilPolicyChanged: () => new AbortController().signal, environment: 'dev',
      clock: systemClock, newApprovalId: () => 'apr_1',
    });
    const hooks = { onHold: () => undefined, signal: new AbortController().signal };
    const admission = await guard.admit(request, hooks);
    const { token } = await store.identities.addOperator('olga');
    if (approve) await answerApproval(store, token, 'apr_1', { answer: 'approved', reason: null });
    const again = approve ? await guard.admit({ ...request, action: { ...request.action, id: 'act_2' }, measure: () => Promise.resolve(rowsOf(999)) }, hooks) : undefined;
    result = { admission, measures, again, ledger: (await store.ledger.entriesAfter(0, 100)).map(({ body }) => body).join() };
  });
  assert.ok(result !== undefined);
  return result;
}

const levels = (high: string): string => `levels: { SAFE: allow, LOW: allow, HIGH: ${high}, CRITICAL: deny }\nrecovery: { required_from: never }`;
const limits = 'limits: { max_rows: 10 }';

test('it is measured where that could decide something, and only there', async () => {
  const count = async (policy: string, risk = update): Promise<number> => (await tried(policy, rowsOf(1), { risk })).measures;
  assert.equal(await count(levels('allow')), 0, 'allowed without limits');
  assert.equal(await count(`${levels('allow')}\n${limits}`), 1, 'limits');
  assert.equal(await count(levels('hold')), 1, 'a person is asked');
  assert.equal(await count(`${levels('deny')}\n${limits}`), 0, 'denied anyway');
  assert.equal(await count(`${levels('hold')}\n${limits}`, read), 0, 'it changes no rows');
  assert.equal(await count(`mode: observe\n${levels('hold')}\n${limits}`), 0, 'nothing waits where everything is let through');
});

const proofs: readonly (readonly [claim: string, policy: string, rowsMax: number, measures: number, ceiling: unknown])[] = [
  ['a proof of few rows needs no measure', `${levels('allow')}\n${limits}`, 10, 0, { rows: null, total: 10, by: 'policy' }],
  ['a proof of more rows than the limit says nothing: it may be none', `${levels('allow')}\n${limits}`, 11, 1, { rows: null, total: 10, by: 'policy' }],
  ['a single row is never too great a share', `${levels('allow')}\nlimits: { max_percent: 1 }`, 1, 0, { rows: 1, total: null, by: 'policy' }],
  ['of two rows the share is not known without the table', `${levels('allow')}\nlimits: { max_percent: 1, max_rows: 5 }`, 2, 1, { rows: null, total: 5, by: 'policy' }],
  ['a budget of which nothing is known yet', `${levels('allow')}\nbudgets: [{ per: day, rows_changed: 4 }]`, 4, 1, { rows: null, total: 4, by: 'policy' }],
  ['a budget that may not have', `${levels('allow')}\nbudgets: [{ per: day, rows_changed: 4 }]`, 5, 1, { rows: null, total: 4, by: 'policy' }],
];
for (const [claim, policy, rowsMax, expected, ceiling] of proofs) {
  test(`proved without asking: ${claim}`, async () => {
    const { admission, measures } = await tried(policy, rowsOf(1), { rowsMax });
    assert.ok(admission.kind === 'permitted');
    assert.deepEqual([measures, admission.ceiling], [expected, ceiling]);
  });
}

test('a person who is asked sees what was measured, whatever could be proved', async () => {
  const { admission, measures } = await tried(levels('hold'), rowsOf(1), { rowsMax: 1 });
  assert.ok(admission.kind === 'refused' && admission.approval?.impact.kind === 'measured');
  assert.equal(measures, 1);
});

test('below the limits it passes under a ceiling, above them or unknown it is held', async () => {
  const policy = `${levels('allow')}\n${limits}`;
  const { admission: below } = await tried(policy, rowsOf(10));
  assert.ok(below.kind === 'permitted');
  assert.deepEqual(below.ceiling, { rows: null, total: 10, by: 'policy' });
  for (const impact of [rowsOf(11), { kind: 'unknown', reason: 'it was not counted' }] as const) {
    const { admission } = await tried(policy, impact);
    assert.ok(admission.kind === 'refused' && admission.failure.code === 'approval_pending');
    assert.match(admission.failure.detail ?? '', impact.kind === 'unknown' ? /not known, because it was not counted/ : /11 rows of public\.t/);
  }
});

test('what was approved is held to its own preview, not to a newer one', async () => {
  const { again, admission } = await tried(levels('hold'), rowsOf(3), { approve: true });
  assert.ok(admission.kind === 'refused' && again?.kind === 'permitted');
  assert.deepEqual(again.ceiling, { rows: 3, total: 3, by: 'approval' });
});

test('the sample is for the approver: neither the ledger nor the refusal has it', async () => {
  const { admission, ledger, again } = await tried(levels('hold'), rowsOf(3), { approve: true });
  assert.ok(admission.kind === 'refused' && again?.kind === 'permitted');
  assert.ok(JSON.stringify(admission.approval?.impact).includes(secret));
  const { message, detail, hint } = admission.failure;
  assert.ok(![ledger, message, detail, hint].join().includes(secret));
});
