/**
 * Captures what a plain UPDATE or DELETE of many rows changes: behind a lock on the table that keeps other writers away until
 * the end, its rows are copied before it runs, and those of an UPDATE again afterwards. Nobody else can change the table, and
 * its WHERE means the same rows twice, so the statement changes those rows; that their numbers agree is checked all the same.
 */
import { randomBytes } from 'node:crypto';
import { Failure } from '../../../core/failure.ts';
import { changedRowsSql } from '../../../core/sql/changed-rows.ts';
import { fingerprintOf } from '../../../core/recovery/manifest.ts';
import { tokensOf } from '../../../lib/pgsql/tokens.ts';
import type { CapturedContents, RowsSink } from '../../../flow/protect.ts';
import { createTransitionsCapture } from './capture-transitions.ts';
import type { Capture } from './capture.ts';
import type { RowsCaptureDeps, RowsPlan } from './capture-rows.ts';
import { typed, type KnownTable } from './known-tables.ts';
import { momentOf, momentSql } from './moment.ts';

export function createBulkCapture(plan: RowsPlan, deps: RowsCaptureDeps): Capture { return new BulkRows(plan, deps); }

class BulkRows implements Capture {
  readonly #plan: RowsPlan;
  readonly #deps: RowsCaptureDeps;
  readonly #mark = `pg_temp.backstop_${randomBytes(8).toString('hex')}`;
  #known: KnownTable | undefined;
  #before: { readonly sink: RowsSink; readonly rows: number; readonly counted: number | undefined } | undefined;
  /** Of tables whose values do not print without loss. */
  #other: Capture | undefined;

  constructor(plan: RowsPlan, deps: RowsCaptureDeps) {
    this.#plan = plan;
    this.#deps = deps;
  }

  async before(): Promise<void> {
    const { session, draft, known: tables } = this.#deps;
    const { query, isInBlock } = this.#plan;
    await session.query(`LOCK TABLE ${query.relation} IN SHARE ROW EXCLUSIVE MODE`);
    const known = this.#known = await tables.learn(session.query, this.#plan);
    if (!known.printsAll) {
      this.#other = createTransitionsCapture(session, [query.table], draft);
      return this.#other.before();
    }
    const counted = known.isActed || query.runsCode ? await this.#count() : undefined;
    if (query.verb === 'update' && isInBlock) await session.query(`CREATE TEMPORARY TABLE ${this.#mark} ON COMMIT DROP AS SELECT 1`);
    const sink = draft.rows();
    const rows = await session.copyOut(`COPY (SELECT ${known.table.columns.map((column) => `${query.alias}.${column}`).join(', ')} FROM ${await this.#rows()}) TO STDOUT`, (text) => sink.write(text));
    this.#before = { sink, rows, counted };
  }

  async after(changedRows: number | undefined): Promise<CapturedContents> {
    if (this.#other !== undefined) return this.#other.after(changedRows);
    const [known, before] = [this.#known, this.#before];
    if (known === undefined || before === undefined) throw new Failure('internal', 'a capture is read that was not begun');
    const { session, draft } = this.#deps;
    if (before.counted !== undefined && await this.#count() - before.counted !== changedRows) throw unequal('it changed other rows as well, or what it changed could not be counted');
    const sink = draft.rows();
    const written = this.#plan.query.verb === 'update' ? await session.copyOut(`COPY (${this.#writtenSql(known)}) TO STDOUT`, (text) => sink.write(text)) : before.rows;
    if (before.rows !== changedRows || written !== changedRows) throw unequal(`${before.rows} rows were kept before it ran, and it changed ${changedRows ?? 'an unknown number'}`);
    const { name, columns, types, key, alwaysIdentity, partitions } = known.table;
    const shape = { name, columns, types, key, alwaysIdentity, partitions };
    const moment = momentOf((await session.query(momentSql))[0]);
    if (this.#plan.query.verb === 'update' && this.#plan.isInBlock) await session.query(`DROP TABLE ${this.#mark}`);
    const [keptBefore, keptAfter] = await Promise.all([before.sink.finish(), sink.finish()]);
    return { tables: [{ ...shape, fingerprint: fingerprintOf(shape), before: keptBefore, after: keptAfter }], ...moment };
  }

  async #count(): Promise<number> {
    const [row] = await this.#deps.session.query(changedRowsSql);
    return Number(row?.[0] ?? Number.NaN);
  }

  /** Every row that this statement wrote: what its transaction wrote, and in a client's what it wrote after our mark in the same subtransaction. */
  #writtenSql({ table: { columns } }: KnownTable): string {
    const { query, isInBlock } = this.#plan;
    const list = columns.map((column) => `r.${column}`).join(', ');
    const [xid, cid] = [`(SELECT xmin FROM ${this.#mark})`, `(SELECT cmin::pg_catalog.text::pg_catalog.int8 FROM ${this.#mark})`];
    const condition = isInBlock
      ? `r.xmin OPERATOR(pg_catalog.=) ${xid} AND r.cmin::pg_catalog.text::pg_catalog.int8 OPERATOR(pg_catalog.>) ${cid}`
      : 'r.xmin OPERATOR(pg_catalog.=) pg_catalog.xid(pg_catalog.pg_current_xact_id())';
    return `SELECT ${list} FROM ${query.relation} r WHERE ${condition}`;
  }

  /** COPY takes no parameters, so their values stand in the text as the server itself prints them. */
  async #rows(): Promise<string> {
    const { query, bind } = this.#plan;
    const { session } = this.#deps;
    const count = bind?.values?.length ?? 0;
    if (count === 0) return query.rows;
    const values = await typed(session, this.#plan, this.#known);
    const places = Array.from({ length: count }, (_one, index) => `$${index + 1}`);
    const types = `SELECT ${places.map((_place, index) => `pg_catalog.format_type(${values.parameterTypes?.[index] ?? 0}, NULL)`).join(', ')}`;
    const [printed, named] = await session.queries([{ sql: `SELECT ${places.join(', ')}`, ...values }, { sql: types }]);
    const literals = places.map((_place, index) => `CAST(${literal(printed?.rows[0]?.[index] ?? null)} AS ${named?.rows[0]?.[index] ?? ''})`);
    return tokensOf(query.rows).map(({ kind, text }) => (kind === 'parameter' ? ` ${literals[Number(text.slice(1)) - 1] ?? text} ` : text)).join('');
  }
}

/** As quote_literal writes it, whatever standard_conforming_strings says. */
function literal(value: string | null): string {
  if (value === null) return 'NULL';
  const quoted = value.replaceAll("'", "''");
  return quoted.includes('\\') ? `E'${quoted.replaceAll('\\', '\\\\')}'` : `'${quoted}'`;
}

function unequal(why: string): Failure {
  return new Failure('rows_moved', `Backstop rolled this statement back, because what would undo it is not whole: ${why}`);
}
