/**
 * A watched bucket says what is wrong with it as soon as it is known, and that it is well again without being asked for more.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Failure } from '../../core/failure.ts';
import { openFolderBucket } from './folder.ts';
import { objectName, type Bucket } from './bucket.ts';
import { watchBucket, type WatchedBucket } from './watched-bucket.ts';

const folder = mkdtempSync(join(tmpdir(), 'watched-'));
after(() => { rmSync(folder, { recursive: true }); });
const failsWith = (code: string) => (error: unknown): boolean => error instanceof Failure && error.code === code;
const unavailable = (): Failure => new Failure('bucket_unavailable', 'gone');

function watched(place: string, open: () => Promise<Bucket>): { readonly bucket: WatchedBucket; readonly changes: (string | undefined)[] } {
  const changes: (string | undefined)[] = [];
  return { bucket: watchBucket({ place, open, clock: { monotonicMs: () => 0 }, onChange: (fault) => { changes.push(fault?.code); } }), changes };
}

const faultOf = (bucket: WatchedBucket): string | undefined => bucket.fault?.code;

test('a place that cannot be opened is a fault until it can', async (context) => {
  context.mock.timers.enable({ apis: ['setInterval'] });
  const place = join(folder, 'late');
  writeFileSync(place, '');
  const { bucket, changes } = watched(place, () => openFolderBucket(place));
  await bucket.probe();
  assert.equal(faultOf(bucket), 'bucket_unavailable');
  await assert.rejects(bucket.put(objectName(Buffer.from('x'), '.zst'), Buffer.from('x')), failsWith('bucket_unavailable'));
  rmSync(place);
  context.mock.timers.tick(5_000);
  await bucket.probe();
  assert.equal(faultOf(bucket), undefined);
  assert.deepEqual(changes, ['bucket_unavailable', undefined]);
  await bucket.close();
});

test('the last answer counts, and what is not there is no fault', async () => {
  const real = await openFolderBucket(join(folder, 'answers'));
  let isFull = false;
  const { bucket, changes } = watched('answers', () => Promise.resolve({ ...real, put: (name, bytes) => (isFull ? Promise.reject(unavailable()) : real.put(name, bytes)) }));
  const [name, bytes] = [objectName(Buffer.from('x'), '.zst'), Buffer.from('x')];
  await assert.rejects(bucket.get(name), failsWith('not_found'));
  assert.equal(faultOf(bucket), undefined);
  isFull = true;
  await assert.rejects(bucket.put(name, bytes), failsWith('bucket_unavailable'));
  assert.equal(faultOf(bucket), 'bucket_unavailable');
  isFull = false;
  await bucket.put(name, bytes);
  assert.equal(faultOf(bucket), undefined);
  assert.deepEqual(await bucket.get(name), bytes);
  const names: string[] = [];
  for await (const object of bucket.list()) names.push(object.name);
  assert.deepEqual(names, [name]);
  await bucket.remove(name);
  assert.deepEqual(changes, ['bucket_unavailable', undefined]);
  await bucket.close();
});

test('storage that gives back something else is faulty, though it answers', async () => {
  const real = await openFolderBucket(join(folder, 'wrong'));
  const { bucket } = watched('wrong', () => Promise.resolve({ ...real, get: () => Promise.resolve(Buffer.from('else')) }));
  await bucket.probe();
  assert.equal(faultOf(bucket), 'recovery_point_broken');
  await bucket.close();
});

test('a probe whose object is purged under it is made again', async () => {
  const real = await openFolderBucket(join(folder, 'purged'));
  let gets = 0;
  const { bucket } = watched('purged', () => Promise.resolve({ ...real, get: async (name) => { gets += 1; if (gets === 1) await real.remove(name); return real.get(name); } }));
  await bucket.probe();
  assert.deepEqual([faultOf(bucket), gets], [undefined, 2]);
  await bucket.close();
});

test('closing does not wait for storage that does not answer, and what comes of it is not told', async () => {
  const real = await openFolderBucket(join(folder, 'silent'));
  const answer = Promise.withResolvers<void>();
  const { bucket, changes } = watched('silent', () => Promise.resolve({ ...real, put: () => answer.promise }));
  const probing = bucket.probe();
  await assert.rejects(bucket.get(objectName(Buffer.from('x'), '.zst')), failsWith('not_found'));
  await bucket.close();
  answer.reject(unavailable());
  await probing;
  assert.deepEqual(changes, []);
});
