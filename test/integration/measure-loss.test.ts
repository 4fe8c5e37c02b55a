/**
 * What the preview says would be dropped or emptied is what PostgreSQL then drops or empties: every statement below is
 * previewed, then really performed in a transaction that is taken back, and what is gone is compared object by object (H69).
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { noUse } from '../../src/core/policy/budgets.ts';
import { decide } from '../../src/core/policy/decide.ts';
import { parsePolicy } from '../../src/core/policy/policy.ts';
import { assess } from '../../src/core/sql/assess.ts';
import { measurePlan } from '../../src/core/sql/measure-query.ts';
import type { Catalog } from '../../src/core/sql/catalog.ts';
import type { Impact, LossImpact } from '../../src/core/impact.ts';
import type { SessionFacts } from '../../src/core/sql/statement.ts';
import { loadParser } from '../../src/lib/pgsql/parser.ts';
import { loadCatalog } from '../../src/remote/postgres/catalog.ts';
import { connectLink, type Link } from '../../src/remote/postgres/link.ts';
import { parseConnectionString } from '../../src/remote/postgres/link-target.ts';
import type { Measurer } from '../../src/remote/postgres/measure.ts';
import { connectMeasuring } from '../fixtures/measuring.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { freshSession } from '../fixtures/corpus.ts';

let server: PostgresServer;
let link: Link;
let measurer: Measurer;
const parser = await loadParser(18);
before(async () => {
  server = await startPostgresServer({ wal_level: 'logical' });
  await server.run(scene);
  ({ link, measurer } = await connectMeasuring(server));
});
after(async () => {
  await measurer?.close();
  await link?.end();
  await server?.stop();
});

const scene = `
CREATE ROLE keeper; CREATE ROLE worker IN ROLE keeper; GRANT CREATE, USAGE ON SCHEMA public TO keeper;
CREATE SCHEMA shed;
CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE DOMAIN price AS numeric CHECK (VALUE >= 0); CREATE TYPE pair AS (a int, b mood); CREATE DOMAIN moods AS mood[];
CREATE SEQUENCE numbers;
CREATE TABLE base (id serial PRIMARY KEY, m mood, p price, q pair, "odd name" int GENERATED ALWAYS AS IDENTITY, CONSTRAINT small CHECK (id < 1000000));
INSERT INTO base (m) SELECT 'good' FROM generate_series(1, 12);
CREATE TABLE child (id int PRIMARY KEY, base_id int REFERENCES base ON DELETE CASCADE, n int DEFAULT nextval('numbers'), t base);
INSERT INTO child SELECT i, i, i FROM generate_series(1, 7) i;
CREATE TABLE grandchild (id int, child_id int REFERENCES child, EXCLUDE USING btree (id WITH =)); INSERT INTO grandchild VALUES (1, 1), (2, 2);
CREATE TABLE parts (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
CREATE TABLE shed.refers (id int, day date, FOREIGN KEY (id, day) REFERENCES parts); CREATE INDEX ON parts (day);
INSERT INTO parts VALUES (1, '2020-05-05'), (2, '2021-05-05'), (3, '2021-06-05');
CREATE TABLE heir (extra int) INHERITS (base); INSERT INTO heir (m, "odd name") VALUES ('bad', 1);
CREATE VIEW over AS SELECT id, m FROM base; CREATE VIEW over_over AS SELECT * FROM over; CREATE MATERIALIZED VIEW kept AS SELECT count(*) AS n FROM over;
CREATE UNIQUE INDEX ON kept (n);
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE RETURN $1 * 2;
CREATE FUNCTION counted() RETURNS bigint LANGUAGE sql STABLE BEGIN ATOMIC SELECT count(*) FROM child; END;
CREATE FUNCTION moody(mood) RETURNS text LANGUAGE sql AS 'SELECT 1::text'; CREATE PROCEDURE act(int, text[]) LANGUAGE sql AS 'SELECT 1';
CREATE VIEW uses_function AS SELECT twice(1) AS two, counted() AS n;
CREATE TABLE odd (id int DEFAULT twice(2), g int GENERATED ALWAYS AS (id + 1) STORED, c int CHECK (twice(c) > 0)); CREATE INDEX odd_twice ON odd (twice(id)); CREATE INDEX ON odd (c);
CREATE STATISTICS odd_statistics ON id, c FROM odd; INSERT INTO odd (c) VALUES (1);
CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER fired AFTER UPDATE ON base FOR EACH ROW EXECUTE FUNCTION fire(); CREATE TRIGGER emptied BEFORE TRUNCATE ON child FOR EACH STATEMENT EXECUTE FUNCTION fire();
CREATE TRIGGER part_fired AFTER DELETE ON parts FOR EACH ROW EXECUTE FUNCTION fire();
CREATE RULE noted AS ON DELETE TO odd DO ALSO INSERT INTO child VALUES (1, 1, 1);
CREATE POLICY seen ON odd USING (EXISTS (SELECT FROM grandchild)); ALTER TABLE odd ENABLE ROW LEVEL SECURITY;
CREATE POLICY for_worker ON child TO worker USING (true);
CREATE PUBLICATION news FOR TABLE base, child; CREATE PUBLICATION shed_news FOR TABLES IN SCHEMA shed;
CREATE FUNCTION same(mood, mood) RETURNS boolean LANGUAGE sql AS 'SELECT $1 = $2'; CREATE OPERATOR === (LEFTARG = mood, RIGHTARG = mood, FUNCTION = same);
CREATE FUNCTION weight(mood) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE CAST (mood AS int) WITH FUNCTION weight(mood) AS ASSIGNMENT;
CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int);
CREATE TABLE counted_up (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY);
CREATE COLLATION plain (provider = libc, locale = 'C'); CREATE TABLE worded (w text COLLATE plain);
CREATE TEXT SEARCH CONFIGURATION words (COPY = simple);
CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER far FOREIGN DATA WRAPPER nowhere; CREATE FOREIGN TABLE remote (id int) SERVER far; CREATE USER MAPPING FOR keeper SERVER far;
CREATE TABLE shed.tool (id int PRIMARY KEY, m public.mood); INSERT INTO shed.tool VALUES (1), (2), (3);
CREATE TABLE uses_tool (tool_id int REFERENCES shed.tool); CREATE VIEW shed_view AS SELECT id FROM shed.tool; CREATE FUNCTION shed.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
ALTER DEFAULT PRIVILEGES IN SCHEMA shed GRANT SELECT ON TABLES TO keeper;
SET ROLE keeper; CREATE TABLE kept_table (id int PRIMARY KEY); INSERT INTO kept_table VALUES (1), (2); CREATE FUNCTION kept_function() RETURNS int LANGUAGE sql AS 'SELECT 1'; RESET ROLE;
CREATE VIEW of_kept AS SELECT id FROM kept_table; GRANT SELECT ON base TO keeper;
CREATE EXTENSION hstore; CREATE TABLE stored (id int, h hstore); CREATE INDEX ON stored USING gin (h); CREATE VIEW stored_view AS SELECT h -> 'a' AS a FROM stored;
ANALYZE;
`;

/** Each with CASCADE and without, where the grammar has both. */
const dropped: readonly string[] = [
  'TABLE base', 'TABLE child', 'TABLE ONLY_HERE', 'TABLE parts', 'TABLE parts_1', 'TABLE odd, child', 'TABLE heir', 'TABLE IF EXISTS gone, grandchild', 'TABLE shed.tool', 'TABLE counted_up', 'VIEW over', 'VIEW over, kept_not_there',
  'MATERIALIZED VIEW kept', 'SEQUENCE numbers', 'SEQUENCE base_id_seq', 'INDEX odd_twice', 'INDEX parts_day_idx', 'INDEX base_pkey', 'TYPE mood', 'TYPE pair', 'DOMAIN price', 'DOMAIN moods',
  'FUNCTION twice', 'FUNCTION twice(int)', 'FUNCTION counted()', 'FUNCTION moody(mood)', 'PROCEDURE act(int, text[])', 'FUNCTION fire()', 'AGGREGATE total(int)', 'OPERATOR === (mood, mood)', 'CAST (mood AS int)',
  'TRIGGER fired ON base', 'TRIGGER part_fired ON parts', 'RULE noted ON odd', 'POLICY seen ON odd', 'PUBLICATION news', 'COLLATION plain', 'TEXT SEARCH CONFIGURATION words', 'STATISTICS odd_statistics',
  'FOREIGN DATA WRAPPER nowhere', 'SERVER far', 'FOREIGN TABLE remote', 'SCHEMA shed', 'SCHEMA shed, public', 'EXTENSION plpgsql', 'EXTENSION hstore', 'TYPE hstore', 'LANGUAGE plpgsql',
].flatMap((what) => [`DROP ${what} CASCADE`, `DROP ${what}`]);
const others: readonly string[] = [
  'ALTER TABLE base DROP COLUMN id CASCADE', 'ALTER TABLE base DROP COLUMN m', 'ALTER TABLE base DROP COLUMN "odd name", DROP COLUMN p', 'ALTER TABLE parts DROP CONSTRAINT parts_pkey CASCADE',
  'ALTER TABLE base DROP CONSTRAINT small CASCADE', 'ALTER TABLE odd DROP COLUMN id CASCADE', 'ALTER TABLE odd DROP COLUMN c', 'DROP OWNED BY keeper CASCADE', 'DROP OWNED BY keeper', 'DROP OWNED BY keeper, worker CASCADE', 'DROP ROLE keeper', 'DROP ROLE worker',
  'DROP TABLE uses_tool; DROP VIEW over CASCADE',
];

