/**
 * Guard: the one path of every action: judge → ask → permit; the caller performs, and settles with the permit. What would
 * change rows is measured in between where the policy has limits or a person is to be asked.
 *   allow  the verdict is on record, then a permit; or, for what cannot last before the caller lets its transaction
 *          commit, a permit ahead of the record
 *   hold   an approval bound to exactly this action is used, or asked for and waited for; then it is judged again, and
 *          only if that still binds to the same approval and is not denied, a permit
 *   deny   the verdict is on record, then a refusal; what is denied only because nothing could bring back what it destroys
 *          is kept as a request that an operator may override, which then works like an approval
 * What fails on the way is a refusal, never a permit.
 */
import type { SqlAction } from '../core/action.ts';
import { bindingOf, type Approval, type ApprovalKind } from '../core/approval.ts';
import { ceilingOf, type Ceiling } from '../core/ceiling.ts';
import { Failure } from '../core/failure.ts';
import { noImpact, unknownImpact, type BoundedImpact, type Impact } from '../core/impact.ts';
import type { Outcome } from '../core/outcome.ts';
import { hasBudgets, noUse, rowsLeft, type BudgetUse } from '../core/policy/budgets.ts';
import { decide } from '../core/policy/decide.ts';
import { scopeFor, type Environment } from '../core/policy/match.ts';
import type { PolicyInput } from '../core/policy/facts.ts';
import type { EffectivePolicy, Policy } from '../core/policy/policy.ts';
import { promiseOf, protectionOf } from '../core/policy/protection.ts';
import type { Coverage } from '../core/recovery/coverage.ts';
import type { Risk } from '../core/risk.ts';
import { changesRows, isMeasured, losesObjects, losesRows } from '../core/sql/changes-rows.ts';
import type { Verdict } from '../core/verdict.ts';
import type { Clock } from '../lib/clock.ts';
import type { Approvals } from '../store/approvals.ts';
import type { Budgets } from '../store/budgets.ts';
import type { Ledger, Permit } from '../store/ledger.ts';
import { asRecordFailure, denied, deniedByPerson, givenUp, moved, overridable, overtaken, pending } from './refusals.ts';
import { spend, spendNow, type Spending } from './spending.ts';
import { verdictBody } from './verdict-body.ts';

export interface Judgement {
  readonly risk: Risk;
  readonly catalogVersion: string;
  /** How far it could be undone; absent: nobody has looked, and nothing can be. */
  readonly coverage?: Coverage | undefined;
  /** As measured, or as it was when it was approved; absent: not measured yet. */
  readonly impact?: Impact;
  /** What its agent had used of its budgets; absent: ask for what is known now. */
  readonly used?: BudgetUse | undefined;
}

export interface GuardRequest extends Judgement {
  readonly action: SqlAction;
  /** The same action judged now: after a wait the schema may have moved. */
  readonly rejudge: () => Promise<Judgement>;
  /** Counts what it would change, without changing anything. Never rejects. */
  readonly measure?: (signal: AbortSignal) => Promise<Impact>;
  /** Nothing of it lasts before its transaction commits, and the caller does not let that happen before `recorded`. */
  readonly isBoundToCommit?: boolean;
  /** The same, where the caller keeps a recovery point of it: before that is sealed, it waits for `recorded`. */
  readonly isBoundToPoint?: boolean;
  /** The most rows that it can change, proved without asking anybody; undefined: not proved. */
  readonly bound?: () => BoundedImpact | undefined;
}

export interface Permitted {
  readonly kind: 'permitted';
  readonly permit: Permit;
  readonly verdict: Verdict;
  /** When the verdict is on record; absent: it is. Rejects with Failure `ledger_unavailable`. */
  readonly recorded?: Promise<void>;
  /** What it may change at most; whoever performs it holds it to that. */
  readonly ceiling?: Ceiling | undefined;
  /** What undoes it is to be kept, in this way, before it can commit; absent: nothing is. */
  readonly coverage?: Coverage | undefined;
  /** What became of it; call it exactly once. Rejects when the record could not take it at once. */
  readonly settle: (outcome: Outcome) => Promise<void>;
  /** One of its statements has run: for budgets. Absent: nothing is counted. */
  readonly ran?: (rows: number | null) => void;
}

