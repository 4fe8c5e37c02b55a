/**
 * Guard: the one path of every action: judge → ask → permit; the caller performs, and settles with the permit. What would
 * change rows is measured in between where the policy has limits or a person is to be asked.
 *   allow  the verdict is on record, then a permit; or, for what cannot last before the caller lets its transaction
 *          commit, a permit ahead of the record
 *   hold   an approval bound to exactly this action is used, or asked for and waited for; then it is judged again, and
 *          only if that still binds to the same approval and is not denied, a permit
 *   deny   the verdict is on record, then a refusal
 * What fails on the way is a refusal, never a permit.
 */
import type { SqlAction } from '../core/action.ts';
import { bindingOf, type Approval } from '../core/approval.ts';
import { ceilingOf, type Ceiling } from '../core/ceiling.ts';
import { Failure } from '../core/failure.ts';
import { impactSentence, noImpact, unknownImpact, type BoundedImpact, type Impact } from '../core/impact.ts';
import type { Outcome } from '../core/outcome.ts';
import { hasBudgets, noUse, rowsLeft, type BudgetUse } from '../core/policy/budgets.ts';
import { decide } from '../core/policy/decide.ts';
import { explain } from '../core/policy/explain.ts';
import { scopeFor, type Environment } from '../core/policy/match.ts';
import type { EffectivePolicy, Policy } from '../core/policy/policy.ts';
import type { Risk } from '../core/risk.ts';
import { changesRows, isMeasured, losesObjects, losesRows } from '../core/sql/changes-rows.ts';
import { missingRules } from '../core/sql/missing-names.ts';
import type { Verdict } from '../core/verdict.ts';
import type { Clock } from '../lib/clock.ts';
import type { Approvals } from '../store/approvals.ts';
import type { Budgets } from '../store/budgets.ts';
import type { Ledger, Permit } from '../store/ledger.ts';
import { spend, spendNow, type Spending } from './spending.ts';
import { verdictBody } from './verdict-body.ts';

