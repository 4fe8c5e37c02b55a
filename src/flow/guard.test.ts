/**
 * The guard's path with a real store: what passes at once, what is held, answered, judged again, refused and recorded.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SqlAction } from '../core/action.ts';
import { Failure } from '../core/failure.ts';
import type { EntryBody } from '../core/ledger/entry.ts';
import { parsePolicy, type Policy } from '../core/policy/policy.ts';
import type { Level, Risk } from '../core/risk.ts';
import { systemClock } from '../lib/clock.ts';
import { pendingMax } from '../store/approvals.ts';
import { wanted, withStore, type TestStore } from '../../test/fixtures/store.ts';
import { createBudgets, type Budgets } from '../store/budgets.ts';
import { answerApproval } from './answer-approval.ts';
import { createGuard, type Admission, type AskHooks, type Guard, type GuardRequest } from './guard.ts';

function policyWith({ mode = 'enforce', wait = 30, high = 'hold', critical = 'deny' } = {}): Policy {
  return parsePolicy(`
name: test
description: for tests
mode: ${mode}
levels: { SAFE: allow, LOW: allow, HIGH: ${high}, CRITICAL: ${critical} }
approval: { wait: ${wait}, expires: 600 }
`, 'test.yaml');
}

function riskOf(level: Level): Risk {
  return { level, reasons: [{ rule: 'test.rule', level, message: 'A test.' }], effects: [], destroys: false, recoverability: 'not-needed', assumptions: [] };
}

let actions = 0;
function request(level: Level, more: Partial<SqlAction> & { readonly again?: Level; readonly catalog?: () => string } = {}): GuardRequest {
  const { again = level, catalog = () => 'c1', ...changed } = more;
  actions += 1;
  const action: SqlAction = {
    kind: 'sql', id: `act_${actions}`, actor: { kind: 'agent', name: 'ada' }, sessionId: 'ses_1', database: 'shop', role: 'app', searchPath: ['public'],
    text: 'UPDATE t SET a = 1 WHERE id = 4711', redacted: 'UPDATE t SET a = ? WHERE id = ?', fingerprint: 'f', digest: 'd', inTransaction: false, ...changed,
  };
  return { action, risk: riskOf(level), catalogVersion: catalog(), rejudge: () => Promise.resolve({ risk: riskOf(again), catalogVersion: catalog() }) };
}

interface Scene { readonly store: TestStore; readonly budgets: Budgets; readonly guard: Guard; readonly operator: string; setPolicy(policy: Policy): void }

function scene(work: (scene: Scene) => Promise<void>, policy = policyWith()): Promise<void> {
  return withStore(async (store) => {
    let inForce = policy;
    let ids = 0;
    let change = new AbortController();
    const budgets = createBudgets({ database: store.database, clock: systemClock });
    const guard = createGuard({ budgets, ledger: store.ledger, approvals: store.approvals, policy: () => inForce, untilPolicyChanged: () => change.signal, environment: 'production', clock: systemClock, newApprovalId: () => `apr_${++ids}` });
    const { token: operator } = await store.identities.addOperator('olga');
    await work({ store, budgets, guard, operator, setPolicy: (changed) => {
      inForce = changed;
      const before = change;
      change = new AbortController();
      before.abort();
    } });
  });
}

const quiet: AskHooks = { onHold: () => undefined, signal: new AbortController().signal };

/** Answers as soon as it is held. */
function answering({ store, operator }: Scene, answer: 'approved' | 'denied', before: () => void = () => undefined): AskHooks {
  return {
    signal: new AbortController().signal,
    onHold: ({ id }) => {
      before();
      void answerApproval({ identities: store.identities, approvals: store.approvals }, operator, id, { answer, reason: answer === 'denied' ? 'use the API' : null });
    },
  };
}

async function entries({ store }: Scene, kind: EntryBody['kind']): Promise<EntryBody[]> {
  return (await store.ledger.entriesAfter(0, 1000)).map((entry) => JSON.parse(entry.body) as EntryBody).filter((body) => body.kind === kind);
}

function codeOf(admission: Admission): string { return admission.kind === 'refused' ? admission.failure.code : 'permitted'; }

test('what is SAFE and allowed passes at once; anything else does not', () => scene(async ({ guard }) => {
  assert.equal(guard.admitNow(request('SAFE'))?.kind, 'permitted');
  for (const level of ['LOW', 'HIGH', 'CRITICAL'] as const) assert.equal(guard.admitNow(request(level)), undefined);
}));

