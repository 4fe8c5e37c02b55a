/**
 * The runner of one file, against files that end as they should not: each is counted right, none outlives its time, and
 * what it started dies with it.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { until } from '../../test/fixtures/until.ts';
import { runTestFile, type TestFileResult } from './test-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'backstop-test-run-'));
after(() => { rmSync(folder, { recursive: true, force: true }); });

/** Enough to start, and to tell what it did before it hangs. */
const hangMsMax = 6_000;
const endMsMax = 60_000;
let made = 0;

async function run(text: string, msMax: number, signal = new AbortController().signal): Promise<{ readonly result: TestFileResult; readonly failures: string; readonly stderr: string; readonly path: string }> {
  const path = join(folder, `file-${made += 1}.ts`);
  writeFileSync(path, `import { after, before, describe, test } from 'node:test';\n${text}`);
  let [failures, stderr] = ['', ''];
  const result = await runTestFile(path, {
    msMax, signal, onFailure: ({ name, file, why }) => { failures += `${file}: ${name}: ${why}\n`; }, onStderr: (told) => { stderr += told; },
  });
  return { result, failures, stderr, path };
}

const good = "test('good', () => {});";
const fails = "throw new Error('broken');";
const rows: readonly (readonly [what: string, text: string, counts: readonly [passed: number, failed: number, skipped: number], says: RegExp, msMax?: number])[] = [
  ['passes', `${good} describe('group', () => { ${good} });`, [2, 0, 0], /^$/],
  ['fails in a test inside another: the outer one is not counted', `test('outer', async (t) => { await t.test('inner', () => { ${fails} }); });`, [0, 1, 0], /inner: Error: broken/],
  ['skips, and has a test to be done that fails', `test('skipped', { skip: true }, () => {}); test('later', { todo: true }, () => { ${fails} });`, [0, 0, 2], /^$/],
  ['skips a whole group, as where a program is not installed', `describe('group', { skip: 'not installed' }, () => { ${good} ${good} });`, [0, 0, 1], /^$/],
  ['has a group to be done', `describe('group', { todo: true }, () => { ${good} });`, [0, 0, 1], /^$/],
  ['fails in a hook after its tests', `describe('group', () => { after(() => { ${fails} }); ${good} });`, [1, 1, 0], /group: Error: broken/],
  ['fails in a hook before its tests: none of them has run', `describe('group', () => { before(() => { ${fails} }); ${good} });`, [0, 2, 0], /group: Error: broken/],
  ['fails in a hook of the file, which node ends with code 0', `after(() => { ${fails} }); ${good}`, [1, 1, 0], /Error: broken/],
  ['cannot be loaded', fails, [0, 1, 0], /ended with code 1/],
  ['fails between its tests', `test('good', () => { setTimeout(() => { ${fails} }); });`, [1, 1, 0], /ended with code 1, and no test says why/],
  ['crashes', `${good} test('bad', async () => { await new Promise(setImmediate); process.kill(process.pid, 'SIGKILL'); });`, [1, 1, 0], /SIGKILL while a test was running: bad/],
  ['leaves in the middle as if all were well', `${good} test('bad', async () => { await new Promise(setImmediate); process.exit(0); }); ${good}`, [1, 1, 0], /code 0 while a test was running: bad/],
  ['holds no test', '', [0, 1, 0], /holds no test/],
  ['loops for ever', `${good} test('bad', async () => { await new Promise(setImmediate); for (;;); });`, [1, 1, 0], /limit of 6 s .* still running: bad/, hangMsMax],
  ['waits for ever', `setInterval(() => {}, 1e6); ${good} test('bad', () => new Promise(() => {}));`, [1, 1, 0], /limit of 6 s .* still running: bad/, hangMsMax],
  ['keeps a handle open', `setInterval(() => {}, 1e6); ${good}`, [1, 1, 0], /limit of 6 s .* keeps something open/, hangMsMax],
  ['does not listen when it is asked to end', `process.on('SIGTERM', () => {}); setInterval(() => {}, 1e6); ${good}`, [1, 1, 0], /limit of 6 s/, hangMsMax],
];
describe('counted', { concurrency: 4 }, () => {
  for (const [what, text, [passed, failed, skipped], says, msMax = endMsMax] of rows) {
    test(`a file that ${what}`, async () => {
      const { result, failures } = await run(text, msMax);
      assert.deepEqual([result.passed, result.failed, result.skipped], [passed, failed, skipped], failures);
      assert.match(failures, says);
    });
  }
});

test('a file as a whole that fails is named, and its standard error is shown', async () => {
  const { failures, stderr, path } = await run(fails, endMsMax);
  assert.ok(failures.startsWith(`${path}: the file as a whole: `), failures);
  assert.match(stderr, /Error: broken/);
});

/** A child in the group of the file, and one in a group of its own that does not listen either. */
function startingServers(pids: string): string {
  return `
    import { spawn } from 'node:child_process';
    import { writeFileSync } from 'node:fs';
    const deaf = "process.on('SIGTERM', () => {}); process.send('deaf'); setInterval(() => {}, 1e6);";
    const start = (detached) => new Promise((resolve) => {
      const child = spawn(process.execPath, ['-e', deaf], { detached, stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
      child.once('message', () => { child.disconnect(); child.unref(); resolve(child.pid); });
    });
    writeFileSync(${JSON.stringify(pids)}, JSON.stringify([await start(false), await start(true)]));
    ${good}`;
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test('the servers of a file that hangs die with it, even one that leads a group of its own', async () => {
  const pids = join(folder, 'hanging.json');
  const { result, failures } = await run(`${startingServers(pids)} setInterval(() => {}, 1e6);`, hangMsMax);
  assert.deepEqual([result.passed, result.failed], [1, 1], failures);
  const servers = JSON.parse(readFileSync(pids, 'utf8')) as readonly number[];
  await until('no server is left', () => Promise.resolve(!servers.some(isRunning)));
  assert.equal(servers.length, 2);
});

test('what a file leaves running in its group is ended, and told', async () => {
  const pids = join(folder, 'leaving.json');
  const { result } = await run(startingServers(pids), endMsMax);
  const [inGroup = 0, ofItsOwn = 0] = JSON.parse(readFileSync(pids, 'utf8')) as readonly number[];
  process.kill(ofItsOwn, 'SIGKILL');
  assert.deepEqual([result.passed, result.failed, result.leftProcesses], [1, 0, true]);
  await until('it is ended', () => Promise.resolve(!isRunning(inGroup)));
});

test('an interrupted file is ended, and what it was doing is no failure', async () => {
  const started = join(folder, 'started');
  const interrupting = new AbortController();
  const running = run(`import { writeFileSync } from 'node:fs'; writeFileSync(${JSON.stringify(started)}, ''); setInterval(() => {}, 1e6); ${good}`, endMsMax, interrupting.signal);
  await until('it runs', () => Promise.resolve(existsSync(started)));
  interrupting.abort();
  const { result } = await running;
  assert.equal(result.failed, 0);
  assert.ok(result.ms < endMsMax);
});
