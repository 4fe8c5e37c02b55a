/**
 * Several workers on one port, as `backstop up --workers 2` starts them: connections spread over both, a cancel request
 * finds the worker that it is for, an answer wakes a session on either, a worker that is killed is replaced and what it
 * left is settled, one HTTP API speaks for all, and all end with their supervisor, however it ends.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { openMemory, type Memory } from '../../src/app/memory.ts';
import type { EntryBody, OutcomeBody } from '../../src/core/ledger/entry.ts';
import { askingPolicy, fillShop } from '../fixtures/backstop.ts';
import { startBackstopProcess, type BackstopProcess } from '../fixtures/backstop-process.ts';
import { sendCancelRequest } from '../fixtures/cancel-request.ts';
import { msOf } from '../fixtures/given-time.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { until } from '../fixtures/until.ts';

/** Sooner than its lease can end. */
const settledMsMax = 6_000;

let server: PostgresServer;
let upstream: string;
let backstop: BackstopProcess;
let memory: Memory;
let agent: string;
let operator: string;

before(async () => {
  server = await startPostgresServer();
  upstream = await fillShop(server);
  backstop = await startBackstopProcess({ upstream, flags: ['--workers', '2', '--policy', askingPolicy, '--environment', 'dev', '--gateway-max-agent-connections', '6'] });
  memory = await openMemory({ kind: 'sqlite', folder: backstop.dataDir });
  agent = (await memory.identities.addAgent('ada', null, 'test')).token;
  operator = (await memory.identities.addOperator('olga')).token;
});
after(async () => {
  await memory?.close();
  await backstop?.stop();
  await server?.stop();
});

async function clientAt(port = backstop.port, who = `ada:${agent}`): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: `postgres://${who}@127.0.0.1:${port}/shop` });
  client.on('error', () => { /* a killed worker's clients lose their connection */ });
  await client.connect();
  return client;
}

async function workers(): Promise<readonly number[]> {
  return (await memory.database.queries.selectFrom('node').select('pid').orderBy('started_at').execute()).map(({ pid }) => pid);
}

const entries = async (): Promise<readonly EntryBody[]> => (await memory.ledger.entriesAfter(0, 100_000)).map(({ body }) => JSON.parse(body) as EntryBody);
const fetchText = async (path: string): Promise<string> => (await fetch(`${/http:\/\/[\d.]+:\d+/.exec(backstop.printed())?.[0]}${path}`)).text();
const isAlive = (pid: number): boolean => { try { process.kill(pid, 0); return true; } catch { return false; } };

