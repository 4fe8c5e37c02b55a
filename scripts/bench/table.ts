/**
 * The benchmark's figures as a table for people: one row for each relay and workload, with its ratio to the direct way
 * and to PgBouncer. A figure that was not measured is a dash.
 */
import type { Measured, Mode } from './pgbench.ts';
import type { Relay } from './relays.ts';

export interface Result extends Measured {
  readonly relay: Relay['name'];
  readonly mode: Mode;
  readonly clients: number;
  readonly cpuUsPerTransaction: number | undefined;
}

const heads = ['mode', 'clients', 'relay', 'tps', 'p50 ms', 'p99 ms', 'relay CPU µs/tx', 'tps ÷ direct', 'tps ÷ PgBouncer', 'CPU ÷ PgBouncer'];

export function formatTable(results: readonly Result[]): string {
  const rows = results.map((result) => cells(result, results));
  const widths = heads.map((head, i) => Math.max(head.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, i) => (i === 0 || i === 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(' | ')} |`;
  const rule = `|${widths.map((width, i) => (i === 0 || i === 2 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [line(heads), rule, ...rows.map(line)].join('\n');
}

function cells(result: Result, all: readonly Result[]): string[] {
  const peer = (relay: Relay['name']): Result | undefined =>
    all.find((other) => other.relay === relay && other.mode === result.mode && other.clients === result.clients);
  const [straight, pgbouncer] = [peer('direct'), peer('pgbouncer')];
  return [
    result.mode, String(result.clients), result.relay, result.tps.toFixed(0), result.p50Ms.toFixed(3), result.p99Ms.toFixed(3),
    fixed(result.cpuUsPerTransaction, 1),
    ratio(result.tps, result === straight ? undefined : straight?.tps),
    ratio(result.tps, result.relay === 'backstop' ? pgbouncer?.tps : undefined),
    ratio(result.cpuUsPerTransaction, result.relay === 'backstop' ? pgbouncer?.cpuUsPerTransaction : undefined),
  ];
}

function ratio(a: number | undefined, b: number | undefined): string {
  return a === undefined || b === undefined || b === 0 ? '–' : (a / b).toFixed(2);
}

function fixed(value: number | undefined, digits: number): string {
  return value === undefined ? '–' : value.toFixed(digits);
}
