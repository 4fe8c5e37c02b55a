/**
 * The PostgreSQL JDBC driver, unaware of Backstop, in extended and in simple query mode. Maven fetches the driver once
 * into the cache, where the program is also compiled.
 */
import { after, before, describe, it } from 'node:test';
import { readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startBackstop, type HoldAnswer, type RunningBackstop } from '../fixtures/backstop.ts';
import { runProgram } from '../fixtures/run-program.ts';
import { cached, missing, reportAnswered, step } from './peer.ts';

const version = '42.7.14';
const source = fileURLToPath(new URL('jdbc/JdbcWork.java', import.meta.url));
const skip = missing('java', 'javac', 'mvn');

let classPath: string;
let backstop: RunningBackstop;
before(async () => {
  if (skip !== false) return;
  [classPath, backstop] = await Promise.all([buildProgram(), startBackstop({ waitSeconds: 30 })]);
});
after(async () => { await backstop?.stop(); });

async function buildProgram(): Promise<string> {
  const jar = join('driver', 'org', 'postgresql', 'postgresql', version, `postgresql-${version}.jar`);
  const folder = await cached('jdbc', `${version}\n${readFileSync(source, 'utf8')}`, async (into) => {
    await step('mvn', ['-q', '-B', 'dependency:get', `-Dartifact=org.postgresql:postgresql:${version}`, '-Dtransitive=false', `-Dmaven.repo.local=${join(into, 'driver')}`]);
    await step('javac', ['-encoding', 'UTF-8', '-d', into, '-cp', join(into, jar), source]);
  });
  return [folder, join(folder, jar)].join(delimiter);
}

/** The INSERT, the UPDATE, the batch of three in which each is a statement of its own, and the COPY. */
const answers: readonly HoldAnswer[] = [
  [/INSERT INTO notes/i], [/UPDATE notes/i, 'not today'], [/INSERT INTO notes/i], [/INSERT INTO notes/i], [/INSERT INTO notes/i], [/COPY notes/i],
];

describe('JDBC through the gateway', { skip }, () => {
  for (const [mode, firstNote] of [['extended', 8000], ['simple', 8100]] as const) {
    it(`in ${mode} query mode`, async (t) => {
      const url = `jdbc:postgresql://${backstop.host}:${backstop.port}/shop`;
      await reportAnswered(t,
        runProgram('java', ['-cp', classPath, 'JdbcWork', url, backstop.agent.name, backstop.agent.token, mode, String(firstNote)], { msMax: 120_000 }),
        backstop.answerHolds(answers));
    });
  }
});
