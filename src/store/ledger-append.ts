/**
 * Appending to the ledger inside a transaction that the caller holds, so that an entry and the change it speaks of are
 * written together or not at all. The head is read in the same transaction, so several processes make one chain; what a
 * node appends it appends in its own name, and not once the other nodes have given it up.
 */
import { chainEntry, genesis, writeBody, type EntryBody, type Head, type StoredEntry, type WrittenBody } from '../core/ledger/entry.ts';
import type { Changes, Queries } from './database.ts';

/** SQLite takes 32,766 parameters in one statement; five stand for one entry. */
const entriesPerInsertMax = 500;
const rowsPerStatement = 100;

/** Throws Bug for a body without a canonical form. */
export async function appendEntries(changes: Changes, at: Date, bodies: readonly EntryBody[]): Promise<void> {
  await appendWritten(changes, at, bodies.map(writeBody));
}

/** The sequence numbers of the new entries, in order. */
export async function appendWritten(changes: Changes, at: Date, bodies: readonly WrittenBody[]): Promise<readonly number[]> {
  if (bodies.length === 0) return [];
  let head = await readHead(changes);
  const stamp = at.toISOString();
  const entries = bodies.map((body): StoredEntry => {
    const entry = chainEntry(head, stamp, body);
    head = { seq: entry.seq, hash: entry.hash };
    return entry;
  });
  for (let start = 0; start < entries.length; start += entriesPerInsertMax) {
    await changes.insertInto('ledger').values(entries.slice(start, start + entriesPerInsertMax)).execute();
  }
  await changes.insertInto('ledger_head').values({ id: 1, ...head }).onConflict((conflict) => conflict.column('id').doUpdateSet(head)).execute();
  return entries.map((entry) => entry.seq);
}

export async function readHead(queries: Queries | Changes): Promise<Head> {
  return await queries.selectFrom('ledger_head').select(['seq', 'hash']).where('id', '=', 1).executeTakeFirst() ?? genesis;
}

/** As many rows as one statement is to name. */
export function inGroups<T>(items: readonly T[]): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(items.length / rowsPerStatement) }, (_, index) => items.slice(index * rowsPerStatement, (index + 1) * rowsPerStatement));
}
