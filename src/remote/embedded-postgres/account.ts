/**
 * The account under which PostgreSQL runs. It refuses to run as root: started by root it runs as the owner of its data,
 * or else as the system user `postgres` or `nobody`; no user is ever made. That account must be able to reach both the
 * data and the programs, which a folder that only root may enter prevents.
 */
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { Failure } from '../../core/failure.ts';

export interface Account { readonly uid: number; readonly gid: number }

/** Undefined: our own. `data` is the data folder, when there is one already. */
export function accountFor(data: string | undefined): Account | undefined {
  const own = process.getuid?.();
  if (own === undefined) return undefined;
  const owner = data === undefined ? undefined : statSync(data);
  if (own !== 0) {
    if (owner === undefined || owner.uid === own) return undefined;
    throw new Failure('store_unavailable', `${String(data)} belongs to another user (uid ${owner.uid})`, { hint: 'Run this as that user, or name another folder with --data.' });
  }
  return owner !== undefined && owner.uid !== 0 ? { uid: owner.uid, gid: owner.gid } : unprivileged();
}

function unprivileged(): Account {
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = [idOf('-u', name), idOf('-g', name)];
    if (uid !== undefined && gid !== undefined) return { uid, gid };
  }
  throw new Failure('config_invalid', 'started by root, and there is neither a user `postgres` nor a user `nobody` to run PostgreSQL as', {
    hint: 'Start Backstop as an ordinary user, or guard an existing server with --upstream.',
  });
}

function idOf(flag: '-u' | '-g', name: string): number | undefined {
  try {
    return Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim());
  } catch {
    return undefined;
  }
}

/** Whether the account may pass through every folder above `path`, and through `path` itself. */
export function canReach(account: Account | undefined, path: string): boolean {
  if (account === undefined) return true;
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    const { mode, uid, gid } = statSync(folder);
    const passBit = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
    if ((mode & passBit) === 0) return false;
    if (dirname(folder) === folder) return true;
  }
}