test('what nobody can be asked about any more is refused, and on record', () => scene(async (at) => {
  for (let index = 0; index < pendingMax; index += 1) await at.store.approvals.request(wanted(`apr_x${index}`, `b${index}`));
  assert.equal(codeOf(await at.guard.admit(request('HIGH'), quiet)), 'too_many_requests');
  assert.deepEqual((await entries(at, 'verdict')).map((body) => body.kind === 'verdict' && body.decision), ['hold']);
}));

test('a SAFE risk that was let through before obeys the policy and the agent of now', () => scene(async ({ guard, setPolicy }) => {
  const { risk, ...rest } = request('SAFE');
  const again = (more: Partial<SqlAction> = {}): GuardRequest => ({ ...rest, risk, action: { ...request('SAFE').action, ...more } });
  assert.equal(guard.admitNow(again())?.verdict.policyName, 'test');
  assert.equal(guard.admitNow(again())?.kind, 'permitted');
  setPolicy(parsePolicy(`
name: strict
description: for tests
mode: enforce
levels: { SAFE: hold, LOW: hold, HIGH: hold, CRITICAL: deny }
approval: { wait: 30, expires: 600 }
scopes:
  - name: grace
    match: { agents: [grace] }
    levels: { SAFE: allow, LOW: hold, HIGH: hold, CRITICAL: deny }
`, 'strict.yaml'));
  assert.equal(guard.admitNow(again()), undefined);
  assert.equal(guard.admitNow(again({ actor: { kind: 'agent', name: 'grace' } }))?.kind, 'permitted');
  assert.equal(guard.admitNow(again()), undefined);
}));

test('what is bound to its commit passes at once where it is allowed, and says when it is on record', () => scene(async (on) => {
  const bound = (level: Level): GuardRequest => ({ ...request(level), isBoundToCommit: true });
  assert.deepEqual([on.guard.admitNow(bound('HIGH')), on.guard.admitNow(bound('CRITICAL'))], [undefined, undefined], 'held and denied');
  const admission = on.guard.admitNow(bound('LOW'));
  assert.ok(admission !== undefined);
  assert.deepEqual(await entries(on, 'verdict'), []);
  await admission.recorded;
  const [verdict] = await entries(on, 'verdict');
  assert.ok(verdict?.kind === 'verdict' && verdict.decision === 'allow' && verdict.actionId === admission.permit.actionId);
  await admission.settle({ kind: 'committed', rows: 1, durationMs: 1 });
  assert.equal((await entries(on, 'outcome')).length, 1);
}));

test('where rows are limited or counted, what is bound to its commit is measured and counted first', async () => {
  for (const [more, measured] of [['limits: { max_rows: 5 }', 1], ['budgets: [{ per: day, statements: 5 }]', 0]] as const) {
    const policy = parsePolicy(`name: t\ndescription: t\nlevels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: deny }\nrecovery: { required_from: never }\n${more}\n`, 't.yaml');
    await scene(async (on) => {
      let measures = 0;
      const risk: Risk = { ...riskOf('HIGH'), effects: [{ kind: 'update', object: 'public.t', objectKind: 'table' }] };
      const bound: GuardRequest = {
        ...request('HIGH'), risk, isBoundToCommit: true,
        measure: () => { measures += 1; return Promise.resolve({ kind: 'measured', table: 'public.t', rows: 3, tableRows: null, percent: null, cascades: [], triggers: [], lock: null, sample: null }); },
      };
      assert.equal(on.guard.admitNow(bound), undefined, more);
      const admission = await on.guard.admit(bound, quiet);
      assert.ok(admission.kind === 'permitted' && admission.recorded !== undefined);
      assert.deepEqual([measures, admission.ceiling?.total ?? null], [measured, measured === 1 ? 5 : null]);
      await admission.recorded;
      assert.equal((await entries(on, 'verdict')).length, 1);
    }, policy);
  }
});

test('what is bound to its commit and held waits for a person, and is on record before its permit', () => scene(async (on) => {
  const admission = await on.guard.admit({ ...request('HIGH'), isBoundToCommit: true }, answering(on, 'approved'));
  assert.ok(admission.kind === 'permitted' && admission.recorded === undefined);
  assert.equal((await entries(on, 'verdict')).length, 1);
}));

test('an allowed write is on record before its permit, and its outcome after', () => scene(async (on) => {
  const admission = await on.guard.admit(request('LOW'), quiet);
  assert.ok(admission.kind === 'permitted');
  const [verdict] = await entries(on, 'verdict');
  assert.ok(verdict?.kind === 'verdict' && verdict.decision === 'allow' && verdict.text === 'UPDATE t SET a = ? WHERE id = ?');
  await admission.settle({ kind: 'rolled-back', rows: 3, durationMs: 1 });
  const [outcome] = await entries(on, 'outcome');
  assert.ok(outcome?.kind === 'outcome' && outcome.outcome === 'rolled-back' && outcome.rows === 3);
}));

