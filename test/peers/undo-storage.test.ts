/**
 * Recovery points in real S3 servers that fail in every way storage fails, and in a folder on a disk that is full: what
 * destroys does not commit, its client hears why, nothing is left on the server, and the session goes on. What only looks
 * like a failure, an answer that was lost once or a slow one, loses nothing either.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { openMemory } from '../../src/app/memory.ts';
import { fillShop } from '../fixtures/backstop.ts';
import { sendCancelRequest } from '../fixtures/cancel-request.ts';
import { startBackstopProcess, type BackstopProcess } from '../fixtures/backstop-process.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { until } from '../fixtures/until.ts';
import { missing } from './peer.ts';
import { startFaultyProxy, type FaultyProxy, type StorageFault } from './s3/faulty-proxy.ts';
import { credentials, recipes, startS3, type S3Server } from './s3/servers.ts';

const folder = mkdtempSync(join(tmpdir(), 'undo-storage-'));
const policy = join(folder, 'keeps.yaml');
writeFileSync(policy, 'name: keeps\ndescription: Everything is allowed that can be undone.\nlevels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: allow }\nunknown: deny\nrecovery: { required_from: LOW }\n');
process.env['AWS_ACCESS_KEY_ID'] = credentials.accessKeyId;
process.env['AWS_SECRET_ACCESS_KEY'] = credentials.secretAccessKey;
const disk = join(folder, 'disk');
const isMounted = mountSmallDisk();
const storageSqlState = '58030';
const wellMsMax = 60_000;

let server: PostgresServer;
let upstream: string;
before(async () => {
  server = await startPostgresServer();
  upstream = await fillShop(server);
  await server.run("SET ROLE shopkeeper; CREATE TABLE few (id int PRIMARY KEY, v text); CREATE TABLE many (id int PRIMARY KEY, v text, up int REFERENCES few ON DELETE CASCADE); INSERT INTO few SELECT i, 'v' FROM generate_series(1, 40) i; INSERT INTO many SELECT i, md5(i::text), 1 + i % 40 FROM generate_series(1, 8000) i", 'shop');
});
after(async () => {
  await server?.stop();
  if (isMounted) execFileSync('umount', ['-l', disk]);
  rmSync(folder, { recursive: true, force: true });
});

function mountSmallDisk(): boolean {
  try {
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=96k', 'tmpfs', disk], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Few rows stand in the manifest, many in objects of their own; a TRUNCATE keeps whole tables. */
const statements = ["UPDATE few SET v = v || 'x' WHERE id = 1", 'DELETE FROM few WHERE id <= 10', 'TRUNCATE many'];

interface Guarded { readonly backstop: BackstopProcess; readonly client: pg.Client; readonly storage: string }

async function start(storage: string): Promise<Guarded> {
  const backstop = await startBackstopProcess({ upstream, flags: ['--environment', 'dev', '--policy', policy, '--recovery-storage', storage] });
  const memory = await openMemory({ kind: 'sqlite', folder: backstop.dataDir });
  const { token } = await memory.identities.addAgent('ada', null, 'test');
  await memory.close();
  const client = new pg.Client({ connectionString: `postgres://ada:${token}@127.0.0.1:${backstop.port}/shop` });
  await client.connect();
  return { backstop, client, storage };
}

async function state(): Promise<string> {
  const [row] = await server.run("SELECT md5((SELECT string_agg(t::text, ',' ORDER BY id) FROM few t)) || md5(coalesce((SELECT string_agg(t::text, ',' ORDER BY id) FROM many t), '')) AS all", 'shop');
  return String(row?.['all']);
}

/** Locks that are held, triggers, temporary tables and functions of ours, transactions that are open. */
async function assertNothingLeft(): Promise<void> {
  const left = await server.run(`SELECT 'lock ' || mode AS what FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE c.relname IN ('few', 'many')
    UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgname LIKE 'backstop%' UNION ALL SELECT 'relation ' || relname FROM pg_class WHERE relname LIKE 'backstop%' AND relkind <> 'i'
    UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE proname LIKE 'backstop%' UNION ALL SELECT 'transaction ' || state FROM pg_stat_activity WHERE usename = 'shopkeeper' AND state LIKE 'idle in%'`, 'shop');
  assert.deepEqual(left.map(({ what }) => what), []);
}

