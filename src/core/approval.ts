/**
 * Approval: a person's answer to a hold. Pure transitions only; the store persists them.
 * An approval is bound to a digest of exactly what would run and where; it expires, and it is used once.
 *   pending → approved → used,   pending → denied,   pending | approved → expired
 */
import type { Risk } from './risk.ts';
import type { Verdict } from './verdict.ts';

export type ApprovalState = 'pending' | 'approved' | 'denied' | 'expired' | 'used';

export interface Approval {
  /** `apr_…`, short enough to type. */
  readonly id: string;
  readonly state: ApprovalState;
  readonly actionId: string;
  /** See bindingOf: digest of bytes, binds, agent, database, role, search_path, policy hash and catalog version. */
  readonly binding: string;
  readonly agent: string;
  readonly database: string;
  readonly redacted: string;
  readonly risk: Risk;
  readonly verdict: Verdict;
  readonly requestedAt: string;
  readonly expiresAt: string;
  readonly answeredAt: string | null;
  readonly answeredBy: string | null;
  readonly reason: string | null;
}
