/**
 * Protected columns through a real server: refused by their names as the live catalog has them, and not told by the errors
 * of constraints either (H89).
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { asPgError, type PgError } from '../fixtures/pg-error.ts';

const folder = mkdtempSync(join(tmpdir(), 'protected-columns-'));
const policy = join(folder, 'columns.yaml');
writeFileSync(policy, 'name: columns\ndescription: d\nlevels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: deny }\nunknown: hold\nprotected: { columns: [people.password] }\n');
let backstop: RunningBackstop;
let client: pg.Client;
before(async () => {
  backstop = await startBackstop({ policy });
  await backstop.upstream.run(`
    CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, password text, age int CHECK (age > 0));
    INSERT INTO people VALUES (1, 'ada', 'hunter2', 36);
    ALTER TABLE people OWNER TO shopkeeper`, 'shop');
  client = new pg.Client({ connectionString: backstop.agentUrl() });
  await client.connect();
});
after(async () => {
  await client?.end();
  await backstop?.stop();
  rmSync(folder, { recursive: true });
});

const refusal = (statement: Promise<unknown>): Promise<PgError> => statement.then(() => { throw new Error('it ran'); }, (error: unknown) => asPgError(error));

test('other columns are read and written as ever', async () => {
  assert.deepEqual((await client.query('SELECT id, name FROM people')).rows, [{ id: 1, name: 'ada' }]);
  assert.equal((await client.query('UPDATE people SET age = 37 WHERE id = $1 RETURNING age', [1])).rows[0]?.['age'], 37);
});

test('a read of it is refused, and says what to do instead', async () => {
  for (const sql of ['SELECT * FROM people', 'SELECT password FROM people', 'SELECT to_jsonb(people) FROM people', 'COPY people TO STDOUT']) {
    const { code, message } = await refusal(client.query(sql));
    assert.equal(code, '42501', sql);
    assert.match(message ?? '', /protected column people\.password.*Name the columns that you need/, sql);
  }
});

test('the errors of constraints do not show it', async () => {
  for (const [sql, code] of [
    ['UPDATE people SET name = NULL WHERE id = 1', '23502'], ['UPDATE people SET age = -1 WHERE id = 1', '23514'],
    ['INSERT INTO people (id, name) VALUES (1, \'eve\')', '23505'],
  ] as const) {
    const error = await refusal(client.query(sql));
    assert.equal(error.code, code, sql);
    assert.doesNotMatch(JSON.stringify(error), /hunter2/, sql);
    assert.match(error.detail ?? '', /leaves out the values/, sql);
  }
  assert.deepEqual((await client.query('SELECT 1 AS one')).rows, [{ one: 1 }]);
});
