/**
 * Capture of what takes tables, beside others who write and define at the same time: locks come first, what grew is seen,
 * and what would not come back is refused by name. The client's own transaction and session are left as they were.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { Failure } from '../../src/core/failure.ts';
import { takenBy } from '../../src/core/sql/taken.ts';
import { loadParser } from '../../src/lib/pgsql/parser.ts';
import type { Link } from '../../src/remote/postgres/link.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { openTablesScene, type TablesScene } from '../fixtures/tables-scene.ts';
import { until } from '../fixtures/until.ts';

let server: PostgresServer;
let scene: TablesScene;
let other: Link;
before(async () => {
  server = await startPostgresServer();
  scene = await openTablesScene(server.url());
  other = await scene.connect();
});
after(async () => {
  await scene?.close();
  await server?.stop();
});
beforeEach(async () => {
  await scene.run('CREATE SCHEMA shop', 'SET search_path TO shop', 'CREATE TABLE shop.item (id int PRIMARY KEY, name text)', `INSERT INTO shop.item SELECT i, 'i' || i FROM generate_series(1, 10) i`);
});
afterEach(async () => {
  await other.query('ROLLBACK');
  await scene.run('DROP SCHEMA IF EXISTS shop CASCADE', 'RESET ALL');
});

/** Until the scene's own connection waits for a lock. */
const untilWaiting = (): Promise<unknown> => until('the scene waits for a lock', async () => (await other.query('SELECT wait_event_type FROM pg_stat_activity WHERE pid = $1', [String(scene.link.processId)])).rows[0]?.[0] === 'Lock');
const keptRows = async (acting: ReturnType<TablesScene['act']>): Promise<readonly (readonly [string, number])[]> => (await acting).tables.flatMap(({ name, content }) => (content === undefined ? [] : [[name, content.rows] as const]));
const refuses = (code: string, message: RegExp) => (error: unknown): boolean => {
  assert.ok(error instanceof Failure, String(error));
  assert.equal(error.code, code);
  assert.match(error.message, message);
  return true;
};

describe('others who are at work', () => {
  it('have their uncommitted rows waited for, and then kept', async () => {
    await other.query('BEGIN');
    await other.query(`INSERT INTO shop.item VALUES (11, 'late')`);
    const acting = keptRows(scene.act('TRUNCATE item'));
    await untilWaiting();
    await other.query('COMMIT');
    assert.deepEqual(await acting, [['shop.item', 11]]);
  });

  it('who make a trigger meanwhile that loses rows elsewhere have the statement refused', async () => {
    await scene.run('CREATE TABLE shop.aside AS SELECT * FROM shop.item', 'CREATE FUNCTION shop.lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM shop.aside; RETURN NULL; END $$');
    await other.query('BEGIN');
    await other.query('CREATE TRIGGER lost AFTER TRUNCATE ON shop.item FOR EACH STATEMENT EXECUTE FUNCTION shop.lose()');
    const acting = assert.rejects(scene.act('TRUNCATE item'), refuses('rows_moved', /rows of other tables/));
    await untilWaiting();
    await other.query('COMMIT');
    await acting;
    assert.deepEqual((await other.query('SELECT count(*) FROM shop.aside')).rows, [['10']]);
  });

  it('who make a table that refers to this one meanwhile have its rows kept too', async () => {
    await other.query('BEGIN');
    await other.query('CREATE TABLE shop.part (id int PRIMARY KEY, item int REFERENCES shop.item)');
    await other.query('INSERT INTO shop.part VALUES (1, 1), (2, 2)');
    const acting = keptRows(scene.act('TRUNCATE item CASCADE'));
    await untilWaiting();
    await other.query('COMMIT');
    assert.deepEqual(await acting, [['shop.item', 10], ['shop.part', 2]]);
  });

  it('cannot put a row into a table once it was copied', async () => {
    let inserted: Promise<unknown> = Promise.resolve();
    const manifest = await scene.act('TRUNCATE item', async () => {
      inserted = other.query(`INSERT INTO shop.item VALUES (11, 'late')`);
      await until('the other waits for a lock', async () => (await scene.session.query(`SELECT count(*) FROM pg_locks WHERE pid = ${other.processId} AND NOT granted`))[0]?.[0] === '1');
    });
    await inserted;
    assert.deepEqual((await scene.undo(manifest)).tables, [{ name: 'shop.item', rows: 10, since: 1 }]);
  });

  it('who make a table in a schema while that is dropped cannot lose it', async () => {
    const dropping = scene.act('DROP SCHEMA shop CASCADE', async () => { await other.query('CREATE TABLE shop.sudden AS SELECT 1 AS a'); });
    await assert.rejects(dropping, refuses('conflict', /^Others made objects that this takes away/));
    assert.deepEqual((await other.query('SELECT a FROM shop.sudden')).rows, [['1']]);
  });

  it('wait for a view that is to fall, and cannot redefine it unseen', async () => {
    await scene.run('CREATE VIEW shop.names AS SELECT name FROM item');
    const was = await scene.state();
    let replaced: Promise<unknown> = Promise.resolve();
    const manifest = await scene.act('DROP VIEW names', async () => {
      replaced = other.query(`CREATE OR REPLACE VIEW shop.names AS SELECT name, 1 AS more FROM shop.item`).catch(() => undefined); // The view may be gone by then.
      await until('the other waits for a lock', async () => (await scene.session.query(`SELECT count(*) FROM pg_locks WHERE pid = ${other.processId} AND NOT granted`))[0]?.[0] === '1');
    });
    await replaced;
    await scene.run('DROP VIEW IF EXISTS names');
    await scene.undo(manifest);
    assert.deepEqual(await scene.state(), was);
  });
});

