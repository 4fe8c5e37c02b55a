/**
 * What became of a transaction that nobody heard the end of: the server remembers it for as long as it keeps the status of
 * old transactions. It is believed only where it is the very server that ran it, on the same timeline: after a
 * failover a transaction may be lost, and its number be another's.
 */
import type { TransactionFate } from '../../core/recovery/recovery-point.ts';
import type { CatalogQuery } from './catalog.ts';
import { ServerError } from './server-error.ts';

export interface RanOn {
  /** Decimal. */
  readonly systemId: string;
  readonly timeline: number;
  readonly xid: string;
}

const fates: Readonly<Record<string, TransactionFate | 'not-yet'>> = { committed: 'committed', aborted: 'discarded', 'in progress': 'not-yet' };
/** The server says so of a number that it has not given out: it did, and has lost it in a crash, with all that it stood for. */
const invalidParameter = '22023';

/**
 * `not-yet`: it still runs, or the server is not up to date; `unknown`: it is too old, or this is another server. Each question
 * is a statement of its own. Throws ServerError, or Failure when the connection is lost.
 */
export async function transactionFate(query: CatalogQuery, { systemId, timeline, xid }: RanOn): Promise<TransactionFate | 'not-yet'> {
  const [here] = await query(`SELECT (SELECT system_identifier::text FROM pg_control_system()), (SELECT timeline_id::text FROM pg_control_checkpoint()), pg_is_in_recovery()::text`);
  if (here?.[2] === 'true') return 'not-yet';
  if (here?.[0] !== systemId || here[1] !== String(timeline)) return 'unknown';
  try {
    const [status] = await query('SELECT pg_xact_status($1::xid8)', [xid]);
    return fates[status?.[0] ?? ''] ?? 'unknown';
  } catch (error) {
    if (error instanceof ServerError && error.code === invalidParameter) return 'discarded';
    throw error;
  }
}
