/**
 * What a real server says of transactions that ended in each way, or not yet, or that it does not remember, or that ran elsewhere.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { readPlace } from '../../src/remote/postgres/capture/capture.ts';
import type { CatalogQuery } from '../../src/remote/postgres/catalog.ts';
import { connectLink, type Link } from '../../src/remote/postgres/link.ts';
import { parseConnectionString } from '../../src/remote/postgres/link-target.ts';
import { transactionFate, type RanOn } from '../../src/remote/postgres/transaction-fate.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';

let server: PostgresServer;
let link: Link;
let query: CatalogQuery;
before(async () => {
  server = await startPostgresServer();
  await server.run('CREATE TABLE t (id int); CREATE ROLE plain LOGIN PASSWORD \'plain\'');
  link = await connectLink(parseConnectionString(server.url().replace(/\/\/[^@]*@/, '//plain:plain@')), {});
  query = async (sql, parameters) => (await link.query(sql, parameters)).rows;
});
after(async () => {
  await link?.end();
  await server?.stop();
});

/** On a connection of its own, which is left in the state that `work` leaves it in. */
async function transaction(work: (client: pg.Client) => Promise<unknown>): Promise<{ readonly ranOn: RanOn; readonly client: pg.Client }> {
  const client = new pg.Client({ connectionString: server.url() });
  client.on('error', () => { /* some of them are killed */ });
  await client.connect();
  await client.query('BEGIN');
  await client.query('INSERT INTO t VALUES (1)');
  const { xid, server: { systemId, timeline } } = await readPlace(async (sql) => (await client.query<string[]>({ text: sql, rowMode: 'array' })).rows);
  await work(client);
  return { ranOn: { systemId, timeline, xid }, client };
}

test('committed, rolled back and still running transactions are told apart, also by a role without rights', async () => {
  const [committed, discarded, running] = [
    await transaction((client) => client.query('COMMIT')), await transaction((client) => client.query('ROLLBACK')), await transaction(() => Promise.resolve()),
  ];
  assert.equal(await transactionFate(query, committed.ranOn), 'committed');
  assert.equal(await transactionFate(query, discarded.ranOn), 'discarded');
  assert.equal(await transactionFate(query, running.ranOn), 'not-yet');
  await running.client.query('COMMIT');
  assert.equal(await transactionFate(query, running.ranOn), 'committed');
  for (const { client } of [committed, discarded, running]) await client.end();
});

test('a transaction whose connection was killed was rolled back', async () => {
  const { ranOn, client } = await transaction(async (killed) => {
    const { rows: [own] } = await killed.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    await server.run(`SELECT pg_terminate_backend(${own?.pid}, 10000)`);
  });
  assert.equal(await transactionFate(query, ranOn), 'discarded');
  await client.end();
});

test('of a prepared transaction it is not known yet', async () => {
  const prepared = await startPostgresServer({ max_prepared_transactions: '2' });
  try {
    await prepared.run('CREATE TABLE t (id int)');
    const client = new pg.Client({ connectionString: prepared.url() });
    await client.connect();
    const ask: CatalogQuery = async (sql, parameters) => (await client.query<string[]>({ text: sql, values: parameters?.slice() ?? [], rowMode: 'array' })).rows;
    await client.query('BEGIN');
    await client.query('INSERT INTO t VALUES (1)');
    const { xid, server: { systemId, timeline } } = await readPlace(ask);
    await client.query("PREPARE TRANSACTION 'p'");
    assert.equal(await transactionFate(ask, { systemId, timeline, xid }), 'not-yet');
    await client.query("ROLLBACK PREPARED 'p'");
    assert.equal(await transactionFate(ask, { systemId, timeline, xid }), 'discarded');
    await client.end();
  } finally {
    await prepared.stop();
  }
});

test('another server, another timeline and a number that is too old tell nothing', async () => {
  const { ranOn, client } = await transaction((committing) => committing.query('COMMIT'));
  await client.end();
  assert.equal(await transactionFate(query, { ...ranOn, systemId: '1' }), 'unknown');
  assert.equal(await transactionFate(query, { ...ranOn, timeline: ranOn.timeline + 1 }), 'unknown');
  assert.equal(await transactionFate(query, { ...ranOn, xid: '3' }), 'unknown', 'the first of all, long forgotten');
  assert.equal((await query('SELECT 1'))[0]?.[0], '1', 'the connection goes on');
});

test('a transaction whose number a crash took back did not commit', async () => {
  const crashing = await startPostgresServer();
  const asking = async (): Promise<{ readonly open: Link; readonly ask: CatalogQuery }> => {
    const open = await connectLink(parseConnectionString(crashing.url()), {});
    return { open, ask: async (sql, parameters) => (await open.query(sql, parameters)).rows };
  };
  try {
    const before = await asking();
    await before.ask('BEGIN');
    await before.ask('SELECT pg_current_xact_id()');
    const { xid, server: { systemId, timeline } } = await readPlace(before.ask);
    crashing.shutDown('immediate');
    await crashing.startAgain();
    before.open.destroy();
    const after = await asking();
    assert.equal(await transactionFate(after.ask, { systemId, timeline, xid }), 'discarded');
    await after.open.end();
  } finally {
    await crashing.stop();
  }
});
