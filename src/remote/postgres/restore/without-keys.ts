/**
 * Foreign keys around some tables, taken away and made again in one transaction, for rows whose order no key and no unique
 * index would let pass: a row that comes back under its old key while the one that it became is still there, or tables that
 * refer to one another in a circle. Made again, each is checked by the server over all rows, and is as it was.
 */
import type { CatalogQuery } from '../catalog.ts';

export interface KeysAround { readonly drop: readonly string[]; readonly add: readonly string[] }

/** Those of partitions come and go with the key of the whole. */
const keysSql = `WITH given AS (SELECT w.oid::oid AS oid FROM unnest($1::regclass[]) w(oid))
  SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', k.conrelid::regclass, k.conname),
    format('ALTER TABLE %s%s ADD CONSTRAINT %I %s', CASE WHEN c.relkind = 'p' THEN '' ELSE 'ONLY ' END, k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid)),
    (SELECT format('COMMENT ON CONSTRAINT %I ON %s IS %L', k.conname, k.conrelid::regclass, d.description) FROM pg_description d WHERE d.classoid = 'pg_constraint'::regclass AND d.objoid = k.oid)
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid WHERE k.contype = 'f' AND k.conparentid = 0
    AND (coalesce(pg_partition_root(k.conrelid), k.conrelid) IN (SELECT oid FROM given) OR coalesce(pg_partition_root(k.confrelid), k.confrelid) IN (SELECT oid FROM given)) ORDER BY k.oid`;

/** `names`: an array of regclass as text. With an empty search_path, or names would not be whole. */
export async function readKeysAround(query: CatalogQuery, names: string): Promise<KeysAround> {
  const rows = await query(keysSql, [names]);
  return { drop: rows.map(([drop]) => drop ?? ''), add: rows.flatMap(([, add, comment]) => [add ?? '', ...(comment === null || comment === undefined ? [] : [comment])]) };
}
