/** A client is cut off for stopping in the middle, and never for being idle or slow. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stall, type StallKind, type Watched } from './stall.ts';

const idle: Watched = { isMessageOpen: false, bytesRead: 10, bytesUnwritten: 0 };
const rows: readonly (readonly [what: string, looks: readonly (readonly [atMs: number, watched: Watched])[], last: StallKind | undefined])[] = [
  ['idle for ever is no stall', [[0, idle], [100_000, idle]], undefined],
  ['a message half sent', [[0, { ...idle, isMessageOpen: true }], [1_001, { ...idle, isMessageOpen: true }]], 'reading'],
  ['a message that comes slowly but comes', [[0, { ...idle, isMessageOpen: true }], [900, { ...idle, isMessageOpen: true, bytesRead: 11 }], [1_800, { ...idle, isMessageOpen: true, bytesRead: 11 }]], undefined],
  ['a message that was completed in between', [[0, { ...idle, isMessageOpen: true }], [500, idle], [1_400, { ...idle, isMessageOpen: true }]], undefined],
  ['answers left unread', [[0, { ...idle, bytesUnwritten: 5 }], [1_001, { ...idle, bytesUnwritten: 5 }]], 'writing'],
  ['answers read slowly', [[0, { ...idle, bytesUnwritten: 5 }], [900, { ...idle, bytesUnwritten: 4 }], [1_800, { ...idle, bytesUnwritten: 4 }]], undefined],
];
for (const [what, looks, last] of rows) {
  test(what, () => {
    const stall = new Stall(1_000);
    assert.equal(looks.map(([atMs, watched]) => stall.look(watched, atMs)).at(-1), last);
  });
}
