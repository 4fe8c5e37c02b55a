/**
 * A recovery point is promised only after everything of it was read back and is on record, over a real folder.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Failure } from '../core/failure.ts';
import { fingerprintOf, type KeptRows } from '../core/recovery/manifest.ts';
import type { SealedPoint } from '../core/recovery/recovery-point.ts';
import { putVerified, type Bucket } from '../remote/bucket/bucket.ts';
import { openFolderBucket } from '../remote/bucket/folder.ts';
import { Packs } from '../remote/bucket/packs.ts';
import { RowsWriter } from '../remote/bucket/rows-writer.ts';
import { createOpener, createSeal } from '../remote/bucket/seal.ts';
import { readStoredManifest, readStoredRows, type StoredIn } from '../remote/bucket/stored-point.ts';
import { createProtector, type CapturedContents, type ProtectedSubject, type Protector } from './protect.ts';

const folder = mkdtempSync(join(tmpdir(), 'protect-'));
after(() => { rmSync(folder, { recursive: true }); });
const failsWith = (code: string) => (error: unknown): boolean => error instanceof Failure && error.code === code;

const subject: ProtectedSubject = {
  actionIds: ['act_1', 'act_2'], agent: 'invoicer', sessionId: 'ses_1', database: 'shop', texts: ['DELETE FROM t WHERE id = $1', `SELECT '${'x'.repeat(30_000)}'`],
  coverage: { method: 'rows', scope: 'exact-rows', sentence: 'Every changed row can be put back.', lost: [] },
};
const shape = { name: 'public.t', columns: ['id', 'a'], types: ['bigint', 'text'], key: ['id'], alwaysIdentity: [], partitions: [] };
const contents = (before: KeptRows, after: KeptRows): CapturedContents => ({
  tables: [{ ...shape, fingerprint: fingerprintOf(shape), before, after }],
  settings: { DateStyle: 'ISO, MDY' }, xid: '731', lsn: '0/15D6B08', server: { systemId: '7523456789012345678', major: 18, timeline: 1 },
});

interface Scene { readonly protector: Protector; readonly stored: StoredIn; readonly bucket: Bucket; readonly sealed: SealedPoint[]; readonly settled: string[] }

const clock = { nowMs: Date.parse('2026-11-21T19:00:00.000Z'), now: () => new Date(clock.nowMs), monotonicMs: () => clock.nowMs };
let scenes = 0;
async function scene(change: Partial<Bucket> = {}, seal: () => Promise<void> = () => Promise.resolve()): Promise<Scene> {
  const bucket = { ...await openFolderBucket(join(folder, String(scenes += 1))), ...change };
  const closing = { bucket, seal: await createSeal([]), chunkBytes: 1_000_000 };
  const [sealed, settled]: [SealedPoint[], string[]] = [[], []];
  const protector = createProtector({
    openRows: () => new RowsWriter(closing), packs: new Packs(closing), clock, newId: () => `rp_${sealed.length}`,
    record: { seal: async (point) => { await seal(); sealed.push(point); }, settle: ({ id }, fate) => { settled.push(`${id} ${fate}`); } },
  });
  return { protector, bucket, sealed, settled, stored: { bucket, opener: await createOpener([]) } };
}

async function textOf(stored: StoredIn, rows: KeptRows | undefined): Promise<string> {
  assert.ok(rows !== undefined);
  const pieces: Buffer[] = [];
  for await (const piece of readStoredRows(stored, rows)) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

const few = '1\ta\n2\tb\n';
const many = Array.from({ length: 40_000 }, (_, index) => `${index}\t${'é'.repeat(index % 50)}\n`).join('');

async function keep({ protector }: Scene, text: string, piece = 10_000): Promise<KeptRows> {
  const sink = protector.begin(subject).rows();
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length;) {
    const end = Math.max(bytes.lastIndexOf(0x0a, at + piece), bytes.indexOf(0x0a, at)) + 1;
    await sink.write(bytes.subarray(at, end));
    at = end;
  }
  return sink.finish();
}

test('what was kept is read back from its manifest: few rows out of it, many out of chunks', async () => {
  const at = await scene();
  const [before, after] = [await keep(at, many), await keep(at, few)];
  const draft = at.protector.begin(subject);
  const point = await draft.seal(contents(before, after));
  const [sealed] = at.sealed;
  assert.ok(sealed !== undefined);
  assert.equal(point.id, sealed.id);
  const manifest = await readStoredManifest(at.stored, sealed);
  assert.deepEqual(manifest.actions, subject.actionIds);
  assert.deepEqual(manifest.texts.map((text) => text.length), [27, 20_000]);
  assert.equal(await textOf(at.stored, manifest.tables[0]?.before), many);
  assert.equal(await textOf(at.stored, manifest.tables[0]?.after), few);
  assert.equal(manifest.tables[0]?.after?.inline, few);
  assert.deepEqual([sealed.chunks.length, sealed.rows, sealed.bytes], [before.chunks?.length, 40_002, Buffer.byteLength(many) + few.length]);
  assert.ok(sealed.chunks.length > 1);
  await assert.rejects(draft.seal(contents(before, after)), failsWith('cancelled'), 'it is sealed once');
});

test('rows that are no UTF-8 are kept as they are, in a chunk', async () => {
  const at = await scene();
  const sink = at.protector.begin(subject).rows();
  const bytes = Buffer.from([0x31, 0x09, 0xe9, 0x0a]);
  void sink.write(bytes);
  const kept = await sink.finish();
  assert.equal(kept.inline, undefined);
  const pieces: Buffer[] = [];
  for await (const piece of readStoredRows(at.stored, kept)) pieces.push(piece);
  assert.deepEqual(Buffer.concat(pieces), bytes);
});

test('where no row was changed nothing is kept, and nothing is on record', async () => {
  const at = await scene();
  const empty = await keep(at, '');
  const point = await at.protector.begin(subject).seal(contents(empty, empty));
  assert.equal(point.id, undefined);
  point.settle('committed');
  const objects: string[] = [];
  for await (const { name } of at.bucket.list()) objects.push(name);
  assert.deepEqual([objects, at.sealed, at.settled], [[], [], []]);
});

test('an empty table that falls is kept all the same', async () => {
  const at = await scene();
  const empty = await keep(at, '');
  const { tables: [table], ...rest } = contents(empty, empty);
  assert.ok(table !== undefined);
  await at.protector.begin({ ...subject, coverage: { ...subject.coverage, method: 'tables', scope: 'table' } }).seal({ ...rest, tables: [{ ...shape, fingerprint: table.fingerprint, content: empty }], definition: ['CREATE TABLE t ()'] });
  assert.equal(at.sealed.length, 1);
});

test('a point takes the first fate that it is told', async () => {
  const at = await scene();
  const rows = await keep(at, few);
  const point = await at.protector.begin(subject).seal(contents(rows, rows));
  point.settle('committed');
  point.settle('unknown');
  assert.deepEqual(at.settled, ['rp_0 committed']);
});

test('what was given up is not sealed; while it is being sealed it is discarded', async () => {
  const at = await scene({}, () => { draft.abandon(); return Promise.resolve(); });
  const rows = await keep(at, few);
  const early = at.protector.begin(subject);
  early.abandon();
  await assert.rejects(early.seal(contents(rows, rows)), failsWith('cancelled'));
  assert.throws(() => early.rows(), failsWith('cancelled'));
  const draft = at.protector.begin(subject);
  await assert.rejects(draft.seal(contents(rows, rows)), failsWith('cancelled'));
  assert.deepEqual(at.settled, ['rp_0 discarded']);
});

const noRoom = (): Promise<never> => Promise.reject(new Failure('bucket_unavailable', 'full'));
const another = Buffer.from('another');

test('nothing is on record when the bucket fails, or gives back something else', async () => {
  const full = await scene({ put: noRoom, write: noRoom });
  const rows = await keep(full, few);
  await assert.rejects(full.protector.begin(subject).seal(contents(rows, rows)), failsWith('bucket_unavailable'));
  await assert.rejects(keep(full, many), failsWith('bucket_unavailable'));
  const changed = await scene({ write: () => Promise.resolve({ back: another, kept: Promise.resolve() }) });
  await assert.rejects(changed.protector.begin(subject).seal(contents(rows, rows)), failsWith('recovery_point_broken'));
  assert.deepEqual([full.sealed, changed.sealed], [[], []]);
});

test('what was read back and is not kept in the end is not sealed, and its point discarded', async () => {
  const at = await scene({ write: (_name, bytes) => Promise.resolve({ back: bytes, kept: noRoom() }) });
  const rows = await keep(at, few);
  await assert.rejects(at.protector.begin(subject).seal(contents(rows, rows)), failsWith('bucket_unavailable'));
  assert.deepEqual(at.settled, ['rp_0 discarded']);
});

test('it is sealed only once it is both kept and on record, whichever comes last', async () => {
  for (const last of ['kept', 'record']) {
    const late = Promise.withResolvers<void>();
    const inTime = Promise.resolve();
    const at = await scene({ write: (_name, bytes) => Promise.resolve({ back: bytes, kept: last === 'kept' ? late.promise : inTime }) }, () => (last === 'record' ? late.promise : inTime));
    const rows = await keep(at, few);
    let isSealed = false;
    const sealing = at.protector.begin(subject).seal(contents(rows, rows)).then(() => { isSealed = true; });
    await setImmediate();
    assert.equal(isSealed, false, last);
    late.resolve();
    await sealing;
  }
});

test('a capture that took longer than a purge waits for it is not sealed', async () => {
  const at = await scene();
  const rows = await keep(at, few);
  const draft = at.protector.begin(subject);
  clock.nowMs += 6.1 * 3_600_000;
  await assert.rejects(draft.seal(contents(rows, rows)), failsWith('too_large'));
  assert.deepEqual(at.sealed, []);
});

test('nothing is sealed that is not on record', async () => {
  const at = await scene({}, () => Promise.reject(new Failure('ledger_unavailable', 'no')));
  const rows = await keep(at, few);
  await assert.rejects(at.protector.begin(subject).seal(contents(rows, rows)), failsWith('ledger_unavailable'));
});

test('rows that are not those that were kept are not read to their end', async () => {
  const at = await scene();
  const rows = await keep(at, many);
  const other = await putVerified(at.bucket, await (await createSeal([])).close(Buffer.from('1\tz\n')), '.zst');
  const chunks = (rows.chunks ?? []).map((chunk, index) => (index === 0 ? { ...chunk, name: other } : chunk));
  await assert.rejects(textOf(at.stored, { ...rows, chunks }), failsWith('recovery_point_broken'));
  await assert.rejects(readStoredManifest(at.stored, { pack: other, line: rows.sha256 }), failsWith('recovery_point_broken'));
  await assert.rejects(readStoredManifest(at.stored, { pack: '../x', line: rows.sha256 }), failsWith('recovery_point_broken'));
});
