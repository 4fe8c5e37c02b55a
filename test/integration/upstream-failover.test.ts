/**
 * A whole Backstop before two servers with the same names and another meaning: sessions are judged by the catalog of the
 * server that they are on, and when the first server goes, new sessions come to the second and its catalog.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import pg from 'pg';
import { startBackstop, type Backstop } from '../../src/app/backstop.ts';
import { loadConfig } from '../../src/config.ts';
import { createLog } from '../../src/lib/log.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { until } from '../fixtures/until.ts';

let first: PostgresServer;
let second: PostgresServer;
let backstop: Backstop;
let agentUrl: string;
const dataDir = mkdtempSync(join(tmpdir(), 'backstop-failover-'));
const clients: pg.Client[] = [];

before(async () => {
  [first, second] = await Promise.all([startPostgresServer(), startPostgresServer()]);
  const table = 'CREATE TABLE items (id int); INSERT INTO items SELECT generate_series(1, 10);';
  await first.run(`${table} CREATE FUNCTION look() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM items'`);
  await second.run(`${table} CREATE FUNCTION look() RETURNS bigint LANGUAGE sql AS 'WITH gone AS (DELETE FROM items RETURNING 1) SELECT count(*) FROM gone'`);
  const upstream = `host=127.0.0.1,127.0.0.1 port=${first.port},${second.port} user=postgres password=${first.password} dbname=postgres sslmode=disable`;
  const config = loadConfig({
    env: { BACKSTOP_UPSTREAM: upstream }, cwd: dataDir,
    flags: { data: dataDir, gatewayPort: '0', httpPort: '0', policy: 'protect', approvalWait: '0', logLevel: 'silent' },
  });
  backstop = await startBackstop(config, createLog({ level: 'silent' }));
  const { token } = await backstop.identities.addAgent('ada', null, 'test');
  agentUrl = `postgres://ada:${token}@127.0.0.1:${backstop.gateway.port}/postgres`;
});

after(async () => {
  for (const client of clients) await client.end().catch(() => { /* its server is gone */ });
  await backstop?.stop();
  await Promise.all([first?.stop(), second?.stop()]);
  rmSync(dataDir, { recursive: true, force: true });
});

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: agentUrl });
  client.on('error', () => { /* its server goes away in this test */ });
  await client.connect();
  clients.push(client);
  return client;
}

const isReady = async (): Promise<boolean> => (await fetch(`http://127.0.0.1:${backstop.http.port}/readyz`)).ok;

it('a server that goes away gives its new sessions to the next one, judged by that one\'s own catalog', async () => {
  const before = await connect();
  assert.equal((await before.query('SELECT look() AS n')).rows[0]?.n, '10', 'harmless on the first server');
  assert.ok(await isReady());

  const lost = new Promise((resolve) => { before.once('error', resolve); });
  await first.stop();
  await lost;

  const later = await connect();
  assert.equal((await later.query('SHOW port')).rows[0]?.port, String(second.port));
  await assert.rejects(later.query('SELECT look() AS n'), { code: '42501' }, 'the same text deletes on the second server');
  assert.equal((await second.run('SELECT count(*)::int AS n FROM items'))[0]?.['n'], 10);
  assert.equal((await later.query('SELECT count(*)::int AS n FROM items')).rows[0]?.n, 10);
  await until('it is ready again', isReady);
});
