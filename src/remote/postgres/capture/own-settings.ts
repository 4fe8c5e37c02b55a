/**
 * The settings under which capture and undo read and write: values print and are read without loss whatever the session has
 * chosen, names are found in pg_catalog alone, and row security raises an error rather than hide a row. They hold for our
 * own questions; afterwards the session's own are in force again, and its client sees nothing of it.
 */
import type { CatalogQuery } from '../catalog.ts';

/** What a value's text depends on. Kept with the rows, and in force again when they are read back. */
export const printingSettings: Readonly<Record<string, string>> = {
  DateStyle: 'ISO, MDY', IntervalStyle: 'postgres', TimeZone: 'UTC', extra_float_digits: '3', bytea_output: 'hex', lc_monetary: 'C', xmloption: 'content',
};

const workingSettings: Readonly<Record<string, string>> = {
  search_path: 'pg_catalog', row_security: 'off', check_function_bodies: 'off', quote_all_identifiers: 'off', transform_null_equals: 'off',
  default_tablespace: '', default_table_access_method: 'heap', synchronize_seqscans: 'off', statement_timeout: '0', jit: 'off', role: 'none',
};

/** What was in force (`were`) is in force again, whatever came of the work. */
export async function inOwnSettings<T>(query: CatalogQuery, printing: Readonly<Record<string, string>>, work: (were: Readonly<Record<string, string>>) => Promise<T>): Promise<T> {
  const wanted = { ...printing, ...workingSettings };
  const were = await current(query, Object.keys(wanted));
  await put(query, wanted);
  let result: T;
  try {
    result = await work(were);
  } catch (error) {
    // In a transaction that has failed nothing can be set, and its end undoes all.
    await put(query, were).catch(() => undefined);
    throw error;
  }
  await put(query, were);
  return result;
}

/** The rest of a work in our own settings may have names found by another path, and the end of it by ours again. */
export async function findBy(query: CatalogQuery, searchPath: string | undefined): Promise<void> { await put(query, { search_path: searchPath ?? workingSettings['search_path'] ?? '' }); }

async function current(query: CatalogQuery, names: readonly string[]): Promise<Readonly<Record<string, string>>> {
  const [row = []] = await query(`SELECT ${names.map((_name, index) => `pg_catalog.current_setting($${index + 1})`).join(', ')}`, names);
  return Object.fromEntries(names.map((name, index) => [name, row[index] ?? '']));
}

async function put(query: CatalogQuery, settings: Readonly<Record<string, string>>): Promise<void> {
  const all = Object.entries(settings);
  await query(`SELECT ${all.map((_one, index) => `pg_catalog.set_config($${2 * index + 1}, $${2 * index + 2}, true)`).join(', ')}`, all.flat());
}
