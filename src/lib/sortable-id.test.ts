/** Ids sort by age and never meet. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { shortId, sortableId } from './sortable-id.ts';

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
