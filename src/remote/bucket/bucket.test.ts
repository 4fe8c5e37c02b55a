/**
 * What lies in a bucket is what was put there, or a failure says that it is not; nothing is promised before it was read back.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { zstdDecompressSync } from 'node:zlib';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import { Failure } from '../../core/failure.ts';
import { sha256Hex } from '../../lib/sha256.ts';
import { asObjectName, digestOf, getChecked, objectName, putVerified, writeVerified, type Bucket, type ObjectKind, type ObjectName } from './bucket.ts';
import { ChunkWriter } from './chunk-writer.ts';
import { openFolderBucket } from './folder.ts';
import { Packs } from './packs.ts';
import { parseS3Place } from './s3.ts';
import { createOpener, createSeal } from './seal.ts';

const folder = mkdtempSync(join(tmpdir(), 'bucket-'));
after(() => { rmSync(folder, { recursive: true }); });
let folders = 0;
const newBucket = async (): Promise<Bucket & { readonly at: string }> => {
  const at = join(folder, String(folders += 1));
  return { ...await openFolderBucket(at), at };
};
const all = async (bucket: Bucket, kind?: ObjectKind): Promise<readonly string[]> => {
  const names: string[] = [];
  for await (const { name } of bucket.list(kind)) names.push(name);
  return names.sort();
};
const failsWith = (code: string) => (error: unknown): boolean => error instanceof Failure && error.code === code;

test('an object is named by what is in it, and names of anything else are refused', () => {
  const name = objectName(Buffer.from('a'), '.zst');
  assert.equal(digestOf(name), sha256Hex('a'));
  assert.equal(asObjectName(name), name);
  for (const text of ['objects/../x', `objects/00/${sha256Hex('a')}.zst`, `objects/ca/${sha256Hex('a')}`, `../${name}`, `${name}.tmp`]) assert.equal(asObjectName(text), undefined, text);
});

test('a folder keeps what is put, for its owner only, and never overwrites it', async () => {
  const bucket = await newBucket();
  const name = await putVerified(bucket, Buffer.from('one'), '.zst');
  writeFileSync(join(bucket.at, name), 'changed');
  await bucket.put(name, Buffer.from('one'));
  assert.equal(readFileSync(join(bucket.at, name), 'utf8'), 'changed', 'putting it again changes nothing');
  await assert.rejects(getChecked(bucket, name), failsWith('recovery_point_broken'));
  assert.equal(statSync(join(bucket.at, name)).mode & 0o777, 0o600);
  assert.equal(statSync(bucket.at).mode & 0o077, 0);
  assert.deepEqual(readdirSync(join(bucket.at, 'unfinished')), []);
  assert.deepEqual(await all(bucket), [name]);
  await bucket.remove(name);
  await bucket.remove(name);
  await assert.rejects(bucket.get(name), failsWith('not_found'));
});

test('what a crash left half written goes when a folder is opened a day later', async () => {
  const bucket = await newBucket();
  for (const [file, hours] of [['old', 25], ['young', 23]] as const) {
    const path = join(bucket.at, 'unfinished', file);
    writeFileSync(path, 'half');
    utimesSync(path, new Date(Date.now() - hours * 3_600_000), new Date(Date.now() - hours * 3_600_000));
  }
  await openFolderBucket(bucket.at);
  assert.deepEqual(readdirSync(join(bucket.at, 'unfinished')), ['young']);
});

test('a folder that is a file, or cannot be written, is a failure that names it', { skip: process.getuid?.() === 0 && 'root may write everywhere' }, async () => {
  const bucket = await newBucket();
  chmodSync(join(bucket.at, 'unfinished'), 0o500);
  await assert.rejects(putVerified(bucket, Buffer.from('x'), '.zst'), failsWith('bucket_unavailable'));
});

test('a folder that has to be there is not made', async () => {
  await assert.rejects(openFolderBucket(join(folder, 'nowhere'), { isThere: true }), failsWith('not_found'));
  assert.ok(!readdirSync(folder).includes('nowhere'));
});

test('where a folder cannot be made, it is a failure that names the place', async () => {
  writeFileSync(join(folder, 'file'), '');
  await assert.rejects(openFolderBucket(join(folder, 'file')), (error: unknown) => failsWith('bucket_unavailable')(error) && error instanceof Error && error.message.includes(join(folder, 'file')));
});

test('rows become chunks at rows, and all chunks together are the text that came', async () => {
  const bucket = await newBucket();
  const seal = await createSeal([]);
  const writer = new ChunkWriter({ bucket, seal, chunkBytes: 64 });
  const rows = Array.from({ length: 100 }, (_, index) => `${index}\t${'x'.repeat(index === 50 ? 300 : index % 7)}\n`);
  for (let index = 0; index < rows.length; index += 3) await writer.write(Buffer.from(rows.slice(index, index + 3).join('')));
  const written = await writer.finish();
  const text = rows.join('');
  assert.deepEqual([written.rows, written.bytes, written.sha256], [100, text.length, sha256Hex(text)]);
  const plain = written.chunks.map(({ name }) => zstdDecompressSync(readFileSync(join(bucket.at, name))).toString());
  assert.equal(plain.join(''), text);
  assert.ok(plain.every((chunk) => chunk.endsWith('\n')) && plain.length > 5);
  assert.deepEqual(written.chunks.map(({ rows: count, bytes }) => [count, bytes]), plain.map((chunk) => [chunk.split('\n').length - 1, chunk.length]));
});

test('what is sealed twice is two objects, so that removing one never takes the other', async () => {
  const bucket = await newBucket();
  const identity = await generateX25519Identity();
  for (const recipients of [[], [await identityToRecipient(identity)]]) {
    const seal = await createSeal(recipients);
    const [one, other] = [await putVerified(bucket, await seal.close(Buffer.from('same rows\n')), seal.ending), await putVerified(bucket, await seal.close(Buffer.from('same rows\n')), seal.ending)];
    assert.notEqual(one, other);
    await bucket.remove(one);
    assert.equal((await (await createOpener([identity])).open(await getChecked(bucket, other), seal.ending)).toString(), 'same rows\n');
  }
});

test('a sealed object, and several one after another, are what the tool zstd reads', { skip: spawnSync('zstd', ['--version']).error !== undefined && 'zstd is not installed' }, async () => {
  const seal = await createSeal([]);
  const input = Buffer.concat([await seal.close(Buffer.from('one\n')), await seal.close(Buffer.from('two\n')), await seal.close(Buffer.from('three\n'))]);
  assert.equal(spawnSync('zstd', ['-dc'], { input }).stdout.toString(), 'one\ntwo\nthree\n');
});

test('no rows are no chunks', async () => {
  const written = await new ChunkWriter({ bucket: await newBucket(), seal: await createSeal([]) }).finish();
  assert.deepEqual(written, { rows: 0, bytes: 0, sha256: sha256Hex(''), chunks: [] });
});

/** What a disk, a network or somebody with access may do to an object. */
const faults: readonly { readonly what: string; readonly code: string; readonly get?: (bytes: Buffer) => Buffer; readonly put?: () => void }[] = [
  { what: 'one bit is another when it is read back', code: 'recovery_point_broken', get: (bytes) => { const changed = Buffer.from(bytes); changed[3] = (changed[3] ?? 0) ^ 1; return changed; } },
  { what: 'its end is missing when it is read back', code: 'recovery_point_broken', get: (bytes) => bytes.subarray(0, -1) },
  { what: 'the disk is full', code: 'bucket_unavailable', put: () => { throw new Failure('bucket_unavailable', 'full'); } },
];
for (const { what, code, get, put } of faults) {
  test(`nothing is promised when ${what}`, async () => {
    const real = await newBucket();
    let puts = 0;
    const bucket: Bucket = {
      ...real,
      put: (name, bytes) => { puts += 1; if (puts > 1) put?.(); return real.put(name, bytes); },
      get: async (name) => { const bytes = await real.get(name); return puts > 1 ? get?.(bytes) ?? bytes : bytes; },
      write: async (name, bytes) => { await bucket.put(name, bytes); return { back: await bucket.get(name), kept: Promise.resolve() }; },
    };
    const { write, ...inOneStep } = bucket;
    assert.ok(write !== undefined);
    const seal = await createSeal([]);
    const writer = new ChunkWriter({ bucket, seal, chunkBytes: 8 });
    await assert.rejects((async () => { for (let row = 0; row < 20; row += 1) await writer.write(Buffer.from(`row ${row}\n`)); await writer.finish(); })(), failsWith(code));
    await assert.rejects(writer.finish(), failsWith(code));
    for (const way of [bucket, inOneStep]) await assert.rejects(new Packs({ bucket: way, seal }).add('{"another":"line"}'), failsWith(code));
  });
}