export interface Refused {
  readonly kind: 'refused';
  readonly verdict: Verdict;
  readonly failure: Failure;
  readonly approval?: Approval;
}

export type Admission = Permitted | Refused;

export interface AskHooks {
  /** A person is asked; the caller may say so to whoever waits. Not called when nothing is waited for. */
  readonly onHold: (approval: Approval, waitMs: number) => void;
  /** Stops the waiting; the approval stays. */
  readonly signal: AbortSignal;
}

export interface Guard {
  /** What is in force now for an agent in a database; the same object until the policy or the scope changes. */
  policyFor(agent: string, database: string): EffectivePolicy;
  /** Pure: what the policy in force says. */
  judge(request: GuardRequest): Verdict;
  /** undefined unless it is allowed, and SAFE or bound to its commit: then it may run at once. Throws Failure `ledger_unavailable`. */
  admitNow(request: GuardRequest): Permitted | undefined;
  /** Never rejects with a Failure: that is a refusal. */
  admit(request: GuardRequest, hooks: AskHooks): Promise<Admission>;
}

export interface GuardDeps {
  readonly ledger: Pick<Ledger, 'issue' | 'issueAhead' | 'issueRead' | 'settle' | 'append'>;
  readonly approvals: Approvals;
  readonly budgets: Budgets;
  /** The policy in force now. */
  readonly policy: () => Policy;
  /** Aborted once another policy is in force: whoever waits for a person is then judged again. */
  readonly untilPolicyChanged: () => AbortSignal;
  readonly environment: Environment;
  readonly clock: Clock;
  /** `apr_…` */
  readonly newApprovalId: () => string;
  /** For counting; must not throw. */
  readonly onVerdict?: (verdict: Verdict) => void;
}

export function createGuard(deps: GuardDeps): Guard {
  const known: KnownVerdicts = new WeakMap();
  return {
    policyFor: (agent, database) => policyFor(deps, agent, database),
    judge: (request) => judge(deps, request.action, request),
    admitNow: (request) => admitNow(deps, known, request),
    admit: async (request, hooks) => {
      const measured = { ...request, impact: await impactOf(deps, request, hooks.signal) };
      // Whoever has given up is not to be asked for, least of all by a count that was broken off.
      if (hooks.signal.aborted) return { kind: 'refused', verdict: judge(deps, request.action, measured), failure: givenUp() };
      const spending = await spend(deps, request.action.actor.name, request.risk, measured.impact);
      const counted = { ...measured, used: spending.used };
      const verdict = judge(deps, request.action, counted);
      deps.onVerdict?.(verdict);
      try {
        return withSpending(await admit(deps, counted, verdict, hooks), spending);
      } catch (error) {
        spending.giveBack();
        if (!(error instanceof Failure)) throw error;
        return { kind: 'refused', verdict, failure: asRecordFailure(error) };
      }
    },
  };
}

function withSpending(admission: Admission, spending: Spending): Admission {
  if (admission.kind === 'refused') {
    spending.giveBack();
    return admission;
  }
  return { ...admission, ran: spending.ran, settle: (outcome) => { spending.settled(outcome); return admission.settle(outcome); } };
}

function policyFor({ policy, environment, clock }: GuardDeps, agent: string, database: string): EffectivePolicy {
  return scopeFor(policy(), { agent, database, environment, at: clock.now() });
}

function judge(deps: GuardDeps, action: SqlAction, { risk, coverage, impact = notMeasured(risk), used }: Judgement): Verdict {
  const { actor: { name: agent }, database } = action;
  return decide(policyFor(deps, agent, database), { risk, agent, database, ...undoOf(coverage), impact, used: used ?? deps.budgets.used(agent) });
}

function undoOf(coverage: Coverage | undefined): Pick<PolicyInput, 'recovery' | 'why'> {
  return coverage === undefined ? { recovery: 'none' } : { recovery: coverage.scope, why: coverage.why };
}

function notMeasured(risk: Risk): Impact {
  return isMeasured(risk) || (losesObjects(risk) && risk.effects.some(losesRows)) ? unknownImpact('it is counted only when it is about to run') : noImpact;
}

