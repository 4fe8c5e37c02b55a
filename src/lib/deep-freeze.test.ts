/**
 * Frozen means that no member at any depth can change, and that instances of classes still work.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deepFreeze } from './deep-freeze.ts';

test('no member can be changed, added or removed at any depth', () => {
  const value: { list: { name?: string }[]; more?: number } = deepFreeze({ list: [{ name: 'a' }] });
  assert.throws(() => { value.more = 1; }, TypeError);
  assert.throws(() => { value.list.push({ name: 'b' }); }, TypeError);
  assert.throws(() => { const [first] = value.list; if (first) first.name = 'b'; }, TypeError);
  assert.throws(() => { const [first] = value.list; if (first) delete first.name; }, TypeError);
});

test('an instance inside stays usable, and a cycle ends', () => {
  const cycle: { map: Map<string, number>; self?: unknown } = { map: new Map() };
  cycle.self = cycle;
  deepFreeze(cycle).map.set('a', 1);
  assert.equal(cycle.map.get('a'), 1);
});
