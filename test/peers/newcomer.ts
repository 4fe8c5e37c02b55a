/**
 * A newcomer's machine: a fresh clone of this repository's HEAD, an empty home, free ports, and no Node but the one that
 * the machine had before. Programs that stay in the foreground are ended as a terminal's Ctrl-C does, all at once.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../fixtures/postgres-server.ts';
import { runProgram } from '../fixtures/run-program.ts';
import { until } from '../fixtures/until.ts';

export interface Foreground {
  /** Standard output and standard error as they came. */
  printed(): string;
  /** Types into it. */
  type(text: string): void;
  /** Waits until what was printed satisfies `isEnough`; throws when it ends before. */
  reads(what: string, isEnough: (printed: string) => boolean, msMax: number): Promise<void>;
  /** Resolves to its exit code. */
  interrupt(): Promise<number | null>;
}

export interface Newcomer {
  readonly checkout: string;
  readonly home: string;
  /** Starts one program in the checkout, in the shell's place, so that its exit code is seen. */
  start(line: string): Foreground;
  /** Runs a line in a shell to its end, with nothing to read. */
  run(line: string, msMax: number): Promise<{ readonly code: number | null; readonly printed: string }>;
  leave(): Promise<void>;
}

const root = fileURLToPath(new URL('../..', import.meta.url));
/** What a machine needs to reach its package registry; everything else of npm's settings is the checkout's own affair. */
const kept = /^(npm_config_(registry|cafile|https?_proxy|proxy|noproxy)|https?_proxy|no_proxy|all_proxy|NODE_EXTRA_CA_CERTS|SSL_CERT_(FILE|DIR)|TMPDIR|TZ|USER|LOGNAME)$/i;
const endMsMax = 30_000;

export async function newcomer(): Promise<Newcomer> {
  const folder = mkdtempSync(join(tmpdir(), 'backstop-newcomer-'));
  const [checkout, home] = [join(folder, 'backstop'), join(folder, 'home')];
  // As root, PostgreSQL runs as another user, who must be able to enter.
  chmodSync(folder, 0o711);
  mkdirSync(home);
  const cloned = await runProgram('git', ['clone', '--quiet', '--no-hardlinks', root, checkout]);
  if (cloned.code !== 0) throw new Error(`git clone failed: ${cloned.stderr}`);
  const env = {
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => kept.test(name))),
    PATH: pathWithoutPackages(), HOME: home, LANG: 'C.UTF-8', PAGER: 'cat', PSQLRC: join(home, 'none'),
    BACKSTOP_GATEWAY_PORT: String(await freePort()), BACKSTOP_HTTP_PORT: String(await freePort()),
  };
  const running = new Set<Foreground>();
  const start = (line: string): Foreground => {
    const begun = startForeground(`exec ${line}`, checkout, env);
    running.add(begun);
    return begun;
  };
  return {
    checkout, home, start,
    run: async (line, msMax) => {
      const begun = startForeground(line, checkout, env);
      begun.type('');
      return begun.end(msMax);
    },
    leave: async () => {
      for (const program of running) await program.interrupt();
      rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 25 });
    },
  };
}

/** The folders of packages' commands hold our own Node, which a newcomer does not have yet. */
function pathWithoutPackages(): string {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => !folder.split(sep).includes('node_modules'));
  if (!folders.some((folder) => existsSync(join(folder, 'npm')))) throw new Error('there is no npm on the PATH beside the packages of this checkout');
  return folders.join(delimiter);
}

interface Ending extends Foreground { end(msMax: number): Promise<{ readonly code: number | null; readonly printed: string }> }

function startForeground(line: string, cwd: string, env: Readonly<Record<string, string | undefined>>): Ending {
  const child = spawn('sh', ['-c', `exec 2>&1; ${line}`], { cwd, env: { ...env }, stdio: ['pipe', 'pipe', 'inherit'], detached: true });
  let printed = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => { printed += text; });
  child.stdin.on('error', () => undefined);
  const closed = new Promise<number | null>((resolve, reject) => { child.once('error', reject).once('close', resolve); });
  const kill = (): void => signal(child, 'SIGKILL');
  process.once('exit', kill);
  void closed.finally(() => process.off('exit', kill));
  const within = async (msMax: number): Promise<number | null> => {
    const timer = setTimeout(kill, msMax);
    try {
      return await closed;
    } finally {
      clearTimeout(timer);
    }
  };
  return {
    printed: () => printed,
    type: (text) => { if (text === '') child.stdin.end(); else child.stdin.write(text); },
    reads: async (what, isEnough, msMax) => {
      await until(what, async () => {
        if (isEnough(printed)) return true;
        if (child.exitCode !== null) throw new Error('it ended before');
        return false;
      }, msMax).catch((cause: unknown) => { throw new Error(`\`${line}\`: ${what}; so far it printed:\n${printed}`, { cause }); });
    },
    interrupt: () => { signal(child, 'SIGINT'); return within(endMsMax); },
    end: async (msMax) => ({ code: await within(msMax), printed }),
  };
}

/** To its whole process group, as a terminal does. */
function signal(child: ChildProcess, name: 'SIGINT' | 'SIGKILL'): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, name);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
