/**
 * Canonical JSON gives one text per value: order of keys does not matter, and nothing is dropped or rounded in silence.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Bug } from './assert.ts';
import { canonicalJson } from './canonical-json.ts';

test('keys are ordered by UTF-16 code units, as in the example of RFC 8785 3.2.3', () => {
  const value = { '\u20ac': 1, '\r': 2, '\ufb33': 3, '1': 4, '\ud83d\ude00': 5, '\u0080': 6, '\u00f6': 7 };
  assert.deepEqual([...canonicalJson(value).matchAll(/:(\d)/g)].map((match) => match[1]), ['2', '4', '6', '7', '1', '5', '3']);
});

const written: readonly (readonly [unknown, string])[] = [
  [null, 'null'], [true, 'true'], [-0, '0'], [9007199254740991, '9007199254740991'], [[], '[]'], [{}, '{}'],
  ['\u20ac$\u000f\nA\'B"\\\\"/', String.raw`"€$\u000f\nA'B\"\\\\\"/"`],
  [{ b: [1, { d: 1, c: 2 }], a: '' }, '{"a":"","b":[1,{"c":2,"d":1}]}'],
  [Object.assign(Object.create(null), { a: 1 }), '{"a":1}'],
];
test('values are written in their one form', () => {
  for (const [value, text] of written) assert.equal(canonicalJson(value), text);
});

const cycle: unknown[] = [];
cycle.push(cycle);
const refused: readonly (readonly [string, unknown])[] = [
  ['undefined', undefined], ['an undefined member', { a: undefined }], ['a fraction', 0.5], ['NaN', NaN], ['infinity', Infinity],
  ['an unsafe integer', 2 ** 53], ['a bigint', 1n], ['a date', new Date(0)], ['a map', new Map()], ['bytes', Buffer.from('a')],
  ['a function', () => 1], ['a symbol', Symbol('s')], ['a hole', Array(1)], ['a lone surrogate', '\ud800'],
  ['a lone surrogate as key', { '\udc00': 1 }], ['a cycle', cycle],
];
for (const [what, value] of refused) {
  test(`${what} is refused`, () => { assert.throws(() => canonicalJson(value), Bug); });
}

test('the text parses back to the value, and key order never changes it', () => {
  const value = fc.letrec((tie) => ({
    node: fc.oneof({ maxDepth: 4 }, fc.constant(null), fc.boolean(), fc.maxSafeInteger(), fc.string({ unit: 'grapheme' }),
      fc.array(tie('node'), { maxLength: 4 }),
      fc.array(fc.tuple(fc.string().filter((key) => key !== '__proto__'), tie('node')), { maxLength: 4 })),
  })).node;
  fc.assert(fc.property(fc.dictionary(fc.string().filter((key) => key !== '__proto__'), value), (object) => {
    const text = canonicalJson(object);
    assert.equal(canonicalJson(JSON.parse(text)), text);
    assert.equal(canonicalJson(Object.fromEntries(Object.entries(object).reverse())), text);
  }));
});
