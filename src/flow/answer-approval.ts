/**
 * A person's answer to a hold. Only an operator's token can give one; whose token it is goes on record with the answer
 * and its ledger entry in one transaction. Whoever waits for it wakes, on whichever node it waits.
 */
import type { Answer, Approval } from '../core/approval.ts';
import { Failure } from '../core/failure.ts';
import type { Approvals } from '../store/approvals.ts';
import type { Identities } from '../store/identities.ts';

export interface AnswerDeps {
  readonly identities: Pick<Identities, 'authenticateOperator'>;
  readonly approvals: Pick<Approvals, 'answer'>;
}

const reasonUnitsMax = 500;

/** Throws Failure `not_permitted`, `not_found`, `conflict`, or `usage` for a reason that is too long. */
export async function answerApproval(deps: AnswerDeps, token: string, id: string, given: Pick<Answer, 'answer' | 'reason'>): Promise<Approval> {
  const by = await deps.identities.authenticateOperator(token);
  if (given.reason !== null && given.reason.length > reasonUnitsMax) throw new Failure('usage', `the reason is longer than ${reasonUnitsMax} characters`);
  return deps.approvals.answer(id, { ...given, reason: given.reason?.toWellFormed() ?? null, by });
}
