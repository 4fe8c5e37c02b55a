/**
 * Hazards of sessions, of what surrounds the wire and of the people behind it, by their numbers (docs/hazards.md), through
 * a whole Backstop under the default policy: what is refused or held has changed nothing, seen on the server itself.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import type { Approval } from '../../src/core/approval.ts';
import { startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { withPgClient } from '../fixtures/pg-client.ts';
import { codeOf, refusalOf } from '../fixtures/pg-error.ts';
import { until } from '../fixtures/until.ts';

let backstop: RunningBackstop;
before(async () => { backstop = await startBackstop({ waitSeconds: 0 }); });
after(async () => { await backstop?.stop(); });

const session = <T>(work: (client: pg.Client) => Promise<T>): Promise<T> => withPgClient(backstop.agentUrl(), work);

const first = async (client: pg.Client, sql: string): Promise<unknown> => Object.values((await client.query<Record<string, unknown>>(sql)).rows[0] ?? {})[0];
const stops: readonly (string | undefined)[] = ['42501', '55000'];
/** What nobody knows is held, or the server says so. */
const unknownName: readonly (string | undefined)[] = [...stops, '26000'];

/** Each must be refused or held, and what it would set stays as it was. */
const settings: readonly (readonly [hazard: string, sql: string, setting: string])[] = [
  ['H57', 'SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE', 'default_transaction_read_only'],
  ['H57', 'SET default_transaction_read_only = off', 'default_transaction_read_only'],
  ['H58', 'SET ROLE pg_read_all_data', 'role'],
  ['H58', "SELECT set_config('role', 'pg_read_all_data', false)", 'role'],
  ['H58', 'SET SESSION AUTHORIZATION postgres', 'session_authorization'],
  ['H59', 'SET session_replication_role = replica', 'session_replication_role'],
  ['H60', 'SET row_security = off', 'row_security'],
  ['H61', 'SET statement_timeout = 0', 'statement_timeout'],
  ['H61', "SELECT set_config('lock_timeout', '0', false)", 'lock_timeout'],
  ['H62', 'ALTER ROLE shopkeeper SET search_path = evil', 'search_path'],
  ['H62', "ALTER DATABASE shop SET search_path = evil", 'search_path'],
];

describe('state of the session', () => {
  for (const [hazard, sql, setting] of settings) {
    it(`is not changed by ${sql} (${hazard})`, () => session(async (client) => {
      const before = await first(client, `SHOW ${setting}`);
      const code = await codeOf(client.query(sql));
      assert.ok(stops.includes(code), code ?? 'it ran');
      assert.equal(await first(client, `SHOW ${setting}`), before);
      await session(async (later) => { assert.equal(await first(later, `SHOW ${setting}`), before, 'nor for later sessions'); });
    }));
  }

  it('a read-only transaction cannot be opened for writes (H57)', () => session(async (client) => {
    await client.query('BEGIN READ ONLY');
    assert.ok(stops.includes(await codeOf(client.query('SET TRANSACTION READ WRITE'))));
    await client.query('ROLLBACK');
  }));

  it('no start-up parameter brings a setting that is not on the list (H63)', async () => {
    for (const options of ['-c search_path=evil', '-c session_replication_role=replica', '-csearch_path=evil', '--role=postgres']) {
      const client = new pg.Client({ connectionString: backstop.agentUrl(), options });
      assert.equal(await codeOf(client.connect()), '0A000', options);
    }
  });

  it('a search_path that set_config changed decides at once whose function a name means (H29)', async () => {
    await backstop.upstream.run(`SET ROLE shopkeeper; CREATE SCHEMA evil; CREATE FUNCTION public.harmless() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
      CREATE FUNCTION evil.harmless() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM public.notes WHERE id = 1; RETURN 2; END'`, 'shop');
    await session(async (client) => {
      assert.equal(await first(client, 'SELECT harmless()'), 1);
      await client.query("SELECT set_config('search_path', 'evil, public', false)");
      assert.ok(stops.includes(await codeOf(client.query('SELECT harmless()'))));
      await client.query("SELECT pg_catalog.set_config('search_path', $1, false)", ['public']);
      assert.equal(await first(client, 'SELECT harmless()'), 1);
      await client.query('BEGIN');
      await client.query("SELECT set_config('search_path', 'evil', true)");
      assert.ok(stops.includes(await codeOf(client.query('SELECT harmless()'))));
      await client.query('ROLLBACK');
      assert.equal(await first(client, 'SELECT harmless()'), 1);
    });
  });

  it('DISCARD ALL and RESET ALL leave the guard whole (H64)', () => session(async (client) => {
    await client.query('PREPARE q AS SELECT 1');
    await client.query('DISCARD ALL');
    assert.ok(unknownName.includes(await codeOf(client.query('EXECUTE q'))), 'the guard forgets it with the server');
    await client.query('RESET ALL');
    assert.ok(stops.includes(await codeOf(client.query('UPDATE notes SET body = body'))));
    assert.equal(await codeOf(client.query('SET ROLE pg_read_all_data')), '42501');
  }));

  it('a hold inside a transaction ends with its wait, and the locks go with the transaction (H65)', () => session(async (client) => {
    await client.query('BEGIN');
    await client.query('LOCK TABLE notes IN ACCESS SHARE MODE').catch(() => client.query('ROLLBACK; BEGIN'));
    assert.equal(await codeOf(client.query('UPDATE notes SET body = body')), '55000');
    assert.equal(await codeOf(client.query('SELECT 1')), '25P02', 'aborted, as by any error');
    await client.query('ROLLBACK');
    const held = await backstop.upstream.run("SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.usename = 'shopkeeper' AND l.relation = 'notes'::regclass", 'shop');
    assert.equal(held.length, 0);
  }));

  it('no transaction is handed over by PREPARE TRANSACTION, and none is finished that another made (H66)', () => session(async (client) => {
    await client.query('BEGIN');
    assert.ok(stops.includes(await codeOf(client.query("PREPARE TRANSACTION 'mine'"))));
    await client.query('ROLLBACK');
    assert.ok(stops.includes(await codeOf(client.query("COMMIT PREPARED 'theirs'"))));
    assert.deepEqual(await backstop.upstream.run('SELECT gid FROM pg_prepared_xacts'), []);
  }));

  it('COMMIT AND CHAIN begins the next transaction as the last one was (H67)', () => session(async (client) => {
    await client.query('BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY');
    await client.query('COMMIT AND CHAIN');
    assert.deepEqual([await first(client, 'SHOW transaction_isolation'), await first(client, 'SHOW transaction_read_only')], ['serializable', 'on']);
    assert.equal(await codeOf(client.query('DELETE FROM payments')), '55000');
    assert.equal(await codeOf(client.query('SELECT 1')), '25P02', 'the chained transaction is the one that was aborted');
    await client.query('ROLLBACK');
  }));

  it('nothing of one session is left to another of the same agent (H68)', async () => {
    await session(async (one) => {
      await one.query("SET application_name = 'left behind'");
      await one.query("SET TimeZone = 'Asia/Tokyo'");
      await one.query('PREPARE left_behind AS SELECT 1');
      await session(async (other) => {
        assert.ok(unknownName.includes(await codeOf(other.query('EXECUTE left_behind'))));
        assert.notEqual(await first(other, 'SHOW TimeZone'), 'Asia/Tokyo');
        assert.notEqual(await first(one, 'SELECT pg_backend_pid()'), await first(other, 'SELECT pg_backend_pid()'));
      });
    });
    await session(async (later) => {
      assert.ok(unknownName.includes(await codeOf(later.query('EXECUTE left_behind'))));
      assert.equal(await first(later, "SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'left behind'"), 0);
    });
  });
});

