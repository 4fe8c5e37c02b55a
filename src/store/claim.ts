/**
 * The claim of a data folder: one Backstop serves from it at a time, whatever kind of store it has. The kernel drops the
 * lock when the process ends, however it ends; so whoever holds it knows that every earlier one is dead.
 */
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Failure } from '../core/failure.ts';
import { isBusy } from './sqlite-dialect.ts';
import { systemCode } from '../lib/system-error.ts';

export interface Claim { release(): void }

/** How long the workers of a supervisor that died may take to notice. */
const workersEndMsMax = 15_000;

/** Throws Failure `conflict` when another process holds it, `store_unavailable` when the folder cannot be used. */
export function claimFolder(folder: string, workersMsMax = workersEndMsMax): Claim {
  const claim = lockFile(folder, 'serving.lock', 'EXCLUSIVE', 0);
  try {
    // Held for a moment only: it shows that no worker of an earlier supervisor is left.
    lockFile(folder, 'workers.lock', 'EXCLUSIVE', workersMsMax).release();
    return claim;
  } catch (error) {
    claim.release();
    throw error;
  }
}

/** For a worker of whoever holds the claim: for as long as it lives, nobody else can claim the folder. */
export function shareClaim(folder: string): Claim { return lockFile(folder, 'workers.lock', 'SHARED', workersEndMsMax); }

function lockFile(folder: string, name: string, kind: 'EXCLUSIVE' | 'SHARED', waitMsMax: number): Claim {
  let lock: DatabaseSync | undefined;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    // Whoever can read it could lock it, and keep Backstop from starting.
    closeSync(openSync(join(folder, name), 'a', 0o600));
    lock = new DatabaseSync(join(folder, name), { timeout: waitMsMax });
    // A transaction that has read holds the shared lock until it ends.
    lock.exec(kind === 'EXCLUSIVE' ? 'BEGIN EXCLUSIVE' : 'BEGIN; SELECT * FROM sqlite_schema');
    const held = lock;
    return { release: () => { held.close(); } };
  } catch (cause) {
    lock?.close();
    if (isBusy(cause)) throw new Failure('conflict', `another Backstop already serves from ${folder}`, { hint: 'Stop it, or give this one a folder of its own with --data.', cause });
    throw new Failure('store_unavailable', `${folder} cannot be used (${systemCode(cause)})`, { cause });
  }
}
