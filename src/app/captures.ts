/**
 * How what is covered so is captured: one way for each method of coverage.
 */
import { Failure } from '../core/failure.ts';
import type { Protection } from '../entry/gateway/context.ts';
import { createRowsCapture } from '../remote/postgres/capture/capture-rows.ts';
import { createTablesCapture } from '../remote/postgres/capture/capture-tables.ts';
import { createTombstoneCapture } from '../remote/postgres/capture/capture-tombstone.ts';
import { createTransitionsCapture } from '../remote/postgres/capture/capture-transitions.ts';
import type { KnownTables } from '../remote/postgres/capture/known-tables.ts';
import { sessionOf } from '../remote/postgres/transaction-session.ts';

/** What it gives throws Failure where there is no way. `known`: one for all of a gateway. */
export function createCaptures(known: KnownTables): Protection['capture'] {
  return (link, { coverage: { method, tables }, database, isInBlock, first, rows, taken }, draft) => {
    const session = sessionOf(link, first);
    if (method === 'rows' && rows !== undefined) return createRowsCapture({ ...rows, database, isInBlock }, { session, draft, known });
    // Whatever changes rows is seen by what its tables show of it, also where its WHERE cannot be asked.
    if (method === 'rows' || method === 'transitions') return createTransitionsCapture(session, tables, draft, { isFinishedLater: true });
    if (method === 'tables' && taken !== undefined) return createTablesCapture(session, taken, draft);
    if (method === 'tombstone' && taken !== undefined) return createTombstoneCapture(session, taken, draft);
    throw new Failure('feature_not_supported', 'Backstop cannot keep what this statement takes away, so it did not run');
  };
}
