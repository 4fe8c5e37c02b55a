/**
 * Captures what a plain UPDATE or DELETE of one table changes, the cheap way: no DDL, and for a few rows no lock that keeps
 * other writers away. Before it runs, the rows that it is going to change are found by its own WHERE, locked and read;
 * afterwards it is proved from what it left (a row that is gone, or stands elsewhere in its table, was changed) and from the
 * number in its command tag that it changed those rows and no others. A row that came to match in between breaks the proof,
 * and all is rolled back. Many rows are copied behind a lock on the table (capture-rows-bulk.ts).
 *
 *   before   LOCK TABLE ROW EXCLUSIVE · is it still what is known of it? · SELECT … FOR UPDATE      one round trip
 *   after    where the transaction stands · those rows by their keys                                one round trip
 */
import { isDeepStrictEqual } from 'node:util';
import { Failure } from '../../../core/failure.ts';
import { changedRowsSql } from '../../../core/sql/changed-rows.ts';
import { fingerprintOf, type KeptRows, type KeptTable } from '../../../core/recovery/manifest.ts';
import type { RowsQuery } from '../../../core/sql/rows-query.ts';
import type { CapturedContents, RecoveryDraft } from '../../../flow/protect.ts';
import type { Question } from '../link-query.ts';
import type { TransactionSession } from '../transaction-session.ts';
import { createTransitionsCapture } from './capture-transitions.ts';
import type { Capture } from './capture.ts';
import { createBulkCapture } from './capture-rows-bulk.ts';
import { copyText } from './copy-text.ts';
import { markSql, readMark, typed, type KnownTable, type KnownTables } from './known-tables.ts';
import { momentOf, momentSql } from './moment.ts';

export interface RowsPlan {
  readonly query: RowsQuery;
  /** As the client gave them; absent for a simple Query. */
  readonly bind: Pick<Question, 'parameterTypes' | 'formats' | 'values'> | undefined;
  readonly database: string;
  readonly isInBlock: boolean;
  /** By what was measured or proved beforehand; undefined: not known. */
  readonly rowsExpected: number | undefined;
  /** If it changes more, it is rolled back anyway. */
  readonly rowsMax?: number | undefined;
}

export interface RowsCaptureDeps {
  readonly session: TransactionSession;
  /** Where the images go. */
  readonly draft: Pick<RecoveryDraft, 'rows'>;
  readonly known: KnownTables;
}

/** More of them are copied behind a lock on the table. */
const fewRowsMax = 1_000;
/** Of few rows; they are in memory until the statement has run. */
const fewBytesMax = 16 * 1024 * 1024;

export function createRowsCapture(plan: RowsPlan, deps: RowsCaptureDeps): Capture {
  let capture: Capture | undefined;
  return {
    get isUndeferred() { return capture?.isUndeferred === true; },
    before: async () => {
      capture = await chosen(plan, deps);
      await capture.before();
    },
    after: async (changedRows) => {
      if (capture === undefined) throw new Failure('internal', 'a capture is read that was not begun');
      if (changedRows === undefined) throw untold();
      return capture.after(changedRows);
    },
  };
}

async function chosen(plan: RowsPlan, deps: RowsCaptureDeps): Promise<Capture> {
  const rows = plan.rowsExpected ?? ((plan.rowsMax ?? Infinity) <= fewRowsMax ? plan.rowsMax : undefined);
  const isFew = rows === undefined ? await areFew(plan, deps) : rows <= fewRowsMax;
  const few = isFew ? await lockFew(plan, deps) : 'too-large';
  switch (few) {
    case 'too-large': return createBulkCapture(plan, deps);
    case 'prints-not-all': return createTransitionsCapture(deps.session, [plan.query.table], deps.draft);
    default: return new FewRows(few, deps);
  }
}

/**
 * Without a lock, because one that is raised later is how sessions come to wait for each other. A question leaves a lock too, which
 * goes with its savepoint: who is to drop triggers would wait for it, and we for them.
 */
