/**
 * The storage that configuration names: made where it is missing, for its owner only; a mistake is told by name.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import { Failure } from '../core/failure.ts';
import { createSeal } from '../remote/bucket/seal.ts';
import { checkStorage, openerOf, openStorage } from './storage.ts';

const folder = mkdtempSync(join(tmpdir(), 'storage-'));
after(() => { rmSync(folder, { recursive: true }); });
const failsWith = (code: string) => (error: unknown): boolean => error instanceof Failure && error.code === code;
const at = (storage: string): Parameters<typeof openStorage>[0] => ({ storage, region: undefined, lockDays: undefined });

test('a folder is made on the first start, for its owner only', async () => {
  const storage = join(folder, 'data', 'recovery-points');
  await checkStorage({ storage });
  await (await openStorage(at(storage))).close();
  assert.equal(statSync(storage).mode & 0o777, 0o700);
});

test('a place in S3 is opened without being asked, and one that is none is refused at the start', async () => {
  const bucket = await openStorage(at('s3://undo/shop@http://127.0.0.1:9'));
  assert.equal(bucket.place, 's3://undo/shop/@http://127.0.0.1:9');
  await bucket.close();
  await assert.rejects(checkStorage({ storage: 's3://U' }), failsWith('config_invalid'));
});

test('identities are read as age-keygen writes them', async () => {
  const identity = await generateX25519Identity();
  const identitiesFile = join(folder, 'identities.txt');
  writeFileSync(identitiesFile, `# created: 2026-11-21\n# public key: ${await identityToRecipient(identity)}\n${identity}\n`);
  const seal = await createSeal([await identityToRecipient(identity)]);
  assert.equal((await (await openerOf({ identitiesFile })).open(await seal.close(Buffer.from('rows')), seal.ending)).toString(), 'rows');
  const unencrypted = await createSeal([]);
  assert.equal((await (await openerOf({ identitiesFile: undefined })).open(await unencrypted.close(Buffer.from('rows')), unencrypted.ending)).toString(), 'rows');
});

test('a file without identities, or none at all, is named', async () => {
  const empty = join(folder, 'empty.txt');
  writeFileSync(empty, '# nothing\n\n');
  for (const identitiesFile of [empty, join(folder, 'none.txt')]) {
    assert.throws(() => openerOf({ identitiesFile }), (error: unknown) => failsWith('config_invalid')(error) && error instanceof Error && error.message.includes(identitiesFile));
  }
});
