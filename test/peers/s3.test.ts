/** Buckets in storage that speaks S3, on two real servers: nothing is overwritten, nothing is taken on trust, locks hold. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { DeleteObjectCommand, ListObjectVersionsCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { Failure } from '../../src/core/failure.ts';
import { sha256Hex } from '../../src/lib/sha256.ts';
import { getChecked, objectName, putVerified, type Bucket } from '../../src/remote/bucket/bucket.ts';
import { ChunkWriter } from '../../src/remote/bucket/chunk-writer.ts';
import { Packs } from '../../src/remote/bucket/packs.ts';
import { openS3Bucket, parseS3Place } from '../../src/remote/bucket/s3.ts';
import { createOpener, createSeal } from '../../src/remote/bucket/seal.ts';
import { missing } from './peer.ts';
import { credentials, recipes, startS3, type S3Server } from './s3/servers.ts';

const failsWith = (code: string) => (error: unknown): boolean => error instanceof Failure && error.code === code;

for (const recipe of recipes) {
  describe(`a bucket in ${recipe.name}`, { skip: missing('go') }, () => {
    let server: S3Server;
    let bucket: Bucket;
    let direct: S3Client;
    before(async () => {
      server = await startS3(recipe);
      bucket = openS3Bucket(parseS3Place(`s3://undo/shop@${server.endpoint}`), { credentials });
      direct = new S3Client({ endpoint: server.endpoint, region: 'us-east-1', forcePathStyle: true, credentials });
    });
    after(async () => {
      await bucket?.close();
      direct?.destroy();
      await server?.stop();
    });
    const names = async (): Promise<readonly string[]> => {
      const found: string[] = [];
      for await (const { name } of bucket.list()) found.push(name);
      return found.sort();
    };

    it('keeps rows in chunks and reads them back, more of them than one page lists', async () => {
      const seal = await createSeal([]);
      const writer = new ChunkWriter({ bucket, seal, chunkBytes: 16 });
      const rows = Array.from({ length: 1_100 }, (_, index) => `row ${String(index).padStart(10, '0')}\n`);
      for (const row of rows) await writer.write(Buffer.from(row));
      const { chunks, sha256, rows: count } = await writer.finish();
      assert.deepEqual([chunks.length, count, sha256], [1_100, 1_100, sha256Hex(rows.join(''))]);
      const opener = await createOpener([]);
      assert.equal((await opener.open(await getChecked(bucket, chunks[7]?.name ?? objectName(Buffer.alloc(0), '.zst')), '.zst')).toString(), rows[7]);
      assert.deepEqual(await names(), chunks.map(({ name }) => name).toSorted());
    });

    it('puts what is there already again without changing it', async () => {
      const name = await putVerified(bucket, Buffer.from('one'), '.zst');
      await bucket.put(name, Buffer.from('one'));
      await assert.rejects(direct.send(new PutObjectCommand({ Bucket: 'undo', Key: `shop/${name}`, Body: 'other', IfNoneMatch: '*' })), /PreconditionFailed|precondition/i);
      assert.equal((await getChecked(bucket, name)).toString(), 'one');
    });

    it('is refused by the server when the bytes are not what their name says', async () => {
      await assert.rejects(bucket.put(objectName(Buffer.from('meant'), '.zst'), Buffer.from('other')), failsWith('bucket_unavailable'));
    });

    it('does not pass off what somebody has changed', async () => {
      const name = await putVerified(bucket, Buffer.from('true'), '.zst');
      await direct.send(new PutObjectCommand({ Bucket: 'undo', Key: `shop/${name}`, Body: 'false' }));
      await assert.rejects(getChecked(bucket, name), failsWith('recovery_point_broken'));
    });

    it('removes, and says what is not there', async () => {
      const name = await putVerified(bucket, Buffer.from('gone'), '.zst');
      await bucket.remove(name);
      await bucket.remove(name);
      await assert.rejects(bucket.get(name), failsWith('not_found'));
    });

    it('locks what it keeps: nobody removes it before its time, and whoever tries is told', async () => {
      const locked = openS3Bucket(parseS3Place(`s3://locked@${server.endpoint}`), { credentials, lockDays: 1 });
      const { pack } = await new Packs({ bucket: locked, seal: await createSeal([]) }).add('{"a":"recovery point"}');
      await assert.rejects(locked.remove(pack), (error: unknown) => failsWith('object_locked')(error) && error instanceof Error && /is locked until \d{4}-\d\d-\d\d$/.test(error.message));
      assert.match((await (await createOpener([])).open(await getChecked(locked, pack), '.zst')).toString(), /recovery point/);
      await locked.close();
    });

    it('removes every version of what is not locked, where the bucket keeps versions', async () => {
      const versioned = openS3Bucket(parseS3Place(`s3://locked@${server.endpoint}`), { credentials });
      const name = await putVerified(versioned, Buffer.from('versions'), '.zst');
      await direct.send(new PutObjectCommand({ Bucket: 'locked', Key: name, Body: 'another version' }));
      await direct.send(new DeleteObjectCommand({ Bucket: 'locked', Key: name }));
      await versioned.remove(name);
      const { Versions: versions = [], DeleteMarkers: markers = [] } = await direct.send(new ListObjectVersionsCommand({ Bucket: 'locked', Prefix: name }));
      assert.deepEqual([versions, markers], [[], []]);
      await versioned.close();
    });

    it('lists packs by themselves', async () => {
      const { pack } = await new Packs({ bucket, seal: await createSeal([]) }).add('{"a":"pack"}');
      const packs: string[] = [];
      for await (const { name } of bucket.list('packs')) packs.push(name);
      assert.deepEqual(packs, [pack]);
      assert.ok((await names()).includes(pack));
    });

    it('fails by name when the credentials are no good, the bucket is missing, or nobody answers', async () => {
      const wrong = openS3Bucket(parseS3Place(`s3://undo@${server.endpoint}`), { credentials: { ...credentials, secretAccessKey: 'wrong' } });
      const nowhere = openS3Bucket(parseS3Place(`s3://missing@${server.endpoint}`), { credentials });
      const silent = openS3Bucket(parseS3Place('s3://undo@http://127.0.0.1:9'), { credentials });
      for (const bad of [wrong, nowhere, silent]) {
        await assert.rejects(putVerified(bad, Buffer.from('x'), '.zst'), (error: unknown) => failsWith('bucket_unavailable')(error) && !String(error).includes(credentials.secretAccessKey));
        await bad.close();
      }
    });
  });
}
