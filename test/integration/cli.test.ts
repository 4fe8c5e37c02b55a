/**
 * The executable as an operator uses it: `backstop up` in the foreground with its embedded PostgreSQL, an agent that
 * connects with what it printed, answers from other processes, Ctrl-C, a second start, a crash, and a changed record.
 */
import assert from 'node:assert/strict';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, copyFileSync, mkdtempSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { withPgClient } from '../fixtures/pg-client.ts';
import { until } from '../fixtures/until.ts';

const program = fileURLToPath(new URL('../../bin/backstop', import.meta.url));
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('BACKSTOP_')));
const served = z.object({ agent: z.string(), url: z.string(), http: z.string(), database: z.string(), policy: z.string() });
type Served = z.infer<typeof served>;

interface Ran { readonly code: number; readonly stdout: string; readonly stderr: string }
interface Up extends Served { readonly process: ChildProcess; readonly exit: Promise<number>; end(signal: NodeJS.Signals): Promise<number> }

function cli(...args: readonly string[]): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(program, args, { env, cwd: tmpdir() }, (error, stdout, stderr) => { resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, stdout, stderr }); });
  });
}

async function startUp(dataDir: string, ...more: readonly string[]): Promise<Up> {
  const child = spawn(program, ['up', '--json', '--gateway-port', '0', '--http-port', '0', '--log-level', 'warn', '--data', dataDir, ...more], { env, cwd: tmpdir(), stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text; });
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text; });
  const exit = new Promise<number>((resolve) => { child.once('exit', (code) => { resolve(code ?? -1); }); });
  await until('up prints where it serves', () => {
    if (child.exitCode !== null) throw new Error(`up ended with ${child.exitCode}: ${stderr}`);
    return Promise.resolve(stdout.includes('\n'));
  }, 60_000);
  const end = (signal: NodeJS.Signals): Promise<number> => { child.kill(signal); return exit; };
  return { ...served.parse(JSON.parse(stdout)), process: child, exit, end };
}

