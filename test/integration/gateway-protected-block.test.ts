/**
 * A whole Backstop whose policy wants everything undoable: what its captures leave in a client's own transaction is nothing to
 * what is judged, captured and committed behind them.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { query } from '../fixtures/unnamed-messages.ts';
import { until } from '../fixtures/until.ts';
import { connectWire, type WireClient } from '../fixtures/wire-client.ts';

const folder = mkdtempSync(join(tmpdir(), 'backstop-test-policy-'));
let backstop: RunningBackstop;

before(async () => {
  writeFileSync(join(folder, 'undoable.yaml'), `
name: undoable
description: Everything is allowed that can be undone.
levels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: allow }
unknown: hold
recovery: { required_from: HIGH }
`);
  backstop = await startBackstop({ policy: join(folder, 'undoable.yaml'), waitSeconds: 0 });
  await backstop.upstream.run(`SET ROLE shopkeeper; CREATE TABLE above (id int PRIMARY KEY, v text);
    CREATE TABLE below (id int PRIMARY KEY, above_id int REFERENCES above ON DELETE CASCADE); CREATE TABLE bare (id int PRIMARY KEY, v text)`, 'shop');
});
after(async () => {
  await backstop?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function play(...sqls: readonly string[]): Promise<{ readonly lines: readonly string[]; readonly client: WireClient }> {
  await backstop.upstream.run(`SET ROLE shopkeeper; TRUNCATE above, below, bare; INSERT INTO above SELECT i, 'v' FROM generate_series(1, 9) i;
    INSERT INTO below SELECT i, i FROM generate_series(1, 9) i; INSERT INTO bare SELECT i, 'v' FROM generate_series(1, 9) i`, 'shop');
  const client = await connectWire({ host: backstop.host, port: backstop.port, user: 'tester', password: backstop.agent.token, parameters: { database: 'shop' } });
  const lines: string[] = [];
  for (const sql of sqls) lines.push((await client.send(query(sql)).until('Z')).join(' '));
  client.end();
  return { lines, client };
}

/** The methods by which what was captured last was captured, the oldest first. */
async function captured(count: number): Promise<readonly string[]> {
  const points = await until('every point knows', async () => {
    const found = await backstop.memory.recoveryPoints.list({ limit: count });
    return found.every(({ state }) => state !== 'sealed') ? found : undefined;
  });
  return points.map(({ method, state }) => `${method} ${state}`).toReversed();
}

it('rows, then by transitions, then rows of the same table, and COMMIT', async () => {
  const { lines, client } = await play('BEGIN', "UPDATE bare SET v = 'w' WHERE id = 1", 'DELETE FROM above WHERE id < 3', 'DELETE FROM below WHERE id = 4', "UPDATE bare SET v = 'x' WHERE id = 1", 'COMMIT');
  assert.deepEqual(lines, ['C:BEGIN Z:T', 'C:UPDATE 1 Z:T', 'C:DELETE 2 Z:T', 'C:DELETE 1 Z:T', 'C:UPDATE 1 Z:T', 'C:COMMIT Z:I'], JSON.stringify(client.errors));
  assert.deepEqual(await captured(4), ['rows committed', 'transitions committed', 'rows committed', 'rows committed']);
});

it('DDL behind a capture, and captures behind the DDL', async () => {
  const { lines, client } = await play('BEGIN', 'DELETE FROM above WHERE id < 3', 'CREATE TABLE between_them (id int)', 'SELECT count(*) FROM above', 'DELETE FROM above WHERE id = 3', 'DROP TABLE between_them', 'COMMIT');
  assert.deepEqual(lines, ['C:BEGIN Z:T', 'C:DELETE 2 Z:T', 'C:CREATE TABLE Z:T', 'T D:7 C:SELECT 1 Z:T', 'C:DELETE 1 Z:T', 'C:DROP TABLE Z:T', 'C:COMMIT Z:I'], JSON.stringify(client.errors));
});

it('a table that is emptied behind a capture of its rows', async () => {
  const { lines, client } = await play('BEGIN', 'DELETE FROM above WHERE id < 3', 'TRUNCATE above, below', 'COMMIT');
  assert.deepEqual(lines, ['C:BEGIN Z:T', 'C:DELETE 2 Z:T', 'C:TRUNCATE TABLE Z:T', 'C:COMMIT Z:I'], JSON.stringify(client.errors));
  assert.deepEqual(await captured(2), ['transitions committed', 'tables committed']);
});

it('a statement that its own transaction has to let go again', async () => {
  const { lines, client } = await play('BEGIN', 'SAVEPOINT s', 'DELETE FROM above WHERE id < 3', 'ROLLBACK TO s', 'DELETE FROM above WHERE id = 3', 'COMMIT', 'SELECT count(*) FROM above');
  assert.deepEqual(lines, ['C:BEGIN Z:T', 'C:SAVEPOINT Z:T', 'C:DELETE 2 Z:T', 'C:ROLLBACK Z:T', 'C:DELETE 1 Z:T', 'C:COMMIT Z:I', 'T D:8 C:SELECT 1 Z:I'], JSON.stringify(client.errors));
  assert.deepEqual(await captured(2), ['transitions discarded', 'transitions committed']);
});
