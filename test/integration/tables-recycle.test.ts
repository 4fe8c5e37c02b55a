/**
 * The recycle bin: a dropped table is set aside, not copied. From outside it is gone with all that fell with it; undone it is
 * the very same files, with every fact of the definition as it was; purged it is gone for good.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, beforeEach, describe, it } from 'node:test';
import { Failure } from '../../src/core/failure.ts';
import type { Manifest } from '../../src/core/recovery/manifest.ts';
import { purgeStatements } from '../../src/remote/postgres/restore/restore-tables.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { openTablesScene, type TablesScene } from '../fixtures/tables-scene.ts';

let server: PostgresServer;
let scene: TablesScene;
before(async () => {
  server = await startPostgresServer({ wal_level: 'logical' });
  scene = await openTablesScene(server.url());
  await server.run('CREATE ROLE alice; CREATE ROLE bob; CREATE ROLE "odd Role"; CREATE ROLE carol LOGIN PASSWORD $$secret$$');
});
after(async () => {
  await scene?.close();
  await server?.stop();
});
beforeEach(async () => {
  await scene.run('DROP SCHEMA IF EXISTS app, bulk CASCADE', 'DROP PUBLICATION IF EXISTS pub');
  const schema = readFileSync(new URL('../fixtures/definition/rich-schema.sql', import.meta.url), 'utf8').replace(/^CREATE ROLE .*$/m, '');
  await server.run(schema);
  await server.run(readFileSync(new URL('../fixtures/definition/rich-rows.sql', import.meta.url), 'utf8'));
  await server.run('CREATE SCHEMA bulk; CREATE TABLE bulk.log (id bigserial PRIMARY KEY, said text); CREATE INDEX ON bulk.log (said); INSERT INTO bulk.log (said) SELECT md5(i::text) FROM generate_series(1, 20000) i; GRANT SELECT ON bulk.log TO PUBLIC; GRANT USAGE ON SCHEMA bulk TO PUBLIC');
});

const isBinned = ({ definition }: Manifest): boolean => purgeStatements(definition).length > 0;
const pathOf = async (table: string): Promise<unknown> => (await scene.session.query(`SELECT pg_relation_filepath($1::regclass)`, [table]))[0]?.[0];

describe('a table in the recycle bin', () => {
  for (const drop of ['DROP TABLE bulk.log', 'DROP TABLE app.parents CASCADE', 'DROP TABLE app.ident, app.quick', 'DROP TABLE app.inbound']) {
    it(`comes back as it was, in the same files: ${drop}`, async () => {
      const was = await scene.state();
      const [table = ''] = /\w+\.\w+/.exec(drop) ?? [];
      const file = await pathOf(table);
      const manifest = await scene.recycle(drop);
      assert.ok(isBinned(manifest));
      assert.deepEqual(manifest.tables, []);
      assert.equal((await scene.session.query('SELECT to_regclass($1)', [table]))[0]?.[0], null);
      assert.deepEqual((await scene.undo(manifest)).conflicts, []);
      assert.equal(await pathOf(table), file);
      assert.deepEqual(await scene.state(), was);
    });
  }

  it('looks from outside as if it was dropped', async () => {
    const inside = (state: ReadonlyMap<string, string>): ReadonlyMap<string, string> => new Map([...state].filter(([what]) => !what.includes('backstop_recycle_bin')));
    const was = await scene.state();
    const copied = await scene.act('DROP TABLE app.parents CASCADE');
    const dropped = await scene.state();
    await scene.undo(copied);
    assert.deepEqual(await scene.state(), was);
    await scene.recycle('DROP TABLE app.parents CASCADE');
    assert.deepEqual(inside(await scene.state()), dropped);
    assert.ok([...(await scene.state()).keys()].some((what) => what.includes('backstop_recycle_bin')));
  });

  it('can be read by nobody who could read it before', async () => {
    await scene.recycle('DROP TABLE bulk.log');
    const [[name] = []] = await scene.session.query(`SELECT format('%I.log', nspname) FROM pg_namespace n WHERE nspname LIKE 'backstop_recycle_bin%' AND EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND relname = 'log')`);
    const url = new URL(server.url());
    [url.username, url.password] = ['carol', 'secret'];
    const carol = await openTablesScene(url.href);
    await assert.rejects(carol.session.query(`SELECT count(*) FROM ${name ?? ''}`), /permission denied for schema/);
    await carol.close();
  });

  it('keeps nobody from changing what it referred to, and says at its undo what it then refers to in vain', async () => {
    await server.run('CREATE TABLE bulk.kind (id int PRIMARY KEY); INSERT INTO bulk.kind VALUES (1); CREATE TABLE bulk.thing (id int PRIMARY KEY, kind int REFERENCES bulk.kind); INSERT INTO bulk.thing VALUES (1, 1)');
    const manifest = await scene.recycle('DROP TABLE bulk.thing');
    await scene.run('DELETE FROM bulk.kind');
    await assert.rejects(scene.undo(manifest), (error) => error instanceof Failure && /thing_kind_fkey.*23503/.test(error.message));
    await scene.run('INSERT INTO bulk.kind VALUES (1)');
    assert.equal((await scene.undo(manifest)).isDone, true);
  });

  it('does not come back over another of its name', async () => {
    const manifest = await scene.recycle('DROP TABLE bulk.log');
    await scene.run('CREATE TABLE bulk.log (id int)');
    assert.equal((await scene.undo(manifest)).isDone, false);
  });

  it('is gone for good once it is purged, and its undo says so', async () => {
    const manifest = await scene.recycle('DROP TABLE bulk.log');
    for (const statement of purgeStatements(manifest.definition)) await scene.run(statement);
    const { isDone, conflicts } = await scene.undo(manifest);
    assert.equal(isDone, false);
    assert.match(conflicts[0]?.what ?? '', /^relation backstop_recycle_bin_\w+\.log$/);
  });

  it('twice under one name: each is another', async () => {
    const first = await scene.recycle('DROP TABLE bulk.log');
    await server.run('CREATE TABLE bulk.log (id int PRIMARY KEY); INSERT INTO bulk.log VALUES (7)');
    const second = await scene.recycle('DROP TABLE bulk.log');
    await scene.undo(second);
    assert.deepEqual(await scene.session.query('SELECT id FROM bulk.log'), [['7']]);
    await scene.run('DROP TABLE bulk.log');
    await scene.undo(first);
    assert.deepEqual(await scene.session.query('SELECT count(*) FROM bulk.log'), [['20000']]);
  });

  it('is dropped only where the client’s own DROP would be', async () => {
    const was = await scene.state();
    await assert.rejects(scene.recycle('DROP TABLE app.parents'), (error) => error instanceof Error && 'code' in error && error.code === '2BP01');
    assert.deepEqual(await scene.state(), was);
  });

  for (const drop of ['DROP TABLE app.part', 'DROP TABLE app.t CASCADE', 'DROP TABLE app.part_b', 'TRUNCATE app.quick']) {
    it(`is none where it cannot be set aside: ${drop} is copied`, async () => {
      const was = await scene.state();
      const manifest = await scene.recycle(drop);
      assert.ok(!isBinned(manifest) && manifest.tables.length > 0);
      await scene.undo(manifest);
      assert.deepEqual(await scene.state(), was);
    });
  }
});
