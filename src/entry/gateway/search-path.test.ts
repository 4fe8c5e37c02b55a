/** SHOW search_path as PostgreSQL prints it, and what is not understood. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSearchPath } from './search-path.ts';

const rows: readonly (readonly [shown: string, path: readonly string[] | null])[] = [
  ['"$user", public', ['ada', 'public']],
  ['', []],
  ['public', ['public']],
  ['evil, pg_catalog', ['evil', 'pg_catalog']],
  ['"Mixed Case", "a""b", "with, comma"', ['Mixed Case', 'a"b', 'with, comma']],
  ['Upper', ['upper']],
  ['ÄB', ['Äb']],
  [`"${'s'.repeat(63)}"`, ['s'.repeat(63)]],
  [`"${'s'.repeat(64)}", public`, null],
  ['"unclosed, public', null],
  ['a,', null],
  ['a b', null],
  ['""', []],
  ['"", public', ['public']],
];
for (const [shown, path] of rows) {
  test(`${JSON.stringify(shown)} is ${JSON.stringify(path)}`, () => assert.deepEqual(readSearchPath(shown, 'ada'), path));
}
