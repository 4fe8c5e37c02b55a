/**
 * Python's drivers, each unaware of Backstop and in its own process: psycopg2 and psycopg 3 (libpq), asyncpg (its own
 * protocol implementation) and SQLAlchemy. They run in a virtual environment that is built once in the cache.
 */
import { after, before, describe, it, type TestContext } from 'node:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startBackstop, type HoldAnswer, type RunningBackstop } from '../fixtures/backstop.ts';
import { runProgram } from '../fixtures/run-program.ts';
import { cached, missing, reportAnswered, step } from './peer.ts';

const folder = fileURLToPath(new URL('python/', import.meta.url));
const skip = missing('python3');

let python: string;
let backstop: RunningBackstop;
before(async () => {
  if (skip !== false) return;
  [python, backstop] = await Promise.all([buildEnvironment(), startBackstop({ waitSeconds: 30 })]);
});
after(async () => { await backstop?.stop(); });

async function buildEnvironment(): Promise<string> {
  const requirements = join(folder, 'requirements.txt');
  const environment = await cached('python', readFileSync(requirements, 'utf8'), async (into) => {
    await step('python3', ['-m', 'venv', into]);
    await step(join(into, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', '--only-binary', ':all:', '-r', requirements]);
  });
  return join(environment, 'bin', 'python');
}

async function drive(t: TestContext, program: string, answers: readonly HoldAnswer[]): Promise<void> {
  await reportAnswered(t,
    runProgram(python, [program], { cwd: folder, msMax: 120_000, env: { DATABASE_URL: backstop.agentUrl(), PYTHONDONTWRITEBYTECODE: '1' } }),
    backstop.answerHolds(answers));
}

describe('Python through the gateway', { skip }, () => {
  it('psycopg2', (t) => drive(t, 'psycopg2_work.py', [[/INSERT INTO notes/i], [/UPDATE notes/i, 'not today'], [/COPY notes/i]]));
  it('psycopg 3', (t) => drive(t, 'psycopg3_work.py', [[/INSERT INTO notes/i], [/INSERT INTO notes/i]]));
  it('asyncpg', (t) => drive(t, 'asyncpg_work.py', [[/INSERT INTO notes/i], [/COPY .*notes/i]]));
  it('SQLAlchemy', (t) => drive(t, 'sqlalchemy_work.py', [[/INSERT INTO customers/i], [/UPDATE customers/i]]));
});
