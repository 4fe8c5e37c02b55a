/**
 * The running PostgreSQL: started on a free port of the loopback address, watched, and stopped as it wants to be. It
 * leads a session of its own, so a terminal's Ctrl-C reaches it only through us, after its clients are gone. One that an
 * earlier run left behind is ended first: the caller has made sure that nobody else serves from this data folder.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Failure } from '../../core/failure.ts';
import type { Account } from './account.ts';

export interface Postmaster {
  readonly port: number;
  /** Resolves when the server ends that nobody has stopped. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

export interface PostmasterOptions {
  readonly program: string;
  readonly data: string;
  readonly account: Account | undefined;
  readonly logFile: string;
  /** Taken when it is free; 0 is any. */
  readonly preferredPort: number;
}

const readyMsMax = 60_000;
const askAgainMs = 20;
const fastMsMax = 15_000;
const immediateMsMax = 5_000;
const portTriesMax = 5;
const logBytesMax = 10_000_000;

/** Throws Failure `upstream_unavailable` with the server's own reason. */
export async function startPostmaster(options: PostmasterOptions): Promise<Postmaster> {
  await endLeftover(options.data);
  if (existsSync(options.logFile) && statSync(options.logFile).size > logBytesMax) renameSync(options.logFile, `${options.logFile}.1`);
  for (let tries = 1; ; tries += 1) {
    const port = await freePort(tries === 1 ? options.preferredPort : 0);
    const started = await start(options, port);
    if (started.kind === 'running') return { port, ended: ended(started.process), stop: () => stop(started.process) };
    if (tries < portTriesMax && started.log.includes('could not bind')) continue;
    throw new Failure('upstream_unavailable', `the embedded PostgreSQL did not start: ${reason(started.log)}`, { hint: `Its log is ${options.logFile}.` });
  }
}

type Started = { readonly kind: 'running'; readonly process: ChildProcess } | { readonly kind: 'failed'; readonly log: string };

async function start(options: PostmasterOptions, port: number): Promise<Started> {
  const { data, account, logFile } = options;
  const log = openSync(logFile, 'a', 0o600);
  const logStart = statSync(logFile).size;
  const settings = { listen_addresses: '127.0.0.1', port: String(port), unix_socket_directories: '', timezone: 'UTC', lc_messages: 'C', log_line_prefix: '%m [%p] ' };
  const child = spawn(options.program, ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])], {
    ...account, cwd: data, env: {}, detached: true, stdio: ['ignore', log, log],
  });
  closeSync(log);
  const failure = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message)).once('exit', () => resolve(readFileSync(logFile).subarray(logStart).toString('utf8')));
  });
  const outcome = await Promise.race([failure, untilReady(child, data)]);
  return outcome === true ? { kind: 'running', process: child } : { kind: 'failed', log: outcome };
}

/** PostgreSQL announces itself in the eighth line of postmaster.pid, as pg_ctl reads it. True, or why not. */
async function untilReady(child: ChildProcess, data: string): Promise<true | string> {
  for (const deadline = Date.now() + readyMsMax; Date.now() < deadline; await pause(askAgainMs)) {
    if (hasEnded(child)) return new Promise(() => undefined);
    const lines = pidFile(data);
    if (Number(lines[0]) === child.pid && lines[7]?.trim() === 'ready') return true;
  }
  await stop(child);
  return `FATAL:  it was not ready after ${readyMsMax / 1_000} seconds`;
}

function pidFile(data: string): readonly string[] {
  const path = join(data, 'postmaster.pid');
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n') : [];
}

function reason(log: string): string {
  const fatal = log.split('\n').findLast((line) => /FATAL:|PANIC:/.test(line)) ?? log.trim().split('\n').at(-1) ?? '';
  return fatal.replace(/^.*(?:FATAL|PANIC):\s*/, '') || 'it said nothing';
}

/** A server of an earlier run that was killed, or the file of one whose process id now belongs to something else. */
async function endLeftover(data: string): Promise<void> {
  const pid = Number(pidFile(data)[0]);
  if (!Number.isInteger(pid) || pid <= 0) return;
  if (!isPostmaster(pid, data)) {
    rmSync(join(data, 'postmaster.pid'), { force: true });
    return;
  }
  for (const [signal, msMax] of [['SIGINT', fastMsMax], ['SIGQUIT', immediateMsMax], ['SIGKILL', immediateMsMax]] as const) {
    process.kill(pid, signal);
    for (const deadline = Date.now() + msMax; Date.now() < deadline; await pause(askAgainMs)) {
      if (!isPostmaster(pid, data)) return;
    }
  }
  throw new Failure('upstream_unavailable', `a PostgreSQL of an earlier run (process ${pid}) does not end`, { hint: 'End that process, then start again.' });
}

function isPostmaster(pid: number, data: string): boolean {
  try {
    const command = process.platform === 'linux' ? readFileSync(`/proc/${pid}/cmdline`, 'utf8') : execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' });
    return command.includes('postgres') && command.includes(data);
  } catch {
    return false;
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const exit = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  for (const [signal, msMax] of [['SIGINT', fastMsMax], ['SIGQUIT', immediateMsMax], ['SIGKILL', immediateMsMax]] as const) {
    child.kill(signal);
    const waiting = new AbortController();
    const isOver = await Promise.race([exit.then(() => true), pause(msMax, false, { signal: waiting.signal }).catch(() => false)]);
    waiting.abort();
    if (isOver) return;
  }
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (hasEnded(child)) resolve();
    else child.once('exit', () => resolve());
  });
}

function hasEnded(child: ChildProcess): boolean { return child.exitCode !== null || child.signalCode !== null; }

/** The preferred one when nothing listens there. */
function freePort(preferred: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', (error) => { if (preferred === 0) reject(error); else freePort(0).then(resolve, reject); });
    probe.listen(preferred, '127.0.0.1', () => {
      const address = probe.address();
      const port = address !== null && typeof address === 'object' ? address.port : 0;
      probe.close(() => resolve(port));
    });
  });
}
