/**
 * How far each kind of statement can be undone, and by what, as concluded from the live catalog of a PostgreSQL 18: each row
 * is a statement, the coverage that it must have, and why. What nothing is captured of says so, and says why.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { coverageOf, type Coverage } from '../../src/core/recovery/coverage.ts';
import { assess } from '../../src/core/sql/assess.ts';
import type { Catalog } from '../../src/core/sql/catalog.ts';
import { nextSession } from '../../src/core/sql/next-session.ts';
import { loadParser } from '../../src/lib/pgsql/parser.ts';
import { loadCatalog } from '../../src/remote/postgres/catalog.ts';
import { connectLink, type Link } from '../../src/remote/postgres/link.ts';
import { parseConnectionString } from '../../src/remote/postgres/link-target.ts';
import { freshSession } from '../fixtures/corpus.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';

const scene = `
CREATE TABLE customers (id int PRIMARY KEY, name text, note text);
CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers ON DELETE CASCADE ON UPDATE CASCADE, state text);
CREATE TABLE lines (order_id int REFERENCES orders ON DELETE CASCADE, line int, PRIMARY KEY (order_id, line));
CREATE TABLE audit (at timestamptz, what text);
CREATE TABLE plain (id int PRIMARY KEY, v text, lower_v text GENERATED ALWAYS AS (lower(v)) STORED);
CREATE TABLE computed (v int, id int GENERATED ALWAYS AS (v * 2) STORED PRIMARY KEY); CREATE TABLE keyless (id int, v text); CREATE TABLE late_key (id int PRIMARY KEY DEFERRABLE, v text);
CREATE TABLE keyless_child (id int PRIMARY KEY);
CREATE TABLE heap_child (plain_id int); ALTER TABLE heap_child ADD FOREIGN KEY (plain_id) REFERENCES keyless_child ON DELETE CASCADE;
CREATE TABLE watched (id int PRIMARY KEY, v text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.audit VALUES (now(), ''changed''); RETURN NULL; END';
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON watched FOR EACH ROW EXECUTE FUNCTION note();
CREATE TABLE stamped (id int PRIMARY KEY, v text, at timestamptz);
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.at := now(); RETURN NEW; END';
CREATE TRIGGER stamp BEFORE UPDATE ON stamped FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE TABLE late (id int PRIMARY KEY, v text);
CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON late DEFERRABLE FOR EACH ROW EXECUTE FUNCTION note();
CREATE TABLE opaque (id int PRIMARY KEY, v text);
CREATE FUNCTION build() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN EXECUTE NEW.v; RETURN NEW; END';
CREATE TRIGGER build BEFORE UPDATE ON opaque FOR EACH ROW EXECUTE FUNCTION build();
CREATE TABLE parted (id int, day int, v text, PRIMARY KEY (id, day)) PARTITION BY LIST (day);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1) PARTITION BY LIST (id); CREATE TABLE parted_1_1 PARTITION OF parted_1 DEFAULT; CREATE TABLE parted_2 PARTITION OF parted DEFAULT;
CREATE TABLE parent (id int PRIMARY KEY, v text); CREATE TABLE heir (PRIMARY KEY (id)) INHERITS (parent);
CREATE TABLE secured (id int PRIMARY KEY, v text); ALTER TABLE secured ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON secured USING (v = current_user);
CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw; CREATE FOREIGN TABLE distant (id int, v text) SERVER far;
CREATE TABLE mixed (id int, v text) PARTITION BY LIST (id); CREATE FOREIGN TABLE mixed_far PARTITION OF mixed FOR VALUES IN (1) SERVER far;
CREATE VIEW few AS SELECT id, v FROM plain WHERE id > 10; CREATE VIEW names AS SELECT id, name FROM customers; CREATE MATERIALIZED VIEW held AS SELECT v FROM plain;
CREATE TABLE ruled (id int PRIMARY KEY, v text); CREATE RULE r AS ON DELETE TO ruled DO ALSO INSERT INTO audit VALUES (now(), 'gone');
CREATE FUNCTION clean(which int) RETURNS void LANGUAGE sql AS 'DELETE FROM public.plain WHERE id = which';
CREATE PROCEDURE sweep() LANGUAGE sql AS 'DELETE FROM public.plain';
CREATE EXTENSION dblink; CREATE SEQUENCE counter; CREATE INDEX by_v ON plain (v); CREATE STATISTICS pair ON id, v FROM plain;
CREATE SCHEMA attic; CREATE TABLE attic.old (id int); CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE AGGREGATE total (int) (sfunc = int4pl, stype = int, initcond = '0');
`;

let server: PostgresServer;
let link: Link;
let catalog: Catalog;
const parser = await loadParser(18);
before(async () => {
  server = await startPostgresServer();
  await server.run(scene);
  link = await connectLink(parseConnectionString(server.url()), { parameters: new Map([['search_path', 'public']]) });
  catalog = await loadCatalog(async (question, parameters) => (await link.query(question, parameters)).rows);
});
after(async () => {
  await link?.end();
  await server?.stop();
});

/** `first`: what its session has run before. */
function covered(sql: string, { isInBlock = false, first = '' } = {}): Coverage {
  const session = assess(first, freshSession, catalog, parser).statements.reduce((now, { statement }) => nextSession(now, statement), freshSession);
  const { risk, statements, error } = assess(sql, session, catalog, parser);
  assert.equal(error, undefined, sql);
  return coverageOf({ statements: statements.map(({ statement }) => statement), risk, session, catalog, parser, isInBlock });
}

