/**
 * Foreign keys around tables whose rows are put back. Before anything is done, rows are taken out of the plan that would
 * break one: whoever refers to a row since then keeps it, and what cannot refer to anything is not put there. Afterwards, where
 * no trigger fired and so nothing was checked by the server, every key of the rows that were touched is looked up: a constraint
 * that was passed by stays `valid` in the catalog, and no VALIDATE would ever find it.
 */
import { z } from 'zod';
import { Failure } from '../../../core/failure.ts';
import type { CatalogQuery } from '../catalog.ts';
import { blocking, type RowUndo, type UndoneTable } from './row-undo.ts';
import { leaveTaken, type UniqueKey } from './unique-keys.ts';

export interface ForeignKey {
  /** Quoted, for messages: `orders_customer_fkey`. */
  readonly name: string;
  /** Quoted: the table that refers, and the one that is referred to. */
  readonly child: string;
  readonly parent: string;
  /** Which of the tables given these are, or are partitions of; undefined: none. */
  readonly childIndex: number | undefined;
  readonly parentIndex: number | undefined;
  /** It stands on the whole child, not on a partition alone. */
  readonly isOfWholeChild: boolean;
  /** Quoted, in pairs. */
  readonly childColumns: readonly string[];
  readonly parentColumns: readonly string[];
  /** How the parent's column compares with the child's: `OPERATOR(pg_catalog.=)`. */
  readonly equals: readonly string[];
  readonly isMatchFull: boolean;
}

/** A table whose rows are put back, with its undo. */
export interface UndoneRows { readonly table: UndoneTable; readonly undo: RowUndo }

const listSchema = z.array(z.string());

/** Those of PostgreSQL 18 that speak of time spans, and those that are not enforced, are told by columns which older servers do not have. */
const keysQuery = `WITH given AS (SELECT w.oid::oid AS oid, w.place FROM unnest($1::regclass[]) WITH ORDINALITY w(oid, place))
  SELECT quote_ident(k.conname), format('%I.%I', cn.nspname, c.relname), format('%I.%I', pn.nspname, p.relname),
    (SELECT place - 1 FROM given WHERE oid = coalesce(pg_partition_root(c.oid), c.oid)), (SELECT place - 1 FROM given WHERE oid = coalesce(pg_partition_root(p.oid), p.oid)),
    NOT c.relispartition,
    (SELECT json_agg(quote_ident(a.attname) ORDER BY u.place) FROM unnest(k.conkey) WITH ORDINALITY u(number, place) JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.number),
    (SELECT json_agg(quote_ident(a.attname) ORDER BY u.place) FROM unnest(k.confkey) WITH ORDINALITY u(number, place) JOIN pg_attribute a ON a.attrelid = p.oid AND a.attnum = u.number),
    (SELECT json_agg(format('OPERATOR(%I.%s)', n.nspname, o.oprname) ORDER BY u.place) FROM unnest(k.conpfeqop) WITH ORDINALITY u(oid, place) JOIN pg_operator o ON o.oid = u.oid JOIN pg_namespace n ON n.oid = o.oprnamespace),
    k.confmatchtype = 'f', coalesce(to_jsonb(k) ->> 'conperiod', 'false')
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
  WHERE k.contype = 'f' AND k.conparentid = 0 AND coalesce(to_jsonb(k) ->> 'conenforced', 'true') = 'true'
    AND (coalesce(pg_partition_root(c.oid), c.oid) IN (SELECT oid FROM given) OR coalesce(pg_partition_root(p.oid), p.oid) IN (SELECT oid FROM given)) ORDER BY k.oid`;

/** `names`: an array of regclass as text. Throws Failure `feature_not_supported` for a key over time spans. */
export async function readForeignKeys(query: CatalogQuery, names: string): Promise<readonly ForeignKey[]> {
  const rows = await query(keysQuery, [names]);
  return rows.map(([name, child, parent, childPlace, parentPlace, whole, childColumns, parentColumns, equals, matchFull, period]) => {
    if (period === 'true') throw new Failure('feature_not_supported', `the foreign key ${name ?? ''} of ${child ?? ''} compares spans of time, and rows around such a key cannot be put back`);
    return {
      name: name ?? '', child: child ?? '', parent: parent ?? '', childIndex: placeOf(childPlace), parentIndex: placeOf(parentPlace), isOfWholeChild: whole === 't',
      childColumns: texts(childColumns), parentColumns: texts(parentColumns), equals: texts(equals), isMatchFull: matchFull === 't',
    };
  });
}

function placeOf(text: string | null | undefined): number | undefined { return text === null || text === undefined ? undefined : Number(text); }
function texts(json: string | null | undefined): readonly string[] { return listSchema.parse(JSON.parse(json ?? '[]')); }

/** A row that is kept may refer to another that must then be kept too: so often this is followed. */
const roundsMax = 100;

/** Takes out of the plans what a key forbids; each such row says why. Throws Failure `too_large` where it does not end. */
export async function blockByKeys(query: CatalogQuery, { foreign, unique }: { readonly foreign: readonly ForeignKey[]; readonly unique: readonly UniqueKey[] }, tables: readonly UndoneRows[]): Promise<void> {
  const statements = [...unique.map((key) => leaveTaken(key, tables)), ...foreign.flatMap((key) => [keepReferenced(key, tables), leaveOrphans(key, tables)])].filter((sql) => sql !== undefined);
  for (let round = 0; round < roundsMax; round += 1) {
    let blocked = 0;
    for (const sql of statements) blocked += Number((await query(sql))[0]?.[0] ?? 0);
    if (blocked === 0) return;
  }
  throw new Failure('too_large', `rows that refer to one another were followed ${roundsMax} times without an end`);
}

