/**
 * The migrations that this version knows, in order. Each is two files of the same name, one for each kind of store, and
 * a store's data version is how many of them it has had; so the same version means the same tables on both.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Failure } from '../core/failure.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'migrations');

/** The SQL of those that a store of this version has not had. Throws Failure `data_version` when it is newer than this program. */
export function migrationsFor(kind: 'sqlite' | 'postgres', version: number, place: string): readonly string[] {
  const folder = join(root, kind);
  const files = readdirSync(folder).filter((file) => file.endsWith('.sql')).sort();
  if (version > files.length) {
    throw new Failure('data_version', `${place} was written by a newer Backstop (data version ${version}, this one knows ${files.length})`);
  }
  return files.slice(version).map((file) => readFileSync(join(folder, file), 'utf8'));
}
