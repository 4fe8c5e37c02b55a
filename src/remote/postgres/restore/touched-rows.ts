/**
 * TouchedRows: what an undo itself changes, kept so that it can be undone as any other action. Nothing but the undo acts on
 * its tables (they are locked, and no trigger fires), so the keys with which something is done are all there is: the rows
 * as they were at the first touch, and as they are at the end. Several undos in one transaction are one.
 */
import type { CapturedTable } from '../capture/tables.ts';
import type { TransactionSession } from '../transaction-session.ts';
import type { RowUndo } from './row-undo.ts';

export interface TouchedImages { readonly table: CapturedTable; readonly before: string; readonly after: string }

export class TouchedRows {
  readonly #session: Pick<TransactionSession, 'query'>;
  readonly #mark: string;
  readonly #tables = new Map<string, { readonly live: CapturedTable; readonly undo: RowUndo; readonly keys: string; readonly rows: string }>();

  /** `mark`: letters and digits that nobody can guess. */
  constructor(session: Pick<TransactionSession, 'query'>, mark: string) {
    this.#session = session;
    this.#mark = mark;
  }

  /** Before anything is done in that table. */
  async note(live: CapturedTable, undo: RowUndo): Promise<void> {
    const { query } = this.#session;
    const known = this.#tables.get(live.name);
    const [keyList, list] = [live.key.map((column) => `p.${column}`).join(', '), live.columns.map((column) => `n.${column}`).join(', ')];
    const doneRows = `FROM ${undo.plan} p JOIN ${undo.now} n ON ${undo.sameKey('n', 'p')} WHERE ${undo.isDone('p')}`;
    if (known === undefined) {
      const place = `pg_temp.backstop_${this.#mark}_touched_${this.#tables.size}`;
      const [keys, rows] = [`${place}_keys`, `${place}_rows`];
      this.#tables.set(live.name, { live, undo, keys, rows });
      await query(`CREATE TEMPORARY TABLE ${rows} ON COMMIT DROP AS SELECT ${list} ${doneRows}`);
      await query(`CREATE TEMPORARY TABLE ${keys} ON COMMIT DROP AS SELECT ${keyList} FROM ${undo.plan} p WHERE ${undo.isDone('p')}`);
    } else {
      const isNew = `NOT EXISTS (SELECT FROM ${known.keys} k WHERE ${undo.sameKey('k', 'p')})`;
      await query(`INSERT INTO ${known.rows} SELECT ${list} ${doneRows} AND ${isNew}`);
      await query(`INSERT INTO ${known.keys} SELECT ${keyList} FROM ${undo.plan} p WHERE ${undo.isDone('p')} AND ${isNew}`);
    }
    await query(`ANALYZE ${this.#tables.get(live.name)?.keys ?? ''}`);
  }

  /** SELECTs of the columns of each table that was touched: its rows as they were, and as they are now. */
  images(): readonly TouchedImages[] {
    return [...this.#tables.values()].map(({ live, undo, keys, rows }) => ({
      table: live, before: `SELECT ${live.columns.join(', ')} FROM ${rows}`,
      after: `SELECT ${live.columns.map((column) => `l.${column}`).join(', ')} FROM ${live.name} l JOIN ${keys} k ON ${undo.sameKey('l', 'k')}`,
    }));
  }
}
