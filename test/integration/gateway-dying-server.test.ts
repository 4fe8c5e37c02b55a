/**
 * The server dies after each of its messages and in the middle of each, over sequences of every kind. The client gets what
 * the server said up to there and a fatal error, or an end of the connection where an error could be taken for the rest of
 * a message; it never waits for ever. Every permit has its outcome, and what the outcome says is what the server then
 * holds; `unknown` is said only where a commit may have happened. Other sessions live on.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import * as say from '../../src/lib/pgwire/frontend-encode.ts';
import { startChoppingProxy, type ChoppingProxy } from '../fixtures/chopping-proxy.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { startScriptedGateway, type ScriptedGateway } from '../fixtures/scripted-gateway.ts';
import { bind, describePortal, execute, flush, parse, query, sync } from '../fixtures/unnamed-messages.ts';
import { until } from '../fixtures/until.ts';
import { connectWire, type WireClient } from '../fixtures/wire-client.ts';

let server: PostgresServer;
/** Looks at the server past the proxy. */
let observer: pg.Client;
let proxy: ChoppingProxy;
let backstop: ScriptedGateway;

before(async () => {
  server = await startPostgresServer();
  observer = new pg.Client({ connectionString: server.url() });
  await observer.connect();
  await observer.query('CREATE TABLE t (id int, v text)');
  proxy = await startChoppingProxy(server.port);
  backstop = await startScriptedGateway(server, { upstream: server.url().replace(String(server.port), String(proxy.port)) });
});
after(async () => {
  await backstop?.stop();
  await proxy?.stop();
  await observer?.end();
  await server?.stop();
});

const ask = (sql: string, rowsMax = 0): Buffer => Buffer.concat([parse(sql), bind(), describePortal, execute(rowsMax)]);
const insert = (id: number): string => `INSERT INTO t VALUES (${id})`;
const big = "SELECT repeat('x', 200000) FROM generate_series(1, 3)";

/** Each INSERT has its own number, by which its row is found again. */
const sequences: Readonly<Record<string, readonly Buffer[]>> = {
  'simple queries': [query('SELECT 1; SELECT 2'), query(insert(1)), query(`${insert(2)}; ${insert(3)}`), query('SELECT 1/0'), query('')],
  'a transaction that commits': [query('BEGIN'), query(insert(1)), query('SELECT 1'), query(insert(2)), query('COMMIT'), query('SELECT 2')],
  'a transaction that rolls back': [query('BEGIN'), query(insert(1)), query('ROLLBACK'), query(insert(2))],
  'a transaction that fails': [query('BEGIN'), query(insert(1)), query('SELECT 1/0'), query('SELECT 1'), query('COMMIT'), query(insert(2))],
  'a commit in the middle of a query': [query(`BEGIN; ${insert(1)}; COMMIT; SELECT 1; ${insert(2)}`)],
  'a rollback in the middle of a query': [query('BEGIN'), query(insert(1)), query(`ROLLBACK; ${insert(2)}`), query('SELECT 1')],
  savepoints: [query('BEGIN'), query(insert(1)), query('SAVEPOINT a'), query(insert(2)), query('ROLLBACK TO a'), query(insert(3)), query('COMMIT')],
  'the extended protocol': [ask('SELECT 1'), sync, ask(insert(1)), sync, ask('SELECT 1/0'), sync, ask(insert(2)), sync],
  'a pipeline with one Sync': [ask(insert(1)), ask('SELECT 1'), ask(insert(2)), sync, query('SELECT 2')],
  'a pipeline that fails': [ask(insert(1)), ask('SELECT 1/0'), ask(insert(2)), sync, ask(insert(3)), sync],
  'a pipeline that commits and goes on': [query('BEGIN'), query(insert(1)), ask('COMMIT'), ask(insert(2)), sync, query('SELECT 2')],
  'a pipeline that takes a failed transaction back and goes on': [
    query('BEGIN'), query('SAVEPOINT a'), query('SELECT 1/0'), ask('ROLLBACK TO a'), ask(insert(1)), ask('COMMIT'), ask(insert(2)), sync, query('SELECT 2')],
  'a portal in portions': [query('BEGIN'), ask('SELECT generate_series(1, 5)', 2), execute(2), flush, ask(insert(1)), sync, query('COMMIT')],
  'COPY to the server': [query('COPY t FROM STDIN'), say.encodeCopyData(Buffer.from('1\ta\n')), say.encodeCopyData(Buffer.from('2\tb\n')), say.encodeCopyDone(), query('SELECT 1')],
  'COPY from the server': [query('COPY (SELECT generate_series(1, 4)) TO STDOUT'), query(insert(1))],
  'COPY in the extended protocol': [ask('COPY t FROM STDIN'), say.encodeCopyData(Buffer.from('1\ta\n')), say.encodeCopyDone(), sync, query('SELECT 1')],
  'long rows': [query(big), ask(big), sync],
  notices: [query("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$"), query("LISTEN news; NOTIFY news, 'hello'"), query(insert(1))],
};