/** Rows whose foreign key points nowhere now, among those that were touched; 0 for each key, or the undo must not last. */
export function orphansQuery(key: ForeignKey, tables: readonly UndoneRows[]): string {
  const { child, parent, childColumns, isMatchFull } = key;
  const missing = `NOT EXISTS (SELECT FROM ${parent} p WHERE ${matches(key, 'p', 'c')})`;
  const isPut = ofPlan(key.childIndex, tables, (undo) => `EXISTS (SELECT FROM ${undo.plan} q WHERE ${undo.sameKey('q', 'c')} AND ${undo.isDone('q')})`);
  const parentUndo = undoAt(key.parentIndex, tables);
  const lost = parentUndo === undefined ? 'false' : isKnown(key, parentUndo.table)
    ? `EXISTS (SELECT FROM ${parentUndo.undo.now} n JOIN ${parentUndo.undo.plan} q ON ${parentUndo.undo.sameKey('q', 'n')} WHERE ${parentUndo.undo.isDone('q')} AND ${matches(key, 'n', 'c')})` : 'true';
  const half = isMatchFull ? ` OR pg_catalog.num_nulls(${childColumns.map((column) => `c.${column}`).join(', ')}) NOT IN (0, ${childColumns.length})` : '';
  return `SELECT pg_catalog.count(*) FROM ${child} c WHERE (${isPut} OR ${lost}) AND ((${isWhole(key, 'c')} AND ${missing})${half})`;
}

/** Rows to be replaced or removed, to whose values somebody refers who is not put back himself: they stay. */
function keepReferenced(key: ForeignKey, tables: readonly UndoneRows[]): string | undefined {
  const parent = undoAt(key.parentIndex, tables);
  if (parent === undefined) return undefined;
  const { undo, table } = parent;
  const stays = isKnown(key, table) ? `EXISTS (SELECT FROM (${undo.final}) f WHERE ${key.parentColumns.map((column, index) => `f.${column} ${key.equals[index] ?? ''} l.${column}`).join(' AND ')})` : 'false';
  const isPutBack = ofPlan(key.childIndex, tables, (child) => `EXISTS (SELECT FROM ${child.plan} q WHERE ${child.sameKey('q', 'c')} AND ${child.isDone('q')})`);
  return blocking(undo, `rows of ${key.child} refer to it`, `FROM ${key.parent} l WHERE ${undo.sameKey('l', 'p')} AND ${undo.isDone('p')}
    AND EXISTS (SELECT FROM ${key.child} c WHERE ${matches(key, 'l', 'c')} AND NOT ${isPutBack}) AND NOT ${stays}`);
}

/** Rows that would refer to what is not there, and will not be. What a key on a partition alone forbids is seen afterwards. */
function leaveOrphans(key: ForeignKey, tables: readonly UndoneRows[]): string | undefined {
  const child = undoAt(key.childIndex, tables);
  if (child === undefined || !key.isOfWholeChild || !key.childColumns.every((column) => child.table.columns.includes(column))) return undefined;
  const parent = undoAt(key.parentIndex, tables);
  const isTaken = parent === undefined ? 'false' : `EXISTS (SELECT FROM ${parent.undo.plan} q WHERE ${parent.undo.sameKey('q', 'l')} AND ${parent.undo.isDone('q')})`;
  const isPut = parent === undefined || !isKnown(key, parent.table) ? 'false' : `EXISTS (SELECT FROM (${parent.undo.final}) g WHERE ${matches(key, 'g', 'f')})`;
  return blocking(child.undo, `what it refers to in ${key.parent} is not there`, `FROM (${child.undo.final}) f WHERE ${child.undo.sameKey('f', 'p')} AND ${isWhole(key, 'f')}
    AND NOT EXISTS (SELECT FROM ${key.parent} l WHERE ${matches(key, 'l', 'f')} AND NOT ${isTaken}) AND NOT ${isPut}`);
}

function matches({ parentColumns, childColumns, equals }: ForeignKey, parent: string, child: string): string {
  return parentColumns.map((column, index) => `${parent}.${column} ${equals[index] ?? ''} ${child}.${childColumns[index] ?? ''}`).join(' AND ');
}

/** What is not null in every part has to point somewhere. */
function isWhole({ childColumns }: ForeignKey, alias: string): string {
  return childColumns.map((column) => `${alias}.${column} IS DISTINCT FROM NULL`).join(' AND ');
}

/** A key may be of a generated column, which is in no image. */
function isKnown({ parentColumns }: ForeignKey, { columns, added }: UndoneTable): boolean {
  return parentColumns.every((column) => columns.includes(column) || added.includes(column));
}

function undoAt(index: number | undefined, tables: readonly UndoneRows[]): UndoneRows | undefined {
  return index === undefined ? undefined : tables[index];
}

function ofPlan(index: number | undefined, tables: readonly UndoneRows[], condition: (undo: RowUndo) => string): string {
  const found = undoAt(index, tables);
  return found === undefined ? 'false' : condition(found.undo);
}
