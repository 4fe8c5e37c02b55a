/**
 * Runs pgbench's workloads against one address and reads what it measured: transactions per second from its summary,
 * latencies from its per-transaction log. It fails when pgbench fails or when a transaction failed, because a
 * gateway that refuses quickly would otherwise look fast.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

export const modes = ['simple', 'extended', 'prepared'] as const;
export type Mode = (typeof modes)[number];

export interface Address {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

/** pgbench's names for one SELECT by primary key, and for three UPDATEs, a SELECT and an INSERT in a transaction; and one UPDATE by primary key. */
export type Script = 'select-only' | 'tpcb-like' | 'one-update';
const ownScripts: Readonly<Partial<Record<Script, string>>> = {
  'one-update': '\\set aid random(1, 100000)\n\\set delta random(-5000, 5000)\nUPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;\n',
};

export interface Workload { readonly script: Script; readonly mode: Mode; readonly clients: number; readonly seconds: number }

export interface Measured {
  readonly transactions: number;
  readonly tps: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export function hasPgbench(): boolean {
  try {
    execFileSync('pgbench', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Creates and fills pgbench's tables: a hundred thousand accounts for each unit of `scale`. */
export async function fillTables(address: Address, scale: number): Promise<void> {
  await pgbench(address, ['--initialize', '--quiet', `--scale=${scale}`]);
}

export async function runPgbench(address: Address, { script, mode, clients, seconds }: Workload): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), 'backstop-bench-'));
  try {
    const own = ownScripts[script];
    const file = join(folder, 'script.sql');
    if (own !== undefined) writeFileSync(file, own);
    const summary = await pgbench(address, [
      own === undefined ? `--builtin=${script}` : `--file=${file}`, '--no-vacuum', `--protocol=${mode}`, `--client=${clients}`, '--jobs=1', `--time=${seconds}`,
      '--log', `--log-prefix=${join(folder, 'log')}`,
    ]);
    const logs = readdirSync(folder).filter((name) => name.startsWith('log')).map((name) => readFileSync(join(folder, name), 'utf8'));
    return { ...readSummary(summary), ...percentiles(readLatencies(logs.join(''))) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Throws when the summary has no rate or counts failed transactions. */
export function readSummary(text: string): { readonly transactions: number; readonly tps: number } {
  const number = (pattern: RegExp): number | undefined => {
    const found = pattern.exec(text)?.[1];
    return found === undefined ? undefined : Number(found);
  };
  const transactions = number(/number of transactions actually processed: (\d+)/);
  const tps = number(/^tps = ([\d.]+)/m);
  if (transactions === undefined || tps === undefined) throw new Error(`pgbench printed no rate:\n${text}`);
  if ((number(/number of failed transactions: (\d+)/) ?? 0) > 0) throw new Error(`pgbench counts failed transactions:\n${text}`);
  return { transactions, tps };
}

/** Microseconds per transaction, sorted: the third column of pgbench's log. */
export function readLatencies(log: string): Float64Array {
  const lines = log.split('\n').filter((line) => line !== '');
  return Float64Array.from(lines, (line) => Number(line.split(' ', 3)[2])).sort();
}

export function percentiles(sortedUs: Float64Array): { readonly p50Ms: number; readonly p99Ms: number } {
  const at = (share: number): number => (sortedUs[Math.min(sortedUs.length - 1, Math.floor(sortedUs.length * share))] ?? Number.NaN) / 1000;
  return { p50Ms: at(0.5), p99Ms: at(0.99) };
}

async function pgbench(address: Address, args: readonly string[]): Promise<string> {
  const run = promisify(execFile)('pgbench', [
    ...args, '-h', address.host, '-p', String(address.port), '-U', address.user, address.database,
  ], { env: { PATH: process.env['PATH'], PGPASSWORD: address.password, LC_ALL: 'C' }, maxBuffer: 2 ** 24 });
  return (await run).stdout;
}
