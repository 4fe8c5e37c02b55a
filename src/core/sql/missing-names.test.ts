/** What the live catalog knows to be missing, and where it stays silent because it could be wrong. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { loadParser, type Parser } from '../../lib/pgsql/parser.ts';
import { loadBuiltinCatalog } from '../../remote/postgres/builtin-catalog.ts';
import { assess } from './assess.ts';
import { createCatalog, type Catalog } from './catalog.ts';
import { beginSession } from './next-session.ts';
import type { SessionFacts } from './statement.ts';

let parser: Parser;
let live: Catalog;
let offline: Catalog;
before(async () => {
  parser = await loadParser(18);
  offline = await loadBuiltinCatalog(18);
  live = createCatalog({ ...offline.facts, mode: 'live', relations: [...offline.facts.relations, { schema: 'public', name: 'orders', kind: 'table', columns: [] }] });
});

const session = beginSession(['public'], 'app');

function missing(sql: string, now: Partial<SessionFacts> = {}, catalog = live): string | undefined {
  return assess(sql, { ...session, ...now }, catalog, parser).risk.reasons.find(({ rule }) => rule.endsWith('.missing'))?.message;
}

test('a mistyped relation or function is named', () => {
  assert.equal(missing('SELECT * FROM ordrs'), 'relation "ordrs" does not exist');
  assert.equal(missing('DELETE FROM sales.orders WHERE id = 1'), 'relation "sales.orders" does not exist');
  assert.equal(missing('SELECT lowr(\'x\')'), 'function "lowr" does not exist');
});

test('what is there, what WITH names and what the session made is not missing', () => {
  for (const sql of ['SELECT * FROM orders', 'WITH x AS (SELECT 1) SELECT * FROM x', 'SELECT * FROM pg_class', 'SELECT int4(1), lower(\'x\')', 'CREATE TABLE fresh (id int)', 'DROP TABLE IF EXISTS gone']) {
    assert.equal(missing(sql), undefined, sql);
  }
  assert.equal(missing('SELECT * FROM mine', { temporary: new Set(['mine']) }), undefined);
  assert.equal(missing('CREATE TABLE fresh (id int); INSERT INTO fresh VALUES (1)'), undefined);
  assert.equal(missing('CREATE TEMP TABLE fresh (id int); SELECT * FROM fresh'), undefined);
  assert.equal(missing('SELECT 1 AS a INTO fresh; SELECT * FROM fresh'), undefined);
});

test('where the catalog cannot speak for certain it says nothing', () => {
  assert.equal(missing('SELECT * FROM ordrs', { searchPath: null }), undefined);
  assert.equal(missing('SELECT * FROM ordrs', { catalogChanged: true }), undefined);
  assert.equal(missing('SELECT * FROM ordrs', {}, offline), undefined);
  assert.equal(missing('DO $$ BEGIN CREATE TABLE a (i int); INSERT INTO a VALUES (1); END $$'), undefined);
});
