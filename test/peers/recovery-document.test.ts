/** What docs/recovery.md says can be done by hand is done by hand: a DELETE is put back with zstd, sha256sum and psql alone. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { openFolderBucket } from '../../src/remote/bucket/folder.ts';
import { keepPoint, pointRoom, readsBack, type PointRoom } from '../fixtures/kept-point.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { runProgram } from '../fixtures/run-program.ts';
import { openStore, type TestStore } from '../fixtures/store.ts';
import { missing } from './peer.ts';
import { fencesNamed } from './document-steps.ts';

const skip = missing('zstd', 'sha256sum', 'psql');
const folder = mkdtempSync(join(tmpdir(), 'by-hand-'));
let server: PostgresServer;
let store: TestStore;
let room: PointRoom;
before(async () => {
  if (skip !== false) return;
  [server, store] = await Promise.all([startPostgresServer(), openStore()]);
  room = await pointRoom(await openFolderBucket(join(folder, 'bucket')), store.recoveryPoints);
});
after(async () => {
  await store?.close();
  await server?.stop();
  rmSync(folder, { recursive: true });
});

it('puts rows back by the commands of the document', { skip }, async () => {
  await server.run('CREATE TABLE orders (id int PRIMARY KEY, customer text)');
  const [, { id }] = await Promise.all([keepPoint(room, { at: new Date(), rows: 5 }), keepPoint(room, { at: new Date(), rows: 4_000 })]);
  const { pack, line } = await room.points.get(id);
  const { tables: [table] } = await readsBack(room, id);
  const [commands = ''] = fencesNamed(readFileSync(new URL('../../docs/recovery.md', import.meta.url), 'utf8'), 'sh by hand');
  const { code, stdout, stderr } = await runProgram('bash', ['-euo', 'pipefail', '-c', commands], { cwd: folder, env: { BUCKET: join(folder, 'bucket'), PACK: pack, POINT: id, DATABASE: server.url() } });
  assert.equal(code, 0, stderr);
  const chunks = table?.before?.chunks ?? [];
  assert.ok(chunks.length > 2);
  assert.deepEqual(stdout.trim().split('\n').map((text) => text.replace(/\s.*$/, '')), [
    line, ...chunks.map(({ name }) => name.slice('objects/ab/'.length, -'.zst'.length)), table?.before?.sha256, `"sha256":"${table?.before?.sha256}"`, 'COPY',
  ]);
  assert.deepEqual(await server.run('SELECT count(*)::int AS rows, max(id) AS last, min(customer) AS first FROM orders'), [{ rows: 4_000, last: 3_999, first: 'customer number 00000000000000' }]);
});
