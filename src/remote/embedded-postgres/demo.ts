/**
 * What the embedded PostgreSQL is filled with: a role for the gateway that is no superuser, and the demo database that it
 * owns. Both are made once; a database that somebody has changed since, or emptied, is left as it is.
 */
import { readFileSync } from 'node:fs';
import pg from 'pg';
import { Secret } from '../../lib/secret.ts';
import { superuser } from './cluster.ts';
import type { PrivateState } from './private-state.ts';

export const demoDatabase = 'shop';
const gatewayRole = 'backstop';
const file = new URL('../../../demo/shop.sql', import.meta.url);
/** Set in the transaction that fills the database, so it says that all of it is there. */
const mark = 'The demo database of Backstop';

/** The connection string of the gateway's role. */
export function demoUpstream(state: PrivateState, port: number): Secret { return new Secret(`${url(gatewayRole, state.gatewayPassword, port, demoDatabase)}?sslmode=disable`); }

function url(role: string, password: string, port: number, database: string): string { return `postgres://${role}:${password}@127.0.0.1:${port}/${database}`; }

/** The connection string of the gateway's role. `onFill` is called before the load, which takes a few seconds. */
export async function prepareDemo(state: PrivateState, port: number, onFill: () => void): Promise<Secret> {
  await connected(url(superuser, state.superuserPassword, port, 'postgres'), (client) => makeOwner(client, state.gatewayPassword));
  await connected(url(gatewayRole, state.gatewayPassword, port, demoDatabase), async (client) => {
    if ((await client.query('SELECT FROM pg_database WHERE datname = current_database() AND shobj_description(oid, $1) IS NOT NULL', ['pg_database'])).rowCount === 1) return;
    onFill();
    // One transaction: the mark is there exactly when everything is.
    await client.query(`BEGIN;\n${readFileSync(file, 'utf8')}\nCOMMENT ON DATABASE ${demoDatabase} IS '${mark}'; COMMIT`);
  });
  return demoUpstream(state, port);
}

async function makeOwner(client: pg.Client, password: string): Promise<void> {
  const isRole = (await client.query('SELECT FROM pg_roles WHERE rolname = $1', [gatewayRole])).rowCount === 1;
  const attributes = `LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD ${client.escapeLiteral(password)}`;
  await client.query(`${isRole ? 'ALTER' : 'CREATE'} ROLE ${gatewayRole} ${attributes}`);
  // So that rows can be put back past cyclic foreign keys; everything else that a superuser may stays out of reach.
  await client.query(`GRANT SET ON PARAMETER session_replication_role TO ${gatewayRole}`);
  const isDatabase = (await client.query('SELECT FROM pg_database WHERE datname = $1', [demoDatabase])).rowCount === 1;
  if (!isDatabase) await client.query(`CREATE DATABASE ${demoDatabase} OWNER ${gatewayRole}`);
}

async function connected(connectionString: string, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString, ssl: false, application_name: 'backstop set-up' });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