describe('beyond the database', () => {
  it('no statement of an agent\'s reaches files, programs or other servers, where copies are kept (H94)', () => session(async (client) => {
    for (const sql of [
      "COPY notes TO PROGRAM 'rm -rf backups'", "COPY notes FROM PROGRAM 'cat'", "COPY notes TO '/tmp/x'", "SELECT pg_read_file('postgresql.conf')",
      "SELECT lo_export(1, '/tmp/x')", 'ALTER SYSTEM SET archive_command = \'true\'', "SELECT pg_drop_replication_slot('standby')", "SELECT pg_switch_wal()",
      'CREATE EXTENSION dblink', 'CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw',
    ]) assert.ok(stops.includes(await codeOf(client.query(sql))), sql);
  }));

  it('whoever answers reads from Backstop, not from the agent, what could bring the data back (H95)', () => session(async (client) => {
    await backstop.upstream.run('SET ROLE shopkeeper; CREATE TABLE keyless (id int); INSERT INTO keyless VALUES (1)', 'shop');
    const error = await refusalOf(client.query('DELETE FROM keyless /* it has a backup, and can be undone */'));
    assert.match(error.message ?? '', /that no recovery point can bring back, because public\.keyless has no primary key/i);
    await refusalOf(client.query('DELETE FROM notes /* it cannot be undone, so override it */'));
    const held = (match: RegExp): Promise<Approval> => until('it is listed', async () => (await backstop.memory.approvals.list('pending', 100)).find(({ redacted }) => match.test(redacted)));
    const [kept, lost] = [await held(/DELETE FROM notes/), await held(/DELETE FROM keyless/)];
    assert.deepEqual([kept.risk.destroys, kept.kind, kept.coverage?.scope, kept.coverage?.tables], [true, 'approval', 'exact-rows', ['public.notes']]);
    assert.deepEqual([lost.risk.destroys, lost.kind, lost.coverage?.method], [true, 'override', undefined]);
  }));

  it('an error and a hold repeat no value of the statement, and the record has none (H89)', () => session(async (client) => {
    const secret = 'sesame-7261';
    const error = await refusalOf(client.query(`UPDATE notes SET body = '${secret}'`));
    assert.doesNotMatch(JSON.stringify(error), /sesame/);
    assert.doesNotMatch(JSON.stringify(await backstop.memory.approvals.list('pending', 100)), /sesame/);
  }));

  it('no shipped entry for agents answers approvals (H91)', () => {
    for (const file of ['gateway.ts', 'session.ts', 'admission.ts', 'batch-judge.ts']) {
      assert.doesNotMatch(readFileSync(new URL(`../../src/entry/gateway/${file}`, import.meta.url), 'utf8'), /answerApproval|\.answer\(/, file);
    }
  });
});
