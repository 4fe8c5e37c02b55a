/** Whoever could see that a transaction is read-only is known, however it asks; a read that could not is not. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { freshSession } from '../../../test/fixtures/corpus.ts';
import { loadParser } from '../../lib/pgsql/parser.ts';
import { loadBuiltinCatalog } from '../../remote/postgres/builtin-catalog.ts';
import { assess } from './assess.ts';
import { createCatalog } from './catalog.ts';
import type { RelationFact } from './catalog-facts.ts';

const own = await loadBuiltinCatalog(18);
const view = (name: string, definition: string): RelationFact => ({ schema: 'public', name, kind: 'view', columns: [], definition });
const catalog = createCatalog({
  ...own.facts, mode: 'live', schemas: [...own.facts.schemas, 'public'],
  relations: [
    ...own.facts.relations, view('looks', 'SELECT setting FROM pg_settings'), view('tenant', "SELECT current_setting('app.tenant'::text)"),
    { schema: 'public', name: 't', kind: 'table', columns: [{ name: 'x', type: 'pg_catalog.text' }] },
  ],
  functions: [...own.facts.functions, {
    schema: 'public', name: 'asks', args: [], defaults: 0, returns: 'pg_catalog.text', kind: 'function', volatility: 'stable', language: 'sql',
    source: "SELECT current_setting('transaction_read_only')",
  }],
});
const parser = await loadParser(18);

const rows: readonly (readonly [sql: string, observes: boolean, why: string])[] = [
  ["SELECT current_setting('transaction_read_only')", true, 'it says so'],
  ["SELECT current_setting('Transaction_Read_Only', true)", true, 'in any case'],
  ["SELECT current_setting('default_transaction_read_only')", true, 'and so does the default'],
  ["SELECT current_setting('app.tenant', true)", false, 'another setting tells nothing'],
  ["SELECT current_setting('transaction_read_' || 'only')", true, 'a computed name could be that one'],
  ['SELECT current_setting(x) FROM t', true, 'so could a column'],
  ["SELECT ('transaction_read_only'::text).current_setting", true, 'attribute notation is a call'],
  ["SELECT current_setting(setting_name => 'work_mem')", true, 'named arguments are not followed'],
  ['SELECT * FROM pg_settings', true, 'every setting'],
  ["SELECT 1 FROM pg_catalog.pg_settings WHERE name = 'work_mem'", true, 'a filter is not read'],
  ['SELECT * FROM pg_show_all_settings()', true, 'every setting'],
  ['SELECT * FROM looks', true, 'a view over it'],
  ['SELECT * FROM tenant', false, 'a view over another setting'],
  ['SELECT asks()', true, 'a function that looks'],
  ['SHOW transaction_read_only', true, 'it says so'],
  ['SHOW ALL', true, 'every setting'],
  ['SHOW search_path', false, 'another setting tells nothing'],
  ['SELECT now() FROM t', false, 'nothing of the kind'],
];

describe('a read of whether the transaction is read-only', () => {
  for (const [sql, observes, why] of rows) {
    test(`is ${observes ? '' : 'not '}seen in ${sql}: ${why}`, () => {
      const { effects, level } = assess(sql, freshSession, catalog, parser).risk;
      assert.equal(level, 'SAFE', 'looking does no harm');
      assert.equal(effects.some(({ kind, objectKind }) => kind === 'read' && objectKind === 'setting'), observes);
    });
  }
});
