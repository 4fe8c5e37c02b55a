/**
 * What agents have used is counted over processes and restarts, window by window, and is never known wrongly for long.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { noAmounts, type Amounts } from '../core/policy/budgets.ts';
import { openStore, withStore } from '../../test/fixtures/store.ts';
import { createBudgets, staleMsMax, type Budgets } from './budgets.ts';
import type { StoreDatabase } from './database.ts';

const one: Amounts = { statements: 1, rowsChanged: 0, rowsRead: 0 };

function clockAt(start: number): { now: () => Date; monotonicMs: () => number; ms: number } {
  const clock = { ms: start, now: () => new Date(clock.ms), monotonicMs: () => clock.ms };
  return clock;
}
const noon = Date.UTC(2026, 2, 2, 12, 30, 30);

async function withBudgets(database: StoreDatabase, clock: ReturnType<typeof clockAt>, work: (budgets: Budgets) => Promise<void>): Promise<void> {
  const budgets = createBudgets({ database, clock });
  try { await work(budgets); } finally { await budgets.close(); }
}

test('what is taken is counted before the next who takes, in every process', () => withStore(async ({ database, place }) => {
  const clock = clockAt(noon);
  const other = await openStore(place);
  await withBudgets(database, clock, (here) => withBudgets(other.database, clock, async (there) => {
    const befores = await Promise.all(Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? here : there).take('ada', one)));
    assert.deepEqual(befores.map(({ day }) => day.statements).toSorted((a, b) => a - b), Array.from({ length: 20 }, (_, index) => index));
    assert.deepEqual((await here.take('bob', one)).day, noAmounts, 'each agent has its own');
  }));
  await other.close();
}));

test('what was counted in memory is there for another process after the end, and after a restart', () => withStore(async ({ database }) => {
  const clock = clockAt(noon);
  await withBudgets(database, clock, async (budgets) => {
    await budgets.take('ada', one);
    budgets.add('ada', { rowsRead: 500 });
    budgets.add('ada', { rowsChanged: 3 });
    assert.deepEqual(budgets.used('ada')?.hour, { statements: 1, rowsChanged: 3, rowsRead: 500 }, 'known at once where it was done');
  });
  await withBudgets(database, clock, async (budgets) => {
    assert.equal(budgets.used('ada'), undefined, 'nothing is known before it was asked');
    assert.deepEqual((await budgets.take('ada', noAmounts)).hour, { statements: 1, rowsChanged: 3, rowsRead: 500 });
  });
}));

test('each window begins anew on its own boundary', () => withStore(async ({ database }) => {
  const clock = clockAt(noon);
  await withBudgets(database, clock, async (budgets) => {
    const statements = async (): Promise<readonly number[]> => {
      const { minute, hour, day } = await budgets.take('ada', one);
      return [minute.statements, hour.statements, day.statements];
    };
    assert.deepEqual(await statements(), [0, 0, 0]);
    assert.deepEqual(await statements(), [1, 1, 1]);
    clock.ms = Date.UTC(2026, 2, 2, 12, 31, 0);
    assert.deepEqual(budgets.used('ada')?.minute, undefined, 'what is old is not known');
    assert.deepEqual(await statements(), [0, 2, 2]);
    clock.ms = Date.UTC(2026, 2, 2, 13, 0, 0);
    assert.deepEqual(await statements(), [0, 0, 3]);
    clock.ms = Date.UTC(2026, 2, 3);
    assert.deepEqual(await statements(), [0, 0, 0]);
  });
}));

test('what is given back leaves the window that it was counted in, and no later one', () => withStore(async ({ database }) => {
  const clock = clockAt(noon);
  await withBudgets(database, clock, async (budgets) => {
    await budgets.take('ada', { ...one, rowsChanged: 50 });
    const takenAt = clock.now();
    clock.ms = Date.UTC(2026, 2, 2, 12, 31, 0);
    budgets.add('ada', { statements: -1, rowsChanged: -50 }, takenAt);
    const { minute, hour } = await budgets.take('ada', noAmounts);
    assert.deepEqual([minute, hour], [noAmounts, noAmounts]);
  });
}));

test('what was known is not known any more after a second without news', () => withStore(async ({ database }) => {
  const clock = clockAt(noon);
  await withBudgets(database, clock, async (budgets) => {
    await budgets.take('ada', one);
    clock.ms += staleMsMax;
    assert.equal(budgets.used('ada')?.day.statements, 1);
    clock.ms += 1;
    assert.equal(budgets.used('ada'), undefined);
  });
}));

test('what could not be written is kept, and counted when it can be', () => withStore(async ({ database }) => {
  const clock = clockAt(noon);
  await withBudgets(database, clock, async (budgets) => {
    budgets.add('ada', { statements: 4 });
    await database.queries.schema.alterTable('budget_use').renameTo('gone').execute();
    await assert.rejects(budgets.take('ada', one));
    assert.equal(budgets.used('ada'), undefined);
    await database.queries.schema.alterTable('gone').renameTo('budget_use').execute();
    assert.equal((await budgets.take('ada', one)).day.statements, 4);
  });
}));

for (const becomes of ['is written', 'fails'] as const) {
  test(`who takes counts what is on its way to the store, also where that ${becomes}`, () => withStore(async ({ database }) => {
    const clock = clockAt(noon);
    const gate = Promise.withResolvers<void>();
    let begun = 0;
    // The second transaction, and no other, begins when it is let.
    const slow: StoreDatabase = { ...database, transactRelaxed: async (work) => {
      if ((begun += 1) === 2) await gate.promise;
      return database.transactRelaxed(work);
    } };
    await withBudgets(slow, clock, async (budgets) => {
      await budgets.take('ada', one);
      budgets.add('ada', { rowsChanged: 3 });
      const taking = budgets.take('ada', one);
      budgets.add('ada', { rowsRead: 8 });
      await setImmediate();
      const [begunMeanwhile, usedMeanwhile] = [begun, budgets.used('ada')?.day];
      if (becomes === 'fails') gate.reject(new Error('the store is gone'));
      else gate.resolve();
      assert.deepEqual((await taking).day, { statements: 1, rowsChanged: 3, rowsRead: 8 });
      assert.equal(begunMeanwhile, 2, 'whoever takes waits for the transaction before');
      assert.deepEqual(usedMeanwhile, { statements: 1, rowsChanged: 3, rowsRead: 8 });
      assert.deepEqual(budgets.used('ada')?.day, { statements: 2, rowsChanged: 3, rowsRead: 8 });
    });
  }));
}

test('what one agent takes leaves right what is known of another', () => withStore(async ({ database }) => {
  await withBudgets(database, clockAt(noon), async (budgets) => {
    await budgets.take('bob', one);
    budgets.add('bob', { statements: 5 });
    await budgets.take('ada', one);
    assert.equal(budgets.used('bob')?.day.statements, 6);
  });
}));

test('windows of long ago are removed', () => withStore(async ({ database }) => {
  const clock = clockAt(noon);
  await withBudgets(database, clock, async (budgets) => { await budgets.take('ada', one); });
  clock.ms += 3 * 86_400_000;
  await withBudgets(database, clock, (budgets) => { budgets.add('bob', one); return Promise.resolve(); });
  const kept = await database.queries.selectFrom('budget_use').select('agent').distinct().execute();
  assert.deepEqual(kept.map(({ agent }) => agent), ['bob']);
}));