test('a denied action is refused with rule, observed value and threshold, and is on record', () => scene(async (on) => {
  const admission = await on.guard.admit(request('CRITICAL'), quiet);
  assert.ok(admission.kind === 'refused' && admission.failure.code === 'statement_denied');
  assert.match(admission.failure.detail ?? '', /rule level\.CRITICAL.*observed.*threshold/);
  const [verdict] = await entries(on, 'verdict');
  assert.ok(verdict?.kind === 'verdict' && verdict.decision === 'deny');
}));

test('a held action runs when a person approves it, once', () => scene(async (on) => {
  assert.equal(codeOf(await on.guard.admit(request('HIGH'), answering(on, 'approved'))), 'permitted');
  assert.equal(codeOf(await on.guard.admit(request('HIGH'), answering(on, 'denied'))), 'approval_denied');
  const changes = (await entries(on, 'approval')).map((body) => body.kind === 'approval' ? body.change : '');
  assert.deepEqual(changes, ['requested', 'approved', 'used', 'requested', 'denied']);
}));

test('without an answer the approval id is returned, and the same action runs later without a wait', () => scene(async (on) => {
  let held = 0;
  const hooks = { ...quiet, onHold: () => { held += 1; } };
  const first = await on.guard.admit(request('HIGH'), hooks);
  assert.ok(first.kind === 'refused' && first.failure.code === 'approval_pending' && first.approval?.id === 'apr_1');
  assert.match(first.failure.hint, /apr_1/);
  await answerApproval(on.store, on.operator, 'apr_1', { answer: 'approved', reason: null });
  assert.equal(codeOf(await on.guard.admit(request('HIGH'), hooks)), 'permitted');
  assert.equal(codeOf(await on.guard.admit(request('HIGH'), hooks)), 'approval_pending', 'used once');
  assert.equal(held, 0, 'with wait 0 nobody is told to wait');
}, policyWith({ wait: 0 })));

test('a denial given after the wait reaches whoever sends the same statement again, at once and with its reason', () => scene(async (on) => {
  await on.guard.admit(request('HIGH'), quiet);
  await answerApproval(on.store, on.operator, 'apr_1', { answer: 'denied', reason: 'use the API' });
  on.setPolicy(policyWith({ wait: 0 }));
  const again = await on.guard.admit(request('HIGH'), quiet);
  assert.ok(again.kind === 'refused' && again.failure.code === 'approval_denied');
  assert.match(again.failure.message, /olga.*apr_1.*use the API/);
  assert.equal(codeOf(await on.guard.admit(request('HIGH', { digest: 'another' }), quiet)), 'approval_pending');
}, policyWith({ wait: 0 })));

test('an approval fits nothing but the very action it was given for', () => scene(async (on) => {
  await on.guard.admit(request('HIGH'), quiet);
  await answerApproval(on.store, on.operator, 'apr_1', { answer: 'approved', reason: null });
  const others: Parameters<typeof request>[1][] = [
    { digest: 'other bytes or binds' }, { actor: { kind: 'agent', name: 'eve' } }, { database: 'other' }, { role: 'other' },
    { searchPath: ['evil', 'public'] }, { catalog: () => 'c2' },
  ];
  for (const other of others) assert.equal(codeOf(await on.guard.admit(request('HIGH', other), quiet)), 'approval_pending', JSON.stringify(other));
  on.setPolicy(policyWith({ wait: 0, mode: 'enforce', high: 'hold' }));
  assert.equal(codeOf(await on.guard.admit(request('HIGH'), quiet)), 'permitted', 'an equal policy has an equal hash');
}, policyWith({ wait: 0 })));

