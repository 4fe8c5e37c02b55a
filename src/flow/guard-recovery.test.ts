/**
 * What the guard makes of an undo: what can be undone passes with it, what cannot is denied, kept for an operator's override,
 * and everything that was promised or overridden is on record and bound to the answer. With a real store.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Answer } from '../core/approval.ts';
import type { Impact } from '../core/impact.ts';
import type { ApprovalBody, EntryBody, VerdictBody } from '../core/ledger/entry.ts';
import { parsePolicy } from '../core/policy/policy.ts';
import type { Coverage } from '../core/recovery/coverage.ts';
import type { Level, Risk } from '../core/risk.ts';
import { systemClock } from '../lib/clock.ts';
import { createBudgets } from '../store/budgets.ts';
import { wanted, withStore, type TestStore } from '../../test/fixtures/store.ts';
import { pendingMax } from '../store/approvals.ts';
import { answerApproval } from './answer-approval.ts';
import { createGuard, type Admission, type AskHooks, type Guard, type GuardRequest } from './guard.ts';

const exact: Coverage = { scope: 'exact-rows', method: 'rows', tables: ['public.t'], sentence: 'It can be undone to the exact rows.', lost: ['Sequences stay.'] };
const nothing: Coverage = { scope: 'point-in-time', method: undefined, tables: [], why: 'public.t has no primary key', sentence: 'Backstop cannot undo it, because public.t has no primary key.', lost: [] };

function policyWith(recovery: string): string {
  return `name: test\ndescription: d\nlevels: { SAFE: allow, LOW: allow, HIGH: hold, CRITICAL: hold }\nrecovery: ${recovery}\nlimits: { max_rows: 10 }\napproval: { wait: 0, expires: 600 }\n`;
}
const undoing = policyWith('{ required_from: HIGH, undo_allows: HIGH }');

function riskOf(level: Level): Risk {
  return {
    level, reasons: [{ rule: 'test.rule', level, message: 'A test.' }], destroys: true, recoverability: 'exact-rows', assumptions: [],
    effects: [{ kind: 'delete', object: 'public.t', objectKind: 'table' }],
  };
}

let actions = 0;
interface Asked { readonly level?: Level; readonly coverage?: Coverage; readonly rows?: number; readonly digest?: string; readonly again?: Coverage }

function request({ level = 'HIGH', coverage = exact, rows = 1, digest = 'd', again = coverage }: Asked = {}): GuardRequest {
  actions += 1;
  const impact: Impact = { kind: 'measured', table: 'public.t', rows, tableRows: null, percent: null, cascades: [], triggers: [], lock: null, sample: null };
  return {
    action: {
      kind: 'sql', id: `act_${actions}`, actor: { kind: 'agent', name: 'ada' }, sessionId: 'ses_1', database: 'shop', role: 'app', searchPath: ['public'],
      text: 'DELETE FROM t', redacted: 'DELETE FROM t', fingerprint: 'f', digest, inTransaction: false,
    },
    risk: riskOf(level), coverage, catalogVersion: 'c1', measure: () => Promise.resolve(impact),
    rejudge: () => Promise.resolve({ risk: riskOf(level), coverage: again, catalogVersion: 'c1' }),
  };
}

interface Scene { readonly guard: Guard; readonly store: TestStore; answer(id: string, answer: Answer['answer'], reason?: string | null): Promise<unknown>; entries<T extends EntryBody>(kind: T['kind']): Promise<readonly T[]> }

function scene(work: (scene: Scene) => Promise<void>, policy = undoing): Promise<void> {
  return withStore(async (store) => {
    let ids = 0;
    const inForce = parsePolicy(policy, 'p.yaml');
    const guard = createGuard({
      budgets: createBudgets({ database: store.database, clock: systemClock }), ledger: store.ledger, approvals: store.approvals, policy: () => inForce,
      untilPolicyChanged: () => new AbortController().signal, environment: 'production', clock: systemClock, newApprovalId: () => `apr_${++ids}`,
    });
    const { token } = await store.identities.addOperator('olga');
    await work({
      guard, store,
      answer: (id, answer, reason = null) => answerApproval({ identities: store.identities, approvals: store.approvals }, token, id, { answer, reason }),
      entries: async <T extends EntryBody>(kind: T['kind']) => (await store.ledger.entriesAfter(0, 1000)).map((entry) => JSON.parse(entry.body) as EntryBody).filter((body): body is T => body.kind === kind),
    });
  });
}

const hooks: AskHooks = { onHold: () => undefined, signal: new AbortController().signal };

function refusedBy(admission: Admission): Extract<Admission, { kind: 'refused' }> {
  assert.ok(admission.kind === 'refused');
  return admission;
}

test('what is bound to its recovery point runs ahead of its record; what nothing is kept of is on record first', async () => {
  await scene(async ({ guard, entries }) => {
    const admission = await guard.admit({ ...request(), isBoundToPoint: true }, hooks);
    assert.ok(admission.kind === 'permitted' && admission.recorded !== undefined && admission.coverage === exact);
    await admission.recorded;
    assert.deepEqual((await entries<VerdictBody>('verdict')).map(({ actionId }) => actionId), [admission.permit.actionId]);
  });
  await scene(async ({ guard, entries }) => {
    const admission = await guard.admit({ ...request({ level: 'LOW' }), isBoundToPoint: true }, hooks);
    assert.ok(admission.kind === 'permitted' && admission.recorded === undefined && admission.coverage === undefined);
    assert.equal((await entries('verdict')).length, 1);
  }, policyWith('{ required_from: never }'));
});

test('what can be undone within the limits passes unasked, with what is to be kept', () => scene(async ({ guard, entries }) => {
  const admission = await guard.admit(request(), hooks);
  assert.ok(admission.kind === 'permitted');
  assert.equal(admission.coverage, exact);
  const [verdict] = await entries<VerdictBody>('verdict');
  assert.deepEqual([verdict?.decision, verdict?.approvalId, verdict?.override], ['allow', null, undefined]);
  assert.deepEqual(verdict?.coverage, { scope: 'exact-rows', method: 'rows', sentence: exact.sentence, lost: exact.lost });
}));

test('beyond the limits, and where it is CRITICAL, a person reads what is kept and what is lost, and then it runs with it', () => scene(async ({ guard, store, answer }) => {
  for (const asked of [request({ rows: 11, digest: 'many' }), request({ level: 'CRITICAL', digest: 'worst' })]) {
    const { failure, approval } = refusedBy(await guard.admit(asked, hooks));
    assert.ok(approval !== undefined);
    assert.equal(failure.code, 'approval_pending');
    assert.match(failure.detail ?? '', /undo: It can be undone to the exact rows\.\nnot undone: Sequences stay\./);
    assert.deepEqual([(await store.approvals.get(approval.id)).coverage, approval.kind], [exact, 'approval']);
    await answer(approval.id, 'approved');
    const admission = await guard.admit({ ...asked }, hooks);
    assert.ok(admission.kind === 'permitted');
    assert.deepEqual(admission.coverage, exact);
  }
}));

test('an answer holds for the undo that was promised, and for no other', () => scene(async ({ guard, answer }) => {
  const held = refusedBy(await guard.admit(request({ level: 'CRITICAL' }), hooks));
  await answer(held.approval?.id ?? '', 'approved');
  const other: Coverage = { ...exact, lost: [...exact.lost, 'Rows of public.u stay as they are.'] };
  const moved = refusedBy(await guard.admit(request({ level: 'CRITICAL', again: other }), hooks));
  assert.match(moved.failure.message, /no longer fits/);
  const asked = refusedBy(await guard.admit(request({ level: 'CRITICAL', coverage: other }), hooks));
  assert.notEqual(asked.approval?.id, held.approval?.id);
}));

test('what nothing brings back is denied, and kept for an override that no approval replaces', () => scene(async ({ guard, store, answer, entries }) => {
  const denied = refusedBy(await guard.admit(request({ coverage: nothing, rows: 5 }), hooks));
  const id = denied.approval?.id ?? '';
  assert.equal(denied.failure.code, 'statement_denied');
  assert.match(denied.failure.message, /because public\.t has no primary key/);
  assert.match(denied.failure.detail ?? '', /It would change 5 rows of public\.t/);
  assert.match(denied.failure.hint ?? '', new RegExp(`backstop approvals override ${id} --reason`));
  await assert.rejects(answer(id, 'approved'), /backstop approvals override/);
  await assert.rejects(answer(id, 'overridden', ' '), /only with a reason/);
  assert.equal(refusedBy(await guard.admit(request({ coverage: nothing, rows: 5 }), hooks)).approval?.id, id, 'asked once');

  await answer(id, 'overridden', 'the dump of this morning is enough');
  const admission = await guard.admit(request({ coverage: nothing, rows: 5 }), hooks);
  assert.ok(admission.kind === 'permitted');
  assert.equal(admission.coverage, undefined, 'it runs without an undo');
  assert.equal(admission.ceiling?.rows, 5, 'and is held to what the operator saw');
  const approval = await store.approvals.get(id);
  assert.deepEqual([approval.kind, approval.state, approval.answeredBy, approval.reason], ['override', 'used', 'olga', 'the dump of this morning is enough']);
  const verdicts = await entries<VerdictBody>('verdict');
  assert.deepEqual(verdicts.map(({ decision, wouldBe, override }) => [decision, wouldBe, override]), [['deny', 'deny', undefined], ['deny', 'deny', undefined], ['allow', 'deny', true]]);
  assert.deepEqual([verdicts[2]?.approvalId, verdicts[2]?.coverage?.method, verdicts[2]?.coverage?.sentence], [id, null, nothing.sentence]);
  const said = await entries<ApprovalBody>('approval');
  assert.deepEqual(said.map(({ change, override, by, reason }) => [change, override, by, reason]), [
    ['requested', true, null, null], ['overridden', true, 'olga', 'the dump of this morning is enough'], ['used', true, null, null],
  ]);

  assert.equal(refusedBy(await guard.admit(request({ coverage: nothing, rows: 5 }), hooks)).failure.code, 'statement_denied', 'once');
}));

test('a request for an override can be denied, and the agent hears the reason', () => scene(async ({ guard, answer }) => {
  const { approval } = refusedBy(await guard.admit(request({ coverage: nothing }), hooks));
  await answer(approval?.id ?? '', 'denied', 'archive it first');
  const again = refusedBy(await guard.admit(request({ coverage: nothing }), hooks));
  assert.deepEqual([again.failure.code, again.failure.message.includes('archive it first')], ['approval_denied', true]);
}));

test('what another rule denies too, and what nobody has looked at, is kept for nobody', () => scene(async ({ guard, store }) => {
  const drop = (): GuardRequest => { const asked = request({ coverage: nothing }); return { ...asked, risk: { ...asked.risk, effects: [{ kind: 'program', object: 'x' }] } }; };
  const { coverage: _, ...unseen } = request({ digest: 'unseen' });
  for (const asked of [drop(), unseen]) assert.equal(refusedBy(await guard.admit(asked, hooks)).approval, undefined);
  assert.deepEqual(await store.approvals.list('all', 10), []);
}, `${undoing}blocked: [program]\n`));

test('where too many wait already, a denial is still a denial', () => scene(async ({ guard, store }) => {
  for (let index = 0; index < pendingMax; index += 1) await store.approvals.request(wanted(`apr_x${index}`, `b${index}`));
  assert.equal(refusedBy(await guard.admit(request({ coverage: nothing }), hooks)).failure.code, 'statement_denied');
}));

test('under a policy that asks for no recovery point nothing is kept, and nobody is told that it were', () => scene(async ({ guard, answer, entries }) => {
  const { approval } = refusedBy(await guard.admit(request(), hooks));
  assert.match(approval?.coverage?.sentence ?? '', /keeps nothing to undo it by, because policy test asks for no recovery point/);
  await answer(approval?.id ?? '', 'approved');
  const admission = await guard.admit(request(), hooks);
  assert.ok(admission.kind === 'permitted');
  assert.equal(admission.coverage, undefined);
  assert.equal((await entries<VerdictBody>('verdict')).at(-1)?.coverage?.method, null);
}, policyWith('{ required_from: never }')));

test('below the level from which a recovery point is required nothing is kept, unless an undo is worth something', () => scene(async ({ guard, answer }) => {
  const { approval } = refusedBy(await guard.admit(request(), hooks));
  await answer(approval?.id ?? '', 'approved');
  const admission = await guard.admit(request(), hooks);
  assert.ok(admission.kind === 'permitted' && admission.coverage === undefined);
}, policyWith('{ required_from: CRITICAL }')));
