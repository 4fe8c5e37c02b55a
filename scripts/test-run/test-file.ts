/**
 * Runs one test file in a process that leads a group of its own, and counts what it tells. A file that does not end in its
 * time is ended, with every process it has started, and counts as one failure; so does one that ends without having told
 * everything, fails outside its tests, or holds none. What a file leaves running is ended too.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { endFamily } from './process-family.ts';
import { toldDescriptor, type Told } from './tell-results.ts';

export interface Totals { readonly passed: number; readonly failed: number; readonly skipped: number }
export interface TestFileResult extends Totals { readonly ms: number; readonly leftProcesses: boolean }
export type TestFailure = Omit<Extract<Told, { kind: 'failed' }>, 'kind'>;

export interface TestFileOptions {
  readonly msMax: number;
  readonly signal: AbortSignal;
  /** At once. */
  readonly onFailure: (failure: TestFailure) => void;
  readonly onStderr: (text: string) => void;
}

type Ending = { readonly kind: 'exit'; readonly how: string; readonly isGood: boolean } | { readonly kind: 'late' } | { readonly kind: 'interrupted' };

const reporter = fileURLToPath(new URL('tell-results.ts', import.meta.url));
/** For what was written before the end and not yet read; a process that was left behind may hold the pipe open. */
const readMsMax = 1_000;
const namesShownMax = 5;

export async function runTestFile(file: string, options: TestFileOptions): Promise<TestFileResult> {
  const started = performance.now();
  // Under `node --test` this variable would make the file speak node's own format.
  const { NODE_TEST_CONTEXT: _outer, ...env } = process.env;
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', `--test-reporter=${reporter}`, file], {
    env, detached: true, stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  });
  child.stderr?.setEncoding('utf8').on('data', options.onStderr);
  const tally = new Tally(file, options.onFailure);
  createInterface({ input: child.stdio[toldDescriptor] as Readable }).on('line', (line) => { tally.take(line); });
  const allRead = new Promise((resolve) => { child.once('close', resolve); });
  const ending = await endingOf(child, options);
  const leftProcesses = child.pid !== undefined && await endFamily(child.pid);
  await Promise.race([allRead, new Promise((resolve) => { setTimeout(resolve, readMsMax).unref(); })]);
  for (const stream of child.stdio) stream?.destroy();
  tally.close(ending, options.msMax);
  return { ...tally.totals, ms: performance.now() - started, leftProcesses: leftProcesses && ending.kind === 'exit' };
}

function endingOf(child: ChildProcess, { msMax, signal }: TestFileOptions): Promise<Ending> {
  return new Promise((resolve) => {
    const end = (ending: Ending): void => { clearTimeout(timer); signal.removeEventListener('abort', interrupt); resolve(ending); };
    const timer = setTimeout(() => { end({ kind: 'late' }); }, msMax);
    const interrupt = (): void => { end({ kind: 'interrupted' }); };
    signal.addEventListener('abort', interrupt);
    if (signal.aborted) interrupt();
    child.once('error', (error) => { end({ kind: 'exit', how: `could not be started (${error.message})`, isGood: false }); });
    child.once('exit', (code, killed) => { end({ kind: 'exit', how: `ended with ${killed ?? `code ${code}`}`, isGood: code === 0 }); });
  });
}

class Tally {
  readonly #file: string;
  readonly #onFailure: (failure: TestFailure) => void;
  readonly #running = new Map<number, string>();
  readonly #counts = { passed: 0, failed: 0, skipped: 0 };
  #isWhole = false;

  constructor(file: string, onFailure: (failure: TestFailure) => void) {
    this.#file = file;
    this.#onFailure = onFailure;
  }

  get totals(): Totals { return this.#counts; }

  take(line: string): void {
    const told = parse(line);
    if (told === undefined) return;
    switch (told.kind) {
      case 'begun': this.#running.set(told.id, told.name); break;
      case 'over': this.#running.delete(told.id); break;
      case 'end': this.#isWhole = true; break;
      case 'failed': this.#onFailure(told); this.#counts.failed += 1; break;
      default: this.#counts[told.kind] += 1;
    }
  }

  /** What its tests could not tell of the file. */
  close(ending: Ending, msMax: number): void {
    const why = this.#problem(ending, msMax);
    if (why === undefined) return;
    this.#counts.failed += 1;
    this.#onFailure({ name: 'the file as a whole', file: this.#file, line: undefined, why });
  }

  #problem(ending: Ending, msMax: number): string | undefined {
    const { passed, failed, skipped } = this.#counts;
    const running = [...this.#running.values()];
    switch (ending.kind) {
      case 'interrupted': return undefined;
      case 'late': return `it did not end within its limit of ${msMax / 1_000} s and was ended, with all that it had started; ${describeRunning(running)}`;
      case 'exit':
        if (!this.#isWhole && running.length > 0) return `it ${ending.how} while a test was running: ${running.slice(0, namesShownMax).join(', ')}`;
        if (!ending.isGood && (failed === 0 || !this.#isWhole)) return `it ${ending.how}, and no test says why`;
        return passed + failed + skipped === 0 ? 'it holds no test' : undefined;
    }
  }
}

/** Nothing for the beginning of a line, which is all that a process can say that is killed while it speaks. */
function parse(line: string): Told | undefined {
  try {
    return JSON.parse(line) as Told;
  } catch {
    return undefined;
  }
}

function describeRunning(names: readonly string[]): string {
  if (names.length === 0) return 'no test was known to run: it keeps something open, or never comes to rest';
  return `still running: ${names.slice(0, namesShownMax).join(', ')}`;
}
