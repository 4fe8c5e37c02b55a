/**
 * A changed file is noticed however it was replaced, and a half-written one is not taken.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { until } from '../../test/fixtures/until.ts';
import { policySignature, watchPolicy, type PolicyWatch } from './policy-watch.ts';

const folder = mkdtempSync(join(tmpdir(), 'watch-'));
after(() => { rmSync(folder, { recursive: true }); });
const everyMs = 5;

async function watchFrom(path: string, onChange: Parameters<typeof watchPolicy>[1]['onChange'], every = everyMs): Promise<PolicyWatch> {
  return watchPolicy(path, { since: await policySignature(path), onChange, everyMs: every });
}

/** Runs `change` on a watched file and resolves once that was noticed. */
async function notices(name: string, change: (path: string) => void): Promise<void> {
  const path = join(folder, name);
  writeFileSync(path, 'a');
  let noticed = 0;
  const watch = await watchFrom(path, () => { noticed += 1; return Promise.resolve(true); });
  try {
    change(path);
    await until('the change is noticed', () => Promise.resolve(noticed > 0 || undefined));
  } finally {
    await watch.close();
  }
  assert.equal(noticed, 1);
}

test('a file that is written', () => notices('written', (path) => { writeFileSync(path, 'changed'); }));
test('a file that is replaced by a rename', () => notices('renamed', (path) => { writeFileSync(`${path}.new`, 'b'); renameSync(`${path}.new`, path); }));
test('a file that is removed', () => notices('removed', (path) => { unlinkSync(path); }));
test('a link that is switched', () => notices('linked', (path) => {
  writeFileSync(`${path}.target`, 'b');
  symlinkSync(`${path}.target`, `${path}.link`);
  renameSync(`${path}.link`, path);
}));

test('a change that is not done is told again', async () => {
  const path = join(folder, 'again');
  writeFileSync(path, 'a');
  let calls = 0;
  const watch = await watchFrom(path, () => Promise.resolve(++calls === 3));
  writeFileSync(path, 'changed');
  await until('it was told three times', () => Promise.resolve(calls === 3 || undefined));
  await watch.close();
  assert.equal(calls, 3);
});

test('a file that is still being written is left alone', async () => {
  const path = join(folder, 'growing');
  writeFileSync(path, 'a');
  const seen: number[] = [];
  let length = 1;
  // Every look finds it longer than the one before, until it is whole.
  const grow = setInterval(() => { if (length < 40) { length += 1; writeFileSync(path, 'a'.repeat(length)); } }, 1);
  const watch = await watchFrom(path, () => { seen.push(length); return Promise.resolve(true); }, 30);
  await until('it is noticed', () => Promise.resolve(seen.length > 0 || undefined));
  clearInterval(grow);
  await watch.close();
  assert.deepEqual(seen, [40]);
});

test('what was changed before the watch began, and after the file was read, is noticed', async () => {
  const path = join(folder, 'early');
  writeFileSync(path, 'a');
  const since = await policySignature(path);
  writeFileSync(path, 'changed');
  let noticed = 0;
  const watch = watchPolicy(path, { since, onChange: () => { noticed += 1; return Promise.resolve(true); }, everyMs });
  await until('it is noticed', () => Promise.resolve(noticed > 0 || undefined));
  await watch.close();
});

test('a file that is written again while it is read is told apart, and told again', async () => {
  const path = join(folder, 'rewritten');
  writeFileSync(path, 'a');
  const answers: boolean[] = [];
  const watch = await watchFrom(path, async (isUnchanged) => {
    if (answers.length === 0) writeFileSync(path, 'written again');
    const answer = await isUnchanged();
    answers.push(answer);
    return answer;
  });
  writeFileSync(path, 'changed');
  await until('it was told twice', () => Promise.resolve(answers.length === 2 || undefined));
  await watch.close();
  assert.deepEqual(answers, [false, true]);
});
