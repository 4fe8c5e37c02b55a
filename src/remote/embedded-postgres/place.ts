/**
 * Where the embedded PostgreSQL keeps its data: `postgres` in the data folder, or, where the account that runs it cannot
 * enter that folder, a folder of root's outside, to which `postgres` is then a symbolic link. Made here, empty and owned
 * by the account; an existing one is only found.
 */
import { chmodSync, chownSync, existsSync, lstatSync, mkdirSync, realpathSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Failure } from '../../core/failure.ts';
import { sha256Hex } from '../../lib/sha256.ts';
import { accountFor, canReach } from './account.ts';
import type { Account } from './account.ts';

export interface Place {
  /** Absolute, without symbolic links. */
  readonly folder: string;
  readonly account: Account | undefined;
}

const stateFolder = '/var/lib';

export function findPlace(dataDir: string): Place {
  const link = join(dataDir, 'postgres');
  if (existsSync(link)) return existingPlace(realpathSync(link));
  const account = accountFor(undefined);
  // A link whose target is gone, as after a cleaned temporary folder: there is nothing left to find.
  rmSync(link, { force: true });
  if (account !== undefined && canReach(account, dirname(dataDir))) letPass(dataDir);
  if (canReach(account, dataDir)) return { folder: realpathSync(makeFolder(link, account)), account };
  const folder = join(outsideFolder(), `data-${sha256Hex(realpathSync(dataDir)).slice(0, 16)}`);
  // What an earlier data folder of this path left behind; its passwords went with it.
  rmSync(folder, { recursive: true, force: true });
  makeFolder(folder, account);
  symlinkSync(folder, link);
  return { folder, account };
}

/** Others may then pass through root's data folder, but neither list it nor read a file of it. */
function letPass(dataDir: string): void {
  chmodSync(dataDir, (statSync(dataDir).mode & 0o7777) | 0o001);
}

function existingPlace(folder: string): Place {
  const account = accountFor(folder);
  if (canReach(account, folder)) return { folder, account };
  throw new Failure('store_unavailable', `PostgreSQL cannot run as root, and the user that owns ${folder} may not enter a folder above it`, {
    hint: 'Give that user the right to pass (chmod o+x on the folders above), or name another folder with --data.',
  });
}

function makeFolder(folder: string, account: Account | undefined): string {
  mkdirSync(folder, { mode: 0o700 });
  if (account !== undefined) chownSync(folder, account.uid, account.gid);
  return folder;
}

/** Root's own folder that everyone may enter. Only root comes here. */
export function outsideFolder(): string {
  const folder = join(existsSync(stateFolder) ? stateFolder : tmpdir(), 'backstop');
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  // In a shared temporary folder anyone could have put this name there first.
  const { uid, mode } = statSync(folder);
  if (lstatSync(folder).isSymbolicLink() || uid !== 0 || (mode & 0o022) !== 0) {
    throw new Failure('store_unavailable', `${folder} is not a folder that only root may change`, { hint: 'Remove it, or start Backstop as an ordinary user.' });
  }
  return folder;
}
