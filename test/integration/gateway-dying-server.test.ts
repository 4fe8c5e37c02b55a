/**
 * The server dies after each of its messages and in the middle of each, over sequences of every kind. The client gets what
 * the server said up to there and a fatal error, or an end of the connection where an error could be taken for the rest of
 * a message; it never waits for ever. Every permit has its outcome, and what the outcome says is what the server then
 * holds; `unknown` is said only where a commit may have happened. Other sessions live on.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import * as say from '../../src/lib/pgwire/frontend-encode.ts';
import { startChoppingProxy, type ChoppingProxy } from '../fixtures/chopping-proxy.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { startScriptedGateway, type ScriptedGateway } from '../fixtures/scripted-gateway.ts';
import { until } from '../fixtures/until.ts';
import { connectWire, type WireClient } from '../fixtures/wire-client.ts';

let server: PostgresServer;
let proxy: ChoppingProxy;
let backstop: ScriptedGateway;

before(async () => {
  server = await startPostgresServer();
  await server.run('CREATE TABLE t (id int, v text)');
  proxy = await startChoppingProxy(server.port);
  backstop = await startScriptedGateway(server, { upstream: server.url().replace(String(server.port), String(proxy.port)) });
});
after(async () => {
  await backstop?.stop();
  await proxy?.stop();
  await server?.stop();
});

const query = say.encodeQuery;
const sync = say.encodeSync();
const ask = (sql: string, rowsMax = 0): Buffer => Buffer.concat([
  say.encodeParse({ statement: '', sql, parameterTypes: [] }), say.encodeBind({ portal: '', statement: '', formats: [], values: [], resultFormats: [] }),
  say.encodeDescribe({ target: 'portal', name: '' }), say.encodeExecute({ portal: '', rowsMax }),
]);
const insert = (id: number): string => `INSERT INTO t VALUES (${id})`;
const big = "SELECT repeat('x', 200000) FROM generate_series(1, 3)";

/** Each INSERT has its own number, by which its row is found again. */
const sequences: Readonly<Record<string, readonly Buffer[]>> = {
  'simple queries': [query('SELECT 1; SELECT 2'), query(insert(1)), query(`${insert(2)}; ${insert(3)}`), query('SELECT 1/0'), query('')],
  'a transaction that commits': [query('BEGIN'), query(insert(1)), query('SELECT 1'), query(insert(2)), query('COMMIT'), query('SELECT 2')],
  'a transaction that rolls back': [query('BEGIN'), query(insert(1)), query('ROLLBACK'), query(insert(2))],
  'a transaction that fails': [query('BEGIN'), query(insert(1)), query('SELECT 1/0'), query('SELECT 1'), query('COMMIT'), query(insert(2))],
  'a commit in the middle of a query': [query(`BEGIN; ${insert(1)}; COMMIT; SELECT 1; ${insert(2)}`)],
  savepoints: [query('BEGIN'), query(insert(1)), query('SAVEPOINT a'), query(insert(2)), query('ROLLBACK TO a'), query(insert(3)), query('COMMIT')],
  'the extended protocol': [ask('SELECT 1'), sync, ask(insert(1)), sync, ask('SELECT 1/0'), sync, ask(insert(2)), sync],
  'a pipeline with one Sync': [ask(insert(1)), ask('SELECT 1'), ask(insert(2)), sync, query('SELECT 2')],
  'a pipeline that fails': [ask(insert(1)), ask('SELECT 1/0'), ask(insert(2)), sync, ask(insert(3)), sync],
  'a portal in portions': [query('BEGIN'), ask('SELECT generate_series(1, 5)', 2), say.encodeExecute({ portal: '', rowsMax: 2 }), say.encodeFlush(), ask(insert(1)), sync, query('COMMIT')],
  'COPY to the server': [query('COPY t FROM STDIN'), say.encodeCopyData(Buffer.from('1\ta\n')), say.encodeCopyData(Buffer.from('2\tb\n')), say.encodeCopyDone(), query('SELECT 1')],
  'COPY from the server': [query('COPY (SELECT generate_series(1, 4)) TO STDOUT'), query(insert(1))],
  'COPY in the extended protocol': [ask('COPY t FROM STDIN'), say.encodeCopyData(Buffer.from('1\ta\n')), say.encodeCopyDone(), sync, query('SELECT 1')],
  'long rows': [query(big), ask(big), sync],
  notices: [query("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$"), query("LISTEN news; NOTIFY news, 'hello'"), query(insert(1))],
};

