/**
 * Small files of the data folder that only their owner can read: tokens kept for the convenience of whoever runs the
 * program, and where it serves now. Written as a whole under another name first, so a reader never sees half of one.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Failure } from '../../core/failure.ts';
import { systemCode } from '../../lib/system-error.ts';

export const operatorTokenFile = 'operator.token';

/** The one agent whose token is kept is the one that `up` makes for its embedded database. */
export function agentTokenFile(agent: string): string { return `${agent}.agent-token`; }

/** undefined when there is no such file. */
export function readPrivateFile(dataDir: string, name: string): string | undefined {
  return inFolder(join(dataDir, name), (path) => {
    try {
      return readFileSync(path, 'utf8').trim();
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  });
}

export function writePrivateFile(dataDir: string, name: string, text: string): void {
  inFolder(join(dataDir, name), (path) => {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const unfinished = `${path}.${process.pid}.new`;
    writeFileSync(unfinished, `${text}\n`, { mode: 0o600 });
    renameSync(unfinished, path);
  });
}

export function removePrivateFile(dataDir: string, name: string): void {
  inFolder(join(dataDir, name), (path) => { rmSync(path, { force: true }); });
}

function inFolder<T>(path: string, work: (path: string) => T): T {
  try {
    return work(path);
  } catch (cause) {
    throw new Failure('store_unavailable', `${path} cannot be used (${systemCode(cause)})`, { cause });
  }
}
