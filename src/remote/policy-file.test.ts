/**
 * A shipped policy is found by its name from anywhere, a file by its path, and nothing else is ever taken.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Failure } from '../core/failure.ts';
import { loadPolicy, shippedPolicies } from './policy-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'policy-'));
after(() => { rmSync(folder, { recursive: true }); });
const invalid = (message: RegExp) => (error: unknown) => error instanceof Failure && error.code === 'policy_invalid' && message.test(error.message);

test('every shipped policy loads by its name', async () => {
  const names = await shippedPolicies();
  assert.deepEqual(names, ['develop', 'observe', 'protect', 'read-only', 'strict']);
  for (const name of names) assert.equal((await loadPolicy(name)).name, name);
});

test('a file loads by its path, and its mistakes bear that path', async () => {
  const path = join(folder, 'mine.yaml');
  writeFileSync(path, 'name: mine\ndescription: d\nlevels: { SAFE: allow, LOW: allow, HIGH: hold, CRITICAL: deny }\n');
  assert.equal((await loadPolicy(path)).name, 'mine');
  writeFileSync(path, 'name: mine\nlevels: {}\n');
  await assert.rejects(loadPolicy(path), invalid(/mine\.yaml:1:1: `description` is missing/));
});

test('a name that is not shipped is refused with what is', async () => {
  await assert.rejects(loadPolicy('protekt'), invalid(/no policy protekt; shipped are develop.*Did you mean protect\?/));
});

test('a missing file and a folder are refused', async () => {
  await assert.rejects(loadPolicy(join(folder, 'none.yaml')), invalid(/cannot be read \(ENOENT\)/));
  await assert.rejects(loadPolicy(`${folder}/`), invalid(/cannot be read \(EISDIR\)/));
});