let known: Promise<Catalog> | undefined;

/** The same for all, since every statement is taken back. */
function catalogNow(): Promise<Catalog> {
  known ??= loadCatalog(async (question, parameters) => (await link.query(question, parameters)).rows);
  return known;
}

/** Past what is performed and taken back. */
async function changeScene(sql: string): Promise<void> {
  await server.run(sql);
  known = undefined;
  knownObjects = undefined;
}

async function impactOf(sql: string, session: Partial<SessionFacts> = {}, role = 'postgres'): Promise<Impact> {
  const catalog = await catalogNow();
  const facts = { ...freshSession, ...session };
  const { risk, statements } = assess(sql, facts, catalog, parser);
  const plan = measurePlan({ statements: statements.map((one) => one.statement), risk, session: facts, catalog, parser, written: new Set() });
  if (plan.kind !== 'loss') return plan.kind === 'query' ? { kind: 'none' } : plan;
  return measurer.measure({ address: link.address, database: 'postgres', role, searchPath: ['public'], settings: new Map(), query: plan, processId: 0 });
}

async function lossOf(sql: string): Promise<LossImpact> {
  const impact = await impactOf(sql);
  assert.ok(impact.kind === 'loss', `${sql}: ${JSON.stringify(impact)}`);
  return impact;
}

