/**
 * A whole Backstop under a policy that lets everything pass that can be undone: a plain UPDATE or DELETE is kept by asking for
 * its rows, however it is sent, and other writers go on meanwhile; a dropped table that the policy names lies in the recycle bin.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import type { RecoveryPointOnRecord } from '../../src/core/recovery/recovery-point.ts';
import { startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { until } from '../fixtures/until.ts';

const policy = `
name: rows
description: Everything runs once what would undo it is kept.
levels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: allow }
unknown: deny
recovery: { required_from: HIGH, undo_allows: CRITICAL, recycle_bin: { tables: [public.binned] } }
approval: { wait: 0, expires: 3600 }
`;
const schema = `SET ROLE shopkeeper;
CREATE TABLE public.items (id int PRIMARY KEY, v text, at timestamptz DEFAULT now()); INSERT INTO public.items SELECT i, 'v' FROM generate_series(1, 3000) i;
CREATE TABLE public.late (id int PRIMARY KEY, other int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO public.late VALUES (1, 1), (2, 2);
CREATE TABLE public.binned (id int PRIMARY KEY); INSERT INTO public.binned VALUES (1)`;

const folder = mkdtempSync(join(tmpdir(), 'gateway-rows-'));
let backstop: RunningBackstop;
let client: pg.Client;
before(async () => {
  writeFileSync(join(folder, 'rows.yaml'), policy);
  backstop = await startBackstop({ policy: join(folder, 'rows.yaml') });
  await backstop.upstream.run(schema, 'shop');
  client = await connect();
});
after(async () => {
  await client?.end();
  await backstop?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function connect(url = backstop.agentUrl()): Promise<pg.Client> {
  const connected = new pg.Client({ connectionString: url });
  await connected.connect();
  return connected;
}

/** The newest, once its fate is known. */
function lastPoint(): Promise<Pick<RecoveryPointOnRecord, 'method' | 'rows' | 'state'>> {
  return until('the point has its fate', async () => {
    const [point] = await backstop.memory.recoveryPoints.list({ limit: 1 });
    return point === undefined || point.state === 'sealed' ? undefined : { method: point.method, rows: point.rows, state: point.state };
  });
}

describe('a plain UPDATE or DELETE is kept by asking for its rows', () => {
  it('by a simple Query, with values, prepared, and in a transaction of the client\'s', async () => {
    await client.query("UPDATE items SET v = 'simple' WHERE id = 1");
    assert.deepEqual(await lastPoint(), { method: 'rows', rows: 2, state: 'committed' });
    assert.equal((await client.query('UPDATE items SET v = $1 WHERE id IN ($2, $3)', ['bound', 2, 3])).rowCount, 2);
    assert.deepEqual(await lastPoint(), { method: 'rows', rows: 4, state: 'committed' });
    for (const id of [4, 5]) assert.deepEqual((await client.query({ name: 'one', text: 'DELETE FROM items WHERE id = $1 RETURNING v', values: [id] })).rows, [{ v: 'v' }]);
    assert.deepEqual(await lastPoint(), { method: 'rows', rows: 1, state: 'committed' });
    await client.query('BEGIN');
    await client.query("UPDATE items SET v = 'block' WHERE id = 6");
    await client.query('SAVEPOINT s');
    await client.query("UPDATE items SET v = 'block again' WHERE id BETWEEN 6 AND 8");
    await client.query('COMMIT');
    assert.deepEqual(await lastPoint(), { method: 'rows', rows: 6, state: 'committed' });
    assert.deepEqual((await client.query('SELECT v FROM items WHERE id < 9 ORDER BY id')).rows.map((row: { v: string }) => row.v), ['simple', 'bound', 'bound', 'block again', 'block again', 'block again']);
  });

  it('and of many rows, behind a lock that ends with its transaction', async () => {
    await client.query("UPDATE items SET v = 'all' WHERE id > 10");
    assert.deepEqual(await lastPoint(), { method: 'rows', rows: 2 * 2990, state: 'committed' });
    await client.query('BEGIN');
    await client.query('DELETE FROM items WHERE id > $1', [10]);
    await client.query('ROLLBACK');
    assert.deepEqual(await lastPoint(), { method: 'rows', rows: 2990, state: 'discarded' });
    assert.deepEqual((await client.query("SELECT count(*)::int AS count FROM items WHERE v = 'all'")).rows, [{ count: 2990 }]);
    await backstop.upstream.run("SET lock_timeout = '20s'; LOCK TABLE public.items IN SHARE ROW EXCLUSIVE MODE", 'shop');
  });

  it('while other rows of its table are changed by others, and the client hears of its own mistakes from PostgreSQL', async () => {
    const other = await connect(backstop.directUrl());
    await other.query('BEGIN');
    await other.query("UPDATE items SET v = 'mine' WHERE id = 20");
    await client.query("UPDATE items SET v = 'yours' WHERE id = 21");
    assert.deepEqual(await lastPoint(), { method: 'rows', rows: 2, state: 'committed' });
    await other.query('ROLLBACK');
    await other.end();
    await assert.rejects(client.query('UPDATE late SET other = 1 WHERE id = 2'), { code: '23505' });
    assert.deepEqual(await lastPoint(), { method: 'rows', rows: 2, state: 'discarded' });
    assert.deepEqual((await client.query('UPDATE late SET other = 3 WHERE id = 2 RETURNING other')).rows, [{ other: 3 }]);
    await assert.rejects(client.query("UPDATE items SET v = (1 / (id - id))::text WHERE id = 1"), { code: '22012' });
    assert.deepEqual((await client.query("UPDATE items SET v = 'still here' WHERE id = 1 RETURNING v")).rows, [{ v: 'still here' }]);
  });

  it('and a dropped table that the policy names lies in the recycle bin', async () => {
    await client.query('DROP TABLE binned');
    assert.deepEqual(await lastPoint(), { method: 'tombstone', rows: 0, state: 'committed' });
    await assert.rejects(client.query('SELECT FROM binned'), { code: '42P01' });
  });
});
