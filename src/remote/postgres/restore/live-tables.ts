/**
 * The tables of a recovery point as they are now. What was altered since is either mapped exactly (a column that was added
 * keeps what is in it, one that was widened takes the value as it was) or told, by name, as the reason why nothing is undone.
 */
import { z } from 'zod';
import { Failure } from '../../../core/failure.ts';
import type { KeptTable, TableShape } from '../../../core/recovery/manifest.ts';
import { readCapturedTables, arrayOf, type CapturedTable } from '../capture/tables.ts';
import type { CatalogQuery } from '../catalog.ts';
import type { UndoneTable } from './row-undo.ts';

/** A table as it is now, and as its images are put back into it. */
export interface LiveTable { readonly live: CapturedTable; readonly undone: UndoneTable }

const listSchema = z.array(z.string());

/** A key compares as its index does: for a type of an extension, by the extension's own operator. */
const equalsQuery = `SELECT coalesce((SELECT json_agg(coalesce(format('OPERATOR(%I.%s)', n.nspname, o.oprname), 'OPERATOR(pg_catalog.=)') ORDER BY k.place)
    FROM pg_index i CROSS JOIN unnest(i.indclass::oid[]) WITH ORDINALITY k(oid, place) JOIN pg_opclass c ON c.oid = k.oid JOIN pg_am m ON m.oid = c.opcmethod
    LEFT JOIN pg_amop a ON m.amname = 'btree' AND a.amopfamily = c.opcfamily AND a.amopstrategy = 3 AND a.amoplefttype = c.opcintype AND a.amoprighttype = c.opcintype
    LEFT JOIN pg_operator o ON o.oid = a.amopopr LEFT JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE i.indrelid = w.oid AND i.indisprimary), '[]')
  FROM unnest($1::regclass[]) WITH ORDINALITY w(oid, place) ORDER BY w.place`;

const missingQuery = 'SELECT w.name FROM unnest($1::text[]) WITH ORDINALITY w(name, place) WHERE to_regclass(w.name) IS NULL ORDER BY w.place';

/** Throws Failure `conflict` with the first table that is not there. */
export async function checkTablesThere(query: CatalogQuery, names: readonly string[]): Promise<void> {
  const [missing] = await query(missingQuery, [arrayOf(names)]);
  if (missing !== undefined) throw moved(missing[0] ?? '', 'is not there any more: it was dropped or renamed since');
}

/** In the order given, behind a lock on each. Throws Failure `conflict` where one has changed so that its rows cannot be put back exactly. */
export async function readLiveTables(query: CatalogQuery, kept: readonly KeptTable[]): Promise<readonly LiveTable[]> {
  const names = kept.map(({ name }) => name);
  const live = await readCapturedTables(query, names);
  const equals = await query(equalsQuery, [arrayOf(names)]);
  return kept.map((table, index) => {
    const now = live[index];
    if (now === undefined) throw moved(table.name, 'is not there any more');
    const keyEquals = listSchema.parse(JSON.parse(equals[index]?.[0] ?? '[]'));
    return { live: now, undone: { ...matched(table, now), keyEquals } };
  });
}

function matched(kept: TableShape, live: CapturedTable): Omit<UndoneTable, 'keyEquals'> {
  if (live.holes.length > 0) throw moved(kept.name, `cannot be undone in: ${live.holes.join(', ')}`);
  if (kept.key.join() !== live.key.join()) throw moved(kept.name, `has another primary key now: ${live.key.join(', ')} instead of ${kept.key.join(', ')}`);
  for (const [index, column] of kept.columns.entries()) {
    const place = live.columns.indexOf(column);
    if (place < 0) throw moved(kept.name, `has no column ${column} any more that could be written: it was dropped, renamed or made a generated one since`);
    const [was, is] = [kept.types[index] ?? '', live.types[place] ?? ''];
    if (!holdsExactly(is, was)) throw moved(kept.name, `has another type in its column ${column} now: ${is} instead of ${was}`);
  }
  return { name: live.name, columns: kept.columns, key: live.key, alwaysIdentity: live.alwaysIdentity, added: live.columns.filter((column) => !kept.columns.includes(column)) };
}

function moved(table: string, what: string): Failure {
  return new Failure('conflict', `${table} ${what}`, { hint: 'Put the schema back as it was, or take the rows out of the recovery point with `backstop snapshots export`.' });
}

const wider: Readonly<Record<string, readonly string[]>> = { smallint: ['integer', 'bigint', 'numeric'], integer: ['bigint', 'numeric'], bigint: ['numeric'] };

/** Whether every value of the type `was` is read from its text into the type `is` as the very same, and printed as the very same again. */
export function holdsExactly(is: string, was: string): boolean {
  if (is === was || (wider[was] ?? []).includes(is)) return true;
  const [from, to] = [sized(was), sized(is)];
  if (from.name === 'numeric') return is === 'numeric';
  if (from.name !== 'character varying') return false;
  return is === 'text' || (to.name === from.name && (to.size === undefined || (from.size !== undefined && to.size >= from.size)));
}

function sized(type: string): { readonly name: string; readonly size: number | undefined } {
  const [, name = type, size] = /^([^()]*)\((\d+)(?:,-?\d+)?\)$/.exec(type) ?? [];
  return { name, size: size === undefined ? undefined : Number(size) };
}
