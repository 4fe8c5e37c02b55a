/** Ids sort by age and never meet. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { randomPool, shortId, sortableId } from './sortable-id.ts';

test('ids sort by the time they were made at', () => {
  const at = (ms: number): string => sortableId('act', { nowMs: () => ms, randomBytes: () => new Uint8Array(10).fill(31) });
  const later = (ms: number): string => sortableId('act', { nowMs: () => ms, randomBytes: () => new Uint8Array(10) });
  for (const ms of [0, 31, 32, 1_000, Date.UTC(2026, 10, 21), 2 ** 49 - 2]) assert.ok(at(ms) < later(ms + 1));
});

test('two ids of one millisecond differ', () => {
  const source = { nowMs: () => 1, randomBytes };
  assert.equal(new Set(Array.from({ length: 5_000 }, () => sortableId('act', source))).size, 5_000);
  assert.match(sortableId('act', source), /^act_[0-9a-hjkmnp-tv-z]{20}$/);
  assert.match(shortId('apr', source), /^apr_[0-9a-hjkmnp-tv-z]{10}$/);
});

test('a pool gives every byte out once, in the order it was drawn, whatever is asked for', () => {
  let drawn = 0;
  const next = randomPool((count) => Uint8Array.from({ length: count }, () => drawn++ % 256), 16);
  assert.deepEqual([...next(10)], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.deepEqual([...next(6)], [10, 11, 12, 13, 14, 15]);
  assert.deepEqual([...next(3)], [16, 17, 18]);
  assert.equal(next(40).length, 40);
  assert.equal(new Set(next(1)).size, 1);
});
