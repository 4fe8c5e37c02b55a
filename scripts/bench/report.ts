/**
 * What a run of the benchmark says: the machine, the versions and the tables, for the terminal and for docs/benchmarks.md,
 * whose measured part it replaces between two marks; the words around it are people's.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { chartSvg, type Bar } from './chart.ts';
import type { Guarded } from './guarded.ts';
import type { Idle } from './idle.ts';
import type { Script } from './pgbench.ts';
import { formatBulk, formatGuarded, formatIdle, formatResults, type BulkResult, type Result } from './table.ts';

export interface Run {
  readonly at: string;
  readonly versions: readonly string[];
  readonly load: { readonly before: number; readonly after: number };
  readonly scale: number;
  readonly seconds: number;
  readonly rounds: number;
  readonly results: readonly Result[];
  readonly bulk: readonly BulkResult[];
  readonly idle: readonly Idle[];
  readonly guarded: readonly Guarded[];
}

const [begin, end] = ['<!-- measured -->', '<!-- end of measured -->'];
const page = fileURLToPath(new URL('../../docs/benchmarks.md', import.meta.url));
const chart = fileURLToPath(new URL('../../docs/benchmarks.svg', import.meta.url));

/** Of PgBouncer's rate, with 16 clients. */
const aims: Readonly<Record<string, number>> = { 'select-only simple 16': 0.75, 'select-only extended 16': 0.9, 'select-only prepared 16': 0.9, 'tpcb-like 16': 0.6 };

export function versionsOf(server: string, pgbouncer: string | undefined): readonly string[] {
  const ofProgram = (program: string): string => /\d+(\.\d+)+/.exec(execFileSync(program, ['--version'], { encoding: 'utf8' }))?.[0] ?? 'unknown';
  return [`Node ${process.versions.node}`, `PostgreSQL ${server}`, `pgbench ${ofProgram('pgbench')}`, ...(pgbouncer === undefined ? [] : [`PgBouncer ${ofProgram(pgbouncer)}`])];
}

export function formatRun(run: Run): string {
  const of = (script: Script, isGuarded = false): readonly Result[] => run.results.filter((result) => result.script === script && (result.isGuarded === true) === isGuarded);
  const model = cpus()[0]?.model ?? 'unknown processor';
  const parts = [
    `${run.at.slice(0, 10)}, ${cpus().length} cores (${model}), ${run.versions.join(', ')}; scale ${run.scale}, ${run.seconds} s each, median of ${run.rounds}; `
      + `load of the machine ${run.load.before.toFixed(1)} before and ${run.load.after.toFixed(1)} after; TLS off everywhere.`,
    ...section('Reads: `pgbench -S`', of('select-only'), formatResults), ...section('Writes: TPC-B-like', of('tpcb-like'), formatResults),
    ...section('Bulk transfer of 1,000,000 rows', run.bulk, formatBulk), ...section('Idle connections', run.idle, formatIdle),
    ...section('With recovery points: a million rows', run.guarded, formatGuarded), ...section('With recovery points: one UPDATE by key', of('one-update', true), formatResults),
    ...section('With recovery points: TPC-B-like', of('tpcb-like', true), formatResults),
  ];
  return parts.join('\n\n');
}

/** Replaces the measured part of the page and draws its chart. */
export function writePage(run: Run): void {
  const text = readFileSync(page, 'utf8');
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${page} has lost its marks ${begin} and ${end}`);
  writeFileSync(page, `${text.slice(0, from)}${begin}\n\n![Backstop's rate as a share of PgBouncer's](benchmarks.svg)\n\n${formatRun(run)}\n\n${text.slice(to)}`);
  writeFileSync(chart, chartSvg('Transactions per second, as a share of PgBouncer’s in the same run (red: the aim)', barsOf(run.results.filter(({ isGuarded }) => isGuarded !== true))));
}

export function barsOf(results: readonly Result[]): readonly Bar[] {
  return results.filter(({ relay }) => relay === 'backstop').flatMap((result) => {
    const { script, mode, clients } = result;
    const pgbouncer = results.find((other) => other.relay === 'pgbouncer' && other.script === script && other.mode === mode && other.clients === clients);
    if (pgbouncer === undefined) return [];
    const aim = aims[`${script} ${mode} ${clients}`] ?? aims[`${script} ${clients}`];
    return [{ label: `${script === 'select-only' ? 'reads' : 'writes'}, ${mode}, ${clients} ${clients === 1 ? 'client' : 'clients'}`, share: result.tps / pgbouncer.tps, aim }];
  });
}

function section<R>(title: string, results: readonly R[], format: (results: readonly R[]) => string): readonly string[] {
  return results.length === 0 ? [] : [`### ${title}`, format(results)];
}