async function clean(): Promise<void> {
  await until('the last session is over', () => Promise.resolve(backstop.gateway.clients === 0));
  await until('no backend is left', async () => (await server.run("SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")).length === 0);
}

/** What a client is shown when the server dies so; `messages` is undefined for one that does not. */
async function play(client: WireClient, bytes: Buffer, messages: number | undefined, withHalf: boolean): Promise<readonly string[]> {
  proxy.arm(messages ?? Infinity, withHalf);
  client.send(bytes);
  if (messages !== undefined) return client.untilClosed();
  client.send(query("SELECT 'the end'"));
  const lines = (await client.until('D:the end')).slice(0, -2);
  return lines;
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

async function checkOutcomes(where: string, isSingle: (id: number) => boolean): Promise<void> {
  const rows = new Set((await server.run('SELECT id FROM t')).map(({ id }) => Number(id)));
  for (const { id, kind } of outcomes()) {
    // Of a query with several INSERTs one outcome tells of all: committed where any part is.
    if (!isSingle(id)) continue;
    if (kind === 'committed') assert.ok(rows.has(id), `${where}: ${id} is recorded as committed and is not there`);
    if (kind === 'rolled-back' || kind === 'failed') assert.ok(!rows.has(id), `${where}: ${id} is recorded as ${kind} and is there`);
  }
  const permitted = new Set(backstop.settled.map(({ text }) => text));
  for (const id of rows) assert.ok([...permitted].some((text) => text.includes(`(${id})`) || text.includes('COPY')), `${where}: ${id} is there without a permit`);
}

function forget(): void {
  backstop.actions.length = backstop.settled.length = backstop.forwarded.length = backstop.faults.length = 0;
}

describe('a server that dies', () => {
  for (const [name, pieces] of Object.entries(sequences)) {
    it(`in ${name}, at every message and inside every message`, async () => {
      const bytes = Buffer.concat(pieces);
      const isSingle = (id: number): boolean => !pieces.some((piece) => piece.includes(`(${id})`) && [...piece.toString().matchAll(/INSERT/g)].length > 1);
      await server.run('TRUNCATE t');
      const direct = await connectWire({ host: '127.0.0.1', port: proxy.port, user: 'postgres', password: server.password, parameters: { database: 'postgres' } });
      const shown = await play(direct, bytes, undefined, false);
      direct.end();
      await clean();
      const reference = await backstop.client();
      const same = await play(reference, bytes, undefined, false);
      const { passed } = proxy;
      reference.end();
      assert.deepEqual(same, shown, 'undisturbed, both are shown the same');

      let longest = 0;
      for (let messages = 0; messages <= passed - 3; messages += 1) {
        for (const withHalf of [false, true]) {
          await clean();
          await server.run('TRUNCATE t');
          forget();
          const where = `${messages} messages${withHalf ? ' and a half' : ''}`;
          const client = await backstop.client();
          const bystander = messages === 3 ? await backstop.client() : undefined;
          if (bystander !== undefined) { bystander.end(); await until('the other is gone', () => Promise.resolve(backstop.gateway.clients === 1)); }
          const got = await play(client, bytes, messages, withHalf);
          const told = got.at(-1) === 'E:08006' ? got.slice(0, -1) : got;
          assert.deepEqual(told, shown.slice(0, told.length), where);
          if (!withHalf) assert.equal(got.at(-1), 'E:08006', `${where}: the client is told why`);
          assert.ok(told.length === longest || told.length === longest + 1 || withHalf, `${where}: ${told.length} lines after ${longest}`);
          if (!withHalf) longest = told.length;
          await clean();
          await checkOutcomes(where, isSingle);
          assert.deepEqual(backstop.faults, [], where);
        }
      }
      assert.ok(longest >= shown.length - 1, `all but the last was shown: ${longest} of ${shown.length}`);
    });
  }
});
