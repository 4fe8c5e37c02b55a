/**
 * The second lock on a real server: a read that was misjudged is refused by PostgreSQL itself, work that only reads costs
 * no message more, and whatever a client may do, it sees what it would see without the lock. The last is shown by the
 * same sequences sent direct and through a whole Backstop, and comparing every message that comes back.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { frontendType } from '../../src/lib/pgwire/message-type.ts';
import { encodeQuery } from '../../src/lib/pgwire/frontend-encode.ts';
import { startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { startScriptedGateway, type ScriptedGateway } from '../fixtures/scripted-gateway.ts';
import { playSequence } from '../fixtures/sequence.ts';
import { lockSequences } from '../fixtures/lock-sequences.ts';
import { bind, describe as describing, execute, flush, parse, query, sync } from '../fixtures/messages.ts';

describe('with a judgement that calls every SELECT SAFE (H19, H57)', () => {
  let server: PostgresServer;
  let backstop: ScriptedGateway;
  before(async () => {
    server = await startPostgresServer();
    backstop = await startScriptedGateway(server);
    await server.run(`CREATE TABLE kept (id int); INSERT INTO kept VALUES (1); CREATE SEQUENCE counter;
      CREATE FUNCTION wr() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM kept; RETURN 1; END';
      CREATE FUNCTION unlocks() RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM set_config(''transaction_read_only'', ''off'', true); DELETE FROM kept; RETURN 1; END';
      CREATE FUNCTION loosens() RETURNS text LANGUAGE sql AS $$SELECT set_config('default_transaction_read_only', 'off', false)$$;`);
  });
  after(async () => { await backstop.stop(); await server.stop(); });

  const kept = async (): Promise<unknown> => (await server.run('SELECT count(*)::int AS n FROM kept'))[0]?.['n'];
  const extended = (sql: string): Buffer => Buffer.concat([parse('', sql), bind('', ''), execute(''), sync()]);
  const attacks: readonly (readonly [what: string, bytes: Buffer])[] = [
    ['a function that deletes', query('SELECT wr()')], ['the same in extended messages', extended('SELECT wr()')],
    ['the second of two statements', query('SELECT 1; SELECT wr()')], ['a sequence', query("SELECT nextval('counter')")],
    ['a function that wants to write first', query('SELECT unlocks()')], ['EXPLAIN ANALYZE', query('EXPLAIN ANALYZE SELECT wr()')],
    ['a row lock', query('SELECT * FROM kept FOR SHARE')],
  ];
  for (const [what, bytes] of attacks) {
    test(`PostgreSQL refuses ${what}, and the record says that it failed`, async () => {
      backstop.settled.length = 0;
      const client = await backstop.client();
      const lines = await client.send(bytes).until('Z');
      client.end();
      assert.ok(lines.some((line) => /^E:(25006|25001)$/.test(line)), lines.join(' '));
      assert.equal(await kept(), 1);
      const outcome = backstop.settled.at(-1)?.outcome;
      assert.equal(outcome?.kind, 'failed');
      assert.match(outcome?.sqlstate ?? '', /^2500[16]$/);
    });
  }

  for (const before of ['SELECT 1', 'BEGIN; ROLLBACK']) {
    test(`PostgreSQL refuses it behind a Parse that was flushed, after ${before}`, async () => {
      const client = await backstop.client();
      await client.send(query(before)).until('Z');
      await client.send(parse('', 'SELECT wr()'), describing('statement', ''), flush()).until('T');
      assert.deepEqual(await client.send(bind('', ''), execute(''), sync()).until('Z'), ['2', 'E:25006', 'Z:I']);
      client.end();
      assert.equal(await kept(), 1);
    });
  }

  test('a write behind a Parse that was flushed runs in the client\'s own mode, which it costs two messages to reach', async () => {
    const client = await backstop.client();
    await client.send(query('SELECT 1')).until('Z');
    backstop.forwarded.length = 0;
    await client.send(parse('', 'INSERT INTO kept VALUES (2)'), describing('statement', ''), flush()).until('n');
    assert.deepEqual(await client.send(bind('', ''), execute(''), sync()).until('Z'), ['2', 'C:INSERT 0 1', 'Z:I']);
    assert.deepEqual(await client.send(query('DELETE FROM kept WHERE id = 2')).until('Z'), ['C:DELETE 1', 'Z:I']);
    client.end();
    assert.deepEqual(backstop.forwarded.map((bytes) => [bytes.subarray(0, 5).equals(sync()), bytes[5] === frontendType.functionCall]), [[false, false], [true, true], [false, false]]);
  });

  test('the same function is refused after work that needed the client\'s own mode, and after the lock was picked', async () => {
    const client = await backstop.client();
    for (const sql of ['BEGIN; SELECT 1; COMMIT', 'SET application_name = x', 'SELECT loosens()', 'SELECT 1']) await client.send(encodeQuery(sql)).until('Z');
    assert.equal(client.parameters.get('default_transaction_read_only'), 'off');
    assert.ok((await client.send(encodeQuery('SELECT wr()')).until('Z')).includes('E:25006'));
    client.end();
    assert.equal(await kept(), 1);
  });

  test('reads of every protocol cost no message more than the client sent', async () => {
    const client = await backstop.client();
    backstop.forwarded.length = 0;
    const sent: Buffer[] = [];
    const ask = async (...messages: readonly Buffer[]): Promise<void> => {
      sent.push(...messages);
      await client.send(...messages).until('Z');
    };
    await ask(parse('p', 'SELECT $1::int'), sync());
    for (let n = 0; n < 5; n += 1) {
      await ask(query('SELECT 1'));
      await ask(parse('', 'SELECT 2'), bind('', ''), describing('portal', ''), execute(''), sync());
      await ask(bind('', 'p', '7'), describing('portal', ''), execute(''), sync());
      // As drivers do that ask for the types first.
      sent.push(parse('', 'SELECT 3'), describing('statement', ''), flush());
      await client.send(parse('', 'SELECT 3'), describing('statement', ''), flush()).until('T');
      await ask(bind('', ''), execute(''), sync());
    }
    client.end();
    assert.deepEqual(Buffer.concat(backstop.forwarded), Buffer.concat(sent));
  });

  test('other work pays one message, in the same write, and only the next read another', async () => {
    const client = await backstop.client();
    backstop.forwarded.length = 0;
    for (const sql of ['BEGIN', 'SELECT 1', 'COMMIT', 'BEGIN', 'COMMIT', 'SELECT 1', 'SELECT 1']) await client.send(query(sql)).until('Z');
    client.end();
    assert.deepEqual(backstop.forwarded.map((bytes) => bytes[0] === frontendType.functionCall), [true, false, false, false, false, true, false]);
  });

  test('a server whose role may not call set_config is not served', async () => {
    await server.run('REVOKE EXECUTE ON FUNCTION set_config FROM PUBLIC; CREATE ROLE bare LOGIN PASSWORD \'bare\'');
    const other = await startScriptedGateway(server, { upstream: server.url().replace(/\/\/.*@/, '//bare:bare@') });
    try {
      await assert.rejects(other.client(), /waited for Z, got .*E:0A000|closed/);
    } finally {
      await other.stop();
      await server.run('GRANT EXECUTE ON FUNCTION set_config TO PUBLIC');
    }
  });
});

describe('a client sees without and with Backstop the same of', () => {
  let backstop: RunningBackstop;
  before(async () => {
    backstop = await startBackstop({ policy: 'observe' });
    await backstop.upstream.run(`SET ROLE shopkeeper; CREATE TABLE lines (id int PRIMARY KEY, note text); CREATE SEQUENCE counter;
      CREATE FUNCTION looks() RETURNS text LANGUAGE sql STABLE AS $$SELECT current_setting('transaction_read_only')$$;
      CREATE FUNCTION writes(int) RETURNS int LANGUAGE sql AS 'INSERT INTO lines VALUES ($1, ''x'') RETURNING id';
      CREATE VIEW modes AS SELECT name, setting, source FROM pg_settings WHERE name LIKE '%read_only'`, 'shop');
  });
  after(() => backstop.stop());
  for (const [what, sequence] of lockSequences) {
    test(what, async () => {
      const reset = 'TRUNCATE lines; INSERT INTO lines SELECT n, \'note \' || n FROM generate_series(1, 5) n; ALTER SEQUENCE counter RESTART';
      await backstop.upstream.run(reset, 'shop');
      const direct = await playSequence(backstop.directUrl(), sequence);
      await backstop.upstream.run(reset, 'shop');
      const through = await playSequence(backstop.agentUrl(), sequence);
      assert.deepEqual(through, direct);
    });
  }
});

describe('a client of a server that is read-only by default', () => {
  let backstop: RunningBackstop;
  before(async () => {
    backstop = await startBackstop({ policy: 'observe' });
    await backstop.upstream.run('ALTER ROLE shopkeeper SET default_transaction_read_only = on', 'shop');
  });
  after(() => backstop.stop());
  for (const sequence of [
    [[query('SHOW default_transaction_read_only')], [query('CREATE TABLE made (id int)')], [query('BEGIN READ WRITE; CREATE TABLE made (id int); ROLLBACK')]],
    [[query('SET default_transaction_read_only = off')], [query('SELECT 1')], [query('CREATE TABLE made (id int); DROP TABLE made')], [query('RESET default_transaction_read_only')], [query('SELECT 1')], [query('DROP TABLE IF EXISTS made')]],
  ]) {
    test('sees that it is, and may ask otherwise', async () => {
      assert.deepEqual(await playSequence(backstop.agentUrl(), sequence), await playSequence(backstop.directUrl(), sequence));
    });
  }
});
