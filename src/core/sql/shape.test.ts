/**
 * A judgement remembered by shape is the judgement that each text of the shape would get: whatever literals are put in,
 * everything that full judgement says is the same. And texts that share a shape are read alike by PostgreSQL's grammar.
 */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import fc from 'fast-check';
import { loadParser } from '../../lib/pgsql/parser.ts';
import type { Parser } from '../../lib/pgsql/parser.ts';
import { loadBuiltinCatalog } from '../../remote/postgres/builtin-catalog.ts';
import { freshSession, offlineFiles, readCorpus } from '../../../test/fixtures/corpus.ts';
import { assess } from './assess.ts';
import type { Catalog } from './catalog.ts';
import { fingerprint, redact } from './redact.ts';
import { areLiteralsInert, shapeOf, textOfShaped } from './shape.ts';

let parser: Parser;
let catalog: Catalog;
before(async () => { [parser, catalog] = await Promise.all([loadParser(18), loadBuiltinCatalog(18)]); });

function isShaped(sql: string): boolean {
  const shape = shapeOf(sql);
  const parsed = parser.parse(sql);
  const [only] = parsed.kind === 'parsed' ? parsed.statements : [];
  return shape !== undefined && shape.literals > 0 && only !== undefined && parsed.kind === 'parsed' && parsed.statements.length === 1 && areLiteralsInert(shape, only);
}

const shaped: readonly string[] = [
  'SELECT abalance FROM pgbench_accounts WHERE aid = 4711;',
  "select typname from pg_type where oid = 23 and typname <> 'a''b'",
  'SELECT * FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = \'public\' WHERE c.relkind IN (\'r\', \'v\') ORDER BY c.relname',
  'SELECT count(*) FROM pg_class WHERE 10 < relpages AND relpages BETWEEN 3 AND 5 OR NOT relpages = -1',
  'SELECT "odd 1 \'name\'" FROM "t 2" WHERE "c 3">=5 \n ; ',
  "SELECT 1_t.a1 FROM pg_class AS \"1_t\" WHERE oid=1".replace('1_t.a1', '"1_t".oid'),
  "SELECT relname FROM pg_class WHERE relname = '' AND oid = 0",
];

const literalNumber = fc.oneof(fc.constant('0'), fc.nat(999_999_999).map(String), fc.constant('000000001'));
const literalString = fc.oneof(
  fc.constantFrom('', 'pg_catalog.pg_class', 'transaction_read_only', '1; drop table t', '--', '/*', '$$', 'NULL', 'true', 'ünïcödé 漢字 😀', "''", 'E', '1', '\n', ';'),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
).filter((text) => !text.includes('\\') && !text.includes('\0') && text.isWellFormed()).map((text) => `'${text.replaceAll("'", "''")}'`);

/** Any text of that shape. */
function textOf(key: string): fc.Arbitrary<string> {
  const parts = key.split(/(\0[ns])/u);
  return fc.tuple(...parts.map((part) => (part === '\0n' ? literalNumber : part === '\0s' ? literalString : fc.constant(part)))).map((texts) => texts.join(''));
}

function judged(sql: string): unknown {
  const { risk, statements, error } = assess(sql, freshSession, catalog, parser);
  return { risk, error, statements: statements.map((one) => ({ ...one, statement: { ...one.statement, text: '' } })), redacted: redact(sql, parser), fingerprint: fingerprint(sql) };
}

test('every text of a shape is judged, redacted and named as the one that was remembered', () => {
  const fromCorpus = offlineFiles.flatMap((name) => readCorpus(name).map(({ sql }) => sql)).filter(isShaped);
  assert.ok(fromCorpus.length >= 10, `${fromCorpus.length} texts of the corpus have a shape`);
  for (const sql of [...shaped, ...fromCorpus]) {
    assert.ok(isShaped(sql), sql);
    const { key } = shapeOf(sql) ?? { key: '' };
    const first = judged(sql);
    fc.assert(fc.property(textOf(key), (other) => {
      assert.equal(shapeOf(other)?.key, key, other);
      assert.ok(isShaped(other), other);
      assert.deepEqual(judged(other), first, other);
      assert.equal(assess(other, freshSession, catalog, parser).statements[0]?.statement.text, textOfShaped(other));
    }), { numRuns: 25 });
  }
});

