/**
 * The rows of kept tables on their way back. A table that fell is filled by COPY and read again to the last byte; one that was
 * emptied takes back what nobody has put there since; one that was altered gets back, key for key, the
 * values that the statement took, and keeps all else as it is now. Rows that cannot have both are conflicts.
 */
import { createHash, randomBytes } from 'node:crypto';
import { Failure } from '../../../core/failure.ts';
import type { KeptRows, KeptTable } from '../../../core/recovery/manifest.ts';
import { copyOutSql } from '../capture/capture-tables.ts';
import { findBy } from '../capture/own-settings.ts';
import type { CatalogQuery } from '../catalog.ts';
import type { KeptDefinition } from '../definition/kept.ts';
import { ServerError } from '../server-error.ts';
import type { TransactionSession } from '../transaction-session.ts';
import type { ReadRows } from './restore-tables.ts';
import { refilled, reshapedTable, type Mix } from './mix-rows.ts';

export interface RestoreConflict {
  /** `relation app.orders` */
  readonly what: string;
  readonly why: string;
  /** How many; absent: it is no matter of rows. */
  readonly rows?: number;
}

export interface LoadedTable {
  readonly name: string;
  /** Rows that were put back, or got values back. */
  readonly rows: number;
  /** Rows that others have put there since, and that stay. */
  readonly since: number;
}

export interface RowLoader {
  /** Sets aside what is there now. The conflicts of rows. */
  prepare(): Promise<readonly RestoreConflict[]>;
  load(): Promise<void>;
  loadLate(): Promise<void>;
  finish(): Promise<readonly LoadedTable[]>;
}

export interface LoadPlan {
  readonly tables: readonly KeptTable[];
  readonly kept: KeptDefinition;
  readonly readRows: ReadRows;
  readonly onConflict: 'stop' | 'skip' | 'force';
}

interface Filling { readonly table: KeptTable; readonly content: KeptRows; readonly mix: Mix | undefined }

export function createRowLoader(session: TransactionSession, plan: LoadPlan): RowLoader {
  const { tables, kept, readRows } = plan;
  const { copyIn } = session;
  const query: CatalogQuery = (sql, parameters) => session.query(sql, parameters).catch(asConflict);
  const mark = randomBytes(8).toString('hex');
  const fillings: Filling[] = [];
  const loaded: LoadedTable[] = [];
  const count = async (sql: string): Promise<number> => Number((await query(sql))[0]?.[0] ?? 0);
  const fill = async ({ table, content }: Filling, into: string): Promise<void> => {
    const columns = table.columns.length === 0 ? '' : ` (${table.columns.join(', ')})`;
    const rows = await copyIn(`COPY ${into}${columns} FROM STDIN`, readRows(content));
    if (rows !== content.rows) throw new Failure('recovery_point_broken', `Of ${content.rows} rows of ${table.name} ${rows} were read.`);
  };
  return {
    prepare: async () => {
      const conflicts: RestoreConflict[] = [];
      for (const [index, table] of tables.entries()) {
        const { content } = table;
        if (content === undefined) continue;
        const mix = await mixOf(query, plan, table, (part) => `pg_temp.backstop_${mark}_${index}_${part}`);
        fillings.push({ table, content, mix });
        if (mix === undefined) continue;
        for (const one of mix.begin) await query(one);
        await fill({ table, content, mix }, mix.kept);
        const left = leftOf(plan, table);
        if (mix.left !== undefined && left?.after !== undefined) await fill({ table: left, content: left.after, mix }, mix.left);
        for (const one of mix.ready) await query(one);
        for (const { sql, why } of mix.conflicts) {
          const rows = await count(sql);
          if (rows > 0) conflicts.push({ what: `relation ${table.name}`, why, rows });
        }
      }
      return conflicts;
    },
    load: async () => {
      await findBy(query, kept.searchPath);
      for (const filling of fillings) {
        if (filling.mix === undefined) await fill(filling, filling.table.name);
        else for (const one of filling.mix.load) await query(one);
      }
      // Names in values are printed as they were when they were kept.
      await findBy(query, undefined);
      for (const { table, content, mix } of fillings) if (mix === undefined) await checkWhole(session, table, content);
      await findBy(query, kept.searchPath);
    },
    loadLate: async () => {
      for (const { mix } of fillings) for (const one of mix?.late ?? []) await query(one);
    },
    finish: async () => {
      for (const { table, content, mix } of fillings) {
        if (mix !== undefined) {
          for (const { sql, message } of mix.checks) if (await count(sql) > 0) throw new Failure('conflict', `${message} in ${table.name}.`);
        }
        loaded.push({ name: table.name, rows: mix === undefined ? content.rows : await count(mix.putBack), since: mix === undefined ? 0 : await count(mix.since) });
      }
      return loaded;
    },
  };
}

/** The same table as the statement left it. */
function leftOf({ tables }: LoadPlan, { name }: KeptTable): KeptTable | undefined { return tables.find((one) => one.name === name && one.after !== undefined); }

/** undefined: the table is new or empty, and takes the rows as they are. `named`: temporary tables of its own. */
async function mixOf(query: CatalogQuery, plan: LoadPlan, table: KeptTable, named: (part: string) => string): Promise<Mix | undefined> {
  const { kept, onConflict } = plan;
  const names = { kept: named('kept'), live: named('live'), left: named('left'), pairs: named('pairs') };
  const rebuilt = kept.rebuilt.find(({ name }) => name === table.name);
  const left = leftOf(plan, table);
  if (rebuilt !== undefined) return { ...reshapedTable(table, rebuilt, left?.columns, names, onConflict === 'force'), ...(left === undefined ? {} : { left: names.left }) };
  if (!kept.emptied.includes(table.name)) return undefined;
  // Where pages are left over, rows do not stand in the order in which they come.
  const [row] = await query('SELECT pg_relation_size($1::regclass) > 0', [table.name]);
  return row?.[0] === 't' ? refilled(table, names, onConflict === 'force') : undefined;
}

/** Another key that is in use again, a value that does not fit, no value where there must be one: data exceptions and broken constraints. */
function asConflict(cause: unknown): never {
  if (!(cause instanceof ServerError) || !/^2[23]/.test(cause.code)) throw cause;
  // The server's own message may quote a row.
  throw new Failure('conflict', `Rows that were written since and rows that would come back cannot both be had (SQLSTATE ${cause.code}).`, { hint: 'Nothing was changed. Look at what was written to these tables since.', cause });
}

/** What is read again must be what was kept: the rows stand in the order in which they came. */
async function checkWhole(session: TransactionSession, table: KeptTable, content: KeptRows): Promise<void> {
  const hash = createHash('sha256');
  await session.copyOut(copyOutSql(table), (rows) => { hash.update(rows); return undefined; });
  if (hash.digest('hex') !== content.sha256) throw new Failure('recovery_point_broken', `The rows of ${table.name} are not what was kept once they are in the table.`);
}
