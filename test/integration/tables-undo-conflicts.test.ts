/**
 * What others have done since a table was taken stays: rows of theirs, edits, views and indexes. Where both cannot be had the
 * undo says so and does nothing, or does what was asked for.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
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
beforeEach(async () => {
  await scene.run('CREATE SCHEMA shop', 'SET search_path TO shop',
    `CREATE TABLE shop.person (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL DEFAULT 'nobody', age numeric(6, 2), city text)`,
    `INSERT INTO shop.person (name, age, city) SELECT 'p' || i, i + 0.25, 'c' || i FROM generate_series(1, 5) i`,
    'CREATE TABLE shop.note (id int PRIMARY KEY, person int REFERENCES shop.person ON DELETE CASCADE, said text)', `INSERT INTO shop.note SELECT i, i, 'n' || i FROM generate_series(1, 5) i`);
});
afterEach(async () => { await scene.run('DROP SCHEMA shop CASCADE', 'RESET search_path'); });

async function rows(sql: string): Promise<readonly string[]> {
  return (await scene.session.query(sql)).map((row) => row.map((value) => value ?? '∅').join(' '));
}

describe('rows that others have put into a table that was emptied', () => {
  const everybody = 'SELECT id, name FROM shop.person ORDER BY id';

  it('stay beside those that come back, and the sequence goes on behind all of them', async () => {
    const manifest = await scene.act('TRUNCATE person CASCADE');
    await scene.run(`INSERT INTO person (name) VALUES ('new')`);
    const { tables } = await scene.undo(manifest);
    assert.deepEqual(tables.map(({ name, rows: back, since }) => [name, back, since]), [['shop.note', 5, 0], ['shop.person', 5, 1]]);
    assert.deepEqual(await rows(everybody), ['1 p1', '2 p2', '3 p3', '4 p4', '5 p5', '6 new']);
  });

  const taken = async (onConflict: 'stop' | 'skip' | 'force') => {
    const manifest = await scene.act('TRUNCATE person RESTART IDENTITY CASCADE');
    await scene.run(`INSERT INTO person (name) VALUES ('new 1'), ('new 2')`, `INSERT INTO note VALUES (9, 1, 'of new 1')`);
    return scene.undo(manifest, onConflict);
  };

  it('stop an undo that would need their keys, which then has done nothing', async () => {
    const { isDone, conflicts } = await taken('stop');
    assert.deepEqual([isDone, conflicts], [false, [{ what: 'relation shop.person', why: 'rows of the same key were put there since', rows: 2 }]]);
    assert.deepEqual(await rows(everybody), ['1 new 1', '2 new 2']);
  });

  it('keep their keys when conflicts are skipped', async () => {
    assert.equal((await taken('skip')).isDone, true);
    assert.deepEqual(await rows(everybody), ['1 new 1', '2 new 2', '3 p3', '4 p4', '5 p5']);
    assert.deepEqual(await rows(`INSERT INTO person (name) VALUES ('next') RETURNING id`), ['6']);
  });

  it('give way when the undo is forced, and nothing that refers to their keys falls', async () => {
    assert.equal((await taken('force')).isDone, true);
    assert.deepEqual(await rows(everybody), ['1 p1', '2 p2', '3 p3', '4 p4', '5 p5']);
    assert.deepEqual(await rows('SELECT count(*) FROM note'), ['6']);
  });

  it('and are gone again leave nothing in the way', async () => {
    const was = await scene.state();
    const manifest = await scene.act('TRUNCATE note');
    await scene.run(`INSERT INTO note SELECT i, NULL, repeat('x', i) FROM generate_series(1, 500) i`, 'DELETE FROM note', 'VACUUM (TRUNCATE false) note');
    assert.deepEqual((await scene.undo(manifest)).tables, [{ name: 'shop.note', rows: 5, since: 0 }]);
    assert.deepEqual(await scene.state(), was);
  });

  it('stay beside the others in a table without a key too', async () => {
    await scene.run('CREATE TABLE shop.loose (a int, b text)', `INSERT INTO loose VALUES (1, 'x'), (1, 'x'), (NULL, NULL)`);
    const manifest = await scene.act('TRUNCATE loose');
    await scene.run(`INSERT INTO loose VALUES (2, 'y')`);
    assert.deepEqual((await scene.undo(manifest)).tables, [{ name: 'shop.loose', rows: 3, since: 1 }]);
    assert.deepEqual(await rows('SELECT a, b FROM loose ORDER BY 1, 2'), ['1 x', '1 x', '2 y', '∅ ∅']);
  });

  it('that hold another unique value stop the undo by a failure that quotes no row', async () => {
    await scene.run('ALTER TABLE person ADD UNIQUE (name)');
    const manifest = await scene.act('TRUNCATE person CASCADE');
    await scene.run(`INSERT INTO person (name) VALUES ('p3')`);
    await assert.rejects(scene.undo(manifest), (error) => error instanceof Failure && error.code === 'conflict' && /23505/.test(error.message) && !/p3/.test(error.message));
    assert.deepEqual(await rows(everybody), ['6 p3']);
  });

  it('fire no trigger again, and the triggers are as they were', async () => {
    await scene.run(`CREATE FUNCTION shop.shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := upper(NEW.name); RETURN NEW; END $$`,
      'CREATE TRIGGER shout BEFORE INSERT ON person FOR EACH ROW EXECUTE FUNCTION shop.shout()', 'ALTER TABLE person ENABLE ALWAYS TRIGGER shout', `CREATE RULE twice AS ON INSERT TO note DO ALSO DELETE FROM person WHERE id = NEW.id`);
    const was = await scene.state();
    const manifest = await scene.act('TRUNCATE person CASCADE');
    await scene.undo(manifest);
    assert.deepEqual(await scene.state(), was);
  });

  it('come back into tables that refer to each other', async () => {
    await scene.run('CREATE TABLE shop.a (id int PRIMARY KEY, b int)', 'CREATE TABLE shop.b (id int PRIMARY KEY, a int NOT NULL REFERENCES shop.a)', 'INSERT INTO a VALUES (1, NULL), (2, NULL)', 'INSERT INTO b VALUES (1, 2), (2, 1)',
      'UPDATE a SET b = id', 'ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES shop.b');
    const was = await scene.state();
    await scene.undo(await scene.act('TRUNCATE a, b'));
    assert.deepEqual(await scene.state(), was);
  });
});

describe('a table that was altered', () => {
  it('gets its column back in its place, and rows that were inserted, edited or deleted since stay so', async () => {
    const manifest = await scene.act('ALTER TABLE person DROP COLUMN name');
    await scene.run(`INSERT INTO person (age, city) VALUES (99, 'new')`, `UPDATE person SET city = 'moved' WHERE id = 2`, 'DELETE FROM person WHERE id = 3');
    const { tables } = await scene.undo(manifest);
    assert.deepEqual(tables, [{ name: 'shop.person', rows: 4, since: 1 }]);
    assert.deepEqual(await rows('SELECT * FROM person ORDER BY id'), ['1 p1 1.25 c1', '2 p2 2.25 moved', '4 p4 4.25 c4', '5 p5 5.25 c5', '6 nobody 99.00 new']);
    assert.deepEqual(await rows('SELECT count(*) FROM note'), ['4']);
  });

  it('keeps views, indexes and triggers that were made on it since', async () => {
    const manifest = await scene.act('ALTER TABLE person DROP COLUMN name');
    await scene.run('CREATE VIEW shop.cities AS SELECT id, city FROM person', 'CREATE INDEX by_city ON person (city)', 'COMMENT ON TABLE person IS $$people$$', 'GRANT SELECT ON shop.cities TO PUBLIC');
    await scene.undo(manifest);
    assert.deepEqual(await rows('SELECT count(*) FROM shop.cities'), ['5']);
    assert.deepEqual(await rows(`SELECT indexname FROM pg_indexes WHERE schemaname = 'shop' AND tablename = 'person' ORDER BY 1`), ['by_city', 'person_pkey']);
    assert.deepEqual(await rows(`SELECT obj_description('shop.person'::regclass)`), ['people']);
  });

  it('cannot take back a column that must have a value while rows without one have come', async () => {
    await scene.run('ALTER TABLE person ALTER COLUMN name DROP DEFAULT');
    const manifest = await scene.act('ALTER TABLE person DROP COLUMN name');
    await scene.run(`INSERT INTO person (city) VALUES ('new')`);
    await assert.rejects(scene.undo(manifest), (error) => error instanceof Failure && /23502/.test(error.message));
    assert.deepEqual(await rows('SELECT count(*) FROM person'), ['6']);
  });

  it('gets the values of before a change of type, to the last digit', async () => {
    const was = await scene.state();
    await scene.undo(await scene.act('ALTER TABLE person ALTER COLUMN age TYPE int'));
    assert.deepEqual(await scene.state(), was);
  });

  const retyped = async (onConflict: 'stop' | 'skip' | 'force') => {
    const manifest = await scene.act('ALTER TABLE person ALTER COLUMN age TYPE int');
    await scene.run('UPDATE person SET age = 70 WHERE id = 2', `INSERT INTO person (age) VALUES (8)`);
    const { isDone, conflicts } = await scene.undo(manifest, onConflict);
    return { isDone, conflicts: conflicts.map(({ rows: count }) => count), ages: await rows('SELECT age FROM person ORDER BY id') };
  };

  it('stops where a value of that column was edited since', async () => {
    assert.deepEqual(await retyped('stop'), { isDone: false, conflicts: [1], ages: ['1', '70', '3', '4', '5', '8'] });
  });
  it('keeps the edit in the old type when conflicts are skipped', async () => {
    assert.deepEqual(await retyped('skip'), { isDone: true, conflicts: [1], ages: ['1.25', '70.00', '3.25', '4.25', '5.25', '8.00'] });
  });
  it('overwrites the edit when it is forced', async () => {
    assert.deepEqual(await retyped('force'), { isDone: true, conflicts: [1], ages: ['1.25', '2.25', '3.25', '4.25', '5.25', '8.00'] });
  });

  it('tells an edit from what its USING made of a value', async () => {
    const manifest = await scene.act(`ALTER TABLE person ALTER COLUMN city TYPE text[] USING ARRAY[left(city, 1)]`);
    await scene.run(`UPDATE person SET city = '{elsewhere}' WHERE id = 4`);
    const { conflicts } = await scene.undo(manifest);
    assert.deepEqual(conflicts.map(({ rows: count }) => count), [1]);
    await scene.run(`UPDATE person SET city = '{c}' WHERE id = 4`);
    assert.equal((await scene.undo(manifest)).isDone, true);
    assert.deepEqual(await rows('SELECT city FROM person ORDER BY id'), ['c1', 'c2', 'c3', 'c4', 'c5']);
  });

  it('without a key does not guess which row an edited one was', async () => {
    await scene.run('CREATE TABLE shop.loose (a int, b text, c int)', `INSERT INTO loose VALUES (1, 'x', 10), (2, 'y', 20)`);
    const manifest = await scene.act('ALTER TABLE loose DROP COLUMN b');
    await scene.run('UPDATE loose SET c = 21 WHERE a = 2');
    const { isDone, conflicts } = await scene.undo(manifest);
    assert.deepEqual([isDone, conflicts.map(({ rows: count }) => count)], [false, [1]]);
    await scene.undo(manifest, 'skip');
    assert.deepEqual(await rows('SELECT a, b, c FROM loose ORDER BY a'), ['1 x 10', '2 ∅ 21']);
  });

  it('does not take along a child or a partition that was made of it since', async () => {
    await scene.run('CREATE TABLE shop.logs (day int, said text) PARTITION BY LIST (day)', 'CREATE TABLE shop.logs_1 PARTITION OF logs FOR VALUES IN (1)', `INSERT INTO logs VALUES (1, 'one')`);
    const [child, partition] = [await scene.act('ALTER TABLE person DROP COLUMN city'), await scene.act('ALTER TABLE logs DROP COLUMN said')];
    await scene.run('CREATE TABLE shop.kid () INHERITS (shop.person)', `INSERT INTO kid VALUES (70, 'kid', 7)`, 'CREATE TABLE shop.logs_2 PARTITION OF logs FOR VALUES IN (2)', 'INSERT INTO logs VALUES (2)');
    for (const [manifest, name] of [[child, 'shop.kid'], [partition, 'shop.logs_2']] as const) {
      const { isDone, conflicts } = await scene.undo(manifest, 'force');
      assert.deepEqual([isDone, conflicts], [false, [{ what: `relation ${name}`, why: 'it was made since, and would fall with what is made anew' }]]);
    }
    assert.deepEqual(await rows('SELECT count(*) FROM kid UNION ALL SELECT count(*) FROM logs'), ['1', '2']);
  });

  it('comes back with its children, of which one keeps a column of its own', async () => {
    await scene.run('CREATE TABLE shop.kid (city text, toy text) INHERITS (shop.person)', `INSERT INTO kid (id, name, city, toy) VALUES (70, 'kid', 'home', 'ball')`);
    const was = await scene.state();
    await scene.undo(await scene.act('ALTER TABLE person DROP COLUMN city'));
    assert.deepEqual(await scene.state(), was);
  });

  it('whose key is composite, and whose functions find their names by the search path of the session', async () => {
    await scene.run('CREATE TYPE shop.code AS (a int, b text)', 'CREATE FUNCTION shop.base(int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT $1 * 10 $$',
      'CREATE FUNCTION shop.grade(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN base($1) + 1; END $$',
      'CREATE TABLE shop.coded (id shop.code PRIMARY KEY, n int CHECK (shop.grade(n) > 0), g int GENERATED ALWAYS AS (shop.grade(n)) STORED, gone text)', `INSERT INTO coded (id, n, gone) VALUES ((1, 'x'), 1, 'a'), ((2, NULL), 2, 'b')`);
    const was = await scene.state();
    for (const statement of ['ALTER TABLE coded DROP COLUMN gone', 'TRUNCATE coded', 'DROP TABLE coded', `ALTER TABLE coded ALTER COLUMN gone TYPE int USING 5`]) {
      await scene.undo(await scene.act(statement));
      assert.deepEqual(await scene.state(), was, statement);
    }
  });

  it('and altered once more is a conflict', async () => {
    const manifest = await scene.act('ALTER TABLE person DROP COLUMN name');
    await scene.run('ALTER TABLE person ADD COLUMN nick text');
    assert.deepEqual(await scene.undo(manifest), { isDone: false, conflicts: [{ what: 'relation shop.person', why: 'it was altered since' }], tables: [], made: [] });
  });

  it('without a key gets its values back by what the statement left alone', async () => {
    await scene.run('CREATE TABLE shop.loose (a int, b text, c int)', `INSERT INTO loose VALUES (1, 'x', 10), (1, 'y', 10), (2, 'z', NULL)`);
    const was = await scene.state();
    await scene.undo(await scene.act('ALTER TABLE loose DROP COLUMN b'));
    assert.deepEqual(await scene.state(), was);
  });
});

describe('what was dropped', () => {
  it('does not come back over something of its name, and nothing else of it comes either', async () => {
    const manifest = await scene.act('DROP TABLE person CASCADE');
    await scene.run('CREATE TABLE shop.person (id int)');
    const { isDone, conflicts } = await scene.undo(manifest, 'force');
    assert.equal(isDone, false);
    assert.ok(conflicts.some(({ what, why }) => what === 'relation shop.person' && why === 'something of that name was made since'));
    assert.deepEqual(await rows('SELECT count(*) FROM person'), ['0']);
  });

  it('says so where what it belonged to is gone too', async () => {
    const manifest = await scene.act('DROP TABLE person CASCADE');
    await scene.run('DROP TABLE note');
    const { isDone, conflicts } = await scene.undo(manifest);
    assert.equal(isDone, false);
    assert.deepEqual(conflicts, [{ what: 'constraint note_person_fkey on shop.note', why: 'what it belongs to is there no more' }]);
  });

  it('cannot come back while rows refer to what never was', async () => {
    const manifest = await scene.act('DROP TABLE person CASCADE');
    await scene.run(`INSERT INTO note VALUES (6, 77, 'of nobody')`);
    await assert.rejects(scene.undo(manifest), (error) => error instanceof Failure && error.code === 'conflict' && /note_person_fkey.*23503/.test(error.message));
    assert.deepEqual(await rows(`SELECT to_regclass('shop.person')`), ['∅']);
  });
});
