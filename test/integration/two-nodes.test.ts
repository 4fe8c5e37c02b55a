/**
 * Two gateways in front of one server, with one PostgreSQL store between them: an answer given on either wakes the
 * session on the other and is used once, the record stays one chain, a token that is revoked or replaced ends on both
 * within a second, and a node that is killed leaves nothing that the other does not settle.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import type { EntryBody, OutcomeBody, VerdictBody } from '../../src/core/ledger/entry.ts';
import { leaseMs } from '../../src/store/nodes.ts';
import { askingPolicy, fillShop, startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { startBackstopProcess } from '../fixtures/backstop-process.ts';
import { givenTime, msOf } from '../fixtures/given-time.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { postgresStores } from '../fixtures/postgres-stores.ts';
import { placeToText } from '../fixtures/store.ts';
import { runProgram } from '../fixtures/run-program.ts';
import { until } from '../fixtures/until.ts';

/** A busy machine takes longer than a lease lasts. */
const leasesEndMsMax = 30_000;

let server: PostgresServer;
let storeUrl: string;
let [one, two]: [RunningBackstop, RunningBackstop] = [undefined as never, undefined as never];

before(async () => {
  server = await startPostgresServer();
  const stores = await postgresStores(server);
  storeUrl = placeToText(await stores.newPlace());
  const shared = { server, url: await fillShop(server) };
  one = await startBackstop({ shared, policy: askingPolicy, store: { url: storeUrl, agent: 'ada', operator: 'olga' }, waitSeconds: 20 });
  two = await startBackstop({ shared, policy: askingPolicy, store: { url: storeUrl, agent: 'bob', operator: 'otto' }, waitSeconds: 20 });
});
after(async () => {
  await one?.stop();
  await two?.stop();
  await server?.stop();
});

/** The same agent, at the door of either node. */
const urlAt = (node: RunningBackstop, { name, token }: RunningBackstop['agent']): string => `postgres://${name}:${token}@${node.host}:${node.port}/shop`;

async function clientOf(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => { /* a revoked session ends with one, and the test waits for its end */ });
  await client.connect();
  return client;
}

async function entries(): Promise<readonly EntryBody[]> {
  return (await one.memory.ledger.entriesAfter(0, 100_000)).map(({ body }) => JSON.parse(body) as EntryBody);
}

const count = async (from: string): Promise<number> => Number((await server.run(`SELECT count(*) AS n FROM ${from}`, 'shop'))[0]?.['n']);