test('what is written in two steps is read back under its name at once', async () => {
  const bucket = await newBucket();
  const bytes = Buffer.from('two steps');
  const name = objectName(bytes, '.zst', 'packs');
  const written = await bucket.write?.(name, bytes);
  assert.deepEqual(written?.back, bytes);
  assert.deepEqual(await getChecked(bucket, name), bytes);
  await written?.kept;
  assert.deepEqual(readdirSync(join(bucket.at, 'unfinished')), []);
  assert.equal(statSync(join(bucket.at, name)).mode & 0o777, 0o600);
});

test('what is written where something else lies under its name is told from it, and leaves it', async () => {
  const bucket = await newBucket();
  const bytes = Buffer.from('mine');
  const name = await putVerified(bucket, bytes, '.zst');
  await (await writeVerified(bucket, bytes, '.zst')).kept;
  writeFileSync(join(bucket.at, name), 'changed');
  await assert.rejects(writeVerified(bucket, bytes, '.zst'), failsWith('recovery_point_broken'));
  assert.equal(readFileSync(join(bucket.at, name), 'utf8'), 'changed');
});

test('a folder that is taken away is unavailable, not empty, and used again once it is back', async () => {
  const bucket = await newBucket();
  await putVerified(bucket, Buffer.from('before'), '.zst');
  renameSync(bucket.at, `${bucket.at}-away`);
  for (const text of ['before', 'while']) await assert.rejects(bucket.put(objectName(Buffer.from(text), '.zst'), Buffer.from(text)), failsWith('bucket_unavailable'));
  renameSync(`${bucket.at}-away`, bucket.at);
  await putVerified(bucket, Buffer.from('after'), '.zst');
});

