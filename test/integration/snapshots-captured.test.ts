/** What was captured of real statements is shown, checked and exported by the command line: rows before and after, and tables that fell. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { after, before, beforeEach, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { folderOf, newFolder } from '../fixtures/store.ts';
import { startUndoFlow, type UndoFlow } from '../fixtures/undo-flow.ts';

const program = fileURLToPath(new URL('../../bin/backstop', import.meta.url));
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('BACKSTOP_')));

let server: PostgresServer;
let flow: UndoFlow;
let client: pg.Client;
before(async () => {
  server = await startPostgresServer();
  client = new pg.Client({ connectionString: server.url() });
  await client.connect();
});
after(async () => {
  await client?.end();
  await flow?.close();
  await server?.stop();
});
beforeEach(async () => {
  await flow?.close();
  await client.query(`DROP TABLE IF EXISTS orders, read_back CASCADE; CREATE TABLE orders (id int PRIMARY KEY, who text, paid numeric, twice int GENERATED ALWAYS AS (id * 2) STORED, at timestamptz DEFAULT '2026-01-01');
    INSERT INTO orders (id, who, paid) SELECT i, CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'say "' || i || E'",\\n' END, i / 3.0 FROM generate_series(1, 5000) i`);
  flow = await startUndoFlow(server.url());
});

function snapshots(...args: readonly string[]): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  return new Promise((resolve) => {
    execFile(program, ['snapshots', ...args], { env, cwd: tmpdir() }, (error, stdout, stderr) => { resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, stdout, stderr }); });
  });
}

const rowsOf = async (from: string): Promise<unknown> => (await client.query({ text: `SELECT id, who, paid, at FROM ${from} ORDER BY id`, rowMode: 'array' })).rows;

/** Exported as CSV, and read by PostgreSQL. */
async function readBack(...args: readonly string[]): Promise<unknown> {
  const path = join(newFolder(), 'rows.csv');
  const { code, stderr } = await snapshots('export', ...args, '--out', path);
  assert.equal(code, 0, stderr);
  await client.query('DROP TABLE IF EXISTS read_back; CREATE TABLE read_back (id int, who text, paid numeric, at timestamptz)');
  await pipeline(createReadStream(path), client.query(copyFrom('COPY read_back FROM STDIN (FORMAT csv, HEADER match)')));
  return rowsOf('read_back');
}

it('exports the rows of an UPDATE as they were, and as it left them', async () => {
  const was = await rowsOf('orders WHERE id > 1000');
  const action = await flow.act("UPDATE public.orders SET who = who || '!', paid = paid + 0.01 WHERE id > 1000", ['public.orders']);
  const left = await rowsOf('orders WHERE id > 1000');
  await client.query('UPDATE orders SET who = NULL');
  const place = ['--data', folderOf(flow.store.place)];
  assert.deepEqual(await readBack(action, ...place), was);
  assert.deepEqual(await readBack(action, '--images', 'after', ...place), left);
  assert.deepEqual(await readBack(action, '--images', 'after', '--storage', flow.folder), left);
  const shown = await snapshots('show', action, ...place);
  assert.match(shown.stdout, /TABLE +IMAGES +ROWS +SIZE +OBJECTS\npublic\.orders +before +4000 +\d+ kB +\d+\npublic\.orders +after +4000 /);
  assert.match((await snapshots('verify', ...place)).stdout, /whole: 8000 rows, .*\nAll 1 recovery points are whole/);
});

it('exports what a DROP took', async () => {
  const was = await rowsOf('orders');
  const action = await flow.take('DROP TABLE public.orders');
  assert.deepEqual(await readBack(action, '--table', 'orders', '--data', folderOf(flow.store.place)), was);
  assert.match((await snapshots('show', action, '--storage', flow.folder)).stdout, /Definition +kept[^]*public\.orders +content +5000/);
});
