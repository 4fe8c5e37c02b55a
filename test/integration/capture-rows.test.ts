/**
 * Capture of rows the cheap way, on a real PostgreSQL: its images are those that COPY would print, however the values came,
 * and nothing that other sessions do between its look and the statement goes unseen.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Failure } from '../../src/core/failure.ts';
import type { CapturedContents } from '../../src/flow/protect.ts';
import type { Question } from '../../src/remote/postgres/link-query.ts';
import type { Link } from '../../src/remote/postgres/link.ts';
import { startRowsCaptureScene, type RowsCaptureScene } from '../fixtures/rows-capture-scene.ts';
import { until } from '../fixtures/until.ts';

const schema = `
CREATE TABLE items (id int PRIMARY KEY, v text, n numeric, seen bool DEFAULT true);
INSERT INTO items SELECT i, 'v' || i, i / 7.0 FROM generate_series(1, 20) i;
CREATE TABLE "odd ""Name" ("a Key" int GENERATED ALWAYS AS IDENTITY, b text, c text, at timestamptz, f float8, raw bytea, tags text[], twice int GENERATED ALWAYS AS ("a Key" * 2) STORED, PRIMARY KEY (b, "a Key"));
INSERT INTO "odd ""Name" (b, c, at, f, raw, tags) VALUES ('k', E'tab\\t line\\n back\\\\ return\\r \\x01 é 😀', '2026-03-29 01:30:00.123456+00', 0.1::float8 + 0.2, '\\x00ff', ARRAY['a,b', NULL, '"']), ('', NULL, NULL, 'NaN', '', '{}'), (E'\\\\N', '\\N', 'infinity', '-0', NULL, NULL);
CREATE TABLE many (id int PRIMARY KEY, k int, v text); INSERT INTO many SELECT i, i % 3, 'v' FROM generate_series(1, 3000) i;
CREATE TABLE stamped (id int PRIMARY KEY, v text, at int DEFAULT 0); INSERT INTO stamped SELECT i, 'v' FROM generate_series(1, 5) i;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.v = 'skip' AND NEW.id = 2 THEN RETURN NULL; END IF; NEW.at := OLD.at + 1; RETURN NEW; END $$;
CREATE TRIGGER stamp BEFORE UPDATE ON stamped FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE TABLE split (id int, v text, PRIMARY KEY (id)) PARTITION BY HASH (id); CREATE TABLE split_0 PARTITION OF split FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE split_1 PARTITION OF split FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO split SELECT i, 'v' FROM generate_series(1, 10) i;
CREATE TABLE log (id int); CREATE TABLE quiet (id int PRIMARY KEY, v text); INSERT INTO quiet SELECT i, 'v' FROM generate_series(1, 5) i;
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.log VALUES (1); RETURN NULL; END $$;
CREATE TABLE moving (id int PRIMARY KEY, v text); INSERT INTO moving VALUES (1, 'v');`;

let scene: RowsCaptureScene;
let link: Link;
before(async () => {
  scene = await startRowsCaptureScene(schema);
  link = await scene.connect();
});
after(async () => { await scene?.stop(); });

const bytes = (...values: readonly (string | null)[]): readonly (Buffer | null)[] => values.map((value) => (value === null ? null : Buffer.from(value)));
async function images({ tables: [table, ...more] }: CapturedContents): Promise<{ readonly was: string; readonly is: string }> {
  assert.deepEqual(more, []);
  return { was: await scene.textOf(table?.before), is: await scene.textOf(table?.after) };
}
const sorted = (text: string): readonly string[] => text.split('\n').toSorted();
const isMoved = (error: unknown): boolean => error instanceof Failure && error.code === 'rows_moved' && error.sqlstate === '40001';
async function copied(of: Link, sql: string): Promise<string> {
  const pieces: Buffer[] = [];
  await of.copyOut(`COPY (${sql}) TO STDOUT`, (rows) => { pieces.push(rows); return undefined; });
  return Buffer.concat(pieces).toString();
}

describe('the images of a few rows', () => {
  it('are what COPY prints, byte for byte, whatever the values and names', async () => {
    const expected = await copied(link, 'SELECT "a Key", b, c, at, f, raw, tags FROM "odd ""Name"');
    const { was, is } = await images(await scene.captured(link, { sql: 'DELETE FROM "odd ""Name" AS "t T"' }));
    assert.deepEqual({ was: sorted(was), is }, { was: sorted(expected), is: '' });
    const updated = await images(await scene.captured(link, { sql: `UPDATE "odd ""Name" SET c = E'\\t', f = f WHERE true` }));
    assert.deepEqual(sorted(updated.was), sorted(expected));
    assert.ok(sorted(updated.is).slice(1).every((line) => line.split('\t')[2] === '\\t'));
  });

  it('are of the rows that the client\'s own values choose, typed as in its own statement', async () => {
    const five = Buffer.alloc(4);
    five.writeInt32BE(5);
    const rows: readonly (readonly [question: Question, was: string, is: string])[] = [
      [{ sql: 'UPDATE items SET v = $1, n = $3 WHERE id = $2', values: bytes('new', '3', null) }, '3\tv3\t0.42857142857142857143\tt\n', '3\tnew\t\\N\tt\n'],
      [{ sql: 'UPDATE items SET v = $1 WHERE id = $2', formats: ['text', 'binary'], parameterTypes: [25, 23], values: [Buffer.from("it's"), five] }, '5\tv5\t0.71428571428571428571\tt\n', "5\tit's\t0.71428571428571428571\tt\n"],
      [{ sql: 'DELETE FROM items WHERE id = $1', values: bytes('77') }, '', ''],
    ];
    for (const [question, was, is] of rows) for (let time = 0; time < 2; time += 1) assert.deepEqual(await images(await scene.captured(link, question)), { was, is }, question.sql);
  });

  it('say where the transaction stands and how the values were printed', async () => {
    const { xid, lsn, server, settings } = await scene.captured(link, { sql: 'DELETE FROM items WHERE id = 1' });
    assert.match(xid, /^\d+$/);
    assert.match(lsn, /^[0-9A-F]+\/[0-9A-F]+$/);
    assert.equal(server.major, 18);
    assert.deepEqual(settings, { search_path: '"public"', DateStyle: 'ISO, MDY', IntervalStyle: 'postgres', extra_float_digits: '1', bytea_output: 'hex', TimeZone: settings['TimeZone'], lc_monetary: settings['lc_monetary'] });
  });

  it('are those of a partitioned table, and of one whose trigger fits the row', async () => {
    const { was, is } = await images(await scene.captured(link, { sql: "UPDATE split SET v = 'w' WHERE id < 4" }));
    assert.deepEqual([sorted(was), sorted(is)], [['', '1\tv', '2\tv', '3\tv'], ['', '1\tw', '2\tw', '3\tw']]);
    assert.deepEqual(await images(await scene.captured(link, { sql: "UPDATE stamped SET v = 'w' WHERE id = 1" })), { was: '1\tv\t0\n', is: '1\tw\t1\n' });
    // The trigger leaves one of the two out.
    assert.deepEqual(await images(await scene.captured(link, { sql: "UPDATE stamped SET v = 'skip' WHERE id IN (1, 2)" })), { was: '1\tv\t0\n', is: '1\tskip\t1\n' });
  });

  it('are not taken for whole where the number of changed rows was not told', async () => {
    await link.query('BEGIN');
    const capture = scene.capture(link, { sql: 'DELETE FROM items WHERE id = 1' });
    await capture.before();
    await link.query('DELETE FROM items WHERE id = 1');
    await assert.rejects(capture.after(undefined), (error) => error instanceof Failure && error.code === 'feature_not_supported');
    await link.query('ROLLBACK');
  });

  it('are gathered otherwise where the session prints dates so that they lose something', async () => {
    await link.query("SET DateStyle TO 'SQL, DMY'");
    try {
      const { was } = await images(await scene.captured(link, { sql: `UPDATE "odd ""Name" SET c = '' WHERE at < '30/03/2026'` }));
      assert.match(was, /^1\tk\t.*\t2026-03-29 01:30:00\.123456\+00\t/);
    } finally {
      await link.query('RESET DateStyle');
    }
  });
});

describe('what others do between the look and the statement', () => {
  /** `meanwhile` on another connection, when the rows are locked. */
  async function withMeanwhile(question: Question, meanwhile: (other: Link) => Promise<void>): Promise<CapturedContents> {
    const [own, other] = [await scene.connect(), await scene.connect()];
    try {
      await own.query('BEGIN');
      const capture = scene.capture(own, question);
      await capture.before();
      await meanwhile(other);
      const { command } = await own.ask(question);
      return await capture.after(command.rows ?? undefined);
    } finally {
      await own.end();
      await other.end();
    }
  }
  const refill = async (): Promise<void> => { await scene.server.run("TRUNCATE moving; INSERT INTO moving SELECT i, 'v' FROM generate_series(1, 5) i"); };

  for (const [sql, other, why] of [
    ["DELETE FROM moving WHERE v = 'v'", "INSERT INTO moving VALUES (6, 'v')", 'a new row matches'],
    ["UPDATE moving SET v = 'x' WHERE v = 'v' OR id > 5", "INSERT INTO moving VALUES (6, 'w')", 'a new row matches'],
    ["DELETE FROM moving WHERE id < 3 AND v = 'v'", "UPDATE moving SET id = 0 WHERE id = 5", 'a row comes to match'],
    ["UPDATE moving SET v = 'x' WHERE v = 'w'", "UPDATE moving SET v = 'w' WHERE id = 4", 'a row comes to match where none did'],
  ] as const) {
    it(`is seen, and nothing commits: ${sql}, and ${why}`, async () => {
      await refill();
      await assert.rejects(withMeanwhile({ sql }, async (link2) => { await link2.query(other); }), isMoved);
    });
  }

  it('waits where it would change or delete a row that was looked at', async () => {
    await refill();
    const own = await scene.connect();
    const other = await scene.connect();
    await own.query('BEGIN');
    const capture = scene.capture(own, { sql: "UPDATE moving SET v = 'x' WHERE id = 1" });
    await capture.before();
    const changing = other.query("UPDATE moving SET v = v || '!' WHERE id = 1");
    await until('the other one waits', async () => (await scene.server.run("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'")).length > 0);
    const { command } = await own.query("UPDATE moving SET v = 'x' WHERE id = 1");
    assert.deepEqual(await images(await capture.after(command.rows ?? undefined)), { was: '1\tv\n', is: '1\tx\n' });
    await own.query('COMMIT');
    await changing;
    assert.deepEqual((await other.query('SELECT v FROM moving WHERE id = 1')).rows, [['x!']]);
  });

  it('is the server\'s 40001 where the transaction has an older snapshot, for few rows and many', async () => {
    for (const rowsExpected of [1, 10_000]) {
      await refill();
      const own = await scene.connect();
      await own.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
      await own.query('SELECT count(*) FROM moving');
      await scene.server.run("UPDATE moving SET v = 'later' WHERE id = 2; INSERT INTO moving VALUES (6, 'v')");
      const capture = scene.capture(own, { sql: "DELETE FROM moving WHERE v = 'v'" }, { isInBlock: true, rowsExpected });
      await assert.rejects(async () => {
        await capture.before();
        await own.query("DELETE FROM moving WHERE v = 'v'");
      }, { code: '40001' });
      await own.end();
    }
  });

  it('is part of the image where it began before', async () => {
    await refill();
    const [own, other] = [await scene.connect(), await scene.connect()];
    await other.query('BEGIN');
    await other.query("UPDATE moving SET v = 'later' WHERE id = 2");
    await own.query('BEGIN');
    const question = { sql: 'DELETE FROM moving WHERE id IN (1, 2, 3)' };
    const capture = scene.capture(own, question);
    const looking = capture.before();
    await until('it waits', async () => (await scene.server.run("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'")).length > 0);
    await other.query('COMMIT');
    await looking;
    const { command } = await own.ask(question);
    assert.deepEqual(sorted((await images(await capture.after(command.rows ?? undefined))).was), ['', '1\tv', '2\tlater', '3\tv']);
  });

  it('is not kept from ending by the count of rows that comes first', async () => {
    const [own, other] = [await scene.connect(), await scene.connect()];
    await other.query('BEGIN');
    await other.query('LOCK TABLE many IN SHARE ROW EXCLUSIVE MODE');
    await own.query('BEGIN');
    const begun = scene.capture(own, { sql: 'DELETE FROM many WHERE k = -1' }).before();
    await until('it waits', async () => (await link.query("SELECT FROM pg_locks WHERE relation = 'many'::regclass AND NOT granted")).rows.length === 1);
    // As whoever drops a trigger.
    await other.query('LOCK TABLE many IN ACCESS EXCLUSIVE MODE');
    await other.query('COMMIT');
    await begun;
    await own.end();
    await other.end();
  });

  it('cannot be DDL on the table, and DDL before it is seen although the table is known', async () => {
    const question = { sql: "UPDATE quiet SET v = 'x' WHERE id = 1" };
    assert.deepEqual(await images(await scene.captured(link, question)), { was: '1\tv\n', is: '1\tx\n' });
    const capture = scene.capture(link, question);
    await link.query('BEGIN');
    await capture.before();
    await assert.rejects(scene.server.run("SET lock_timeout = '50ms'; CREATE TRIGGER tell AFTER UPDATE ON quiet FOR EACH ROW EXECUTE FUNCTION tell()"), { code: '55P03' });
    await link.query('ROLLBACK');
    await scene.server.run('ALTER TABLE quiet ADD COLUMN w int DEFAULT 7');
    assert.deepEqual(await images(await scene.captured(link, question)), { was: '1\tv\t7\n', is: '1\tx\t7\n' });
    await scene.server.run('CREATE TRIGGER tell AFTER UPDATE ON quiet FOR EACH ROW EXECUTE FUNCTION tell()');
    await assert.rejects(scene.captured(link, question), isMoved);
    // A rule's own changes are in no command tag.
    await scene.server.run('DROP TRIGGER tell ON quiet; CREATE RULE also AS ON UPDATE TO quiet DO ALSO DELETE FROM stamped');
    await assert.rejects(scene.captured(link, question), isMoved);
    await scene.server.run('DROP RULE also ON quiet; ALTER TABLE quiet DROP COLUMN w');
    // What was known names a column that is gone: this one fails, and the next one knows better.
    await assert.rejects(scene.captured(link, question), { code: '42703' });
    assert.deepEqual(await images(await scene.captured(link, question)), { was: '1\tv\n', is: '1\tx\n' });
    await scene.server.run('ALTER TABLE quiet ENABLE ROW LEVEL SECURITY; ALTER TABLE quiet FORCE ROW LEVEL SECURITY');
  });
});

