/**
 * postgres.js, unaware of Backstop, works through the gateway. It pipelines: several statements are on the wire before
 * the first answer, which is where a gateway that answers in the wrong order, or for the wrong statement, is found out.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import postgres from 'postgres';
import { askingPolicy, startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { asPgError, codeOf } from '../fixtures/pg-error.ts';
import { until } from '../fixtures/until.ts';

let backstop: RunningBackstop;
let sql: postgres.Sql;
before(async () => {
  backstop = await startBackstop({ policy: askingPolicy, waitSeconds: 20 });
  sql = postgres(backstop.agentUrl(), { max: 1, onnotice: () => undefined });
});
after(async () => {
  await sql?.end({ timeout: 1 });
  await backstop?.stop();
});

const count = async (from: string): Promise<number> => Number((await backstop.upstream.run(`SELECT count(*) AS n FROM ${from}`, 'shop'))[0]?.['n']);

describe('postgres.js through the gateway', () => {
  it('looks up the server’s array types at the start and reads arrays with them', async () => {
    const read = async (from: postgres.Sql): Promise<unknown> =>
      ({ ...(await from`SELECT an_int_array, a_text_array, a_jsonb, a_bytea, a_bigint, an_enum FROM every_type WHERE id = 1`)[0] });
    const direct = postgres(backstop.directUrl(), { max: 1 });
    try {
      const got = await read(sql);
      assert.ok(typeof got === 'object' && got !== null && 'an_int_array' in got && Array.isArray(got.an_int_array));
      assert.deepEqual(got, await read(direct));
    } finally {
      await direct.end();
    }
  });

  it('answers two hundred pipelined statements on one connection in order', async () => {
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => sql`SELECT ${i}::int AS i, name FROM customers WHERE id = ${1 + i % 200}`));
    assert.deepEqual(answers.map((rows) => rows[0]?.['i']), Array.from({ length: 200 }, (_, i) => i));
    assert.deepEqual(answers.map((rows) => rows[0]?.['name']), Array.from({ length: 200 }, (_, i) => `customer ${i + 1}`));
  });

  it('fails only the statement at fault when pipelined statements have errors among them', async () => {
    const results = await Promise.allSettled(Array.from({ length: 30 }, (_, i) => sql`SELECT 10 / ${i % 3}::int AS q`));
    assert.deepEqual(results.map((r) => r.status), Array.from({ length: 30 }, (_, i) => (i % 3 === 0 ? 'rejected' : 'fulfilled')));
  });

  it('fails only the refused statement when statements before and after it are pipelined (H82)', async () => {
    const [first, refused, last] = await Promise.allSettled([sql`SELECT 1 AS n`, sql`DELETE FROM payments`, sql`SELECT 3 AS n`]);
    assert.deepEqual([first?.status, refused?.status, last?.status], ['fulfilled', 'rejected', 'fulfilled']);
    assert.equal(asPgError(refused?.status === 'rejected' ? refused.reason : undefined).code, '42501');
    assert.equal(await count('payments'), 2000);
  });

  it('keeps the order of statements pipelined behind a held one', async () => {
    const before = sql`SELECT 1 AS n`.execute();
    const insert = sql`INSERT INTO notes VALUES (${3001}, ${'pipelined'})`.execute();
    const behind = sql`SELECT count(*)::int AS n FROM notes WHERE id = 3001`.execute();
    await backstop.approve((await backstop.waitForHold(/INSERT INTO notes/i)).id);
    assert.deepEqual([(await before)[0]?.['n'], (await insert).count, (await behind)[0]?.['n']], [1, 1, 1]);
  });

  it('works without prepared statements as well', async () => {
    const unprepared = postgres(backstop.agentUrl(), { max: 2, prepare: false });
    try {
      const rows = await Promise.all([1, 2, 3].map((id) => unprepared`SELECT name FROM customers WHERE id = ${id}`));
      assert.deepEqual(rows.map((r) => r[0]?.['name']), ['customer 1', 'customer 2', 'customer 3']);
    } finally {
      await unprepared.end();
    }
  });

  it('sends simple messages of several statements', async () => {
    const results = await sql`SELECT 1 AS a; SELECT 2 AS b`.simple();
    assert.deepEqual(results.map((r: unknown) => (Array.isArray(r) ? { ...r[0] } : r)), [{ a: 1 }, { b: 2 }]);
  });

  it('describes a statement without running it', async () => {
    const statement = await sql`SELECT id, total FROM orders WHERE id = ${1}`.describe();
    assert.deepEqual([statement.types, statement.columns.map((c) => c.name)], [[23], ['id', 'total']]);
  });

  it('reads through a cursor', async () => {
    const portions: number[] = [];
    for await (const rows of sql`SELECT id FROM payments ORDER BY id`.cursor(450)) portions.push(rows.length);
    assert.deepEqual(portions, [450, 450, 450, 450, 200]);
  });

  it('runs a transaction with a savepoint and an error inside', async () => {
    const result = await sql.begin(async (tx) => {
      await tx`SELECT 1`;
      assert.equal(await codeOf(tx.savepoint((inner) => inner`SELECT 1/0`)), '22012');
      const [row] = await tx`SELECT txid_current_if_assigned() AS xid, 5 AS n`;
      return row?.['n'];
    });
    assert.equal(result, 5);
  });

  it('commits approved writes of one transaction together and rolls back a failed one', async () => {
    const write = async (id: number, fail: boolean): Promise<void> => {
      const answered = backstop.waitForHold(/INSERT INTO notes/i).then((hold) => backstop.approve(hold.id));
      await sql.begin(async (tx) => {
        await tx`INSERT INTO notes VALUES (${id}, 'tx')`;
        await answered;
        if (fail) throw new Error('changed my mind');
      });
    };
    await write(3010, false);
    await assert.rejects(write(3011, true), /changed my mind/);
    assert.deepEqual([await count('notes WHERE id = 3010'), await count('notes WHERE id = 3011')], [1, 0]);
  });

  it('rolls the transaction back when a statement in it is refused', async () => {
    assert.equal(await codeOf(sql.begin(async (tx) => { await tx`SELECT 1`; await tx`TRUNCATE payments`; })), '42501');
    assert.deepEqual({ ...(await sql`SELECT 1 AS one`)[0] }, { one: 1 });
    assert.equal(await count('payments'), 2000);
  });

  it('cancels a running statement', async () => {
    const slow = sql`SELECT count(*) FROM generate_series(1, 30000000) AS a, generate_series(1, 1000) AS b`.execute();
    const code = codeOf(slow);
    await untilActive('generate_series(1, 30000000)');
    slow.cancel();
    assert.equal(await code, '57014');
    assert.deepEqual({ ...(await sql`SELECT 1 AS one`)[0] }, { one: 1 });
  });

  it('listens and notifies', async () => {
    let hear: (payload: string) => void = () => undefined;
    const heard = new Promise<string>((resolve) => { hear = resolve; });
    const { unlisten } = await sql.listen('weather', hear);
    await sql.notify('weather', 'sunny');
    assert.equal(await heard, 'sunny');
    await unlisten();
  });

  it('copies out and, once approved, in', async () => {
    const csv = await text(await sql`COPY (SELECT id, name FROM customers ORDER BY id LIMIT 2) TO STDOUT WITH (FORMAT csv)`.readable());
    assert.equal(csv, '1,customer 1\n2,customer 2\n');
    const opened = sql`COPY notes FROM STDIN`.writable();
    await backstop.approve((await backstop.waitForHold(/COPY notes/i)).id);
    await pipeline(Readable.from(['4001\tone\n', '4002\ttwo\n']), await opened);
    assert.equal(await count('notes WHERE id IN (4001, 4002)'), 2);
  });

  it('reads fifty thousand rows on each of four connections at once', async () => {
    const wide = postgres(backstop.agentUrl(), { max: 4 });
    try {
      const counts = await Promise.all([1, 2, 3, 4].map(async (k) => (await wide`SELECT i, ${k}::int AS k FROM generate_series(1, 50000) AS i`).length));
      assert.deepEqual(counts, [50_000, 50_000, 50_000, 50_000]);
    } finally {
      await wide.end();
    }
  });
});

const untilActive = (part: string): Promise<true> => until(`a query with ${part} runs`, async () =>
  (await backstop.upstream.run(`SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%${part}%'`)).length > 0);
