/**
 * Database: our own memory, through Kysely, in one of two kinds that behave alike: a SQLite file that the processes of
 * one machine share, or a PostgreSQL database that several machines share. On both, transactions that write are serial,
 * what counts as durable is on disk, and data of another version or a store that cannot be used is a Failure that says
 * so; nothing is ever repaired silently.
 */
import type { Kysely, RawBuilder, Transaction } from 'kysely';
import type { Secret } from '../lib/secret.ts';
import { openSqlite } from './sqlite-database.ts';

export interface Tables {
  readonly ledger: { readonly seq: number; readonly at: string; readonly kind: string; readonly body: string; readonly hash: string };
  readonly ledger_head: { readonly id: number; readonly seq: number; readonly hash: string };
  readonly open_permit: { readonly action_id: string; readonly verdict_seq: number; readonly node_id: string | null };
  readonly approval: {
    readonly id: string; readonly kind: string; readonly state: string; readonly action_id: string; readonly binding: string; readonly agent: string;
    readonly database_name: string; readonly redacted: string; readonly risk: string; readonly verdict: string; readonly impact: string; readonly coverage: string;
    readonly requested_at: string; readonly expires_at: string;
    readonly answered_at: string | null; readonly answered_by: string | null; readonly reason: string | null;
  };
  readonly agent: {
    readonly name: string; readonly database_name: string | null; readonly verifier: string; readonly created_at: string;
    readonly rotated_at: string | null; readonly revoked_at: string | null; readonly generation: number;
    /** `token` or `certificate`. */
    readonly login: string; readonly connections_max: number | null;
  };
  readonly operator: { readonly name: string; readonly token_hash: string; readonly created_at: string; readonly revoked_at: string | null };
  readonly node: {
    readonly id: string; readonly place: string; readonly host: string; readonly pid: number; readonly started_at: string;
    readonly lease_until: number;
  };
  readonly budget_use: { readonly agent: string; readonly span: string; readonly since: string; readonly statements: number; readonly rows_changed: number; readonly rows_read: number };
  readonly recovery_point: {
    readonly id: string; readonly state: string; readonly agent: string; readonly session_id: string; readonly database_name: string; readonly scope: string; readonly method: string;
    readonly pack: string; readonly line: string; readonly row_count: number; readonly byte_count: number; readonly actions: string;
    readonly system_id: string; readonly timeline: number; readonly xid: string; readonly undoes: string | null;
    readonly created_at: string; readonly changed_at: string; readonly node_id: string | null; readonly objects_left: number;
  };
  readonly recovery_point_action: { readonly action_id: string; readonly point_id: string };
  readonly recovery_point_chunk: { readonly name: string; readonly point_id: string };
  readonly shared_secret: { readonly name: string; readonly value: string };
}

export type Queries = Kysely<Tables>;
export type Changes = Transaction<Tables>;

export interface StoreDatabase {
  readonly kind: 'sqlite' | 'postgres';
  readonly queries: Queries;
  /** One transaction, with no other that writes beside it; retried by nobody. Throws Failure `store_unavailable` when the store itself fails. */
  transact<T>(work: (changes: Changes) => Promise<T>): Promise<T>;
  /** A transaction that a crash of the machine may lose, but never a part of it, nor one that came before a durable one. */
  transactRelaxed<T>(work: (changes: Changes) => Promise<T>): Promise<T>;
  /** Milliseconds since 1970 on the store's own clock, the same for all who use it: for leases. */
  readonly nowMs: RawBuilder<number>;
  /** Tells every process of this store, once the transaction is committed. */
  hint(changes: Changes): Promise<void>;
  /** Calls at each hint of another process, perhaps: a hint may be lost, so whoever waits looks for itself every `lookAgainMs`. Returns how to stop. */
  onHint(listener: () => void): () => void;
  readonly lookAgainMs: number;
  close(): Promise<void>;
}

export type StorePlace =
  | { readonly kind: 'sqlite'; readonly folder: string }
  | { readonly kind: 'postgres'; readonly url: Secret };

/** Throws Failure `store_unavailable` or `data_version`; with `isThere`, also `not_found` instead of making a new one. */
export async function openDatabase(place: StorePlace, options: { readonly isThere?: boolean } = {}): Promise<StoreDatabase> {
  if (place.kind === 'sqlite') return openSqlite(place.folder, options);
  // Loaded when it is needed: most Backstops start without it.
  const { openPostgres } = await import('./postgres-database.ts');
  return openPostgres(place.url, options);
}