/** Measured where that could decide something: the policy has limits, or a person is to be asked. */
async function impactOf(deps: GuardDeps, request: GuardRequest, signal: AbortSignal): Promise<Impact> {
  const { action, risk } = request;
  if (!changesRows(risk) && !losesObjects(risk)) return noImpact;
  const policy = policyFor(deps, action.actor.name, action.database);
  // What was used is asked for afterwards, together with what this would change.
  const verdict = judge(deps, action, { ...request, impact: noImpact, used: noUse });
  const { decision } = verdict;
  // Whoever only observes does not let anything wait.
  if (policy.mode === 'observe' || (decision === 'deny' && !isOverridable(request, verdict)) || (!hasLimits(policy) && decision !== 'hold')) return noImpact;
  const bound = decision === 'allow' ? request.bound?.() : undefined;
  if (bound !== undefined && staysBelow(deps, action, { ...request, impact: bound })) return bound;
  return await request.measure?.(signal) ?? notMeasured(risk);
}

/** A proof of few rows is enough where it stays below every limit. Above one, or for a share, they are counted: it may be none. */
function staysBelow(deps: GuardDeps, action: SqlAction, judgement: Judgement): boolean {
  return judge(deps, action, judgement).decision === 'allow';
}

function hasLimits({ limits, budgets }: EffectivePolicy): boolean {
  return limits.max_rows !== undefined || limits.max_percent !== undefined || budgets.some(({ rows_changed: most }) => most !== undefined);
}

function ceilingFor(deps: GuardDeps, { action, risk, impact = notMeasured(risk), used }: GuardRequest, approval?: Approval): Ceiling | undefined {
  const policy = policyFor(deps, action.actor.name, action.database);
  if (policy.mode === 'observe' || !changesRows(risk)) return undefined;
  const left = used === undefined ? undefined : rowsLeft(policy, used);
  const limits = left === undefined ? policy.limits : { ...policy.limits, max_rows: Math.min(left, policy.limits.max_rows ?? left) };
  return ceilingOf(approval?.impact ?? impact, limits, approval !== undefined);
}

/** Remembered risks and policies are the same frozen objects each time, and no rule looks at anything else. */
type KnownVerdicts = WeakMap<Risk, { readonly policy: EffectivePolicy; readonly agent: string; readonly database: string; readonly coverage: Coverage | undefined; readonly verdict: Verdict }>;

/** Of what nothing was measured. */
function judgeUnmeasured(deps: GuardDeps, known: KnownVerdicts, { risk, coverage }: Judgement, agent: string, database: string): Verdict {
  const policy = policyFor(deps, agent, database);
  if (policy.budgets.length > 0) return decide(policy, { risk, agent, database, ...undoOf(coverage), used: deps.budgets.used(agent) });
  const last = known.get(risk);
  if (last !== undefined && last.policy === policy && last.agent === agent && last.database === database && last.coverage === coverage) return last.verdict;
  const verdict = decide(policy, { risk, agent, database, ...undoOf(coverage) });
  known.set(risk, { policy, agent, database, coverage, verdict });
  return verdict;
}

function admitNow(deps: GuardDeps, known: KnownVerdicts, request: GuardRequest): Permitted | undefined {
  const { action, risk } = request;
  if (risk.level !== 'SAFE') return request.isBoundToCommit === true ? admitAhead(deps, known, request) : undefined;
  const verdict = judgeUnmeasured(deps, known, request, action.actor.name, action.database);
  if (verdict.wouldBe !== 'allow') return undefined;
  const { id: actionId, sessionId, actor, database, digest, fingerprint, redacted } = action;
  const permit = deps.ledger.issueRead({
    actionId, sessionId, agent: actor.name, database, digest, fingerprint, text: redacted,
    policyName: verdict.policyName, policyHash: verdict.policyHash,
  });
  deps.onVerdict?.(verdict);
  const spending = spendNow(deps, actor.name, risk);
  return spending === undefined ? permitted(deps, request, permit, verdict) : { ...permitted(deps, request, permit, verdict), ran: spending.ran };
}

/** Only where nothing has to be measured or counted first. */
function admitAhead(deps: GuardDeps, known: KnownVerdicts, request: GuardRequest): Permitted | undefined {
  const { action: { actor, database } } = request;
  if (hasLimits(policyFor(deps, actor.name, database)) || hasBudgets(deps.policy())) return undefined;
  const verdict = judgeUnmeasured(deps, known, request, actor.name, database);
  if (verdict.wouldBe !== 'allow') return undefined;
  const ahead = deps.ledger.issueAhead(verdictBody(promised(deps, request), verdict, null));
  if (ahead === undefined) return undefined;
  deps.onVerdict?.(verdict);
  return { ...permitted(deps, request, ahead.permit, verdict), recorded: ahead.recorded };
}

