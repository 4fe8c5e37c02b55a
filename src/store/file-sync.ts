/**
 * FileSync: brings what was written to a file onto the disk without stopping the event loop. Callers that come while it
 * syncs share the next sync, which begins after their call and so covers what they had written.
 */
import { close, fdatasync, openSync } from 'node:fs';

export interface FileSync {
  /** Resolves when everything written before the call is on disk. */
  sync(): Promise<void>;
  /** Waits for what runs. */
  close(): Promise<void>;
}

/** The file stays the same one for as long as this is open. Throws what node:fs throws. */
export function openFileSync(path: string): FileSync {
  const file = openSync(path, 'r+');
  let running: Promise<void> = Promise.resolve();
  let next: Promise<void> | undefined;
  const syncNow = (): Promise<void> => {
    next = undefined;
    return new Promise((resolve, reject) => { fdatasync(file, (error) => { if (error === null) resolve(); else reject(error); }); });
  };
  return {
    sync: () => {
      if (next !== undefined) return next;
      const begun = running.then(syncNow);
      next = begun;
      // One that failed is told to its callers; the next one begins all the same.
      running = begun.catch(() => undefined);
      return begun;
    },
    close: async () => {
      await running;
      await new Promise<void>((resolve) => { close(file, () => { resolve(); }); });
    },
  };
}
