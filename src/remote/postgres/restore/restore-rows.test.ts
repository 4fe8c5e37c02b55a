/** In which order rows go into tables that refer to one another, where the server checks each as it comes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { orderOf } from './restore-rows.ts';

const rows: readonly (readonly [why: string, count: number, keys: readonly (readonly [child: number | undefined, parent: number | undefined])[], order: readonly number[]])[] = [
  ['as given without keys', 3, [], [0, 1, 2]],
  ['parents first', 3, [[0, 1], [1, 2]], [2, 1, 0]],
  ['one that refers to itself', 2, [[0, 0], [0, 1]], [1, 0]],
  ['a circle ends', 3, [[0, 1], [1, 2], [2, 0]], [2, 1, 0]],
  ['tables of which nothing is undone do not matter', 2, [[undefined, 0], [1, undefined]], [0, 1]],
];
for (const [why, count, keys, order] of rows) {
  test(why, () => { assert.deepEqual(orderOf(count, keys.map(([childIndex, parentIndex]) => ({ childIndex, parentIndex }))), order); });
}
