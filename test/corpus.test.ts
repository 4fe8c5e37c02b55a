/**
 * The corpus judged without a database: every known way past a classifier is at least as bad as written down, in each
 * grammar, and what ordinary programs read is SAFE.
 */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { assess } from '../src/core/sql/assess.ts';
import type { Catalog } from '../src/core/sql/catalog.ts';
import { loadParser, parserMajors } from '../src/lib/pgsql/parser.ts';
import type { Parser } from '../src/lib/pgsql/parser.ts';
import { loadBuiltinCatalog } from '../src/remote/postgres/builtin-catalog.ts';
import { claimOf, freshSession, isWithin, offlineFiles, readCorpus } from './fixtures/corpus.ts';
import type { CorpusRow } from './fixtures/corpus.ts';

const newest = 18;
const engines = new Map<number, { readonly parser: Parser; readonly catalog: Catalog }>();
before(async () => { for (const major of parserMajors) engines.set(major, { parser: await loadParser(major), catalog: await loadBuiltinCatalog(major) }); });

function risk(sql: string, major: number): ReturnType<typeof assess> {
  const engine = engines.get(major);
  assert.ok(engine, `no engine for PostgreSQL ${major}`);
  return assess(sql, freshSession, engine.catalog, engine.parser);
}

/** A lower bound holds in every grammar: what another one cannot read is CRITICAL. Other bounds hold where the row was written for. */
function majorsOf(row: CorpusRow): readonly number[] {
  if (row.major !== undefined) return [row.major];
  return row.atLeast === undefined ? [newest] : parserMajors;
}

function violations(row: CorpusRow): readonly string[] {
  return majorsOf(row).flatMap((major) => {
    const found = risk(row.sql, major);
    const wrong = isWithin(found.risk.level, row) ? [] : [`PostgreSQL ${major} says ${found.risk.level} (${found.risk.reasons.map(({ rule }) => rule).join(', ')})`];
    // Every level above SAFE is carried by a reason of that level.
    return found.risk.level === 'SAFE' || found.risk.reasons.some(({ level }) => level === found.risk.level) ? wrong : [...wrong, `PostgreSQL ${major} gives no reason`];
  });
}

for (const name of offlineFiles) {
  describe(name, () => {
    for (const row of readCorpus(name)) {
      if (row.live !== true) test(claimOf(row), () => { assert.deepEqual(violations(row), []); });
    }
  });
}

test('nesting that exhausts the parser is CRITICAL, and so is a text too large (H14)', () => {
  for (const sql of [`select ${'('.repeat(20_000)}1${')'.repeat(20_000)}`, `select ${Array(200_000).fill('1').join('+')}`, `select '${'x'.repeat(2_000_000)}'`]) {
    for (const major of parserMajors) assert.equal(risk(sql, major).risk.level, 'CRITICAL');
    assert.equal(risk('select 1', newest).risk.level, 'SAFE');
  }
});

test('a deep tree that the parser can read is judged without exhausting the stack (H14)', () => {
  for (const depth of [100, 500, 1000, 2000, 4000]) {
    for (const sql of [`select ${'('.repeat(depth)}pg_terminate_backend(1)${')'.repeat(depth)}`, `select ${'not '.repeat(depth)}my_function()`, `${'select * from ('.repeat(depth)}select my_function()${') x'.repeat(depth)}`, `select ${'1 + '.repeat(depth)}my_function()`]) {
      assert.ok(['HIGH', 'CRITICAL'].includes(risk(sql, newest).risk.level), sql.slice(0, 40));
    }
  }
});

test('the corpus is large enough to mean something', () => {
  const rows = offlineFiles.flatMap(readCorpus);
  assert.ok(rows.filter(({ hazard }) => hazard !== undefined).length >= 350);
  assert.ok(rows.filter(({ source }) => source !== undefined).length >= 160);
  const hazards = new Set([...rows, ...readCorpus('live-hazards')].map(({ hazard }) => hazard));
  assert.deepEqual(Array.from({ length: 75 }, (_, at) => `H${at + 1}`).filter((hazard) => !hazards.has(hazard)), []);
});