/** Every object that anything depends on or that depends on anything, as PostgreSQL names it, with what it is part of. */
const objectsSql = `
  WITH seen AS (
    SELECT classid, objid, objsubid FROM pg_depend WHERE objid >= 12000 UNION SELECT refclassid, refobjid, refobjsubid FROM pg_depend WHERE refobjid >= 12000
    UNION SELECT 'pg_class'::regclass, attrelid, attnum FROM pg_attribute WHERE attrelid >= 16384 AND attnum > 0 AND NOT attisdropped
    UNION SELECT 'pg_namespace'::regclass, oid, 0 FROM pg_namespace UNION SELECT 'pg_extension'::regclass, oid, 0 FROM pg_extension
    UNION SELECT 'pg_language'::regclass, oid, 0 FROM pg_language UNION SELECT 'pg_publication'::regclass, oid, 0 FROM pg_publication)
  SELECT i.type || ' ' || i.identity, s.classid::regclass::text, s.objid, s.objsubid,
    CASE s.classid::regclass::text WHEN 'pg_class' THEN CASE WHEN s.objsubid > 0 THEN s.objid ELSE coalesce((SELECT indrelid FROM pg_index WHERE indexrelid = s.objid), 0) END
      WHEN 'pg_constraint' THEN (SELECT conrelid FROM pg_constraint WHERE oid = s.objid) WHEN 'pg_trigger' THEN (SELECT tgrelid FROM pg_trigger WHERE oid = s.objid)
      WHEN 'pg_attrdef' THEN (SELECT adrelid FROM pg_attrdef WHERE oid = s.objid) ELSE 0 END,
    CASE s.classid::regclass::text WHEN 'pg_type' THEN EXISTS (SELECT FROM pg_depend d WHERE d.classid = s.classid AND d.objid = s.objid AND d.deptype = 'i')
      WHEN 'pg_class' THEN s.objsubid = 0 AND EXISTS (SELECT FROM pg_class c WHERE c.oid = s.objid AND (c.relkind IN ('t', 'c') OR (c.relkind IN ('i', 'I') AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = s.classid AND d.objid = s.objid AND d.deptype IN ('i', 'P', 'S')))))
      WHEN 'pg_rewrite' THEN (SELECT rulename = '_RETURN' FROM pg_rewrite WHERE oid = s.objid) WHEN 'pg_trigger' THEN (SELECT tgisinternal OR tgparentid <> 0 FROM pg_trigger WHERE oid = s.objid)
      WHEN 'pg_constraint' THEN (SELECT conparentid <> 0 FROM pg_constraint WHERE oid = s.objid) ELSE false END
  FROM seen s CROSS JOIN LATERAL pg_identify_object(s.classid, s.objid, s.objsubid) i WHERE i.identity IS NOT NULL`;

