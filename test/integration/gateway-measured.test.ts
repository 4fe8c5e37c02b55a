/**
 * Ceilings before a real PostgreSQL 18: what changes more than was approved or allowed is rolled back, with both numbers, in
 * every way that a client can send it, while everything else looks as PostgreSQL itself would have shown it.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { MeasuredImpact } from '../../src/core/impact.ts';
import * as say from '../../src/lib/pgwire/frontend-encode.ts';
import { startMeasuredScene, type MeasuredScene } from '../fixtures/measured-scene.ts';
import { bind, execute, flush, parse, query, sync } from '../fixtures/unnamed-messages.ts';
import { until } from '../fixtures/until.ts';
import type { WireClient } from '../fixtures/wire-client.ts';

let scene: MeasuredScene;
before(async () => { scene = await startMeasuredScene(); });
after(async () => { await scene?.stop(); });
beforeEach(() => scene.refill());

const whole = (sql: string, values: readonly string[] = []): Buffer => Buffer.concat([parse(sql), bind(values), execute()]);

/** The client's UPDATE waits for a row that another session holds; `act` gets the process that waits. */
async function whileItWaits(client: WireClient, act: (pid: number) => Promise<void>): Promise<void> {
  const other = await scene.other();
  try {
    other.send(query('BEGIN; UPDATE audited SET v = v WHERE id = 1'));
    await other.until('Z');
    client.send(query("UPDATE audited SET v = 'n' WHERE id = 1"));
    const waiting = await until('it waits for the row', async () => (await scene.backstop.upstream.run("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))[0]);
    await act(Number(waiting['pid']));
  } finally { other.end(); }
}

describe('what changes too much is rolled back, with both numbers (H74)', () => {
  /** Approved for what it matched; then others add rows before it is sent again. */
  async function approveThen(client: WireClient, sql: string, change: string): Promise<void> {
    const { id } = await scene.heldFor(client, query(sql));
    await scene.backstop.approve(id);
    await scene.direct(change);
  }
  const excess = (client: WireClient): string => client.errors.at(-1)?.message ?? '';

  it('a simple Query: rows that appeared after it was approved', () => scene.withClient(async (client) => {
    const sql = "UPDATE deferred SET other = other + 100 WHERE id > 4 RETURNING id";
    await approveThen(client, sql, 'INSERT INTO deferred VALUES (11, 11)');
    client.send(query(sql));
    assert.deepEqual(await client.until('Z'), ['T', 'D:5', 'D:6', 'D:7', 'D:8', 'D:9', 'D:10', 'D:11', 'E:54000', 'Z:I']);
    assert.equal(excess(client), 'Backstop rolled this statement back: it changed 7 rows and was approved for 6');
    assert.equal(await scene.count('deferred WHERE other > 100'), 0);
    const { outcome, rows, sqlstate } = await scene.lastOutcome();
    assert.deepEqual([outcome, rows, sqlstate], ['failed', 7, '54000']);
    // Sent once more, it is counted and approved anew, and then runs as PostgreSQL would have shown it.
    const again = await scene.heldFor(client, query(sql));
    assert.equal((again.impact as MeasuredImpact).rows, 7);
    await scene.backstop.approve(again.id);
    client.send(query(sql));
    assert.deepEqual(await client.until('Z'), ['T', 'D:5', 'D:6', 'D:7', 'D:8', 'D:9', 'D:10', 'D:11', 'C:UPDATE 7', 'Z:I']);
    assert.equal(await scene.count('deferred WHERE other > 100'), 7);
    assert.equal((await scene.lastOutcome()).outcome, 'committed');
  }));

  it('an Execute, and what its batch did before and would have done after it', () => scene.withClient(async (client) => {
    const sql = 'DELETE FROM deferred WHERE id > $1';
    const { id } = await scene.heldFor(client, whole(sql, ['4']), sync);
    await scene.backstop.approve(id);
    await scene.direct('INSERT INTO deferred VALUES (11, 11)');
    client.send(whole('UPDATE deferred SET other = -1 WHERE id = 1'), whole(sql, ['4']), whole('UPDATE deferred SET other = -2 WHERE id = 2'), sync, query('SELECT 1'));
    assert.deepEqual(await client.until('Z'), ['1', '2', 'C:UPDATE 1', '1', '2', 'E:54000', 'Z:I']);
    assert.match(excess(client), /changed 7 rows and was approved for 6/);
    assert.deepEqual(await client.until('Z'), ['T', 'D:1', 'C:SELECT 1', 'Z:I']);
    assert.deepEqual([await scene.count('deferred'), await scene.count('deferred WHERE other < 0')], [11, 0]);
  }));

  it('in a transaction of the client\'s, which fails as a whole', () => scene.withClient(async (client) => {
    const sql = 'DELETE FROM deferred WHERE id > 4';
    await approveThen(client, sql, 'INSERT INTO deferred VALUES (11, 11)');
    client.send(query('BEGIN'), query('UPDATE parent SET v = \'kept\' WHERE id = 1'), query(sql), query('SELECT 1'), query('COMMIT'));
    const lines = [];
    for (let at = 0; at < 5; at += 1) lines.push(...await client.until('Z'));
    assert.deepEqual(lines, ['C:BEGIN', 'Z:T', 'C:UPDATE 1', 'Z:T', 'E:54000', 'Z:E', 'E:25P02', 'Z:E', 'C:ROLLBACK', 'Z:I']);
    assert.deepEqual([await scene.count('deferred'), await scene.count("parent WHERE v = 'kept'")], [11, 0]);
  }));

  it('in an explicit transaction of extended messages with Flush alone', () => scene.withClient(async (client) => {
    const sql = 'DELETE FROM deferred WHERE id > $1';
    const { id } = await scene.heldFor(client, whole(sql, ['4']), sync);
    await scene.backstop.approve(id);
    await scene.direct('INSERT INTO deferred VALUES (11, 11)');
    client.send(whole(sql, ['4']), flush);
    assert.deepEqual(await client.until('E'), ['1', '2', 'E:54000']);
    client.send(whole('SELECT 1'), sync);
    assert.deepEqual(await client.until('Z'), ['Z:I']);
    assert.equal(await scene.count('deferred'), 11);
  }));

  it('what the policy allows without asking is held to its limit, whatever it is made of', () => scene.withClient(async (client) => {
    const six = 'SELECT i, i FROM generate_series(101, 106) i';
    client.send(query(`INSERT INTO deferred ${six}`), whole(`INSERT INTO deferred ${six}`), sync, query(`WITH w AS (INSERT INTO deferred ${six} RETURNING 1) SELECT count(*) FROM w`));
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z'), ...await client.until('Z')], ['E:54000', 'Z:I', '1', '2', 'E:54000', 'Z:I', 'T', 'D:6', 'E:54000', 'Z:I']);
    assert.match(excess(client), /changed 6 rows \(0 itself and 6 through .*\) and may by policy change at most 5/);
    client.send(query('INSERT INTO deferred VALUES (201, 1), (202, 2); INSERT INTO parent SELECT i FROM generate_series(51, 54) i'));
    assert.deepEqual(await client.until('Z'), ['C:INSERT 0 2', 'E:54000', 'Z:I']);
    assert.deepEqual([await scene.count('deferred'), await scene.count('parent')], [10, 40]);
    client.send(query(`INSERT INTO parent SELECT i FROM generate_series(51, 55) i`));
    assert.deepEqual(await client.until('Z'), ['C:INSERT 0 5', 'Z:I']);
  }));

  it('and so it is beside statements that change no row, behind COPY TO and in the query of a new table or a cursor', () => scene.withClient(async (client) => {
    const six = 'INSERT INTO deferred SELECT i, i FROM generate_series(101, 106) i';
    const [ins, copied] = ['SELECT add_deferred(i) FROM generate_series(101, 106) i', `COPY (${six} RETURNING id) TO STDOUT`];
    const refused: readonly (readonly Buffer[])[] = [
      [query(`SET work_mem = '8MB'; ${six}`)], [query(`CREATE TEMP TABLE mine (a int); ${six}; INSERT INTO mine VALUES (1)`)], [query(`LOCK TABLE parent IN SHARE MODE; ${six}`)],
      [query(copied)], [whole(copied), sync], [query(`CREATE TEMP TABLE made AS ${ins}`)], [whole(`CREATE TEMP TABLE made AS ${ins}`), sync], [query(`SET LOCAL work_mem = '8MB'; ${ins}`)],
    ];
    for (const messages of refused) {
      client.send(...messages);
      const lines = await client.until('Z');
      assert.deepEqual([lines.at(-2), lines.at(-1), await scene.count('deferred')], ['E:54000', 'Z:I', 10], `${messages[0]?.toString('latin1')}: ${lines.join(' ')}`);
    }
    client.send(query('BEGIN'), query(`DECLARE c CURSOR FOR ${ins}`), query('FETCH ALL FROM c'), query('COMMIT'));
    for (const last of ['Z:T', 'Z:T', 'Z:E', 'Z:I']) assert.equal((await client.until('Z')).at(-1), last);
    assert.equal(await scene.count('deferred'), 10);
    await scene.heldFor(client, query(`DECLARE c CURSOR WITH HOLD FOR ${ins}`));
    client.send(query(`SET work_mem = '8MB'; INSERT INTO deferred VALUES (101, 101); CREATE TEMP TABLE made AS SELECT 1`));
    assert.deepEqual(await client.until('Z'), ['C:SET', 'C:INSERT 0 1', 'C:SELECT 1', 'Z:I']);
  }));

  it('what a unique key proves to be few rows runs unasked, also where its own transaction has written before', () => scene.withClient(async (client) => {
    client.send(query('BEGIN'), query("UPDATE parent SET v = 'y' WHERE id IN (1, 2)"), whole("UPDATE parent SET v = $1 WHERE id = $2", ['z', '1']), sync, query("UPDATE parent SET v = 'a' WHERE id > 39"), query('ROLLBACK'));
    const lines = [];
    for (let at = 0; at < 5; at += 1) lines.push(...await client.until('Z'));
    assert.deepEqual(lines, ['C:BEGIN', 'Z:T', 'C:UPDATE 2', 'Z:T', '1', '2', 'C:UPDATE 1', 'Z:T', 'E:55000', 'Z:E', 'C:ROLLBACK', 'Z:I']);
    assert.match(client.errors[0]?.detail ?? '', /has written to the same tables already/);
  }));

  it('COPY, by either protocol', () => scene.withClient(async (client) => {
    const rows = (from: number, to: number): Buffer => say.encodeCopyData(Buffer.from(Array.from({ length: to - from + 1 }, (_one, index) => `${from + index}\n`).join('')));
    client.send(query('COPY parent (id) FROM STDIN'));
    await client.until('G');
    client.send(rows(51, 56), say.encodeCopyDone());
    assert.deepEqual(await client.until('Z'), ['E:54000', 'Z:I']);
    client.send(whole('COPY parent (id) FROM STDIN'), sync);
    assert.deepEqual(await client.until('G'), ['1', '2', 'G']);
    client.send(rows(51, 56), say.encodeCopyDone(), sync);
    assert.deepEqual(await client.until('Z'), ['E:54000', 'Z:I']);
    assert.equal(await scene.count('parent'), 40);
    client.send(whole('COPY parent (id) FROM STDIN'), sync);
    await client.until('G');
    client.send(rows(51, 55), say.encodeCopyDone(), sync);
    assert.deepEqual(await client.until('Z'), ['C:COPY 5', 'Z:I']);
    client.send(query('COPY parent (id) FROM STDIN'));
    await client.until('G');
    client.send(rows(61, 65), say.encodeCopyDone());
    assert.deepEqual(await client.until('Z'), ['C:COPY 5', 'Z:I']);
    assert.equal(await scene.count('parent'), 50);
  }));

  it('rows changed by triggers count, in every protocol and transaction', () => scene.withClient(async (client) => {
    // 2 rows of its own and 4 of the trigger's are more than 5.
    const sql = "UPDATE audited SET v = 'w' WHERE id <= 2";
    client.send(query(sql), whole(sql), sync, query('BEGIN'), query(sql), query('ROLLBACK'), query('BEGIN'), whole(sql), sync, query('ROLLBACK'));
    const lines = [];
    for (let at = 0; at < 8; at += 1) lines.push(...await client.until('Z'));
    assert.deepEqual(lines, ['E:54000', 'Z:I', '1', '2', 'E:54000', 'Z:I', 'C:BEGIN', 'Z:T', 'E:54000', 'Z:E', 'C:ROLLBACK', 'Z:I',
      'C:BEGIN', 'Z:T', '1', '2', 'E:54000', 'Z:E', 'C:ROLLBACK', 'Z:I']);
    for (const { message } of client.errors) assert.equal(message, 'Backstop rolled this statement back: it changed 6 rows (2 itself and 4 through foreign keys, triggers or functions) and may by policy change at most 5');
    assert.deepEqual([await scene.count("audited WHERE v = 'w'"), await scene.count('audit')], [0, 0]);
  }));

  it('behind an Execute without its Sync, which a Sync of our own would commit', () => scene.withClient(async (client) => {
    client.send(whole('SELECT 1'), query('SELECT 1'), query("UPDATE audited SET v = 'w' WHERE id <= 2"), sync);
    const lines = [];
    for (let at = 0; at < 3; at += 1) lines.push(...await client.until('Z'));
    assert.deepEqual(lines, ['1', '2', 'D:1', 'C:SELECT 1', 'E:0A000', 'Z:I', 'E:54000', 'Z:I', 'Z:I']);
    assert.deepEqual([await scene.count("audited WHERE v = 'w'"), await scene.count('audit')], [0, 0]);
  }));

  it('behind a BEGIN that was executed without its Sync, in the transaction that it began', () => scene.withClient(async (client) => {
    client.send(whole('BEGIN'), query("UPDATE audited SET v = 'w' WHERE id = 1"), query('ROLLBACK'), sync);
    const lines = [];
    for (let at = 0; at < 3; at += 1) lines.push(...await client.until('Z'));
    assert.deepEqual(lines, ['1', '2', 'C:BEGIN', 'C:UPDATE 1', 'Z:T', 'C:ROLLBACK', 'Z:I', 'Z:I']);
    assert.deepEqual([await scene.count("audited WHERE v = 'w'"), await scene.count('audit')], [0, 0]);
  }));

  it('the true effect of what committed is on record', () => scene.withClient(async (client) => {
    client.send(query("UPDATE audited SET v = 'w' WHERE id = 1"));
    assert.deepEqual(await client.until('Z'), ['C:UPDATE 1', 'Z:I']);
    const simple = await scene.lastOutcome();
    assert.deepEqual([simple.outcome, simple.rows, simple.elsewhere], ['committed', 1, 2]);
    client.send(whole('DELETE FROM parent WHERE id = $1', ['2']), sync);
    assert.deepEqual(await client.until('Z'), ['1', '2', 'C:DELETE 1', 'Z:I']);
    const extended = await scene.lastOutcome();
    assert.deepEqual([extended.outcome, extended.rows, extended.elsewhere], ['committed', 1, 4]);
  }));

  it('an Execute that stops at a row limit has run whole, and is counted so', () => scene.withClient(async (client) => {
    client.send(parse('INSERT INTO parent SELECT i FROM generate_series(51, 56) i RETURNING id'), bind(), execute(2), sync);
    assert.deepEqual(await client.until('Z'), ['1', '2', 'D:51', 'D:52', 'E:54000', 'Z:I']);
    client.send(parse('INSERT INTO parent SELECT i FROM generate_series(51, 53) i RETURNING id'), bind(), execute(2), execute(0), sync);
    assert.deepEqual(await client.until('Z'), ['1', '2', 'D:51', 'D:52', 's', 'D:53', 'C:INSERT 0 1', 'Z:I']);
    assert.equal(await scene.count('parent'), 43);
  }));
});

describe('a measured statement looks as PostgreSQL shows it', () => {
  it('errors of its own, and deferred ones at the commit', () => scene.withClient(async (client) => {
    client.send(query('UPDATE deferred SET other = 1 / (id - 1) WHERE id < 3'), query('UPDATE deferred SET other = 7 WHERE id < 3'), whole('UPDATE deferred SET other = 7 WHERE id < 3'), sync, query('SELECT 1'));
    const lines = [];
    for (let at = 0; at < 4; at += 1) lines.push(...await client.until('Z'));
    assert.deepEqual(lines, ['E:22012', 'Z:I', 'E:23505', 'Z:I', '1', '2', 'C:UPDATE 2', 'E:23505', 'Z:I', 'T', 'D:1', 'C:SELECT 1', 'Z:I']);
    assert.equal((await scene.lastOutcome()).outcome, 'rolled-back');
  }));

  it('the unnamed statement and named ones live on, and a portal ends with its transaction', () => scene.withClient(async (client) => {
    client.send(parse('DELETE FROM deferred WHERE id = $1'), sync, bind(['1']), execute(), sync, bind(['2']), execute(), sync);
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z'), ...await client.until('Z')], ['1', 'Z:I', '2', 'C:DELETE 1', 'Z:I', '2', 'C:DELETE 1', 'Z:I']);
    client.send(query('DELETE FROM deferred WHERE id = 3'), bind(['4']), execute(), sync);
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z')], ['C:DELETE 1', 'Z:I', 'E:26000', 'Z:I']);
    client.send(execute(), sync);
    assert.deepEqual(await client.until('Z'), ['E:34000', 'Z:I']);
  }));

  it('with triggers between, so that questions of our own stand around it', () => scene.withClient(async (client) => {
    client.send(parse('UPDATE audited SET v = $1 WHERE id = 1 RETURNING v', 'named'), bind(['n'], 'named'), execute(), sync, bind(['m'], 'named'), execute(), sync);
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z')], ['1', '2', 'D:n', 'C:UPDATE 1', 'Z:I', '2', 'D:m', 'C:UPDATE 1', 'Z:I']);
    client.send(query('BEGIN'), query("UPDATE audited SET v = 'o' WHERE id = 1 RETURNING v"), query('COMMIT'));
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z'), ...await client.until('Z')], ['C:BEGIN', 'Z:T', 'T', 'D:o', 'C:UPDATE 1', 'Z:T', 'C:COMMIT', 'Z:I']);
  }));

  it('a cancel while it runs reaches it, and its session goes on', () => scene.withClient(async (client) => {
    await whileItWaits(client, async () => {
      await scene.cancel(client);
      assert.deepEqual(await client.until('Z'), ['E:57014', 'Z:I']);
    });
    client.send(query('SELECT 1'));
    assert.deepEqual(await client.until('Z'), ['T', 'D:1', 'C:SELECT 1', 'Z:I']);
  }));

  it('a time-out so short that it hits what stands around it lets nothing through unmeasured', () => scene.withClient(async (client) => {
    client.send(query('SET statement_timeout = 1'));
    await client.until('Z');
    for (let at = 0; at < 20; at += 1) {
      client.send(query('INSERT INTO parent SELECT i FROM generate_series(101, 106) i'), whole("UPDATE audited SET v = 'w' WHERE id <= 2"), sync);
      const lines = [...await client.until('Z'), ...await client.until('Z')];
      assert.deepEqual(lines.filter((line) => line.startsWith('Z')), ['Z:I', 'Z:I'], lines.join(' '));
    }
    assert.deepEqual([await scene.count('parent'), await scene.count("audited WHERE v = 'w'")], [40, 0]);
  }));

  it('a server that dies before the commit leaves an outcome that says so', () => scene.withClient(async (client) => {
    await whileItWaits(client, async (pid) => {
      await scene.backstop.upstream.run(`SELECT pg_terminate_backend(${pid})`);
      await client.untilClosed();
      assert.equal((await scene.lastOutcome()).outcome, 'rolled-back');
    });
  }));
});

describe('code of a DO, CALL or FunctionCall is held to the limits of the policy', () => {
  const procedures = `
    CREATE FUNCTION fill(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO deferred SELECT 100 + i, 100 + i FROM generate_series(1, $1) i; RETURN $1; END';
    CREATE PROCEDURE fill_it(n int) LANGUAGE plpgsql AS 'BEGIN INSERT INTO deferred SELECT 100 + i, 100 + i FROM generate_series(1, n) i ON CONFLICT (id) DO NOTHING; END';
    CREATE PROCEDURE fill_and_commit(n int) LANGUAGE plpgsql AS 'BEGIN INSERT INTO deferred SELECT 100 + i, 100 + i FROM generate_series(1, n) i; COMMIT; END';`;
  before(() => scene.direct(procedures));
  after(() => scene.direct('DROP FUNCTION fill; DROP PROCEDURE fill_it; DROP PROCEDURE fill_and_commit'));
  const block = (rows: number, more = ''): string => `DO $$ BEGIN EXECUTE 'INSERT INTO deferred SELECT 100 + i, 100 + i FROM generate_series(1, ${rows}) i'; ${more} END $$`;

  /** Held for what it is, approved, and sent again. */
  async function run(client: WireClient, message: Buffer, ends = 1): Promise<{ readonly lines: readonly string[]; readonly reason: string }> {
    const { id, impact } = await scene.heldFor(client, message);
    await scene.backstop.approve(id);
    client.send(message);
    const lines: string[] = [];
    for (let at = 0; at < ends; at += 1) lines.push(...await client.until('Z'));
    return { lines, reason: impact.kind === 'unknown' ? impact.reason : impact.kind };
  }

  const rows: readonly (readonly [claim: string, message: (rows: number) => Buffer, tag: readonly string[], failed: readonly string[]])[] = [
    ['a DO that builds its statement', (rows) => query(block(rows)), ['C:DO', 'Z:I'], ['E:54000', 'Z:I']],
    ['a DO by the extended protocol', (rows) => Buffer.concat([whole(block(rows)), sync]), ['1', '2', 'C:DO', 'Z:I'], ['1', '2', 'E:54000', 'Z:I']],
    ['a CALL', (rows) => query(`CALL fill_it(${rows})`), ['C:CALL', 'Z:I'], ['E:54000', 'Z:I']],
    ['a CALL by the extended protocol', (rows) => Buffer.concat([whole('CALL fill_it($1)', [String(rows)]), sync]), ['1', '2', 'C:CALL', 'Z:I'], ['1', '2', 'E:54000', 'Z:I']],
  ];
  for (const [claim, message, tag, failed] of rows) {
    it(`${claim}, whose rows count as it runs`, () => scene.withClient(async (client) => {
      const below = await run(client, message(5));
      assert.deepEqual(below, { lines: tag, reason: 'it runs code, and what that changes can be counted only while it runs' });
      assert.equal(await scene.count('deferred'), 15);
      await scene.refill();
      assert.deepEqual((await run(client, message(6))).lines, failed);
      assert.match(client.errors.at(-1)?.message ?? '', /changed 6 rows \(0 itself and 6 through .*\) and may by policy change at most 5/);
      assert.equal(await scene.count('deferred'), 10);
      const { outcome, sqlstate } = await scene.lastOutcome();
      assert.deepEqual([outcome, sqlstate], ['failed', '54000']);
    }));
  }

  it('code that commits by itself runs as PostgreSQL runs it, and the approver is told that nothing holds it', () => scene.withClient(async (client) => {
    for (const [message, tag] of [[query('CALL fill_and_commit(6)'), 'C:CALL'], [query(block(6, 'COMMIT;')), 'C:DO']] as const) {
      const { lines, reason } = await run(client, message);
      assert.deepEqual([lines, await scene.count('deferred')], [[tag, 'Z:I'], 16]);
      assert.match(reason, /may commit by itself, so outside of a transaction nothing can hold it/);
      await scene.refill();
    }
  }));

  it('inside a transaction of the client\'s, where PostgreSQL lets none commit, whatever its text', () => scene.withClient(async (client) => {
    const sql = block(6, '-- COMMIT;\n');
    const { id } = await scene.heldFor(client, query(sql));
    await scene.backstop.approve(id);
    client.send(query('BEGIN'), query(sql), query('COMMIT'));
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z'), ...await client.until('Z')], ['C:BEGIN', 'Z:T', 'E:54000', 'Z:E', 'C:ROLLBACK', 'Z:I']);
    assert.equal(await scene.count('deferred'), 10);
  }));

  it('a FunctionCall, with what it returns only once it stayed below', () => scene.withClient(async (client) => {
    const [row] = await scene.direct("SELECT 'fill'::regproc::oid AS oid");
    const call = (count: number): Buffer => say.encodeFunctionCall({ functionOid: Number(row?.['oid']), formats: [], values: [Buffer.from(String(count))], resultFormat: 'text' });
    client.send(call(6));
    assert.deepEqual(await client.until('Z'), ['E:54000', 'Z:I']);
    assert.equal(await scene.count('deferred'), 10);
    client.send(call(5));
    assert.deepEqual(await client.until('Z'), ['V', 'Z:I']);
    assert.equal(await scene.count('deferred'), 15);
    await scene.refill();
    client.send(query('BEGIN'), call(5), call(6), query('ROLLBACK'));
    const lines = [];
    for (let at = 0; at < 4; at += 1) lines.push(...await client.until('Z'));
    assert.deepEqual(lines, ['C:BEGIN', 'Z:T', 'V', 'Z:T', 'E:23505', 'Z:E', 'C:ROLLBACK', 'Z:I']);
    client.send(query('BEGIN'), call(6), query('ROLLBACK'));
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z'), ...await client.until('Z')], ['C:BEGIN', 'Z:T', 'E:54000', 'Z:E', 'C:ROLLBACK', 'Z:I']);
  }));
});
