/**
 * Capture: what is done in a transaction before and after a statement so that the statement can be undone. Every way of
 * capturing (transitions, rows, tables) is one of these; whoever performs the statement knows no more of it. Nothing may commit
 * after a capture that threw.
 */
import type { Coverage } from '../../../core/recovery/coverage.ts';
import type { Taken } from '../../../core/sql/taken.ts';
import type { CapturedContents } from '../../../flow/protect.ts';
import type { CatalogQuery } from '../catalog.ts';
import type { RowsPlan } from './capture-rows.ts';

/** What is to be captured, of all that runs in between. */
export interface CapturePlan {
  readonly coverage: Coverage;
  readonly database: string;
  /** In a transaction of the client's, begun before and ended later. */
  readonly isInBlock: boolean;
  /** Asked in one breath with its first question. */
  readonly first: readonly string[];
  /** Of a single plain UPDATE or DELETE. */
  readonly rows?: Pick<RowsPlan, 'query' | 'bind' | 'rowsExpected' | 'rowsMax'> | undefined;
  /** Of a single TRUNCATE, DROP or ALTER TABLE. */
  readonly taken?: Taken | undefined;
}

export interface Capture {
  /** Once begun: what waits for the end of the transaction only looks, so it need not come before `after`; absent: it may change rows too. */
  readonly isUndeferred?: boolean;
  /** Takes its locks first and looks again behind them. Throws Failure where the promise does not hold, or ServerError. */
  before(): Promise<void>;
  /**
   * When all of it has run, before anything commits: gives what was kept, and without `finish` leaves nothing of ours.
   * `changedRows`: as the command tags said; undefined: they did not say. Throws Failure or ServerError.
   */
  after(changedRows: number | undefined): Promise<CapturedContents>;
  /**
   * Just before its transaction commits, and only then: leaves nothing of ours behind, which may keep readers away. Whatever else
   * ends the transaction does the same by itself. Throws as the others do.
   */
  finish?(): Promise<void>;
}

type Place = Pick<CapturedContents, 'xid' | 'lsn' | 'server'>;

/** Where the open transaction stands: values for `placeOf`. Nothing in them is found by a search path. */
export const placeColumns = `pg_catalog.pg_current_xact_id()::pg_catalog.text, pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text, (SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()),
  (SELECT timeline_id::pg_catalog.text FROM pg_catalog.pg_control_checkpoint()), pg_catalog.current_setting('server_version_num')`;

export function placeOf([xid = null, lsn = null, systemId = null, timeline = null, version = null]: readonly (string | null)[] = []): Place {
  return { xid: xid ?? '', lsn: lsn ?? '', server: { systemId: systemId ?? '', major: Math.floor(Number(version) / 10_000), timeline: Number(timeline) } };
}

export async function readPlace(query: CatalogQuery): Promise<Place> { return placeOf((await query(`SELECT ${placeColumns}`))[0]); }