interface Real { readonly name: string; readonly host: string; readonly isInner: boolean }

let knownObjects: ReadonlyMap<string, Real> | undefined;
async function objects(): Promise<ReadonlyMap<string, Real>> {
  if (knownObjects !== undefined) return knownObjects;
  const { rows } = await link.query(objectsSql);
  knownObjects = new Map(rows.map(([name, classId, objectId, part, host, inner]) => [`${classId}/${objectId}/${part}`, { name: name ?? '', host: `pg_class/${host}/0`, isInner: inner === 't' }]));
  return knownObjects;
}

/** By name too, because a dropped column keeps its number and loses its name. */
async function stillThere(keys: readonly string[]): Promise<ReadonlySet<string>> {
  const parts = keys.map((key) => key.split('/'));
  const { rows } = await link.query(`SELECT concat_ws('/', c, o, s) || i.type || ' ' || i.identity FROM unnest($1::text[], $2::oid[], $3::int4[]) AS k(c, o, s) CROSS JOIN LATERAL pg_identify_object(c::regclass, o, s) i WHERE i.identity IS NOT NULL`, [0, 1, 2].map((index) => `{${parts.map((part) => part[index]).join(',')}}`));
  return new Set(rows.map(([key]) => key ?? ''));
}

/** What is gone when it is really done, or why PostgreSQL refuses it. */
async function performed(sql: string): Promise<ReadonlyMap<string, Real> | string> {
  await link.query('BEGIN');
  try {
    const first = await objects();
    for (const one of sql.split(';')) await link.query(one);
    const left = await stillThere([...first.keys()]);
    return new Map([...first].filter(([key, { name }]) => !left.has(`${key}${name}`)));
  } catch (error) {
    return String((error as { code?: unknown }).code);
  } finally {
    await link.query('ROLLBACK');
  }
}

const isMissing: ReadonlySet<string> = new Set(['42P01', '42704', '42883', '42809']);

/** Every table or view that loses anything but an index is named by the judgement, or it says that it does not know them all. */
async function assertJudged(sql: string, gone: ReadonlyMap<string, Real>): Promise<void> {
  const catalog = await catalogNow();
  const touching = assess(sql, freshSession, catalog, parser).risk.effects.filter(({ kind }) => kind === 'drop' || kind === 'alter');
  if (touching.some(({ kind, object }) => kind === 'drop' && object === undefined)) return;
  const all = await objects();
  const losing = [...gone].filter(([, { isInner, name }]) => !isInner && !name.startsWith('index ')).flatMap(([key, { host }]) => [all.get(key)?.name, all.get(host)?.name]).map((name) => /^(?:table|view|materialized view|foreign table) (\S+)$/.exec(name ?? '')?.[1]);
  const named = new Set(touching.flatMap(({ object = '', relatives = [] }) => [object, ...relatives]));
  assert.deepEqual([...new Set(losing)].filter((name) => name !== undefined && !named.has(name)), [], 'loses something, and the judgement does not say so');
}

for (const sql of [...dropped, ...others]) {
  test(`tells before what is gone after ${sql}`, async () => {
    const impact = await impactOf(sql);
    const gone = await performed(sql);
    if (typeof gone === 'string' && isMissing.has(gone)) return;
    assert.ok(impact.kind === 'loss', `${sql}: ${JSON.stringify(impact)}`);
    if (typeof gone === 'string') {
      assert.equal(gone, '2BP01');
      assert.ok(impact.refusedBy.count > 0, `PostgreSQL refuses it: ${JSON.stringify(impact)}`);
      return;
    }
    assert.deepEqual(impact.refusedBy, { names: [], count: 0 });
    compare(impact, gone);
    await assertJudged(sql, gone);
  });
}