async function admit(deps: GuardDeps, request: GuardRequest, verdict: Verdict, hooks: AskHooks): Promise<Admission> {
  switch (verdict.decision) {
    case 'allow': return { ...await allow(deps, request, verdict), ceiling: ceilingFor(deps, request) };
    case 'deny': return isOverridable(request, verdict) ? askOverride(deps, request, verdict) : refuse(deps, request, verdict, denied(verdict, request.risk, promised(deps, request).coverage));
    case 'hold': return ask(deps, request, verdict, hooks);
  }
}

async function allow(deps: GuardDeps, request: GuardRequest, verdict: Verdict): Promise<Permitted> {
  const body = verdictBody(promised(deps, request), verdict, null);
  const ahead = request.isBoundToCommit === true || (request.isBoundToPoint === true && keptOf(deps, request) !== undefined) ? deps.ledger.issueAhead(body) : undefined;
  if (ahead === undefined) return permitted(deps, request, await deps.ledger.issue(body), verdict);
  return { ...permitted(deps, request, ahead.permit, verdict), recorded: ahead.recorded };
}

/** Nothing but that nothing brings it back speaks against it, and somebody has looked. */
function isOverridable({ coverage }: Judgement, { decision, fired }: Verdict): boolean {
  return decision === 'deny' && coverage !== undefined && fired.every((one) => one.decision !== 'deny' || one.rule === 'recovery.required');
}

/** Nobody waits for an override: it is asked of an operator by whoever hears the no. */
async function askOverride(deps: GuardDeps, request: GuardRequest, verdict: Verdict): Promise<Admission> {
  const approval = await requestAnswer(deps, request, verdict);
  // Enough are kept already; denied it is in any case.
  if (approval instanceof Failure) return refuse(deps, request, verdict, denied(verdict, request.risk, promised(deps, request).coverage));
  switch (approval.state) {
    case 'approved': return redeem(deps, request, verdict, approval);
    case 'denied': return refuse(deps, request, verdict, deniedByPerson(approval), approval);
    case 'pending': return refuse(deps, request, verdict, overridable(approval), approval);
    case 'expired': case 'used': return refuse(deps, request, verdict, overtaken(approval), approval);
  }
}

/** A Failure: too many wait already. */
async function requestAnswer(deps: GuardDeps, request: GuardRequest, verdict: Verdict): Promise<Approval | Failure> {
  const times = policyFor(deps, request.action.actor.name, request.action.database).approval;
  return deps.approvals.request({
    id: deps.newApprovalId(), kind: kindOf(verdict), actionId: request.action.id, binding: bindingFor(deps, request, request, verdict), agent: request.action.actor.name,
    database: request.action.database, redacted: request.action.redacted, risk: request.risk, verdict, coverage: promised(deps, request).coverage ?? null,
    impact: request.impact ?? notMeasured(request.risk),
    expiresAt: new Date(deps.clock.now().getTime() + times.expires * 1000).toISOString(),
  }).catch((error: unknown) => {
    if (error instanceof Failure && error.code === 'too_many_requests') return error;
    throw error;
  });
}

function kindOf({ decision }: Verdict): ApprovalKind { return decision === 'deny' ? 'override' : 'approval'; }

async function ask(deps: GuardDeps, request: GuardRequest, verdict: Verdict, hooks: AskHooks): Promise<Admission> {
  const times = policyFor(deps, request.action.actor.name, request.action.database).approval;
  const approval = await requestAnswer(deps, request, verdict);
  if (approval instanceof Failure) return refuse(deps, request, verdict, approval);
  if (approval.state === 'approved') return redeem(deps, request, verdict, approval);
  const waitMs = approval.state === 'pending' ? times.wait * 1000 : 0;
  if (waitMs > 0) hooks.onHold(approval, waitMs);
  const { answered, isPolicyChanged } = await waitFor(deps, approval, verdict, waitMs, hooks.signal);
  if (isPolicyChanged) return askAnew(deps, request, hooks);
  switch (answered.state) {
    case 'approved': return redeem(deps, request, verdict, answered);
    case 'denied': return refuse(deps, request, verdict, deniedByPerson(answered), answered);
    case 'pending': return refuse(deps, request, verdict, pending(answered), answered);
    case 'expired': case 'used': return refuse(deps, request, verdict, overtaken(answered), answered);
  }
}