test('after approval it is judged again: a stricter policy, a worse risk or a moved schema stops it', async (t) => {
  await t.test('policy', () => scene(async (on) => {
    const asked = request('HIGH');
    const changing = { ...asked, rejudge: () => { on.setPolicy(policyWith({ high: 'deny' })); return asked.rejudge(); } };
    assert.equal(codeOf(await on.guard.admit(changing, answering(on, 'approved'))), 'statement_denied');
  }));
  await t.test('risk', () => scene(async (on) => {
    assert.equal(codeOf(await on.guard.admit(request('HIGH', { again: 'CRITICAL' }), answering(on, 'approved'))), 'statement_denied');
  }));
  await t.test('risk that the policy would hold too', () => scene(async (on) => {
    const asked = await on.guard.admit(request('HIGH', { again: 'CRITICAL' }), answering(on, 'approved'));
    assert.equal(codeOf(asked), 'approval_pending', 'a person approved something milder');
    const sent = await on.guard.admit(request('CRITICAL'), { ...quiet, signal: AbortSignal.abort() });
    assert.ok(asked.kind === 'refused' && sent.kind === 'refused' && sent.approval?.id !== asked.approval?.id, 'and is asked about what it is now');
  }, policyWith({ critical: 'hold' })));
  await t.test('schema', () => scene(async (on) => {
    let version = 'c1';
    const asked = request('HIGH', { catalog: () => version });
    assert.equal(codeOf(await on.guard.admit(asked, answering(on, 'approved', () => { version = 'c2'; }))), 'approval_pending');
  }));
});

test('what waits for a person while the policy changes is judged by the new one', async (t) => {
  for (const [high, expected] of [['deny', 'statement_denied'], ['allow', 'permitted']] as const) {
    await t.test(`which says ${high}`, () => scene(async (on) => {
      const changing: AskHooks = { ...quiet, onHold: () => { on.setPolicy(policyWith({ high })); } };
      assert.equal(codeOf(await on.guard.admit(request('HIGH'), changing)), expected);
    }));
    await t.test(`which says ${high} while it waits`, () => scene(async (on) => {
      const changing: AskHooks = { ...quiet, onHold: () => { setImmediate(() => { on.setPolicy(policyWith({ high })); }); } };
      assert.equal(codeOf(await on.guard.admit(request('HIGH'), changing)), expected);
    }));
  }
  await t.test('which holds it too, under a new approval', () => scene(async (on) => {
    const held: string[] = [];
    const hooks: AskHooks = {
      signal: new AbortController().signal,
      onHold: ({ id }) => {
        held.push(id);
        if (held.length === 1) on.setPolicy(policyWith({ high: 'hold', critical: 'hold' }));
        else void answerApproval(on.store, on.operator, id, { answer: 'approved', reason: null });
      },
    };
    assert.equal(codeOf(await on.guard.admit(request('HIGH'), hooks)), 'permitted');
    assert.deepEqual(held, ['apr_1', 'apr_2']);
    assert.equal((await on.store.approvals.get('apr_1')).state, 'pending', 'it was given for nothing');
  }));
});

test('an agent\'s token, a wrong token and a late answer approve nothing (H91)', () => scene(async (on) => {
  await on.guard.admit(request('HIGH'), quiet);
  const agent = await on.store.identities.addAgent('ada', null, 'olga');
  for (const token of [agent.token, 'bso_wrong']) {
    await assert.rejects(answerApproval(on.store, token, 'apr_1', { answer: 'approved', reason: null }), (error) => error instanceof Failure && error.code === 'not_permitted');
  }
  assert.equal((await on.store.approvals.get('apr_1')).state, 'pending');
}, policyWith({ wait: 0 })));

const budgeted = (budgets: string): Policy => parsePolicy(`
name: test
description: for tests
levels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: deny }
approval: { wait: 0 }
budgets: [${budgets}]
`, 'test.yaml');

const writing = (id: string): GuardRequest => {
  const asked = request('HIGH', { id });
  const risk: Risk = { ...riskOf('HIGH'), effects: [{ kind: 'insert', object: 'public.t', objectKind: 'table' }] };
  return { ...asked, risk, rejudge: () => Promise.resolve({ risk, catalogVersion: 'c1' }) };
};

test('a budget of statements lets so many run and refuses the next, and what is refused does not count', () => scene(async (on) => {
  for (const id of ['a', 'b']) assert.equal(codeOf(await on.guard.admit(writing(id), quiet)), 'permitted');
  for (const id of ['c', 'd']) {
    const refused = await on.guard.admit(writing(id), quiet);
    assert.equal(codeOf(refused), 'statement_denied');
    assert.deepEqual(refused.verdict.fired.filter(({ rule }) => rule === 'budget.statements').map(({ observed, threshold }) => [observed, threshold]),
      [['2 statements in this day', 'statements: 2 per day']]);
  }
}, budgeted('{ per: day, statements: 2 }')));

test('of many at the same time a budget lets exactly so many run', () => scene(async (on) => {
  const admitted = await Promise.all(Array.from({ length: 12 }, (_, index) => on.guard.admit(writing(`w${index}`), quiet)));
  assert.equal(admitted.map(codeOf).filter((code) => code === 'permitted').length, 5);
}, budgeted('{ per: day, statements: 5 }')));

