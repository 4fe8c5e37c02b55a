/** What the benchmark reads from pgbench and from /proc, on text as they really print it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chartSvg } from './chart.ts';
import { readStat } from './cpu-time.ts';
import { readStatus } from './memory.ts';
import { percentiles, readLatencies, readSummary, type Script } from './pgbench.ts';
import { barsOf } from './report.ts';
import type { Result } from './table.ts';

const summary = `pgbench (15.18 (Debian 15.18-0+deb12u1), server 18.4)
transaction type: <builtin: select only>
number of transactions actually processed: 13205
number of failed transactions: 0 (0.000%)
latency average = 0.151 ms
initial connection time = 4.551 ms
tps = 6604.120512 (without initial connection time)
`;

test('the rate and the number of transactions come from the summary', () => {
  assert.deepEqual(readSummary(summary), { transactions: 13205, tps: 6604.120512 });
});

test('failed transactions are no measurement', () => {
  assert.throws(() => readSummary(summary.replace('failed transactions: 0', 'failed transactions: 3')), /failed transactions/);
});

test('a summary without a rate is no measurement', () => {
  assert.throws(() => readSummary('pgbench: error: connection refused'), /no rate/);
});

test('percentiles come from the third column of the log, in milliseconds', () => {
  const log = Array.from({ length: 100 }, (_, i) => `0 ${i} ${(100 - i) * 10} 0 1790000000 123456\n`).join('');
  assert.deepEqual(percentiles(readLatencies(log)), { p50Ms: 0.51, p99Ms: 1 });
});

test('a process name with spaces and parentheses does not shift the columns', () => {
  const line = '4242 (a) b (c) S 17 4242 1 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 12 0 99 1 2';
  assert.deepEqual(readStat(line), { parent: 17, ticks: 300 });
});

test('resident memory and its peak come from the status of a process', () => {
  assert.deepEqual(readStatus('Name:\tnode\nVmPeak:\t  999 kB\nVmHWM:\t  300 kB\nVmRSS:\t  200 kB\n'), { residentKb: 200, peakKb: 300 });
  assert.equal(readStatus('Name:\tkthreadd\n'), undefined);
});

test('a bar compares with PgBouncer in the same workload, and shows the aim there is', () => {
  const result = (relay: Result['relay'], script: Script, clients: number, tps: number): Result =>
    ({ relay, script, mode: 'simple', clients, tps, transactions: tps, p50Ms: 1, p99Ms: 2, cpuUsPerTransaction: undefined, peakKb: undefined });
  const results = [
    result('pgbouncer', 'select-only', 16, 1000), result('backstop', 'select-only', 16, 800), result('pgbouncer', 'tpcb-like', 16, 100),
    result('backstop', 'tpcb-like', 16, 50), result('backstop', 'select-only', 1, 10),
  ];
  const bars = barsOf(results);
  assert.deepEqual(bars, [
    { label: 'reads, simple, 16 clients', share: 0.8, aim: 0.75 }, { label: 'writes, simple, 16 clients', share: 0.5, aim: 0.6 },
  ]);
  assert.match(chartSvg('title', bars), /^<svg [^]*0\.80[^]*0\.50[^]*<\/svg>\n$/);
});
