/**
 * The tokens begin and end where PostgreSQL's own scanner says: a literal cut one byte short would leave a secret in a
 * text that is kept.
 */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { tokensOf } from './tokens.ts';
import type { TokenKind } from './tokens.ts';

interface Scanner { loadModule(): Promise<void>; scanSync(sql: string): { readonly tokens: readonly { readonly start: number; readonly end: number; readonly tokenName: string }[] } }
const scanner = createRequire(import.meta.url)('libpg-query-18') as Scanner;
before(() => scanner.loadModule());

const rows: readonly (readonly [sql: string, kinds: readonly TokenKind[]])[] = [
  ["'it''s'", ['string']],
  ["E'it\\'s'", ['string']],
  ["'a\\' b", ['string', 'space', 'word']],
  ["E'a'\n'b\\'c'", ['string']],
  ["E'a' -- x\n'b\\'c'", ['string']],
  ["U&'\\0061' uescape '!'", ['string', 'space', 'word', 'space', 'string']],
  ["x'1F'b'01'n'x'", ['string', 'string', 'string']],
  ["$$a'b$$", ['string']],
  ["$a$ $b$ $a$", ['string']],
  ["a$b$c$b$", ['word']],
  ["a\u00a0$b$, 'x'", ['word', 'symbol', 'space', 'string']],
  ["$1+$22", ['parameter', 'symbol', 'parameter']],
  ['"a""b""', ['quoted-name']],
  ['/* /* */ \' */ a', ['comment', 'space', 'word']],
  ["--'\n1.5e-3", ['comment', 'space', 'number']],
  ["1e'x\\'y'", ['number', 'string']],
];
for (const [sql, kinds] of rows) {
  test(`${JSON.stringify(sql)} is ${kinds.join(', ')}`, () => {
    const tokens = tokensOf(sql);
    assert.deepEqual(tokens.map(({ kind }) => kind), kinds);
    assert.equal(tokens.map(({ text }) => text).join(''), sql);
  });
}

test('what looks like the start of a continued string is given up in one pass', () => {
  assert.equal(tokensOf(`E'x' ${'-- '.repeat(100_000)}`).length, 3);
});

/** The spans of all string literals in bytes, as our tokens see them and as PostgreSQL's scanner does. */
function ourStrings(sql: string): readonly string[] {
  let at = 0;
  return tokensOf(sql).flatMap(({ kind, text }) => {
    const start = at;
    at += Buffer.byteLength(text);
    // PostgreSQL takes the N of N'…' for a word of its own.
    return kind === 'string' ? [`${/^n'/i.test(text) ? start + 1 : start}`] : [];
  });
}

function theirStrings(sql: string): readonly string[] | undefined {
  try {
    return scanner.scanSync(sql).tokens.filter(({ tokenName }) => /^(SCONST|USCONST|BCONST|XCONST)$/.test(tokenName)).map(({ start }) => `${start}`);
  } catch { return undefined; }
}

test('PostgreSQL finds no string where these tokens find none', () => {
  const part = fc.constantFrom('a', 'e', 'E', 'U&', 'u&', 'n', 'x', 'b', '1', '0', '.', '_', '$', '$$', '$a$', '$1', "'", "''", '"', '\\', '\\\\', '--', '\n', '\r', '\v', ' ', '\t', '/*', '*/', '/', '*', '-', '+', ';', '\u00a0', 'é', '\u{1f418}', '::', '@', '?');
  let compared = 0;
  fc.assert(fc.property(fc.array(part, { maxLength: 24 }).map((parts) => parts.join('')), (sql) => {
    const theirs = theirStrings(sql);
    // No grammar lets a string follow a number, and whose letter the e is depends on the major: redact gives such text up.
    if (theirs === undefined || /[0-9a-z_.]'/i.test(sql.replaceAll(/(?<![0-9a-z_.$\u0080-\uffff])(?:[bexn]|u&)'/gi, "'"))) return;
    compared += theirs.length;
    const ours = new Set(ourStrings(sql));
    assert.deepEqual(theirs.filter((start) => !ours.has(start)), [], JSON.stringify(sql));
  }), { numRuns: 20_000 });
  assert.ok(compared > 500);
});
