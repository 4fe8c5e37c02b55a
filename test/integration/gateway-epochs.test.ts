/**
 * What a statement means is judged as of now: DDL by anyone else, sent past the gateway just before, is noticed before the
 * next risky statement is judged; a read may be judged by a catalog of up to a second ago, and then the read-only lock
 * stands behind the judgement; and what the session itself changes (path, role, temporary objects, functions) starts over.
 * The policy lets everything bounded through and denies whatever reaches the table `vault`.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import pg from 'pg';
import { startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { msOf } from '../fixtures/given-time.ts';
import { bind, execute, parse, query, sync, whole } from '../fixtures/messages.ts';
import { asPgError } from '../fixtures/pg-error.ts';
import { until } from '../fixtures/until.ts';
import { connectWire, type WireClient } from '../fixtures/wire-client.ts';

const policyText = `name: guarded
description: Lets everything through that does not reach vault.
levels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: allow }
unknown: deny
recovery: { required_from: never }
protected: { tables: [vault], on_write: deny }
scopes:
  - name: counted
    match: { agents: [counted] }
    limits: { max_rows: 1000, above: deny }
`;
const objects = `SET ROLE shopkeeper;
CREATE SCHEMA evil;
CREATE TABLE vault (id int PRIMARY KEY); INSERT INTO vault VALUES (1);
CREATE TABLE lines (id int PRIMARY KEY, note text); INSERT INTO lines SELECT n, 'x' FROM generate_series(1, 5) n;
CREATE VIEW shown AS SELECT id, note FROM lines;
CREATE FUNCTION reads() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM public.lines';
CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS 'UPDATE public.lines SET note = note WHERE id = 1 RETURNING id';
CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION strikes() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM public.vault WHERE id = 1; RETURN NEW; END';
CREATE FUNCTION strike() RETURNS int LANGUAGE sql AS 'DELETE FROM public.vault WHERE id = 1 RETURNING id';
CREATE TRIGGER quiet BEFORE UPDATE ON lines FOR EACH ROW EXECUTE FUNCTION noop();`;

const folder = mkdtempSync(join(tmpdir(), 'backstop-test-policy-'));
let backstop: RunningBackstop;
let client: pg.Client;
let direct: pg.Client;
before(async () => {
  writeFileSync(join(folder, 'guarded.yaml'), policyText);
  backstop = await startBackstop({ policy: join(folder, 'guarded.yaml') });
  await backstop.upstream.run(objects, 'shop');
});
after(async () => { await backstop?.stop(); rmSync(folder, { recursive: true }); });
beforeEach(async () => {
  client = new pg.Client({ connectionString: backstop.agentUrl() });
  direct = new pg.Client({ connectionString: backstop.upstream.url('shop') });
  await Promise.all([client.connect(), direct.connect()]);
});
afterEach(async () => {
  const rows = await direct.query('SELECT id FROM vault');
  await Promise.all([client.end(), direct.end()]);
  assert.equal(rows.rowCount, 1, 'what is in the vault is still there');
});

const codeOf = async (sql: string): Promise<string> => client.query(sql).then(() => 'let through', (error: unknown) => asPgError(error).code ?? '');
const lets = async (sql: string): Promise<void> => { assert.equal(await codeOf(sql), 'let through', sql); };
const denies = async (sql: string): Promise<void> => { assert.equal(await codeOf(sql), '42501', sql); };

interface Swap { readonly what: string; readonly sql: string; readonly ddl: string; readonly back: string }
const swaps: readonly Swap[] = [
  { what: 'a trigger is added', sql: "UPDATE lines SET note = 'a' WHERE id = 1", ddl: 'CREATE TRIGGER loud AFTER UPDATE ON lines FOR EACH ROW EXECUTE FUNCTION strikes()', back: 'DROP TRIGGER loud ON lines' },
  { what: 'a trigger gets another function', sql: "UPDATE lines SET note = 'a' WHERE id = 1", ddl: 'CREATE OR REPLACE TRIGGER quiet BEFORE UPDATE ON lines FOR EACH ROW EXECUTE FUNCTION strikes()', back: 'CREATE OR REPLACE TRIGGER quiet BEFORE UPDATE ON lines FOR EACH ROW EXECUTE FUNCTION noop()' },
  { what: 'the body of a trigger\'s function is replaced', sql: "UPDATE lines SET note = 'a' WHERE id = 1", ddl: "CREATE OR REPLACE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM public.vault WHERE id = 1; RETURN NEW; END'", back: "CREATE OR REPLACE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'" },
  { what: 'a view is swapped', sql: 'UPDATE shown SET id = id WHERE id = 1', ddl: 'DROP VIEW shown; CREATE VIEW shown AS SELECT id FROM vault; ALTER VIEW shown OWNER TO shopkeeper', back: 'DROP VIEW shown; CREATE VIEW shown AS SELECT id, note FROM lines; ALTER VIEW shown OWNER TO shopkeeper' },
  { what: 'a rule is added', sql: "UPDATE lines SET note = 'a' WHERE id = 1", ddl: 'CREATE RULE also AS ON UPDATE TO lines DO ALSO DELETE FROM vault WHERE id = 1', back: 'DROP RULE also ON lines' },
  { what: 'a function is replaced', sql: 'SELECT writes()', ddl: "CREATE OR REPLACE FUNCTION writes() RETURNS int LANGUAGE sql AS 'DELETE FROM public.vault WHERE id = 1 RETURNING id'", back: "CREATE OR REPLACE FUNCTION writes() RETURNS int LANGUAGE sql AS 'UPDATE public.lines SET note = note WHERE id = 1 RETURNING id'" },
  { what: 'functions swap their names', sql: 'SELECT writes()', ddl: 'ALTER FUNCTION writes() RENAME TO wrote; ALTER FUNCTION strike() RENAME TO writes', back: 'ALTER FUNCTION writes() RENAME TO strike; ALTER FUNCTION wrote() RENAME TO writes' },
  { what: 'a default is set', sql: 'INSERT INTO lines (id) VALUES (77)', ddl: 'ALTER TABLE lines ALTER note SET DEFAULT public.strike()::text', back: 'ALTER TABLE lines ALTER note DROP DEFAULT; DELETE FROM lines WHERE id = 77' },
  { what: 'an event trigger is made', sql: 'CREATE TABLE IF NOT EXISTS made (id int)', ddl: "CREATE FUNCTION event() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM public.vault WHERE id = 1; END'; CREATE EVENT TRIGGER ev ON ddl_command_start EXECUTE FUNCTION event()", back: 'DROP EVENT TRIGGER ev; DROP FUNCTION event(); DROP TABLE IF EXISTS made' },
];

describe('before a risky statement is judged it is noticed (H88) that', () => {
  for (const { what, sql, ddl, back } of swaps) {
    test(what, async () => {
      await lets(sql.replace('(77)', '(78)'));
      await direct.query(ddl);
      try {
        await denies(sql);
      } finally {
        await direct.query(back);
      }
      await lets(sql.replace('(77)', '(79)'));
    });
  }

  test('a view changed while a prepared statement waited for its execution', async () => {
    const prepared = { name: 'keep', text: 'UPDATE shown SET id = id WHERE id = $1', values: [1] };
    await client.query(prepared);
    await direct.query('DROP VIEW shown; CREATE VIEW shown AS SELECT id FROM vault; ALTER VIEW shown OWNER TO shopkeeper');
    try {
      assert.equal(await client.query(prepared).then(() => 'let through', (error: unknown) => asPgError(error).code), '42501');
    } finally {
      await direct.query('DROP VIEW shown; CREATE VIEW shown AS SELECT id, note FROM lines; ALTER VIEW shown OWNER TO shopkeeper');
    }
  });

  test('a trigger came while its rows were counted', async () => {
    await direct.query('BEGIN; LOCK TABLE lines IN ACCESS EXCLUSIVE MODE; CREATE TRIGGER loud AFTER UPDATE ON lines FOR EACH ROW EXECUTE FUNCTION strikes()');
    const counted = new pg.Client({ connectionString: (await backstop.addAgent('counted')).url });
    await counted.connect();
    const answer = counted.query("UPDATE lines SET note = 'e' WHERE id < 3").then(() => 'let through', (error: unknown) => asPgError(error).code);
    try {
      await until('the preview waits', async () => (await backstop.upstream.run("SELECT FROM pg_stat_activity WHERE application_name = 'backstop preview' AND wait_event_type = 'Lock'")).length > 0);
      await direct.query('COMMIT');
      assert.notEqual(await answer, 'let through');
    } finally {
      await counted.end();
      await direct.query('DROP TRIGGER IF EXISTS loud ON lines');
    }
  });

  test('it changed inside an open transaction', async () => {
    await lets('BEGIN');
    await lets("UPDATE lines SET note = 'b' WHERE id = 2");
    await direct.query("CREATE OR REPLACE FUNCTION writes() RETURNS int LANGUAGE sql AS 'DELETE FROM public.vault WHERE id = 1 RETURNING id'");
    try {
      await denies('SELECT writes()');
      await lets('ROLLBACK');
    } finally {
      await direct.query("CREATE OR REPLACE FUNCTION writes() RETURNS int LANGUAGE sql AS 'UPDATE public.lines SET note = note WHERE id = 1 RETURNING id'");
    }
  });
});

describe('a read that changed its meaning a moment ago', () => {
  const swap = "CREATE OR REPLACE FUNCTION reads() RETURNS bigint LANGUAGE sql VOLATILE AS 'DELETE FROM public.vault WHERE id = 1 RETURNING 1::bigint'";
  const back = "CREATE OR REPLACE FUNCTION reads() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM public.lines'";

  test('is refused by PostgreSQL if not by the judgement, and within a second by the judgement', async () => {
    await lets('SELECT reads()');
    await direct.query(swap);
    try {
      assert.match(await codeOf('SELECT reads()'), /^(25006|42501)$/);
      const ms = await msOf(() => until('the judgement knows', async () => (await codeOf('SELECT reads()')) === '42501'));
      assert.ok(ms < 3_000, `${ms} ms`);
    } finally {
      await direct.query(back);
    }
  });
});

describe('the session itself (H29, H33)', () => {
  test('resolves names anew after SET search_path, in the same message too', async () => {
    await direct.query('CREATE OR REPLACE VIEW evil.lines AS SELECT id FROM public.vault');
    await lets("UPDATE lines SET note = 'c' WHERE id = 1");
    await lets('SET search_path = evil, public');
    await denies('UPDATE lines SET id = id WHERE id = 1');
    await lets('RESET search_path');
    await lets("UPDATE lines SET note = 'c' WHERE id = 1");
    await denies('SET search_path = evil, public; UPDATE lines SET id = id WHERE id = 1');
  });

  test('begins with the path that someone gave its role meanwhile', async () => {
    await direct.query('CREATE OR REPLACE VIEW evil.lines AS SELECT id FROM public.vault; ALTER ROLE shopkeeper IN DATABASE shop SET search_path = evil, public');
    const later = new pg.Client({ connectionString: backstop.agentUrl() });
    try {
      await later.connect();
      assert.equal(await later.query('UPDATE lines SET id = id WHERE id = 1').then(() => 'let through', (error: unknown) => asPgError(error).code), '42501');
      await lets("UPDATE lines SET note = 'd' WHERE id = 1");
    } finally {
      await later.end();
      await direct.query('ALTER ROLE shopkeeper IN DATABASE shop RESET search_path');
    }
  });

  test('is judged by the body of a function that it has just made, and of a temporary view', async () => {
    await denies("CREATE FUNCTION fresh() RETURNS int LANGUAGE sql AS 'DELETE FROM public.vault WHERE id = 1 RETURNING id'; SELECT fresh()");
    await lets("CREATE FUNCTION fresh() RETURNS int LANGUAGE sql AS 'DELETE FROM public.vault WHERE id = 1 RETURNING id'");
    await denies('SELECT fresh()');
    await lets('DROP FUNCTION fresh()');
    await lets('CREATE TEMP VIEW lines AS SELECT id FROM public.vault');
    await denies('UPDATE lines SET id = id WHERE id = 1');
  });

  test('has a temporary object by every name of its schema', async () => {
    await lets('CREATE TEMP TABLE other (a int)');
    const [{ schema } = { schema: '' }] = (await client.query<{ schema: string }>('SELECT nspname AS schema FROM pg_namespace WHERE oid = pg_my_temp_schema()')).rows;
    assert.match(schema, /^pg_temp_\d+$/);
    await lets(`CREATE TABLE ${schema}.lines (id int, note text CHECK (note <> 'f'))`);
    await denies("UPDATE lines SET note = 'e' WHERE id = 1");
    await lets(`CREATE DOMAIN ${schema}.coined AS text`);
    await direct.query("CREATE TYPE coined AS ENUM ('a')");
    try {
      await denies("SELECT 'a'::coined");
    } finally {
      await direct.query('DROP TYPE public.coined');
    }
  });

  test('cannot hide temporary objects behind operators of its own schemas', async () => {
    await direct.query(`CREATE SCHEMA blind; GRANT USAGE ON SCHEMA blind TO shopkeeper;
      CREATE FUNCTION blind.no(oid, oid) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
      CREATE OPERATOR blind.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = blind.no)`);
    try {
      await lets('CREATE TEMP TABLE other (a int)');
      await lets('CREATE TEMP VIEW lines AS SELECT id FROM public.vault');
      await lets('SET search_path = blind, pg_catalog, public');
      // The session's temporary objects are in doubt now, so the server is asked.
      await lets('COMMENT ON TABLE other IS NULL');
      await denies('UPDATE lines SET id = id WHERE id = 1');
    } finally {
      await direct.query('DROP SCHEMA blind CASCADE');
    }
  });

  const asWire = async (work: (wire: WireClient) => Promise<void>): Promise<void> => {
    const { host, port, agent: { name, token } } = backstop;
    const wire = await connectWire({ host, port, user: name, password: token, parameters: { database: 'shop' } });
    try { await work(wire); } finally { wire.end(); }
  };
  const answer = async (wire: WireClient, ...messages: readonly Buffer[]): Promise<string> => (await wire.send(...messages).until('Z')).join(' ');

  test('runs what a name meant when it was prepared, whatever somebody puts before that since (H29)', async () => {
    await direct.query('CREATE VIEW meant AS SELECT id FROM vault; GRANT ALL ON meant TO shopkeeper; CREATE SCHEMA early AUTHORIZATION shopkeeper');
    try {
      await asWire(async (wire) => {
        assert.equal(await answer(wire, query('SET search_path = early, public')), 'C:SET Z:I');
        const sql = 'UPDATE meant SET id = id WHERE id = 1 RETURNING id';
        assert.equal(await answer(wire, parse('q', sql), sync()), '1 Z:I');
        assert.equal(await answer(wire, query('BEGIN')), 'C:BEGIN Z:T');
        assert.equal(await answer(wire, bind('p', 'q'), sync()), '2 Z:T');
        await direct.query('CREATE TABLE early.meant (id int); ALTER TABLE early.meant OWNER TO shopkeeper');
        assert.equal(await answer(wire, query('SAVEPOINT s')), 'C:SAVEPOINT Z:T');
        for (const messages of [
          [query('FETCH ALL FROM p')], [whole('FETCH ALL FROM p'), sync()], [execute('p'), sync()], [query('EXECUTE q')], [whole('EXECUTE q'), sync()], [bind('', 'q'), execute(''), sync()],
        ]) {
          assert.match(await answer(wire, ...messages), /E:42501 Z:E$/);
          assert.equal(await answer(wire, query('ROLLBACK TO s')), 'C:ROLLBACK Z:T');
        }
        // Where the server looks the name up anew, it is the harmless one.
        assert.equal(await answer(wire, parse('r', sql), bind('', 'r'), execute(''), sync()), '1 2 C:UPDATE 0 Z:T');
      });
    } finally {
      await direct.query('DROP SCHEMA early CASCADE; DROP VIEW meant');
    }
  });

  test('fetches what a portal was bound to, whatever the path is by now', async () => {
    await direct.query('CREATE TABLE evil.meant (id int); GRANT ALL ON evil.meant TO shopkeeper; CREATE VIEW meant AS SELECT id FROM vault; GRANT ALL ON meant TO shopkeeper');
    try {
      await asWire(async (wire) => {
        assert.equal(await answer(wire, query('BEGIN')), 'C:BEGIN Z:T');
        assert.equal(await answer(wire, parse('', 'UPDATE meant SET id = id WHERE id = 1 RETURNING id'), bind('p', ''), sync()), '1 2 Z:T');
        assert.equal(await answer(wire, query('SET search_path = evil, public')), 'C:SET Z:T');
        assert.equal(await answer(wire, query('FETCH ALL FROM p')), 'E:42501 Z:E');
      });
    } finally {
      await direct.query('DROP TABLE evil.meant; DROP VIEW meant');
    }
  });

  test('cannot let a function fetch from a portal that nobody judged', async () => {
    await direct.query('CREATE FUNCTION fetched(c refcursor) RETURNS int LANGUAGE plpgsql AS $$DECLARE r record; BEGIN FETCH c INTO r; RETURN r.id; END$$');
    try {
      await asWire(async (wire) => {
        assert.equal(await answer(wire, query('BEGIN')), 'C:BEGIN Z:T');
        assert.equal(await answer(wire, parse('', 'DELETE FROM vault WHERE id > 0 RETURNING id'), bind('p', ''), sync()), '1 2 Z:T');
        assert.equal(await answer(wire, query("SELECT fetched('p')")), 'E:42501 Z:E');
      });
    } finally {
      await direct.query('DROP FUNCTION fetched');
    }
  });
});

describe('a login trigger (H35)', () => {
  const make = `CREATE FUNCTION at_login() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN
      IF session_user = 'shopkeeper' THEN
        EXECUTE 'CREATE TEMP VIEW lines AS SELECT id FROM public.vault';
        EXECUTE 'PREPARE known AS UPDATE public.vault SET id = id WHERE id = 1';
        PERFORM set_config('default_transaction_read_only', 'off', false);
      END IF;
    END$$; CREATE EVENT TRIGGER at_login ON login EXECUTE FUNCTION at_login(); ALTER EVENT TRIGGER at_login ENABLE ALWAYS`;

  test('cannot give a session names that the judgement does not know', async () => {
    await direct.query(make);
    const later = new pg.Client({ connectionString: backstop.agentUrl() });
    try {
      await later.connect();
      for (const sql of ['UPDATE lines SET id = id WHERE id = 1', 'EXECUTE known']) {
        assert.equal(await later.query(sql).then(() => 'let through', (error: unknown) => asPgError(error).code), '42501', sql);
      }
      assert.deepEqual((await later.query('SHOW default_transaction_read_only')).rows, [{ default_transaction_read_only: 'off' }]);
    } finally {
      await later.end();
      await direct.query('DROP EVENT TRIGGER at_login; DROP FUNCTION at_login()');
    }
  });
});
