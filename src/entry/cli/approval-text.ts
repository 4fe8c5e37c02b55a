/**
 * An approval as a person reads it before answering: what the statement is, what it reaches, why it is held, and that it
 * cannot be undone. The statement is shown redacted, as it is stored; its literals are never kept.
 */
import type { Approval } from '../../core/approval.ts';
import { explainForApprover } from '../../core/policy/explain.ts';
import { columns, printable } from './columns.ts';

export function approvalText(approval: Approval, now: Date, self: string): string {
  const { id, agent, database, redacted, risk, verdict } = approval;
  const { message, detail, hint } = explainForApprover(verdict, risk);
  const head = columns([
    ['Approval', `${id}  ${stateText(approval, now)}`],
    ['Agent', `${agent}, database ${database}`],
    ['Statement', redacted],
    ['Level', risk.level],
    ['Policy', `${verdict.policyName} (${verdict.policyHash.slice(0, 12)})`],
  ]);
  const body = [message, ...detail.split('\n')].map((line) => `  ${printable(line)}`).join('\n');
  const next = approval.state === 'pending' ? `\n${printable(hint)}\n  ${self} approvals approve ${id}\n  ${self} approvals deny ${id} --reason "…"\n` : '';
  return `${head}\n${body}\n${next}`;
}

function stateText({ state, answeredAt, answeredBy, reason, expiresAt }: Approval, now: Date): string {
  const answer = answeredBy === null ? '' : ` by ${answeredBy} at ${String(answeredAt)}${reason === null ? '' : `: ${reason}`}`;
  const minutes = Math.max(0, Math.round((Date.parse(expiresAt) - now.getTime()) / 60_000));
  return `${state}${answer}${state === 'pending' || state === 'approved' ? `, valid for ${minutes} min more` : ''}`;
}

/** Everything that is kept, with the explanation beside it. */
export function approvalJson(approval: Approval): Readonly<Record<string, unknown>> {
  return { ...approval, level: approval.risk.level, explanation: explainForApprover(approval.verdict, approval.risk) };
}
