/**
 * The corpus against a real server: with the live catalog every hazard is at least as bad as written down, ordinary
 * reads are SAFE and run, and nothing that is judged SAFE, in the whole corpus, changes anything at all.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import pg from 'pg';
import { assess } from '../../src/core/sql/assess.ts';
import type { Assessment } from '../../src/core/sql/assess.ts';
import type { Catalog } from '../../src/core/sql/catalog.ts';
import { loadParser } from '../../src/lib/pgsql/parser.ts';
import type { Parser } from '../../src/lib/pgsql/parser.ts';
import { loadCatalog } from '../../src/remote/postgres/catalog.ts';
import { claimOf, freshSession, isWithin, offlineFiles, readCorpus, readCorpusSql } from '../fixtures/corpus.ts';
import { startPostgresServer } from '../fixtures/postgres-server.ts';
import type { PostgresServer } from '../fixtures/postgres-server.ts';
import { changes, fullState, quickState } from '../fixtures/state-digest.ts';

interface Database { readonly client: pg.Client; readonly catalog: Catalog }

let server: PostgresServer;
let parser: Parser;
/** Objects that act when they are touched, and the tables that the offline corpus speaks of; casts that act unasked. */
let hazards: Database;
let casts: Database;
let shop: Database;

const scratchTables = `
  CREATE TABLE t (id int PRIMARY KEY, a int, b text); CREATE TABLE u (id int, a int, b text); CREATE TABLE s (id int, a int);
  INSERT INTO t VALUES (1, 1, 'x'), (2, 2, 'y'); INSERT INTO u SELECT * FROM t; INSERT INTO s VALUES (1, 1)`;

before(async () => {
  server = await startPostgresServer({ autovacuum: 'off', max_prepared_transactions: '2', wal_level: 'logical' });
  parser = await loadParser(18);
  for (const name of ['hazards', 'casts', 'shop']) await server.run(`CREATE DATABASE ${name}`);
  await server.run(`${readCorpusSql('live-objects')};${scratchTables}`, 'hazards');
  await server.run(readCorpusSql('live-casts'), 'casts');
  await server.run(readCorpusSql('ordinary-tables'), 'shop');
  hazards = await open('hazards');
  casts = await open('casts');
  shop = await open('shop');
});
after(async () => {
  for (const database of [hazards, casts, shop]) await database?.client.end();
  await server?.stop();
});

async function open(name: string): Promise<Database> {
  const client = new pg.Client({ connectionString: server.url(name) });
  await client.connect();
  const catalog = await loadCatalog(async (text, values) => {
    const { rows } = await client.query<(string | null)[]>({ text, values: [...(values ?? [])], rowMode: 'array', types: { getTypeParser: () => String } });
    return rows;
  });
  // Loaded by its first use, it would add its settings to those of the session.
  await client.query("LOAD 'plpgsql'");
  await client.query("SET statement_timeout = '10s'");
  return { client, catalog };
}

const judge = (sql: string, { catalog }: Database): Assessment => assess(sql, freshSession, catalog, parser);

/** Runs it with NULL for each parameter; what the server refuses has changed nothing either, and that is checked too. */
async function run(sql: string, { client }: Database): Promise<string | undefined> {
  const parameters = [...sql.matchAll(/\$(\d+)/g)].map(([, number]) => Number(number));
  const values = Array.from({ length: Math.max(0, ...parameters) }, () => null);
  try {
    await (values.length === 0 ? client.query(sql) : client.query(sql, values));
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await client.query('ROLLBACK');
  }
}

async function assertChangesNothing(sqls: readonly string[], database: Database): Promise<void> {
  const wrong: string[] = [];
  const whole = await fullState(database.client);
  for (const sql of sqls) {
    const quick = await quickState(database.client);
    await run(sql, database);
    const changed = changes(quick, await quickState(database.client));
    if (changed.length > 0) wrong.push(`${sql.slice(0, 200)}: ${changed.join(', ')}`);
  }
  assert.deepEqual(wrong, []);
  assert.deepEqual(changes(whole, await fullState(database.client)), [], 'seen only in the whole state');
}

