/**
 * Backstop as its users run it, with workers and recovery points in storage that speaks S3, on two real servers: credentials
 * come from the environment, an agent destroys, an operator undoes; and once the storage is gone nothing more is destroyed.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { openMemory } from '../../src/app/memory.ts';
import { openS3Bucket, parseS3Place } from '../../src/remote/bucket/s3.ts';
import { fillShop } from '../fixtures/backstop.ts';
import { startBackstopProcess, type BackstopProcess } from '../fixtures/backstop-process.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { until } from '../fixtures/until.ts';
import { missing } from './peer.ts';
import { credentials, recipes, startS3, type S3Server } from './s3/servers.ts';

for (const recipe of recipes) {
  describe(`recovery points in ${recipe.name}`, { skip: missing('go') }, () => {
    let storage: S3Server;
    let server: PostgresServer;
    let upstream: string;
    let backstop: BackstopProcess;
    let place: string;
    let client: pg.Client;
    before(async () => {
      storage = await startS3(recipe);
      server = await startPostgresServer();
      upstream = await fillShop(server);
      place = `s3://undo/process@${storage.endpoint}`;
      Object.assign(process.env, { AWS_ACCESS_KEY_ID: credentials.accessKeyId, AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey });
      backstop = await startBackstopProcess({ upstream, flags: ['--workers', '2', '--environment', 'dev', '--recovery-storage', place] });
      const memory = await openMemory({ kind: 'sqlite', folder: backstop.dataDir });
      const { token } = await memory.identities.addAgent('ada', null, 'test');
      await memory.close();
      client = new pg.Client({ connectionString: `postgres://ada:${token}@127.0.0.1:${backstop.port}/shop` });
      await client.connect();
    });
    after(async () => {
      await client?.end();
      await backstop?.stop();
      await server?.stop();
      await storage?.stop();
    });
    const notes = async (): Promise<unknown> => server.run('SELECT * FROM notes ORDER BY id', 'shop');

    it('hold what an agent deletes, and give it back', async () => {
      const was = await notes();
      assert.equal((await client.query('DELETE FROM notes WHERE id = 1')).rowCount, 1);
      const bucket = openS3Bucket(parseS3Place(place), { credentials });
      const packs: string[] = [];
      for await (const { name } of bucket.list('packs')) packs.push(name);
      await bucket.close();
      assert.equal(packs.length, 1);
      const memory = await openMemory({ kind: 'sqlite', folder: backstop.dataDir });
      const [point] = await until('it is committed', async () => { const points = await memory.recoveryPoints.list({ states: ['committed'], limit: 10 }); return points.length > 0 && points; });
      await memory.close();
      assert.equal(point?.pack, packs[0]);
      const undone = await backstop.cli('undo', point?.actions[0] ?? '', '--yes', '--upstream', upstream, '--recovery-storage', place);
      assert.equal(undone.code, 0, undone.stderr);
      assert.deepEqual(await notes(), was);
    });

    it('are needed: when the storage is gone, what destroys is refused with the reason, and reads go on', async () => {
      const was = await notes();
      await storage.stop();
      await assert.rejects(client.query('DELETE FROM notes WHERE id = 1'), (error: unknown) => error instanceof pg.DatabaseError && error.code === '58030' && error.message.includes(storage.endpoint) && error.message.includes('ECONNREFUSED'));
      await assert.rejects(client.query('DELETE FROM notes WHERE id = 1'), (error: unknown) => error instanceof pg.DatabaseError && error.code === '58030', 'now it is known');
      assert.equal((await client.query('SELECT count(*)::int AS count FROM notes')).rows[0].count, (was as unknown[]).length);
      assert.deepEqual(await notes(), was);
    });
  });
}
