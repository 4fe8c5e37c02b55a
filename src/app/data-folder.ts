/**
 * The data folder of this process: claimed by one Backstop and shared with its workers, and known by an id of its own,
 * wherever the store is.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Config } from '../config.ts';
import { shortId } from '../lib/sortable-id.ts';
import { claimFolder, shareClaim } from '../store/claim.ts';
import { readOrMakeSecretFile } from '../store/secret-files.ts';

/** Returns how to let it go. Throws Failure `conflict`. */
export function claimAlone({ dataDir }: Config): () => Promise<void> {
  const claim = claimFolder(dataDir);
  return async () => { claim.release(); };
}

/** As a worker of whoever claimed the data folder. Returns how to let it go. */
export function claimAsWorker({ dataDir }: Config): () => Promise<void> {
  const claim = shareClaim(dataDir);
  return async () => { claim.release(); };
}

/** A folder keeps its id for as long as it lives, wherever the store is. */
export function placeOf(dataDir: string): string {
  return readOrMakeSecretFile(join(dataDir, 'place.id'), () => shortId('plc', { randomBytes }, 20));
}
