/**
 * Limits of time that a policy gives an agent hold on a real server, from the first statement to the last: whatever the
 * session does, they are still there afterwards, and what would lift them is refused.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import pg from 'pg';
import { startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { query } from '../fixtures/messages.ts';
import { withPgClient } from '../fixtures/pg-client.ts';
import { refusalOf } from '../fixtures/pg-error.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { startScriptedGateway, type ScriptedGateway } from '../fixtures/scripted-gateway.ts';

const policyText = `name: limited
description: Lets everything through, within limits of time.
levels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: allow }
unknown: hold
recovery: { required_from: never }
timeouts: { statement: 1, lock: 1, idle_in_transaction: 4, transaction: 8 }
scopes:
  - name: patient
    match: { agents: [patient] }
    timeouts: { statement: 60 }
`;
const pinned = { statement_timeout: '1s', lock_timeout: '1s', idle_in_transaction_session_timeout: '4s', transaction_timeout: '8s' };
const folder = mkdtempSync(join(tmpdir(), 'backstop-test-policy-'));


describe('an agent under limits of time (H61, H62, H64)', () => {
  let backstop: RunningBackstop;
  before(async () => {
    writeFileSync(join(folder, 'limited.yaml'), policyText);
    backstop = await startBackstop({ policy: join(folder, 'limited.yaml') });
  });
  after(async () => { await backstop.stop(); rmSync(folder, { recursive: true }); });

  const withClient = (work: (client: pg.Client) => Promise<void>, url = backstop.agentUrl()): Promise<void> => withPgClient(url, work);
  const limits = async (client: pg.Client): Promise<Record<string, string>> => Object.fromEntries(
    (await client.query<{ name: string; value: string }>("SELECT name, current_setting(name) AS value FROM pg_settings WHERE name = ANY ($1)", [Object.keys(pinned)])).rows.map(({ name, value }) => [name, value]));

  test('begins with them, and another agent with its own', async () => {
    await withClient(async (client) => { assert.deepEqual(await limits(client), pinned); });
    const { url } = await backstop.addAgent('patient');
    await withClient(async (client) => { assert.equal((await limits(client))['statement_timeout'], '1min'); }, url);
  });

  for (const sql of ['RESET ALL', 'DISCARD ALL', 'RESET statement_timeout', 'SET lock_timeout TO DEFAULT', "SET statement_timeout = '200ms'; RESET statement_timeout", 'BEGIN; SET LOCAL statement_timeout = 500; COMMIT', 'BEGIN; SET statement_timeout = 500; ROLLBACK']) {
    test(`has them still after ${sql}`, () => withClient(async (client) => {
      await client.query(sql);
      assert.deepEqual(await limits(client), pinned);
    }));
  }

  test('has them back after code that nobody read', () => withClient(async (client) => {
    const done = client.query("DO $$ BEGIN EXECUTE 'SET statement_' || 'timeout = 0'; PERFORM set_config('lock_' || 'timeout', '0', false); END $$");
    await backstop.approve((await backstop.waitForHold(/^DO/)).id);
    await done;
    assert.deepEqual(await limits(client), pinned);
  }));

  test('may set a lower one', () => withClient(async (client) => {
    await client.query("SET statement_timeout = '300ms'");
    assert.equal((await limits(client))['statement_timeout'], '300ms');
    assert.equal((await refusalOf(client.query('SELECT pg_sleep(5)'))).code, '57014');
  }));

  for (const sql of [
    'SET statement_timeout = 0', "SET statement_timeout = '1h'", 'SET LOCAL lock_timeout = 0', "SELECT set_config('statement_timeout', '0', false)",
    "SELECT set_config('lock_timeout', CASE WHEN true THEN '0' END, false)", 'BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0; COMMIT', 'SET transaction_timeout = 0',
  ]) {
    test(`is refused ${sql}`, () => withClient(async (client) => {
      const error = await refusalOf(client.query(sql));
      assert.equal(error.code, '42501');
      assert.match(`${error.message} ${error.detail}`, /limit of time|timeouts/);
      await client.query('ROLLBACK');
      assert.deepEqual(await limits(client), pinned);
    }));
  }

  test('finds them in force for a statement, for a lock and for a transaction that idles', () => withClient(async (client) => {
    assert.equal((await refusalOf(client.query('SELECT pg_sleep(10)'))).code, '57014');
    await withClient(async (other) => {
      await other.query('BEGIN; LOCK TABLE notes');
      const ended = new Promise<string>((resolve) => { other.on('error', (error) => { resolve('code' in error ? String(error.code) : error.message); }); });
      const code = (await refusalOf(client.query('SET statement_timeout = 900; SET lock_timeout = 200; SELECT * FROM notes'))).code;
      assert.equal(code, '55P03');
      assert.equal(await ended, '25P03', 'the server ends the session that idles');
    });
  }));

  test('finds them in force although the role was given none', async () => {
    await withClient(async (client) => { await client.query('ALTER ROLE shopkeeper SET statement_timeout = 0'); });
    await withClient(async (client) => { assert.deepEqual(await limits(client), pinned); });
  });
});

test('a policy that only observes sets no limit', async () => {
  const observing = mkdtempSync(join(tmpdir(), 'backstop-test-policy-'));
  writeFileSync(join(observing, 'observing.yaml'), policyText.replace('levels:', 'mode: observe\nlevels:'));
  const backstop = await startBackstop({ policy: join(observing, 'observing.yaml') });
  const client = new pg.Client({ connectionString: backstop.agentUrl() });
  try {
    await client.connect();
    assert.deepEqual((await client.query('SHOW statement_timeout')).rows, [{ statement_timeout: '0' }]);
  } finally {
    await client.end();
    await backstop.stop();
    rmSync(observing, { recursive: true });
  }
});

describe('behind a pooler that refuses the limits as start-up parameters', () => {
  let server: PostgresServer;
  let backstop: ScriptedGateway;
  before(async () => {
    server = await startPostgresServer();
    backstop = await startScriptedGateway(server, { timeouts: { statement: 1, lock: 2 }, isPooled: true });
  });
  after(async () => { await backstop.stop(); await server.stop(); });

  test('they are set all the same, and again after whatever puts them back', async () => {
    const client = await backstop.client();
    const look = query('SHOW statement_timeout; SHOW lock_timeout');
    const expected = ['T', 'D:1s', 'C:SHOW', 'T', 'D:2s', 'C:SHOW', 'Z:I'];
    assert.deepEqual(await client.send(look).until('Z'), expected);
    for (const sql of ['RESET ALL', 'DISCARD ALL', 'RESET statement_timeout']) {
      await client.send(query(sql)).until('Z');
      assert.deepEqual(await client.send(look).until('Z'), expected, sql);
    }
    client.end();
  });
});

describe('an agent under protect (H46, H57 to H62)', () => {
  let backstop: RunningBackstop;
  before(async () => { backstop = await startBackstop({ policy: 'protect', waitSeconds: 0 }); });
  after(() => backstop.stop());

  for (const sql of [
    'SET ROLE postgres', 'SET SESSION AUTHORIZATION postgres', "SELECT set_config('role', 'postgres', false)", "SELECT set_config('session_authorization', 'postgres', false)",
    "SELECT set_config('ro' || 'le', 'postgres', false)", 'SET SESSION ROLE postgres', 'SET LOCAL ROLE postgres', 'ALTER ROLE shopkeeper SET statement_timeout = 0',
    'ALTER DATABASE shop SET lock_timeout = 0', 'SET session_replication_role = replica', 'SET row_security = off', 'SET default_transaction_read_only = off',
    'SET statement_timeout = 0', "SET statement_timeout = '2h'", 'SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE', "SELECT set_config('statement_timeout', '0', true)",
    'RESET ROLE', 'RESET SESSION AUTHORIZATION',
  ]) {
    test(`is not let through ${sql}`, async () => {
      const client = new pg.Client({ connectionString: backstop.agentUrl() });
      await client.connect();
      try {
        assert.match(String((await refusalOf(client.query(sql))).code), /^(42501|55000)$/);
      } finally {
        await client.end();
      }
    });
  }
});
