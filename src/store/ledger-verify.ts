/**
 * Verifying the ledger: every entry is hashed again, from the first to the recorded head, in pages, so that memory stays
 * flat at any length. What the store itself cannot read counts as broken at that place, not as an error.
 */
import { sql } from 'kysely';
import { checkEntry, checkHead, genesis, type BrokenEntry, type Head, type StoredEntry } from '../core/ledger/entry.ts';
import type { Queries } from './database.ts';

export interface Verification {
  /** How many hold, from the first on. */
  readonly entries: number;
  readonly broken: BrokenEntry | undefined;
}

const pageEntries = 500;

export async function entriesAfter(queries: Queries, seq: number, limit: number): Promise<readonly StoredEntry[]> {
  return queries.selectFrom('ledger').selectAll().where('seq', '>', seq).orderBy('seq').limit(limit).execute();
}

export async function verifyLedger(queries: Queries, onProgress: (seq: number) => void): Promise<Verification> {
  let last: Head = genesis;
  try {
    const { head, stray } = await readEnds(queries);
    if (stray !== undefined) return { entries: 0, broken: stray };
    for (;;) {
      // Entries appended after the head was read are later, not wrong.
      const page = (await entriesAfter(queries, last.seq, pageEntries)).filter((entry) => entry.seq <= head.seq);
      for (const entry of page) {
        const checked = checkEntry(last, entry);
        if (checked.kind === 'broken') return { entries: last.seq, broken: checked.broken };
        last = checked.head;
      }
      if (page.length < pageEntries) return { entries: last.seq, broken: checkHead(last, head) };
      onProgress(last.seq);
    }
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    return { entries: last.seq, broken: { seq: last.seq + 1, why: `the store cannot be read from here on (${error.message})` } };
  }
}

/** Head and outermost entries in one statement, so that an entry appended meanwhile is no stray. */
async function readEnds(queries: Queries): Promise<{ readonly head: Head; readonly stray: BrokenEntry | undefined }> {
  const { rows } = await sql<{ seq: number | null; hash: string | null; first: number | null; last: number | null }>`
    SELECT (SELECT seq FROM ledger_head WHERE id = 1) AS seq, (SELECT hash FROM ledger_head WHERE id = 1) AS hash,
           (SELECT min(seq) FROM ledger) AS first, (SELECT max(seq) FROM ledger) AS last`.execute(queries);
  const [ends] = rows;
  const head: Head = ends?.seq != null && ends.hash !== null ? { seq: ends.seq, hash: ends.hash } : genesis;
  if (ends?.first != null && ends.first < 1) return { head, stray: { seq: ends.first, why: 'stands before the first entry' } };
  if (ends?.last != null && ends.last > head.seq) return { head, stray: { seq: head.seq + 1, why: 'entries stand after the recorded head' } };
  return { head, stray: undefined };
}

/** SQLite's damage, an integer out of range, PostgreSQL's data_corrupted and index_corrupted: changed by something else than the store. */
const unreadableCodes: ReadonlySet<unknown> = new Set(['ERR_SQLITE_ERROR', 'ERR_OUT_OF_RANGE', 'XX001', 'XX002']);

function isUnreadable(error: unknown): error is Error {
  const origin = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return origin instanceof Error && 'code' in origin && unreadableCodes.has(origin.code);
}
