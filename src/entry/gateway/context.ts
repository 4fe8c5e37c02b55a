/**
 * What the parts of one client session share, and what the gateway receives from outside. `Upstream` stands for one
 * database behind the gateway: its catalog, kept fresh, and the judgements made with it.
 */
import type { SqlAction } from '../../core/action.ts';
import type { Actor } from '../../core/actor.ts';
import type { Approval } from '../../core/approval.ts';
import type { Failure } from '../../core/failure.ts';
import type { Outcome } from '../../core/outcome.ts';
import type { Risk } from '../../core/risk.ts';
import type { Catalog } from '../../core/sql/catalog.ts';
import type { OidNames } from './oid-names.ts';
import type { Verdict } from '../../core/verdict.ts';
import type { Judgements } from './judgements.ts';
import type { Registry } from './registry.ts';
import type { SessionState } from './session-state.ts';
import type { Unit } from './fate.ts';

export interface GuardRequest {
  readonly action: SqlAction;
  readonly risk: Risk;
  readonly catalogVersion: string;
  rejudge(): Promise<{ readonly risk: Risk; readonly catalogVersion: string }>;
}
export interface Permitted { settle(outcome: Outcome): Promise<void> | void }
export type Admission =
  | Permitted & { readonly kind: 'permitted' }
  | { readonly kind: 'refused'; readonly failure: Failure };

/** What the gateway uses of flow/guard. */
export interface Guard {
  judge(request: GuardRequest): Verdict;
  admitNow(request: GuardRequest): Permitted | undefined;
  admit(request: GuardRequest, options: {
    readonly onHold: (approval: Approval, waitMs: number) => void;
    readonly signal: AbortSignal;
  }): Promise<Admission>;
}

/** Catalog snapshots by database: cached, and read again when the database's own version has moved. */
export interface Catalogs {
  /** The snapshot if it was compared with the database a moment ago; undefined means: ask `current`. */
  cached(database: string): Catalog | undefined;
  /** `fresh`: compared with the database now. Throws Failure when it cannot be read. */
  current(database: string, options: { readonly fresh: boolean }): Promise<Catalog>;
  /** Something of it was changed through us. */
  refresh(database: string): Promise<Catalog>;
  /** A question of our own, on a connection of our own. */
  query(database: string, sql: string, parameters: readonly string[]): Promise<readonly (readonly (string | null)[])[]>;
}

export interface SessionContext {
  readonly actor: Actor;
  /** `ses_…` */
  readonly sessionId: string;
  readonly database: string;
  readonly guard: Guard;
  readonly catalogs: Catalogs;
  readonly oids: OidNames;
  readonly judgements: Judgements;
  readonly registry: Registry<Unit>;
  readonly state: SessionState;
  /** `act_…` */
  readonly newActionId: () => string;
  readonly nowMs: () => number;
}
