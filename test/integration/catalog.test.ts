/**
 * The live catalog against a real PostgreSQL 18: what reads can reach without saying so (hazards H19 to H35 and H69) is
 * found, and the harmless equivalents stay SAFE. Each row is a statement, the level it must have, and why.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { assess } from '../../src/core/sql/assess.ts';
import { builtinFunction } from '../../src/core/sql/functions.ts';
import type { Catalog } from '../../src/core/sql/catalog.ts';
import { isAtLeast, type Level, type Risk } from '../../src/core/risk.ts';
import { beginSession } from '../../src/core/sql/next-session.ts';
import type { SessionFacts } from '../../src/core/sql/statement.ts';
import { isSystemSchema, systemRelation } from '../../src/core/sql/system-relations.ts';
import { loadParser, type Parser } from '../../src/lib/pgsql/parser.ts';
import { loadBuiltinCatalog } from '../../src/remote/postgres/builtin-catalog.ts';
import { catalogVersion, loadCatalog, type CatalogQuery } from '../../src/remote/postgres/catalog.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';

let server: PostgresServer;
let client: pg.Client;
let catalog: Catalog;
let parser: Parser;

const query: CatalogQuery = async (sql) => (await client.query<(string | null)[]>({ text: sql, rowMode: 'array' })).rows;

before(async () => {
  server = await startPostgresServer();
  await server.run(await readFile(new URL('catalog.sql', import.meta.url), 'utf8'));
  client = new pg.Client({ connectionString: server.url(), types: { getTypeParser: () => (value: string) => value } });
  await client.connect();
  parser = await loadParser(18);
  catalog = await loadCatalog(query);
});

after(async () => { await client.end(); await server.stop(); });

const session = beginSession(['public'], 'app');

function judge(sql: string, facts: Partial<SessionFacts> = {}, by: Catalog = catalog): Risk {
  const assessment = assess(sql, { ...session, ...facts }, by, parser);
  assert.equal(assessment.error, undefined, sql);
  return assessment.risk;
}

const reads: readonly (readonly [sql: string, why: string])[] = [
  ['SELECT * FROM t', 'a plain table'],
  ['SELECT t.id, t.v FROM t WHERE t.n BETWEEN 1 AND 3 ORDER BY t.id', 'columns are not calls'],
  ['SELECT * FROM good_view', 'a view over a table and a built-in'],
  ['SELECT * FROM over_good JOIN t USING (id)', 'a view over views'],
  ['SELECT pure_sql(n), pure_plpgsql(n), reads_t() FROM t', 'bodies that prove harmless'],
  ['SELECT pure_atomic(1), pure_return(2)', 'SQL-standard bodies'],
  ['SELECT good_sum(n), count(*), max(v) FROM t', 'an aggregate made of built-ins'],
  ['SELECT c, similarity(c::text, $1), h -> $2, m FROM strings WHERE c = $3', 'reviewed extensions and an enum'],
  ["SELECT 'ok'::mood, 'a@b'::email, lower(c) FROM strings", 'a domain checked by built-ins'],
  ['SELECT * FROM secured_well', 'a policy that only reads'],
  ['SELECT span(1, 2) @> 1, s && span(1, 2) FROM spans', 'a range type'],
  ['SELECT * FROM parted', 'a partitioned table'],
  ['SELECT * FROM "Tricky.name"', 'a name with a dot'],
  ["SELECT query_to_xml('SELECT id FROM t', true, false, '')", 'constant SQL that is a read'],
  ["SELECT to_char(now(), 'YYYY'), random(), gen_random_uuid(), pg_size_pretty(pg_database_size(current_database()))", 'built-ins'],
  ['SELECT c.relname, pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c', 'the catalog'],
  ['SELECT * FROM pg_stat_activity', 'a system view'],
  ["SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY n), rank(1) WITHIN GROUP (ORDER BY n) FROM t", 'ordered-set aggregates'],
  ['SELECT json_agg(t), to_jsonb(t), row_to_json(t) FROM t', 'rows as JSON'],
  ["SELECT concat('a', 1, 2), format('%s', 1), greatest(1, 2), coalesce(v, '') FROM t", 'variadic built-ins'],
];

test('what reads only, through whatever is attached, stays SAFE', () => {
  for (const [sql, why] of reads) {
    const risk = judge(sql);
    assert.equal(risk.level, 'SAFE', `${sql} (${why}): ${JSON.stringify(risk.reasons)}`);
  }
});

const hidden: readonly (readonly [hazard: string, sql: string, level: Level])[] = [
  ['H19', 'SELECT wr()', 'HIGH'],
  ['H19', 'SELECT * FROM wr()', 'HIGH'],
  ['H19', 'SELECT evil_sum(n) FROM t', 'HIGH'],
  ['H19', 'SELECT with_default(1)', 'HIGH'],
  ['H20', 'SELECT t.purge FROM t', 'HIGH'],
  ['H20', 'SELECT (t).purge FROM t', 'HIGH'],
  ['H20', 'SELECT t.purge_any FROM t', 'HIGH'],
  ['H20', 'SELECT (id).wr_i FROM t', 'HIGH'],
  ['H20', 'SELECT (1).pg_sleep', 'LOW'],
  ['H21', 'SELECT 1 === 2', 'HIGH'],
  ['H21', 'SELECT 1 OPERATOR(public.===) 2', 'HIGH'],
  ['H22', 'SELECT 1::wrap', 'HIGH'],
  ['H22', 'SELECT wrap(1)', 'HIGH'],
  ['H23', 'SELECT 1::dom', 'HIGH'],
  ['H23', 'SELECT dom(1)', 'HIGH'],
  ['H23', "SELECT '{1}'::dom[]", 'HIGH'],
  ['H23', "SELECT pg_input_is_valid('1', 'dom')", 'HIGH'],
  ['H23', "SELECT domain_in('1', 12345, -1)", 'HIGH'],
  ['H23', "SELECT jsonb_populate_record(x, '{}') FROM with_dom x", 'HIGH'],
  ['H24', 'SELECT * FROM evil_view', 'HIGH'],
  ['H24', 'SELECT * FROM over_evil', 'HIGH'],
  ['H25', 'SELECT * FROM secured', 'HIGH'],
  ['planning', 'SELECT * FROM folded_check', 'HIGH'],
  ['planning', 'EXPLAIN SELECT * FROM folded_index', 'HIGH'],
  ['planning', 'SELECT * FROM folded_statistics', 'HIGH'],
  ['H27', "SELECT query_to_xml('SELECT wr()', true, false, '')", 'HIGH'],
  ['H27', 'SELECT query_to_xml(v, true, false, $1) FROM t', 'HIGH'],
  ['H27', "SELECT * FROM ts_stat('SELECT wr()')", 'HIGH'],
  ['H27', "SELECT table_to_xml('evil_view', true, false, '')", 'HIGH'],
  ['H27', "SELECT cursor_to_xml('c', 1, true, false, '')", 'HIGH'],
  ['H30', 'SELECT nextval($1)', 'HIGH'],
  ['H31', 'SELECT wr_i(1)', 'HIGH'],
  ['H31', "SELECT dynamic_sql('x')", 'HIGH'],
  ['H31', 'SELECT alias_of_reload()', 'HIGH'],
  ['H32', 'SELECT definer_evil()', 'HIGH'],
  ['H62', 'SELECT sets_role()', 'HIGH'],
  ['H36', "SELECT pg_read_file('x')", 'CRITICAL'],
  ['H46', "SELECT set_config('session_replication_role', 'replica', false)", 'HIGH'],
  ['H52', "SELECT database_to_xml(true, true, '')", 'HIGH'],
  ['H36', 'SELECT * FROM pg_hba_file_rules', 'HIGH'],
  ['credentials', 'SELECT * FROM pg_authid', 'HIGH'],
  ['unknown', 'SELECT * FROM nowhere', 'HIGH'],
  ['unknown', 'SELECT no_such_function(1)', 'HIGH'],
  ['unknown', 'SELECT 1::no_such_type', 'HIGH'],
  ['unknown', 'SELECT 1 ~~~~~ 2', 'HIGH'],
  ['catalog', "UPDATE pg_catalog.pg_class SET relname = 'x' WHERE oid = 1", 'CRITICAL'],
];

test('what a read reaches without saying so is never SAFE', () => {
  for (const [hazard, sql, level] of hidden) {
    const risk = judge(sql);
    assert.ok(isAtLeast(risk.level, level), `${hazard} ${sql}: ${risk.level}`);
    assert.ok(risk.reasons.length > 0, sql);
  }
});

test('a search_path decides which function a name means (H29), also inside a body that follows it', () => {
  assert.equal(judge("SELECT lower('X')", { searchPath: ['evil'] }).level, 'SAFE');
  assert.equal(judge("SELECT lower('X')", { searchPath: ['evil', 'pg_catalog'] }).level, 'HIGH');
  assert.equal(judge("SELECT pg_catalog.lower('X')", { searchPath: ['evil', 'pg_catalog'] }).level, 'SAFE');
  assert.equal(judge('SELECT public.path_follower()', { searchPath: [] }).level, 'SAFE');
  assert.equal(judge('SELECT public.path_follower()', { searchPath: ['evil', 'pg_catalog'] }).level, 'HIGH');
  assert.equal(judge("SELECT lower('X')", { searchPath: null }).level, 'HIGH');
  assert.equal(judge("SELECT pg_catalog.lower('X')", { searchPath: null }).level, 'SAFE');
});

test('a temporary object of the session comes before the table of the same name (H33)', () => {
  assert.equal(judge('SELECT * FROM t', { temporary: new Set(['t']) }).level, 'SAFE');
  assert.equal(judge('SELECT * FROM t', { temporaryOpaque: new Set(['t']) }).level, 'HIGH');
  assert.equal(judge('SELECT 1::email', { temporaryOpaque: new Set(['email']) }).level, 'HIGH');
  assert.equal(judge('SELECT * FROM public.t', { temporaryOpaque: new Set(['t']) }).level, 'SAFE');
});

test('after DDL in an open transaction nothing of the user\'s is trusted, and what is qualified with pg_catalog is', () => {
  assert.equal(judge('SELECT * FROM t', { catalogChanged: true }).level, 'HIGH');
  assert.equal(judge('SELECT pg_catalog.version()', { catalogChanged: true }).level, 'SAFE');
});

/** The premise of the rows on planning above, shown to be true: without it they would only block too much. */
test('planning a read runs what an index computes from constants', async () => {
  const notices: string[] = [];
  const own = new pg.Client({ connectionString: server.url() });
  own.on('notice', (notice) => { notices.push(notice.message ?? ''); });
  await own.connect();
  await own.query('SELECT * FROM folded_index WHERE id = 1');
  await own.end();
  assert.ok(notices.includes('ran'));
});