describe('two workers', () => {
  it('share the clients of one port, and one HTTP API speaks for both', async () => {
    assert.equal((await workers()).length, 2);
    const clients = await Promise.all(Array.from({ length: 4 }, () => clientAt()));
    await until('all are counted', async () => /^backstop_sessions 4$/m.test(await fetchText('/metrics')));
    assert.match(await fetchText('/metrics'), /^backstop_ledger_writable 1$/m);
    const ready: unknown = JSON.parse(await fetchText('/readyz'));
    assert.deepEqual(ready, { status: 'ok', checks: { upstream: 'ok', store: 'ok', ledger: 'ok', recovery: 'ok', workers: 'ok' } });
    assert.match(await fetchText('/healthz'), /"name":"asking"/);
    for (const client of clients) await client.end();
  });

  it('count the clients of an agent together, to the last one', async () => {
    await until('those before have left', async () => /^backstop_sessions 0$/m.test(await fetchText('/metrics')));
    const results = await Promise.allSettled(Array.from({ length: 9 }, () => clientAt()));
    assert.deepEqual([results.filter(({ status }) => status === 'fulfilled').length, results.filter(({ status }) => status === 'rejected').length], [6, 3]);
    const clients = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    await assert.rejects(clientAt(), /too many connections for agent "ada": 6 are open, 6 are allowed/);
    for (const client of clients) await client.end();
    await until('there is room again', () => clientAt().then(async (client) => { await client.end(); return true; }, () => false));
  });

  it('pass a cancel request on to the one that it is for', async () => {
    for (let round = 0; round < 4; round += 1) {
      const client = await clientAt();
      const running = assert.rejects(client.query('SELECT pg_sleep(30)'), /cancel/);
      await until('it runs', async () => (await server.run('SELECT FROM pg_stat_activity WHERE query LIKE \'%pg_sleep(30)%\' AND state = \'active\' AND pid <> pg_backend_pid()')).length > 0);
      // The next connection is another worker's turn, so of several requests some come to the wrong one.
      for (let request = 0; request <= round % 2; request += 1) await sendCancelRequest(client, { host: '127.0.0.1', port: backstop.port });
      await running;
      await client.end();
    }
  });

  it('are each woken by an answer from the command line', async () => {
    const clients = [await clientAt(), await clientAt()];
    const writes = clients.map((client, index) => client.query(`INSERT INTO notes VALUES (${7001 + index}, 'x')`));
    for (const _ of clients) {
      const { id } = await until('one is held', async () => (await memory.approvals.list('pending', 10))[0]);
      assert.equal((await backstop.cli('approvals', 'approve', id, '--token', operator)).code, 0);
    }
    for (const write of writes) assert.equal((await write).rowCount, 1);
    for (const client of clients) await client.end();
  });

  it('each end the sessions of a token that is replaced, within a second', async () => {
    const { token } = await memory.identities.addAgent('eve', null, 'test');
    const clients = await Promise.all([0, 1].map(() => clientAt(backstop.port, `eve:${token}`)));
    const ended = clients.map((client) => new Promise<void>((resolve) => { client.once('end', () => { resolve(); }); }));
    await memory.identities.rotateAgent('eve', 'test');
    const ms = await msOf(() => Promise.all(ended));
    assert.ok(ms < 1_000, `${ms} ms`);
    await assert.rejects(clientAt(backstop.port, `eve:${token}`), /password authentication failed/);
  });

  it('outlive each other: one that is killed is replaced, what it left is settled at once, and the other serves on', async () => {
    const clients = [await clientAt(), await clientAt()];
    const before = await workers();
    const inserts = clients.map((client) => client.query('INSERT INTO notes SELECT 7100, \'x\' FROM pg_sleep(600)').then(() => 'done', () => 'lost'));
    for (let given = 0; given < 1;) {
      for (const { id } of await memory.approvals.list('pending', 10)) { await memory.answer(operator, id, { answer: 'approved', reason: null }); given += 1; }
    }
    const permit = await until('one is permitted', async () => memory.database.queries.selectFrom('open_permit').selectAll().executeTakeFirst());
    const { pid } = await memory.database.queries.selectFrom('node').select('pid').where('id', '=', permit.node_id).executeTakeFirstOrThrow();
    process.kill(pid, 'SIGKILL');
    const outcome = await until('it is settled', async () => (await entries()).find((body): body is OutcomeBody => body.kind === 'outcome' && body.actionId === permit.action_id), settledMsMax);
    assert.equal(outcome.outcome, 'unknown');
    await until('there are two again', async () => (await workers()).length === 2 && !(await workers()).includes(pid));
    assert.equal((await workers()).filter((one) => before.includes(one)).length, 1);
    await server.run('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE \'%pg_sleep(600)%\' AND pid <> pg_backend_pid()');
    for (let count = 0; count < 4; count += 1) {
      const client = await clientAt();
      assert.equal((await client.query('SELECT 1 AS one')).rowCount, 1);
      await client.end();
    }
    assert.deepEqual(await Promise.all(inserts), ['lost', 'lost']);
    for (const client of clients) await client.end().catch(() => undefined);
    assert.equal((await memory.ledger.verify()).broken, undefined);
  });
});

describe('their supervisor', () => {
  it('takes them along when it is killed, and starts again at once on the same data', async () => {
    const own = await startBackstopProcess({ upstream, flags: ['--workers', '2', '--environment', 'dev'] });
    const other = await openMemory({ kind: 'sqlite', folder: own.dataDir });
    const pids = (await other.database.queries.selectFrom('node').select('pid').execute()).map(({ pid }) => pid);
    assert.equal(pids.length, 2);
    process.kill(own.pid, 'SIGKILL');
    await until('they have ended', () => Promise.resolve(pids.every((pid) => !isAlive(pid))));
    const again = await startBackstopProcess({ upstream, flags: ['--workers', '2', '--environment', 'dev'], dataDir: own.dataDir });
    await until('two serve', async () => (await other.database.queries.selectFrom('node').select('pid').execute()).every(({ pid }) => !pids.includes(pid)));
    await other.close();
    await again.stop();
  });

  it('stops them cleanly, with nothing left open', async () => {
    const pids = await workers();
    assert.equal(await backstop.interrupt(), 0);
    assert.deepEqual(pids.filter(isAlive), []);
    assert.deepEqual(await workers(), []);
    assert.deepEqual(await memory.database.queries.selectFrom('open_permit').selectAll().execute(), []);
    const admin = (await entries()).flatMap((body) => (body.kind === 'admin' && body.subject === 'backstop' ? [body.what] : []));
    assert.deepEqual(admin, ['start', 'stop']);
  });
});
