/** Buckets in storage that speaks S3, on two real servers: nothing is overwritten, nothing is taken on trust, locks hold. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { DeleteObjectCommand, ListObjectVersionsCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { Failure } from '../../src/core/failure.ts';
import { sha256Hex } from '../../src/lib/sha256.ts';
import { getChecked, objectName, putVerified, type Bucket, type ObjectName } from '../../src/remote/bucket/bucket.ts';
import { ChunkWriter } from '../../src/remote/bucket/chunk-writer.ts';
import { Packs } from '../../src/remote/bucket/packs.ts';
import { openS3Bucket, parseS3Place } from '../../src/remote/bucket/s3.ts';
import { createOpener, createSeal } from '../../src/remote/bucket/seal.ts';
import { purge } from '../../src/flow/purge.ts';
import { createPurgeRecord } from '../../src/store/purge-record.ts';
import { keepPoint, pointRoom } from '../fixtures/kept-point.ts';
import { withStore } from '../fixtures/store.ts';
import { until } from '../fixtures/until.ts';
import { fencesNamed } from './document-steps.ts';
import { missing } from './peer.ts';
import { credentials, recipes, startS3, type Policy, type S3Server } from './s3/servers.ts';

/** As the document has it, for another bucket, and perhaps with more rights. */
function policyOf(whose: 'gateway' | 'purge', bucket: 'undo' | 'locked', more: readonly string[] = []): Policy {
  const [text = ''] = fencesNamed(readFileSync(new URL('../../docs/recovery.md', import.meta.url), 'utf8'), `json ${whose}`);
  const { Version, Statement } = JSON.parse(text.replaceAll(':::undo', `:::${bucket}`)) as Policy;
  return { Version, Statement: Statement.map((one) => ({ ...one, Action: [...one.Action, ...more] })) };
}

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
    const names = async (of = bucket): Promise<readonly string[]> => {
      const found: string[] = [];
      for await (const { name } of of.list()) found.push(name);
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

    it('still finds what is locked when somebody has covered it by another version, or hidden it', async () => {
      const locked = openS3Bucket(parseS3Place(`s3://locked@${server.endpoint}`), { credentials, lockDays: 1 });
      const name = await putVerified(locked, Buffer.from('true'), '.zst');
      await direct.send(new PutObjectCommand({ Bucket: 'locked', Key: name, Body: 'false' }));
      assert.equal((await getChecked(locked, name)).toString(), 'true');
      await direct.send(new DeleteObjectCommand({ Bucket: 'locked', Key: name }));
      assert.equal((await getChecked(locked, name)).toString(), 'true');
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

    it('serves a gateway with the rights of docs/recovery.md, which can remove nothing, and a purge with its own, which can put nothing', async () => {
      const gateway = openS3Bucket(parseS3Place(`s3://undo/shop@${server.endpoint}`), { credentials: await server.as('undo', policyOf('gateway', 'undo')) });
      const name = await putVerified(gateway, Buffer.from('least rights'), '.zst');
      await gateway.put(name, Buffer.from('least rights'));
      await assert.rejects(gateway.remove(name), failsWith('bucket_unavailable'));
      await assert.rejects(names(gateway), failsWith('bucket_unavailable'));
      const outside = openS3Bucket(parseS3Place(`s3://undo/elsewhere@${server.endpoint}`), { credentials: await server.as('undo', policyOf('gateway', 'undo')) });
      await assert.rejects(putVerified(outside, Buffer.from('x'), '.zst'), failsWith('bucket_unavailable'));
      const purging = openS3Bucket(parseS3Place(`s3://undo/shop@${server.endpoint}`), { credentials: await server.as('undo', policyOf('purge', 'undo')) });
      assert.equal((await getChecked(purging, name)).toString(), 'least rights');
      await assert.rejects(putVerified(purging, Buffer.from('another'), '.zst'), failsWith('bucket_unavailable'));
      await purging.remove(name);
      await assert.rejects(bucket.get(name), failsWith('not_found'));
      for (const one of [gateway, outside, purging]) await one.close();
    });

    it('keeps what a purge meets locked, on record as left, and says until when', () => withStore(async (store) => {
      const place = parseS3Place(`s3://locked/shop@${server.endpoint}`);
      const locking = openS3Bucket(place, { credentials: await server.as('locked', policyOf('gateway', 'locked', ['s3:PutObjectRetention'])), lockDays: 2 });
      const { id, settle } = await keepPoint(await pointRoom(locking, store.recoveryPoints), { at: new Date('2026-01-01T00:00:00.000Z'), rows: 3_000 });
      settle('committed');
      await until('it is committed', async () => (await store.recoveryPoints.get(id)).state === 'committed');
      const purging = openS3Bucket(place, { credentials: await server.as('locked', policyOf('purge', 'locked')) });
      const record = createPurgeRecord(store);
      const { points, objects, lockedCount, locked } = await purge({ points: store.recoveryPoints, record, emptyBin: () => Promise.resolve(), bucket: { remove: (name) => purging.remove(name as ObjectName) } }, { until: '2026-02-01T00:00:00.000Z', by: 'olga', note: 'a test' });
      assert.deepEqual([points, objects, (await record.left('', 10)).map((left) => left.id)], [1, 0, [id]]);
      assert.ok(lockedCount > 1 && locked.every((why) => /^shop\/objects\/.* is locked until \d{4}-\d\d-\d\d$/.test(why)), locked.join('\n'));
      for (const one of [locking, purging]) await one.close();
    }));

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