async function areFew(plan: RowsPlan, { session, known }: RowsCaptureDeps): Promise<boolean> {
  await session.queries([{ sql: 'SAVEPOINT backstop_look' }]);
  const bind = await typed(session, plan, known.get(plan));
  const [found] = await session.queries([
    { sql: `SELECT pg_catalog.count(*) FROM (SELECT FROM ${plan.query.rows}\nLIMIT ${fewRowsMax + 1}) backstop_rows`, ...bind },
    { sql: 'ROLLBACK TO SAVEPOINT backstop_look' }, { sql: 'RELEASE SAVEPOINT backstop_look' },
  ]);
  return Number(found?.rows[0]?.[0]) <= fewRowsMax;
}

interface Few {
  readonly query: RowsQuery;
  readonly known: KnownTable;
  readonly isActed: boolean;
  /** With where each stands in the table as the last value. */
  readonly rows: readonly Row[];
}

type Row = readonly (string | null)[];

async function lockFew(plan: RowsPlan, { session, known }: RowsCaptureDeps): Promise<Few | 'prints-not-all' | 'too-large'> {
  const { query } = plan;
  let table = known.get(plan) ?? await known.learn(session.query, plan);
  for (;;) {
    try {
      const [, marked, found] = await session.queries([
        { sql: `LOCK TABLE ${query.relation} IN ROW EXCLUSIVE MODE` }, { sql: markSql(query.verb), values: [Buffer.from(query.relation)] },
        { sql: lockingSql(query, table), ...await typed(session, plan, table) },
      ], fewBytesMax);
      const mark = readMark(marked?.rows);
      const rows = found?.rows ?? [];
      if (mark.mark === table.mark && !mark.printsAll) return 'prints-not-all';
      if (mark.mark === table.mark && rows.length > fewRowsMax) return 'too-large';
      if (mark.mark === table.mark) return { query, known: table, isActed: mark.isActed || query.runsCode, rows };
    } catch (error) {
      if (error instanceof Failure && error.code === 'too_large') return 'too-large';
      // It may have failed because of what was known and is not so any more.
      known.forget(plan);
      throw error;
    }
    // The lock is held now, so what is learned is what stays.
    table = await known.learn(session.query, plan);
  }
}

/** An UPDATE that leaves the key alone lets foreign keys look at the row meanwhile, and so does this. */
function lockingSql({ verb, alias, rows }: RowsQuery, { table }: KnownTable): string {
  const strength = verb === 'delete' ? 'UPDATE' : 'NO KEY UPDATE';
  return `SELECT ${columnsOf(alias, table.columns)}, ${placeOfRow(alias)} FROM ${rows}\nLIMIT ${fewRowsMax + 1} FOR ${strength} OF ${alias}`;
}

function columnsOf(alias: string, columns: readonly string[]): string { return columns.map((column) => `${alias}.${column}`).join(', '); }

/** An old version stays where it was until its transaction has ended, so whatever was changed stands elsewhere. */
function placeOfRow(alias: string): string { return `pg_catalog.concat(${alias}.tableoid, ${alias}.ctid)`; }

class FewRows implements Capture {
  readonly #few: Few;
  readonly #deps: RowsCaptureDeps;
  #countBefore: number | undefined;

  constructor(few: Few, deps: RowsCaptureDeps) {
    this.#few = few;
    this.#deps = deps;
  }

