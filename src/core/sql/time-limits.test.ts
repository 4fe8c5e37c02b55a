/** A limit of time can be lowered and put back, and lifted in no spelling. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { freshSession } from '../../../test/fixtures/corpus.ts';
import { loadParser } from '../../lib/pgsql/parser.ts';
import { loadBuiltinCatalog } from '../../remote/postgres/builtin-catalog.ts';
import { assess } from './assess.ts';
import { createCatalog } from './catalog.ts';
import { readMilliseconds, timeLimitsFrom } from './time-limits.ts';

const own = await loadBuiltinCatalog(18);
const catalog = createCatalog({
  ...own.facts, mode: 'live',
  functions: [...own.facts.functions, {
    schema: 'public', name: 'patient', args: [], defaults: 0, returns: 'pg_catalog.void', kind: 'function', volatility: 'volatile', language: 'plpgsql',
    source: "CREATE FUNCTION public.patient() RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM set_config(''lock_timeout'', ''0'', false); END'",
  }],
});
const parser = await loadParser(18);
const limited = { ...freshSession, timeLimits: timeLimitsFrom({ statement: 30, lock: 5, idle_in_transaction: 60 }, 18) };

const rows: readonly (readonly [sql: string, lifts: boolean])[] = [
  ['SET statement_timeout = 30000', false], ["SET statement_timeout = '30s'", false], ['SET statement_timeout = 1', false], ["SET statement_timeout TO '0.5min'", false],
  ['SET statement_timeout TO DEFAULT', false], ['RESET statement_timeout', false], ['RESET ALL', false], ['DISCARD ALL', false],
  ['SET lock_timeout = 100', false], ['SET work_mem = 0', false], ['SET transaction_timeout = 0', false],
  ['SET statement_timeout = 0', true], ["SET statement_timeout = '0'", true], ['SET statement_timeout = 30001', true], ["SET statement_timeout = '31s'", true],
  ["SET statement_timeout = '1h'", true], ["SET statement_timeout = '0.4'", true], ["SET statement_timeout = '100us'", true], ['SET statement_timeout = -1', true],
  ["SET statement_timeout = '0x1'", true], ["SET statement_timeout = '1e9'", true], ["SET statement_timeout = '010'", true], ["SET statement_timeout = ''", true],
  ['SET STATEMENT_TIMEOUT = 0', true], ['SET "statement_timeout" = 0', true], ['SET SESSION statement_timeout = 0', true], ['SET LOCAL statement_timeout = 0', true],
  ['SET lock_timeout = 0', true], ['SET idle_in_transaction_session_timeout = 0', true], ['SELECT 1; SET LOCAL lock_timeout = 0; SELECT 2', true],
  ["SELECT set_config('statement_timeout', '0', false)", true], ["SELECT set_config('Statement_Timeout', '0', true)", true], ["SELECT set_config('statement_timeout', '10s', false)", false],
  ["SELECT set_config('statement_timeout', 1::text || '0s', false)", true], ["SELECT set_config('statement_timeout', NULL, false)", true],
  ["SELECT pg_catalog.set_config('lock_timeout', x, false) FROM (VALUES ('1')) v(x)", true], ['SELECT public.patient()', true],
];

describe('a limit of time', () => {
  for (const [sql, lifts] of rows) {
    test(`is ${lifts ? '' : 'not '}lifted by ${sql}`, () => {
      const { effects, level } = assess(sql, limited, catalog, parser).risk;
      assert.equal(effects.some(({ objectKind }) => objectKind === 'time limit'), lifts);
      if (lifts) assert.equal(level, 'HIGH');
    });
  }

  test('that nobody has set cannot be lifted', () => {
    assert.ok(!assess('SET statement_timeout = 0', freshSession, catalog, parser).risk.effects.some(({ objectKind }) => objectKind === 'time limit'));
  });

  test('of a transaction is for servers that have it', () => {
    assert.deepEqual([...timeLimitsFrom({ transaction: 9 }, 17)], [['transaction_timeout', 9000]]);
    assert.deepEqual([...timeLimitsFrom({ transaction: 9 }, 16)], []);
  });

  test('is read as PostgreSQL reads it, or not at all', () => {
    const cases: readonly (readonly [string, number | undefined])[] = [['0', 0], ['250', 250], [' 2 s ', 2000], ['1.5min', 90_000], ['1h', 3_600_000], ['1d', 86_400_000], ['2 weeks', undefined], ['08', undefined], ['', undefined]];
    for (const [text, ms] of cases) assert.equal(readMilliseconds(text), ms, text);
    assert.equal(readMilliseconds(`1${' '.repeat(1_000_000)}x`), undefined, 'in one pass');
  });
});
