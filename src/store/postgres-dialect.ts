/**
 * Kysely over pg's pool, with every failure of the server or the way to it as a Failure that names the store. A
 * connection on which anything but a statement's own error went wrong is thrown away: what it would do next is unknown.
 */
import pg from 'pg';
import {
  type CompiledQuery, type DatabaseConnection, type Dialect, type Driver, type QueryResult,
  PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler,
} from 'kysely';
import { Bug } from '../lib/assert.ts';
import { Failure } from '../core/failure.ts';

/** `place` is how messages name the store; it holds no password. */
export function postgresDialect(pool: pg.Pool, place: string): Dialect {
  return {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new PostgresDriver(pool, place),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  };
}

class PostgresDriver implements Driver {
  readonly #pool: pg.Pool;
  readonly #place: string;

  constructor(pool: pg.Pool, place: string) {
    this.#pool = pool;
    this.#place = place;
  }

  init(): Promise<void> { return Promise.resolve(); }

  async acquireConnection(): Promise<PostgresConnection> {
    try {
      return new PostgresConnection(await this.#pool.connect(), this.#place);
    } catch (error) {
      throw asStoreFailure(error, this.#place);
    }
  }

  releaseConnection(connection: PostgresConnection): Promise<void> {
    connection.release();
    return Promise.resolve();
  }

  async beginTransaction(connection: PostgresConnection): Promise<void> { await connection.run('BEGIN'); }

  async commitTransaction(connection: PostgresConnection): Promise<void> {
    // A transaction in which a statement failed answers COMMIT with ROLLBACK, and with no error.
    if (await connection.run('COMMIT') !== 'COMMIT') throw new Failure('store_unavailable', `the store ${this.#place} rolled a transaction back`);
  }

  /** Whether it could be said or not, the server rolls back what is not committed. */
  async rollbackTransaction(connection: PostgresConnection): Promise<void> {
    if (!connection.isBroken) await connection.run('ROLLBACK').catch(() => undefined);
  }

  destroy(): Promise<void> { return this.#pool.end(); }
}

class PostgresConnection implements DatabaseConnection {
  readonly #client: pg.PoolClient;
  readonly #place: string;
  #brokenBy: Error | undefined;

  constructor(client: pg.PoolClient, place: string) {
    this.#client = client;
    this.#place = place;
    client.on('error', this.#onError);
  }

  get isBroken(): boolean { return this.#brokenBy !== undefined; }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    const { rows, rowCount, command } = await this.#query(sql, [...parameters]);
    return command === 'SELECT' ? { rows } : { rows, numAffectedRows: BigInt(rowCount ?? 0) };
  }

  /** The command tag's first word. */
  async run(sql: string): Promise<string> { return (await this.#query(sql, [])).command; }

  streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> { throw new Bug('the store reads in pages, not in streams'); }

  release(): void {
    this.#client.off('error', this.#onError);
    this.#client.release(this.#brokenBy ?? false);
  }

  async #query(sql: string, values: unknown[]): Promise<pg.QueryResult> {
    const refused = values.find((value) => !(value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint'));
    if (refused !== undefined) throw new Bug(`the store cannot keep a ${typeof refused}`);
    try {
      return await this.#client.query(sql, values);
    } catch (error) {
      if (!(error instanceof pg.DatabaseError) || error.severity === 'FATAL') this.#brokenBy ??= error instanceof Error ? error : new Error('broken');
      throw asStoreFailure(error, this.#place);
    }
  }

  /** Without a listener an error of a connection that does nothing would end the process. */
  readonly #onError = (error: Error): void => { this.#brokenBy ??= error; };
}

/** Of a server's error only its first line is told: it never quotes a value of ours, as DETAIL does. */
export function asStoreFailure(error: unknown, place: string): unknown {
  if (!(error instanceof Error) || error instanceof Failure || error instanceof Bug) return error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  // An error of several tries (a name with two addresses) has no message of its own.
  const why = error.message === '' ? code ?? 'unknown error' : error.message;
  return new Failure('store_unavailable', `the store ${place} cannot be used (${why})`, {
    hint: 'Check that its PostgreSQL runs, that the address and the credentials are right, and that the role has the rights that docs/store.md names.', cause: error,
  });
}
