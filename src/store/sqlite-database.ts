/**
 * The store in one SQLite file: write-ahead log, every durable transaction on disk before it counts, readable by its
 * owner only, shared by the processes of one machine. A process that waits for news looks again often: it costs little.
 * SQLite itself syncs only when it moves the log into the file (synchronous = NORMAL); durable transactions sync the log
 * after their commit, together, and beside the event loop, which SQLite's own syncing would stop.
 */
import { chmodSync, closeSync, existsSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Kysely, sql } from 'kysely';
import { Failure } from '../core/failure.ts';
import type { Changes, StoreDatabase, Tables } from './database.ts';
import { openFileSync } from './file-sync.ts';
import { migrationsFor } from './migrations.ts';
import { isBusy, sqliteDialect } from './sqlite-dialect.ts';

/** While opening, SQLite itself waits for another process; afterwards the driver does, without stopping the event loop. */
const openBusyMsMax = 2_000;
const busyMs = 5;
const fileName = 'backstop.db';
const lookAgainMs = 100;

/** Throws Failure `store_unavailable`, `data_version`, or `not_found`. */
export function openSqlite(folder: string, { isThere = false, syncs = openFileSync }: { readonly isThere?: boolean; readonly syncs?: typeof openFileSync } = {}): StoreDatabase {
  const path = join(folder, fileName);
  if (isThere && !existsSync(path)) {
    throw new Failure('not_found', `there is no Backstop data in ${folder}`, { hint: 'Start Backstop there once (`backstop up`), or name the right folder with --data.' });
  }
  const database = inStore(path, () => openFile(folder, path));
  // It exists since the version was written, and it is the same file as long as a connection is open.
  const log = inStore(path, () => syncs(`${path}-wal`));
  const queries = new Kysely<Tables>({ dialect: sqliteDialect(database) });
  const transact = async <T>(work: (changes: Changes) => Promise<T>, durable: boolean): Promise<T> => {
    try {
      const result = await queries.transaction().execute(work);
      if (durable) await log.sync();
      return result;
    } catch (error) {
      throw asStoreFailure(error, path);
    }
  };
  return {
    kind: 'sqlite', queries, lookAgainMs,
    transact: (work) => transact(work, true),
    transactRelaxed: (work) => transact(work, false),
    nowMs: sql<number>`CAST(unixepoch('subsec') * 1000 AS INTEGER)`,
    hint: () => Promise.resolve(),
    onHint: () => () => undefined,
    close: async () => {
      await log.close();
      await queries.destroy();
    },
  };
}

function openFile(folder: string, path: string): DatabaseSync {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // Made with its mode before SQLite opens it, so that it is never readable by others, not even for a moment.
  closeSync(openSync(path, 'a', 0o600));
  chmodSync(path, 0o600);
  const database = new DatabaseSync(path, { timeout: openBusyMsMax });
  try {
    writeAhead(database);
    database.exec('PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF');
    migrate(database, path);
    database.exec('PRAGMA busy_timeout = 0');
    return database;
  } catch (error) {
    // Left open it would keep its lock for as long as the process lives.
    database.close();
    throw error;
  }
}

/** Two processes that open a new file at once meet here, and SQLite does not wait by itself for this lock. */
function writeAhead(database: DatabaseSync): void {
  const turn = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  for (const deadline = performance.now() + openBusyMsMax; ;) {
    try {
      database.exec('PRAGMA journal_mode = WAL');
      return;
    } catch (error) {
      if (!isBusy(error) || performance.now() > deadline) throw error;
    }
    Atomics.wait(turn, 0, 0, busyMs);
  }
}

function migrate(database: DatabaseSync, path: string): void {
  database.exec('BEGIN IMMEDIATE');
  const version = Number(database.prepare('PRAGMA user_version').get()?.['user_version']);
  const missing = migrationsFor('sqlite', version, path);
  for (const sqlText of missing) database.exec(sqlText);
  database.exec(`PRAGMA user_version = ${version + missing.length}; COMMIT`);
}

function inStore<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw asStoreFailure(error, path);
  }
}

/** node:sqlite's errors and the file system's become one Failure; anything else is not ours to name. */
function asStoreFailure(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || error instanceof Failure || !('code' in error)) return error;
  const why = error.code === 'ERR_SQLITE_ERROR' ? error.message : String(error.code);
  return new Failure('store_unavailable', `the store ${path} cannot be used (${why})`, { cause: error });
}