test('what comes at the same time is one object, and each line is told where it is', async () => {
  const bucket = await newBucket();
  const packs = new Packs({ bucket, seal: await createSeal([]) });
  const lines = Array.from({ length: 50 }, (_, index) => JSON.stringify({ action: index }));
  const packed = await Promise.all(lines.map((line) => packs.add(line)));
  await Promise.all(packed.map(({ kept }) => kept));
  assert.equal(new Set(packed.map(({ pack }) => pack)).size, 1);
  assert.deepEqual(packed.map(({ line }) => line), lines.map((line) => sha256Hex(line)));
  const [first] = packed;
  assert.deepEqual((await (await createOpener([])).open(await getChecked(bucket, first?.pack ?? ('' as ObjectName)), '.zst')).toString().trimEnd().split('\n'), lines);
  const later = await packs.add('later');
  await later.kept;
  assert.notEqual(later.pack, first?.pack);
  assert.deepEqual([(await all(bucket, 'packs')).length, (await all(bucket, 'objects')).length, (await all(bucket)).length], [2, 0, 2]);
  await assert.rejects(packs.add('two\nlines'), failsWith('internal'));
});

test('what is encrypted opens with its identity only, and the ending says so', async () => {
  const identity = await generateX25519Identity();
  const seal = await createSeal([await identityToRecipient(identity)]);
  const sealed = await seal.close(Buffer.from('secret rows\n'));
  assert.equal(seal.ending, '.zst.age');
  assert.ok(!sealed.includes('secret') && sealed.subarray(0, 21).toString() === 'age-encryption.org/v1');
  assert.equal((await (await createOpener([identity])).open(sealed, '.zst.age')).toString(), 'secret rows\n');
  await assert.rejects((await createOpener([])).open(sealed, '.zst.age'), failsWith('not_permitted'));
  await assert.rejects((await createOpener([await generateX25519Identity()])).open(sealed, '.zst.age'), failsWith('not_permitted'));
  await assert.rejects(createSeal(['age1nonsense']), failsWith('config_invalid'));
  await assert.rejects(createOpener(['nonsense']), failsWith('config_invalid'));
  await assert.rejects((await createOpener([])).open(Buffer.from('no zstd'), '.zst'), failsWith('recovery_point_broken'));
});

const places: readonly (readonly [text: string, place: ReturnType<typeof parseS3Place>])[] = [
  ['s3://undo', { bucket: 'undo', prefix: '', endpoint: undefined }],
  ['s3://undo/shop', { bucket: 'undo', prefix: 'shop/', endpoint: undefined }],
  ['s3://undo/a/b/@http://127.0.0.1:9000', { bucket: 'undo', prefix: 'a/b/', endpoint: 'http://127.0.0.1:9000' }],
  ['s3://undo@https://storage.example', { bucket: 'undo', prefix: '', endpoint: 'https://storage.example' }],
];
test('a place in S3 is a bucket, a prefix and an endpoint', () => {
  for (const [text, place] of places) assert.deepEqual(parseS3Place(text), place, text);
  for (const text of ['s3://', 's3://Ab', 's3://x', 'http://undo', 's3://undo@storage', 's3://user:secret@undo/x@y']) assert.throws(() => parseS3Place(text), (error: unknown) => failsWith('config_invalid')(error) && !String(error).includes('secret'), text);
});