describe('an answer', () => {
  it('given on either node wakes the session on the other within a second', async () => {
    for (const [asked, answering, id] of [[one, two, 9101], [two, one, 9102]] as const) {
      const client = await clientOf(asked.agentUrl());
      const inserted = client.query(`INSERT INTO notes VALUES (${id}, 'x')`);
      const { id: approvalId } = await answering.waitForHold(/INSERT INTO notes/);
      const ms = await msOf(async () => {
        await answering.approve(approvalId);
        assert.equal((await inserted).rowCount, 1);
      });
      assert.ok(ms < 1_000, `${ms} ms`);
      await client.end();
    }
  });

  it('wakes it also when no hint comes through', async () => {
    await server.run('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = \'backstop hints\'');
    const client = await clientOf(one.agentUrl());
    const inserted = client.query('INSERT INTO notes VALUES (9103, \'x\')');
    const { id } = await two.waitForHold(/INSERT INTO notes/);
    const ms = await msOf(async () => {
      await two.approve(id);
      await inserted;
    });
    assert.ok(ms < 1_000, `${ms} ms`);
    await client.end();
  });

  it('is used once, though the same statement waits on both nodes', async () => {
    const clients = [await clientOf(urlAt(one, one.agent)), await clientOf(urlAt(two, one.agent))];
    const results = Promise.allSettled(clients.map((client) => client.query('INSERT INTO payments (order_id, amount, paid_at) SELECT id, 4711, now() FROM orders ORDER BY id LIMIT 1')));
    const { id } = await two.waitForHold(/INSERT INTO payments/);
    await until('both wait', async () => (await server.run('SELECT FROM pg_stat_activity WHERE usename = \'shopkeeper\' AND application_name NOT LIKE \'backstop%\'')).length >= 2);
    await two.approve(id);
    assert.deepEqual((await results).map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
    assert.equal(await count('payments WHERE amount = 4711'), 1);
    for (const client of clients) await client.end();
  });
});

describe('the record', () => {
  it('stays one chain while both nodes write at once, and each write is permitted before it is there', async () => {
    const writers = await Promise.all([one, two, one, two].map((node) => clientOf(node.agentUrl())));
    const answering = { isOn: true };
    const answers = Promise.all([one, two].map(async (node) => {
      while (answering.isOn) {
        for (const { id } of await node.memory.approvals.list('pending', 50)) await node.approve(id).catch(() => undefined);
        await new Promise((resolve) => { setTimeout(resolve, 5); });
      }
    }));
    await Promise.all(writers.map(async (client, index) => {
      for (let step = 0; step < 15; step += 1) {
        await client.query('SELECT name FROM customers');
        await client.query(`INSERT INTO notes VALUES ($1, 'load')`, [10_000 + index * 100 + step]);
      }
    }));
    answering.isOn = false;
    await answers;
    for (const client of writers) await client.end();
    assert.equal(await count('notes WHERE body = \'load\''), 60);
    const { broken } = await two.memory.ledger.verify();
    assert.equal(broken, undefined);
    const allowed = (await entries()).filter((body): body is VerdictBody => body.kind === 'verdict' && body.decision === 'allow' && body.approvalId !== null);
    assert.equal(new Set(allowed.map(({ approvalId }) => approvalId)).size, allowed.length);
  });
});

describe('a token', () => {
  const sessionsEnd = async (clients: readonly pg.Client[], change: () => Promise<unknown>): Promise<void> => {
    const ended = clients.map((client) => new Promise<void>((resolve) => { client.once('end', () => { resolve(); }); }));
    await change();
    const ms = await msOf(() => Promise.all(ended));
    assert.ok(ms < 1_000, `${ms} ms`);
  };

  it('that is replaced on one node ends its sessions on both within a second, and the new one is good on both', async () => {
    await one.memory.identities.addAgent('eve', null, 'olga');
    const { token } = await two.memory.identities.rotateAgent('eve', 'otto');
    const clients = [await clientOf(urlAt(one, { name: 'eve', token })), await clientOf(urlAt(two, { name: 'eve', token }))];
    let next = '';
    await sessionsEnd(clients, async () => { ({ token: next } = await one.memory.identities.rotateAgent('eve', 'olga')); });
    for (const node of [one, two]) {
      await assert.rejects(clientOf(urlAt(node, { name: 'eve', token })), /password authentication failed/);
      await (await clientOf(urlAt(node, { name: 'eve', token: next }))).end();
    }
  });

  it('that is revoked on one node ends its sessions on both within a second, and lets nobody in', async () => {
    const { token } = await one.memory.identities.addAgent('mal', null, 'olga');
    const clients = [await clientOf(urlAt(one, { name: 'mal', token })), await clientOf(urlAt(two, { name: 'mal', token }))];
    await sessionsEnd(clients, () => two.memory.identities.revokeAgent('mal', 'otto'));
    for (const node of [one, two]) await assert.rejects(clientOf(urlAt(node, { name: 'mal', token })), /password authentication failed/);
  });
});

describe('the command line', () => {
  const run = (...args: readonly string[]): ReturnType<typeof runProgram> => {
    const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
    return runProgram(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...args]);
  };

  it('reads and changes the shared store with --store, from any folder', async () => {
    const listed = await run('agents', 'list', '--json', '--store', storeUrl);
    assert.equal(listed.code, 0, listed.stderr);
    for (const name of ['ada', 'bob']) assert.match(listed.stdout, new RegExp(`"${name}"`));
    const verified = await run('ledger', 'verify', '--store', storeUrl);
    assert.deepEqual([verified.code, /The record holds/.test(verified.stdout)], [0, true], verified.stderr);
  });

  it('makes no store where there is none, and shows no password', async () => {
    await server.run('CREATE DATABASE empty OWNER keeper');
    const ended = await run('agents', 'list', '--store', storeUrl.replace(/[^/]+$/, 'empty'));
    assert.equal(ended.code, 7);
    assert.match(ended.stderr, /there is no Backstop data in postgres:\/\/127\.0\.0\.1:\d+\/empty/);
    assert.ok(!ended.stderr.includes('password-of-the-store'));
    assert.deepEqual(await server.run('SELECT FROM information_schema.schemata WHERE schema_name = \'backstop\'', 'empty'), []);
  });
});

