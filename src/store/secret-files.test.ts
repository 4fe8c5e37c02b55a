/** Secret files: made once, whole, and for their owner only. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { Failure } from '../core/failure.ts';
import { readOrMakeSecretFile } from './secret-files.ts';
import { newFolder } from '../../test/fixtures/store.ts';

test('a secret is made once, kept, and readable by its owner only', () => {
  const folder = newFolder();
  const path = join(folder, 'deep', 'key');
  assert.equal(readOrMakeSecretFile(path, () => 'first'), 'first');
  assert.equal(readOrMakeSecretFile(path, () => 'second'), 'first');
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(dirname(path)), ['key']);
  rmSync(folder, { recursive: true });
});

test('a file that cannot be made is a failure that names it', () => {
  const folder = newFolder();
  writeFileSync(join(folder, 'file'), '');
  assert.throws(() => readOrMakeSecretFile(join(folder, 'file', 'key'), () => 'x'), (error) => error instanceof Failure && error.message.includes('key'));
  mkdirSync(join(folder, 'dir'));
  assert.throws(() => readOrMakeSecretFile(join(folder, 'dir'), () => 'x'), (error) => error instanceof Failure && error.code === 'store_unavailable');
  rmSync(folder, { recursive: true });
});
