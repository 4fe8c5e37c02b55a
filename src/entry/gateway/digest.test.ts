/** What makes two actions the same and what does not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf, type DigestParts } from './digest.ts';

const base: DigestParts = { sql: 'DELETE FROM t WHERE id = $1', parameterTypes: [23], formats: ['text'], values: [Buffer.from('1')] };
const different: readonly (readonly [why: string, parts: DigestParts])[] = [
  ['one more space', { ...base, sql: 'DELETE FROM t WHERE id =  $1' }],
  ['another value (H88)', { ...base, values: [Buffer.from('999')] }],
  ['NULL', { ...base, values: [null] }],
  ['the empty text', { ...base, values: [Buffer.alloc(0)] }],
  ['another format', { ...base, formats: ['binary'] }],
  ['another parameter type', { ...base, parameterTypes: [25] }],
  ['a boundary moved', { ...base, values: [Buffer.from('1'), Buffer.alloc(0)] }],
  ['another body behind the name', { ...base, bodies: ['DELETE FROM t'] }],
  ['a row limit', { ...base, rowsMax: 1 }],
];
for (const [why, parts] of different) {
  test(`${why} makes another digest`, () => assert.notEqual(digestOf(parts), digestOf(base)));
}

test('the same bytes have the same digest', () => assert.equal(digestOf({ ...base, values: [Buffer.from('1')] }), digestOf(base)));
test('no format code means text, as the protocol says', () => assert.equal(digestOf({ ...base, formats: [] }), digestOf(base)));
