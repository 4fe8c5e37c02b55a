/**
 * Backstop, with one worker or two, is killed (SIGKILL) at random moments under load, two hundred times, on both kinds of store: whatever the
 * moment, no verdict that anybody was told of is lost, start-up leaves no permit unresolved, the record verifies as a
 * whole, and no row exists that it had not permitted before. A failure names its seed; with another one:
 * `node test/peers/kill.test.ts SEED`.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { startPostgresServer } from '../fixtures/postgres-server.ts';
import { postgresStores } from '../fixtures/postgres-stores.ts';
import { placeToText } from '../fixtures/store.ts';
import { generator } from '../fixtures/generator.ts';
import { until } from '../fixtures/until.ts';
import { everyWork, workUntilGone, type Told } from './kill/load.ts';
import { RecordReader } from './kill/record.ts';
import { startRig, type Rig } from './kill/rig.ts';

const killsPerStore = 100;
/** Of ten kills, how many come while it starts. */
const earlyOfTen = 2;
/** Work until a kill, counted in statements, so that a slow machine sees as much of it, and then a moment. */
const statementsMax = 80;
const momentMsMax = 100;
const startMsTypical = 700;
const workMsMax = 60_000;
const seed = Number(process.argv[2] ?? Date.now() % 1_000_000);

/** Answers whatever is held, as fast as it comes, until told to stop. */
async function answerAll({ memory, operatorToken }: Rig, answers: Set<string>, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    for (const { id } of await memory.approvals.list('pending', 20)) {
      await memory.answer(operatorToken, id, { answer: 'approved', reason: null });
      answers.add(id);
    }
    await pause(10);
  }
}

for (const [index, kind] of (['SQLite', 'PostgreSQL'] as const).entries()) {
  describe(`${killsPerStore} kills with the store on ${kind}, seed ${seed}`, () => {
    it('lose nothing, leave nothing open, and let nothing run unrecorded', async (t) => {
      const random = generator(seed + index);
      const server = await startPostgresServer({ track_commit_timestamp: 'on' });
      const rig = await startRig(server, kind === 'SQLite' ? undefined : placeToText(await (await postgresStores(server)).newPlace()));
      const reader = new RecordReader(rig.memory);
      const told: Told = { written: new Set(), refused: new Set(), held: new Set() };
      const answers = new Set<string>();
      let [kills, n, rows] = [0, 0, 0];
      const someWork = async (): Promise<void> => {
        const goal = n + 1 + random(statementsMax);
        await until('the clients work', () => Promise.resolve(n >= goal), workMsMax);
        await pause(random(momentMsMax));
      };
      try {
        while (kills < killsPerStore) {
          if (random(10) < earlyOfTen) {
            kills += 1;
            await rig.startAndKill(1 + random(2), random(startMsTypical));
          }
          const workers = 1 + random(2);
          await rig.start(workers);
          await reader.checkSettled();
          const stop = new AbortController();
          const load = [answerAll(rig, answers, stop.signal), ...everyWork.map((work) => workUntilGone(rig.url, work, told, () => n += 1))];
          await someWork();
          if (workers > 1 && random(2) === 0) {
            kills += 1;
            await rig.killWorker(random(workers));
            await pause(random(momentMsMax));
          }
          kills += 1;
          await rig.kill();
          stop.abort();
          await Promise.all(load);
          rows = await reader.checkRows(server);
          reader.checkTold(told, answers);
        }
        await rig.start(1);
        await reader.checkSettled();
        rows = await reader.checkRows(server);
        reader.checkTold(told, answers);
        t.diagnostic(`${kills} kills, ${rig.starts.length} starts (median ${median(rig.starts)} ms), ${reader.entries} entries, ${rows} rows, told of ${told.written.size} writes, ${told.refused.size} refusals, ${told.held.size} holds; ${answers.size} answers`);
        // It was eventful enough to show something.
        for (const count of [rows, told.written.size, told.refused.size, told.held.size, answers.size]) assert.ok(count >= kills / 5, `${count}`);
      } catch (cause) {
        throw new Error(`seed ${seed}, kill ${kills}`, { cause });
      } finally {
        await rig.close();
        await server.stop();
      }
    });
  });
}

function median(values: readonly number[]): number { return Math.round(values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0); }
