/** One Backstop serves from a data folder at a time, and its end frees the folder. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Failure } from '../core/failure.ts';
import { claimFolder, shareClaim } from './claim.ts';
import { newFolder } from '../../test/fixtures/store.ts';

const failsWith = (code: Failure['code']) => (error: unknown): boolean => error instanceof Failure && error.code === code;

test('one process serves from a folder at a time, and its end frees it', () => {
  const folder = newFolder();
  const first = claimFolder(folder);
  assert.throws(() => claimFolder(folder), failsWith('conflict'));
  first.release();
  claimFolder(folder).release();
  rmSync(folder, { recursive: true });
});

test('nobody else can open what is locked', () => {
  const folder = newFolder();
  const [claim, share] = [claimFolder(folder), shareClaim(folder)];
  assert.deepEqual(['serving.lock', 'workers.lock'].map((name) => statSync(join(folder, name)).mode & 0o077), [0, 0]);
  share.release();
  claim.release();
  rmSync(folder, { recursive: true });
});

test('a process that was killed frees its folder at once', async () => {
  const folder = newFolder();
  const holder = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', `
    import { claimFolder } from ${JSON.stringify(new URL('claim.ts', import.meta.url).href)};
    globalThis.kept = claimFolder(process.argv[1]);
    process.stdout.write('claimed');
    setInterval(() => globalThis.kept, 1000);`, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  assert.throws(() => claimFolder(folder), failsWith('conflict'));
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  claimFolder(folder).release();
  rmSync(folder, { recursive: true });
});

test('while a worker of the one that claimed it lives, nobody else can claim a folder, and workers do not hinder each other', () => {
  const folder = newFolder();
  const first = claimFolder(folder);
  const workers = [shareClaim(folder), shareClaim(folder)];
  first.release();
  assert.throws(() => claimFolder(folder, 50), failsWith('conflict'));
  for (const worker of workers) worker.release();
  claimFolder(folder).release();
  rmSync(folder, { recursive: true });
});

test('a folder that is a file is refused by name', () => {
  const folder = newFolder();
  writeFileSync(join(folder, 'file'), '');
  assert.throws(() => claimFolder(join(folder, 'file')), (error) => failsWith('store_unavailable')(error) && error instanceof Failure && error.message.includes(folder));
  rmSync(folder, { recursive: true });
});