function judgeAll(name: string, database: () => Database): void {
  describe(`${name}, with the live catalog`, () => {
    for (const row of readCorpus(name)) {
      test(claimOf(row), () => {
        const { risk } = judge(row.sql, database());
        assert.ok(isWithin(risk.level, row), `${risk.level}: ${risk.reasons.map(({ rule, message }) => `${rule} ${message}`).join('; ')}`);
      });
    }
  });
}
judgeAll('live-hazards', () => hazards);
judgeAll('live-cast-hazards', () => casts);

describe('what ordinary programs send', () => {
  for (const row of readCorpus('ordinary-reads')) {
    test(claimOf(row), async () => {
      const { risk } = judge(row.sql, shop);
      assert.equal(risk.level, 'SAFE', risk.reasons.map(({ rule, message }) => `${rule} ${message}`).join('; '));
      assert.equal(await run(row.sql, shop), undefined, 'the server takes it');
    });
  }
});

test('ordinary reads change nothing', () => assertChangesNothing(readCorpus('ordinary-reads').map(({ sql }) => sql), shop));

test('nothing in the corpus that is judged SAFE changes anything', async () => {
  const texts = new Set(['live-hazards', ...offlineFiles].flatMap(readCorpus).map(({ sql }) => sql));
  const safe = [...texts].filter((sql) => judge(sql, hazards).risk.level === 'SAFE');
  assert.ok(safe.length > 300, `${safe.length} of ${texts.size} are SAFE`);
  await assertChangesNothing(safe, hazards);
});

/** Each is undone by its second text; the check itself must see it. */
const acts: readonly (readonly [sql: string, undo: string, part: string])[] = [
  ["INSERT INTO one VALUES (9, 9, 'z')", 'DELETE FROM one WHERE id = 9', 'table public.one'], ['CREATE TABLE made (a int)', 'DROP TABLE made', 'catalog pg_class'],
  ["SELECT nextval('seq')", "SELECT setval('seq', 1, false)", 'sequences'], ['SELECT lo_create(4711)', 'SELECT lo_unlink(4711)', 'catalog pg_largeobject_metadata'],
  ['SELECT pg_advisory_lock(1)', 'SELECT pg_advisory_unlock_all()', 'locks'], ["SET work_mem = '5MB'", 'RESET work_mem', 'settings'], ['LISTEN ch', 'UNLISTEN *', 'channels'],
  ["COMMENT ON TABLE one IS 'x'", 'COMMENT ON TABLE one IS NULL', 'catalog pg_description'], ['PREPARE q AS SELECT 1', 'DEALLOCATE q', 'prepared statements'],
  ['SELECT txid_current()', 'SELECT 1', 'transaction ids'], ['SELECT wr()', 'DELETE FROM victim', 'table public.victim'], ["SELECT pg_create_physical_replication_slot('ps')", "SELECT pg_drop_replication_slot('ps')", 'replication slots'],
  ['SELECT pg_stat_reset()', 'SELECT 1', 'statistics reset'], ["ALTER SYSTEM SET work_mem = '5MB'", 'ALTER SYSTEM RESET ALL', 'configuration files'], ["COPY (SELECT 1) TO PROGRAM 'cat > made'", "COPY (SELECT 1) TO PROGRAM 'rm made'", 'files'],
];
test('the check sees what other statements do', async (t) => {
  let before = await fullState(hazards.client);
  for (const [sql, undo, part] of acts) {
    await t.test(sql, async () => {
      const quick = await quickState(hazards.client);
      await hazards.client.query(sql);
      const changed = [...changes(quick, await quickState(hazards.client)), ...changes(before, await fullState(hazards.client))];
      await hazards.client.query(undo);
      before = await fullState(hazards.client);
      assert.ok(changed.includes(part), changed.join(', '));
      assert.notEqual(judge(sql, hazards).risk.level, 'SAFE');
    });
  }
});
