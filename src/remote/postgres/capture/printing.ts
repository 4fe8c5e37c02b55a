/**
 * How values are printed while they are captured: so that text loses nothing of them, that names in them need no search path,
 * and that nothing of the client's is found in place of PostgreSQL's own. What was in force before is put back before the
 * client goes on; a transaction that fails meanwhile puts it back by itself.
 */
import { z } from 'zod';
import { Bug } from '../../../lib/assert.ts';
import type { CatalogQuery } from '../catalog.ts';

export interface Printing {
  /** In force now, by name: what is needed to read the text again. */
  readonly settings: Readonly<Record<string, string>>;
  /** As it was before. */
  restore(): Promise<void>;
}

/** `value`: what it has to be; undefined: any, but undo has to know it. A style of dates without an order keeps the order. */
const printed: readonly (readonly [name: string, value: string | undefined])[] = [
  ['search_path', 'pg_catalog, pg_temp'], ['DateStyle', 'ISO'], ['IntervalStyle', 'postgres'], ['extra_float_digits', '1'], ['bytea_output', 'hex'],
  ['TimeZone', undefined], ['lc_monetary', undefined],
];
const set = printed.filter(([, value]) => value !== undefined);

/** One question, without an operator or a name that a search path could resolve to something else. */
const pinSql = `SELECT ${[
  ...printed.map(([name]) => `pg_catalog.current_setting('${name}')`),
  ...printed.map(([name, value]) => (value === undefined ? `pg_catalog.current_setting('${name}')` : `pg_catalog.set_config('${name}', '${value}', true)`)),
].join(', ')}`;
const restoreSql = `SELECT ${set.map(([name], index) => `pg_catalog.set_config('${name}', $${index + 1}, true)`).join(', ')}`;

export async function pinPrinting(query: CatalogQuery): Promise<Printing> {
  const [row] = await query(pinSql);
  const values = (row ?? []).map((value) => value ?? '');
  if (values.length !== 2 * printed.length) throw new Bug('the server did not say how it prints values');
  const named = (from: number): Record<string, string> => Object.fromEntries(printed.map(([name], index) => [name, values[from + index] ?? '']));
  const before = named(0);
  return {
    settings: named(printed.length),
    restore: async () => { await query(restoreSql, set.map(([name]) => before[name] ?? '')); },
  };
}

/** Values for `printingOf`: how values are printed as things are, with the schemas that names are really looked up in. */
export const printingColumns = printed.map(([name]) => (name === 'search_path'
  ? 'pg_catalog.array_to_json(pg_catalog.current_schemas(false))' : `pg_catalog.current_setting('${name}')`)).join(', ');

export function printingOf(values: readonly (string | null)[] = []): Printing['settings'] {
  return Object.fromEntries(printed.map(([name], index) => [name, name === 'search_path' ? quotedPath(values[index]) : values[index] ?? '']));
}

function quotedPath(json: string | null | undefined): string {
  return z.array(z.string()).parse(JSON.parse(json ?? '[]')).map((schema) => `"${schema.replaceAll('"', '""')}"`).join(', ');
}