async function clean(): Promise<void> {
  await until('the last session is over', () => Promise.resolve(backstop.gateway.clients === 0));
  await until('no backend is left', async () => (await observer.query("SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")).rowCount === 0);
}

/** What a client is shown when the server dies so; `messages` is undefined for one that does not. */
async function play(client: WireClient, bytes: Buffer, messages: number | undefined, withHalf: boolean): Promise<readonly string[]> {
  proxy.arm(messages ?? Infinity, withHalf);
  client.send(bytes, query("SELECT 'the end'"));
  try {
    if (messages !== undefined) return await client.untilClosed();
    const lines = await client.until('D:the end');
    await client.until('Z');
    return lines.slice(0, -2);
  } finally {
    client.end();
  }
}

interface Settled { readonly id: number; readonly kind: string }

/** For each INSERT that was permitted, and each row of a COPY, what was recorded. */
function outcomes(): readonly Settled[] {
  assert.equal(backstop.settled.length, backstop.actions.length, 'every permit has one outcome');
  return backstop.settled.flatMap(({ text, outcome }) => {
    const ids = [...text.matchAll(/INSERT INTO t VALUES \((\d+)\)/g)].map(([, id]) => Number(id));
    return (ids.length === 0 && /COPY t FROM/.test(text) ? [1] : ids).map((id) => ({ id, kind: outcome.kind }));
  });
}

/** Rows whose transaction cannot have committed, whatever was lost. */
const surelyUndone: Readonly<Record<string, readonly number[]>> = { 'a transaction that rolls back': [1], 'a transaction that fails': [1], savepoints: [2] };

async function checkOutcomes(where: string, isSingle: (id: number) => boolean, undone: readonly number[]): Promise<void> {
  const rows = new Set((await observer.query<{ id: number }>('SELECT id FROM t')).rows.map(({ id }) => id));
  for (const { id, kind } of outcomes()) {
    // Of a query with several INSERTs one outcome tells of all: committed where any part is.
    if (!isSingle(id)) continue;
    if (undone.includes(id)) assert.ok(kind === 'rolled-back' || kind === 'failed', `${where}: ${id} is recorded as ${kind} though nothing could commit it`);
    if (kind === 'committed') assert.ok(rows.has(id), `${where}: ${id} is recorded as committed and is not there`);
    if (kind === 'rolled-back' || kind === 'failed') assert.ok(!rows.has(id), `${where}: ${id} is recorded as ${kind} and is there`);
  }
  const permitted = new Set(backstop.settled.map(({ text }) => text));
  for (const id of rows) assert.ok([...permitted].some((text) => text.includes(`(${id})`) || text.includes('COPY')), `${where}: ${id} is there without a permit`);
}

function forget(): void {
  backstop.actions.length = backstop.settled.length = backstop.forwarded.length = backstop.faults.length = 0;
}

describe('a server that dies (H93)', () => {
  for (const [name, pieces] of Object.entries(sequences)) {
    it(`in ${name}, at every message and inside every message`, async () => {
      const bytes = Buffer.concat(pieces);
      const isSingle = (id: number): boolean => !pieces.some((piece) => piece.includes(`(${id})`) && [...piece.toString().matchAll(/INSERT/g)].length > 1);
      await observer.query('DELETE FROM t');
      const direct = await connectWire({ host: '127.0.0.1', port: proxy.port, user: 'postgres', password: server.password, parameters: { database: 'postgres' } });
      const shown = await play(direct, bytes, undefined, false);
      await clean();
      const reference = await backstop.client();
      const same = await play(reference, bytes, undefined, false);
      const { passed } = proxy;
      assert.deepEqual(same, shown, 'undisturbed, both are shown the same');

      let longest = 0;
      // The last question is answered by four messages.
      for (let messages = 0; messages <= passed - 4; messages += 1) {
        for (const withHalf of messages < passed - 4 ? [false, true] : [false]) {
          await clean();
          await observer.query('DELETE FROM t');
          forget();
          const where = `${messages} messages${withHalf ? ' and a half' : ''}`;
          const client = await backstop.client();
          const got = await play(client, bytes, messages, withHalf);
          const told = got.at(-1) === 'E:08006' ? got.slice(0, -1) : got;
          assert.deepEqual(told, shown.slice(0, told.length), where);
          if (!withHalf) assert.equal(got.at(-1), 'E:08006', `${where}: the client is told why`);
          assert.ok(told.length === longest || told.length === longest + 1 || withHalf, `${where}: ${told.length} lines after ${longest}`);
          if (!withHalf) longest = told.length;
          await clean();
          const isCommitSent = !shown.includes('C:COMMIT') || told.length >= shown.indexOf('C:COMMIT');
          await checkOutcomes(where, isSingle, name === 'a transaction that commits' && !isCommitSent ? [1, 2] : surelyUndone[name] ?? []);
          assert.deepEqual(backstop.faults, [], where);
        }
      }
      assert.equal(longest, shown.length, 'in the end all was shown');
    });
  }
});

