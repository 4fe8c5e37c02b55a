/**
 * What a transaction changed in the catalog is known to what it does next, though nobody else can see it yet: a migration
 * runs where the policy allows its statements, and code that was made a moment ago is judged as what it is.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type pg from 'pg';
import { holdingPolicy, startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { withPgClient } from '../fixtures/pg-client.ts';
import { codeOf } from '../fixtures/pg-error.ts';

const session = (backstop: RunningBackstop, work: (client: pg.Client) => Promise<void>): Promise<void> => withPgClient(backstop.agentUrl(), work);

describe('a migration where the policy allows its statements', () => {
  let backstop: RunningBackstop;
  before(async () => { backstop = await startBackstop({ policy: 'develop', waitSeconds: 1 }); });
  after(async () => { await backstop?.stop(); });

  it('runs in one transaction without a person, each statement on what the one before made', () => session(backstop, async (client) => {
    const reported: string[] = [];
    client.connection.on('parameterStatus', ({ parameterName }: { readonly parameterName: string }) => { reported.push(parameterName); });
    await client.query('BEGIN');
    await client.query("SET LOCAL search_path = 'public'");
    reported.length = 0;
    for (const statement of [
      'CREATE TABLE authors (id int PRIMARY KEY)', "ALTER TABLE authors ADD COLUMN name text NOT NULL DEFAULT ''", 'INSERT INTO authors VALUES (1)',
      'CREATE TABLE books (id int PRIMARY KEY, author int REFERENCES authors)', 'CREATE INDEX books_author ON books (author)',
      'ALTER TABLE authors ADD CONSTRAINT named UNIQUE (name)', "UPDATE authors SET name = 'a' WHERE id = 1", 'ALTER TABLE books RENAME TO volumes',
      'INSERT INTO volumes VALUES (1, 1)', 'SELECT * FROM volumes',
    ]) assert.equal(await codeOf(client.query(statement)), undefined, statement);
    assert.deepEqual(reported, [], 'the client hears nothing of our questions');
    assert.deepEqual((await client.query('SHOW search_path')).rows, [{ search_path: 'public' }]);
    await client.query('COMMIT');
    assert.deepEqual((await client.query('SELECT name, author FROM authors JOIN volumes ON author = authors.id')).rows, [{ name: 'a', author: 1 }]);
    assert.equal((await backstop.memory.approvals.list('all', 10)).length, 0, 'nobody was asked');
  }));

  it('stays in doubt above READ COMMITTED, where what others commit could not be seen', () => session(backstop, async (client) => {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await client.query('CREATE TABLE repeatable (id int)');
    assert.equal(await codeOf(client.query('ALTER TABLE repeatable ADD COLUMN a int')), '55000');
    await client.query('ROLLBACK');
  }));
});

describe('code made in the same transaction', () => {
  let backstop: RunningBackstop;
  before(async () => { backstop = await startBackstop({ policy: holdingPolicy, waitSeconds: 1 }); });
  after(async () => { await backstop?.stop(); });

  const approved = async (client: pg.Client, statement: string): Promise<void> => {
    const running = client.query(statement);
    await Promise.all([running, backstop.waitForHold(/./).then(({ id }) => backstop.approve(id))]);
  };
  const isHeld = async (client: pg.Client, statement: string): Promise<boolean> => {
    await client.query('SAVEPOINT here');
    const code = await codeOf(client.query(statement));
    if (code === '55000') await backstop.deny((await backstop.waitForHold(/./)).id, 'only a test');
    else assert.equal(code, undefined);
    await client.query('ROLLBACK TO here');
    return code === '55000';
  };
  const writer = (name: string): string => `CREATE OR REPLACE FUNCTION ${name}() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM public.notes WHERE id = 1; RETURN 1; END'`;

  it('is judged as what it is: a new table is read, a view over a new writer is held', () => session(backstop, async (client) => {
    await client.query('BEGIN');
    await approved(client, 'CREATE TABLE fresh AS SELECT 1 AS a');
    assert.equal(await isHeld(client, 'SELECT * FROM fresh'), false);
    await approved(client, writer('eraser'));
    await approved(client, 'CREATE VIEW erasing AS SELECT eraser()');
    assert.equal(await isHeld(client, 'SELECT * FROM erasing'), true);
    assert.equal(await isHeld(client, 'SELECT * FROM fresh'), false);
    await client.query('ROLLBACK');
  }));

  it('is judged anew when it is replaced, and again when the replacement is taken back', () => session(backstop, async (client) => {
    await client.query('BEGIN');
    await approved(client, "CREATE FUNCTION turncoat() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1'");
    assert.equal(await isHeld(client, 'SELECT turncoat()'), false);
    await client.query('SAVEPOINT harmless');
    await approved(client, writer('turncoat'));
    assert.equal(await isHeld(client, 'SELECT turncoat()'), true);
    await client.query('ROLLBACK TO harmless');
    assert.equal(await isHeld(client, 'SELECT turncoat()'), false);
    await client.query('ROLLBACK');
  }));

  it('is not hidden by a temporary table that passes for a system catalog', () => session(backstop, async (client) => {
    await client.query('BEGIN');
    await approved(client, writer('hidden'));
    for (const catalog of ['pg_proc', 'pg_class', 'pg_namespace', 'pg_depend']) {
      await client.query(`CREATE TEMP TABLE ${catalog} AS SELECT * FROM pg_catalog.${catalog} WHERE false`).catch((error: unknown) => { throw new Error(catalog, { cause: error }); });
    }
    assert.equal(await isHeld(client, 'SELECT public.hidden()'), true);
    await client.query('ROLLBACK');
  }));

  it('leaves the client its unnamed statement, its cursors and its errors', () => session(backstop, async (client) => {
    await client.query('BEGIN');
    await client.query('DECLARE portion CURSOR FOR SELECT id FROM orders ORDER BY id');
    await approved(client, 'CREATE TABLE another (a int)');
    assert.deepEqual((await client.query('FETCH 2 FROM portion')).rows, [{ id: 1 }, { id: 2 }]);
    assert.equal(await codeOf(client.query('RELEASE backstop_catalog')), '3B001');
    await client.query('ROLLBACK');
  }));
});
