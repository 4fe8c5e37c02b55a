/**
 * What capture and undo need to know of a table: its columns as they are written, its key, and what would make an image of
 * its rows incomplete. Asked in the transaction that captures, behind its locks, so that nobody can change it meanwhile.
 */
import { z } from 'zod';
import { Failure } from '../../../core/failure.ts';
import type { TableShape } from '../../../core/recovery/manifest.ts';
import type { CatalogQuery } from '../catalog.ts';

export interface CapturedTable extends TableShape {
  /** Why changed rows of this table cannot be captured whole; empty: they can. */
  readonly holes: readonly string[];
}

const listSchema = z.array(z.string());

const tablesQuery = `SELECT format('%I.%I', n.nspname, c.relname),
  coalesce((SELECT json_agg(quote_ident(a.attname) ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''), '[]'),
  coalesce((SELECT json_agg(format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''), '[]'),
  coalesce((SELECT json_agg(quote_ident(a.attname) ORDER BY k.place) FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(number, place), pg_attribute a
    WHERE i.indrelid = c.oid AND i.indisprimary AND k.place <= i.indnkeyatts AND a.attrelid = c.oid AND a.attnum = k.number), '[]'),
  coalesce((SELECT json_agg(quote_ident(a.attname) ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attidentity = 'a' AND NOT a.attisdropped), '[]'),
  coalesce((SELECT json_agg(format('%I.%I', m.nspname, p.relname) ORDER BY t.level, p.oid) FROM pg_partition_tree(c.oid) t JOIN pg_class p ON p.oid = t.relid JOIN pg_namespace m ON m.oid = p.relnamespace WHERE t.relid <> c.oid), '[]'),
  (SELECT coalesce(json_agg(h), '[]') FROM unnest(ARRAY[
    CASE WHEN c.relkind NOT IN ('r', 'p') THEN 'it is no table' END,
    CASE WHEN NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid) THEN 'it has no primary key' END,
    CASE WHEN EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey::int2[]) WHERE i.indrelid = c.oid AND i.indisprimary AND a.attgenerated <> '') THEN 'a column of its primary key is generated from others' END,
    CASE WHEN c.relispartition THEN 'it is a partition; the table that it belongs to is to be captured' END,
    CASE WHEN row_security_active(c.oid) THEN 'row security hides rows of it' END,
    CASE WHEN c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid) THEN 'other tables inherit from it' END,
    CASE WHEN c.relkind = 'p' AND EXISTS (SELECT FROM pg_partition_tree(c.oid) t JOIN pg_class p ON p.oid = t.relid WHERE p.relkind = 'f') THEN 'a partition of it is on another server' END
  ]) h WHERE h IS NOT NULL)
  FROM unnest($1::regclass[]) WITH ORDINALITY w(oid, place) JOIN pg_class c ON c.oid = w.oid JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY w.place`;

/** In the order asked. Throws Failure `conflict` where one is not there. */
export async function readCapturedTables(query: CatalogQuery, names: readonly string[]): Promise<readonly CapturedTable[]> {
  const rows = await query(tablesQuery, [arrayOf(names)]);
  if (rows.length !== names.length) throw new Failure('conflict', 'a table that was to be captured is gone');
  return rows.map(([name, columns, types, key, alwaysIdentity, partitions, holes]) => ({
    name: name ?? '', columns: texts(columns), types: texts(types), key: texts(key), alwaysIdentity: texts(alwaysIdentity), 
    partitions: texts(partitions), holes: texts(holes),
  }));
}

/** Texts, such as quoted names, as PostgreSQL reads an array of them. */
export function arrayOf(names: readonly string[]): string { return `{${names.map((name) => `"${name.replace(/["\\]/g, '\\$&')}"`).join(',')}}`; }

/** Throws Failure where what changes in one of them cannot be seen whole. */
export function checkHoles(tables: readonly CapturedTable[]): void {
  const holed = tables.find(({ holes }) => holes.length > 0);
  if (holed === undefined) return;
  throw new Failure('feature_not_supported', `Backstop: the rows of ${holed.name} cannot be kept, because ${holed.holes.join(', and ')}; so this statement did not run`, {
    hint: 'Choose a statement that leaves this table alone, or ask an operator to run it.',
  });
}

function texts(json: string | null | undefined): readonly string[] { return listSchema.parse(JSON.parse(json ?? '[]')); }
