/**
 * Which statements may be captured by asking for their rows beforehand: those whose WHERE surely means the same rows twice and
 * whose change stays where it is. What is refused here is captured while it runs, so a row of this table that is wrongly
 * refused costs time, and one that is wrongly taken would cost an undo.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { assess } from '../../src/core/sql/assess.ts';
import type { Catalog } from '../../src/core/sql/catalog.ts';
import { rowsQuery, type RowsQuery } from '../../src/core/sql/rows-query.ts';
import type { SessionFacts } from '../../src/core/sql/statement.ts';
import { loadParser } from '../../src/lib/pgsql/parser.ts';
import { loadCatalog } from '../../src/remote/postgres/catalog.ts';
import { connectLink } from '../../src/remote/postgres/link.ts';
import { parseConnectionString } from '../../src/remote/postgres/link-target.ts';
import { freshSession } from '../fixtures/corpus.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';

const scene = `
CREATE TABLE plain (id int PRIMARY KEY, v text, n numeric, at timestamptz DEFAULT now());
CREATE TABLE "odd ""One" ("a Key" int, b int, v text, PRIMARY KEY ("a Key", b));
CREATE TABLE keyless (id int, v text);
CREATE TABLE parent (id int PRIMARY KEY, v text); CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE);
CREATE TABLE watched (id int PRIMARY KEY, v text); CREATE TABLE audit (what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES ('x'); RETURN NULL; END $$;
CREATE TRIGGER note AFTER DELETE ON watched FOR EACH ROW EXECUTE FUNCTION note();
CREATE TABLE stamped (id int PRIMARY KEY, v text, at timestamptz); CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.at := now(); RETURN NEW; END $$;
CREATE TRIGGER stamp BEFORE UPDATE ON stamped FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE TABLE heirs (id int PRIMARY KEY, v text); CREATE TABLE heir () INHERITS (heirs);
CREATE TABLE split (id int, v text, PRIMARY KEY (id)) PARTITION BY HASH (id); CREATE TABLE split_0 PARTITION OF split FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE TABLE secret (id int PRIMARY KEY); ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE TABLE ruled (id int PRIMARY KEY); CREATE RULE keep AS ON DELETE TO ruled DO INSTEAD NOTHING;
CREATE VIEW seen AS SELECT id, v FROM plain;
CREATE FUNCTION doubled(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT i * 2';
CREATE FUNCTION largest() RETURNS int LANGUAGE sql STABLE AS 'SELECT max(id) FROM public.plain';
CREATE FUNCTION is_last(plain) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT $1.id = public.largest()';
CREATE FUNCTION near(int, int) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT $1 = public.largest() - $2'; CREATE OPERATOR ~~~> (leftarg = int, rightarg = int, function = near);`;

let server: PostgresServer;
let catalog: Catalog;
const parser = await loadParser(18);
before(async () => {
  server = await startPostgresServer();
  await server.run(scene);
  const link = await connectLink(parseConnectionString(server.url()));
  catalog = await loadCatalog(async (question, parameters) => (await link.query(question, parameters)).rows);
  await link.end();
});
after(async () => { await server?.stop(); });

function queryOf(sql: string, session: SessionFacts = freshSession): RowsQuery | undefined {
  const { statements, risk, error } = assess(sql, session, catalog, parser);
  assert.equal(error, undefined, sql);
  return rowsQuery({ statements: statements.map(({ statement }) => statement), risk, session, catalog, parser });
}

const taken: readonly (readonly [sql: string, rows: string, why: string])[] = [
  ['DELETE FROM plain WHERE id = 1', 'plain\nWHERE (id = 1\n)', 'one row by its key'],
  ['DELETE FROM plain', 'plain', 'all of a table'],
  ["UPDATE plain p SET v = 'x', n = n + 1 WHERE p.id = $1 AND at < now() - interval '1 day' RETURNING *", "plain p\nWHERE (p.id = $1 AND at < now() - interval '1 day'\n)", 'the clock stands still in a transaction'],
  ["UPDATE plain SET v = (SELECT max(v) FROM keyless) WHERE id IN (1, 2)", 'plain\nWHERE (id IN (1, 2)\n)', 'what is set may come from anywhere'],
  ["DELETE FROM \"odd \"\"One\" WHERE lower(v) LIKE 'a%' -- all of them", "\"odd \"\"One\"\nWHERE (lower(v) LIKE 'a%' -- all of them\n)", 'a comment ends with its line'],
  ['DELETE FROM public.split AS s WHERE s.id > 3', 'public.split AS s\nWHERE (s.id > 3\n)', 'a partitioned table holds its rows in partitions of its own'],
  ['DELETE FROM child WHERE parent = 3', 'child\nWHERE (parent = 3\n)', 'a key that points away passes nothing on'],
  ["UPDATE parent SET v = 'x' WHERE id = 3", 'parent\nWHERE (id = 3\n)', 'only a DELETE is passed on by this key'],
  ['DELETE FROM plain WHERE doubled(id) = 4', 'plain\nWHERE (doubled(id) = 4\n)', 'an immutable function is the same twice'],
  ["UPDATE watched SET v = 'x' WHERE id = 1", 'watched\nWHERE (id = 1\n)', 'its trigger is one of another event'],
  ["UPDATE stamped SET v = 'x' WHERE id = 1", 'stamped\nWHERE (id = 1\n)', 'its trigger writes nothing but the row itself'],
  ['UPDATE plain SET n = doubled(id) WHERE id = 1', 'plain\nWHERE (id = 1\n)', 'a function that only computes'],
];

const refused: readonly (readonly [sql: string, why: string])[] = [
  ['DELETE FROM plain WHERE random() < 0.5', 'means other rows each time'],
  ["DELETE FROM plain WHERE at < statement_timestamp() - interval '1 day'", 'the clock of the statement goes on'],
  ['DELETE FROM plain WHERE id = (SELECT max(id) FROM plain)', 'a sub-select sees rows that may move'],
  ['DELETE FROM plain WHERE EXISTS (SELECT FROM child WHERE parent = plain.id)', 'a sub-select sees rows that may move'],
  ['DELETE FROM plain USING child WHERE child.id = plain.id', 'a joined table may move'],
  ["UPDATE plain SET v = 'x' FROM child WHERE child.id = plain.id", 'a joined table may move'],
  ['WITH gone AS (DELETE FROM child RETURNING id) DELETE FROM plain WHERE id = 1', 'it writes twice'],
  ['DELETE FROM plain WHERE id = largest()', 'a stable function may read tables'],
  ['DELETE FROM plain p WHERE p.is_last', 'a function in the notation of a column'],
  ['DELETE FROM plain WHERE id ~~~> 1', 'an operator that reads tables'],
  ['UPDATE plain SET id = id + 1', 'the key is set'],
  ['UPDATE "odd ""One" SET (v, b) = (\'x\', 2)', 'a part of the key is set'],
  ['DELETE FROM keyless', 'no key'],
  ['DELETE FROM parent WHERE id = 1', 'passed on by a key'],
  ['DELETE FROM watched WHERE id = 1', 'a trigger writes elsewhere'],
  ['DELETE FROM heirs', 'rows of another table'], ['DELETE FROM heir', 'no key of its own'],
  ['DELETE FROM split_0 WHERE id = 1', 'belongs to another table'],
  ['DELETE FROM secret', 'row security'], ['DELETE FROM ruled', 'a rule'], ["UPDATE seen SET v = 'x'", 'a view'],
  ['DELETE FROM plain; DELETE FROM split', 'two statements'],
  ['MERGE INTO plain t USING child s ON t.id = s.id WHEN MATCHED THEN DELETE', 'does several things'], ["INSERT INTO plain VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET v = 'y'", 'inserts as well'],
  ['SELECT * FROM plain', 'changes nothing'],
];

describe('the rows of a statement', () => {
  for (const [sql, rows, why] of taken) {
    it(`can be asked for beforehand: ${sql} (${why})`, () => { assert.equal(queryOf(sql)?.rows, rows); });
  }
  for (const [sql, why] of refused) {
    it(`are gathered while it runs: ${sql} (${why})`, () => { assert.equal(queryOf(sql), undefined); });
  }
  it('are gathered while it runs where the session does not see what the catalog says', () => {
    const sql = 'DELETE FROM plain WHERE id = 1';
    assert.equal(queryOf(sql, { ...freshSession, searchPath: null }), undefined);
    assert.equal(queryOf(sql, { ...freshSession, catalogChanged: true }), undefined);
    assert.equal(queryOf(sql, { ...freshSession, temporary: new Set(['plain']) }), undefined);
  });
  it('name the table and what its columns are qualified with', () => {
    const { table, relation, alias, verb } = queryOf('DELETE FROM "odd ""One" AS "x Y" WHERE b = 1') ?? {};
    assert.deepEqual({ table, relation, alias, verb }, { table: 'public."odd ""One"', relation: '"public"."odd ""One"', alias: '"x Y"', verb: 'delete' });
  });
});
