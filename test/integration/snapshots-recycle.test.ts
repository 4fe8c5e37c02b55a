/** A purge drops on the guarded server what was set aside there in place of being copied: on that server only, and again until it is done. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { Failure } from '../../src/core/failure.ts';
import { loadConfig } from '../../src/config.ts';
import { openMemory, type Memory } from '../../src/app/memory.ts';
import { openPurging } from '../../src/app/snapshots.ts';
import { openFolderBucket } from '../../src/remote/bucket/folder.ts';
import { writeKeptDefinition } from '../../src/remote/postgres/definition/kept.ts';
import { keepPoint, pointRoom } from '../fixtures/kept-point.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { newFolder } from '../fixtures/store.ts';
import { until } from '../fixtures/until.ts';

const schema = 'backstop_recycle_bin_0123456789abcdef';
const data = newFolder();
let [server, other]: [PostgresServer | undefined, PostgresServer | undefined] = [undefined, undefined];
let memory: Memory;
before(async () => {
  [server, other] = await Promise.all([startPostgresServer(), startPostgresServer()]);
  memory = await openMemory({ kind: 'sqlite', folder: data });
  for (const one of [server, other]) await one.run(`CREATE SCHEMA ${schema}; CREATE TABLE ${schema}.big (id int)`);
});
after(async () => {
  await memory?.close();
  await Promise.all([server?.stop(), other?.stop()]);
});

const isThere = async (one: PostgresServer | undefined): Promise<unknown> => (await one?.run(`SELECT to_regnamespace('${schema}') IS NOT NULL AS there`))?.[0]?.['there'];

it('drops what is set aside where it was, and nowhere else', async () => {
  const { token } = await memory.identities.addOperator('olga');
  const systemId = String((await server?.run('SELECT system_identifier::text AS id FROM pg_control_system()'))?.[0]?.['id']);
  const nothing = { lost: [], changed: [], needs: {}, fresh: [], strays: [], rebuilt: [], emptied: [], sequences: [], differences: [], searchPath: '' };
  const definition = writeKeptDefinition({ ...nothing, bin: { schema, tables: [{ schema: 'public', name: 'big', inBin: `${schema}.big` }] } });
  const room = await pointRoom(await openFolderBucket(join(data, 'recovery-points')), memory.recoveryPoints);
  const { id, settle } = await keepPoint(room, { at: new Date(Date.now() - 40 * 86_400_000), rows: 0, method: 'tombstone', contents: { tables: [], definition, server: { systemId, major: 18, timeline: 1 } } });
  await memory.database.queries.updateTable('recovery_point').set({ database_name: 'postgres' }).where('id', '=', id).execute();
  settle('committed');
  await until('it is committed', async () => (await memory.recoveryPoints.get(id)).state === 'committed');
  const purge = async (url: string): ReturnType<Awaited<ReturnType<typeof openPurging>>['purge']> => {
    const purging = await openPurging(loadConfig({ flags: { data, upstream: url }, env: {} }), memory);
    try {
      return await purging.purge({ until: new Date(Date.now() - 30 * 86_400_000).toISOString(), days: 30, token });
    } finally {
      await purging.close();
    }
  };
  const elsewhere = await purge(other?.url() ?? '');
  assert.deepEqual([elsewhere.points, elsewhere.objects, elsewhere.binsLeft.length], [1, 0, 1]);
  assert.match(elsewhere.binsLeft[0] ?? '', new RegExp(`^${id}: the server is not the one`));
  const unreached = await purge('postgres://postgres@127.0.0.1:9/postgres');
  assert.deepEqual([unreached.points, unreached.objects, unreached.binsLeft.length], [0, 0, 1]);
  assert.deepEqual([await isThere(server), await isThere(other)], [true, true]);
  const done = await purge(server?.url() ?? '');
  assert.deepEqual([done.points, done.objects, done.binsLeft], [0, 1, []]);
  assert.deepEqual([await isThere(server), await isThere(other)], [false, true]);
  await assert.rejects(purge(''), (error: unknown) => error instanceof Failure && error.code === 'config_invalid');
});
