/** What a sync covers, with a real file; that it reaches the disk itself is the operating system's promise. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openFileSync } from './file-sync.ts';

const folder = mkdtempSync(join(tmpdir(), 'backstop-file-sync-'));
after(() => { rmSync(folder, { recursive: true }); });
const path = join(folder, 'file');
writeFileSync(path, 'x');

test('callers that come while one sync runs share the one that begins after it', async () => {
  const file = openFileSync(path);
  const first = file.sync();
  await Promise.resolve();
  const [second, third] = [file.sync(), file.sync()];
  assert.notEqual(second, first);
  assert.equal(third, second);
  await Promise.all([first, second, third]);
  await file.close();
});

test('a file that cannot be synced is an error for whoever relies on it, each time', async () => {
  const file = openFileSync(path);
  await file.close();
  await assert.rejects(file.sync());
  await assert.rejects(file.sync());
});

test('a file that is not there is an error', () => {
  assert.throws(() => openFileSync(join(folder, 'none')), /ENOENT/);
});