function reached(sql: string, kind: string): readonly string[] {
  return judge(sql).effects.filter((effect) => effect.kind === kind).map((effect) => effect.object ?? '').sort();
}

test('a DELETE names every table that foreign keys take along, and by which key (H69)', () => {
  assert.deepEqual([...new Set(reached('DELETE FROM parent WHERE id = 1', 'delete'))], ['public.child', 'public.grandchild', 'public.parent']);
  assert.deepEqual(reached('DELETE FROM parent WHERE id = 1', 'update'), ['public.loose']);
  const risk = judge('DELETE FROM parent WHERE id = 1');
  const grandchild = risk.effects.find((effect) => effect.object === 'public.grandchild' && effect.kind === 'delete');
  assert.deepEqual(grandchild?.via, ['foreign key child_parent_id_fkey', 'foreign key grandchild_child_id_fkey']);
});

test('an UPDATE passes on only when it changes the referenced key (H69)', () => {
  assert.ok(reached('UPDATE parent SET id = 2 WHERE id = 1', 'update').includes('public.child'));
  assert.ok(!reached("UPDATE parent SET code = 'x' WHERE id = 1", 'update').includes('public.child'));
});

test('TRUNCATE … CASCADE and DROP … CASCADE name what they take along (H69)', () => {
  assert.deepEqual([...new Set(reached('TRUNCATE public.parent CASCADE', 'truncate'))], ['public.child', 'public.grandchild', 'public.loose', 'public.parent']);
  assert.ok(reached('DROP TABLE child CASCADE', 'drop').includes('public.child_view'));
});

