/**
 * A driver cannot tell Backstop from PostgreSQL by the errors it gets: under the policy that lets everything through,
 * each failing statement gives the same error field by field, the same notices and the same command tags, directly and
 * through the gateway, and leaves the session as usable as before.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { asPgError } from '../fixtures/pg-error.ts';

let backstop: RunningBackstop;
let direct: pg.Client;
let gateway: pg.Client;
before(async () => {
  backstop = await startBackstop({ policy: 'observe' });
  direct = new pg.Client({ connectionString: backstop.directUrl() });
  gateway = new pg.Client({ connectionString: backstop.agentUrl() });
  await Promise.all([direct.connect(), gateway.connect()]);
});
after(async () => {
  await Promise.all([direct?.end(), gateway?.end()]);
  await backstop?.stop();
});

interface Seen { readonly kind: 'error' | 'result'; readonly what: unknown; readonly notices: readonly unknown[] }

async function send(client: pg.Client, text: string, values?: readonly unknown[]): Promise<Seen> {
  const notices: unknown[] = [];
  const hear = (notice: unknown): void => { notices.push(asPgError(Object.assign(new Error(), notice, { message: messageOf(notice) }))); };
  client.on('notice', hear);
  try {
    const result: unknown = await client.query(text, values === undefined ? undefined : [...values]);
    const all = Array.isArray(result) ? result : [result];
    return { kind: 'result', what: all.map((one: pg.QueryResult) => [one.command, one.rowCount, one.rows]), notices };
  } catch (error) {
    return { kind: 'error', what: asPgError(error), notices };
  } finally {
    client.off('notice', hear);
  }
}

const messageOf = (notice: unknown): string =>
  typeof notice === 'object' && notice !== null && 'message' in notice ? String(notice.message) : '';

const failing: readonly (readonly [why: string, text: string, values?: readonly unknown[]])[] = [
  ['division by zero', 'SELECT 1/0'],
  ['a missing table, with its position', 'SELECT * FROM no_such_table'],
  ['a missing column, with the hint', 'SELECT nam FROM customers'],
  ['a missing function', 'SELECT no_such_function(1)'],
  ['a missing operator, with the hint', "SELECT 1 = 'a'::text"],
  ['bad input for a type', "SELECT 'x'::int"],
  ['a bad bind value', 'SELECT $1::int', ['x']],
  ['too few bind values', 'SELECT $1::int + $2::int', [1]],
  ['a unique violation', "INSERT INTO customers (name, email) VALUES ('x', 'c1@example.test')"],
  ['a foreign key violation', 'INSERT INTO orders (customer_id, total) VALUES (-1, 0)'],
  ['a check violation', "UPDATE orders SET status = 'lost' WHERE id = 1"],
  ['a null violation', 'INSERT INTO notes VALUES (1)'],
  ['an error in PL/pgSQL, with its context', "DO $$ BEGIN RAISE EXCEPTION 'no' USING DETAIL = 'd', HINT = 'h', ERRCODE = 'P0099', TABLE = 't', COLUMN = 'c'; END $$"],
  ['a missing savepoint', 'ROLLBACK TO SAVEPOINT nowhere'],
  ['a missing prepared statement', 'EXECUTE nothing'],
  ['a missing cursor', 'FETCH 1 FROM nothing'],
  ['a statement that must not stand in a transaction', 'VACUUM notes; SELECT 1'],
  ['a setting of the wrong value', "SET work_mem = 'much'"],
];

const succeeding: readonly (readonly [why: string, text: string, values?: readonly unknown[]])[] = [
  ['a notice', "DO $$ BEGIN RAISE NOTICE 'hello' USING HINT = 'h'; END $$"],
  ['a warning', 'COMMIT'],
  ['a skipped DROP', 'DROP TABLE IF EXISTS no_such_table'],
  ['tags and counts of writes', "BEGIN; UPDATE notes SET body = body WHERE id < 5; DELETE FROM notes WHERE id = 7; INSERT INTO notes VALUES (-1, '') RETURNING *; ROLLBACK"],
  ['an empty statement', ''],
  ['a temporary table', 'CREATE TEMP TABLE t AS SELECT 1 AS a; SELECT * FROM t; DROP TABLE t'],
  ['settings', 'SET work_mem = 8192; SHOW work_mem; RESET work_mem'],
  ['EXPLAIN', 'EXPLAIN (COSTS off) SELECT * FROM customers WHERE id = 1'],
  ['a prepared statement in SQL', 'PREPARE p AS SELECT $1::int; EXECUTE p(3); DEALLOCATE p'],
  ['a cursor', 'BEGIN; DECLARE c CURSOR FOR SELECT id FROM customers ORDER BY id; FETCH 2 FROM c; MOVE 2 FROM c; FETCH 1 FROM c; CLOSE c; COMMIT'],
];

describe('an answer through the gateway equals PostgreSQL’s own', () => {
  for (const [why, text, values] of failing) {
    it(`for ${why}`, async () => {
      const [expected, got] = [await send(direct, text, values), await send(gateway, text, values)];
      assert.equal(expected.kind, 'error');
      assert.deepEqual(got, expected);
      assert.deepEqual((await gateway.query('SELECT 1 AS one')).rows, [{ one: 1 }]);
    });
  }

  for (const [why, text, values] of succeeding) {
    it(`for ${why}`, async () => {
      const [expected, got] = [await send(direct, text, values), await send(gateway, text, values)];
      assert.equal(expected.kind, 'result', JSON.stringify(expected.what));
      assert.deepEqual(got, expected);
    });
  }

  it('for a syntax error: the same code, whatever the words', async () => {
    const got = await send(gateway, 'SELEC 1');
    assert.equal(got.kind, 'error');
    assert.equal(asPgError(Object.assign(new Error(), got.what)).code, '42601');
    assert.deepEqual((await gateway.query('SELECT 1 AS one')).rows, [{ one: 1 }]);
  });

  it('for the parameters that the server reports at the start and when they change', async () => {
    const reported = async (url: string): Promise<unknown> => {
      const client = new pg.Client({ connectionString: url, application_name: 'a driver' });
      const seen = new Map<string, string>();
      connectionOf(client).on('parameterStatus', ({ parameterName, parameterValue }: { parameterName: string; parameterValue: string }) => {
        seen.set(parameterName, parameterValue);
      });
      await client.connect();
      await client.query("SET application_name = 'renamed'; SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Europe/Berlin'");
      await client.end();
      assert.equal(seen.get('TimeZone'), 'Europe/Berlin');
      return Object.fromEntries([...seen].filter(([name]) => name !== 'session_authorization').sort());
    };
    assert.deepEqual(await reported(backstop.agentUrl()), await reported(backstop.directUrl()));
  });
});

function connectionOf(client: pg.Client): pg.Connection {
  return (client as unknown as { readonly connection: pg.Connection }).connection;
}
