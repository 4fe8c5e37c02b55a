/**
 * Tables that are unlike most: what PostgreSQL 18 brought, partitions that refer and are referred to, row types as columns,
 * grants by default, tables without columns. Taken and undone, the whole database is as it was; or the statement is refused.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { Failure } from '../../src/core/failure.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { openTablesScene, type TablesScene } from '../fixtures/tables-scene.ts';

let server: PostgresServer;
let scene: TablesScene;
before(async () => {
  server = await startPostgresServer();
  scene = await openTablesScene(server.url());
});
after(async () => {
  await scene?.close();
  await server?.stop();
});
beforeEach(async () => { await scene.run('DROP SCHEMA public CASCADE', 'CREATE SCHEMA public'); });

const generated = (kind: string): string => `CREATE TABLE x (a int, v int GENERATED ALWAYS AS (a * 2) ${kind}, b text); INSERT INTO x VALUES (1), (2)`;
const referring = 'CREATE TABLE p (a int PRIMARY KEY, b text); CREATE TABLE q (a int PRIMARY KEY REFERENCES p, b text) PARTITION BY HASH (a); CREATE TABLE q0 PARTITION OF q FOR VALUES WITH (MODULUS 1, REMAINDER 0); INSERT INTO p VALUES (1); INSERT INTO q VALUES (1)';
const referred = 'CREATE TABLE p (a int PRIMARY KEY, b text) PARTITION BY RANGE (a); CREATE TABLE p0 PARTITION OF p DEFAULT; CREATE TABLE q (a int REFERENCES p); INSERT INTO p VALUES (1); INSERT INTO q VALUES (1)';
const unenforced = 'CREATE TABLE x (a int PRIMARY KEY); CREATE TABLE y (a int CONSTRAINT fk REFERENCES x NOT ENFORCED, CONSTRAINT ck CHECK (a > 5) NOT ENFORCED); INSERT INTO y VALUES (1)';
const ruled = `CREATE TABLE x (a int); CREATE VIEW w AS SELECT a FROM x; CREATE RULE r AS ON INSERT TO w DO INSTEAD INSERT INTO x VALUES (new.a); CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
  CREATE TRIGGER tr INSTEAD OF UPDATE ON w FOR EACH ROW EXECUTE FUNCTION tf(); GRANT SELECT (a) ON w TO PUBLIC; CREATE RECURSIVE VIEW rv (n) AS SELECT a FROM w`;
const indexed = `CREATE TABLE x (a int, b text COMPRESSION pglz COLLATE "C"); INSERT INTO x SELECT i, repeat('x', 5000) FROM generate_series(1, 3) i; CREATE INDEX ON x ((a + 1)) WHERE a > 1;
  CREATE UNIQUE INDEX xu ON x (a); ALTER TABLE x ADD CONSTRAINT u UNIQUE USING INDEX xu DEFERRABLE; ALTER TABLE x ALTER a SET STATISTICS 7`;

const cases: readonly (readonly [given: string, statement: string])[] = [
  [generated('VIRTUAL'), 'DROP TABLE x'], [generated('VIRTUAL'), 'ALTER TABLE x DROP COLUMN b'], [generated('STORED'), 'ALTER TABLE x ALTER COLUMN v SET EXPRESSION AS (a * 3)'], [generated('STORED'), 'ALTER TABLE x ALTER COLUMN v DROP EXPRESSION'],
  [unenforced, 'DROP TABLE x CASCADE'], [unenforced, 'DROP TABLE y'], ['CREATE TABLE x (a int); INSERT INTO x VALUES (NULL); ALTER TABLE x ADD CONSTRAINT nn NOT NULL a NOT VALID', 'DROP TABLE x'], ['CREATE TABLE x (a int CONSTRAINT nn NOT NULL NO INHERIT)', 'DROP TABLE x'],
  ['CREATE TABLE x (); INSERT INTO x DEFAULT VALUES; INSERT INTO x DEFAULT VALUES', 'DROP TABLE x'], ['CREATE TABLE x (a int); INSERT INTO x VALUES (1), (1)', 'ALTER TABLE x DROP COLUMN a'],
  ['CREATE TABLE x (a int PRIMARY KEY, b text); INSERT INTO x VALUES (1)', 'ALTER TABLE x DROP COLUMN b, ADD COLUMN c int DEFAULT 3'], ['CREATE TABLE x (a int) WITH (fillfactor = 50)', 'ALTER TABLE x RESET (fillfactor), SET UNLOGGED'],
  [referring, 'DROP TABLE p CASCADE'], [referring, 'ALTER TABLE p DROP COLUMN b'], [referred, 'DROP TABLE p CASCADE'], [referred, 'TRUNCATE p CASCADE'], [ruled, 'DROP TABLE x CASCADE'], [indexed, 'DROP TABLE x'],
  ['CREATE TABLE x (a int); CREATE TABLE holder (v x, w int); INSERT INTO holder VALUES (ROW(1), 2)', 'DROP TABLE x CASCADE'],
  ['ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC; CREATE TABLE x (a int); INSERT INTO x VALUES (1); REVOKE SELECT ON x FROM PUBLIC; ALTER DEFAULT PRIVILEGES GRANT INSERT ON TABLES TO PUBLIC', 'DROP TABLE x'],
];
describe('comes back whole', () => {
  for (const [given, statement] of cases) {
    it(`${statement}, after ${given.slice(0, 100)}`, async () => {
      await server.run(given);
      const was = await scene.state();
      const manifest = await scene.act(statement);
      assert.notDeepEqual(await scene.state(), was);
      assert.equal((await scene.undo(manifest)).isDone, true);
      assert.deepEqual(await scene.state(), was);
    });
  }
});

describe('is refused, and nothing has changed', () => {
  for (const [why, given, statement] of [
    ['a table of a type', 'CREATE TYPE pr AS (a int, b text); CREATE TABLE ty OF pr; INSERT INTO ty VALUES (1)', 'DROP TABLE ty'],
    ['a table whose row type another one holds', 'CREATE TABLE x (a int, b int); CREATE TABLE holder (v x)', 'ALTER TABLE x DROP COLUMN b'],
  ] as const) {
    it(why, async () => {
      await server.run(given);
      const was = await scene.state();
      await assert.rejects(scene.act(statement), (error) => error instanceof Failure && error.code === 'feature_not_supported');
      assert.deepEqual(await scene.state(), was);
    });
  }
});