describe('the images of many rows', () => {
  const question = { sql: 'UPDATE many SET v = $1 WHERE k = $2 AND v <> $3', values: bytes("it's \\ new", '1', 'old') };
  const expected = Array.from({ length: 1000 }, (_one, index) => `${index * 3 + 1}\t1\t`);

  it('are all that it changes, by values of the client\'s, in a transaction of ours', async () => {
    const { was, is } = await images(await scene.captured(link, question, { rowsExpected: 2_000 }));
    assert.deepEqual(sorted(was).slice(1), expected.map((line) => `${line}v`).toSorted());
    assert.deepEqual(sorted(is).slice(1), expected.map((line) => `${line}it's \\\\ new`).toSorted());
    // Not known, expected to be few, and held to few: so many are never taken for those.
    for (const expected of [{}, { rowsExpected: 10 }, { rowsMax: 1_000 }]) {
      const all = await images(await scene.captured(link, { sql: 'DELETE FROM many' }, expected));
      assert.deepEqual([sorted(all.was).length, all.is], [3_001, '']);
    }
  });

  it('are those of the statement alone in a client\'s transaction, behind savepoints and writes of its own', async () => {
    await link.query('BEGIN');
    await link.query("UPDATE many SET v = 'mine' WHERE k = 1 AND id < 10");
    await link.query('SAVEPOINT one');
    await link.query("UPDATE many SET v = 'mine too' WHERE k = 2");
    const capture = scene.capture(link, question, { isInBlock: true });
    await capture.before();
    const { command } = await link.ask(question);
    const { was, is } = await images(await capture.after(command.rows ?? undefined));
    assert.equal((await link.query("SELECT count(*) FROM pg_class WHERE relpersistence = 't'")).rows[0]?.[0], '0');
    await link.query('ROLLBACK');
    assert.deepEqual(sorted(was).slice(1), expected.map((line, index) => `${line}${index < 3 ? 'mine' : 'v'}`).toSorted());
    assert.deepEqual(sorted(is).slice(1), expected.map((line) => `${line}it's \\\\ new`).toSorted());
  });

  it('cannot change meanwhile', async () => {
    await link.query('BEGIN');
    const capture = scene.capture(link, { sql: 'DELETE FROM many' });
    await capture.before();
    await assert.rejects(scene.server.run("SET lock_timeout = '50ms'; INSERT INTO many VALUES (0, 0, '')"), { code: '55P03' });
    await link.query('DELETE FROM many WHERE id > 1');
    await assert.rejects(capture.after(2_999), isMoved);
    await link.query('ROLLBACK');
  });
});
