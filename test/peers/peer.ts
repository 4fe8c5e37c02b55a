/**
 * What the peer tests share: finding a tool (a test whose tool is missing is skipped by that name), and building what a
 * peer needs once in a cache outside the checkout.
 */
import { accessSync, constants, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { runProgram } from '../fixtures/run-program.ts';

/** For a test's `skip`: false when all are installed, else which are missing. */
export function missing(...programs: readonly string[]): string | false {
  const absent = programs.filter((program) => !isInstalled(program));
  return absent.length === 0 ? false : `not installed: ${absent.join(', ')}`;
}

/** The same for a program outside of PATH, such as another major version of PostgreSQL. */
export function missingFile(path: string): string | false {
  return existsSync(path) ? false : `not installed: ${path}`;
}

function isInstalled(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** A folder in the cache, built once for each recipe; a build that was interrupted starts again. */
export async function cached(name: string, recipe: string, build: (folder: string) => Promise<void>): Promise<string> {
  const root = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  const key = createHash('sha256').update(recipe).digest('hex').slice(0, 16);
  const folder = join(root, 'backstop-peers', `${name}-${key}`);
  const complete = join(folder, '.complete');
  if (existsSync(complete)) return folder;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await build(folder);
  writeFileSync(complete, '');
  return folder;
}

/** Runs a step of a build; throws with its output when it fails. */
export async function step(program: string, args: readonly string[], cwd?: string): Promise<void> {
  const ended = await runProgram(program, args, { msMax: 300_000, ...(cwd === undefined ? {} : { cwd }) });
  if (ended.code !== 0) throw new Error(`${program} ${args.join(' ')} ended with code ${ended.code}\n${ended.stdout}\n${ended.stderr}`);
}
