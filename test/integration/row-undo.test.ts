/**
 * Whatever a statement changes, by itself, by foreign keys and by triggers, its images put it back row for row: random rows
 * and statements on tables with self references, cascades, partitions, triggers that write elsewhere, identity and generated
 * columns, domains, arrays, composites and names that need quoting.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import pg from 'pg';
import type { CatalogQuery } from '../../src/remote/postgres/catalog.ts';
import { readCapturedTables } from '../../src/remote/postgres/capture/tables.ts';
import { captureTransitions } from '../../src/remote/postgres/capture/transitions.ts';
import { undoRows } from '../../src/remote/postgres/restore/row-undo.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';

const cases = Number(process.env['UNDO_CASES'] ?? 60);
const names = ['app.people', 'app."odd ""Table"', 'app.parts', 'app.audit', 'app.notes'];

let server: PostgresServer;
let client: pg.Client;
before(async () => {
  server = await startPostgresServer();
  client = new pg.Client({ connectionString: server.url() });
  await client.connect();
  await client.query(`
    CREATE SCHEMA app; SET search_path TO app;
    CREATE TYPE pair AS (a int, b text); CREATE DOMAIN small AS int CHECK (VALUE < 100000);
    CREATE TABLE people (id int PRIMARY KEY, boss int REFERENCES people ON DELETE CASCADE ON UPDATE CASCADE, name text, n numeric, j json, p pair, tags text[], twice int GENERATED ALWAYS AS (coalesce(boss, 0) * 2) STORED);
    CREATE TABLE "odd ""Table" ("a Key" bigint GENERATED ALWAYS AS IDENTITY, person int DEFAULT 1 REFERENCES people ON DELETE SET NULL ON UPDATE CASCADE, "x y" small, at timestamptz DEFAULT now(), PRIMARY KEY ("a Key"));
    CREATE TABLE parts (id int, k int, person int REFERENCES people ON DELETE CASCADE ON UPDATE CASCADE, f float8, PRIMARY KEY (id, k)) PARTITION BY HASH (k);
    CREATE TABLE parts_0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE parts_1 (person int, f float8, k int NOT NULL, id int NOT NULL); ALTER TABLE parts ATTACH PARTITION parts_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    CREATE TABLE audit (id serial PRIMARY KEY, what text, depth int);
    CREATE TABLE notes (id int PRIMARY KEY, person int DEFAULT 1 REFERENCES people ON DELETE SET DEFAULT ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED, txt varchar(20));
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO audit (what, depth) VALUES (TG_TABLE_NAME || ' ' || TG_OP, pg_trigger_depth());
      IF TG_TABLE_NAME = 'people' AND pg_trigger_depth() < 3 THEN
        UPDATE parts SET f = coalesce(f, 0) + 1 WHERE person = coalesce(NEW.boss, OLD.id);
        UPDATE people SET name = coalesce(name, '') || '+' WHERE id = OLD.boss;
        DELETE FROM notes WHERE id = OLD.id;
      END IF;
      RETURN NULL; END $$;
    CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.f > 50 THEN UPDATE notes SET txt = left(NEW.id || coalesce(txt, ''), 20) WHERE id = NEW.id; END IF; NEW.f := NEW.f + 0.1; RETURN NEW; END $$;
    CREATE TRIGGER after_people AFTER UPDATE OR DELETE ON people FOR EACH ROW EXECUTE FUNCTION note();
    CREATE TRIGGER after_odd AFTER INSERT OR UPDATE OR DELETE ON "odd ""Table" FOR EACH STATEMENT EXECUTE FUNCTION note();
    CREATE TRIGGER before_parts BEFORE INSERT OR UPDATE ON parts FOR EACH ROW EXECUTE FUNCTION stamp()`);
});
after(async () => {
  await client?.end();
  await server?.stop();
});

const asText = { getTypeParser: () => (value: string) => value };
const query: CatalogQuery = async (sql, parameters = []) => (await client.query<(string | null)[]>({ text: sql, values: [...parameters], rowMode: 'array', types: asText })).rows;

const id = fc.integer({ min: 1, max: 12 });
const text = fc.constantFrom('NULL', "''", "'a'", "'it''s'", "E'\\t\\n'", "'Ω'");
const where = fc.oneof(id.map((n) => `id = ${n}`), id.map((n) => `id > ${n}`), id.map((n) => `id % 3 = ${n % 3}`), fc.constant('true'), fc.constant('random() < 0.4'));
const statement = fc.oneof(
  where.map((w) => `DELETE FROM app.people WHERE ${w}`),
  fc.tuple(text, where).map(([t, w]) => `UPDATE app.people SET name = ${t}, n = n + 1.00 WHERE ${w}`),
  where.map((w) => `UPDATE app.people SET id = id + 100 WHERE ${w}`),
  where.map((w) => `UPDATE app.people SET boss = NULL, j = '{"b":1, "a":2}', p = ROW(1, 'x,y'), tags = tags || 'q"' WHERE ${w}`),
  where.map((w) => `DELETE FROM app.parts WHERE ${w}`),
  where.map((w) => `UPDATE app.parts SET k = k + 1, f = f + 60 WHERE ${w}`),
  where.map((w) => `DELETE FROM app.parts_1 WHERE ${w}`),
  fc.tuple(id, id).map(([a, b]) => `UPDATE app."odd ""Table" SET "x y" = "x y" + ${a} WHERE person <= ${b}`),
  fc.tuple(id, text).map(([a, t]) => `INSERT INTO app.notes VALUES (${a}, (SELECT min(id) FROM app.people), ${t}) ON CONFLICT (id) DO UPDATE SET txt = excluded.txt, person = NULL`),
  fc.tuple(id, text).map(([a, t]) => `MERGE INTO app.notes t USING (SELECT generate_series(1, ${a}) AS id) s ON t.id = s.id WHEN MATCHED AND t.id % 2 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET txt = ${t} WHEN NOT MATCHED THEN INSERT VALUES (s.id, NULL, 'new')`),
  where.map((w) => `WITH gone AS (DELETE FROM app.notes WHERE ${w} RETURNING id) UPDATE app.people SET name = 'had a note' FROM gone WHERE people.id = gone.id`),
  fc.tuple(id, where).map(([a, w]) => `WITH moved AS (UPDATE app.people SET n = ${a} WHERE ${w} RETURNING id) DELETE FROM app.people USING moved WHERE people.boss = moved.id`),
);
const filling = fc.array(fc.tuple(id, fc.option(id), text), { maxLength: 12 }).map((rows) => {
  const known = new Map(rows.map((row) => [row[0], row]));
  return [...known.values()].flatMap(([n, boss, t], index) => [
    `INSERT INTO app.people VALUES (${n}, NULL, ${t}, ${n}.50, '{"a": 1,"a":2}', ROW(${n}, ${t}), ARRAY[${t}])`,
    ...(boss !== null && known.has(boss) && boss !== n ? [`UPDATE app.people SET boss = ${boss} WHERE id = ${n}`] : []),
    `INSERT INTO app."odd ""Table" (person, "x y") VALUES (${n}, ${index})`, `INSERT INTO app.parts VALUES (${n}, ${index}, ${n}, 'NaN'), (${n}, ${index + 20}, ${n}, 49)`,
    `INSERT INTO app.notes VALUES (${n}, ${n}, ${t})`,
  ]);
});

async function state(): Promise<readonly string[]> {
  const rows: string[] = [];
  for (const name of names) for (const [row] of await query(`SELECT '${name.replaceAll("'", "''")} ' || t::text FROM ${name} t`)) rows.push(row ?? '');
  return rows.sort();
}

describe('the images of a statement', () => {
  it('put back every row that it changed, and no other', async () => {
    let changing = 0;
    await fc.assert(fc.asyncProperty(filling, fc.array(statement, { minLength: 1, maxLength: 3 }), async (rows, statements) => {
      await client.query('BEGIN');
      try {
        await client.query('SET LOCAL session_replication_role = replica');
        for (const one of rows) await client.query(one);
        await client.query('SET LOCAL session_replication_role = origin; SAVEPOINT filled');
        const was = await state();
        const tables = await readCapturedTables(query, names);
        assert.deepEqual(tables.flatMap(({ holes }) => holes), []);
        const capture = captureTransitions(tables, 'test');
        for (const one of capture.begin) await client.query(one);
        try {
          for (const one of statements) await client.query(one);
          await client.query('SET CONSTRAINTS ALL IMMEDIATE');
        } catch (error) {
          if (!(error instanceof pg.DatabaseError)) throw error;
          return;
        }
        for (const one of capture.end) await client.query(one);
        const is = await state();
        if (is.join() !== was.join()) changing += 1;
        await client.query('SET LOCAL session_replication_role = replica');
        const undos = tables.map((table, index) => undoRows({ ...table, added: [], keyEquals: table.key.map(() => 'OPERATOR(pg_catalog.=)') }, `undo${index}`, { merges: false, forces: false }));
        for (const [index, undo] of undos.entries()) {
          for (const one of undo.begin) await client.query(one);
          await client.query(`INSERT INTO ${undo.before} ${capture.images[index]?.before ?? ''}`);
          await client.query(`INSERT INTO ${undo.after} ${capture.images[index]?.after ?? ''}`);
          for (const one of undo.decide) await client.query(one);
        }
        for (const { remove } of undos) for (const one of remove) await client.query(one);
        for (const { put } of undos) for (const one of put) await client.query(one);
        for (const { unlike } of undos) assert.deepEqual(await query(unlike), [['0']]);
        assert.deepEqual(await state(), was);
      } finally {
        await client.query('ROLLBACK');
      }
    }), { numRuns: cases });
    assert.ok(changing > cases / 3, `${changing} of ${cases} changed something`);
  });
});
