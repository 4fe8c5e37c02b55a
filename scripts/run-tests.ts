/**
 * Runs the stages it is given (`check`, `unit`, `integration`, `peers`) one after the other, and says for each file how
 * many tests passed and how long they took; a failure is shown at once and whole. A file that does not end in the time
 * of its stage is ended and counts as one failure. It goes on after a failed file or stage, so that one run tells all.
 * Its last line is the totals, `N passed, N failed` with `, N skipped` when there were any, and its exit code is 1 when
 * anything failed or when a stage found nothing to run.
 */
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runTestFile, type Totals } from './test-run/test-file.ts';

interface Stage {
  readonly files: readonly string[];
  readonly concurrency: number;
  /** For one file, several times what the longest takes on a busy machine: it is there for one that hangs. */
  readonly msMax: number;
}

const root = fileURLToPath(new URL('..', import.meta.url));
const stages: Readonly<Record<string, Stage>> = {
  unit: { files: ['src/**/*.test.ts', 'scripts/**/*.test.ts', 'test/*.test.ts'], concurrency: 2, msMax: 240_000 },
  integration: { files: ['test/integration/**/*.test.ts'], concurrency: 2, msMax: 300_000 },
  peers: { files: ['test/peers/**/*.test.ts'], concurrency: 1, msMax: 15 * 60_000 },
};
const none: Totals = { passed: 0, failed: 0, skipped: 0 };
const interrupted = new AbortController();

// Every time: what was started is ended before we are.
process.on('SIGINT', () => interrupted.abort()).on('SIGTERM', () => interrupted.abort());
process.chdir(root);

const asked = process.argv.slice(2);
const wanted = asked.length === 0 ? ['check', 'unit', 'integration'] : asked;
let total = none;
for (const name of wanted) {
  if (interrupted.signal.aborted) break;
  const started = performance.now();
  console.log(`\n── ${name}`);
  const totals = name === 'check' ? await checkTypes() : await runStage(name);
  console.log(`── ${name}: ${describe(totals)} in ${seconds(performance.now() - started)}`);
  total = add(total, totals);
}
if (interrupted.signal.aborted) console.log('\nInterrupted before the end.');
console.log(`\n${describe(total)}`);
process.exitCode = interrupted.signal.aborted ? 130 : total.failed > 0 ? 1 : 0;

/** The type check counts as one test. */
function checkTypes(): Promise<Totals> {
  const compiler = spawn(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', '.'], { stdio: ['ignore', 1, 1], signal: interrupted.signal });
  return new Promise((resolve) => {
    const end = (isGood: boolean): void => resolve({ passed: isGood ? 1 : 0, failed: isGood ? 0 : 1, skipped: 0 });
    compiler.once('error', () => end(false)).once('exit', (code) => end(code === 0));
  });
}

async function runStage(name: string): Promise<Totals> {
  const stage = stages[name];
  const files = stage === undefined ? [] : globSync([...stage.files]).sort();
  if (stage === undefined || files.length === 0) {
    console.log(stage === undefined ? `there is no stage ${name}; there are check, ${Object.keys(stages).join(', ')}` : 'no test file was found');
    return { passed: 0, failed: 1, skipped: 0 };
  }
  return runFiles(files.map((file) => join(root, file)), stage);
}

/** So many at a time, in order. */
async function runFiles(files: readonly string[], { concurrency, msMax }: Stage): Promise<Totals> {
  const waiting = [...files];
  const results: Totals[] = [];
  const work = async (): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined && !interrupted.signal.aborted; file = waiting.shift()) results.push(await runOne(file, msMax));
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  return results.reduce(add, none);
}

async function runOne(file: string, msMax: number): Promise<Totals> {
  const path = relative(root, file);
  const result = await runTestFile(file, {
    msMax, signal: interrupted.signal,
    onFailure: ({ name, file: at = file, line, why }) => {
      console.log(`\n✖ ${relative(root, at)}${line === undefined ? '' : `:${line}`} › ${name}\n${indent(why)}\n`);
    },
    onStderr: (text) => process.stdout.write(`  ${path}: ${text}`),
  });
  if (result.leftProcesses) console.log(`  ${path}: left processes running, which were ended`);
  if (!interrupted.signal.aborted) console.log(`${result.failed > 0 ? '✖' : '✔'} ${path}  ${describe(result)}  ${seconds(result.ms)}`);
  return result;
}

function add(one: Totals, other: Totals): Totals {
  return { passed: one.passed + other.passed, failed: one.failed + other.failed, skipped: one.skipped + other.skipped };
}

function indent(text: string): string {
  return text.split('\n').map((line) => `    ${line}`).join('\n');
}

function describe({ passed, failed, skipped }: Totals): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