describe('the command line', () => {
  const folder = mkdtempSync(join(tmpdir(), 'backstop-test-cli-'));
  chmodSync(folder, 0o711);
  const dataDir = join(folder, 'data');
  let up: Up;
  before(async () => { up = await startUp(dataDir); });
  after(async () => {
    await up.end('SIGTERM');
    rmSync(folder, { recursive: true, force: true });
  });

  async function pendingId(): Promise<string> {
    const line = await until('a statement waits', async () => (await cli('approvals', 'list', '--json', '--data', dataDir)).stdout.split('\n')[0] || undefined);
    return z.object({ id: z.string() }).parse(JSON.parse(line)).id;
  }

  test('prints a connection string with which a read works', async () => {
    const { rows } = await withPgClient(up.url, (client) => client.query('SELECT count(*)::int AS n FROM payments'));
    assert.deepEqual(rows, [{ n: 32_000 }]);
  });

  test('answers for its health and its metrics', async () => {
    assert.equal((await fetch(`${up.http}/livez`)).status, 200);
    const ready = await fetch(`${up.http}/readyz`);
    assert.deepEqual(await ready.json(), { status: 'ok', checks: { upstream: 'ok', store: 'ok', ledger: 'ok', recovery: 'ok' } });
    assert.match(await (await fetch(`${up.http}/metrics`)).text(), /^backstop_/m);
  });

  test('lets run unasked what adds rows, and what can be undone and is small', async () => {
    await withPgClient(up.url, async (client) => {
      assert.deepEqual((await client.query('INSERT INTO categories VALUES (50, \'Music\') RETURNING name')).rows, [{ name: 'Music' }]);
      assert.equal((await client.query('UPDATE addresses SET city = \'Music\' WHERE id = 42')).rowCount, 1);
    });
    assert.equal((await cli('approvals', 'list', '--state', 'all', '--json', '--data', dataDir)).stdout, '');
  });

  test('lets a held write run when it is approved, and shows what it is and how far it can be undone before', async () => {
    const update = withPgClient(up.url, (client) => client.query('UPDATE categories SET name = name || \' (Music)\' WHERE id < 4'));
    const id = await pendingId();
    const shown = await cli('approvals', 'show', id, '--data', dataDir);
    assert.match(shown.stdout, /UPDATE categories SET name/);
    assert.match(shown.stdout, /It can be undone to the exact rows/);
    assert.doesNotMatch(shown.stdout, /Music/);
    const approved = await cli('approvals', 'approve', id, '--data', dataDir);
    assert.equal(approved.code, 0, approved.stderr);
    assert.equal((await update).rowCount, 3);
    assert.equal((await cli('approvals', 'approve', id, '--data', dataDir)).code, 8);
  });

  test('gives the agent the reason when it is denied', async () => {
    const update = withPgClient(up.url, (client) => client.query('UPDATE orders SET status = \'cancelled\' WHERE id > 42'));
    const refused = assert.rejects(update, /use the API instead/);
    const id = await pendingId();
    assert.equal((await cli('approvals', 'deny', id, '--reason', 'use the API instead', '--data', dataDir)).code, 0);
    await refused;
  });

  test('lets what nothing brings back run by an override alone, once, and marks it for ever', async () => {
    const send = (): Promise<unknown> => withPgClient(up.url, (client) => client.query("DO $$ BEGIN INSERT INTO categories VALUES (51, 'Art'); END $$"));
    await assert.rejects(send(), { code: '42501', message: /that no recovery point can bring back, because it runs code/, hint: /backstop approvals override apr_/ });
    const id = await pendingId();
    const shown = await cli('approvals', 'show', id, '--data', dataDir);
    assert.match(shown.stdout, new RegExp(`only an override lets it run[^]*Backstop cannot undo it[^]*approvals override ${id} --reason`));
    const approved = await cli('approvals', 'approve', id, '--data', dataDir);
    assert.equal(approved.code, 8);
    assert.match(approved.stderr, new RegExp(`backstop approvals override ${id} --reason`));
    assert.equal((await cli('approvals', 'override', id, '--data', dataDir)).code, 2, 'a reason is needed');
    assert.equal((await cli('approvals', 'override', id, '--reason', 'the block was read', '--data', dataDir)).code, 0);
    await send();
    await assert.rejects(send(), { code: '42501' }, 'once');
    const lines = (await cli('log', '--json', '--data', dataDir)).stdout.trim().split('\n').map((line) => z.object({ isOverride: z.boolean(), outcome: z.string(), recoveryPointId: z.string().nullable() }).parse(JSON.parse(line)));
    assert.deepEqual(lines.filter(({ isOverride }) => isOverride).map(({ outcome, recoveryPointId }) => [outcome, recoveryPointId]), [['committed', null]]);
    assert.match((await cli('log', '--data', dataDir)).stdout, /OVERRIDE/);
    assert.match((await cli('approvals', 'list', '--state', 'used', '--data', dataDir)).stdout, new RegExp(`${id} .*none: override`));
  });

  test('answers nothing to an agent\'s token, nor for what does not exist (H91)', async () => {
    const { password } = new URL(up.url);
    const refused = await cli('approvals', 'approve', 'apr_none', '--token', password, '--data', dataDir);
    assert.equal(refused.code, 6);
    assert.match(refused.stderr, /an agent's token answers no approval/);
    assert.equal((await cli('approvals', 'show', 'apr_none', '--data', dataDir)).code, 7);
  });

  test('adds, rotates and revokes agents; their tokens work exactly as long', async () => {
    const url = (text: string): string => z.object({ url: z.string() }).parse(JSON.parse(text)).url;
    const first = url((await cli('agents', 'add', 'ro', '--database', 'shop', '--json', '--data', dataDir)).stdout);
    const works = (connection: string): Promise<unknown> => withPgClient(connection, (client) => client.query('SELECT 1'));
    await works(first);
    const second = url((await cli('agents', 'rotate', 'ro', '--json', '--data', dataDir)).stdout);
    await assert.rejects(works(first), { code: '28P01' });
    await works(second);
    assert.equal((await cli('agents', 'revoke', 'ro', '--data', dataDir)).code, 0);
    await assert.rejects(works(second), { code: '28P01' });
  });

  test('shows the record as one object a line, without a literal', async () => {
    await assert.rejects(withPgClient(up.url, (client) => client.query('COPY payments TO PROGRAM \'true\'')), { code: '42501' });
    const { stdout } = await cli('log', '--json', '--data', dataDir);
    const lines = stdout.trim().split('\n').map((line): unknown => JSON.parse(line));
    const shown = z.array(z.object({ actionId: z.string(), agent: z.string(), level: z.string(), verdict: z.string(), outcome: z.string(), rows: z.number().nullable(), statement: z.string() })).parse(lines);
    assert.ok(shown.some(({ level, verdict, outcome }) => level === 'CRITICAL' && verdict === 'deny' && outcome === 'none'));
    assert.ok(shown.some(({ statement, outcome, rows }) => statement.startsWith('INSERT INTO categories') && outcome === 'committed' && rows === 1));
    assert.doesNotMatch(stdout, /Music/);
    assert.match((await cli('log', '--limit', '5', '--data', dataDir)).stdout, /^TIME +ACTION +AGENT/);
  });

  test('keeps tokens only in files of their owner', () => {
    for (const file of ['operator.token', 'agent.agent-token', 'backstop.db', 'postgres.json']) assert.equal(statSync(join(dataDir, file)).mode & 0o077, 0, file);
  });

  test('refuses to serve twice from one data folder', async () => {
    const { code, stderr } = await cli('up', '--gateway-port', '0', '--http-port', '0', '--data', dataDir);
    assert.equal(code, 8);
    assert.match(stderr, /another Backstop already serves from/);
  });

  test('stops on Ctrl-C with exit code 0, and a second start finds everything again', async () => {
    const { url } = up;
    assert.equal(await up.end('SIGINT'), 0);
    up = await startUp(dataDir);
    assert.equal(new URL(up.url).password, new URL(url).password);
    assert.deepEqual((await withPgClient(up.url, (client) => client.query('SELECT name FROM categories WHERE id = 50'))).rows, [{ name: 'Music' }]);
  });

  test('starts again after it was killed', async () => {
    assert.equal(await up.end('SIGKILL'), -1);
    up = await startUp(dataDir);
    assert.deepEqual((await withPgClient(up.url, (client) => client.query('SELECT 1 AS one'))).rows, [{ one: 1 }]);
  });

  test('verifies the record, and names the first entry when one byte of it is changed', async () => {
    const holds = await cli('ledger', 'verify', '--data', dataDir);
    assert.equal(holds.code, 0, holds.stderr);
    assert.equal(await up.end('SIGTERM'), 0);
    const file = join(dataDir, 'backstop.db');
    const copy = join(folder, 'changed');
    mkdirSync(copy);
    const bytes = readFileSync(file);
    const at = bytes.indexOf('COPY payments TO PROGRAM');
    assert.ok(at > 0, 'the record holds the statement');
    copyFileSync(file, join(copy, 'backstop.db'));
    writeFileSync(join(copy, 'backstop.db'), Buffer.concat([bytes.subarray(0, at), Buffer.from('S'), bytes.subarray(at + 1)]));
    const broken = await cli('ledger', 'verify', '--json', '--data', copy);
    assert.equal(broken.code, 5, broken.stderr);
    assert.match(broken.stderr, /the record is broken at entry \d+/);
    assert.equal(z.object({ ok: z.boolean() }).parse(JSON.parse(broken.stdout)).ok, false);
    up = await startUp(dataDir);
  });
});

describe('what is in the way of `up` is one clear sentence', () => {
  const folder = mkdtempSync(join(tmpdir(), 'backstop-test-way-'));
  after(() => { rmSync(folder, { recursive: true, force: true }); });
  const oneSentence = (stderr: string, pattern: RegExp): void => {
    assert.match(stderr, pattern);
    assert.doesNotMatch(stderr, /\n\s+at /);
  };

  test('a port in use: the port and the flag', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const address = taken.address();
    const port = String(address !== null && typeof address === 'object' ? address.port : 0);
    for (const flag of ['--gateway-port', '--http-port']) {
      const { code, stderr } = await cli('up', flag === '--gateway-port' ? '--http-port' : '--gateway-port', '0', flag, port, '--data', join(folder, 'a'));
      assert.equal(code, 3);
      oneSentence(stderr, new RegExp(`port ${port} on 127\\.0\\.0\\.1 is in use\\.\\n.*${flag}`));
    }
    taken.close();
  });

  test('a broken configuration: the place of the mistake', async () => {
    const file = join(folder, 'backstop.yaml');
    writeFileSync(file, 'gateway:\n  prot: 5\n');
    const { code, stderr } = await cli('up', '--config', file);
    assert.equal(code, 2);
    oneSentence(stderr, /backstop\.yaml:2:\d+: .*prot/);
  });

  test('a server that does not answer', async () => {
    const { code, stderr } = await cli('up', '--gateway-port', '0', '--http-port', '0', '--data', join(folder, 'b'), '--upstream', 'postgres://u:very-secret@127.0.0.1:1/x');
    assert.equal(code, 4);
    oneSentence(stderr, /cannot be reached \(ECONNREFUSED\)/);
    assert.doesNotMatch(stderr, /very-secret/);
  });

  test('data that another version wrote', async () => {
    const dataDir = join(folder, 'c');
    mkdirSync(join(dataDir, 'postgres', 'data'), { recursive: true });
    writeFileSync(join(dataDir, 'postgres', 'data', 'PG_VERSION'), '16\n');
    writeFileSync(join(dataDir, 'postgres.json'), JSON.stringify({ superuserPassword: 'x'.repeat(24), gatewayPassword: 'y'.repeat(24), port: 0 }));
    for (const path of [folder, dataDir]) chmodSync(path, 0o711);
    const { code, stderr } = await cli('up', '--gateway-port', '0', '--http-port', '0', '--data', dataDir);
    assert.equal(code, 3, stderr);
    oneSentence(stderr, /was written by PostgreSQL 16, and this is PostgreSQL 18/);
  });

  test('a command, flag or data folder that is not there', async () => {
    assert.equal((await cli('clasify')).code, 2);
    assert.equal((await cli('up', '--gateway-prt', '1')).code, 2);
    const { code, stderr } = await cli('log', '--data', join(folder, 'nothing'));
    assert.equal(code, 7);
    oneSentence(stderr, /there is no Backstop data in/);
  });
});
