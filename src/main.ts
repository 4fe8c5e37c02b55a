/**
 * The executable: one command in, an exit code out. It gives the command line what it needs of the process (streams,
 * signals, time) and of the app. A Failure becomes one sentence further in; whatever else arrives here is a fault of the
 * program, is shown whole, and ends with exit code 70.
 */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { isatty } from 'node:tty';
import { fileURLToPath } from 'node:url';
import { startBackstop } from './app/backstop.ts';
import { openHardening } from './app/hardening.ts';
import { livePlace, offlinePlace } from './app/judging-place.ts';
import { openMemory } from './app/memory.ts';
import { policyText } from './app/policy.ts';
import { openPurging, openSnapshots } from './app/snapshots.ts';
import { withUndo } from './app/undo.ts';
import { runCli } from './entry/cli/cli.ts';

const faultExitCode = 70;
const killedExitCode = 130;
/** npm passes on the Ctrl-C that the terminal has sent already; later than this it is a second one. */
const sameSignalMs = 1_000;
/** Everything is closed when a command returns; what is not must not keep the process. */
const lingerMsMax = 2_000;

const hasTerminal = isatty(0);
let hangup: (() => void) | undefined;

// Whoever prints gets the error; without a listener it would end the process before anything is stopped.
process.stdout.on('error', () => undefined);

try {
  process.exitCode = await runCli(process.argv.slice(2), {
    version: version(), self: self(), print, printBytes: print, tell: (text) => { process.stderr.write(`${text}\n`); },
    input: process.stdin, interrupted, onHangup: (listener) => { hangup = listener; }, now: () => new Date(), openMemory, openSnapshots, openPurging, openHardening, startBackstop: start, offlinePlace, livePlace, policyText, withUndo,
  });
} catch (error) {
  // The reader has seen enough, as in `backstop log | head`: that is no fault.
  if (isBrokenPipe(error)) process.exit(0);
  process.stderr.write(`backstop: a fault in Backstop; please report it.\n${error instanceof Error ? error.stack ?? error.message : String(error)}\n`);
  process.exitCode = faultExitCode;
}
setTimeout(() => process.exit(), lingerMsMax).unref();

/** More than one worker makes this process their supervisor. */
async function start(...[config, log, hooks]: Parameters<typeof startBackstop>): ReturnType<typeof startBackstop> {
  if (config.workers === 1) return startBackstop(config, log, hooks);
  const { startSupervised } = await import('./app/supervisor.ts');
  return startSupervised(config, log, hooks);
}

function print(text: string | Buffer): Promise<void> {
  return new Promise((resolve, reject) => { process.stdout.write(text, (error) => { if (error == null) resolve(); else reject(error); }); });
}

/** The first asks to stop, a later one ends the process at once. */
function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    let first: number | undefined;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        // A terminal that is closed sends the same signal as an operator who wants the policy read again.
        if (signal === 'SIGHUP' && hangup !== undefined && (!hasTerminal || isatty(0))) { hangup(); return; }
        if (first !== undefined && performance.now() - first > sameSignalMs) process.exit(killedExitCode);
        first ??= performance.now();
        resolve();
      });
    }
  });
}

function isBrokenPipe(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED');
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest && typeof manifest.version === 'string' ? manifest.version : 'unknown';
}

/** In a checkout the path to its bin/backstop, as seen from here. */
function self(): string {
  if (!import.meta.url.endsWith('.ts')) return 'backstop';
  const path = relative(process.cwd(), fileURLToPath(new URL('../bin/backstop', import.meta.url)));
  return path.startsWith('..') ? fileURLToPath(new URL('../bin/backstop', import.meta.url)) : path;
}
