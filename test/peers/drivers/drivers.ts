/**
 * The drivers that play the scenario, by language: what each needs installed, how its environment is built once in the
 * cache, and how its program is started. Another driver is one more program and one more name here.
 */
import { cpSync, readFileSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cached, missing, step } from '../peer.ts';
import type { Program } from './scenario.ts';

export interface Driver {
  readonly name: string;
  /** Where one is played more than once. */
  readonly mode?: string;
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
function pythonEnvironment(): Promise<string> {
  const requirements = fileURLToPath(new URL('python/requirements.txt', import.meta.url));
  return cached('python', readFileSync(requirements, 'utf8'), async (into) => {
    await step('python3', ['-m', 'venv', into]);
    await step(join(into, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', '--only-binary', ':all:', '-r', requirements]);
  });
}

function nodeDriver(name: string, file: string): Driver {
  return {
    name, skip: missing('npm'),
    prepare: async () => { const cwd = await nodePrograms(); return { command: process.execPath, args: ['--disable-warning=ExperimentalWarning', file], cwd }; },
  };
}

/**
 * The programs with their packages beside them, because an import is looked for from the file that has it. Prisma's
 * client is generated there; it needs no engine of Prisma's, and `prisma generate` is kept from downloading one.
 */
function nodePrograms(): Promise<string> {
  const from = folder('node');
  const recipe = readdirSync(from).sort().map((file) => `${file}\n${readFileSync(join(from, file), 'utf8')}`).join('\n');
  return cached('node', recipe, async (into) => {
    cpSync(from, into, { recursive: true });
    await step('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error'], into);
    await step('env', ['PRISMA_SCHEMA_ENGINE_BINARY=/bin/true', 'CHECKPOINT_DISABLE=1', process.execPath, join('node_modules', 'prisma', 'build', 'index.js'), 'generate', '--schema', 'schema.prisma'], into);
  });
}

const pgx: Driver = {
  name: 'pgx', skip: missing('go'),
  prepare: async () => {
    const from = folder('go');
    const recipe = ['go.mod', 'go.sum', 'main.go'].map((file) => readFileSync(join(from, file), 'utf8')).join('\n');
    const built = await cached('go', recipe, async (into) => {
      const modules = join(into, '..', 'go-modules');
      await step('env', [`GOMODCACHE=${modules}`, 'GOFLAGS=-mod=readonly', 'go', '-C', from, 'build', '-o', join(into, 'program'), '.']);
    });
    return { command: join(built, 'program'), args: [], cwd: from };
  },
};

const jdbcVersion = '42.7.14';
function jdbcDriver(queryMode: 'extended' | 'simple'): Driver {
  return {
    name: 'JDBC', mode: `${queryMode} query mode`, skip: missing('java', 'javac', 'mvn'),
    prepare: async () => {
      const source = join(folder('java'), 'JdbcDriver.java');
      const jar = join('driver', 'org', 'postgresql', 'postgresql', jdbcVersion, `postgresql-${jdbcVersion}.jar`);
      const built = await cached('jdbc-driver', `${jdbcVersion}\n${readFileSync(source, 'utf8')}`, async (into) => {
        await step('mvn', ['-q', '-B', 'dependency:get', `-Dartifact=org.postgresql:postgresql:${jdbcVersion}`, '-Dtransitive=false', `-Dmaven.repo.local=${join(into, 'driver')}`]);
        await step('javac', ['-encoding', 'UTF-8', '-d', into, '-cp', join(into, jar), source]);
      });
      return { command: 'java', args: ['-cp', [built, join(built, jar)].join(delimiter), 'JdbcDriver'], cwd: built, env: { QUERY_MODE: queryMode } };
    },
  };
}

export const drivers: readonly Driver[] = [
  pythonDriver('psycopg2', 'psycopg2_driver.py'),
  pythonDriver('psycopg 3', 'psycopg3_driver.py'),
  pythonDriver('asyncpg', 'asyncpg_driver.py'),
  pythonDriver('SQLAlchemy 2', 'sqlalchemy_driver.py'),
  pythonDriver('Django 5.2', 'django_driver.py'),
  nodeDriver('node-postgres', 'pg.mjs'),
  nodeDriver('postgres.js', 'postgres-js.mjs'),
  nodeDriver('Drizzle', 'drizzle.mjs'),
  nodeDriver('Prisma', 'prisma.mjs'),
  pgx,
  jdbcDriver('extended'),
  jdbcDriver('simple'),
];
