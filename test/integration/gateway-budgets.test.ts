/**
 * Budgets at the gateway: what agents really read and change is counted from the server's own answers, in every protocol
 * and inside transactions, and what goes beyond is refused.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import Cursor from 'pg-cursor';
import { startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { withPgClient } from '../fixtures/pg-client.ts';
import { asPgError } from '../fixtures/pg-error.ts';

const folder = mkdtempSync(join(tmpdir(), 'budgets-'));
const policy = join(folder, 'budgets.yaml');
writeFileSync(policy, `
name: budgets
description: For a test.
levels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: deny }
unknown: hold
scopes:
  - { name: changers, match: { agents: [change-*] }, budgets: [{ per: day, rows_changed: 10 }] }
  - { name: readers, match: { agents: [read-*] }, budgets: [{ per: day, rows_read: 100 }] }
  - { name: counters, match: { agents: [count-*] }, budgets: [{ per: day, statements: 5 }] }
`);
let backstop: RunningBackstop;
before(async () => {
  backstop = await startBackstop({ policy });
  await backstop.upstream.run('CREATE TABLE many (id int PRIMARY KEY, n int); INSERT INTO many SELECT i, 0 FROM generate_series(1, 1000) i; ALTER TABLE many OWNER TO shopkeeper', 'shop');
});
after(async () => {
  await backstop?.stop();
  rmSync(folder, { recursive: true });
});

const as = async <T>(agent: string, work: (client: pg.Client) => Promise<T>): Promise<T> => withPgClient((await backstop.addAgent(agent)).url, work);
const refusal = (statement: Promise<unknown>): Promise<string> => statement.then(() => 'it ran', (error: unknown) => asPgError(error).message ?? '');

describe('a budget of changed rows', () => {
  it('counts what the server says was changed, and refuses what comes when it is used up', () => as('change-1', async (client) => {
    await client.query('UPDATE many SET n = 1 WHERE id <= 4');
    await client.query('INSERT INTO many SELECT i, 0 FROM generate_series(2001, 2006) i');
    assert.match(await refusal(client.query('UPDATE many SET n = 1 WHERE id = 5')), /has used 10 of 10 changed rows per day/);
    assert.equal((await client.query('SELECT n FROM many WHERE id = 5')).rowCount, 1);
  }));

  it('refuses what is measured to go beyond, before it runs', () => as('change-2', async (client) => {
    assert.match(await refusal(client.query('UPDATE many SET n = 2 WHERE id <= 11')), /has used 0 of 10 changed rows per day, and this would change 11 more/);
    await client.query('UPDATE many SET n = 2 WHERE id <= 10');
  }));

  it('counts inside a transaction that is still open, and one that is rolled back', () => as('change-3', async (client) => {
    await client.query('BEGIN');
    await client.query('INSERT INTO many SELECT i, 0 FROM generate_series(3001, 3010) i');
    assert.match(await refusal(client.query('INSERT INTO many VALUES (3011, 0)')), /has used 10 of 10/);
    await client.query('ROLLBACK');
    assert.match(await refusal(client.query('INSERT INTO many VALUES (3011, 0)')), /has used 10 of 10/);
  }));

  it('is one for all sessions of the agent, and another for another agent', () => as('change-4', async (client) => {
    await client.query('UPDATE many SET n = 4 WHERE id <= 10');
    const agent = await backstop.addAgent('change-5');
    const [one, two] = [new pg.Client({ connectionString: agent.url }), new pg.Client({ connectionString: agent.url })];
    await Promise.all([one.connect(), two.connect()]);
    await one.query('UPDATE many SET n = 5 WHERE id <= 10');
    assert.match(await refusal(two.query('UPDATE many SET n = 5 WHERE id = 1')), /has used 10 of 10/);
    await Promise.all([one.end(), two.end()]);
  }));
});

describe('a budget of rows read', () => {
  it('counts rows as they come and refuses further reads', () => as('read-1', async (client) => {
    assert.equal((await client.query('SELECT * FROM many WHERE id <= 60')).rowCount, 60);
    assert.equal((await client.query('SELECT * FROM many WHERE id <= $1', [50])).rowCount, 50);
    assert.match(await refusal(client.query('SELECT 1')), /has used 110 of 100 rows read per day/);
  }));

  it('counts portals that are read in parts and never to their end', () => as('read-2', async (client) => {
    const cursor = client.query(new Cursor('SELECT * FROM many'));
    assert.equal((await cursor.read(100)).length, 100);
    await cursor.close();
    assert.match(await refusal(client.query('SELECT 1')), /has used 100 of 100 rows read/);
  }));

  const failing = 'SELECT id, 1 / (n + CASE id WHEN 101 THEN 0 ELSE 1 END) FROM (SELECT id, 0 AS n FROM many ORDER BY id) q';
  for (const [agent, how, before, sql] of [
    ['read-4', 'by a read', '', failing], ['read-5', 'by a COPY', '', `COPY (${failing}) TO STDOUT`], ['read-6', 'with the session', 'SET exit_on_error = on', failing],
  ] as const) {
    it(`counts the rows that were shown before an error ends it ${how}`, async () => {
      const { url } = await backstop.addAgent(agent);
      const read = async (...texts: readonly string[]): Promise<string> => {
        const client = new pg.Client({ connectionString: url });
        client.on('error', () => undefined);
        await client.connect();
        try {
          for (const text of texts.slice(0, -1)) await client.query(text);
          return await refusal(client.query(texts.at(-1) ?? ''));
        } finally { await client.end(); }
      };
      assert.match(await read(...(before === '' ? [] : [before]), sql), /division by zero/);
      assert.match(await read('SELECT 1'), /has used 100 of 100 rows read/);
    });
  }

  it('counts what is fetched from a cursor', () => as('read-3', async (client) => {
    await client.query('BEGIN; DECLARE c CURSOR FOR SELECT * FROM many; FETCH 70 FROM c; FETCH 30 FROM c; COMMIT');
    assert.match(await refusal(client.query('SELECT 1')), /has used 100 of 100 rows read/);
  }));
});

describe('a budget of statements', () => {
  it('counts each statement of a text, and lets a transaction end', () => as('count-1', async (client) => {
    await client.query('BEGIN');
    await client.query('SELECT 1; SELECT 2; SELECT 3');
    await client.query('SELECT 4');
    await client.query('SELECT 5');
    assert.match(await refusal(client.query('SELECT 6')), /has used 5 of 5 statements per day/);
    await client.query('ROLLBACK');
  }));
});
