/**
 * A suggestion helps only when it is near: typing slips are found, other words are not.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closest } from './closest.ts';

const allowed = ['allow', 'hold', 'deny', 'on_write', 'drop-table', 'drop-schema', 'CRITICAL'];
const rows: readonly (readonly [string, string | undefined, string])[] = [
  ['hodl', 'hold', 'neighbours swapped'], ['alow', 'allow', 'a letter missing'], ['denyy', 'deny', 'a letter too many'],
  ['critical', 'CRITICAL', 'case'], ['on-write', 'on_write', 'hyphen for underscore'], ['drop_table', 'drop-table', 'underscore for hyphen'],
  ['drop-shema', 'drop-schema', 'nearest of several'], ['pardon', undefined, 'another word'], ['', undefined, 'nothing'],
  ['x'.repeat(100_000), undefined, 'too long to compare'],
];
for (const [word, expected, why] of rows) {
  test(`${why}: ${word.slice(0, 12) || 'an empty word'} suggests ${expected ?? 'nothing'}`, () => { assert.equal(closest(word, allowed), expected); });
}
