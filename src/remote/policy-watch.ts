/**
 * Watching a policy file: says when it is another than before. It looks by the clock, because that alone sees every way
 * in which files are replaced (renames, links that are switched, network disks), and only speaks once the file has kept
 * still for one interval, so that a file that is half written is not taken for a shorter one. Whoever reads it then can
 * ask whether it has kept still until it was read.
 */
import { stat } from 'node:fs/promises';
import { systemCode } from '../lib/system-error.ts';
import { policyPath } from './policy-file.ts';

export interface PolicyWatch { close(): Promise<void> }

const watchEveryMs = 500;

export interface PolicyWatchOptions {
  /** The signature from before the file was read first, so that no change after it is missed. */
  readonly since: string;
  /** Says whether it is done; if not, it is called again. `isUnchanged`: the file is still what it was when this was called. */
  readonly onChange: (isUnchanged: () => Promise<boolean>) => Promise<boolean>;
  readonly everyMs?: number;
}

export function watchPolicy(nameOrPath: string, { since, onChange, everyMs = watchEveryMs }: PolicyWatchOptions): PolicyWatch {
  let [known, seen] = [since, since];
  let isClosed = false;
  let timer: NodeJS.Timeout;
  let looking: Promise<void> = Promise.resolve();
  const look = async (): Promise<void> => {
    const now = await policySignature(nameOrPath);
    const isStill = now === seen;
    seen = now;
    if (isStill && now !== known && await onChange(async () => await policySignature(nameOrPath) === now)) known = now;
  };
  // After the last look has ended: a slow one must not bring the next so near that a file seems to keep still.
  const lookLater = (): void => {
    if (isClosed) return;
    timer = setTimeout(() => { looking = look().finally(lookLater); }, everyMs);
    timer.unref();
  };
  lookLater();
  return {
    close: async () => {
      isClosed = true;
      clearTimeout(timer);
      await looking;
    },
  };
}

/** Differs when the file was written, replaced or removed; a link is followed. */
export async function policySignature(nameOrPath: string): Promise<string> {
  try {
    const { mtimeMs, size, ino, dev } = await stat(policyPath(nameOrPath));
    return `${mtimeMs} ${size} ${ino} ${dev}`;
  } catch (error) {
    return systemCode(error);
  }
}