export interface Judgement {
  readonly risk: Risk;
  readonly catalogVersion: string;
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

function judge(deps: GuardDeps, action: SqlAction, { risk, impact = notMeasured(risk), used }: Judgement): Verdict {
  const { actor: { name: agent }, database } = action;
  return decide(policyFor(deps, agent, database), { risk, agent, database, recovery: 'none', impact, used: used ?? deps.budgets.used(agent) });
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
  const { decision } = judge(deps, action, { ...request, impact: noImpact, used: noUse });
  // Whoever only observes does not let anything wait.
  if (policy.mode === 'observe' || decision === 'deny' || (!hasLimits(policy) && decision !== 'hold')) return noImpact;
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
type KnownVerdicts = WeakMap<Risk, { readonly policy: EffectivePolicy; readonly agent: string; readonly database: string; readonly verdict: Verdict }>;

/** Of what nothing was measured. */
function judgeUnmeasured(deps: GuardDeps, known: KnownVerdicts, risk: Risk, agent: string, database: string): Verdict {
  const policy = policyFor(deps, agent, database);
  if (policy.budgets.length > 0) return decide(policy, { risk, agent, database, recovery: 'none', used: deps.budgets.used(agent) });
  const last = known.get(risk);
  if (last !== undefined && last.policy === policy && last.agent === agent && last.database === database) return last.verdict;
  const verdict = decide(policy, { risk, agent, database, recovery: 'none' });
  known.set(risk, { policy, agent, database, verdict });
  return verdict;
}

function admitNow(deps: GuardDeps, known: KnownVerdicts, request: GuardRequest): Permitted | undefined {
  const { action, risk } = request;
  if (risk.level !== 'SAFE') return request.isBoundToCommit === true ? admitAhead(deps, known, request) : undefined;
  const verdict = judgeUnmeasured(deps, known, risk, action.actor.name, action.database);
  if (verdict.wouldBe !== 'allow') return undefined;
  const { id: actionId, sessionId, actor, database, digest, fingerprint, redacted } = action;
  const permit = deps.ledger.issueRead({
    actionId, sessionId, agent: actor.name, database, digest, fingerprint, text: redacted,
    policyName: verdict.policyName, policyHash: verdict.policyHash,
  });
  deps.onVerdict?.(verdict);
  const spending = spendNow(deps, actor.name, risk);
  return spending === undefined ? permitted(deps, permit, verdict) : { ...permitted(deps, permit, verdict), ran: spending.ran };
}

/** Only where nothing has to be measured or counted first. */
function admitAhead(deps: GuardDeps, known: KnownVerdicts, request: GuardRequest): Permitted | undefined {
  const { action: { actor, database }, risk } = request;
  if (hasLimits(policyFor(deps, actor.name, database)) || hasBudgets(deps.policy())) return undefined;
  const verdict = judgeUnmeasured(deps, known, risk, actor.name, database);
  if (verdict.wouldBe !== 'allow') return undefined;
  const ahead = deps.ledger.issueAhead(verdictBody(request, verdict, null));
  if (ahead === undefined) return undefined;
  deps.onVerdict?.(verdict);
  return { ...permitted(deps, ahead.permit, verdict), recorded: ahead.recorded };
}

async function admit(deps: GuardDeps, request: GuardRequest, verdict: Verdict, hooks: AskHooks): Promise<Admission> {
  switch (verdict.decision) {
    case 'allow': return { ...await allow(deps, request, verdict), ceiling: ceilingFor(deps, request) };
    case 'deny': return refuse(deps, request, verdict, denied(verdict, request.risk));
    case 'hold': return ask(deps, request, verdict, hooks);
  }
}

async function allow(deps: GuardDeps, request: GuardRequest, verdict: Verdict): Promise<Permitted> {
  const body = verdictBody(request, verdict, null);
  const ahead = request.isBoundToCommit === true ? deps.ledger.issueAhead(body) : undefined;
  if (ahead === undefined) return permitted(deps, await deps.ledger.issue(body), verdict);
  return { ...permitted(deps, ahead.permit, verdict), recorded: ahead.recorded };
}

async function ask(deps: GuardDeps, request: GuardRequest, verdict: Verdict, hooks: AskHooks): Promise<Admission> {
  const times = policyFor(deps, request.action.actor.name, request.action.database).approval;
  const approval = await deps.approvals.request({
    id: deps.newApprovalId(), actionId: request.action.id, binding: bindingFor(request, request, verdict), agent: request.action.actor.name,
    database: request.action.database, redacted: request.action.redacted, risk: request.risk, verdict,
    impact: request.impact ?? notMeasured(request.risk),
    expiresAt: new Date(deps.clock.now().getTime() + times.expires * 1000).toISOString(),
  }).catch((error: unknown) => {
    if (error instanceof Failure && error.code === 'too_many_requests') return error;
    throw error;
  });
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
  if (verdict.decision === 'deny') return refuse(deps, now, verdict, denied(verdict, again.risk), approval);
  const isUsed = await deps.approvals.use(approval.id, bindingFor(request, again, verdict));
  if (!isUsed) return refuse(deps, now, asked, moved(approval), approval);
  const permit = await deps.ledger.issue(verdictBody(now, { ...verdict, decision: 'allow' }, approval.id));
  return { ...permitted(deps, permit, verdict), ceiling: ceilingFor(deps, now, approval) };
}

function permitted(deps: GuardDeps, permit: Permit, verdict: Verdict): Permitted {
  return { kind: 'permitted', permit, verdict, settle: (outcome) => deps.ledger.settle(permit, outcome) };
}

async function refuse(deps: GuardDeps, request: GuardRequest, verdict: Verdict, failure: Failure, approval?: Approval): Promise<Refused> {
  const decision = verdict.decision === 'allow' ? 'deny' : verdict.decision;
  await deps.ledger.append(verdictBody(request, { ...verdict, decision }, approval?.id ?? null));
  return { kind: 'refused', verdict, failure, ...(approval === undefined ? {} : { approval }) };
}

function bindingFor({ action }: GuardRequest, { risk, catalogVersion }: Judgement, { policyHash, scope }: Verdict): string {
  const { digest, actor, database, role, searchPath, valueSettings } = action;
  return bindingOf({ digest, agent: actor.name, database, role, searchPath, valueSettings, policyHash, scope, catalogVersion, risk });
}

function denied(verdict: Verdict, risk: Risk): Failure {
  const { message, detail, hint } = explain(verdict, risk);
  return missingName(verdict, risk) ?? new Failure('statement_denied', message, { detail, hint });
}

function givenUp(): Failure {
  return new Failure('cancelled', 'Backstop: the client gave up before this was decided');
}

/** Where a name that is not there is the only reason to deny, the client hears what PostgreSQL would have said. */
function missingName({ fired }: Verdict, { reasons }: Risk): Failure | undefined {
  const refusing = fired.filter(({ decision }) => decision === 'deny');
  if (refusing.some(({ rule }) => rule !== 'name.missing')) return undefined;
  const reason = reasons.find(({ rule }) => rule === missingRules.relation || rule === missingRules.function);
  return reason === undefined ? undefined : new Failure(reason.rule === missingRules.relation ? 'undefined_relation' : 'undefined_function', reason.message);
}

function deniedByPerson({ id, answeredBy, reason, verdict, risk }: Approval): Failure {
  const why = reason === null ? '' : `: ${reason}`;
  return new Failure('approval_denied', `Backstop: ${answeredBy ?? 'an operator'} denied it (${id})${why}`, { detail: explain(verdict, risk).detail });
}

function pending({ id, verdict, risk, impact, expiresAt }: Approval): Failure {
  const { message, detail } = explain(verdict, risk);
  return new Failure('approval_pending', `${message}; it waits for approval ${id}`, {
    detail: impact.kind === 'none' ? detail : `${impactSentence(impact)}\n${detail}`,
    hint: `Approval ${id} is still open until ${expiresAt}. Ask an operator to run: backstop approvals approve ${id}. Then send exactly the same statement again; it runs once. Do not rephrase it: an approval covers these bytes only.`,
  });
}

function overtaken({ id, state }: Approval): Failure {
  const why = state === 'used' ? 'was used by another session that sent the same statement' : 'expired before it was answered';
  return new Failure('approval_pending', `Backstop: approval ${id} ${why}`, { hint: 'Send exactly the same statement again to ask for a new approval.' });
}

function moved({ id }: Approval): Failure {
  return new Failure('approval_pending', `Backstop: approval ${id} no longer fits`, {
    detail: 'Since it was given, the policy, the schema, the session or what the statement would do changed, or another session used it.',
    hint: 'Send exactly the same statement again to ask for a new approval.',
  });
}

/** Whatever part of the record failed, the client needs to know one thing: nothing ran. */
function asRecordFailure(failure: Failure): Failure {
  if (failure.code !== 'store_unavailable') return failure;
  return new Failure('ledger_unavailable', 'the record cannot be written, so nothing may run', { cause: failure });
}
