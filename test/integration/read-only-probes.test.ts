/**
 * What a READ ONLY transaction does not stop is stopped by judgement alone. Every probe of that table (2a ran, 2b was
 * stopped, 2c failed for another reason) is sent by an agent whose upstream role is a superuser, so that nothing but the
 * judgement could stop it: alone, inside a transaction of its own, where the read-only lock is open, and in extended
 * messages. A tap on the way to the server shows that not a byte of it was sent, and nothing bound.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { readCorpus } from '../fixtures/corpus.ts';
import { bind, execute, parse, query, sync } from '../fixtures/messages.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { startTap, type Tap } from '../fixtures/tap.ts';
import { connectWire, type WireClient } from '../fixtures/wire-client.ts';

const all = readCorpus('read-only');
/** Two of them only read: ts_stat of a constant query that reads, and currval. */
const probes = all.filter(({ atMost }) => atMost === undefined);
const objects = `CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'x' FROM generate_series(1, 5) n; CREATE SEQUENCE s;
  CREATE MATERIALIZED VIEW x AS SELECT 1 AS id;
  CREATE FUNCTION wr() RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO t VALUES (100); RETURN 1; END';
  CREATE FUNCTION wrdblink() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN dblink_exec(''dbname=x'', ''delete from t''); END';`;
const extensions = ['dblink', 'xml2', 'tablefunc', 'pg_surgery', 'pg_prewarm', 'adminpack'];

let server: PostgresServer;
let tap: Tap;
let backstop: RunningBackstop;
let client: WireClient;
before(async () => {
  server = await startPostgresServer();
  await server.run('CREATE DATABASE shop');
  await server.run(objects, 'shop');
  const available = await server.run('SELECT name FROM pg_available_extensions', 'shop');
  for (const name of extensions) if (available.some((row) => row['name'] === name)) await server.run(`CREATE EXTENSION ${name}`, 'shop');
  tap = await startTap(server);
  backstop = await startBackstop({ policy: 'read-only', shared: { server, url: `postgres://postgres:${server.password}@127.0.0.1:${tap.port}/shop` } });
  client = await connectWire({ host: backstop.host, port: backstop.port, user: backstop.agent.name, password: backstop.agent.token, parameters: { database: 'shop' } });
});
after(async () => {
  client?.end();
  await backstop?.stop();
  await tap?.stop();
  await server?.stop();
});

const wasSaid = (bytes: Buffer | string): boolean => tap.said().includes(bytes);
/** A name ends with a NUL; before that of a Bind, the name of its portal does. */
const wasBound = (statement: string): boolean => wasSaid(`\0${statement}\0`);

async function isRefused(...messages: readonly Buffer[]): Promise<void> {
  const lines = await client.send(...messages).until('Z');
  assert.ok(lines.some((line) => line.startsWith('E:')) && !lines.some((line) => /^[DCH]/.test(line)), lines.join(' '));
}

test('the probes are all there: 57 that ran, 13 that were stopped, 16 that failed otherwise', () => {
  // Behind a BEGIN READ ONLY some stand a second time, and two statements share a row of the table.
  const count = (group: string): number => new Set(all.filter(({ hazard, sql }) => hazard === group && !sql.startsWith('begin')).map(({ sql }) => sql)).size;
  assert.deepEqual([count('2a'), count('2b'), count('2c')], [57, 13, 16]);
});

test('what is let through is seen by the tap', async () => {
  for (const sql of ["select * from ts_stat('select ''a''::tsvector')", 'select 42 as let_through']) {
    await client.send(query(sql)).until('Z');
    assert.ok(wasSaid(query(sql)), sql);
  }
  await client.send(parse('seen', 'select 43'), bind('', 'seen'), execute(''), sync()).until('Z');
  assert.ok(wasBound('seen'));
});

describe('judgement alone stops', () => {
  for (const [index, { sql, level, atLeast }] of probes.entries()) {
    test(`${sql.slice(0, 100)} (at least ${atLeast ?? level ?? ''})`, async () => {
      await isRefused(query(sql));
      if (!sql.startsWith('begin')) {
        await client.send(query('BEGIN')).until('Z');
        await isRefused(query(sql));
        await client.send(query('ROLLBACK')).until('Z');
      }
      assert.equal(wasSaid(query(sql)), false, 'not a byte of it was sent');
      if (sql.includes('; ')) return;
      // The server may read it, which runs nothing; but it is never bound.
      const name = `probe_${index}`;
      await isRefused(parse(name, sql), bind('', name), execute(''), sync());
      assert.equal(wasBound(name), false, 'it was not bound');
    });
  }

  test('and the data is as it was', async () => {
    assert.deepEqual(await server.run('SELECT count(*)::int AS n, (SELECT is_called FROM s) AS called FROM t', 'shop'), [{ n: 5, called: false }]);
  });
});
