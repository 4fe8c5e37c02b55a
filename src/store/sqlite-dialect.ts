/**
 * Kysely over node:sqlite. The driver is synchronous behind Kysely's asynchronous face; one connection serves all, and a
 * transaction keeps it until it ends, so that two flows of one process never interleave. Transactions take the write
 * lock at their start, because a lock that is upgraded half-way can fail after work was done.
 */
import { setTimeout } from 'node:timers/promises';
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import {
  type CompiledQuery, type DatabaseConnection, type Dialect, type Driver, type QueryResult,
  SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler,
} from 'kysely';
import { Bug } from '../lib/assert.ts';

/** Statements kept prepared; batches of different sizes have different texts. */
const preparedMax = 200;
const busyMsMax = 5_000;
/** Shorter than most transactions: who waits longer than the others gets no sooner turn. */
const busyRetryMs = 1;
/** https://www.sqlite.org/rescode.html: extended codes, such as SQLITE_BUSY_RECOVERY, carry it in their lowest byte. */
const sqliteBusy = 5;
const primaryCodeMask = 0xff;

export function sqliteDialect(database: DatabaseSync): Dialect {
  return {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new SqliteDriver(database),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  };
}

class SqliteDriver implements Driver {
  readonly #database: DatabaseSync;
  readonly #connection: SqliteConnection;

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#connection = new SqliteConnection(database);
  }

  init(): Promise<void> { return Promise.resolve(); }

  /** Kysely hands it to one caller at a time, because SqliteAdapter says that there is only one. */
  acquireConnection(): Promise<DatabaseConnection> { return Promise.resolve(this.#connection); }
  releaseConnection(): Promise<void> { return Promise.resolve(); }

  beginTransaction(): Promise<void> { return whenFree(() => { this.#database.exec('BEGIN IMMEDIATE'); }); }

  commitTransaction(): Promise<void> { return this.#run('COMMIT'); }

  rollbackTransaction(): Promise<void> {
    // SQLite itself has rolled back after some errors, a full disk among them.
    return this.#database.isTransaction ? this.#run('ROLLBACK') : Promise.resolve();
  }

  destroy(): Promise<void> {
    this.#database.close();
    return Promise.resolve();
  }

  async #run(sql: string): Promise<void> { await Promise.resolve(this.#database.exec(sql)); }
}

class SqliteConnection implements DatabaseConnection {
  readonly #database: DatabaseSync;
  readonly #prepared = new Map<string, StatementSync>();

  constructor(database: DatabaseSync) { this.#database = database; }

  executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    // Inside a transaction the lock is ours already; a read alone meets another process's only while that one recovers the log.
    return this.#database.isTransaction ? Promise.resolve().then(() => this.#execute<R>(query)) : whenFree(() => this.#execute<R>(query));
  }

  #execute<R>({ sql, parameters }: CompiledQuery): QueryResult<R> {
    const statement = this.#prepare(sql);
    const values = parameters.map(asInput);
    if (statement.columns().length > 0) return { rows: statement.all(...values) as R[] };
    const { changes } = statement.run(...values);
    return { rows: [], numAffectedRows: BigInt(changes) };
  }

  streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> { throw new Bug('the store reads in pages, not in streams'); }

  #prepare(sql: string): StatementSync {
    const known = this.#prepared.get(sql);
    if (known !== undefined) return known;
    const statement = this.#database.prepare(sql);
    const oldest = this.#prepared.size >= preparedMax ? this.#prepared.keys().next() : undefined;
    if (oldest?.done === false) this.#prepared.delete(oldest.value);
    this.#prepared.set(sql, statement);
    return statement;
  }
}

/** Waits for another process's lock in turns of the event loop: SQLite's own waiting would stop every session. */
async function whenFree<T>(work: () => T): Promise<T> {
  for (const deadline = performance.now() + busyMsMax; ;) {
    try {
      return work();
    } catch (error) {
      if (!isBusy(error) || performance.now() > deadline) throw error;
    }
    await setTimeout(busyRetryMs);
  }
}

/** Another connection holds the lock. */
export function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' && (error.errcode & primaryCodeMask) === sqliteBusy;
}

function asInput(value: unknown): SQLInputValue {
  if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint' || value instanceof Uint8Array) return value;
  throw new Bug(`the store cannot keep a ${typeof value}`);
}