const writes: readonly (readonly [hazard: string, sql: string, effect: string, object: string])[] = [
  ['H25', "INSERT INTO audited VALUES (1, 'x')", 'insert', 'public.audit'],
  ['H25', 'INSERT INTO with_default_evil (n) VALUES (1)', 'delete', 'public.t'],
  ['H25', 'INSERT INTO with_check VALUES (1)', 'delete', 'public.t'],
  ['H25', 'INSERT INTO with_index VALUES (1)', 'delete', 'public.t'],
  ['H25', 'INSERT INTO with_dom VALUES (1)', 'delete', 'public.t'],
  ['H13', "UPDATE rule_view SET v = 'x' WHERE id = 1", 'delete', 'public.t'],
  ['H13', 'DELETE FROM child_view WHERE id = 1', 'delete', 'public.child'],
  ['H13', 'DELETE FROM child_view WHERE id = 1', 'delete', 'public.grandchild'],
  ['H34', "INSERT INTO parted VALUES (1, '2021-01-01')", 'insert', 'public.parted'],
];

test('a write names what triggers, rules, defaults, checks, domains and indexes do along with it', () => {
  for (const [hazard, sql, effect, object] of writes) {
    assert.ok(reached(sql, effect).includes(object), `${hazard} ${sql}: ${JSON.stringify(judge(sql).effects)}`);
  }
  assert.ok(!reached("UPDATE audited SET id = 2 WHERE id = 1", 'insert').includes('public.audit'), 'UPDATE OF v does not fire for id');
  assert.ok(!judge("INSERT INTO quiet_table VALUES (1, 'X')").reasons.some((reason) => reason.rule === 'function.unproved'));
});

