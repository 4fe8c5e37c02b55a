/**
 * What the parts of one client session share: who it is, its names and state, and what it asks for a judgement, for
 * catalog facts and for permission.
 */
import type { Actor } from '../../core/actor.ts';
import type { Impact } from '../../core/impact.ts';
import type { Guard } from '../../flow/guard.ts';
import type { Protector, RecoveryDraft } from '../../flow/protect.ts';
import type { Capture, CapturePlan } from '../../remote/postgres/capture/capture.ts';
import type { Link } from '../../remote/postgres/link.ts';
import type { ServerCatalogs } from '../../remote/postgres/catalog-cache.ts';
import type { MeasureRequest } from '../../remote/postgres/measure.ts';
import type { OidNames } from './oid-names.ts';
import type { Judgements } from './judgements.ts';
import type { Judging } from './judging.ts';
import type { ReadOnlyLock } from './read-only-lock.ts';
import type { Registry } from './registry.ts';
import type { SessionState } from './session-state.ts';
import type { TransactionCatalog } from './transaction-catalog.ts';
import type { Unit } from './fate.ts';

/** Catalog snapshots of the session's own server, by database, as fresh as asked for. */
export type Catalogs = ServerCatalogs;

/** What takes recovery points. */
export interface Protection {
  readonly protector: Protector;
  /** How what is covered so is captured on a link. */
  readonly capture: (link: Link, plan: CapturePlan, draft: Pick<RecoveryDraft, 'rows'>) => Capture;
}

export interface SessionContext {
  readonly actor: Actor;
  /** `ses_…` */
  readonly sessionId: string;
  readonly database: string;
  /** As the server reports it; empty where it does not. */
  readonly serverEncoding: string;
  readonly guard: Guard;
  readonly catalogs: Catalogs;
  /** Once the session's open transaction has changed the catalog. */
  readonly ownCatalog: TransactionCatalog;
  readonly oids: OidNames;
  readonly judgements: Judgements;
  /** Of the batch that waits for its judgement now. */
  readonly judging: Judging;
  /** Counts on another connection to the same server what a statement of this session would change. Never rejects. */
  readonly measure: (request: Omit<MeasureRequest, 'address' | 'database' | 'processId'>) => Promise<Impact>;
  /** undefined: nothing that needs a recovery point can run. */
  readonly protection: Protection | undefined;
  readonly registry: Registry<Unit>;
  readonly state: SessionState;
  readonly lock: ReadOnlyLock;
  /** `act_…` */
  readonly newActionId: () => string;
  readonly nowMs: () => number;
}
