/**
 * The scenario that every driver's program plays, and what each step must show. A program prints one JSON line for each
 * step; its value is the same through the gateway as from PostgreSQL itself, where a role without the right gets the
 * SQLSTATE that Backstop gives. What an error says is not compared, but each refusal must say its reason.
 */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { z } from 'zod';
import type { RunningBackstop } from '../../fixtures/backstop.ts';
import type { PostgresServer } from '../../fixtures/postgres-server.ts';
import { runProgram, type Ended } from '../../fixtures/run-program.ts';
import { until } from '../../fixtures/until.ts';

export interface Step {
  readonly name: string;
  readonly claim: string;
  /** What the errors of this step say through the gateway. */
  readonly says?: RegExp;
}

const denyReason = 'not today';

/** What errors or notices of a driver's own step say through the gateway. */
const ownSays: Readonly<Record<string, RegExp>> = { own_notice: /apr_/, own_batch_refused: /CRITICAL/, own_pipeline_refused: /CRITICAL/ };

export const steps: readonly Step[] = [
  { name: 'read', claim: 'reads by parameters, by types and in portions, and gets the server\'s own error' },
  { name: 'held', claim: 'writes once its held INSERT is approved' },
  { name: 'held_in_transaction', claim: 'takes an approved INSERT back, and commits another' },
  { name: 'denied', claim: 'is told the reason when its held UPDATE is denied, and goes on', says: new RegExp(denyReason) },
  { name: 'refused', claim: 'is refused a DELETE without WHERE, and goes on', says: /CRITICAL/ },
  { name: 'refused_in_transaction', claim: 'is refused inside a transaction, which is aborted until its ROLLBACK', says: /CRITICAL/ },
  { name: 'cancel', claim: 'cancels its running query, and goes on' },
  { name: 'reconnect', claim: 'loses its connection and connects again' },
];

/** How a driver's program is started: the command, its folder, and what else it needs from the environment. */
export interface Program {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Where one run connects. `developUrl` is for what only the policy `develop` lets through, such as migrations. */
export interface Place { readonly url: string; readonly developUrl: string }

export interface Scene {
  readonly server: PostgresServer;
  readonly direct: Place;
  readonly gateway: Place;
  readonly backstop: RunningBackstop;
  /** Under `develop`, on the same server. */
  readonly develop: RunningBackstop;
  /** Leave out the driver's own steps. */
  readonly isShort: boolean;
}

const line = z.strictObject({ step: z.string(), value: z.json().optional(), texts: z.array(z.string()).optional(), failed: z.string().optional() });
type Line = z.infer<typeof line>;

const programMsMax = 120_000;

/** Plays the scenario direct and through the gateway; each step becomes a test of its own. */
export async function play(t: TestContext, scene: Scene, program: Program, firstNote: number): Promise<void> {
  const direct = await run(scene, program, scene.direct, firstNote);
  const answered = answerEveryHold(scene.backstop);
  // Of a migration, what is CRITICAL still waits for a person: DROP COLUMN … CASCADE, for instance.
  const answeredToo = answerEveryHold(scene.develop);
  const gateway = await run(scene, program, scene.gateway, firstNote).finally(answered.stop).finally(answeredToo.stop);
  assert.deepEqual(direct.map(({ step }) => step), gateway.map(({ step }) => step));
  for (const [at, found] of gateway.entries()) {
    const step = steps.find(({ name }) => name === found.step);
    await t.test(step?.claim ?? found.step.replace(/^own_/, '').replaceAll('_', ' '), () => { compare(found, direct[at], step?.says ?? ownSays[found.step]); });
  }
  await t.test('each of its held writes came to a person', () => {
    assert.deepEqual(['held', 'held_in_transaction', 'denied'].filter((name) => !gateway.some(({ step }) => step === name)), []);
    assert.ok(answered.approved.filter((text) => /INSERT INTO .*notes/i.test(text)).length >= 3, answered.approved.join('\n'));
    assert.ok(answered.denied.length >= 1);
  });
}

function compare(found: Line, direct: Line | undefined, says: RegExp | undefined): void {
  assert.ok(direct?.failed === undefined, `direct: ${direct?.failed ?? ''}`);
  assert.ok(found.failed === undefined, `through the gateway: ${found.failed ?? ''}\ndirect it gave ${JSON.stringify(direct)}`);
  assert.deepEqual(found.value, direct?.value);
  if (says !== undefined) assert.match((found.texts ?? []).join('\n'), says);
}

async function run(scene: Scene, program: Program, place: Place, firstNote: number): Promise<readonly Line[]> {
  const env = {
    ...program.env, DATABASE_URL: place.url, DEVELOP_URL: place.developUrl, FIRST_NOTE: String(firstNote), ...(scene.isShort ? { SHORT: '1' } : {}),
  };
  const ending = endLostConnections(scene.server);
  const ended = await runProgram(program.command, program.args, { cwd: program.cwd, env, msMax: programMsMax }).finally(ending.stop);
  return readLines(ended);
}

function readLines(ended: Ended): readonly Line[] {
  const lines = ended.stdout.split('\n').filter((text) => text.startsWith('{"step"')).map((text) => line.parse(JSON.parse(text)));
  const missing = steps.filter(({ name }) => !lines.some(({ step }) => step === name)).map(({ name }) => name);
  assert.deepEqual(missing, [], `steps that were not played\n${ended.stdout}\n${ended.stderr}`);
  return lines;
}

interface Watch { readonly stop: () => Promise<void> }

/** Does it again and again until it is stopped; an error ends it and comes out of `stop`. */
function watch(act: () => Promise<void>): Watch {
  let isOver = false;
  const over = until('the program has ended', async () => { await act(); return isOver; }, programMsMax + 10_000);
  over.catch(() => undefined);
  return { stop: async () => { isOver = true; await over; } };
}

/**
 * The step `reconnect` runs a query without end whose set is called `lost`, and its server process is ended: when it has
 * run for longer than its Parse can take, because asyncpg has a fault of its own when a connection is lost in between.
 */
function endLostConnections(server: PostgresServer): Watch {
  return watch(async () => {
    await server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT count%) lost,%' AND state = 'active' AND state_change < clock_timestamp() - interval '300 ms' AND pid <> pg_backend_pid()");
  });
}

/** The person of this play: denies what changes a customer, approves everything else. */
function answerEveryHold(backstop: RunningBackstop): Watch & { readonly approved: string[]; readonly denied: string[] } {
  const [approved, denied]: [string[], string[]] = [[], []];
  const { stop } = watch(async () => {
    for (const { id, redacted } of await backstop.memory.approvals.list('pending', 100)) {
      const isDenied = /^\s*UPDATE .*customers/i.test(redacted);
      (isDenied ? denied : approved).push(redacted);
      await (isDenied ? backstop.deny(id, denyReason) : backstop.approve(id));
    }
  });
  return { stop, approved, denied };
}
