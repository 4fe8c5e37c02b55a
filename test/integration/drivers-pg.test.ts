/**
 * node-postgres, unaware of Backstop, does its everyday work through the gateway: reads of every type, parameters, named
 * statements, cursors, COPY out, pools, cancel and notifications. What it gets is what PostgreSQL gives it directly.
 * Held and refused statements have their own file, drivers-verdict.test.ts.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import Cursor from 'pg-cursor';
import { to as copyTo } from 'pg-copy-streams';
import { startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { sendCancelRequest } from '../fixtures/cancel-request.ts';
import { withPgClient } from '../fixtures/pg-client.ts';
import { asPgError } from '../fixtures/pg-error.ts';
import { until } from '../fixtures/until.ts';

let backstop: RunningBackstop;
before(async () => { backstop = await startBackstop(); });
after(async () => { await backstop?.stop(); });

const viaGateway = <T>(work: (client: pg.Client) => Promise<T>): Promise<T> => withPgClient(backstop.agentUrl(), work);
const direct = <T>(work: (client: pg.Client) => Promise<T>): Promise<T> => withPgClient(backstop.directUrl(), work);

describe('node-postgres through the gateway', () => {
  it('reads every common type, in text and in binary, exactly as from the server itself', async () => {
    for (const binary of [false, true]) {
      const work = async (client: pg.Client) => {
        const query: pg.QueryConfig & { readonly binary: boolean } = {
          name: 'every', text: 'SELECT * FROM every_type WHERE id >= $1 ORDER BY id', values: [1], binary, types: undecoded,
        };
        const { rows, fields, command, rowCount }: pg.QueryResult = await client.query(query);
        return { rows, command, rowCount, fields: fields.map((f) => [f.name, f.dataTypeID, f.dataTypeSize, f.dataTypeModifier, f.format]) };
      };
      const got = await viaGateway(work);
      assert.equal(got.rowCount, 2);
      assert.deepEqual(got, await direct(work), `binary: ${binary}`);
    }
  });

  it('sends parameters of every kind unchanged', async () => {
    const values = [42, 'Grüße 🐘 \' " \\ ; --', null, ['a', null, 'b"c'], { deep: [1, 'x'] }, new Date('2026-03-04T05:06:07.089Z'), Buffer.from([0, 1, 255]), true, '9223372036854775807'];
    const text = 'SELECT $1::int AS i, $2::text AS t, $3::text AS n, $4::text[] AS a, $5::jsonb AS j, $6::timestamptz AS d, $7::bytea AS b, $8::bool AS o, $9::bigint AS l';
    const row = await viaGateway(async (client) => (await client.query(text, values)).rows[0]);
    assert.deepEqual(row, { i: 42, t: values[1], n: null, a: values[3], j: values[4], d: values[5], b: values[6], o: true, l: values[8] });
  });

  it('uses one named statement again and again, also after an error between', async () => {
    await viaGateway(async (client) => {
      for (let id = 1; id <= 50; id++) {
        if (id === 25) await assert.rejects(client.query('SELECT 1/0'), { code: '22012' });
        const { rows } = await client.query({ name: 'by-id', text: 'SELECT name FROM customers WHERE id = $1', values: [id] });
        assert.deepEqual(rows, [{ name: `customer ${id}` }]);
      }
      const { rows } = await client.query("SELECT count(*)::int AS n FROM pg_prepared_statements WHERE name = 'by-id'");
      assert.deepEqual(rows, [{ n: 1 }]);
    });
  });

  it('answers several statements of one message each with its own result', async () => {
    await viaGateway(async (client) => {
      const results: unknown = await client.query('SELECT 1 AS a; SELECT 2 AS b, 3 AS c; SHOW server_version; SELECT WHERE false;');
      assert.ok(Array.isArray(results));
      assert.deepEqual(results.map((r: pg.QueryResult) => [r.command, r.rowCount]), [['SELECT', 1], ['SELECT', 1], ['SHOW', null], ['SELECT', 0]]);
      assert.deepEqual((await client.query('')).rows, []);
    });
  });

  it('stops a message of several statements at the first error, as the server does', async () => {
    await viaGateway(async (client) => {
      await assert.rejects(client.query('SELECT 1; SELECT 1/0; SELECT 3'), { code: '22012' });
      assert.deepEqual((await client.query('SELECT 4 AS four')).rows, [{ four: 4 }]);
    });
  });

  it('reads through a cursor in portions and closes it early', async () => {
    await viaGateway(async (client) => {
      const cursor = client.query(new Cursor<{ id: number }>('SELECT id FROM orders ORDER BY id'));
      const first = await cursor.read(700);
      const second = await cursor.read(700);
      assert.deepEqual([first.length, second.length, second.at(-1)?.id], [700, 700, 1400]);
      await cursor.close();
      const rest = client.query(new Cursor<{ id: number }>('SELECT id FROM orders WHERE id > $1 ORDER BY id', [1990]));
      assert.deepEqual([(await rest.read(100)).length, (await rest.read(100)).length], [10, 0]);
      await rest.close();
      assert.deepEqual((await client.query('SELECT 1 AS one')).rows, [{ one: 1 }]);
    });
  });

  it('copies a table out byte for byte as the server does', async () => {
    const copy = async (client: pg.Client): Promise<Buffer> => {
      const chunks: Buffer[] = [];
      await pipeline(client.query(copyTo('COPY (SELECT * FROM payments ORDER BY id) TO STDOUT WITH (FORMAT csv, HEADER)')),
        async (source: AsyncIterable<Buffer>) => { for await (const chunk of source) chunks.push(chunk); });
      await client.query('SELECT 1');
      return Buffer.concat(chunks);
    };
    const got = await viaGateway(copy);
    assert.ok(got.length > 50_000);
    assert.ok(got.equals(await direct(copy)));
  });

  it('keeps a read-only transaction with savepoints and an error inside going', async () => {
    await viaGateway(async (client) => {
      await client.query('BEGIN');
      await client.query('SAVEPOINT a');
      await assert.rejects(client.query('SELECT 1/0'), { code: '22012' });
      await assert.rejects(client.query('SELECT 1'), { code: '25P02' });
      await client.query('ROLLBACK TO SAVEPOINT a');
      assert.deepEqual((await client.query('SELECT 1 AS one')).rows, [{ one: 1 }]);
      await client.query('RELEASE SAVEPOINT a');
      assert.equal((await client.query('COMMIT')).command, 'COMMIT');
    });
  });

  it('serves a pool of ten connections', async () => {
    const pool = new pg.Pool({ connectionString: backstop.agentUrl(), max: 10 });
    try {
      const answers = await Promise.all(Array.from({ length: 300 }, async (_, i) =>
        (await pool.query<{ total: number }>('SELECT $1::int + count(*)::int AS total FROM customers', [i])).rows[0]?.total));
      assert.deepEqual(answers, Array.from({ length: 300 }, (_, i) => i + 200));
      assert.equal(pool.totalCount, 10);
    } finally {
      await pool.end();
    }
  });

  it('cancels its own running query and nobody else’s', async () => {
    const slow = 'SELECT count(*) FROM generate_series(1, 20000000) AS a, generate_series(1, 1000) AS b';
    await viaGateway((bystander) => viaGateway(async (client) => {
      const waiting = assert.rejects(client.query(slow), { code: '57014' });
      const other = assert.rejects(bystander.query(slow), { code: '57014' });
      await untilRunning(2);
      await sendCancelRequest(client, backstop);
      await waiting;
      assert.deepEqual((await client.query('SELECT 1 AS one')).rows, [{ one: 1 }]);
      assert.equal(await running(), 1);
      await sendCancelRequest(bystander, backstop);
      await other;
    }));
  });

  it('delivers a notification from one client to another', async () => {
    await viaGateway((listener) => viaGateway(async (sender) => {
      await listener.query('LISTEN news');
      const heard = once(listener, 'notification');
      await sender.query("NOTIFY news, 'it rains'");
      const [message]: pg.Notification[] = await heard;
      assert.deepEqual([message?.channel, message?.payload], ['news', 'it rains']);
    }));
  });

  it('streams a hundred thousand rows', async () => {
    const { rows } = await viaGateway((client) => client.query<{ i: number; t: string }>("SELECT i, 'row ' || i AS t FROM generate_series(1, 100000) AS i"));
    assert.deepEqual([rows.length, rows[0], rows.at(-1)], [100_000, { i: 1, t: 'row 1' }, { i: 100_000, t: 'row 100000' }]);
  });

  it('holds back the server while the client does not read, instead of filling memory', async () => {
    await viaGateway(async (client) => {
      const megabytes = 300;
      const stream = client.query(copyTo(`COPY (SELECT repeat('x', 1048575) FROM generate_series(1, ${megabytes})) TO STDOUT`));
      await once(stream, 'readable');
      const before = process.memoryUsage.rss();
      await untilSendBlocked();
      const grownBy = process.memoryUsage.rss() - before;
      assert.ok(grownBy < 100 * 2 ** 20, `grew by ${Math.round(grownBy / 2 ** 20)} MB while the client was not reading`);
      let bytes = 0;
      for await (const chunk of stream) bytes += (chunk as Buffer).length;
      assert.equal(bytes, megabytes * 2 ** 20);
    });
  });

  it('never shows the upstream credential or address to the agent', async () => {
    await viaGateway(async (client) => {
      const seen = JSON.stringify([
        (await client.query('SELECT * FROM pg_stat_activity')).rows,
        (await client.query('SELECT name, setting FROM pg_settings')).rows,
        (await client.query('SELECT current_user, session_user, current_database()')).rows,
        asPgError(await client.query('SELECT no_such_column FROM customers').catch((error: unknown) => error)),
      ]);
      assert.ok(!seen.includes(backstop.upstreamPassword));
      assert.ok(!seen.includes(backstop.agent.token));
    });
  });
});

/** Leaves every value as it came, so that a comparison sees the server's bytes and no decoder. */
const undecoded: pg.CustomTypesConfig = { getTypeParser: () => (value: string | Buffer) => Buffer.from(value).toString('latin1') };

async function running(): Promise<number> {
  const rows = await backstop.upstream.run(
    "SELECT count(*)::int AS n FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%generate_series(1, 20000000)%' AND pid <> pg_backend_pid()");
  return Number(rows[0]?.['n']);
}

const untilRunning = (count: number): Promise<true> =>
  until(`${count} slow queries run`, async () => (await running()) === count);

/** True back-pressure ends at the server: its backend waits for the socket to take more. */
const untilSendBlocked = (): Promise<true> => until('the server waits for its client to read', async () =>
  (await backstop.upstream.run("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'ClientWrite'")).length > 0);
