/**
 * KnownTables: what capture needs to know of a table, remembered between statements, because reading it takes the server longer
 * than a small statement does. What is remembered is used only while the table's mark is the same: a question that is asked
 * behind the lock of each statement, and whose answer any DDL on the table changes.
 */
import { Failure } from '../../../core/failure.ts';
import type { RowsQuery } from '../../../core/sql/rows-query.ts';
import type { CatalogQuery } from '../catalog.ts';
import type { Question } from '../link-query.ts';
import type { TransactionSession } from '../transaction-session.ts';
import type { RowsPlan } from './capture-rows.ts';
import { pinPrinting } from './printing.ts';
import { checkHoles, readCapturedTables, type CapturedTable } from './tables.ts';

export interface KnownTable extends TableMark {
  readonly table: CapturedTable;
  /** Types of the parameters of statements, as the server told them, by their text and the types that were given. */
  readonly parameterTypes: Map<string, readonly number[]>;
}

interface TableMark {
  readonly mark: string;
  /** Rules rewrite it, triggers fire that may do more than look, or foreign keys that act. */
  readonly isActed: boolean;
  /** Values are printed so that text loses nothing of them. */
  readonly printsAll: boolean;
}

const tablesMax = 1_000;
const statementsMax = 200;

export class KnownTables {
  readonly #tables = new Map<string, KnownTable>();

  get(plan: RowsPlan): KnownTable | undefined { return this.#tables.get(nameOf(plan)); }

  forget(plan: RowsPlan): void { this.#tables.delete(nameOf(plan)); }

  /** What holds for sure only behind a lock that keeps DDL away. Throws Failure where the table cannot be captured. */
  async learn(query: CatalogQuery, plan: RowsPlan): Promise<KnownTable> {
    const { relation, verb } = plan.query;
    const mark = readMark(await query(markSql(verb), [relation]));
    const printing = await pinPrinting(query);
    const [table] = await readCapturedTables(query, [relation]);
    await printing.restore();
    if (table === undefined) throw new Failure('schema_moved', `Backstop: ${relation} is not there any more, so this statement did not run`);
    checkHoles([table]);
    const known = { ...mark, table, parameterTypes: new Map<string, readonly number[]>() };
    if (isMarked(table)) this.#keep(nameOf(plan), known);
    return known;
  }

  #keep(name: string, known: KnownTable): void {
    const [oldest] = this.#tables.keys();
    if (this.#tables.size >= tablesMax && oldest !== undefined) this.#tables.delete(oldest);
    this.#tables.set(name, known);
  }
}

/** The client's values with the types that the server gives them in the statement itself; in another they might be inferred otherwise. */
export async function typed({ queries }: TransactionSession, { query, bind }: RowsPlan, known: KnownTable | undefined): Promise<Omit<Question, 'sql'>> {
  const { parameterTypes: given = [], formats = [], values = [] } = bind ?? {};
  if (values.length === 0) return {};
  if (given.length >= values.length && given.every((type) => type !== 0)) return { parameterTypes: given, formats, values };
  const key = JSON.stringify([query.statement, given]);
  const parameterTypes = known?.parameterTypes.get(key) ?? (await queries([{ sql: query.statement, parameterTypes: given, isDescribed: true }]))[0]?.parameterTypes ?? [];
  if (known !== undefined) remember(known.parameterTypes, key, parameterTypes);
  return { parameterTypes, formats, values };
}

function remember(types: KnownTable['parameterTypes'], key: string, found: readonly number[]): void {
  if (types.size >= statementsMax) types.clear();
  types.set(key, found);
}

/** Other databases may have a table of that name. */
function nameOf({ database, query: { relation } }: RowsPlan): string { return JSON.stringify([database, relation]); }

/** A type of the user's may be renamed, and partitions come and go on levels of their own, without a change of the mark. */
function isMarked({ types, partitions }: CapturedTable): boolean {
  return partitions.length === 0 && types.every((type) => !type.includes('.'));
}

/** TRIGGER_TYPE_* of pg_trigger.h. */
const eventBits: Readonly<Record<RowsQuery['verb'], number>> = { delete: 8, update: 16 };
/** RI_FKey_check_ins, check_upd, restrict_del, restrict_upd, noaction_del, noaction_upd and unique_key_recheck of pg_proc.dat: they only look. */
const looking = '1644, 1645, 1648, 1649, 1654, 1655, 1250';
const rowsOf = (catalog: string, column: string, name: string): string =>
  `(SELECT pg_catalog.string_agg(pg_catalog.concat(x.${name}, ':', x.xmin), ',' ORDER BY x.${name}) FROM pg_catalog.${catalog} x WHERE x.${column} OPERATOR(pg_catalog.=) c.oid)`;

/** One row: the mark, and what else is to be known each time. The parameter is the quoted name of the table. */
export function markSql(event: RowsQuery['verb']): string {
  return `SELECT pg_catalog.concat_ws('/', (SELECT system_identifier FROM pg_catalog.pg_control_system()), pg_catalog.current_database(), c.oid, c.xmin, pg_catalog.row_security_active(c.oid),
  ${rowsOf('pg_attribute', 'attrelid', 'attnum')}, ${rowsOf('pg_index', 'indrelid', 'indexrelid')}, ${rowsOf('pg_inherits', 'inhparent', 'inhrelid')}, ${rowsOf('pg_rewrite', 'ev_class', 'oid')}),
  (c.relkind OPERATOR(pg_catalog.=) 'p' OR c.relhasrules OR c.relhastriggers AND EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid OPERATOR(pg_catalog.=) c.oid AND t.tgenabled OPERATOR(pg_catalog.<>) 'D'
    AND (t.tgtype OPERATOR(pg_catalog.&) ${eventBits[event]}::pg_catalog.int2) OPERATOR(pg_catalog.<>) 0 AND t.tgfoid OPERATOR(pg_catalog.<>) ALL (ARRAY[${looking}]::pg_catalog.oid[])))::pg_catalog.text,
  (pg_catalog.current_setting('DateStyle') OPERATOR(pg_catalog.~~) 'ISO%' AND pg_catalog.current_setting('extra_float_digits')::pg_catalog.int4 OPERATOR(pg_catalog.>) 0
    AND pg_catalog.current_setting('server_encoding') OPERATOR(pg_catalog.<>) 'SQL_ASCII')::pg_catalog.text
  FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.regclass`;
}

export function readMark(rows: readonly (readonly (string | null)[])[] = []): TableMark {
  const [mark = null, isActed = null, printsAll = null] = rows[0] ?? [];
  // No answer is no mark that anything was remembered by.
  return { mark: mark ?? '', isActed: isActed !== 'false', printsAll: printsAll === 'true' };
}
