/**
 * The benchmark's figures as Markdown tables for people: one row for each relay and workload, with its ratio to the
 * direct way and to PgBouncer. A figure that was not measured is a dash.
 */
import type { Transfer } from './bulk.ts';
import type { Guarded } from './guarded.ts';
import type { Idle } from './idle.ts';
import type { Measured, Mode, Script } from './pgbench.ts';
import type { Relay } from './relays.ts';

export interface Result extends Measured {
  readonly relay: Relay['name'];
  readonly script: Script;
  readonly mode: Mode;
  readonly clients: number;
  readonly cpuUsPerTransaction: number | undefined;
  readonly peakKb: number | undefined;
  /** What it changes can be undone before it commits. */
  readonly isGuarded?: boolean;
}

export interface BulkResult extends Transfer {
  readonly relay: Relay['name'];
  readonly what: string;
  readonly cpuMs: number | undefined;
  readonly peakKb: number | undefined;
}

/** The columns of text; all others are figures. */
const textHeads: ReadonlySet<string> = new Set(['mode', 'relay', 'transfer', 'statement']);

export function formatResults(results: readonly Result[]): string {
  const heads = ['mode', 'clients', 'relay', 'tps', 'p50 ms', 'p99 ms', 'CPU µs/tx', 'peak MB', 'tps ÷ direct', 'tps ÷ PgBouncer', 'CPU ÷ PgBouncer'];
  return formatTable(heads, results.map((result) => {
    const peer = peerAmong(results, (other) => other.mode === result.mode && other.clients === result.clients);
    const [straight, pgbouncer] = [result.relay === 'direct' ? undefined : peer('direct'), result.relay === 'backstop' ? peer('pgbouncer') : undefined];
    return [
      result.mode, String(result.clients), result.relay, result.tps.toFixed(0), result.p50Ms.toFixed(3), result.p99Ms.toFixed(3),
      fixed(result.cpuUsPerTransaction, 1), megabytes(result.peakKb), ratio(result.tps, straight?.tps), ratio(result.tps, pgbouncer?.tps),
      ratio(result.cpuUsPerTransaction, pgbouncer?.cpuUsPerTransaction),
    ];
  }));
}

export function formatBulk(results: readonly BulkResult[]): string {
  return formatTable(['transfer', 'relay', 'seconds', 'MB/s', 'CPU ms', 'peak MB', 'speed ÷ direct', 'speed ÷ PgBouncer'], results.map((result) => {
    const peer = peerAmong(results, (other) => other.what === result.what);
    const speed = (of: BulkResult | undefined): number | undefined => (of === undefined ? undefined : 1 / of.seconds);
    return [
      result.what, result.relay, result.seconds.toFixed(2), (result.bytes / 1e6 / result.seconds).toFixed(0), fixed(result.cpuMs, 0), megabytes(result.peakKb),
      ratio(speed(result), result.relay === 'direct' ? undefined : speed(peer('direct'))), ratio(speed(result), result.relay === 'backstop' ? speed(peer('pgbouncer')) : undefined),
    ];
  }));
}

export function formatIdle(results: readonly Idle[]): string {
  return formatTable(['relay', 'connections', 'kB each', 'peak MB', 'seconds to connect'], results.map(({ relay, connections, kbPerConnection, peakKb, secondsToConnect }) =>
    [relay, String(connections), fixed(kbPerConnection, 1), megabytes(peakKb), secondsToConnect.toFixed(1)]));
}

export function formatGuarded(results: readonly Guarded[]): string {
  return formatTable(['statement', 'direct s', 'guarded s', 'guarded ÷ direct', 'aim', 'idle MB', 'peak MB'], results.map(({ what, directMs, guardedMs, aim, idleKb, peakKb }) =>
    [what, directMs === undefined ? '–' : (directMs / 1000).toFixed(2), (guardedMs / 1000).toFixed(2), ratio(guardedMs, directMs), aim, megabytes(idleKb), megabytes(peakKb)]));
}

function formatTable(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = heads.map((head, i) => Math.max(head.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (row: readonly string[]): string => `| ${row.map((cell, i) => (isText(i) ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(' | ')} |`;
  const isText = (i: number): boolean => textHeads.has(heads[i] ?? '');
  const rule = `|${widths.map((width, i) => (isText(i) ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [line(heads), rule, ...rows.map(line)].join('\n');
}

function ratio(a: number | undefined, b: number | undefined): string {
  return a === undefined || b === undefined || b === 0 ? '–' : (a / b).toFixed(2);
}

function peerAmong<R extends { readonly relay: Relay['name'] }>(results: readonly R[], isPeer: (other: R) => boolean): (relay: Relay['name']) => R | undefined {
  return (relay) => results.find((other) => other.relay === relay && isPeer(other));
}

function fixed(value: number | undefined, digits: number): string {
  return value === undefined ? '–' : value.toFixed(digits);
}

function megabytes(kb: number | undefined): string {
  return kb === undefined ? '–' : (kb / 1024).toFixed(0);
}