/** What a client of either kind is shown of an administrator's act, while it does this. */
/** `until`: what is answered before it waits; a server that runs keeps its first answers to itself for a while. */
interface Doing { readonly what: string; readonly begins: readonly Buffer[]; readonly until: string | undefined; readonly isRunning: boolean }
const doings: readonly Doing[] = [
  { what: 'idle', begins: [query('SELECT 1')], until: 'Z:I', isRunning: false },
  { what: 'idle in a transaction', begins: [query('BEGIN; INSERT INTO t VALUES (1)')], until: 'Z:T', isRunning: false },
  { what: 'running a query', begins: [query('SELECT 1; SELECT pg_sleep(60)')], until: undefined, isRunning: true },
  { what: 'in the middle of a pipeline', begins: [ask('SELECT 1'), ask('SELECT pg_sleep(60)'), ask('SELECT 2'), sync], until: undefined, isRunning: true },
  { what: 'copying in', begins: [query('COPY t FROM STDIN')], until: 'G', isRunning: true },
];

describe('an administrator', () => {
  const act = async (how: 'terminate' | 'fast' | 'immediate', doing: Doing): Promise<void> => {
    const mortal = await startPostgresServer();
    await mortal.run('CREATE TABLE t (id int, v text)');
    const before = await startScriptedGateway(mortal);
    try {
      const direct = await connectWire({ host: mortal.host, port: mortal.port, user: 'postgres', password: mortal.password, parameters: { database: 'postgres' } });
      const through = await before.client();
      for (const client of [direct, through]) {
        client.send(...doing.begins);
        if (doing.until !== undefined) await client.until(doing.until);
      }
      if (doing.isRunning) {
        await until('both run', async () => (await mortal.run("SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND state = 'active' AND query ~ 'sleep|COPY'")).length === 2);
      }
      if (how === 'terminate') await mortal.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
      else mortal.shutDown(how);
      const shown = await direct.untilClosed();
      const told = await through.untilClosed();
      if (how === 'immediate') {
        // It warns if it still can; what libpq then says of the closed connection, Backstop says as an error.
        for (const lines of [shown, told.slice(0, -1)]) assert.ok(lines.every((line) => /^N:57P0[12]$|^T$|^D:1$|^C:SELECT 1$/.test(line)), lines.join(' '));
        assert.equal(told.at(-1), 'E:08006');
      } else {
        assert.deepEqual(told, shown);
        assert.equal(shown.at(-1), 'E:57P01');
        assert.deepEqual([...through.notices, ...through.errors], [...direct.notices, ...direct.errors], 'to the last word');
      }
      await until('the session is over', () => Promise.resolve(before.gateway.clients === 0));
      assert.equal(before.settled.length, before.actions.length);
      for (const { text, outcome } of before.settled) if (/INSERT/.test(text)) assert.equal(outcome.kind, 'rolled-back');
      assert.deepEqual(before.faults, []);
    } finally {
      await before.stop();
      await mortal.stop();
    }
  };
  for (const doing of doings) {
    it(`who ends a session shows one that is ${doing.what} what PostgreSQL shows`, () => act('terminate', doing));
  }
  for (const how of ['fast', 'immediate'] as const) {
    for (const doing of doings.slice(0, 3)) {
      it(`who shuts the server down (${how}) shows one that is ${doing.what} what PostgreSQL shows`, () => act(how, doing));
    }
  }
});
