/**
 * Database: our own memory, through Kysely. By default one SQLite file that the gateway and the command line share:
 * write-ahead log, every transaction on disk before it counts, readable by its owner only. A file of another version or
 * one that cannot be used is a Failure that says so; nothing is ever repaired silently.
 */
import { chmodSync, closeSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { Kysely, type Transaction } from 'kysely';
import { Failure } from '../core/failure.ts';
import { isBusy, sqliteDialect } from './sqlite-dialect.ts';

export interface Tables {
  readonly ledger: { readonly seq: number; readonly at: string; readonly kind: string; readonly body: string; readonly hash: string };
  readonly ledger_head: { readonly id: number; readonly seq: number; readonly hash: string };
  readonly open_permit: { readonly action_id: string; readonly verdict_seq: number };
  readonly approval: {
    readonly id: string; readonly state: string; readonly action_id: string; readonly binding: string; readonly agent: string;
    readonly database_name: string; readonly redacted: string; readonly risk: string; readonly verdict: string;
    readonly requested_at: string; readonly expires_at: string;
    readonly answered_at: string | null; readonly answered_by: string | null; readonly reason: string | null;
  };
  readonly agent: {
    readonly name: string; readonly database_name: string | null; readonly verifier: string; readonly created_at: string;
    readonly rotated_at: string | null; readonly revoked_at: string | null; readonly generation: number;
  };
  readonly operator: { readonly name: string; readonly token_hash: string; readonly created_at: string; readonly revoked_at: string | null };
}

export type Queries = Kysely<Tables>;
export type Changes = Transaction<Tables>;

export interface StoreDatabase {
  readonly queries: Queries;
  /** One transaction; retried by nobody. Throws Failure `store_unavailable` when the store itself fails. */
  transact<T>(work: (changes: Changes) => Promise<T>): Promise<T>;
  /** A transaction that a crash of the machine may lose, but never a part of it, nor one that came before a durable one. */
  transactRelaxed<T>(work: (changes: Changes) => Promise<T>): Promise<T>;
  /** Says that this process is the one that serves from this store, until it ends. Throws Failure `conflict`. */
  claim(): void;
  close(): Promise<void>;
}

/** While opening, SQLite itself waits for another process; afterwards the driver does, without stopping the event loop. */
const openBusyMsMax = 2_000;
const busyMs = 5;
const fileName = 'backstop.db';

/** Throws Failure `store_unavailable` or `data_version`. */
export function openDatabase(folder: string): StoreDatabase {
  const path = join(folder, fileName);
  const database = inStore(path, () => openFile(folder, path));
  const queries = new Kysely<Tables>({ dialect: sqliteDialect(database) });
  const transact = async <T>(work: (changes: Changes) => Promise<T>, durable: boolean): Promise<T> => {
    try {
      return await queries.connection().execute(async (connection) => {
        database.exec(durable ? 'PRAGMA synchronous = FULL' : 'PRAGMA synchronous = NORMAL');
        return connection.transaction().execute(work);
      });
    } catch (error) {
      throw asStoreFailure(error, path);
    }
  };
  let claimed: DatabaseSync | undefined;
  return {
    queries,
    transact: (work) => transact(work, true),
    transactRelaxed: (work) => transact(work, false),
    claim: () => { claimed = claimFolder(folder); },
    close: async () => {
      await queries.destroy();
      claimed?.close();
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
    database.exec('PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF');
    migrate(database, path);
    database.exec(`PRAGMA busy_timeout = ${busyMs}`);
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

/** The kernel drops the lock when the process ends, however it ends. */
function claimFolder(folder: string): DatabaseSync {
  const lock = new DatabaseSync(join(folder, 'serving.lock'), { timeout: 0 });
  try {
    lock.exec('BEGIN EXCLUSIVE');
    return lock;
  } catch (cause) {
    lock.close();
    throw new Failure('conflict', `another Backstop already serves from ${folder}`, { hint: 'Stop it, or give this one a folder of its own with --data.', cause });
  }
}

const migrationsFolder = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'migrations', 'sqlite');

function migrate(database: DatabaseSync, path: string): void {
  const files = readdirSync(migrationsFolder).filter((file) => file.endsWith('.sql')).sort();
  database.exec('BEGIN IMMEDIATE');
  const version = Number(database.prepare('PRAGMA user_version').get()?.['user_version']);
  if (version > files.length) {
    throw new Failure('data_version', `${path} was written by a newer Backstop (data version ${version}, this one knows ${files.length})`);
  }
  for (const file of files.slice(version)) database.exec(readFileSync(join(migrationsFolder, file), 'utf8'));
  database.exec(`PRAGMA user_version = ${files.length}; COMMIT`);
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