test('what sessions keep in their temporary schemas spoils the catalog of nobody, and what takes a value from there is not trusted', async () => {
  const other = new pg.Client({ connectionString: server.url() });
  await other.connect();
  try {
    await other.query(`CREATE TEMP TABLE a (id int PRIMARY KEY); CREATE TEMP TABLE b (a int REFERENCES a);
      CREATE FUNCTION of_temporary(a) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TABLE of_rows AS SELECT a FROM a`);
    const now = await loadCatalog(query);
    assert.equal(judge('SELECT * FROM t', {}, now).level, 'SAFE');
    for (const sql of ['SELECT of_temporary(a) FROM t a', 'SELECT a.of_temporary FROM t a', 'SELECT a = a FROM of_rows']) assert.equal(judge(sql, {}, now).level, 'HIGH', sql);
  } finally {
    await other.query('DROP TABLE of_rows; DROP FUNCTION of_temporary');
    await other.end();
  }
});

test('event triggers count for every DDL (H35)', async () => {
  const before = judge('CREATE TEMP TABLE scratch (a int)').level;
  await server.run(`CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.audit; END $$;
    CREATE EVENT TRIGGER watch ON ddl_command_start EXECUTE FUNCTION on_ddl()`);
  const risk = judge('CREATE TEMP TABLE scratch (a int)', {}, await loadCatalog(query));
  assert.equal(before, 'LOW');
  assert.equal(risk.level, 'CRITICAL');
  await server.run('DROP EVENT TRIGGER watch');
});

test('an implicit cast, a cast to json or an operator = that acts makes every expression suspect', async () => {
  const made: readonly string[] = [
    'CREATE FUNCTION mood_int(mood) RETURNS int LANGUAGE sql AS $$ SELECT public.wr() $$; CREATE CAST (mood AS int) WITH FUNCTION mood_int(mood) AS IMPLICIT',
    'CREATE FUNCTION mood_json(mood) RETURNS json LANGUAGE sql AS $$ SELECT to_json(public.wr()) $$; CREATE CAST (mood AS json) WITH FUNCTION mood_json(mood)',
    'CREATE FUNCTION mood_eq(mood, mood) RETURNS boolean LANGUAGE sql AS $$ SELECT public.wr() = 1 $$; CREATE OPERATOR = (LEFTARG = mood, RIGHTARG = mood, FUNCTION = mood_eq)',
  ];
  const undo = ['DROP CAST (mood AS int)', 'DROP CAST (mood AS json)', 'DROP OPERATOR = (mood, mood)'];
  for (const [at, sql] of made.entries()) {
    await server.run(sql);
    assert.equal(judge('SELECT m FROM strings WHERE v IN (1) UNION SELECT $1', {}, await loadCatalog(query)).level, 'HIGH', sql);
    await server.run(undo[at] ?? '');
  }
});

