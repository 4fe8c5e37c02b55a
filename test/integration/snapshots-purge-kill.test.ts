/** Killed in the middle, a purge has removed nothing that is not on record as purged, and the next one goes on. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openMemory, type Memory } from '../../src/app/memory.ts';
import { openFolderBucket } from '../../src/remote/bucket/folder.ts';
import { keepPoint, pointRoom, readsBack } from '../fixtures/kept-point.ts';
import { newFolder } from '../fixtures/store.ts';
import { until } from '../fixtures/until.ts';

const program = fileURLToPath(new URL('../../bin/backstop', import.meta.url));
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('BACKSTOP_')));
const [data, lookMs] = [newFolder(), 1];
const bucket = join(data, 'recovery-points');
const daysAgo = (days: number): Date => new Date(Date.now() - days * 86_400_000);
const objects = (): readonly string[] => readdirSync(bucket, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.zst'));

async function withMemory<T>(work: (memory: Memory) => Promise<T>): Promise<T> {
  const memory = await openMemory({ kind: 'sqlite', folder: data });
  try {
    return await work(memory);
  } finally {
    await memory.close();
  }
}

/** Ended by itself, or by SIGKILL once it has removed so many. */
async function purge(token: string, killAfter: number): Promise<number | null> {
  const left = objects().length - killAfter;
  const child = spawn(program, ['snapshots', 'purge', '--yes', '--data', data], { env: { ...env, BACKSTOP_OPERATOR_TOKEN: token }, stdio: 'ignore', cwd: tmpdir(), detached: true });
  let isOver = false;
  const ended = new Promise<number | null>((resolve) => { child.once('exit', (code) => { isOver = true; resolve(code); }); });
  while (!isOver && objects().length > left) await pause(lookMs);
  // With the shell that started it.
  if (!isOver && child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  return ended;
}

test('each time that it is killed the record promises nothing that is gone, and in the end all that is expired is gone', async () => {
  const { token, young } = await withMemory(async (memory) => {
    const room = await pointRoom(await openFolderBucket(bucket), memory.recoveryPoints);
    const kept: string[] = [];
    for (let index = 0; index < 48; index += 1) {
      const { id, settle } = await keepPoint(room, { at: daysAgo(index % 12 === 0 ? 3 : 40), rows: 3_000 });
      settle('committed');
      await until(`${id} is committed`, async () => (await memory.recoveryPoints.get(id)).state === 'committed');
      if (index % 12 === 0) kept.push(id);
    }
    return { young: kept, ...await memory.identities.addOperator('olga') };
  });
  const all = objects().length;
  let killed = 0;
  for (let round = 0; round < 6 && objects().length > 0; round += 1) {
    if (await purge(token, 1 + 9 * round) === null) killed += 1;
    await withMemory(async ({ recoveryPoints: points }) => {
      const room = await pointRoom(await openFolderBucket(bucket), points);
      const standing = (await points.list({ limit: 1_000 })).filter(({ state }) => state !== 'purged');
      for (const { id } of standing) await readsBack(room, id);
      for (const id of young) assert.ok(standing.some((point) => point.id === id), id);
    });
  }
  assert.ok(killed > 1, `killed ${killed} times`);
  assert.equal(await purge(token, all), 0);
  await withMemory(async ({ recoveryPoints: points, ledger }) => {
    assert.equal((await points.list({ states: ['purged'], limit: 1_000 })).length, 44);
    const there = objects();
    assert.deepEqual(await points.needed(there), new Set(there));
    assert.equal((await ledger.verify()).broken, undefined);
  });
});
