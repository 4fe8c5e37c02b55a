/**
 * The embedded PostgreSQL as the newcomer gets it: started, filled, stopped, found again, and found after a crash. It
 * runs under the account of the test, so as root it shows that the server itself does not run as root.
 */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import pg from 'pg';
import { Failure } from '../../src/core/failure.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../src/remote/embedded-postgres.ts';
import { runOnce } from '../fixtures/postgres-server.ts';

const isRoot = process.getuid?.() === 0;
const quiet = { onProgress: (): void => undefined };

const ask = (server: EmbeddedPostgres, sql: string): ReturnType<typeof runOnce> => runOnce(server.upstream.reveal(), sql);

function codeOf(code: string): (error: unknown) => boolean {
  return (error) => error instanceof Failure && error.code === code;
}

describe('the embedded PostgreSQL', () => {
  const folder = mkdtempSync(join(tmpdir(), 'backstop-test-embedded-'));
  chmodSync(folder, 0o711);
  const dataDir = join(folder, 'data');
  let server: EmbeddedPostgres;
  before(async () => {
    mkdirSync(dataDir, { mode: 0o700 });
    server = await startEmbeddedPostgres({ dataDir, ...quiet });
  });
  after(async () => {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  test('is a PostgreSQL 18 with the demo database, at least 200,000 rows in one table', async () => {
    const [row] = await ask(server, 'SELECT current_setting(\'server_version\') AS version, (SELECT count(*) FROM events)::int AS events, (SELECT count(*) FROM payments)::int AS payments');
    assert.match(String(row?.['version']), /^18\./);
    assert.equal(row?.['events'], 240_000);
    assert.equal(row?.['payments'], 32_000);
  });

  test('gives the gateway a role that is no superuser and owns the demo database', async () => {
    const [row] = await ask(server, `SELECT rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolreplication,
      pg_get_userbyid((SELECT datdba FROM pg_database WHERE datname = current_database())) = current_user AS owns FROM pg_roles WHERE rolname = current_user`);
    assert.deepEqual(row, { rolsuper: false, rolcreatedb: false, rolcreaterole: false, rolbypassrls: false, rolreplication: false, owns: true });
  });

  test('lets nobody in without the right password, and listens on the loopback address only', async () => {
    for (const url of [`postgres://backstop@127.0.0.1:${server.port}/shop`, `postgres://postgres:guess@127.0.0.1:${server.port}/postgres`]) {
      const client = new pg.Client({ connectionString: url, password: url.includes('guess') ? 'guess' : '' });
      await assert.rejects(client.connect());
    }
    const [row] = await ask(server, 'SELECT current_setting(\'listen_addresses\') AS listens');
    assert.equal(row?.['listens'], '127.0.0.1');
  });

  test('keeps its passwords where only the owner of the data folder can read them', () => {
    assert.equal(statSync(join(dataDir, 'postgres.json')).mode & 0o777, 0o600);
    assert.equal(statSync(join(dataDir, 'postgres.log')).mode & 0o777, 0o600);
    assert.equal(statSync(dataDir).mode & 0o066, 0);
  });

  test('does not run as root', { skip: !isRoot }, () => {
    const owner = statSync(join(dataDir, 'postgres', 'data')).uid;
    assert.notEqual(owner, 0);
    const pid = readFileSync(join(dataDir, 'postgres', 'data', 'postmaster.pid'), 'utf8').split('\n')[0];
    assert.match(readFileSync(`/proc/${String(pid)}/status`, 'utf8'), new RegExp(`^Uid:\\s+${owner}\\s`, 'm'));
  });

  test('is found again with what was changed, under the port it had, and is not filled twice', async () => {
    await ask(server, 'DELETE FROM events WHERE id <= 1000');
    const { port } = server;
    await server.stop();
    const told: string[] = [];
    server = await startEmbeddedPostgres({ dataDir, onProgress: (what) => told.push(what) });
    assert.equal(server.port, port);
    assert.deepEqual(told, ['starting PostgreSQL 18']);
    assert.deepEqual(await ask(server, 'SELECT count(*)::int AS n FROM events'), [{ n: 239_000 }]);
  });

  test('takes another port when something else has taken its own', async () => {
    const { port } = server;
    await server.stop();
    const squatter = createServer().listen(port, '127.0.0.1');
    await new Promise((resolve) => squatter.once('listening', resolve));
    server = await startEmbeddedPostgres({ dataDir, ...quiet });
    squatter.close();
    assert.notEqual(server.port, port);
    assert.deepEqual(await ask(server, 'SELECT 1 AS one'), [{ one: 1 }]);
  });

  test('is ended and started again when an earlier run left it behind', async () => {
    const left = server;
    server = await startEmbeddedPostgres({ dataDir, ...quiet });
    await left.ended;
    assert.deepEqual(await ask(server, 'SELECT 1 AS one'), [{ one: 1 }]);
  });

  test('starts although postmaster.pid names a process that is something else now', async () => {
    await server.stop();
    const file = join(dataDir, 'postgres', 'data', 'postmaster.pid');
    writeFileSync(file, `${process.pid}\n${join(dataDir, 'postgres', 'data')}\n0\n5432\n\n127.0.0.1\n\nready\n`, { mode: 0o600 });
    server = await startEmbeddedPostgres({ dataDir, ...quiet });
    assert.deepEqual(await ask(server, 'SELECT 1 AS one'), [{ one: 1 }]);
  });

  test('refuses data of another major version in one sentence', async () => {
    await server.stop();
    const file = join(dataDir, 'postgres', 'data', 'PG_VERSION');
    const written = readFileSync(file);
    writeFileSync(file, '17\n');
    await assert.rejects(startEmbeddedPostgres({ dataDir, ...quiet }), codeOf('data_version'));
    writeFileSync(file, written);
    server = await startEmbeddedPostgres({ dataDir, ...quiet });
  });

  test('refuses to make new passwords for a cluster that has others', async () => {
    await server.stop();
    const file = join(dataDir, 'postgres.json');
    const written = readFileSync(file);
    rmSync(file);
    await assert.rejects(startEmbeddedPostgres({ dataDir, ...quiet }), codeOf('store_unavailable'));
    writeFileSync(file, written, { mode: 0o600 });
    server = await startEmbeddedPostgres({ dataDir, ...quiet });
  });
});

test('as root, below a folder that only root may enter, the data lies outside and is found again', { skip: !isRoot }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'backstop-test-closed-'));
  const dataDir = join(folder, 'data');
  mkdirSync(dataDir, { mode: 0o700 });
  try {
    for (const told of [['starting PostgreSQL 18', 'filling the demo database'], ['starting PostgreSQL 18']]) {
      const heard: string[] = [];
      const server = await startEmbeddedPostgres({ dataDir, onProgress: (what) => heard.push(what) });
      await server.stop();
      assert.deepEqual(heard, told);
    }
    assert.ok(lstatSync(join(dataDir, 'postgres')).isSymbolicLink());
    assert.ok(existsSync(join(dataDir, 'postgres', 'data', 'PG_VERSION')));
  } finally {
    rmSync(realpathSync(join(dataDir, 'postgres')), { recursive: true, force: true });
    rmSync(folder, { recursive: true, force: true });
  }
});