describe('no judgement is remembered by shape where a value could matter', () => {
  const rows: readonly (readonly [why: string, sql: string])[] = [
    ['an argument of a function', "SELECT set_config('search_path', 'x', false)"], ['a name in a literal', "SELECT to_regclass('pg_class') FROM pg_class WHERE oid = 1"],
    ['an argument in a condition', 'SELECT 1 FROM pg_class WHERE pg_sleep(1) IS NULL'], ['a cast', "SELECT oid FROM pg_class WHERE oid = 'pg_class'::regclass"],
    ['a cast in words', "SELECT oid FROM pg_class WHERE oid = CAST('pg_class' AS regclass)"], ['a typed literal', "SELECT oid FROM pg_class WHERE a = date '2026-01-01'"],
    ['a row limit', 'SELECT oid FROM pg_class WHERE oid = 1 LIMIT 10'], ['a position in ORDER BY', 'SELECT oid FROM pg_class WHERE oid = 1 ORDER BY 1'],
    ['a value that is selected', "SELECT 'a' FROM pg_class WHERE oid = 1"], ['no column beside it', 'SELECT oid FROM pg_class WHERE 1 = 1'],
    ['an operator that may be anything', "SELECT oid FROM pg_class WHERE relname ~ 'a'"], ['an operator by its schema', 'SELECT oid FROM pg_class WHERE oid OPERATOR(pg_catalog.=) 1'],
    ['an expression beside it', 'SELECT oid FROM pg_class WHERE oid + 1 = 2'], ['two strings that are one', "SELECT oid FROM pg_class WHERE relname = 'a'\n'b'"],
    ['a write', 'DELETE FROM pg_class WHERE oid = 1'], ['a write inside', 'WITH d AS (DELETE FROM t WHERE id = 1 RETURNING id) SELECT id FROM d WHERE id = 2'],
    ['two statements', 'SELECT oid FROM pg_class WHERE oid = 1; SELECT oid FROM pg_class WHERE oid = 2'], ['a plan', 'EXPLAIN SELECT oid FROM pg_class WHERE oid = 1'],
    ['a sample', 'SELECT oid FROM pg_class TABLESAMPLE system (1) WHERE oid = 1'], ['an escape string', "SELECT oid FROM pg_class WHERE relname = E'a'"],
    ['a national string', "SELECT oid FROM pg_class WHERE relname = N'a'"], ['bits', "SELECT oid FROM pg_class WHERE relname = B'1'"],
    ['a backslash', "SELECT oid FROM pg_class WHERE relname = 'a\\'"], ['a dollar quote', 'SELECT oid FROM pg_class WHERE relname = $$a$$'],
    ['a parameter', 'SELECT oid FROM pg_class WHERE oid = $1 AND oid = 1'], ['a comment', 'SELECT oid FROM pg_class WHERE oid = 1 -- 2'],
    ['a comment inside', 'SELECT oid FROM pg_class WHERE oid = /* 2 */ 1'], ['a fraction', 'SELECT oid FROM pg_class WHERE reltuples > 1.5'],
    ['a fraction without its zero', 'SELECT oid FROM pg_class WHERE reltuples > .5'], ['an exponent', 'SELECT oid FROM pg_class WHERE reltuples > 1e5'],
    ['a number of eight bytes', 'SELECT oid FROM pg_class WHERE oid = 12345678901'], ['a number with an underscore', 'SELECT oid FROM pg_class WHERE oid = 1_000'],
    ['another base', 'SELECT oid FROM pg_class WHERE oid = 0x1F'], ['letters beyond ASCII', 'SELECT oid FROM pg_class AS ü WHERE oid = 1'],
    ['a Unicode name', 'SELECT oid FROM pg_class AS U&"d\\0061" WHERE oid = 1'], ['an array', 'SELECT oid FROM pg_class WHERE oid = ANY (\'{1,2}\')'],
    ['a row', 'SELECT oid FROM pg_class WHERE (oid, relname) = (1, \'a\')'], ['an element of a list that is computed', 'SELECT oid FROM pg_class WHERE oid IN (1, 2 + 3)'],
    ['what could only fail', "SELECT oid FROM pg_class WHERE oid = 'a' 'b'"], ['an open string', "SELECT oid FROM pg_class WHERE relname = 'a"],
  ];
  for (const [why, sql] of rows) test(`${why}: ${sql.replaceAll('\n', ' ')}`, () => { assert.equal(isShaped(sql), false); });
});

/** Whatever the lexer may meet, in any order, without spaces too. */
const pieces = ['SELECT ', 'a', '1', '23', "'x'", "''", "'", '"', '"q"', ' ', '\n', '-', '--', '/', '/*', '*/', '$', '$1', '$$', '\\', 'E', 'U&', 'B', '.', ',', '(', ')', '=', ' = ', '<', '>', '!', '~', '::', ';', ' FROM t WHERE ', 'e5', '_', 'é', '[', ']', ':', ' AND ', ' IN (', ' a.b ', '\t', '\u00a0'];

test('texts of one shape are read alike, whatever they are made of', () => {
  const masked = (sql: string): unknown => {
    const parsed = parser.parse(sql);
    const mask = (key: string, value: unknown): unknown => (key === 'location' || key === 'list_start' || key === 'list_end' || key === 'rexpr_list_start' || key === 'rexpr_list_end' ? 0 : key === 'A_Const' ? Object.keys(value as object).filter((field) => field !== 'location') : value);
    return parsed.kind === 'unparsable' ? 'unparsable' : JSON.parse(JSON.stringify(parsed.statements.map(({ node, tree }) => ({ node, tree })), mask));
  };
  let compared = 0;
  fc.assert(fc.property(fc.array(fc.constantFrom(...pieces), { minLength: 1, maxLength: 14 }).map((parts) => `SELECT a FROM t WHERE a = ${parts.join('')}`), (sql) => {
    const shape = shapeOf(sql);
    if (shape === undefined || !isShaped(sql)) return;
    compared += 1;
    fc.assert(fc.property(textOf(shape.key), (other) => { assert.deepEqual(masked(other), masked(sql), `${sql}\n${other}`); }), { numRuns: 5 });
  }), { numRuns: 20_000 });
  assert.ok(compared > 100, `${compared} texts had a shape`);
});
