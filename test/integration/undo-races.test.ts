/**
 * What another session does while a statement is captured, performed and sealed: at each step, for each way of capturing.
 * Either the statement commits and its undo leaves exactly what the other session made, or it is refused and nothing of it
 * stays. These are the races in which copies that are taken beforehand lose rows without a word.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import pg from 'pg';
import { Failure } from '../../src/core/failure.ts';
import { connectLink, type Link } from '../../src/remote/postgres/link.ts';
import { parseConnectionString } from '../../src/remote/postgres/link-target.ts';
import { ServerError } from '../../src/remote/postgres/server-error.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { openGuardedLink, type GuardedLink, type Started } from '../fixtures/undo/guarded-link.ts';
import { until } from '../fixtures/until.ts';

/** For a test that waits for what does not come. */
const testMsMax = 30_000;

let server: PostgresServer;
let link: Link;
let guarded: GuardedLink;
let other: pg.Client;
before(async () => { server = await startPostgresServer(); });
after(async () => { await server?.stop(); });
beforeEach(async () => {
  await server.run(`DROP TABLE IF EXISTS t, child, bag CASCADE; CREATE TABLE t (id int PRIMARY KEY, v text, j json); INSERT INTO t SELECT i, 'v', '{"a":1,"a":2}' FROM generate_series(1, 10) i;
    CREATE TABLE child (id int PRIMARY KEY, t_id int REFERENCES t ON DELETE CASCADE); INSERT INTO child SELECT i, i FROM generate_series(1, 5) i;
    CREATE TABLE bag (n int, j json); INSERT INTO bag VALUES (1, '{"b":1, "a":2}'), (1, '{"b":1, "a":2}'), (NULL, NULL)`);
  link = await connectLink(parseConnectionString(server.url()));
  guarded = await openGuardedLink(link, 18);
  other = new pg.Client({ connectionString: server.url() });
  await other.connect();
});
afterEach(async () => {
  await guarded?.close();
  await link?.end();
  await other?.end();
});

interface Way {
  readonly what: string;
  readonly sql: string;
  readonly method: string;
  readonly rowsExpected?: number;
}

const rows: Way = { what: 'rows asked for', sql: "DELETE FROM t WHERE v = 'v'", method: 'rows' };
const bulk: Way = { what: 'many rows asked for', sql: "DELETE FROM t WHERE v = 'v'", method: 'rows', rowsExpected: 5_000 };
const update: Way = { what: 'rows of an UPDATE asked for', sql: "UPDATE t SET v = 'w' WHERE v = 'v'", method: 'rows' };
const transitions: Way = { what: 'rows that triggers gather', sql: "DELETE FROM t USING (SELECT 'v' AS v) x WHERE t.v = x.v", method: 'transitions' };
const truncate: Way = { what: 'a TRUNCATE', sql: 'TRUNCATE t CASCADE', method: 'tables' };
const drop: Way = { what: 'a DROP', sql: 'DROP TABLE t CASCADE', method: 'tables' };
const alter: Way = { what: 'an ALTER', sql: 'ALTER TABLE t DROP COLUMN v', method: 'tables' };
const everyWay = [rows, bulk, update, transitions, truncate, drop, alter];
const withoutChild = 'DROP TABLE child';

/** As that session sees it. */
async function state(client: pg.Client = other): Promise<readonly string[]> {
  const all: string[] = [];
  for (const name of ['t', 'child', 'bag']) {
    const { rows: [there] } = await client.query<{ yes: boolean }>(`SELECT to_regclass('${name}') IS NOT NULL AS yes`);
    if (there?.yes === true) all.push(...(await client.query<{ row: string }>(`SELECT x::text AS row FROM ${name} x`)).rows.map(({ row }) => `${name} ${row}`));
  }
  return all.sort();
}

async function start({ sql, method, rowsExpected }: Way, begin = 'BEGIN'): Promise<{ readonly started: Promise<Started> }> {
  if (begin !== '') await link.query(begin);
  const [judged] = await judgeBeside(sql);
  assert.equal(judged?.coverage.method, method, judged?.coverage.sentence);
  const started = guarded.start({ ...judged ?? assert.fail(), rowsExpected });
  started.catch(() => undefined);
  return { started };
}

/** In a session of its own, as the gateway judges: the client's own may be in a transaction. */
async function judgeBeside(sql: string): ReturnType<GuardedLink['judge']> {
  const beside = await connectLink(parseConnectionString(server.url()));
  const judging = await openGuardedLink(beside, 18);
  try {
    return await judging.judge([sql]);
  } finally {
    await judging.close();
    await beside.end();
  }
}

