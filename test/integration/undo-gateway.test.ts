/**
 * From the agent's statement to its undo, with nothing left out: a whole Backstop under the policy protect, in front of a
 * server whose role is a mere owner, and the undo as `backstop undo` does it. Every table of the shop is compared.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { startBackstop, type Backstop } from '../../src/app/backstop.ts';
import { withUndo } from '../../src/app/undo.ts';
import { loadConfig, type Config } from '../../src/config.ts';
import type { UndoPolicy, UndoReport } from '../../src/core/recovery/undo-plan.ts';
import type { Wanted } from '../../src/flow/undo-points.ts';
import { createLog } from '../../src/lib/log.ts';
import { fillShop } from '../fixtures/backstop.ts';
import { withPgClient } from '../fixtures/pg-client.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { until } from '../fixtures/until.ts';

const dataDir = mkdtempSync(join(tmpdir(), 'backstop-undo-'));
let upstream: PostgresServer;
let config: Config;
let running: Backstop;
let [agentUrl, token] = ['', ''];

before(async () => {
  upstream = await startPostgresServer();
  const url = await fillShop(upstream);
  config = loadConfig({ env: {}, cwd: dataDir, flags: { data: dataDir, upstream: url, gatewayPort: '0', httpPort: '0', policy: 'protect', environment: 'dev', approvalWait: '20', logLevel: 'silent' } });
  running = await startBackstop(config, createLog({ level: 'silent' }));
  const agent = await running.identities.addAgent('tester', null, 'test');
  token = (await running.identities.addOperator('boss')).token;
  agentUrl = `postgres://tester:${agent.token}@127.0.0.1:${running.gateway.port}/shop?sslmode=no-verify`;
});
after(async () => {
  await running?.stop();
  await upstream?.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

const tables = ['customers', 'orders', 'payments', 'notes', 'every_type'];
async function state(): Promise<readonly string[]> {
  const rows: string[] = [];
  for (const table of tables) rows.push(...(await upstream.run(`SELECT '${table} ' || t::text AS row FROM ${table} t ORDER BY 1`, 'shop')).map(({ row }) => String(row)));
  return rows;
}

const undo = (wanted: Wanted = { kind: 'last' }, policy: UndoPolicy = { onConflict: 'refuse', merges: false }): Promise<UndoReport> =>
  withUndo(config, { onProgress: () => undefined }, (work) => work.apply(token, wanted, policy));

/** Approves whatever is held until the work is done. */
async function approving<T>(work: Promise<T>): Promise<T> {
  let isOver = false;
  const over = work.finally(() => { isOver = true; });
  const approve = until('what is held is approved', async () => {
    for (const { id } of await running.memory.approvals.list('pending', 10)) await running.memory.answer(token, id, { answer: 'approved', reason: null });
    return isOver;
  });
  const [done] = await Promise.allSettled([over, approve]);
  if (done.status === 'rejected') throw done.reason;
  return done.value;
}

const asAgent = (...statements: readonly string[]): Promise<void> => approving(withPgClient(agentUrl, async (client) => { for (const sql of statements) await client.query(sql); }));

describe('what an agent did through the gateway comes back', () => {
  const actions: readonly (readonly [what: string, ...statements: readonly string[]])[] = [
    ['a deleted row', 'DELETE FROM payments WHERE id = 7'],
    ['a row with all that foreign keys took along', 'DELETE FROM customers WHERE id = 3'],
    ['an update with a trigger that writes elsewhere', "UPDATE orders SET status = 'paid' WHERE id BETWEEN 5 AND 9"],
    ['a row of every type', "UPDATE every_type SET a_text = 'x', a_json = '{}', an_interval = NULL, a_money = 1, a_range = 'empty', a_double = 'NaN' WHERE id = 1"],
    ['what a transaction of several statements did, but for what it took back itself', 'BEGIN', 'DELETE FROM notes WHERE id = 1', 'SAVEPOINT s', 'DELETE FROM notes WHERE id = 2', 'ROLLBACK TO s', 'COMMIT'],
    ['a whole table', 'DROP TABLE notes'],
    ['truncated rows', 'TRUNCATE payments'],
    ['a dropped column with its values', 'ALTER TABLE orders DROP COLUMN status CASCADE'],
  ];
  for (const [what, ...statements] of actions) {
    it(what, async () => {
      const was = await state();
      await asAgent(...statements);
      assert.notDeepEqual(await state().catch(() => []), was);
      const report = await undo();
      assert.deepEqual(report.points.flatMap(({ agent }) => agent), ['tester']);
      assert.deepEqual(await state(), was);
    });
  }

  it('newest first, all that it did at once', async () => {
    const was = await state();
    const since = new Date().toISOString();
    await asAgent("UPDATE orders SET status = 'shipped' WHERE id = 11", 'DELETE FROM orders WHERE id = 11', "UPDATE notes SET body = 'x' WHERE id = 4");
    await undo({ kind: 'window', agent: 'tester', since });
    assert.deepEqual(await state(), was);
  });

  it('and comes back through the gateway while others work on', async () => {
    const was = await state();
    await asAgent('DELETE FROM notes WHERE id <= 10');
    const [report] = await Promise.all([undo(), asAgent('SELECT count(*) FROM customers'), upstream.run("INSERT INTO notes VALUES (1000, 'mine')", 'shop')]);
    assert.equal(report.points[0]?.changes[0]?.insert, 10);
    await upstream.run('DELETE FROM notes WHERE id = 1000', 'shop');
    assert.deepEqual(await state(), was);
  });
});
