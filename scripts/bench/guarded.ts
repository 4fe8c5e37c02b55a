/**
 * What a verified recovery point costs: statements that destroy, straight to the server and through Backstop, which captures
 * what they change, reads it back and only then lets them commit; and what it costs to undo them. Every statement finds
 * the same table, made anew: a million rows of 190 bytes with a primary key and two more indexes.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { PostgresServer } from '../../test/fixtures/postgres-server.ts';
import { forgetPeak, memoryOf } from './memory.ts';
import type { Address } from './pgbench.ts';
import { linkTo } from './bulk.ts';
import type { Relay } from './relays.ts';

export interface Guarded {
  readonly what: string;
  /** undefined: there is nothing to compare it with. */
  readonly directMs: number | undefined;
  readonly guardedMs: number;
  /** Of all processes of Backstop together, before the statement and at its peak. */
  readonly idleKb: number | undefined;
  readonly peakKb: number | undefined;
  readonly aim: string;
}

export interface GuardedPlan {
  readonly server: PostgresServer;
  readonly database: string;
  readonly direct: Relay;
  readonly backstop: Relay;
  readonly undoLast: () => Promise<number>;
  readonly rows: number;
  readonly say: (text: string) => void;
}

/** What lets the statements pass as soon as their recovery points are kept. */
export const guardedPolicy = `
name: guarded
description: Everything runs once what would undo it is kept.
levels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: allow }
unknown: deny
recovery: { required_from: HIGH, undo_allows: CRITICAL, recycle_bin: { tables: [public.binned] } }
approval: { wait: 0, expires: 3600 }
`;

const [copied, binned] = ['public.guarded', 'public.binned'] as const;
const statementMsMax = 600_000;

/** Rows of 190 bytes. */
function fillSql(table: string, rows: number): string {
  return `DROP TABLE IF EXISTS ${table} CASCADE;
    CREATE TABLE ${table} (id bigint, customer int, created timestamptz, amount numeric(12, 2), state text, note text);
    INSERT INTO ${table} SELECT i, i % 10000, timestamptz '2026-01-01' + i * interval '1 second', i % 100000 / 7.0, 'open', repeat(md5(i::text), 3) || left(md5(i::text), 18) FROM generate_series(1, ${rows}) i;
    ALTER TABLE ${table} ADD PRIMARY KEY (id); CREATE INDEX ON ${table} (customer); CREATE INDEX ON ${table} (created);`;
}

const statements = [
  { what: 'DELETE of all rows', sql: `DELETE FROM ${copied} WHERE id > 0`, aim: '≤ 2.5 ×' },
  { what: 'UPDATE of all rows', sql: `UPDATE ${copied} SET amount = amount + 1 WHERE id > 0`, aim: '≤ 2 ×' },
] as const;

export async function measureGuarded(plan: GuardedPlan): Promise<readonly Guarded[]> {
  const results: Guarded[] = [];
  const add = (result: Guarded): void => {
    results.push(result);
    plan.say(`${result.what}: ${result.directMs?.toFixed(0) ?? '–'} ms direct, ${result.guardedMs.toFixed(0)} ms guarded`);
  };
  for (const { what, sql, aim } of statements) {
    await fill(plan, copied);
    const directMs = await timed(plan.direct.address, sql);
    await fill(plan, copied);
    add({ what, directMs, ...await guarded(plan, () => timed(plan.backstop.address, sql)), aim });
    if (what.startsWith('DELETE')) add(await undone(plan, copied, { what: 'undo of that DELETE', directMs, aim: '≤ 3 ×' }));
  }
  add(await dropped(plan));
  await fill(plan, binned);
  add({ what: 'DROP TABLE into the recycle bin', directMs: undefined, ...await guarded(plan, () => timed(plan.backstop.address, `DROP TABLE ${binned}`)), aim: '' });
  add(await undone(plan, binned, { what: 'undo of that from the recycle bin', directMs: undefined, aim: '≤ 0.10 s' }));
  return results;
}

/** `psql \\copy` is what a careful person does before a DROP. */
async function dropped(plan: GuardedPlan): Promise<Guarded> {
  await fill(plan, copied);
  const directMs = await copyToFile(plan.direct.address);
  const drop = await guarded(plan, () => timed(plan.backstop.address, `DROP TABLE ${copied}`));
  return { what: 'DROP TABLE, against `psql \\copy`', directMs, ...drop, aim: '≤ 1.5 ×' };
}

async function undone(plan: GuardedPlan, table: string, about: Pick<Guarded, 'what' | 'directMs' | 'aim'>): Promise<Guarded> {
  const result = { ...about, ...await guarded(plan, plan.undoLast) };
  const [row] = await plan.server.run(`SELECT count(*)::int AS rows FROM ${table}`, plan.database);
  if (row?.['rows'] !== plan.rows) throw new Error('the undo did not bring all rows back');
  return result;
}

async function guarded({ backstop }: GuardedPlan, run: () => Promise<number>): Promise<Pick<Guarded, 'guardedMs' | 'idleKb' | 'peakKb'>> {
  const idleKb = backstop.pid === undefined ? undefined : memoryOf(backstop.pid)?.residentKb;
  if (backstop.pid !== undefined) forgetPeak(backstop.pid);
  const guardedMs = await run();
  return { guardedMs, idleKb, peakKb: backstop.pid === undefined ? undefined : memoryOf(backstop.pid)?.peakKb };
}

/** The checkpoint is not to fall into what is measured. */
async function fill({ server, database, rows }: GuardedPlan, table: string): Promise<void> {
  await server.run(fillSql(table, rows), database);
  await server.run(`VACUUM ANALYZE ${table}`, database);
  await server.run('CHECKPOINT', database);
}

/** On a connection that is there already. */
async function timed(address: Address, sql: string): Promise<number> {
  const link = await linkTo(address);
  try {
    await link.query('SELECT 1');
    const started = performance.now();
    await link.query(sql, [], statementMsMax);
    return performance.now() - started;
  } finally {
    link.destroy();
  }
}

async function copyToFile({ host, port, user, password, database }: Address): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'backstop-bench-copy-'));
  const script = join(folder, 'copy.sql');
  writeFileSync(script, `\\copy ${copied} TO '${join(folder, 'table')}'\n`);
  try {
    const started = performance.now();
    await promisify(execFile)('psql', ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-h', host, '-p', String(port), '-U', user, '-f', script, database], { env: { PATH: process.env['PATH'], PGPASSWORD: password, LC_ALL: 'C' } });
    return performance.now() - started;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
