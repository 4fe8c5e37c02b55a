/**
 * The store in a schema of a PostgreSQL database, shared by Backstops on several machines. Every transaction that writes
 * first locks the head of the ledger, so all of them are serial and the record is one chain; durable ones wait for the
 * disk, relaxed ones do not. Whoever hangs, here or there, is cut off by a time-out, so that no node can stop the others.
 */
import pg from 'pg';
import { Kysely, sql } from 'kysely';
import { Failure } from '../core/failure.ts';
import type { Secret } from '../lib/secret.ts';
import type { Changes, StoreDatabase, Tables } from './database.ts';
import { migrationsFor } from './migrations.ts';
import { asStoreFailure, postgresDialect } from './postgres-dialect.ts';
import { createHints } from './postgres-hints.ts';

const schema = 'backstop';
const connectionsMax = 5;
const connectMsMax = 5_000;
/** The server's limits, longest wait first; beyond all of them the client gives the connection up. */
const statementMsMax = 10_000;
const lockMsMax = 5_000;
/** A process that stops while it holds the head's lock would stop every node. */
const idleInTransactionMsMax = 5_000;
const answerMsMax = 15_000;
const lookAgainMs = 500;
/** PostgreSQL's bigint arrives as text; the store keeps nothing beyond a safe integer. */
const bigintOid = 20;

/** Throws Failure `store_unavailable`, `data_version`, or `not_found`. */
export async function openPostgres(url: Secret, { isThere = false }: { readonly isThere?: boolean } = {}): Promise<StoreDatabase> {
  const place = placeOf(url);
  const config = connectionConfig(url);
  await prepare(config, place, isThere);
  const pool = new pg.Pool({ ...config, max: connectionsMax, idleTimeoutMillis: 60_000 });
  // A connection that breaks while nobody uses it is replaced when somebody does.
  pool.on('error', () => undefined);
  const queries = new Kysely<Tables>({ dialect: postgresDialect(pool, place) });
  const hints = createHints(config);
  const transact = <T>(work: (changes: Changes) => Promise<T>, durable: boolean): Promise<T> =>
    queries.transaction().execute(async (changes) => {
      await lockHead(changes, durable, place);
      return work(changes);
    });
  return {
    kind: 'postgres', queries, lookAgainMs,
    transact: (work) => transact(work, true),
    transactRelaxed: (work) => transact(work, false),
    nowMs: sql<number>`(extract(epoch FROM clock_timestamp()) * 1000)::bigint`,
    hint: hints.send, onHint: hints.listen,
    close: async () => {
      await hints.close();
      await queries.destroy();
    },
  };
}

async function lockHead(changes: Changes, durable: boolean, place: string): Promise<void> {
  // Said for each transaction, because a role or a database can have another default.
  const { rows } = await sql`SELECT set_config('synchronous_commit', ${durable ? 'on' : 'off'}, true) FROM ledger_head WHERE id = 1 FOR UPDATE`.execute(changes);
  if (rows.length !== 1) throw new Failure('store_unavailable', `the store ${place} has lost the head of its record`, { hint: 'Somebody changed it behind Backstop\'s back: run `backstop ledger verify`.' });
}

function connectionConfig(url: Secret): pg.ClientConfig {
  const settings = {
    search_path: schema, statement_timeout: statementMsMax, lock_timeout: lockMsMax, idle_in_transaction_session_timeout: idleInTransactionMsMax,
    default_transaction_isolation: 'read\\ committed', default_transaction_read_only: 'off', row_security: 'off',
    tcp_user_timeout: answerMsMax, tcp_keepalives_idle: 5, tcp_keepalives_interval: 2, tcp_keepalives_count: 3,
  };
  return {
    connectionString: url.reveal(), application_name: 'backstop store', connectionTimeoutMillis: connectMsMax, query_timeout: answerMsMax, keepAlive: true,
    options: Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`).join(' '),
    types: { getTypeParser: (oid: number, format?: 'text' | 'binary') => (oid === bigintOid ? Number : pg.types.getTypeParser(oid, format)) },
  };
}

/** Brings the tables to this version; only then is anything else asked of them. */
async function prepare(config: pg.ClientConfig, place: string, isThere: boolean): Promise<void> {
  const client = new pg.Client(config);
  client.on('error', () => undefined);
  try {
    await client.connect();
    const version = await versionOf(client);
    if (version === undefined && isThere) throw new Failure('not_found', `there is no Backstop data in ${place}`, { hint: 'Start Backstop with this --store once (`backstop up`), or name the right one.' });
    // Looked at first without a lock: a role that may not change the schema can serve once somebody else has.
    if (version === undefined || migrationsFor('postgres', version, place).length > 0) await migrate(client, place);
  } catch (error) {
    throw asStoreFailure(error, place);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** One at a time, all or nothing. */
async function migrate(client: pg.Client, place: string): Promise<void> {
  await client.query('BEGIN');
  await client.query(`SELECT pg_advisory_xact_lock(hashtext('${schema} migrations'))`);
  await client.query(`CREATE SCHEMA IF NOT EXISTS ${schema}; CREATE TABLE IF NOT EXISTS ${schema}.data_version (id INTEGER PRIMARY KEY CHECK (id = 1), version BIGINT NOT NULL)`);
  const version = await versionOf(client) ?? 0;
  const missing = migrationsFor('postgres', version, place);
  for (const sqlText of missing) await client.query(sqlText);
  await client.query('INSERT INTO data_version VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET version = excluded.version', [version + missing.length]);
  await client.query('COMMIT');
}

/** undefined: there is nothing of ours here yet. */
async function versionOf(client: pg.Client): Promise<number | undefined> {
  const { rows: [found] } = await client.query<{ there: boolean }>('SELECT to_regclass($1) IS NOT NULL AS there', [`${schema}.data_version`]);
  if (found?.there !== true) return undefined;
  const { rows: [row] } = await client.query<{ version: number }>(`SELECT version FROM ${schema}.data_version WHERE id = 1`);
  return row?.version;
}

/** The connection string as messages show it. Throws Failure `config_invalid`. */
function placeOf(url: Secret): string {
  try {
    const { hostname, port, pathname, searchParams } = new URL(url.reveal());
    return `postgres://${searchParams.get('host') ?? hostname}${port === '' ? '' : `:${port}`}${pathname}`;
  } catch (cause) {
    throw new Failure('config_invalid', 'the store\'s connection string cannot be read', { hint: 'It looks like postgres://user:password@host:5432/database.', cause });
  }
}
