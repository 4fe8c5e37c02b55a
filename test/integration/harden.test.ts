/**
 * `backstop harden` on a real server: printed it changes nothing; applied, the role of the agents can do what it is
 * granted and cannot do what is closed, other logins go on as before, and with the printed lines in pg_hba.conf the role
 * gets in from the gateway's host only. What stays open is said.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { z } from 'zod';
import { openMemory } from '../../src/app/memory.ts';
import { loadParser } from '../../src/lib/pgsql/parser.ts';
import { asPgError } from '../fixtures/pg-error.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { connectWire } from '../fixtures/wire-client.ts';

const program = fileURLToPath(new URL('../../bin/backstop', import.meta.url));
const dataDir = mkdtempSync(join(tmpdir(), 'backstop-test-harden-'));
const printed = z.object({
  statements: z.array(z.object({ sql: z.string(), why: z.string() })), hba: z.array(z.string()), gaps: z.array(z.object({ what: z.string(), remedy: z.string() })), isApplied: z.boolean(),
});
const entry = z.object({ what: z.string(), by: z.string(), note: z.string().nullable() });
const objects = `CREATE ROLE app LOGIN PASSWORD 'app'; CREATE ROLE guest LOGIN PASSWORD 'guest'; CREATE ROLE filer LOGIN; CREATE ROLE "sly
    ; DROP TABLE orders; --" LOGIN; GRANT pg_write_server_files TO filer;
  CREATE ROLE agents LOGIN CREATEDB PASSWORD 'agents'; GRANT pg_write_all_data TO agents; GRANT CREATE ON SCHEMA public TO PUBLIC;
  SET ROLE app; CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text); CREATE TABLE open (id int); GRANT ALL ON open TO PUBLIC; GRANT DELETE ON orders TO agents;
  CREATE FUNCTION wipe() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM public.orders';`;

let server: PostgresServer;
let operatorToken = '';
before(async () => {
  server = await startPostgresServer();
  await server.run('CREATE DATABASE shop');
  await server.run('GRANT CREATE ON SCHEMA public TO PUBLIC', 'shop');
  await server.run(objects, 'shop');
  const memory = await openMemory({ kind: 'sqlite', folder: dataDir });
  operatorToken = (await memory.identities.addOperator('boss')).token;
  await memory.close();
});
after(async () => { await server?.stop(); rmSync(dataDir, { recursive: true, force: true }); });

interface Ran { readonly code: number; readonly stdout: string; readonly stderr: string }
function harden(...args: readonly string[]): Promise<Ran> {
  const env = { ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('BACKSTOP_'))), BACKSTOP_OPERATOR_TOKEN: operatorToken };
  return new Promise((resolve) => {
    execFile(program, ['harden', '--db', server.url('shop'), '--role', 'agents', '--may', 'write', '--data', dataDir, ...args], { env, cwd: tmpdir() }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, stdout, stderr });
    });
  });
}
const asRole = async (role: string, sql: string): Promise<string> => {
  const client = new pg.Client({ host: server.host, port: server.port, user: role, password: role, database: 'shop' });
  await client.connect();
  try { return await client.query(sql).then(() => 'done', (error: unknown) => asPgError(error).code ?? ''); } finally { await client.end(); }
};
const rights = (): Promise<unknown> => server.run("SELECT (SELECT json_agg(r ORDER BY oid) FROM pg_roles r) AS roles, (SELECT json_agg(m) FROM pg_auth_members m) AS members, (SELECT datacl FROM pg_database WHERE datname = 'shop') AS acl, (SELECT json_agg(relacl ORDER BY oid) FROM pg_class) AS relations", 'shop');

test('printed, it changes nothing, and is a script for psql', async () => {
  const before = await rights();
  const { code, stdout } = await harden();
  assert.equal(code, 0);
  assert.match(stdout, /^-- Nothing was changed/);
  assert.match(stdout, /\nBEGIN;\n[\s\S]*\nCOMMIT;\n/);
  assert.match(stdout, /WHAT THIS COULD NOT CLOSE/);
  const parsed = (await loadParser(18)).parse(stdout);
  const nodes = parsed.kind === 'parsed' ? parsed.statements.map(({ node }) => node) : [];
  assert.deepEqual([...new Set(nodes)].filter((node) => !/^(TransactionStmt|Grant|Alter)/.test(node)), [], 'no name breaks out of its comment');
  assert.ok(nodes.length > 5);
  assert.deepEqual(await rights(), before);
});

test('what it could not close is named', async () => {
  const { gaps } = printed.parse(JSON.parse((await harden('--json')).stdout));
  const all = gaps.map(({ what }) => what).join('\n');
  for (const expected of [/postgres.*superusers/, /app[^]*may write here/, /guest/, /filer is a member of pg_write_server_files/, /postgres.*other databases/]) assert.match(all, expected);
});

test('a wrong token, a wrong name and a server that says no are one clear sentence each', async () => {
  const wrong = await harden('--apply', '--token', 'bso_wrong');
  assert.equal(wrong.code, 6);
  assert.equal((await harden('--may', 'everything')).code, 2);
  assert.equal((await harden('--schema', 'nowhere')).code, 7);
  const before = await rights();
  const refused = await harden('--apply', '--db', server.url('shop').replace(/\/\/.*@/, '//guest:guest@'));
  assert.equal(refused.code, 8, refused.stderr);
  assert.match(refused.stderr, /rolled back/);
  assert.deepEqual(await rights(), before);
});

describe('applied', () => {
  before(async () => {
    const { code, stderr } = await harden('--apply', '--json');
    assert.equal(code, 0, stderr);
  });

  test('it finds nothing more to revoke the second time', async () => {
    const { statements } = printed.parse(JSON.parse((await harden('--json')).stdout));
    assert.deepEqual(statements.filter(({ sql }) => /^(REVOKE|ALTER ROLE|CREATE)/.test(sql)), []);
  });

  const mayNot = [
    'TRUNCATE orders', 'DROP TABLE orders', 'CREATE TABLE mine (id int)', 'CREATE TEMP TABLE mine (id int)', 'CREATE DATABASE mine', 'CREATE ROLE mine', 'SELECT wipe()', 'TRUNCATE open',
    "COPY orders TO '/tmp/x'", 'ALTER TABLE orders ADD x int', 'SET ROLE app', "SELECT pg_read_file('postgresql.conf')", 'CREATE SCHEMA mine', 'SET ROLE pg_write_all_data',
  ];
  for (const sql of mayNot) test(`the role of the agents cannot ${sql}`, async () => { assert.match(await asRole('agents', sql), /^(42501|42502)$/); });
  for (const sql of ['SELECT * FROM orders', "INSERT INTO orders (note) VALUES ('x')", "UPDATE orders SET note = 'y' WHERE id = 1", 'DELETE FROM orders WHERE id = 1', 'SELECT * FROM open']) {
    test(`it can ${sql}`, async () => { assert.equal(await asRole('agents', sql), 'done'); });
  }

  test('it can use tables that are made later, and other logins go on as before', async () => {
    assert.equal(await asRole('app', 'CREATE TABLE later (id int)'), '42501', 'unless everybody could create in public');
    await server.run('SET ROLE app; CREATE TEMP TABLE t (id int)', 'shop');
    await server.run('GRANT CREATE ON SCHEMA public TO app', 'shop');
    assert.equal(await asRole('app', 'CREATE TABLE later (id int)'), 'done');
    assert.equal(await asRole('agents', 'SELECT * FROM later'), 'done');
    assert.equal(await asRole('guest', 'CREATE TEMP TABLE t (id int)'), 'done');
  });

  test('every statement is on record before it ran, and what became of all', async () => {
    const memory = await openMemory({ kind: 'sqlite', folder: dataDir });
    try {
      const entries = (await memory.ledger.entriesAfter(0, 1_000)).filter(({ kind }) => kind === 'admin').map(({ body }) => entry.parse(JSON.parse(body)))
        .filter(({ what }) => what.startsWith('harden')).map(({ what, by, note }) => `${what} ${by} ${note ?? ''}`);
      assert.ok(entries.some((line) => /^harden boss CRITICAL .*: GRANT|^harden boss HIGH .*: REVOKE/.test(line)), entries.join('\n'));
      assert.match(entries.at(-1) ?? '', /^hardened boss \d+ statements$/);
      assert.ok(entries.some((line) => line.startsWith('harden-failed boss')));
      assert.equal((await memory.ledger.verify()).broken, undefined);
    } finally {
      await memory.close();
    }
  });

  test('with the printed lines in pg_hba.conf the role gets in from the gateway\'s host only', async () => {
    const { hba } = printed.parse(JSON.parse((await harden('--json', '--gateway', '127.0.0.1/32')).stdout));
    const file = String((await server.run('SHOW hba_file'))[0]?.['hba_file']);
    writeFileSync(file, `${hba.join('\n')}\n${readFileSync(file, 'utf8')}`);
    await server.run('SELECT pg_reload_conf()');
    assert.deepEqual(await server.run("SELECT error FROM pg_hba_file_rules WHERE error IS NOT NULL"), []);
    const from = (localAddress: string): Promise<unknown> => connectWire({ host: server.host, port: server.port, user: 'agents', password: 'agents', parameters: { database: 'shop' }, localAddress }).then((client) => { client.end(); });
    await from('127.0.0.1');
    await assert.rejects(from('127.0.0.2'), /E:28000/);
  });
});
