/**
 * Unique keys beside the primary one, in tables whose rows are put back: what somebody else has taken since cannot be had
 * again, so the row that had it stays out of the plan and says so. Keys over expressions, or over a part of the rows, are
 * left to the server, which refuses the whole undo then.
 */
import { z } from 'zod';
import type { CatalogQuery } from '../catalog.ts';
import type { UndoneRows } from './foreign-keys.ts';
import { blocking } from './row-undo.ts';

export interface UniqueKey {
  /** Which of the tables given. */
  readonly tableIndex: number;
  /** Quoted. */
  readonly columns: readonly string[];
  /** How they compare, one for each. */
  readonly equals: readonly string[];
}

const listSchema = z.array(z.string());

const uniquesQuery = `SELECT w.place - 1,
    (SELECT json_agg(quote_ident(a.attname) ORDER BY k.place) FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(number, place) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number WHERE k.place <= i.indnkeyatts),
    (SELECT json_agg(coalesce(format('OPERATOR(%I.%s)', n.nspname, o.oprname), 'OPERATOR(pg_catalog.=)') ORDER BY k.place)
      FROM unnest(i.indclass::oid[]) WITH ORDINALITY k(oid, place) JOIN pg_opclass c ON c.oid = k.oid
      LEFT JOIN pg_amop a ON a.amopfamily = c.opcfamily AND a.amopstrategy = 3 AND a.amoplefttype = c.opcintype AND a.amoprighttype = c.opcintype
      LEFT JOIN pg_operator o ON o.oid = a.amopopr LEFT JOIN pg_namespace n ON n.oid = o.oprnamespace)
  FROM unnest($1::regclass[]) WITH ORDINALITY w(oid, place) JOIN pg_index i ON i.indrelid = w.oid JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam AND m.amname = 'btree'
  WHERE i.indisunique AND NOT i.indisprimary AND i.indexprs IS NULL AND i.indpred IS NULL ORDER BY w.place, i.indexrelid`;

/** `names`: an array of regclass as text. */
export async function readUniqueKeys(query: CatalogQuery, names: string): Promise<readonly UniqueKey[]> {
  return (await query(uniquesQuery, [names])).map(([place, columns, equals]) => ({
    tableIndex: Number(place), columns: listSchema.parse(JSON.parse(columns ?? '[]')), equals: listSchema.parse(JSON.parse(equals ?? '[]')),
  }));
}

/** Takes rows out of the plan of which another row, that stays, has the values now; tells how many. undefined: no image knows the columns. */
export function leaveTaken({ tableIndex, columns, equals }: UniqueKey, tables: readonly UndoneRows[]): string | undefined {
  const found = tables[tableIndex];
  if (found === undefined || !columns.every((column) => found.table.columns.includes(column))) return undefined;
  const { undo, table } = found;
  return blocking(undo, `another row has its ${columns.join(', ')} now`, `FROM (${undo.final}) f WHERE ${undo.sameKey('f', 'p')}
    AND EXISTS (SELECT FROM ${table.name} l WHERE ${columns.map((column, index) => `l.${column} ${equals[index] ?? ''} f.${column}`).join(' AND ')}
      AND NOT EXISTS (SELECT FROM ${undo.plan} q WHERE ${undo.sameKey('q', 'l')} AND ${undo.isDone('q')}))`);
}