async function refuses({ client, storage }: Guarded, sql: string): Promise<void> {
  const was = await state();
  await assert.rejects(client.query(sql), (error: unknown) => {
    assert.ok(error instanceof pg.DatabaseError, String(error));
    assert.equal(error.code, storageSqlState, error.message);
    assert.ok(error.message.includes(storage.slice(0, 9)) || /recovery point/.test(error.message), error.message);
    return true;
  });
  assert.equal(await state(), was);
  assert.equal((await client.query('SELECT 1 AS one')).rowCount, 1);
  await assertNothingLeft();
}

/** In a block of the client's, which then can only be rolled back. */
async function refusesInBlock(guarded: Guarded, sql: string): Promise<void> {
  const { client } = guarded;
  await client.query('BEGIN');
  await assert.rejects(client.query(sql), (error: unknown) => error instanceof pg.DatabaseError && error.code === storageSqlState);
  await client.query('ROLLBACK');
  await assertNothingLeft();
}

/** As soon as Backstop has seen that it is well again. */
async function worksAgain({ client }: Guarded): Promise<void> {
  await until('it keeps recovery points again', () => client.query("UPDATE few SET v = 'again' WHERE id = 40").then(() => true, () => false), wellMsMax);
  assert.equal((await client.query('DELETE FROM few WHERE id = 40')).rowCount, 1);
  await server.run("SET ROLE shopkeeper; INSERT INTO few VALUES (40, 'v')", 'shop');
}

const faults: readonly StorageFault[] = [{ kind: 'answer lost', times: Infinity }, { kind: 'cut upload' }, { kind: 'cut download' }, { kind: 'changed byte' }, { kind: 'denied' }, { kind: 'full' }];

for (const recipe of recipes) {
  describe(`recovery points in ${recipe.name}`, { skip: missing('go') }, () => {
    let s3: S3Server;
    let proxy: FaultyProxy;
    let guarded: Guarded;
    before(async () => {
      s3 = await startS3(recipe);
      proxy = await startFaultyProxy(s3.endpoint);
      guarded = await start(`s3://undo/shop@${proxy.endpoint}`);
    });
    after(async () => {
      await guarded?.client.end();
      await guarded?.backstop.stop();
      await proxy?.stop();
      await s3?.stop();
    });

    for (const fault of faults) {
      it(`${fault.kind}: what destroys does not commit, and the session goes on`, async () => {
        await worksAgain(guarded);
        for (const sql of statements) {
          proxy.fault = { ...fault };
          await refuses(guarded, sql);
          await refusesInBlock(guarded, sql);
        }
        assert.ok(proxy.met > 0);
        proxy.fault = undefined;
        await worksAgain(guarded);
      });
    }

    it('an answer that was lost once, and a slow one, lose nothing', async () => {
      await worksAgain(guarded);
      for (const fault of [{ kind: 'answer lost', times: 1 }, { kind: 'slow', ms: 300 }] as const) {
        proxy.fault = { ...fault };
        assert.equal((await guarded.client.query("UPDATE few SET v = v || 'y' WHERE id <= 3")).rowCount, 3);
        assert.ok(((await guarded.client.query("UPDATE many SET v = v || 'y'")).rowCount ?? 0) > 5_000);
      }
      proxy.fault = undefined;
      await assertNothingLeft();
    });

    it('storage that never answers is no reason to wait for ever: the client cancels, and nothing has changed', async () => {
      await worksAgain(guarded);
      proxy.fault = { kind: 'silent' };
      proxy.met = 0;
      const was = await state();
      const asked = guarded.client.query('DELETE FROM few WHERE id <= 10');
      const refused = assert.rejects(asked, (error: unknown) => error instanceof pg.DatabaseError && error.code === '57014');
      await until('the storage was asked', () => Promise.resolve(proxy.met > 0));
      await sendCancelRequest(guarded.client, { host: '127.0.0.1', port: guarded.backstop.port });
      await refused;
      assert.equal(await state(), was);
      proxy.fault = undefined;
      assert.equal((await guarded.client.query('SELECT 1 AS one')).rowCount, 1);
      await until('nothing is left', () => assertNothingLeft().then(() => true, () => false));
      await worksAgain(guarded);
    });
  });
}

describe('recovery points in a folder', () => {
  it('on a disk that is full: what destroys does not commit, and what is small enough goes on', { skip: isMounted ? false : 'no small disk can be mounted here' }, async () => {
    const guarded = await start(disk);
    try {
      await worksAgain(guarded);
      await refuses(guarded, 'TRUNCATE many');
      await worksAgain(guarded);
    } finally {
      await guarded.client.end();
      await guarded.backstop.stop();
    }
  });
});
