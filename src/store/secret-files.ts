/**
 * Secret files: what must survive a restart but belongs in no database: the server certificate made on first run and
 * random keys. Each file is made once, complete before it has its name, and readable by its owner only.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Failure } from '../core/failure.ts';
import { systemCode } from '../lib/system-error.ts';

/** The file's text; `make` gives it when there is none. Throws Failure `store_unavailable`. */
export function readOrMakeSecretFile(path: string, make: () => string): string {
  try {
    if (!existsSync(path)) writeSecretFile(path, make());
    return readFileSync(path, 'utf8');
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    throw new Failure('store_unavailable', `${path} cannot be read or made (${systemCode(cause)})`, { cause });
  }
}

/** A hard link fails when another process was first, so both then read the same file. */
function writeSecretFile(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const draft = `${path}.${randomUUID()}`;
  writeFileSync(draft, text, { mode: 0o600, flag: 'wx', flush: true });
  try {
    linkSync(draft, path);
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
  } finally {
    rmSync(draft);
  }
}
