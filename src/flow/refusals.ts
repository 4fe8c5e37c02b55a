/**
 * Refusals: what whoever sent a statement hears when it does not run, as Failures: what happened, why, and what to do now.
 */
import type { Approval } from '../core/approval.ts';
import { Failure } from '../core/failure.ts';
import { impactSentence } from '../core/impact.ts';
import { explain } from '../core/policy/explain.ts';
import type { Coverage } from '../core/recovery/coverage.ts';
import type { Risk } from '../core/risk.ts';
import { missingRules } from '../core/sql/missing-names.ts';
import type { Verdict } from '../core/verdict.ts';

export function denied(verdict: Verdict, risk: Risk, coverage?: Coverage): Failure {
  const { message, detail, hint } = explain(verdict, risk, coverage);
  return missingName(verdict, risk) ?? new Failure('statement_denied', message, { detail, hint });
}

export function givenUp(): Failure {
  return new Failure('cancelled', 'Backstop: the client gave up before this was decided');
}

/** Where a name that is not there is the only reason to deny, the client hears what PostgreSQL would have said. What it means nobody knows, so neither how to undo it. */
function missingName({ fired }: Verdict, { reasons }: Risk): Failure | undefined {
  const refusing = fired.filter(({ decision }) => decision === 'deny');
  if (refusing.some(({ rule }) => rule !== 'name.missing' && rule !== 'recovery.required')) return undefined;
  const reason = reasons.find(({ rule }) => rule === missingRules.relation || rule === missingRules.function);
  return reason === undefined ? undefined : new Failure(reason.rule === missingRules.relation ? 'undefined_relation' : 'undefined_function', reason.message);
}

export function deniedByPerson({ id, answeredBy, reason, verdict, risk, coverage }: Approval): Failure {
  const why = reason === null ? '' : `: ${reason}`;
  return new Failure('approval_denied', `Backstop: ${answeredBy ?? 'an operator'} denied it (${id})${why}`, { detail: explain(verdict, risk, coverage ?? undefined).detail });
}

export function pending({ id, verdict, risk, impact, coverage, expiresAt }: Approval): Failure {
  const { message, detail } = explain(verdict, risk, coverage ?? undefined);
  return new Failure('approval_pending', `${message}; it waits for approval ${id}`, {
    detail: impact.kind === 'none' ? detail : `${impactSentence(impact)}\n${detail}`,
    hint: `Approval ${id} is still open until ${expiresAt}. Ask an operator to run: backstop approvals approve ${id}. Then send exactly the same statement again; it runs once. Do not rephrase it: an approval covers these bytes only.`,
  });
}

/** Denied, and kept for an operator who may want it all the same. Nobody waits for that. */
export function overridable({ id, verdict, risk, impact, coverage, expiresAt }: Approval): Failure {
  const { message, detail } = explain(verdict, risk, coverage ?? undefined);
  return new Failure('statement_denied', message, {
    detail: impact.kind === 'none' ? detail : `${impactSentence(impact)}\n${detail}`,
    hint: `Do not retry it; choose a statement that can be undone. It is kept as request ${id} until ${expiresAt}: an operator who means it runs: backstop approvals override ${id} --reason "…". Then exactly the same statement, sent again, runs once, and nothing undoes it.`,
  });
}

export function overtaken({ id, state }: Approval): Failure {
  const why = state === 'used' ? 'was used by another session that sent the same statement' : 'expired before it was answered';
  return new Failure('approval_pending', `Backstop: approval ${id} ${why}`, { hint: 'Send exactly the same statement again to ask for a new approval.' });
}

export function moved({ id }: Approval): Failure {
  return new Failure('approval_pending', `Backstop: approval ${id} no longer fits`, {
    detail: 'Since it was given, the policy, the schema, the session or what the statement would do changed, or another session used it.',
    hint: 'Send exactly the same statement again to ask for a new approval.',
  });
}

/** Whatever part of the record failed, the client needs to know one thing: nothing ran. */
export function asRecordFailure(failure: Failure): Failure {
  if (failure.code !== 'store_unavailable') return failure;
  return new Failure('ledger_unavailable', 'the record cannot be written, so nothing may run', { cause: failure });
}