/** Runs, seals, commits, and undoes: what was sealed, or why it was refused. */
async function finish(started: Promise<Started>): Promise<{ readonly refused: Error } | { readonly isUndone: boolean }> {
  let point;
  try {
    const begun = await started;
    await begun.run();
    point = await begun.seal();
    await link.query('COMMIT');
  } catch (error) {
    await link.query('ROLLBACK');
    if (error instanceof Failure || error instanceof ServerError) return { refused: error };
    throw error;
  }
  if (point !== undefined) await guarded.undo(point);
  return { isUndone: point !== undefined };
}

const isRefused = (finished: Awaited<ReturnType<typeof finish>>, code: string): void => {
  assert.ok('refused' in finished && 'code' in finished.refused, JSON.stringify(finished));
  assert.equal(finished.refused.code, code, finished.refused.message);
};

/** Resolves once that backend waits for a lock. */
async function untilWaiting(pid: number): Promise<void> {
  await until('it waits for a lock', async () => (await server.run(`SELECT FROM pg_stat_activity WHERE pid = ${pid} AND wait_event_type = 'Lock'`)).length > 0);
}
const pidOf = async (client: pg.Client): Promise<number> => Number((await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]?.pid);
const linkPid = async (): Promise<number> => Number((await link.query('SELECT pg_backend_pid()')).rows[0]?.[0]);

describe('another session has written and not committed when the capture begins', () => {
  for (const way of everyWay) {
    it(`${way.what}: its rows are waited for, and come back as it left them`, { timeout: testMsMax }, async () => {
      if (way.method === 'rows') await server.run(withoutChild);
      const pid = await linkPid();
      await other.query("BEGIN; UPDATE t SET j = '[1,  2]' WHERE id = 3; DELETE FROM t WHERE id = 9; INSERT INTO t VALUES (11, 'v', '0')");
      const { started } = await start(way);
      // Rows are asked for in what everybody sees until they are locked, where the other session is waited for.
      await untilWaiting(pid);
      const was = await state();
      await other.query('COMMIT');
      const finished = await finish(started);
      if (way === rows || way === update) assert.ok('isUndone' in finished || (finished.refused instanceof Failure && finished.refused.code === 'rows_moved'), JSON.stringify(finished));
      else assert.deepEqual(finished, { isUndone: true });
      assert.deepEqual(await state(), was);
    });
  }
});

describe('another session writes between the capture and the statement', () => {
  for (const way of [rows, update]) {
    it(`${way.what}: a row that comes to match is seen, and the statement is rolled back`, { timeout: testMsMax }, async () => {
      await server.run(withoutChild);
      const { started } = await start(way);
      await started;
      await other.query("INSERT INTO t VALUES (11, 'v', '0')");
      const was = await state();
      isRefused(await finish(started), 'rows_moved');
      assert.deepEqual(await state(), was);
    });
  }

  it('rows asked for: a row that goes cannot be changed meanwhile', { timeout: testMsMax }, async () => {
    await server.run(withoutChild);
    const was = await state();
    const { started } = await start(rows);
    await started;
    const pid = await pidOf(other);
    const changed = other.query("UPDATE t SET j = '7' WHERE id = 3");
    await untilWaiting(pid);
    assert.deepEqual(await finish(started), { isUndone: true });
    // It was deleted when the other session came to it.
    assert.equal((await changed).rowCount, 0);
    assert.deepEqual(await state(), was);
  });

  it('rows of an UPDATE asked for: a row that another session edits afterwards is not overwritten', { timeout: testMsMax }, async () => {
    await server.run(withoutChild);
    const { started } = await start(update);
    await started;
    const pid = await pidOf(other);
    const changed = other.query("UPDATE t SET j = '7' WHERE id = 3");
    await untilWaiting(pid);
    const begun = await started;
    await begun.run();
    const point = await begun.seal();
    await link.query('COMMIT');
    assert.equal((await changed).rowCount, 1);
    assert.ok(point !== undefined);
    await assert.rejects(guarded.undo(point), /other columns were edited since/);
    assert.ok((await state()).includes('t (3,w,7)'));
  });

  for (const way of everyWay.filter((one) => one !== rows && one !== update)) {
    for (const write of ["INSERT INTO t VALUES (11, 'v', '0')", "UPDATE t SET j = '7' WHERE id = 3", 'DELETE FROM t WHERE id = 4', 'TRUNCATE t CASCADE', 'ALTER TABLE t ALTER COLUMN v TYPE varchar(9)']) {
      it(`${way.what}: ${write} waits until it has committed`, { timeout: testMsMax }, async () => {
        if (way.method === 'rows') await server.run(withoutChild);
        const was = await state();
        const { started } = await start(way);
        await started;
        const pid = await pidOf(other);
        const written = other.query(`SET lock_timeout = 0; ${write}`).catch(() => undefined);
        await untilWaiting(pid);
        const begun = await started;
        await begun.run();
        const point = await begun.seal();
        // Whoever waits gives up, so that what is undone is what the statement alone did.
        await server.run(`SELECT pg_cancel_backend(${pid})`);
        await written;
        await link.query('COMMIT');
        assert.ok(point !== undefined);
        await guarded.undo(point);
        assert.deepEqual(await state(), was);
      });
    }
  }

  it('rows that triggers gather: nobody can refer to a row that goes', { timeout: testMsMax }, async () => {
    const was = await state();
    const { started } = await start(transitions);
    await started;
    const pid = await pidOf(other);
    const written = assert.rejects(other.query('INSERT INTO child VALUES (100, 1)'), /foreign key/);
    await untilWaiting(pid);
    const begun = await started;
    await begun.run();
    const point = await begun.seal();
    await link.query('COMMIT');
    await written;
    assert.ok(point !== undefined);
    await guarded.undo(point);
    assert.deepEqual(await state(), was);
  });

  it('a DROP: a view that is made on it waits, and finds nothing', { timeout: testMsMax }, async () => {
    const was = await state();
    const { started } = await start(drop);
    await started;
    const pid = await pidOf(other);
    const made = assert.rejects(other.query('CREATE VIEW of_t AS SELECT * FROM t'), /does not exist/);
    await untilWaiting(pid);
    const begun = await started;
    await begun.run();
    const point = await begun.seal();
    await link.query('COMMIT');
    await made;
    assert.ok(point !== undefined);
    await guarded.undo(point);
    assert.deepEqual(await state(), was);
  });
});

