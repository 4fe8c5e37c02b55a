/**
 * A process that seals recovery points and is killed at any moment: whatever it was told to be sealed is on record, lies in
 * the bucket and can be read; what was not finished is unknown, and nothing on record is without its objects.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { openFolderBucket } from '../remote/bucket/folder.ts';
import { createOpener } from '../remote/bucket/seal.ts';
import { readStoredManifest, readStoredRows } from '../remote/bucket/stored-point.ts';
import { newFolder, openStore, placeToText, stores } from '../../test/fixtures/store.ts';
import type { StorePlace } from '../store/database.ts';

const at = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
const sealer = `
  import { openStore, placeFromText } from ${at('../../test/fixtures/store.ts')};
  import { openFolderBucket } from ${at('../remote/bucket/folder.ts')};
  import { Packs } from ${at('../remote/bucket/packs.ts')};
  import { RowsWriter } from ${at('../remote/bucket/rows-writer.ts')};
  import { createSeal } from ${at('../remote/bucket/seal.ts')};
  import { createProtector } from ${at('./protect.ts')};
  import { fingerprintOf } from ${at('../core/recovery/manifest.ts')};
  import { systemClock } from ${at('../lib/clock.ts')};
  const [place, folder] = process.argv.slice(1);
  const store = await openStore(placeFromText(place), undefined, 'nod_killed');
  const closing = { bucket: await openFolderBucket(folder), seal: await createSeal([]), chunkBytes: 100_000 };
  let ids = 0;
  const protector = createProtector({ openRows: () => new RowsWriter(closing), packs: new Packs(closing), record: store.recoveryPoints, clock: systemClock, newId: () => 'rp_' + (ids += 1) });
  const shape = { name: 'public.t', columns: ['id'], types: ['bigint'], key: ['id'], alwaysIdentity: [], partitions: [] };
  const large = Buffer.from(Array.from({ length: 50_000 }, (_, index) => index + '\\n').join(''));
  const sealOne = async (index) => {
    const draft = protector.begin({ actionIds: ['act_' + index], agent: 'ada', sessionId: 'ses_1', database: 'shop', texts: [], coverage: { method: 'rows', scope: 'exact-rows', sentence: '', lost: [] } });
    const [before, after] = [draft.rows(), draft.rows()];
    before.write(index % 20 === 0 ? large : Buffer.from(index + '\\n'));
    const tables = [{ ...shape, fingerprint: fingerprintOf(shape), before: await before.finish(), after: await after.finish() }];
    const point = await draft.seal({ tables, settings: {}, xid: '731', lsn: '0/1', server: { systemId: '1', major: 18, timeline: 1 } });
    process.stdout.write(point.id + '\\n');
    if (index % 2 === 0) point.settle('committed');
  };
  let index = 0;
  await Promise.all(Array.from({ length: 8 }, async () => { for (;;) await sealOne(index += 1); }));
`;

/** What it said before it was killed, at some moment after it had said so much. */
async function sealedBeforeKill(place: StorePlace, folder: string, saysAtLeast: number): Promise<readonly string[]> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', sealer, placeToText(place), folder], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  let isKilled = false;
  for await (const chunk of child.stdout) {
    said += String(chunk);
    if (isKilled || said.split('\n').length <= saysAtLeast) continue;
    isKilled = child.kill('SIGKILL');
  }
  return said.split('\n').slice(0, -1);
}

for (const saysAtLeast of [1, 7, 40, 150]) {
  test(`what was said to be sealed can be read after a kill, when about ${saysAtLeast} were`, async () => {
    const [place, folder] = [await stores().newPlace(), join(newFolder(), 'rp')];
    const said = await sealedBeforeKill(place, folder, saysAtLeast);
    assert.ok(said.length >= saysAtLeast);
    const store = await openStore(place);
    await store.ledger.resolveOpenPermits({ place: 'place of nod_killed' });
    const points = await store.recoveryPoints.list({ limit: 10_000 });
    const onRecord = new Set(points.map(({ id }) => id));
    assert.deepEqual(said.filter((id) => !onRecord.has(id)), []);
    const stored = { bucket: await openFolderBucket(folder), opener: await createOpener([]) };
    for (const point of points) {
      assert.ok(point.state === 'unknown' || point.state === 'committed', point.state);
      const [table] = (await readStoredManifest(stored, point)).tables;
      assert.ok(table?.before !== undefined);
      let bytes = 0;
      for await (const piece of readStoredRows(stored, table.before)) bytes += piece.length;
      assert.equal(bytes, point.bytes);
    }
    assert.equal((await store.ledger.verify()).broken, undefined);
    await store.close();
    await stores().remove(place);
  });
}