const guarded = parsePolicy('name: p\ndescription: d\nlevels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: hold }\nrecovery: { required_from: never }\nprotected: { tables: [public.base], on_write: deny }', 'p.yaml').base;
const protects: readonly (readonly [why: string, sql: string, expected: string])[] = [
  ['the view of another', 'DROP VIEW shed_view CASCADE', 'hold'], ['another table, on which only a view and a key of others depend', 'DROP TABLE shed.tool CASCADE', 'hold'],
  ['a type of one of its columns', 'DROP TYPE mood CASCADE', 'deny'], ['the function behind its trigger', 'DROP FUNCTION fire() CASCADE', 'deny'], ['the sequence of its default', 'DROP SEQUENCE base_id_seq CASCADE', 'deny'],
  ['its schema', 'DROP SCHEMA public CASCADE', 'deny'], ['an extension, whatever depends on it', 'DROP EXTENSION hstore CASCADE', 'deny'], ['a column of another', 'ALTER TABLE shed.tool DROP COLUMN m CASCADE', 'hold'],
];
for (const [why, sql, expected] of protects) {
  test(`a protected table gets ${expected} from a DROP of ${why}`, async () => {
    const catalog = await catalogNow();
    const { risk } = assess(sql, freshSession, catalog, parser);
    assert.equal(decide(guarded, { risk, agent: 'ada', database: 'shop', recovery: 'none', used: noUse }).decision, expected);
  });
}

/** What DROP OWNED says of privileges and policies, and DROP ROLE of memberships, it says in one line. */
const inWords = /^(?:all that|the privileges of|role|the memberships of) /;
const byPrivilege = /^(?:default acl|policy) /;
/** Operators and functions of an operator class are no objects of their own to a reader. */
const inner = / of access method /;

function compare({ named, also }: LossImpact, gone: ReadonlyMap<string, Real>): void {
  const told = new Set([...named.names, ...also.names]);
  const really = new Set([...gone.values()].map(({ name }) => name));
  const isByRole = named.names.some((name) => inWords.test(name));
  for (const name of told) assert.ok(really.has(name) || inWords.test(name), `said ${name} would go`);
  const shown = [...gone.values()].filter(({ host, isInner, name }) => !isInner && !gone.has(host) && !inner.test(name) && !(isByRole && byPrivilege.test(name))).map(({ name }) => name);
  const untold = shown.filter((name) => !told.has(name));
  if (also.count === also.names.length) assert.deepEqual(untold, [], 'gone without being told');
  else assert.deepEqual([untold.filter((name) => /^(?:table|view|materialized view|table column) /.test(name)), also.count >= untold.length + also.names.length], [[], true], 'what holds rows comes first, and the rest is counted');
}

async function rowsIn(table: string): Promise<number> { return Number((await link.query(`SELECT count(*) FROM ONLY ${table}`)).rows[0]?.[0]); }

const truncated: readonly string[] = [
  'TRUNCATE odd', 'TRUNCATE base CASCADE', 'TRUNCATE base', 'TRUNCATE ONLY base CASCADE', 'TRUNCATE base, child, grandchild', 'TRUNCATE parts CASCADE', 'TRUNCATE parts', 'TRUNCATE parts_1 CASCADE',
  'TRUNCATE shed.tool CASCADE', 'TRUNCATE child RESTART IDENTITY CASCADE', 'TRUNCATE base RESTART IDENTITY CASCADE', 'TRUNCATE kept_table; TRUNCATE odd',
];
for (const sql of truncated) {
  test(`tells before what is empty after ${sql}`, async () => {
    const impact = await lossOf(sql);
    const all = (await link.query("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace IN ('public'::regnamespace, 'shed'::regnamespace)")).rows.map(([name]) => name ?? '');
    const before = new Map(await eachOf(all));
    await link.query('BEGIN');
    try {
      for (const one of sql.split(';')) await link.query(one);
      const emptied = (await eachOf(all)).filter(([name, rows]) => rows < (before.get(name) ?? 0));
      assert.deepEqual(impact.refusedBy, { names: [], count: 0 });
      const told = impact.tables.filter(({ rows }) => rows?.count !== 0).map(({ table, rows }) => [table.replace(/^public\./, ''), rows]);
      assert.deepEqual(told.toSorted(), emptied.map(([name]) => [name, { count: before.get(name) ?? 0, isExact: true }]).toSorted());
      assert.deepEqual(impact.rows, { count: emptied.reduce((sum, [name]) => sum + (before.get(name) ?? 0), 0), isExact: true });
    } catch (error) {
      assert.equal((error as { code?: unknown }).code, '0A000');
      assert.ok(impact.refusedBy.count > 0, JSON.stringify(impact));
    } finally {
      await link.query('ROLLBACK');
    }
  });
}

