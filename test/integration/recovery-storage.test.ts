/**
 * Storage of recovery points that cannot be used when Backstop starts: it starts all the same, serves reads, refuses what
 * destroys, says what is wrong on its HTTP API, and is well again once the storage is; in one process, and with workers.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { openMemory } from '../../src/app/memory.ts';
import { fillShop } from '../fixtures/backstop.ts';
import { startBackstopProcess } from '../fixtures/backstop-process.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { until } from '../fixtures/until.ts';

let server: PostgresServer;
let upstream: string;
const folder = mkdtempSync(join(tmpdir(), 'recovery-storage-'));
before(async () => {
  server = await startPostgresServer();
  upstream = await fillShop(server);
});
after(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true });
});

for (const workers of [1, 2]) {
  test(`reads go on without storage, in ${workers} process${workers === 1 ? '' : 'es'}, and it is used once it is there`, async () => {
    const storage = join(folder, `storage-${workers}`);
    writeFileSync(storage, 'a file where the folder should be');
    const backstop = await startBackstopProcess({ upstream, flags: ['--workers', String(workers), '--environment', 'dev', '--recovery-storage', storage] });
    try {
      const http = /http:\/\/[\d.]+:\d+/.exec(backstop.printed())?.[0] ?? '';
      const ready = async (): Promise<{ readonly status: string; readonly checks: Readonly<Record<string, string>> }> => await (await fetch(`${http}/readyz`)).json() as Awaited<ReturnType<typeof ready>>;
      const { checks: { recovery = '' } } = await until('it is degraded', async () => { const now = await ready(); return now.status === 'degraded' && now; });
      assert.ok(recovery.includes(storage), recovery);
      assert.match(await (await fetch(`${http}/metrics`)).text(), /^backstop_recovery_storage_usable 0$/m);

      const memory = await openMemory({ kind: 'sqlite', folder: backstop.dataDir });
      const { token } = await memory.identities.addAgent('ada', null, 'test');
      await memory.close();
      const client = new pg.Client({ connectionString: `postgres://ada:${token}@127.0.0.1:${backstop.port}/shop` });
      await client.connect();
      const count = async (): Promise<number> => (await client.query<{ count: number }>('SELECT count(*)::int AS count FROM notes')).rows[0]?.count ?? -1;
      const was = await count();
      await assert.rejects(client.query(`DELETE FROM notes WHERE id = ${workers}`), (error: unknown) => error instanceof pg.DatabaseError && error.code === '58030' && error.message.includes(storage));
      assert.equal(await count(), was);

      rmSync(storage);
      await until('it is well', async () => (await ready()).status === 'ok');
      assert.equal((await client.query(`DELETE FROM notes WHERE id = ${workers}`)).rowCount, 1);
      await client.end();
      assert.equal(statSync(storage).mode & 0o777, 0o700);
      assert.match(await (await fetch(`${http}/metrics`)).text(), /^backstop_recovery_storage_usable 1$/m);
    } finally {
      await backstop.stop();
    }
  });
}

test('storage that is misspelt is refused at the start, with its place', async () => {
  await assert.rejects(startBackstopProcess({ upstream, flags: ['--recovery-storage', 's3://U'] }), /s3:\/\/U is no place in S3/);
});
