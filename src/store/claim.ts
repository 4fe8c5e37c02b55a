/**
 * The claim of a data folder: one Backstop serves from it at a time, whatever kind of store it has. The kernel drops the
 * lock when the process ends, however it ends; so whoever holds it knows that every earlier one is dead.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Failure } from '../core/failure.ts';
import { isBusy } from './sqlite-dialect.ts';

export interface Claim { release(): void }

/** Throws Failure `conflict` when another process holds it, `store_unavailable` when the folder cannot be used. */
export function claimFolder(folder: string): Claim {
  let lock: DatabaseSync | undefined;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    lock = new DatabaseSync(join(folder, 'serving.lock'), { timeout: 0 });
    lock.exec('BEGIN EXCLUSIVE');
    const held = lock;
    return { release: () => { held.close(); } };
  } catch (cause) {
    lock?.close();
    if (isBusy(cause)) throw new Failure('conflict', `another Backstop already serves from ${folder}`, { hint: 'Stop it, or give this one a folder of its own with --data.', cause });
    throw new Failure('store_unavailable', `${folder} cannot be used (${cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error'})`, { cause });
  }
}