describe('what cannot be kept whole is refused before it is taken', () => {
  const refused: readonly (readonly [why: string, given: readonly string[], statement: string, code: string, message: RegExp])[] = [
    ['an object that nothing makes again', ['CREATE FUNCTION shop.add(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT $1 + $2 $$', 'CREATE OPERATOR shop.### (leftarg = int, rightarg = int, function = shop.add)'], 'DROP FUNCTION add(int, int) CASCADE', 'feature_not_supported', /operator shop\.###/],
    ['an aggregate', ['CREATE AGGREGATE shop.total(int) (sfunc = int4pl, stype = int)'], 'DROP AGGREGATE total(int)', 'feature_not_supported', /function shop\.total/],
    ['a foreign table that falls too', ['CREATE FOREIGN DATA WRAPPER none', 'CREATE SERVER away FOREIGN DATA WRAPPER none', 'CREATE FOREIGN TABLE shop.far (id int) SERVER away'], 'DROP SCHEMA shop CASCADE', 'feature_not_supported', /shop\.far is a foreign table/],
    ['a temporary table that falls too', ['CREATE TEMPORARY TABLE mine (id int) INHERITS (shop.item)'], 'DROP TABLE item CASCADE', 'feature_not_supported', /mine is a temporary table/],
  ];
  for (const [why, given, statement, code, message] of refused) {
    it(why, async () => {
      await scene.run(...given);
      const was = await scene.state();
      await assert.rejects(scene.act(statement), refuses(code, message));
      assert.deepEqual(await scene.state(), was);
      await scene.run('DROP FOREIGN DATA WRAPPER IF EXISTS none CASCADE', 'DROP TABLE IF EXISTS pg_temp.mine');
    });
  }

  it('a table of which row security hides rows from us', async () => {
    await server.run(`CREATE ROLE plain LOGIN PASSWORD 'secret'; GRANT ALL ON SCHEMA shop TO plain; ALTER TABLE shop.item OWNER TO plain; ALTER TABLE shop.item ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY`);
    const url = new URL(server.url());
    [url.username, url.password] = ['plain', 'secret'];
    const plain = await openTablesScene(url.href);
    await assert.rejects(plain.act('TRUNCATE shop.item'), refuses('feature_not_supported', /shop\.item has row security/));
    await plain.close();
    await server.run('DROP OWNED BY plain CASCADE; DROP ROLE plain');
  });

  it('in a snapshot that may be older than the lock', async () => {
    await scene.run('SET default_transaction_isolation TO "repeatable read"');
    await assert.rejects(scene.act('TRUNCATE item'), refuses('feature_not_supported', /repeatable read/));
  });

  for (const statement of ['DROP INDEX CONCURRENTLY shop.i', 'ALTER TABLE p DETACH PARTITION q CONCURRENTLY', 'DROP OWNED BY bob', 'DROP DATABASE shop', 'DROP ROLE bob', 'ALTER VIEW v SET (security_barrier)', 'DELETE FROM shop.item', 'SELECT 1']) {
    it(`${statement}: not in this way at all`, async () => {
      const parser = await loadParser(18);
      const parsed = parser.parse(statement);
      assert.ok(parsed.kind === 'parsed' && parsed.statements[0] !== undefined);
      assert.equal(takenBy(parsed.statements[0], parser), undefined);
    });
  }
});

describe('the session', () => {
  it('has its own settings again, and values printed in them do not lose anything', async () => {
    await scene.run(`CREATE TABLE shop."Odd ""Name" (at timestamptz, span interval, f float8, m money, b bytea, r regclass, d date)`,
      `INSERT INTO "Odd ""Name" VALUES ('2026-03-29 01:59:59.123456+01', '1 year -3 days 04:05:06.7', 0.1::float8 + 0.2, 12.34, '\\x00ff', 'shop.item', '0044-03-15 BC')`);
    const was = await scene.state();
    const settings = ['DateStyle', 'IntervalStyle', 'extra_float_digits', 'bytea_output', 'TimeZone', 'search_path', 'statement_timeout', 'role', 'row_security', 'check_function_bodies'];
    await scene.run(`SET DateStyle TO 'German'`, `SET IntervalStyle TO 'sql_standard'`, 'SET extra_float_digits TO -10', `SET bytea_output TO 'escape'`, `SET TimeZone TO 'Asia/Kathmandu'`, `SET statement_timeout TO '59s'`);
    const own = async (): Promise<readonly unknown[]> => scene.session.query(`SELECT ${settings.map((name) => `current_setting('${name}')`).join(', ')}`);
    const before = await own();
    let within: readonly unknown[] = [];
    const manifest = await scene.act('DROP TABLE "Odd ""Name"', async () => { within = await own(); });
    assert.deepEqual(within, before);
    assert.deepEqual(await own(), before);
    await scene.undo(manifest);
    assert.deepEqual(await own(), before);
    await scene.run('RESET ALL');
    assert.deepEqual(await scene.state(), was);
  });

  it('has the transaction that the statement left: the rehearsal is not in it', async () => {
    await scene.act('DROP TABLE item');
    assert.deepEqual(await scene.session.query(`SELECT to_regclass('shop.item'), (SELECT count(*) FROM pg_class WHERE relname LIKE 'backstop%')`), [[null, '0']]);
  });

  it('finds a name where its search path does, whatever stands in other schemas', async () => {
    await scene.run('CREATE SCHEMA aside', 'CREATE TABLE aside.item (id int)', 'INSERT INTO aside.item VALUES (1)', 'SET search_path TO aside, shop');
    assert.deepEqual(await keptRows(scene.act('TRUNCATE item')), [['aside.item', 1]]);
    await scene.run('DROP SCHEMA aside CASCADE');
  });

  it('that drops what is not there keeps nothing and fails by the server’s own words', async () => {
    await assert.rejects(scene.act('DROP TABLE nothing_here'), (error) => error instanceof Error && 'code' in error && error.code === '42P01');
    assert.deepEqual(await keptRows(scene.act('DROP TABLE IF EXISTS nothing_here, item')), [['shop.item', 10]]);
  });
});