test('changed rows count when they have been changed, also where the transaction is rolled back', () => scene(async (on) => {
  const first = await on.guard.admit(writing('a'), quiet);
  assert.ok(first.kind === 'permitted');
  first.ran?.(7);
  await first.settle({ kind: 'rolled-back', rows: 7, durationMs: 1 });
  const second = await on.guard.admit(writing('b'), quiet);
  assert.ok(second.kind === 'permitted');
  assert.deepEqual(second.ceiling, { rows: null, total: 3, by: 'policy' }, 'the next may change what is left');
  second.ran?.(3);
  assert.equal(codeOf(await on.guard.admit(writing('c'), quiet)), 'statement_denied');
  assert.equal(codeOf(await on.guard.admit(request('SAFE'), quiet)), 'permitted', 'a read changes nothing');
}, budgeted('{ per: day, rows_changed: 10 }')));

test('a SAFE read is counted in memory, and refused once the budget is used up', () => scene(async (on) => {
  assert.equal(on.guard.admitNow(request('SAFE')), undefined, 'what was used is not known yet');
  assert.equal(codeOf(await on.guard.admit(request('SAFE'), quiet)), 'permitted');
  const read = on.guard.admitNow(request('SAFE'));
  read?.ran?.(100);
  assert.ok(read !== undefined);
  assert.equal(on.guard.admitNow(request('SAFE')), undefined);
  assert.equal(codeOf(await on.guard.admit(request('SAFE'), quiet)), 'statement_denied');
}, budgeted('{ per: day, rows_read: 100 }')));

test('beyond a budget that holds, a person may let it run', () => scene(async (on) => {
  assert.equal(codeOf(await on.guard.admit(writing('a'), quiet)), 'permitted');
  assert.equal(codeOf(await on.guard.admit(writing('b'), quiet)), 'approval_pending');
  await answerApproval(on.store, on.operator, 'apr_1', { answer: 'approved', reason: null });
  assert.equal(codeOf(await on.guard.admit(writing('b'), quiet)), 'permitted');
}, budgeted('{ per: day, statements: 1, above: hold }')));

test('a transaction can be ended whatever was used', () => scene(async (on) => {
  const end: GuardRequest = { ...request('LOW'), risk: { ...riskOf('LOW'), effects: [{ kind: 'transaction' }] } };
  assert.equal(codeOf(await on.guard.admit(end, quiet)), 'permitted');
  assert.equal(codeOf(await on.guard.admit(writing('a'), quiet)), 'statement_denied');
}, budgeted('{ per: day, statements: 0 }')));

test('when it cannot be told what was used, nothing that has a budget runs', () => scene(async (on) => {
  await on.store.database.queries.schema.dropTable('budget_use').execute();
  const refused = await on.guard.admit(writing('a'), quiet);
  assert.equal(codeOf(refused), 'statement_denied');
  assert.match(refused.verdict.fired[0]?.observed ?? '', /not known/);
}, budgeted('{ per: day, statements: 5 }')));

test('observe lets everything through and records what it would have said', () => scene(async (on) => {
  assert.equal(codeOf(await on.guard.admit(request('CRITICAL'), quiet)), 'permitted');
  const [verdict] = await entries(on, 'verdict');
  assert.ok(verdict?.kind === 'verdict' && verdict.decision === 'allow' && verdict.wouldBe === 'deny');
}, policyWith({ mode: 'observe' })));

test('whoever stops waiting is refused, and the approval stays to be answered', () => scene(async (on) => {
  const stop = new AbortController();
  const admission = await on.guard.admit(request('HIGH'), { onHold: () => { stop.abort(); }, signal: stop.signal });
  assert.equal(codeOf(admission), 'approval_pending');
  assert.equal((await on.store.approvals.get('apr_1')).state, 'pending');
}));

test('when the record cannot be written nothing passes, held, denied or allowed', () => scene(async (on) => {
  await on.store.database.queries.schema.dropTable('ledger_head').execute();
  for (const level of ['LOW', 'HIGH', 'CRITICAL'] as const) assert.equal(codeOf(await on.guard.admit(request(level), quiet)), 'ledger_unavailable');
}));

test('no literal of the statement reaches the record or the errors (H89)', () => scene(async (on) => {
  const refused = await on.guard.admit(request('CRITICAL'), quiet);
  await on.guard.admit(request('LOW'), quiet);
  assert.ok(refused.kind === 'refused');
  const said = `${refused.failure.message}${refused.failure.detail}${refused.failure.hint}`;
  const recorded = (await on.store.ledger.entriesAfter(0, 100)).map((entry) => entry.body).join('');
  assert.equal(`${said}${recorded}`.includes('4711'), false);
}));