test('a built-in function that someone replaced is judged like a user\'s', async () => {
  const original = await server.run("SELECT pg_get_functiondef('pg_catalog.lower(text)'::regprocedure) AS d");
  await server.run("CREATE OR REPLACE FUNCTION pg_catalog.lower(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM public.wr(); RETURN $1; END'");
  const changed = await loadCatalog(query);
  assert.equal(judge("SELECT lower('X')", {}, changed).level, 'HIGH');
  assert.equal(judge("SELECT upper('X')", {}, changed).level, 'SAFE');
  await server.run(String(original[0]?.['d']));
});

test('the catalog version changes with every kind of DDL and not with data or temporary objects', async () => {
  const ddl = [
    'CREATE TABLE v1 (a int)', 'ALTER TABLE v1 ADD b int DEFAULT 1', 'ALTER TABLE v1 ALTER b SET DEFAULT 2', 'CREATE INDEX ON v1 ((a + 1))',
    'CREATE VIEW v2 AS SELECT a FROM v1', 'CREATE OR REPLACE VIEW v2 AS SELECT a, b FROM v1', 'CREATE FUNCTION v3() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$',
    'CREATE OR REPLACE FUNCTION v3() RETURNS int LANGUAGE sql AS $$ SELECT 2 $$', 'ALTER TABLE v1 ENABLE ROW LEVEL SECURITY', 'CREATE POLICY p ON v1 USING (true)',
    'ALTER POLICY p ON v1 USING (false)', 'CREATE TRIGGER q BEFORE INSERT ON v1 FOR EACH ROW EXECUTE FUNCTION quiet()', 'ALTER TABLE v1 DISABLE TRIGGER q',
    'CREATE DOMAIN v4 AS int', 'ALTER DOMAIN v4 ADD CHECK (VALUE > 0)', 'CREATE SCHEMA v5', 'ALTER TABLE v1 RENAME TO v6', 'ALTER ROLE postgres SET work_mem = 4096',
    'CREATE OPERATOR <<<< (LEFTARG = int, RIGHTARG = int, FUNCTION = eq3)', 'CREATE CAST (email AS int) WITH INOUT', 'DROP TABLE v6 CASCADE', 'DROP SCHEMA v5',
  ];
  let version = await catalogVersion(query);
  for (const sql of ddl) {
    await server.run(sql);
    const next = await catalogVersion(query);
    assert.notEqual(next, version, sql);
    version = next;
  }
  await server.run("INSERT INTO t VALUES (99, 'x', 1); CREATE TEMP TABLE tt (a int DEFAULT 1 CHECK (a > 0)); CREATE INDEX ON tt ((a + 1)); ANALYZE t");
  await server.run('VACUUM t');
  assert.equal(await catalogVersion(query), version);
  assert.equal((await loadCatalog(query)).version, version);
});

test('every relation of PostgreSQL\'s own that is not listed expands to harmless functions only', async () => {
  const rows = await query(`SELECT n.nspname, c.relname, pg_get_viewdef(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'v' AND c.oid < 16384`);
  const acting = rows.filter(([schema, name, definition]) => {
    assert.ok(isSystemSchema(schema ?? ''));
    const risk = judge(definition ?? '', { searchPath: [] });
    const calls = risk.reasons.filter((reason) => reason.rule.startsWith('function.') || reason.rule === 'relation.server-file');
    return calls.length > 0 && systemRelation(`${schema}.${name}`) === undefined;
  });
  assert.deepEqual(acting.map(([schema, name]) => `${schema}.${name}`), []);
  assert.ok(rows.length > 100);
});

test('the snapshot of PostgreSQL\'s own functions is what this server has', async () => {
  const builtin = await loadBuiltinCatalog(18);
  assert.equal(catalog.facts.functions.filter((fact) => fact.builtin === true).length, builtin.facts.functions.length);
  assert.ok(builtin.facts.functions.every((fact) => fact.volatility !== 'volatile' || builtinFunction(fact.name) !== undefined));
});
