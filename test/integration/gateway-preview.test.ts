/**
 * The preview of a statement that is held, before a real PostgreSQL 18: it counts what would happen, whatever the statement
 * is made of, or says why that is not known.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { Impact } from '../../src/core/impact.ts';
import { startMeasuredScene, type MeasuredScene } from '../fixtures/measured-scene.ts';
import { bind, execute, parse, query, sync } from '../fixtures/unnamed-messages.ts';
import { until } from '../fixtures/until.ts';
import type { WireClient } from '../fixtures/wire-client.ts';

let scene: MeasuredScene;
before(async () => { scene = await startMeasuredScene(); });
after(async () => { await scene?.stop(); });
beforeEach(() => scene.refill());


describe('the preview counts what would happen', () => {
  it('rows, their share, and what foreign keys pass on', () => scene.withClient(async (client) => {
    const impact = await scene.measuredFor(client, query('DELETE FROM parent WHERE id <= 6'));
    assert.deepEqual([impact.table, impact.rows, impact.tableRows, impact.percent], ['public.parent', 6, { count: 40, isExact: true }, 15]);
    assert.deepEqual(impact.cascades, [
      { table: 'public.child', rows: 12, how: 'deleted by child_parent_id_fkey (ON DELETE CASCADE)', isExact: true },
      { table: 'public.grandchild', rows: 12, how: 'updated by grandchild_child_id_fkey (ON DELETE SET NULL)', isExact: true },
    ]);
    assert.deepEqual(impact.sample?.columns, ['id', 'v']);
    assert.deepEqual(impact.sample?.rows, [['1', 'x'], ['2', 'x'], ['3', 'x'], ['4', 'x'], ['5', 'x']]);
    assert.deepEqual(impact.lock, { mode: 'ROW EXCLUSIVE', heldBy: 0, writers: 0, waiting: 0 });
    assert.match(client.errors[0]?.detail ?? '', /^It would change 6 rows of public\.parent \(15 % of 40\); and 12 rows of public\.child/);
    assert.doesNotMatch(JSON.stringify(client.errors), /\["1","x"\]/, 'the sample is not for the agent');
  }));

  it('with the values of an Execute, whatever they are used for', () => scene.withClient(async (client) => {
    const sent = [parse('UPDATE audited SET v = $1 WHERE id > $2 AND v <> $1'), bind(['new', '4']), execute(), sync];
    const { rows, triggers } = await scene.measuredFor(client, ...sent);
    assert.equal(rows, 6);
    assert.deepEqual(triggers, [{ table: 'public.audited', name: 'audit_it', when: 'after update, for each row', function: 'public.audit_it', fires: 'origin' }]);
  }));

  it('a row that is joined to many is one row', () => scene.withClient(async (client) => {
    const impact = await scene.measuredFor(client, query('UPDATE parent p SET v = \'y\' FROM child c, grandchild WHERE c.parent_id = p.id'));
    assert.equal(impact.rows, 10);
  }));

  it('a MERGE by what it does to each row', () => scene.withClient(async (client) => {
    const sql = `MERGE INTO deferred d USING generate_series(6, 14) AS n(i) ON d.id = n.i
      WHEN MATCHED AND n.i < 8 THEN DELETE WHEN MATCHED THEN UPDATE SET other = -n.i WHEN NOT MATCHED AND n.i > 12 THEN INSERT VALUES (n.i, n.i)`;
    const impact = await scene.measuredFor(client, query(sql));
    assert.deepEqual([impact.rows, impact.actions], [7, { update: 3, delete: 2, insert: 2 }]);
    assert.equal(impact.percent, 50);
  }));

  it('partitions, a view, row security as the role sees it, and generations of a tree', () => scene.withClient(async (client) => {
    const rowsOf = async (sql: string): Promise<number> => {
      await scene.backstop.upstream.run('SELECT 1');
      const { rows } = await scene.measuredFor(client, query(sql));
      return rows;
    };
    assert.equal(await rowsOf('DELETE FROM measured WHERE id > 2'), 8);
    assert.equal(await rowsOf("UPDATE through SET v = 'z'"), 10);
    await scene.direct('INSERT INTO secret SELECT i FROM generate_series(11, 14) i');
    assert.equal(await rowsOf('DELETE FROM secret WHERE true OR id > 0'), 6);
    await scene.direct('INSERT INTO tree SELECT i, 4 FROM generate_series(11, 14) i');
    const tree = await scene.measuredFor(client, query('DELETE FROM tree WHERE id = 1'));
    assert.deepEqual([tree.rows, tree.cascades], [1, [{ table: 'public.tree', rows: 7, how: 'deleted by tree_parent_id_fkey (ON DELETE CASCADE)', isExact: true }]]);
  }));

  it('every trigger that would fire, when, and where only replicated changes fire it', () => scene.withClient(async (client) => {
    await scene.direct(`CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
      CREATE TABLE watched (id int PRIMARY KEY, v text, g text GENERATED ALWAYS AS (v || 'g') STORED, n int) PARTITION BY RANGE (id);
      CREATE TABLE watched_1 PARTITION OF watched FOR VALUES FROM (0) TO (100);
      INSERT INTO watched (id, v, n) SELECT i, 'v', 1 FROM generate_series(1, 9) i;
      CREATE TRIGGER a_each AFTER UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION note();
      CREATE TRIGGER b_moved BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION note();
      CREATE TRIGGER c_generated AFTER UPDATE OF g ON watched FOR EACH STATEMENT EXECUTE FUNCTION note();
      CREATE TRIGGER d_other AFTER UPDATE OF n ON watched FOR EACH STATEMENT EXECUTE FUNCTION note();
      CREATE TRIGGER e_off AFTER UPDATE ON watched FOR EACH STATEMENT EXECUTE FUNCTION note(); ALTER TABLE watched DISABLE TRIGGER e_off;
      CREATE TRIGGER f_inserting AFTER INSERT ON watched FOR EACH STATEMENT EXECUTE FUNCTION note();
      CREATE TRIGGER g_always AFTER UPDATE ON watched_1 FOR EACH ROW EXECUTE FUNCTION note(); ALTER TABLE watched_1 ENABLE ALWAYS TRIGGER g_always;
      CREATE TRIGGER h_replica BEFORE UPDATE ON watched_1 FOR EACH ROW EXECUTE FUNCTION note(); ALTER TABLE watched_1 ENABLE REPLICA TRIGGER h_replica;
      CREATE TRIGGER i_partition AFTER UPDATE ON watched_1 FOR EACH STATEMENT EXECUTE FUNCTION note()`);
    try {
      const { triggers } = await scene.measuredFor(client, query("UPDATE watched SET v = 'w'"));
      assert.deepEqual(triggers.map(({ table, name, when, fires }) => `${table}.${name} ${when} ${fires}`), [
        'public.watched.a_each after update, for each row origin', 'public.watched.b_moved before insert, for each row origin',
        'public.watched.c_generated after update, for each statement origin',
        'public.watched_1.g_always after update, for each row always', 'public.watched_1.h_replica before update, for each row replica',
      ]);
    } finally { await scene.direct('DROP TABLE watched; DROP FUNCTION note()'); }
  }));

  it('what waits and who is in the way', () => scene.withClient(async (client) => {
    const other = await scene.other();
    try {
      other.send(query('BEGIN; UPDATE audited SET v = v WHERE id = 1'));
      await other.until('Z');
      const { lock } = await scene.measuredFor(client, query("UPDATE audited SET v = 'w'"));
      assert.deepEqual(lock, { mode: 'ROW EXCLUSIVE', heldBy: 0, writers: 1, waiting: 0 });
    } finally { other.end(); }
  }));

  it('what a TRUNCATE or DROP takes away, which is held against the limits as well', () => scene.withClient(async (client) => {
    const truncated = await scene.heldFor(client, query('TRUNCATE parent CASCADE'));
    assert.ok(truncated.impact.kind === 'loss');
    assert.deepEqual([truncated.impact.named.names, truncated.impact.also.names, truncated.impact.rows], [['table public.parent'], ['table public.child', 'table public.grandchild'], { count: 80, isExact: true }]);
    assert.deepEqual(truncated.verdict.fired.filter(({ decision }) => decision === 'hold').map(({ rule }) => rule), ['limit.rows']);
    assert.match(client.errors[0]?.detail ?? '', /^It would truncate table public\.parent, and 80 rows of 3 tables would be lost\. It would also empty or restart 2 more: table public\.child, table public\.grandchild\./);
    await scene.direct('CREATE TABLE doomed AS SELECT i FROM generate_series(1, 9) i; CREATE VIEW of_doomed AS SELECT i FROM doomed');
    const dropped = await scene.heldFor(client, query('DROP TABLE doomed CASCADE'));
    assert.ok(dropped.impact.kind === 'loss');
    assert.deepEqual([dropped.impact.also.names, dropped.impact.rows], [['view public.of_doomed'], { count: 9, isExact: true }]);
    await scene.backstop.approve(dropped.id);
    client.send(query('DROP TABLE doomed CASCADE'));
    assert.ok((await client.until('Z')).includes('C:DROP TABLE'));
  }));

  it('a DROP that loses no more rows than the policy lets go runs unasked, and one inside code does not', () => scene.withClient(async (client) => {
    await scene.direct('CREATE TABLE few AS SELECT 1 AS id; CREATE TABLE hidden AS SELECT i FROM generate_series(1, 9) i');
    client.send(query('DROP TABLE few'));
    assert.ok((await client.until('Z')).includes('C:DROP TABLE'));
    const { impact } = await scene.heldFor(client, query('DO $$ BEGIN DROP TABLE hidden; END $$'));
    assert.equal(impact.kind, 'unknown');
    await scene.direct('DROP TABLE hidden');
  }));

  const unknowns: readonly (readonly [claim: string, sql: string, reason: RegExp])[] = [
    ['a WHERE that calls what is not harmless', "DELETE FROM parent WHERE pg_advisory_lock(id) IS NULL", /could not be proved harmless/],
    ['a WHERE that means another thing each time', 'DELETE FROM parent WHERE id < random() * 3', /may answer otherwise/],
    ['a write inside WITH', 'WITH d AS (DELETE FROM audited RETURNING id) DELETE FROM parent WHERE id IN (SELECT id FROM d)', /WITH holds a statement that writes/],
    ['a write beneath a SELECT', 'WITH d AS (DELETE FROM audited RETURNING id) SELECT * FROM d', /inside something else/],
    ['two writes in one message', 'DELETE FROM audited WHERE id = 1; DELETE FROM parent WHERE id = 1', /several statements/],
    ['a transaction in one message', 'BEGIN; DELETE FROM audited WHERE id = 1; COMMIT', /begins or ends a transaction/],
    ['policies that show one thing and delete another', 'DELETE FROM uneven WHERE id < 9', /row security/],
    ['a rule', 'DELETE FROM ruled WHERE id = 1', /a rule on public.ruled/],
    ['EXPLAIN ANALYZE', 'EXPLAIN ANALYZE DELETE FROM audited WHERE id = 1', /inside something else/],
    ['a cursor of the session', 'DELETE FROM audited WHERE CURRENT OF c', /a cursor/],
    ['an error of its own', 'DELETE FROM audited WHERE 1 / (id - id) = 1', /SQLSTATE 22012/],
  ];
  for (const [claim, sql, reason] of unknowns) {
    it(`unknown, and therefore held: ${claim}`, () => scene.withClient(async (client) => {
      const { impact, verdict } = await scene.heldFor(client, query(sql));
      assert.ok(impact.kind === 'unknown' && reason.test(impact.reason), JSON.stringify(impact));
      assert.ok(verdict.fired.some(({ rule }) => rule === 'impact.unknown'));
    }));
  }

  it('unknown: a table that its own transaction has written', () => scene.withClient(async (client) => {
    client.send(query('BEGIN'), query("UPDATE audited SET v = 'w' WHERE id = 1"));
    await client.until('Z');
    await client.until('Z');
    const { impact } = await scene.heldFor(client, query("DELETE FROM audited WHERE v = 'w'"));
    assert.match((impact as Extract<Impact, { kind: 'unknown' }>).reason, /has written to the same tables already/);
  }));

  it('a table that is locked, or too slow to count, is unknown', () => scene.withClient(async (client) => {
    const other = await scene.other();
    try {
      other.send(query('BEGIN; LOCK TABLE audited IN ACCESS EXCLUSIVE MODE'));
      await other.until('Z');
      const { impact } = await scene.heldFor(client, query('DELETE FROM audited WHERE id < 3'));
      assert.match((impact as Extract<Impact, { kind: 'unknown' }>).reason, /locked by another session/);
    } finally { other.end(); }
    const { impact } = await scene.heldFor(client, query('DELETE FROM parent p USING generate_series(1, 100000) a, generate_series(1, 100000) b WHERE a + b = -p.id'));
    assert.match((impact as Extract<Impact, { kind: 'unknown' }>).reason, /longer than 2 s/);
  }));

  const slow = 'DELETE FROM child c USING generate_series(1, 100000) a, generate_series(1, 100000) b WHERE a + b = -c.id';
  const isCounting = async (): Promise<boolean> => (await scene.backstop.upstream.run("SELECT FROM pg_stat_activity WHERE state = 'active' AND query ~ 'generate_series' AND pid <> pg_backend_pid()")).length > 0;
  const pending = async (): Promise<number> => (await scene.backstop.memory.approvals.list('pending', 1_000)).length;

  /** What takes too long to count would be held, after 2 s: whatever ends the count has to come before. */
  async function whileCounting(client: WireClient, end: () => Promise<readonly string[]>): Promise<void> {
    const before = await pending();
    const startedMs = performance.now();
    client.send(query(slow));
    await until('it is counted', isCounting);
    const lines = await end();
    await until('the count is over', async () => !await isCounting());
    if (performance.now() - startedMs < 2_000) assert.deepEqual([lines.filter((line) => line !== 'E:57014' && line !== 'Z:I'), await pending()], [[], before]);
  }

  it('a cancel request ends the count, and nobody is asked', () => scene.withClient((client) => whileCounting(client, async () => {
    await scene.cancel(client);
    return client.until('Z');
  })));

  it('a connection that breaks ends the count, and nobody is asked', () => scene.withClient((client) => whileCounting(client, () => {
    client.socket.resetAndDestroy();
    return client.untilClosed();
  })));
});
