/**
 * The default policy as an agent and its operator meet it: what can be undone runs unasked and leaves a recovery point, more
 * waits for a person who reads how far it can be undone and then runs with one, and what cannot be undone is denied.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type pg from 'pg';
import type { Approval } from '../../src/core/approval.ts';
import type { RecoveryPointOnRecord } from '../../src/core/recovery/recovery-point.ts';
import { startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { withPgClient } from '../fixtures/pg-client.ts';
import { codeOf, refusalOf } from '../fixtures/pg-error.ts';
import { until } from '../fixtures/until.ts';

let backstop: RunningBackstop;
before(async () => {
  backstop = await startBackstop({ waitSeconds: 0 });
  await backstop.upstream.run(`SET ROLE shopkeeper; CREATE TABLE keyless (id int, v text); INSERT INTO keyless SELECT i, 'x' FROM generate_series(1, 100) i;
    CREATE TABLE parent (id int PRIMARY KEY, v text); CREATE TABLE child (id int PRIMARY KEY, parent_id int REFERENCES parent ON DELETE CASCADE);
    INSERT INTO parent SELECT i, 'p' FROM generate_series(1, 100) i; INSERT INTO child SELECT i, i FROM generate_series(1, 100) i;
    CREATE VIEW parents AS SELECT id, v FROM parent`, 'shop');
});
after(async () => { await backstop?.stop(); });

const session = <T>(work: (client: pg.Client) => Promise<T>): Promise<T> => withPgClient(backstop.agentUrl(), work);
const points = (): Promise<readonly RecoveryPointOnRecord[]> => backstop.memory.recoveryPoints.list({ limit: 1000 });
const pending = async (match: RegExp): Promise<Approval> => until('it is listed', async () => (await backstop.memory.approvals.list('pending', 100)).find(({ redacted }) => match.test(redacted)));

/** The recovery points that the work leaves, once what became of their transactions is known. */
async function pointsOf(work: () => Promise<unknown>): Promise<readonly RecoveryPointOnRecord[]> {
  const before = new Set((await points()).map(({ id }) => id));
  await work();
  const made = async (): Promise<readonly RecoveryPointOnRecord[]> => (await points()).filter(({ id }) => !before.has(id));
  await until('their fate is known', async () => (await made()).every(({ state }) => state !== 'sealed'));
  return made();
}

describe('what can be undone and is small', () => {
  const unasked: readonly (readonly [sql: string, method: string, why: string])[] = [
    ["UPDATE notes SET body = 'changed' WHERE id = 1", 'rows', 'one row by its key'],
    ['DELETE FROM notes WHERE id IN (2, 3)', 'rows', 'two rows'],
    ['DELETE FROM parent WHERE id = 1', 'transitions', 'a key passes it on'],
    ["UPDATE parents SET v = 'seen' WHERE id = 2", 'transitions', 'through a view'],
    ['DROP VIEW parents', 'tables', 'a definition'],
  ];
  for (const [sql, method, why] of unasked) {
    it(`runs unasked and leaves a recovery point: ${sql} (${why})`, () => session(async (client) => {
      const made = await pointsOf(() => client.query(sql));
      assert.deepEqual(made.map((point) => [point.method, point.state, point.agent]), [[method, 'committed', 'tester']]);
    }));
  }

  it('runs in the client\'s own transaction, and is kept only with it', () => session(async (client) => {
    const kept = await pointsOf(async () => {
      await client.query('BEGIN');
      await client.query("UPDATE notes SET body = 'kept' WHERE id = 10");
      await client.query('COMMIT');
    });
    const dropped = await pointsOf(async () => {
      await client.query('BEGIN');
      await client.query("UPDATE notes SET body = 'gone' WHERE id = 11");
      await client.query('ROLLBACK');
    });
    assert.deepEqual([kept, dropped].map((made) => made.map(({ state }) => state)), [['committed'], ['discarded']]);
  }));

  it('leaves none where it loses nothing', () => session(async (client) => {
    assert.deepEqual(await pointsOf(async () => {
      await client.query("INSERT INTO notes VALUES (5001, 'new')");
      await client.query("UPDATE notes SET body = 'nobody' WHERE id = -1");
    }), []);
  }));
});

describe('what is more', () => {
  const asked: readonly (readonly [sql: string, method: string, why: string])[] = [
    ["UPDATE child SET parent_id = 50 WHERE id BETWEEN 40 AND 90", 'rows', 'half of a table'],
    ["INSERT INTO notes VALUES (1, 'again') ON CONFLICT (id) DO UPDATE SET body = excluded.body", 'transitions', 'nobody can count it beforehand'],
    ['DELETE FROM child', 'rows', 'every row'],
    ['TRUNCATE parent CASCADE', 'tables', 'a whole table and what refers to it'],
    ['DROP TABLE child', 'tables', 'a table'],
  ];
  for (const [sql, method, why] of asked) {
    it(`waits for a person who reads how it can be undone, and runs with a recovery point: ${sql} (${why})`, () => session(async (client) => {
      assert.equal(await codeOf(client.query(sql)), '55000');
      const approval = await pending(new RegExp(sql.slice(0, 12)));
      assert.match(approval.coverage?.sentence ?? '', /^It can be undone/);
      assert.equal(approval.coverage?.method, method);
      await backstop.approve(approval.id);
      const made = await pointsOf(() => client.query(sql));
      assert.deepEqual(made.map((point) => [point.method, point.state]), [[method, 'committed']]);
    }));
  }
});

describe('what cannot be undone', () => {
  it('is denied with the reason, and runs by an override alone, without a recovery point', () => session(async (client) => {
    const sql = "UPDATE keyless SET v = 'y' WHERE id = 7";
    const { code, message, hint } = await refusalOf(client.query(sql));
    assert.equal(code, '42501');
    assert.match(message ?? '', /public\.keyless has no primary key/);
    const { id } = await pending(/UPDATE keyless/);
    assert.match(hint ?? '', new RegExp(`override ${id} --reason`));
    await assert.rejects(backstop.approve(id), /override/);
    await backstop.override(id, 'these rows are made again each night');
    assert.deepEqual(await pointsOf(() => client.query(sql)), []);
    assert.deepEqual(await backstop.upstream.run('SELECT v FROM keyless WHERE id = 7', 'shop'), [{ v: 'y' }]);
    assert.equal(await codeOf(client.query(sql)), '42501', 'it was good for once');
  }));

  it('is denied in every other form too', () => session(async (client) => {
    for (const sql of ['DO $$ BEGIN DELETE FROM notes; END $$', 'DELETE FROM notes; TRUNCATE keyless', "SELECT lo_unlink(1)"]) assert.equal(await codeOf(client.query(sql)), '42501', sql);
  }));
});
