/**
 * The drivers that play the scenario, by language: what each needs installed, how its environment is built once in the
 * cache, and how its program is started. Another driver is one more program and one more name here.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cached, missing, step } from '../peer.ts';
import type { Program } from './scenario.ts';

export interface Driver {
  readonly name: string;
  /** For a test's `skip`. */
  readonly skip: string | false;
  prepare(): Promise<Program>;
}

const folder = (language: string): string => fileURLToPath(new URL(`${language}/`, import.meta.url));

function pythonDriver(name: string, file: string): Driver {
  const cwd = folder('python');
  return {
    name, skip: missing('python3'),
    prepare: async () => ({ command: join(await pythonEnvironment(), 'bin', 'python'), args: [file], cwd, env: { PYTHONDONTWRITEBYTECODE: '1' } }),
  };
}

/** The virtual environment with every Python driver, built once for each list of requirements. */
export function pythonEnvironment(): Promise<string> {
  const requirements = fileURLToPath(new URL('../python/requirements.txt', import.meta.url));
  return cached('python', readFileSync(requirements, 'utf8'), async (into) => {
    await step('python3', ['-m', 'venv', into]);
    await step(join(into, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', '--only-binary', ':all:', '-r', requirements]);
  });
}

export const drivers: readonly Driver[] = [
  pythonDriver('psycopg2', 'psycopg2_driver.py'),
  pythonDriver('psycopg 3', 'psycopg3_driver.py'),
  pythonDriver('asyncpg', 'asyncpg_driver.py'),
  pythonDriver('SQLAlchemy 2', 'sqlalchemy_driver.py'),
];
