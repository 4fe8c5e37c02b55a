/**
 * The data of the embedded PostgreSQL: made once by initdb, and refused when another major version wrote it. Logging in
 * needs a password on every path; nothing is trusted. A start that was cut short leaves no half-made cluster behind.
 */
import { execFile } from 'node:child_process';
import { chownSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Failure } from '../../core/failure.ts';
import type { Place } from './place.ts';
import type { Programs } from './programs.ts';

export const superuser = 'postgres';

/** Returns PostgreSQL's data directory. Throws Failure `data_version`, or `store_unavailable` when initdb fails. */
export async function findCluster(place: Place, programs: Programs, superuserPassword: string): Promise<string> {
  const data = join(place.folder, 'data');
  if (!existsSync(data)) await makeCluster(data, place, programs, superuserPassword);
  checkVersion(data, programs.major);
  return data;
}

async function makeCluster(data: string, { folder, account }: Place, programs: Programs, password: string): Promise<void> {
  const unfinished = `${data}.new`;
  const passwordFile = join(folder, 'password');
  rmSync(unfinished, { recursive: true, force: true });
  rmSync(passwordFile, { force: true });
  try {
    writeFileSync(passwordFile, `${password}\n`, { mode: 0o600, flag: 'wx' });
    if (account !== undefined) chownSync(passwordFile, account.uid, account.gid);
    await promisify(execFile)(programs.initdb, [
      '-D', unfinished, '-U', superuser, '--pwfile', passwordFile, '--auth=scram-sha-256', '--encoding=UTF8', '--locale=C',
      '--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--no-sync', '--no-instructions',
    ], { ...account, cwd: folder, env: {} });
    renameSync(unfinished, data);
  } catch (cause) {
    throw new Failure('store_unavailable', `PostgreSQL could not make its data folder: ${lastLine(cause)}`, { cause });
  } finally {
    rmSync(passwordFile, { force: true });
  }
}

function lastLine(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error';
  const output = 'stderr' in error && typeof error.stderr === 'string' ? error.stderr.trim() : '';
  return (output === '' ? error.message : output).split('\n').at(-1) ?? error.message;
}

function checkVersion(data: string, major: number): void {
  const file = join(data, 'PG_VERSION');
  const found = existsSync(file) ? readFileSync(file, 'utf8').trim() : undefined;
  if (found === String(major)) return;
  if (found === undefined) throw new Failure('store_unavailable', `${data} is not a PostgreSQL data folder`, { hint: 'Name another folder with --data.' });
  throw new Failure('data_version', `${data} was written by PostgreSQL ${found}, and this is PostgreSQL ${major}`, {
    hint: `Use the Backstop that wrote it, or start with a fresh folder: --data DIR.`,
  });
}