  /** Foreign keys and unique keys that are checked in the end fail the COMMIT, and all is rolled back. */
  get isUndeferred(): boolean { return !this.#few.isActed; }

  async before(): Promise<void> {
    if (this.#few.isActed) this.#countBefore = numberIn((await this.#deps.session.query(changedRowsSql))[0]);
  }

  async after(changedRows: number | undefined): Promise<CapturedContents> {
    const { isActed, rows } = this.#few;
    const [moment, found, counted] = await this.#deps.session.queries([
      { sql: momentSql }, rows.length === 0 ? { sql: 'SELECT WHERE false' } : this.#byKey(), ...isActed ? [{ sql: changedRowsSql }] : [],
    ]);
    if (isActed && numberIn(counted?.rows[0]) - (this.#countBefore ?? Number.NaN) !== changedRows) throw moved('it changed other rows as well, or what it changed could not be counted');
    const images = this.#images(found?.rows ?? [], changedRows);
    return { tables: [await this.#kept(images)], ...momentOf(moment?.rows[0]) };
  }

  /** What now has the keys of the rows that were locked. */
  #byKey(): Question {
    const { query, known: { table }, rows } = this.#few;
    const { columns, types, key } = table;
    const keyAt = key.map((column) => columns.indexOf(column));
    const values = rows.flatMap((row) => keyAt.map((at) => row[at] ?? null));
    const place = (row: number, part: number): string => `$${row * key.length + part + 1}::${types[keyAt[part] ?? -1] ?? ''}`;
    const tuple = (row: number): string => key.map((_column, part) => place(row, part)).join(', ');
    const [named, of] = [columnsOf('backstop_row', columns), `FROM ${query.relation} backstop_row`];
    const condition = rows.length === 1
      ? `WHERE ${key.map((column, part) => `backstop_row.${column} = ${place(0, part)}`).join(' AND ')}`
      : `JOIN (VALUES ${rows.map((_row, at) => `(${tuple(at)})`).join(', ')}) backstop_key (${key.join(', ')}) ON ${key.map((column) => `backstop_row.${column} = backstop_key.${column}`).join(' AND ')}`;
    return { sql: `SELECT ${named}, ${placeOfRow('backstop_row')} ${of} ${condition}`, values: values.map((value) => (value === null ? null : Buffer.from(value))) };
  }

  /** Throws Failure unless the statement changed `changedRows` of the rows that were locked, which then were all that it changed. */
  #images(found: readonly Row[], changedRows: number | undefined): { readonly before: readonly Row[]; readonly after: readonly Row[] } {
    const { query, known: { table: { columns, key } }, rows } = this.#few;
    const keyAt = key.map((column) => columns.indexOf(column));
    const keyOf = (row: Row): string => JSON.stringify(keyAt.map((at) => row[at]));
    const now = new Map(found.map((row) => [keyOf(row), row]));
    const isHere = ([row, after]: readonly [Row, Row | undefined]): boolean => row.at(-1) === after?.at(-1);
    const changed = rows.map((row): readonly [Row, Row | undefined] => [row, now.get(keyOf(row))]).filter((pair) => !isHere(pair));
    const isGone = changed.every(([, after]) => (after === undefined) === (query.verb === 'delete'));
    if (changed.length !== changedRows || !isGone) throw moved('rows that other sessions changed meanwhile came to match it');
    // A new version that reads as the old one is no change.
    const images = changed.map(([row, after]) => [row.slice(0, -1), after?.slice(0, -1)] as const).filter(([row, after]) => !isDeepStrictEqual(row, after));
    return { before: images.map(([row]) => row), after: images.flatMap(([, after]) => (after === undefined ? [] : [after])) };
  }

  async #kept({ before, after }: { readonly before: readonly Row[]; readonly after: readonly Row[] }): Promise<KeptTable> {
    const { name, columns, types, key, alwaysIdentity, partitions } = this.#few.known.table;
    const shape = { name, columns, types, key, alwaysIdentity, partitions };
    const [keptBefore, keptAfter] = await Promise.all([this.#put(before), this.#put(after)]);
    return { ...shape, fingerprint: fingerprintOf(shape), before: keptBefore, after: keptAfter };
  }

  async #put(rows: readonly Row[]): Promise<KeptRows> {
    const sink = this.#deps.draft.rows();
    await sink.write(copyText(rows));
    return sink.finish();
  }
}

function numberIn(row: Row | undefined): number {
  const value = row?.[0];
  return value === null || value === undefined ? Number.NaN : Number(value);
}

/** An Execute that stops at a number of rows has no tag when it does, though all were changed by then. */
function untold(): Failure {
  return new Failure('feature_not_supported', 'Backstop rolled this statement back: how many rows it changed was not told', { hint: 'Fetch all that it returns at once, without a limit of rows.' });
}

function moved(why: string): Failure {
  return new Failure('rows_moved', `Backstop rolled this statement back, because what would undo it is not whole: ${why}`);
}
