/**
 * The parser answers whatever it is given: what is not SQL, not text or too much of it is unparsable, and the next
 * statement is read as if nothing had happened (H14, H15, H16, H87).
 */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import fc from 'fast-check';
import { loadParser, parserMajors, sqlBytesMax } from './parser.ts';
import type { Parser } from './parser.ts';

const parsers = new Map<number, Parser>();
before(async () => { for (const major of parserMajors) parsers.set(major, await loadParser(major)); });

function parserOf(major: number): Parser {
  const parser = parsers.get(major);
  assert.ok(parser);
  return parser;
}

function textsOf(sql: string, major = 18): readonly string[] {
  const result = parserOf(major).parse(sql);
  return result.kind === 'parsed' ? result.statements.map(({ text }) => text) : [`unparsable: ${result.message}`];
}

for (const major of parserMajors) {
  describe(`PostgreSQL ${major}`, () => {
    test('statements are cut at byte positions, also behind text of several bytes per character', () => {
      // Since 18 a statement begins behind the comments before it.
      const comment = major >= 18 ? '' : '/* ü */ ';
      assert.deepEqual(textsOf("select 'é', '🐘' ; /* ü */ delete from \"tä\";;\n select 3", major), ["select 'é', '🐘'", `${comment}delete from "tä"`, 'select 3']);
    });

    test('nothing to run is nothing', () => {
      for (const sql of ['', ' \n', ';;', '-- only a comment', '/* and /* another */ */']) assert.deepEqual(textsOf(sql, major), []);
    });

    test('characters that are blank to JavaScript and names to PostgreSQL are not nothing', () => {
      for (const sql of ['\u00a0', '\ufeff', '\u3000', ' \u2028 ', '\u0085']) assert.match(textsOf(sql, major)[0] ?? '', /^unparsable/);
      assert.deepEqual(textsOf(' select 1 as \u00a0 ; ', major), ['select 1 as \u00a0']);
    });

    test('a depth that only just fits or only just does not spoils nothing either', () => {
      for (const depth of [500, 1000, 2000, 4000, 8000]) {
        for (const sql of [`select ${'not '.repeat(depth)}true`, `select ${'(select '.repeat(depth)}1${')'.repeat(depth)}`, `select 1${'::text'.repeat(depth)}`]) {
          assert.match(parserOf(major).parse(sql).kind, /^(parsed|unparsable)$/);
          assert.deepEqual(textsOf(' select 1 ', major), ['select 1']);
        }
      }
    });

    test('after each refusal a plain statement is still read (H14, H15)', () => {
      const refused = [
        `select ${'('.repeat(20_000)}1${')'.repeat(20_000)}`, `select ${Array(200_000).fill('1').join('+')}`, 'select 1\0; drop table t', 'select \ud800', `select '${'x'.repeat(sqlBytesMax)}'`, "select 'open", 'selct 1',
      ];
      for (const sql of refused) {
        assert.equal(parserOf(major).parse(sql).kind, 'unparsable', sql.slice(0, 40));
        assert.deepEqual(textsOf(' select 1 ', major), ['select 1']);
      }
    });
  });
}

test('comments that open right behind each other are refused before they take the square of their length', () => {
  for (const open of ['/*', '/*+', '/**']) assert.match(textsOf(`select 1 ${open.repeat(100_000)}${'*/'.repeat(100_000)}`)[0] ?? '', /too many comments/);
  for (const sql of [`select 1 ${'/*'.repeat(100)}${'*/'.repeat(100)}`, `select 1 ${'/* a */'.repeat(1_000)}`, `select 1 /${'*'.repeat(100_000)}/`]) assert.equal(textsOf(sql).length, 1, sql.slice(0, 40));
});

test('the grammar is that of the server: some texts mean one thing to 15 and another to 18 (H16)', () => {
  const read = (sql: string, major: number): string => {
    const result = parserOf(major).parse(sql);
    return result.kind === 'parsed' ? JSON.stringify(result.statements[0]?.tree['targetList']).replaceAll(/,?"location":\d+/g, '') : 'unparsable';
  };
  assert.notEqual(read('SELECT 1_000', 15), read('SELECT 1_000', 18));
  assert.notEqual(read('SELECT 0x1F', 15), read('SELECT 0x1F', 18));
  assert.equal(read('SELECT 123abc', 18), 'unparsable');
  assert.notEqual(read('SELECT 123abc', 15), 'unparsable');
});

test('a message says where and never quotes the text', () => {
  const parser = parserOf(18);
  assert.deepEqual(parser.parse("selct 'secret'"), { kind: 'unparsable', message: 'syntax error', position: 1 });
  for (const sql of ["select 'geheim' 'secret'", "select 1 'secret'", "set x to 'secret' secret", "select U&'\\secret'", "select E'\\usecret'"]) {
    assert.doesNotMatch(JSON.stringify(parser.parse(sql)), /secret/, sql);
  }
});

test('what the server says of a syntax error is known, and of nothing else', () => {
  for (const major of [15, 18]) {
    const parser = parserOf(major);
    assert.deepEqual(parser.syntaxErrorOf("SELECT 'ü' FRM t x"), { message: 'syntax error at or near "t"', position: 16 });
    assert.deepEqual(parser.syntaxErrorOf('SELECT 1 +'), { message: 'syntax error at end of input', position: 11 });
    assert.deepEqual(parser.syntaxErrorOf("SELECT 'open"), { message: "unterminated quoted string at or near \"'open\"", position: 8 });
    // These have a SQLSTATE or a hint of their own.
    for (const sql of ["SELECT E'\\u00'", 'CREATE ASSERTION a CHECK (true)', "SELECT E'\\xff'", 'SELECT 1\0', '\ud800', 'SELECT 1']) assert.equal(parser.syntaxErrorOf(sql), undefined, sql);
  }
});

test('parsing never throws, whatever the text', () => {
  const words = fc.constantFrom('select', 'delete', 'from', 't', '(', ')', "'", '"', '$$', '$a$', '--', '/*', '*/', ';', ',', '::', 'E\'\\', '\n', '1', '.', 'é', '\u{1f418}', '\0', '\ud800');
  fc.assert(fc.property(fc.oneof(fc.array(words, { maxLength: 30 }).map((parts) => parts.join(' ')), fc.string({ unit: 'binary' })), (sql) => {
    const result = parserOf(18).parse(sql);
    assert.ok(result.kind === 'parsed' || result.message !== '');
  }), { numRuns: 1000 });
});
