/**
 * Watching a policy file: says when it is another than before. It looks by the clock, because that alone sees every way
 * in which files are replaced (renames, links that are switched, network disks), and only speaks once the file has kept
 * still for one interval, so that a file that is half written is not taken for a shorter one.
 */
import { stat } from 'node:fs/promises';
import { policyPath } from './policy-file.ts';

export interface PolicyWatch { close(): Promise<void> }

export const watchEveryMs = 500;

/** `onChange` says whether it is done; if not, it is called again at the next look. */
export async function watchPolicy(nameOrPath: string, onChange: () => Promise<boolean>, everyMs = watchEveryMs): Promise<PolicyWatch> {
  const path = policyPath(nameOrPath);
  let known = await signatureOf(path);
  let seen = known;
  let looking: Promise<void> | undefined;
  const look = async (): Promise<void> => {
    const now = await signatureOf(path);
    const isStill = now === seen;
    seen = now;
    if (isStill && now !== known && await onChange()) known = now;
  };
  const timer = setInterval(() => { looking ??= look().finally(() => { looking = undefined; }); }, everyMs);
  timer.unref();
  return {
    close: async () => {
      clearInterval(timer);
      await looking;
    },
  };
}

/** Differs when the file was written, replaced or removed; a link is followed. */
async function signatureOf(path: string): Promise<string> {
  try {
    const { mtimeMs, size, ino, dev } = await stat(path);
    return `${mtimeMs} ${size} ${ino} ${dev}`;
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
  }
}