interface Waited { readonly answered: Approval; readonly isPolicyChanged: boolean }

async function waitFor(deps: GuardDeps, approval: Approval, verdict: Verdict, timeoutMs: number, signal: AbortSignal): Promise<Waited> {
  if (timeoutMs <= 0) return { answered: approval, isPolicyChanged: false };
  const changed = deps.untilPolicyChanged();
  // It may have changed since the verdict, before anybody could listen.
  const isChanged = (): boolean => !signal.aborted && deps.policy().hash !== verdict.policyHash;
  const answered = isChanged() ? approval : await deps.approvals.waitForAnswer(approval.id, { timeoutMs, signal: AbortSignal.any([signal, changed]) });
  return { answered, isPolicyChanged: answered.state === 'pending' && isChanged() };
}

/** Another policy is in force: what waits is judged by it, as if it came now. */
async function askAnew(deps: GuardDeps, request: GuardRequest, hooks: AskHooks): Promise<Admission> {
  const now: GuardRequest = { ...request, ...await request.rejudge() };
  return admit(deps, now, judge(deps, now.action, now), hooks);
}

/** An approved action is judged again before it runs: policy and schema may have moved while a person was thinking. */
async function redeem(deps: GuardDeps, request: GuardRequest, asked: Verdict, approval: Approval): Promise<Admission> {
  // Neither is it counted again: what was approved is the preview, and it is held to that while it runs.
  const again = { ...await request.rejudge(), impact: approval.impact, used: request.used };
  const verdict = judge(deps, request.action, again);
  const now: GuardRequest = { ...request, ...again };
  const isOverride = approval.kind === 'override' && isOverridable(again, verdict);
  if (verdict.decision === 'deny' && !isOverride) return refuse(deps, now, verdict, denied(verdict, again.risk, promised(deps, now).coverage), approval);
  const isUsed = await deps.approvals.use(approval.id, bindingFor(deps, request, again, verdict));
  if (!isUsed) return refuse(deps, now, asked, moved(approval), approval);
  const permit = await deps.ledger.issue(verdictBody(promised(deps, now), { ...verdict, decision: 'allow' }, approval.id, isOverride));
  return { ...permitted(deps, now, permit, verdict), ceiling: ceilingFor(deps, now, approval) };
}

function keptOf(deps: GuardDeps, { action, risk, coverage }: GuardRequest): Coverage | undefined {
  return protectionOf(policyFor(deps, action.actor.name, action.database), risk, coverage);
}

function permitted(deps: GuardDeps, request: GuardRequest, permit: Permit, verdict: Verdict): Permitted {
  const kept = keptOf(deps, request);
  return { kind: 'permitted', permit, verdict, ...(kept === undefined ? {} : { coverage: kept }), settle: (outcome) => deps.ledger.settle(permit, outcome) };
}

/** As people are told and the record says: with what holds of its undo under the policy in force. */
function promised(deps: GuardDeps, request: GuardRequest): GuardRequest {
  const policy = policyFor(deps, request.action.actor.name, request.action.database);
  return { ...request, coverage: promiseOf(policy, request.risk, request.coverage) };
}

async function refuse(deps: GuardDeps, request: GuardRequest, verdict: Verdict, failure: Failure, approval?: Approval): Promise<Refused> {
  const decision = verdict.decision === 'allow' ? 'deny' : verdict.decision;
  await deps.ledger.append(verdictBody(promised(deps, request), { ...verdict, decision }, approval?.id ?? null));
  return { kind: 'refused', verdict, failure, ...(approval === undefined ? {} : { approval }) };
}

function bindingFor(deps: GuardDeps, { action }: GuardRequest, { risk, coverage, catalogVersion }: Judgement, verdict: Verdict): string {
  const { digest, actor, database, role, searchPath, valueSettings } = action;
  const { policyHash, scope } = verdict;
  return bindingOf({
    kind: kindOf(verdict), digest, agent: actor.name, database, role, searchPath, valueSettings, policyHash, scope, catalogVersion, risk,
    coverage: promiseOf(policyFor(deps, actor.name, database), risk, coverage),
  });
}