const rows: readonly (readonly [sql: string, table: string, why: string])[] = [
  ["UPDATE plain SET v = 'x' WHERE id = 1", 'plain', 'one table with a key'],
  ['DELETE FROM plain', 'plain', 'every row, by no WHERE'],
  ["UPDATE customers SET note = 'x' WHERE id = 1", 'customers', 'keys that point to it do not look at that column'],
  ['DELETE FROM lines WHERE order_id = 1', 'lines', 'nothing points to it'],
  ["UPDATE parted SET v = 'x' WHERE id = 1", 'parted', 'all partitions'],
  ["UPDATE parted SET v = 'x' WHERE day = 2", 'parted', 'some of them'],
  ["DELETE FROM plain WHERE lower(v) LIKE 'a%' AND id < 10", 'plain', 'a WHERE that calls what is the same each time'],
  ["UPDATE stamped SET v = 'x'", 'stamped', 'a trigger changes the row itself'],
];
const transitions: readonly (readonly [sql: string, tables: string, why: string])[] = [
  ['DELETE FROM customers WHERE id = 1', 'customers lines orders', 'keys delete on'],
  ['UPDATE customers SET id = 2 WHERE id = 1', 'customers orders', 'a key that others follow changes'],
  ['UPDATE plain SET id = 2 WHERE id = 1', 'plain', 'a row gets another key'],
  ['UPDATE parted SET day = 3 WHERE id = 1', 'parted', 'a row gets another key, and another partition'],
  ["UPDATE watched SET v = 'x'", 'watched', 'a trigger writes elsewhere, and only adds there'],
  ["DELETE FROM few WHERE id = 11", 'plain', 'a view writes its table'],
  ["UPDATE names SET name = 'x'", 'customers orders', 'a view passes any column on, as far as is known'],
  ['DELETE FROM ruled WHERE id = 1', 'ruled', 'a rule adds to it'],
  ["INSERT INTO plain VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET v = excluded.v", 'plain', 'it overwrites what conflicts'],
  ["MERGE INTO plain p USING customers c ON c.id = p.id WHEN MATCHED THEN UPDATE SET v = c.name WHEN NOT MATCHED THEN INSERT VALUES (c.id, c.name)", 'plain', 'several kinds of change'],
  ["WITH gone AS (DELETE FROM plain WHERE id = 1 RETURNING v) INSERT INTO customers SELECT 9, v FROM gone", 'customers plain', 'a DELETE inside WITH'],
  ["UPDATE plain SET v = 'x'; DELETE FROM lines; SELECT 1", 'lines plain', 'several statements'],
  ['SELECT clean(1)', 'plain', 'a function whose body can be read'],
  ['EXPLAIN ANALYZE DELETE FROM plain', 'plain', 'EXPLAIN ANALYZE runs it'],
  ['DELETE FROM plain WHERE id = random()', 'plain', 'a WHERE that may choose others the next time'],
  ["DELETE FROM plain WHERE lower(v) LIKE 'a%' AND id IN (SELECT id FROM customers)", 'plain', 'a WHERE that looks at other rows'],
  ["UPDATE plain p SET v = c.name FROM customers c WHERE c.id = p.id", 'plain', 'a join'],
  ["WITH w AS (SELECT id FROM customers) DELETE FROM plain USING w WHERE plain.id = w.id", 'plain', 'a WITH that only reads'],
  ["DELETE FROM parted_1_1 WHERE id = 1", 'parted', 'a partition of a partition is a part of the whole'],
  ["UPDATE late SET v = 'x'", 'late', 'outside of a block a trigger that may wait does not'],
];
const tables: readonly (readonly [sql: string, scope: string, tables: string, why: string])[] = [
  ['TRUNCATE plain', 'table', 'plain', 'every row of it'],
  ['TRUNCATE plain RESTART IDENTITY', 'table', 'plain', 'and its sequences'],
  ['TRUNCATE customers CASCADE', 'table', 'customers lines orders', 'every table that refers to it'],
  ['DROP TABLE plain', 'table', 'plain', 'rows and definition'], ['DROP TABLE lines, keyless', 'table', 'keyless lines', 'a key is not needed to make a whole table again'],
  ['DROP TABLE customers CASCADE', 'schema', 'customers', 'and the keys and views that depend on it'],
  ['DROP TABLE parted_2', 'table', 'parted_2', 'a partition falls alone'],
  ['ALTER TABLE plain DROP COLUMN v CASCADE', 'schema', 'plain', 'a column and what is computed of it'], ['ALTER TABLE keyless DROP COLUMN v', 'table', 'keyless', 'the values of a column'],
  ['ALTER TABLE keyless ALTER v TYPE int USING length(v)', 'table', 'keyless', 'the old values'], ['ALTER TABLE parted_2 DROP CONSTRAINT parted_2_pkey', 'schema', 'parted', 'of a partition the whole'],
  ['DROP SCHEMA attic CASCADE', 'schema', 'attic.old', 'all that it holds'],
  ['DROP VIEW few', 'schema', '', 'a definition and no rows'], ['DROP INDEX by_v', 'schema', '', 'an index'], ['DROP FUNCTION clean(int)', 'schema', '', 'a function'], ['DROP TRIGGER note ON watched', 'schema', '', 'a trigger'],
  ['DROP MATERIALIZED VIEW held', 'schema', '', 'its rows are made of others'], ['DROP STATISTICS pair', 'schema', '', 'a statistics object'], ['DROP TYPE mood', 'schema', '', 'a type'],
];
const uncovered: readonly (readonly [sql: string, scope: string, why: RegExp])[] = [
  ["UPDATE keyless SET v = 'x' WHERE id = 1", 'point-in-time', /public\.keyless has no primary key/], ["UPDATE late_key SET v = 'x'", 'point-in-time', /has no primary key/],
  ['UPDATE computed SET v = 3', 'point-in-time', /primary key of public\.computed is computed/], ['DELETE FROM keyless_child WHERE id = 1', 'point-in-time', /public\.heap_child has no primary key/], ["UPDATE secured SET v = 'x'", 'point-in-time', /row security of public\.secured/],
  ['TRUNCATE secured', 'point-in-time', /row security of public\.secured/], ["UPDATE parent SET v = 'x'", 'point-in-time', /other tables inherit from public\.parent/],
  ["DELETE FROM distant WHERE id = 1", 'point-in-time', /another server/], ["DELETE FROM mixed WHERE id = 1", 'point-in-time', /another server/], ['TRUNCATE mixed', 'point-in-time', /another server/],
  ['DO $$ BEGIN DELETE FROM public.plain; END $$', 'none', /can build and run any statement/], ['CALL sweep()', 'none', /can build and run any statement/],
  ["UPDATE opaque SET v = 'x'", 'point-in-time', /is not known/], ["SELECT dblink_exec('host=far', 'DELETE FROM t')", 'none', /./],
  ['SELECT lo_unlink(1)', 'point-in-time', /large objects/], ["SELECT pg_terminate_backend(1), clean(2)", 'point-in-time', /whole server/],
  ['DELETE FROM plain; TRUNCATE lines', 'point-in-time', /one by one/], ['TRUNCATE lines; TRUNCATE plain', 'point-in-time', /one by one/], ['BEGIN; DELETE FROM plain; COMMIT', 'point-in-time', /begins or ends a transaction/],
  ["SET session_replication_role = replica; DELETE FROM customers", 'point-in-time', /triggers or row security/], ['COPY (DELETE FROM plain RETURNING *) TO STDOUT', 'point-in-time', /COPY/],
  ['WITH gone AS (DELETE FROM plain RETURNING v) SELECT * INTO other FROM gone', 'point-in-time', /by itself|rows as well|again/], ['DROP DATABASE shop', 'none', /inside a transaction/], ['DROP OWNED BY postgres', 'point-in-time', /privileges/],
  ['DROP INDEX CONCURRENTLY by_v', 'point-in-time', /CONCURRENTLY/], ['DROP AGGREGATE total (int)', 'point-in-time', /again/], ['DROP EXTENSION dblink', 'point-in-time', /again/], ['DROP FOREIGN TABLE distant', 'point-in-time', /./],
  ['ALTER TABLE keyless DROP COLUMN v, ADD COLUMN w int', 'point-in-time', /in another way/], ['ALTER TABLE keyless DROP COLUMN v, OWNER TO postgres', 'point-in-time', /privileges/],
  ["DELETE FROM nowhere WHERE id = 1", 'point-in-time', /./], ['DELETE FROM pg_class', 'none', /PostgreSQL's own/], ['EXECUTE q', 'none', /is not known/],
];
const unneeded = [
  'SELECT * FROM plain', "INSERT INTO plain VALUES (1, 'x')", 'CREATE TABLE fresh (id int)', 'CREATE INDEX ON plain (v)', 'ALTER TABLE plain ADD COLUMN w int', 'GRANT SELECT ON plain TO public',
  'CREATE TEMP TABLE mine AS SELECT 1 AS a; DELETE FROM mine; DROP TABLE mine', 'LOCK TABLE plain', "COPY plain (id, v) FROM STDIN", 'SELECT 1 FOR UPDATE', 'VACUUM plain', '',
];

const qualified = (names: string): readonly string[] => names.split(' ').filter((name) => name !== '').map((name) => (name.includes('.') ? name : `public.${name}`));

describe('one table whose changed rows its own WHERE tells is covered to the exact rows, by reading them', () => {
  for (const [sql, table, why] of rows) test(`${sql} (${why})`, () => {
    const { scope, method, tables: kept, sentence, lost } = covered(sql);
    assert.deepEqual([scope, method, kept, lost], ['exact-rows', 'rows', qualified(table), []], sentence);
  });
});

describe('whatever changes rows of tables with keys is covered to the exact rows, by gathering them', () => {
  for (const [sql, names, why] of transitions) test(`${sql} (${why})`, () => {
    const { scope, method, tables: kept, sentence } = covered(sql);
    assert.deepEqual([scope, method, kept], ['exact-rows', 'transitions', qualified(names)], sentence);
  });
});

describe('what drops, empties or rewrites by itself is covered to the table or the definitions', () => {
  for (const [sql, scope, names, why] of tables) test(`${sql} (${why})`, () => {
    const found = covered(sql);
    assert.deepEqual([found.scope, found.method, found.tables], [scope, 'tables', qualified(names)], found.sentence);
  });
});

describe('of everything else that loses anything nothing is captured, and it says why', () => {
  for (const [sql, scope, why] of uncovered) test(sql, () => {
    const found = covered(sql);
    assert.deepEqual([found.scope, found.method, found.tables], [scope, undefined, []], found.sentence);
    assert.match(found.sentence, why);
    assert.match(found.sentence, /^Backstop cannot undo it, because /);
  });
});

test('what loses nothing needs nothing', () => {
  for (const sql of unneeded) assert.deepEqual([covered(sql).scope, covered(sql).method], ['not-needed', undefined], `${sql}: ${covered(sql).sentence}`);
});

test('what replaces a definition does not claim that nothing is lost', () => {
  for (const sql of ['CREATE OR REPLACE VIEW fresh AS SELECT 1 AS one', "COMMENT ON TABLE plain IS 'other'", "ALTER TABLE plain ALTER COLUMN v SET DEFAULT 'x'"]) assert.match(covered(sql).sentence, /a definition that it replaces does not come back/, sql);
  assert.match(covered("INSERT INTO plain SELECT * FROM plain").sentence, /adds rows and loses none/);
});

test('in a block of the client\'s nothing is promised where a trigger may still change rows when it ends', () => {
  const { scope, sentence } = covered("UPDATE late SET v = 'x'", { isInBlock: true });
  assert.equal(scope, 'point-in-time');
  assert.match(sentence, /the trigger late on public\.late may wait for the end of the transaction/);
  assert.equal(covered("UPDATE plain SET v = 'x'", { isInBlock: true }).method, 'rows');
});

test('what cannot be read and what nobody can resolve is not covered', () => {
  const unparsable = assess('DELETE FROM WHERE', freshSession, catalog, parser);
  assert.equal(coverageOf({ statements: [], risk: unparsable.risk, session: freshSession, catalog, parser, isInBlock: false }).scope, 'none');
  assert.equal(covered('DELETE FROM plain', { first: 'DISCARD ALL' }).method, undefined);
  assert.equal(covered('DELETE FROM public.plain', { first: 'CREATE TABLE plain_2 (id int)' }).method, undefined);
});

test('what does not come back is said, one sentence each', () => {
  const claims: readonly (readonly [sql: string, lost: RegExp])[] = [
    ["UPDATE watched SET v = 'x'", /adds to public\.audit stay/], ['ALTER TABLE keyless DROP COLUMN v', /default of the dropped column/], ['DROP TABLE plain', /object ids/], ['DROP TABLE plain', /ANALYZE/],
    ['DROP MATERIALIZED VIEW held', /what its query gives/], ["UPDATE plain SET v = nextval('counter')", /Sequences stay/],
  ];
  for (const [sql, lost] of claims) assert.ok(covered(sql).lost.some((line) => lost.test(line)), `${sql}: ${covered(sql).lost.join(' ')}`);
});

test('no sentence holds a literal of the statement', () => {
  for (const sql of ["UPDATE plain SET v = 'secret-7' WHERE v = 'secret-7'", "UPDATE keyless SET v = 'secret-7'", "SELECT dblink_exec('secret-7', 'secret-7')"]) {
    const { sentence, lost } = covered(sql);
    assert.doesNotMatch([sentence, ...lost].join(' '), /secret-7/);
  }
});
