/**
 * Approval: a person's answer to a hold. Pure transitions only; the store persists them.
 * An approval is bound to a digest of exactly what would run and where; it expires, and it is used once.
 *   pending → approved → used,   pending → denied,   pending | approved → expired
 */
import { canonicalJson } from '../lib/canonical-json.ts';
import { sha256Hex } from '../lib/sha256.ts';
import type { Impact } from './impact.ts';
import type { Coverage } from './recovery/coverage.ts';
import type { Risk } from './risk.ts';
import type { Verdict } from './verdict.ts';

export type ApprovalState = 'pending' | 'approved' | 'denied' | 'expired' | 'used';

/** `override`: nothing could bring back what it destroys, and only an operator who says so, with a reason, lets it run. */
export type ApprovalKind = 'approval' | 'override';

export interface Approval {
  /** `apr_…`, short enough to type. */
  readonly id: string;
  readonly kind: ApprovalKind;
  readonly state: ApprovalState;
  readonly actionId: string;
  /** See bindingOf: digest of bytes, binds, agent, database, role, search_path, value settings, policy hash, catalog version and risk. */
  readonly binding: string;
  readonly agent: string;
  readonly database: string;
  readonly redacted: string;
  readonly risk: Risk;
  readonly verdict: Verdict;
  /** How far it will be undone, as the policy asks for it; null: nobody has looked. */
  readonly coverage: Coverage | null;
  /** What was measured when it was asked for; what is approved is held to it. */
  readonly impact: Impact;
  readonly requestedAt: string;
  readonly expiresAt: string;
  readonly answeredAt: string | null;
  readonly answeredBy: string | null;
  readonly reason: string | null;
}

export type Change =
  | { readonly kind: 'changed'; readonly approval: Approval }
  /** Why its present state does not allow it; a sentence. */
  | { readonly kind: 'refused'; readonly why: string };

export interface Answer {
  /** An override is approved by no other word. */
  readonly answer: 'approved' | 'overridden' | 'denied';
  readonly by: string;
  readonly reason: string | null;
}

export interface Binding {
  readonly kind: ApprovalKind;
  /** Of the exact bytes and bind values. */
  readonly digest: string;
  readonly agent: string;
  readonly database: string;
  readonly role: string;
  readonly searchPath: readonly string[];
  /** By which the server reads dates and times: under another one the same bytes mean other days. */
  readonly valueSettings?: ReadonlyMap<string, string> | undefined;
  readonly policyHash: string;
  /** Of the policy; what is asked for under other rules needs another answer. */
  readonly scope?: string | undefined;
  readonly catalogVersion: string;
  /** What the approver is told that it would do; it also depends on the session, for instance on its temporary tables. */
  readonly risk: Risk;
  /** What the approver is told of its undo. */
  readonly coverage?: Coverage | undefined;
}

/** One text for one thing that may run: whatever differs in any part needs an approval of its own. */
export function bindingOf({ kind, digest, agent, database, role, searchPath, valueSettings = new Map(), policyHash, scope, catalogVersion, risk, coverage }: Binding): string {
  return sha256Hex(canonicalJson([
    'backstop-approval-binding-4', kind, digest, agent, database, role, searchPath, Object.fromEntries(valueSettings), policyHash, scope ?? null, catalogVersion,
    risk.level, risk.destroys, risk.recoverability,
    risk.reasons.map(({ rule, level }) => [rule, level]),
    risk.effects.map(({ kind, object, objectKind }) => [kind, object ?? null, objectKind ?? null]),
    coverage === undefined ? null : [coverage.scope, coverage.method ?? null, coverage.tables, coverage.lost],
  ]));
}

function isExpired(approval: Approval, now: Date): boolean {
  return approval.state === 'expired' || now.getTime() >= Date.parse(approval.expiresAt);
}

/** pending → approved | denied. */
export function answer(approval: Approval, { answer: given, by, reason }: Answer, now: Date): Change {
  if (isExpired(approval, now)) return { kind: 'refused', why: `${approval.id} has expired` };
  if (approval.state !== 'pending') return { kind: 'refused', why: `${approval.id} is ${approval.state} already` };
  const why = otherWord(approval, given, reason);
  if (why !== undefined) return { kind: 'refused', why };
  return { kind: 'changed', approval: { ...approval, state: given === 'denied' ? 'denied' : 'approved', answeredAt: now.toISOString(), answeredBy: by, reason } };
}

/** Why it takes another word than the one given. */
function otherWord({ id, kind }: Approval, given: Answer['answer'], reason: string | null): string | undefined {
  if (kind === 'override' && given === 'approved') return `${id} would destroy what nothing brings back, so no approval opens it; if that is meant: backstop approvals override ${id} --reason "…"`;
  if (kind === 'approval' && given === 'overridden') return `${id} needs no override; approve or deny it`;
  return given === 'overridden' && (reason ?? '').trim() === '' ? `${id} can be overridden only with a reason` : undefined;
}

/** approved → used; only for the very thing it was given for. */
export function use(approval: Approval, binding: string, now: Date): Change {
  if (approval.binding !== binding) return { kind: 'refused', why: `${approval.id} was given for another statement, session context, policy or schema` };
  if (isExpired(approval, now)) return { kind: 'refused', why: `${approval.id} has expired` };
  if (approval.state !== 'approved') return { kind: 'refused', why: `${approval.id} is ${approval.state}` };
  return { kind: 'changed', approval: { ...approval, state: 'used' } };
}

/** pending | approved → expired, once its time is over. */
export function expire(approval: Approval, now: Date): Change {
  const isLive = approval.state === 'pending' || approval.state === 'approved';
  return isLive && isExpired(approval, now)
    ? { kind: 'changed', approval: { ...approval, state: 'expired' } }
    : { kind: 'refused', why: `${approval.id} is ${approval.state} and stays so` };
}
