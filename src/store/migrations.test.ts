/** Migrations: each is there for both kinds of store, and the numbers have no gaps. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { Failure } from '../core/failure.ts';
import { migrationsFor } from './migrations.ts';

const filesOf = (kind: string): readonly string[] => readdirSync(new URL(`../../migrations/${kind}`, import.meta.url)).sort();

test('each migration is there for both kinds of store, under the same number and name', () => {
  assert.deepEqual(filesOf('sqlite'), filesOf('postgres'));
  for (const [index, file] of filesOf('sqlite').entries()) assert.match(file, new RegExp(`^${String(index + 1).padStart(4, '0')}-[a-z-]+\\.sql$`));
});

test('a store gets what it has not had, and one of a newer version is refused', () => {
  for (const kind of ['sqlite', 'postgres'] as const) {
    const all = migrationsFor(kind, 0, 'here');
    assert.equal(all.length, filesOf(kind).length);
    assert.deepEqual(migrationsFor(kind, 1, 'here'), all.slice(1));
    assert.throws(() => migrationsFor(kind, all.length + 1, 'here'), (error) => error instanceof Failure && error.code === 'data_version' && error.message.includes('here'));
  }
});
