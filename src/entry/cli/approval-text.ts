/**
 * An approval as a person reads it before answering: what the statement is, what it reaches, why it is held, and how far it
 * can be undone, with what it would change as it was measured. The statement is shown redacted, as it is stored; its
 * literals are never kept.
 */
import type { Approval } from '../../core/approval.ts';
import { explainForApprover } from '../../core/policy/explain.ts';
import { columns, printable } from './columns.ts';
import { impactRows, sampleText } from './impact-text.ts';

/** How the next command is called from here. */
export interface Call { readonly self: string; readonly dataFlag: string }

export function approvalText(approval: Approval, now: Date, call: Call): string {
  const { id, kind, agent, database, redacted, risk, verdict, impact, coverage } = approval;
  const { message, detail, hint } = explainForApprover(verdict, risk, coverage ?? undefined);
  const head = columns([
    ['Approval', `${id}  ${stateText(approval, now)}`],
    ['Agent', `${agent}, database ${database}`],
    ['Statement', redacted],
    ['Level', risk.level],
    ...(coverage === null ? [] : [['Undo', kind === 'override' ? `${coverage.scope}; only an override lets it run` : coverage.scope]]),
    ['Policy', `${verdict.policyName} (${verdict.policyHash.slice(0, 12)})`],
    ...impactRows(impact),
  ]);
  const body = [message, ...detail.split('\n')].map((line) => `  ${printable(line)}`).join('\n');
  const yes = kind === 'override' ? `override ${id} --reason "…"` : `approve ${id}`;
  const next = approval.state === 'pending' ? `\n${printable(hint)}\n  ${call.self} approvals ${yes}${call.dataFlag}\n  ${call.self} approvals deny ${id} --reason "…"${call.dataFlag}\n` : '';
  return `${head}${sampleText(impact)}\n${body}\n${next}`;
}

/** What a person wants to know who has just answered. */
export function answerText({ id, kind, state, agent, expiresAt, reason }: Approval, now: Date): string {
  if (state !== 'approved') return `${id} is denied${reason === null ? '' : `: ${printable(reason)}`}. Agent ${agent} is told so.\n`;
  if (kind === 'override') return `${id} is overridden, which stays on record. The statement of agent ${agent} runs, once, when it is sent again within ${minutesLeft(expiresAt, now)} min; nothing undoes it.\n`;
  return `${id} is approved. The statement of agent ${agent} runs now if it still waits, or once when it is sent again within ${minutesLeft(expiresAt, now)} min.\n`;
}

function minutesLeft(expiresAt: string, now: Date): number {
  return Math.max(0, Math.floor((Date.parse(expiresAt) - now.getTime()) / 60_000));
}

function stateText({ state, kind, answeredAt, answeredBy, reason, expiresAt }: Approval, now: Date): string {
  const answer = answeredBy === null ? '' : ` by ${answeredBy} at ${String(answeredAt)}${reason === null ? '' : `: ${reason}`}`;
  return `${state}${kind === 'override' ? ' (override)' : ''}${answer}${state === 'pending' || state === 'approved' ? `, valid for ${minutesLeft(expiresAt, now)} min more` : ''}`;
}

/** Everything that is kept, with the explanation beside it. */
export function approvalJson(approval: Approval): Readonly<Record<string, unknown>> {
  return { ...approval, level: approval.risk.level, explanation: explainForApprover(approval.verdict, approval.risk, approval.coverage ?? undefined) };
}