describe('in a transaction whose snapshot is older than what another session committed', () => {
  const old = async (write: string): Promise<void> => {
    await link.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await link.query('SELECT count(*) FROM bag');
    await other.query(write);
  };

  for (const way of [rows, bulk, update, transitions]) {
    it(`${way.what}: an edited row ends it, and nothing of it stays`, { timeout: testMsMax }, async () => {
      if (way.method === 'rows') await server.run(withoutChild);
      await old("UPDATE t SET j = '7' WHERE id = 3");
      const was = await state();
      isRefused(await finish((await start(way, '')).started), '40001');
      assert.deepEqual(await state(), was);
    });

    it(`${way.what}: a row that it cannot see is not touched`, { timeout: testMsMax }, async () => {
      if (way.method === 'rows') await server.run(withoutChild);
      await old("INSERT INTO t VALUES (11, 'v', '0')");
      const was = await state();
      const finished = await finish((await start(way, '')).started);
      assert.ok('isUndone' in finished, JSON.stringify(finished));
      assert.deepEqual(await state(), was);
    });

    it(`${way.what}: a table that was emptied or rewritten meanwhile looks empty, and stays as it is`, { timeout: testMsMax }, async () => {
      if (way.method === 'rows') await server.run(withoutChild);
      await old("ALTER TABLE t ALTER COLUMN j TYPE jsonb USING '1'");
      const was = await state();
      await finish((await start(way, '')).started);
      assert.deepEqual(await state(), was);
    });
  }

  for (const way of [truncate, drop, alter]) {
    it(`${way.what} is refused: its copy would be older than its lock`, { timeout: testMsMax }, async () => {
      await old("INSERT INTO t VALUES (11, 'v', '0')");
      const was = await state();
      isRefused(await finish((await start(way, '')).started), 'feature_not_supported');
      assert.deepEqual(await state(), was);
    });
  }
});

describe('what cannot be told beforehand', () => {
  it('rows that chance chooses come back, those and no others', { timeout: testMsMax }, async () => {
    const was = await state();
    const { started } = await start({ what: '', sql: 'DELETE FROM t WHERE random() < 0.5', method: 'transitions' });
    await finish(started);
    assert.deepEqual(await state(), was);
  });

  it('rows that are the same several times come back as often, and JSON as it was written', { timeout: testMsMax }, async () => {
    const was = await state();
    assert.deepEqual(await finish((await start({ what: '', sql: 'TRUNCATE bag', method: 'tables' })).started), { isUndone: true });
    assert.deepEqual(await state(), was);
    assert.deepEqual(await finish((await start({ what: '', sql: 'DROP TABLE bag', method: 'tables' })).started), { isUndone: true });
    assert.deepEqual(await state(), was);
  });

  it('rows that nothing tells apart are not promised to come back', { timeout: testMsMax }, async () => {
    const [judged] = await guarded.judge(['DELETE FROM bag WHERE n = 1']);
    assert.equal(judged?.coverage.method, undefined);
    assert.match(judged?.coverage.sentence ?? '', /no primary key/);
  });
});
