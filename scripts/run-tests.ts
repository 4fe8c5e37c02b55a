/**
 * Runs the stages it is given (`check`, `unit`, `integration`, `peers`) one after the other, and says for each file how
 * many tests passed and how long they took; a failure is shown at once and whole. It goes on after a failed stage, so
 * that one run tells all. Its last line is the totals, `N passed, N failed` with `, N skipped` when there were any, and
 * its exit code is 1 when anything failed or when a stage found nothing to run.
 */
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { join, relative } from 'node:path';
import { run } from 'node:test';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';

interface Totals { readonly passed: number; readonly failed: number; readonly skipped: number }
interface Stage {
  readonly files: readonly string[];
  readonly concurrency: number;
  /** For one file. */
  readonly msMax: number;
}
type FileTotals = { passed: number; failed: number; skipped: number; ms: number };

const root = fileURLToPath(new URL('..', import.meta.url));
const stages: Readonly<Record<string, Stage>> = {
  unit: { files: ['src/**/*.test.ts', 'scripts/**/*.test.ts', 'test/*.test.ts'], concurrency: 2, msMax: 120_000 },
  integration: { files: ['test/integration/**/*.test.ts'], concurrency: 2, msMax: 180_000 },
  peers: { files: ['test/peers/**/*.test.ts'], concurrency: 1, msMax: 15 * 60_000 },
};
const interrupted = new AbortController();

process.once('SIGINT', () => interrupted.abort()).once('SIGTERM', () => interrupted.abort());
process.chdir(root);

const asked = process.argv.slice(2);
const wanted = asked.length === 0 ? ['check', 'unit', 'integration'] : asked;
let total: Totals = { passed: 0, failed: 0, skipped: 0 };
for (const name of wanted) {
  if (interrupted.signal.aborted) break;
  const started = performance.now();
  console.log(`\n── ${name}`);
  const totals = name === 'check' ? await checkTypes() : await runStage(name);
  console.log(`── ${name}: ${describe(totals)} in ${seconds(performance.now() - started)}`);
  total = { passed: total.passed + totals.passed, failed: total.failed + totals.failed, skipped: total.skipped + totals.skipped };
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

async function runFiles(files: readonly string[], stage: Stage): Promise<Totals> {
  const perFile = new Map<string, FileTotals>();
  const of = (file: string | undefined): FileTotals => {
    const path = relative(root, file ?? root);
    const found = perFile.get(path) ?? { passed: 0, failed: 0, skipped: 0, ms: 0 };
    perFile.set(path, found);
    return found;
  };
  const events = run({
    files: [...files], concurrency: stage.concurrency, timeout: stage.msMax, signal: interrupted.signal,
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  events.on('test:pass', (event) => {
    if (event.details.type === 'suite') return;
    of(event.file)[event.skip !== undefined || event.todo !== undefined ? 'skipped' : 'passed'] += 1;
  });
  events.on('test:fail', (event) => {
    if (isCausedByChild(event.details.error)) return;
    of(event.file).failed += 1;
    console.log(`\n✖ ${relative(root, event.file ?? '')}${event.line === undefined ? '' : `:${event.line}`} › ${event.name}\n${indent(explain(event.details.error))}\n`);
  });
  events.on('test:stderr', (event) => process.stdout.write(`  ${relative(root, event.file)}: ${event.message}`));
  events.on('test:summary', (event) => {
    if (event.file === undefined) return;
    const own = of(event.file);
    // A file that runs the tests of others: they are counted under their own names, and shown here.
    const totals = own.passed + own.failed + own.skipped > 0 ? own : fromCounts(event.counts);
    console.log(`${totals.failed > 0 ? '✖' : '✔'} ${relative(root, event.file)}  ${describe(totals)}  ${seconds(event.duration_ms)}`);
  });
  await new Promise((resolve) => events.once('end', resolve).resume());
  return [...perFile.values()].reduce<Totals>((sum, file) => ({
    passed: sum.passed + file.passed, failed: sum.failed + file.failed, skipped: sum.skipped + file.skipped,
  }), { passed: 0, failed: 0, skipped: 0 });
}

function fromCounts({ tests, passed, skipped, todo }: { readonly tests: number; readonly passed: number; readonly skipped: number; readonly todo: number }): Totals {
  return { passed, failed: tests - passed - skipped - todo, skipped: skipped + todo };
}

/** A parent fails because a test inside it did: that one has been counted. A hook that failed has not. */
function isCausedByChild(error: unknown): boolean {
  return error instanceof Error && 'failureType' in error && error.failureType === 'subtestsFailed';
}

function explain(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? inspect(cause, { depth: 4 }) : inspect(error);
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