describe('a store that is away', () => {
  it('lets nobody in and nothing be written, reads only until the leases end, and all goes on when it is back', async () => {
    const name = new URL(storeUrl).pathname.slice(1);
    const client = await clientOf(one.agentUrl());
    await client.query('SELECT name FROM customers');
    await server.run(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`);
    const time = givenTime();
    const refused = async (sql: string): Promise<unknown> => client.query(sql).then(() => undefined, (error: unknown) => (error instanceof pg.DatabaseError ? error.code : error));
    assert.equal(await refused('INSERT INTO notes VALUES (9301, \'x\')'), '58030');
    await assert.rejects(clientOf(two.agentUrl()), (error) => error instanceof pg.DatabaseError && error.code === '58030' && !`${error.message}${error.detail}${error.hint}`.includes('postgres://'));
    assert.equal(await refused('SELECT name FROM customers'), undefined, 'read from what is known, on record later');
    await until('reads stop too', async () => await refused('SELECT name FROM customers') === '58030', leasesEndMsMax);
    assert.ok(time.ms() < leaseMs, `${time.ms()} ms`);
    time.end();
    await server.run(`ALTER DATABASE ${name} ALLOW_CONNECTIONS true`);
    await until('reads go on', async () => await refused('SELECT name FROM customers') === undefined);
    const inserted = client.query('INSERT INTO notes VALUES (9302, \'x\')');
    await one.approve((await two.waitForHold(/INSERT INTO notes/)).id);
    await inserted;
    await client.end();
    assert.equal((await two.memory.ledger.verify()).broken, undefined);
  });
});

describe('a node that is killed', () => {
  it('has its permits settled as unknown by the other, which goes on', async () => {
    const child = await startBackstopProcess({ upstream: one.directUrl(), flags: ['--store', storeUrl, '--policy', 'develop', '--environment', 'dev'] });
    const client = await clientOf(`postgres://${one.agent.name}:${one.agent.token}@127.0.0.1:${child.port}/shop`);
    await server.run('CREATE TABLE IF NOT EXISTS slow (id int); ALTER TABLE slow OWNER TO shopkeeper', 'shop');
    const running = client.query('INSERT INTO slow SELECT 1 FROM pg_sleep(30)').catch(() => undefined);
    const permit = await until('it is permitted', async () => (await entries()).findLast((body): body is VerdictBody => body.kind === 'verdict' && body.text.includes('slow') && body.decision === 'allow'));
    process.kill(child.pid, 'SIGKILL');
    await running;
    const outcome = await until('its permit is settled', async () => (await entries()).find((body): body is OutcomeBody => body.kind === 'outcome' && body.actionId === permit.actionId));
    assert.equal(outcome.outcome, 'unknown');
    assert.equal((await one.memory.ledger.verify()).broken, undefined);
    const alive = await clientOf(two.agentUrl());
    assert.equal((await alive.query('SELECT 1 AS one')).rowCount, 1);
    await alive.end();
    await child.stop();
  });
});