async function eachOf(names: readonly string[]): Promise<readonly (readonly [string, number])[]> {
  const found: [string, number][] = [];
  for (const name of names) found.push([name, await rowsIn(name)]);
  return found;
}

test('sequences that are restarted and triggers that fire are named', async () => {
  const impact = await lossOf('TRUNCATE base RESTART IDENTITY CASCADE');
  assert.deepEqual(impact.also.names.filter((name) => name.startsWith('sequence')), ['sequence public.base_id_seq', 'sequence public."base_odd name_seq"']);
  assert.deepEqual(impact.triggers, [{ table: 'public.child', name: 'emptied', when: 'before truncate', function: 'public.fire()', fires: 'origin' }]);
});

test('rows that row security hides are not counted as none', async () => {
  await changeScene('GRANT ALL ON odd TO keeper');
  const catalogued = await impactAs('TRUNCATE odd', 'keeper');
  assert.deepEqual(catalogued.rows, { count: 1, isExact: false });
});

async function impactAs(sql: string, role: string): Promise<LossImpact> {
  const impact = await impactOf(sql, {}, role);
  assert.ok(impact.kind === 'loss', JSON.stringify(impact));
  return impact;
}

test('without a number for one table there is none for all', async () => {
  await changeScene('SET track_counts = off; CREATE TABLE unseen (id int) WITH (autovacuum_enabled = false); INSERT INTO unseen VALUES (1)');
  try {
    const impact = await impactAs('DROP TABLE unseen, grandchild', 'keeper');
    assert.deepEqual([impact.rows, impact.tables.find(({ table }) => table === 'public.unseen')?.rows], [null, null]);
    assert.deepEqual((await lossOf('DROP TABLE unseen')).rows, { count: 1, isExact: true });
  } finally { await changeScene('DROP TABLE unseen'); }
});

test('who would be waited for is told', async () => {
  const other = await connectLink(parseConnectionString(server.url()));
  try {
    await other.query('BEGIN');
    await other.query('SELECT count(*) FROM child');
    assert.deepEqual((await lossOf('DROP TABLE base CASCADE')).lock, { mode: 'ACCESS EXCLUSIVE', heldBy: 1, writers: 0, waiting: 0 });
  } finally { await other.end(); }
});

const unknowns: readonly (readonly [claim: string, sql: string, session: Partial<SessionFacts>, reason: RegExp])[] = [
  ['another database', 'DROP DATABASE shop', {}, /cannot be looked up from here/],
  ['a schema that its transaction has changed', 'DROP TABLE base', { catalogChanged: true }, /has changed the schema/],
  ['a search path that is not known', 'DROP TABLE base', { searchPath: null }, /search path/],
  ['a temporary table of its own', 'DROP TABLE grandchild, mine CASCADE', { temporary: new Set(['mine']) }, /temporary table/],
  ['a write before it in the message', 'INSERT INTO base DEFAULT VALUES; TRUNCATE child', {}, /another statement of it writes/],
  ['a DROP inside of code', "DO $$ BEGIN DROP TABLE base; END $$", {}, /it runs code/],
];
for (const [claim, sql, session, reason] of unknowns) {
  test(`unknown: ${claim}`, async () => {
    const impact = await impactOf(sql, session);
    assert.ok(impact.kind === 'unknown' && reason.test(impact.reason), JSON.stringify(impact));
  });
}

test('what can take no rows along is never unknown', async () => {
  assert.deepEqual(await impactOf('DROP INDEX odd_twice', { catalogChanged: true }), { kind: 'none' });
});
