/**
 * The gateway on the wire, message by message, before a real PostgreSQL 18. The judgement is scripted (`forbidden` is
 * denied, `held` waits), so that what is shown here is the protocol: what the client gets, in which order, in which
 * transaction state, and what was forwarded.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import * as say from '../../src/lib/pgwire/frontend-encode.ts';
import { call } from '../fixtures/messages.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { startScriptedGateway, type ScriptedGateway } from '../fixtures/scripted-gateway.ts';
import { bind, describePortal, execute, flush, parse, query, sync } from '../fixtures/unnamed-messages.ts';
import { until } from '../fixtures/until.ts';
import { openSocket, WireClient } from '../fixtures/wire-client.ts';

let server: PostgresServer;
let backstop: ScriptedGateway;
before(async () => {
  server = await startPostgresServer();
  await server.run('CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE forbidden (id int); CREATE TABLE held (id int)');
  backstop = await startScriptedGateway(server);
});
after(async () => {
  await backstop?.stop();
  await server?.stop();
  assert.deepEqual(backstop?.faults, [], 'no session ended by a fault');
});
beforeEach(async () => {
  await server.run('TRUNCATE t, forbidden, held; INSERT INTO t SELECT i, i::text FROM generate_series(1, 5) i');
  backstop.actions.length = backstop.settled.length = backstop.forwarded.length = backstop.holds.length = 0;
});

const whole = (sql: string): readonly Buffer[] => [parse(sql), bind(), describePortal, execute()];

async function withClient(work: (client: WireClient) => Promise<void>): Promise<void> {
  const client = await backstop.client();
  try { await work(client); } finally { client.end(); }
}
const forwardedText = (): string => Buffer.concat(backstop.forwarded).toString('latin1');
const outcomes = (): readonly string[] => backstop.settled.map(({ text, outcome }) => `${text} → ${outcome.kind}${outcome.sqlstate === undefined ? '' : ` ${outcome.sqlstate}`}${outcome.rows === null ? '' : ` ${outcome.rows}`}`);
const count = async (table: string): Promise<number> => Number((await server.run(`SELECT count(*)::int AS n FROM ${table}`))[0]?.['n']);

describe('a simple Query', () => {
  it('is answered as by the server, several statements in one message too', () => withClient(async (client) => {
    client.send(query('SELECT id FROM t WHERE id < 3 ORDER BY id; SELECT 7'));
    assert.deepEqual(await client.until('Z'), ['T', 'D:1', 'D:2', 'C:SELECT 2', 'T', 'D:7', 'C:SELECT 1', 'Z:I']);
    assert.deepEqual(outcomes(), ['SELECT id FROM t WHERE id < 3 ORDER BY id; SELECT 7 → committed 3']);
    client.send(query(''), query('SELECT 1/0'), query('SELECT 8'));
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z'), ...await client.until('Z')], ['I', 'Z:I', 'E:22012', 'Z:I', 'T', 'D:8', 'C:SELECT 1', 'Z:I']);
  }));

  it('that is refused when idle touches nothing and leaves the session usable', () => withClient(async (client) => {
    client.send(query('SELECT 1; DELETE FROM forbidden'));
    assert.deepEqual(await client.until('Z'), ['E:42501', 'Z:I']);
    assert.deepEqual([client.errors[0]?.message, client.errors[0]?.detail], ['denied by the script', 'rule scripted']);
    assert.ok((client.errors[0]?.hint ?? '').length > 0);
    assert.equal(forwardedText(), '', 'not even the harmless first statement');
    client.send(query('SELECT 2'));
    assert.deepEqual(await client.until('Z'), ['T', 'D:2', 'C:SELECT 1', 'Z:I']);
  }));

  it('that is refused inside BEGIN aborts the transaction, which ROLLBACK ends', () => withClient(async (client) => {
    client.send(query('BEGIN'), query("INSERT INTO t VALUES (10, 'x')"), query('DELETE FROM forbidden'), query('SELECT 1'), query('COMMIT'), query('SELECT 2'));
    const lines = [];
    for (let at = 0; at < 6; at += 1) lines.push(...await client.until('Z'));
    assert.deepEqual(lines, ['C:BEGIN', 'Z:T', 'C:INSERT 0 1', 'Z:T', 'E:42501', 'Z:E', 'E:25P02', 'Z:E', 'C:ROLLBACK', 'Z:I', 'T', 'D:2', 'C:SELECT 1', 'Z:I']);
    assert.equal(await count('t'), 5);
    assert.ok(outcomes().includes("INSERT INTO t VALUES (10, 'x') → rolled-back 1"), outcomes().join());
  }));

  it('that is refused in an aborted transaction gets the error that PostgreSQL gives there', () => withClient(async (client) => {
    client.send(query('BEGIN'), query('SELECT 1/0'), query('DELETE FROM forbidden'), query('DELETE FROM held'), query('ROLLBACK'));
    const lines = [];
    for (let at = 0; at < 5; at += 1) lines.push(...await client.until('Z'));
    assert.deepEqual(lines, ['C:BEGIN', 'Z:T', 'E:22012', 'Z:E', 'E:25P02', 'Z:E', 'E:25P02', 'Z:E', 'C:ROLLBACK', 'Z:I']);
    assert.deepEqual(backstop.holds, [], 'nobody is asked for what could not run');
  }));

  it('that cannot be read is refused, never guessed', () => withClient(async (client) => {
    const invalid = Buffer.concat([Buffer.from('Q\0\0\0\0'), Buffer.from("SELECT '"), Buffer.from([0xff, 0xfe]), Buffer.from("'\0")]);
    invalid.writeUInt32BE(invalid.length - 1, 1);
    const withNul = Buffer.from('Q\0\0\0\0SELECT 1\0; DROP TABLE t\0');
    withNul.writeUInt32BE(withNul.length - 1, 1);
    client.send(query('SELEC 1'), invalid, withNul, query('SELECT 3'));
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z'), ...await client.until('Z'), ...await client.until('Z')],
      ['E:42601', 'Z:I', 'E:42601', 'Z:I', 'E:08P01', 'Z:I', 'T', 'D:3', 'C:SELECT 1', 'Z:I']);
    assert.ok(!forwardedText().includes('DROP'));
  }));

  it('that is longer than can be judged is refused as too large, and the session goes on', () => withClient(async (client) => {
    client.send(query(`SELECT '${'x'.repeat(2_000_000)}'`), parse(`SELECT '${'x'.repeat(2_000_000)}'`), sync, query('SELECT 4'));
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z'), ...await client.until('Z')], ['E:54000', 'Z:I', 'E:54000', 'Z:I', 'T', 'D:4', 'C:SELECT 1', 'Z:I']);
  }));

  it('with a COMMIT inside is settled by what became durable (H93)', () => withClient(async (client) => {
    client.send(query("BEGIN; INSERT INTO t VALUES (20, 'a'); COMMIT; SELECT 1/0"));
    await client.until('Z');
    client.send(query("INSERT INTO t VALUES (21, 'a'); SELECT 1/0"));
    await client.until('Z');
    client.send(query("INSERT INTO t VALUES (22, 'a'); ROLLBACK"));
    await client.until('Z');
    assert.deepEqual(outcomes().map((line) => line.replace(/^.*→ /, '')), ['committed 22012 1', 'failed 22012 1', 'rolled-back 1']);
    assert.equal(await count('t'), 6);
  }));
});

describe('an extended batch', () => {
  it('refused in the middle gives the results before it, one error, and one ReadyForQuery (H82)', () => withClient(async (client) => {
    client.send(...whole("INSERT INTO t VALUES (30, 'x')"), ...whole('SELECT 5'), ...whole('DELETE FROM forbidden'), ...whole('SELECT 6'), sync);
    assert.deepEqual(await client.until('Z'), ['1', '2', 'n', 'C:INSERT 0 1', '1', '2', 'T', 'D:5', 'C:SELECT 1', '1', 'E:42501', 'Z:I']);
    assert.equal(await count('t'), 5, 'the implicit transaction is rolled back');
    assert.ok(!forwardedText().includes('SELECT 6'));
    assert.deepEqual(outcomes(), ["INSERT INTO t VALUES (30, 'x') → rolled-back 1", 'SELECT 5 → rolled-back 1']);
    client.send(...whole('SELECT 9'), sync);
    assert.deepEqual(await client.until('Z'), ['1', '2', 'T', 'D:9', 'C:SELECT 1', 'Z:I']);
  }));

  it('refused inside a transaction leaves it aborted', () => withClient(async (client) => {
    client.send(query('BEGIN'));
    await client.until('Z');
    client.send(...whole('DELETE FROM forbidden'), sync, ...whole('ROLLBACK'), sync);
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z')], ['1', 'E:42501', 'Z:E', '1', '2', 'n', 'C:ROLLBACK', 'Z:I']);
  }));

  it('that ends with Flush is answered at once, and after a refusal discards until Sync', () => withClient(async (client) => {
    client.send(parse('SELECT 1'), flush);
    assert.deepEqual(await client.until('1'), ['1']);
    client.send(bind(), execute(), flush);
    assert.deepEqual(await client.until('C'), ['2', 'D:1', 'C:SELECT 1']);
    client.send(...whole('DELETE FROM forbidden'), flush);
    assert.deepEqual(await client.until('E'), ['1', 'E:42501']);
    client.send(...whole('SELECT 2'), flush, ...whole('DELETE FROM forbidden'), query('SELECT 3'), sync, query('SELECT 4'));
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z')], ['Z:I', 'T', 'D:4', 'C:SELECT 1', 'Z:I']);
  }));

  it('that cannot be parsed is refused at its Parse', () => withClient(async (client) => {
    client.send(...whole('SELECT 1'), ...whole('SELEC 2'), sync);
    assert.deepEqual(await client.until('Z'), ['1', '2', 'T', 'D:1', 'C:SELECT 1', 'E:42601', 'Z:I']);
  }));

  it('knows its names as PostgreSQL does: unknown ones have its own errors', () => withClient(async (client) => {
    client.send(bind([], 'nobody'), execute(), sync, execute(0, 'nothing'), sync);
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z')], ['E:26000', 'Z:I', 'E:34000', 'Z:I']);
  }));

  it('binds a permit to the values, not only to the text (H88)', () => withClient(async (client) => {
    client.send(parse('SELECT $1::int', 's'), bind(['1'], 's'), execute(), bind(['2'], 's'), execute(), sync);
    await client.until('Z');
    const [first, second] = backstop.actions;
    assert.notEqual(first?.digest, second?.digest);
    assert.equal(first?.fingerprint, second?.fingerprint);
  }));

  it('goes on with a suspended portal as one action (H85)', () => withClient(async (client) => {
    client.send(query('BEGIN'), parse('SELECT id FROM t ORDER BY id'), bind([], '', 'p'), execute(2, 'p'), sync);
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z')], ['C:BEGIN', 'Z:T', '1', '2', 'D:1', 'D:2', 's', 'Z:T']);
    client.send(execute(2, 'p'), sync, execute(2, 'p'), sync, query('COMMIT'));
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z'), ...await client.until('Z')],
      ['D:3', 'D:4', 's', 'Z:T', 'D:5', 'C:SELECT 1', 'Z:T', 'C:COMMIT', 'Z:I']);
    assert.equal(backstop.actions.filter(({ text }) => text.startsWith('SELECT id')).length, 1);
    client.send(execute(1, 'p'), sync);
    assert.deepEqual(await client.until('Z'), ['E:34000', 'Z:I'], 'the portal ended with its transaction');
  }));

  it('judges a statement by the name under which SQL prepared it, and the other way round (H10)', () => withClient(async (client) => {
    client.send(parse('DELETE FROM forbidden', 'q'), sync, query('EXECUTE q'));
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z')], ['1', 'Z:I', 'E:42501', 'Z:I']);
    client.send(query('PREPARE w AS SELECT 40'), bind([], 'w'), execute(), sync);
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z')], ['C:PREPARE', 'Z:I', '2', 'D:40', 'C:SELECT 1', 'Z:I']);
    client.send(parse('SELECT 41', 'x'), sync, query('EXECUTE x'), query('DEALLOCATE x'), query('EXECUTE x'));
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z'), ...await client.until('Z'), ...await client.until('Z')],
      ['1', 'Z:I', 'T', 'D:41', 'C:SELECT 1', 'Z:I', 'C:DEALLOCATE', 'Z:I', 'E:26000', 'Z:I']);
  }));

  it('keeps the digest of EXECUTE bound to the body behind the name', () => withClient(async (client) => {
    for (const body of ['SELECT 1', 'SELECT 2']) {
      client.send(query(`PREPARE z AS ${body}`), query('EXECUTE z'), query('DEALLOCATE z'));
      for (let at = 0; at < 3; at += 1) await client.until('Z');
    }
    const digests = backstop.actions.filter(({ text }) => text === 'EXECUTE z').map(({ digest }) => digest);
    assert.equal(new Set(digests).size, 2);
  }));

  it('keeps the digest of FETCH bound to the values of its portal, or of its DECLARE (H88)', () => withClient(async (client) => {
    for (const value of ['1', '2']) {
      client.send(query('BEGIN'), parse('SELECT $1::int', 's'), bind([value], 's', 'p'), parse('DECLARE c CURSOR FOR SELECT $1::int'), bind([value]), execute(), sync);
      client.send(query('FETCH ALL FROM p'), query('FETCH ALL FROM c'), query('ROLLBACK'), query('DEALLOCATE s'));
      for (let at = 0; at < 6; at += 1) await client.until('Z');
    }
    const digests = backstop.actions.filter(({ text }) => text.startsWith('FETCH')).map(({ text, digest }) => `${text} ${digest}`);
    assert.equal(new Set(digests).size, 4, digests.join('\n'));
    assert.equal(backstop.actions.findLast(({ text }) => text === 'FETCH ALL FROM p')?.redacted, 'FETCH ALL FROM p [p runs: SELECT $?::int]', 'who answers is told what runs');
  }));

  it('knows two names for one that the server does not tell apart', () => withClient(async (client) => {
    const [one, other] = [`${'a'.repeat(63)}1`, `${'a'.repeat(63)}2`];
    client.send(parse('SELECT 1', one), sync, say.encodeClose({ target: 'statement', name: other }), parse('DELETE FROM forbidden', other), sync);
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z')], ['1', 'Z:I', '3', '1', 'Z:I']);
    client.send(query('BEGIN'), bind([], one), execute(), sync);
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z')], ['C:BEGIN', 'Z:T', 'E:42501', 'Z:E']);
  }));

  it('after code that nobody read asks the server what its names mean', () => withClient(async (client) => {
    client.send(parse('SELECT 1', 'harmless'), parse('SELECT 2', 'kept'), sync);
    await client.until('Z');
    client.send(query(`DO $$ BEGIN EXECUTE 'DEALLOCATE harmless'; EXECUTE 'PREPARE harmless AS DELETE FROM t'; END $$ -- unread`));
    assert.deepEqual(await client.until('Z'), ['C:DO', 'Z:I']);
    client.send(bind([], 'harmless'), execute(), sync, bind([], 'kept'), execute(), sync);
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z')], ['E:26000', 'Z:I', '2', 'D:2', 'C:SELECT 1', 'Z:I']);
    assert.equal(await count('t'), 5);
  }));
});

describe('a held statement', () => {
  it('shows a notice with the approval, runs once it is approved, and is judged again before', () => withClient(async (client) => {
    client.send(query('INSERT INTO held VALUES (1)'));
    await client.until('N');
    assert.match(client.notices[0]?.hint ?? '', /backstop approvals approve apr_1/);
    assert.equal(await count('held'), 0);
    backstop.answer('approve');
    assert.deepEqual(await client.until('Z'), ['C:INSERT 0 1', 'Z:I']);
    assert.equal(await count('held'), 1);
  }));

  it('holds back the whole batch, and only its own client', () => withClient(async (client) => {
    client.send(...whole("INSERT INTO t VALUES (50, 'x')"), ...whole('INSERT INTO held VALUES (2)'), sync);
    await client.until('N');
    assert.equal(await count('t'), 5);
    await withClient(async (other) => {
      other.send(query('SELECT 1'));
      await other.until('Z');
    });
    backstop.answer('deny');
    assert.deepEqual(await client.until('Z'), ['1', '2', 'n', 'C:INSERT 0 1', '1', 'E:42501', 'Z:I']);
    assert.equal(await count('t'), 5);
  }));

  it('stops waiting when it is cancelled', () => withClient(async (client) => {
    client.send(query('INSERT INTO held VALUES (3)'));
    await client.until('N');
    await cancel(client);
    assert.deepEqual(await client.until('Z'), ['E:57014', 'Z:I']);
  }));

  it('stops waiting when its client goes away, and nothing runs', async () => {
    const client = await backstop.client();
    client.send(...whole("INSERT INTO t VALUES (60, 'x')"), ...whole('INSERT INTO held VALUES (4)'), sync);
    await client.until('N');
    client.end();
    await until('the session ends', () => Promise.resolve(backstop.settled.length === 1));
    assert.deepEqual(outcomes(), ["INSERT INTO t VALUES (60, 'x') → rolled-back"]);
    assert.equal(await count('t'), 5);
  });
});

async function cancel(client: WireClient): Promise<void> {
  const { key } = client;
  assert.ok(key !== undefined);
  const socket = await openSocket(backstop.host, backstop.port);
  socket.end(say.encodeCancelRequest(key.processId, key.secretKey));
}

describe('a cancel request', () => {
  it('ends the running statement of its own client and no other (H81)', () => withClient(async (client) => {
    await withClient(async (other) => {
      client.send(query('SELECT pg_sleep(30)'));
      other.send(query('SELECT pg_sleep(0.5), 1'));
      await until('the first sleeps', async () => Number((await server.run("SELECT count(*)::int AS n FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(30)%' AND state = 'active'"))[0]?.['n']) === 1);
      await cancel(client);
      assert.deepEqual((await client.until('Z')).slice(-2), ['E:57014', 'Z:I']);
      assert.ok((await other.until('Z')).includes('C:SELECT 1'));
      assert.ok(outcomes().includes('SELECT pg_sleep(30) → failed 57014'));
    });
  }));

  it('with a wrong key does nothing', () => withClient(async (client) => {
    const socket = await openSocket(backstop.host, backstop.port);
    socket.end(say.encodeCancelRequest(client.key?.processId ?? 0, Buffer.alloc(4)));
    client.send(query('SELECT pg_sleep(0.2)'));
    assert.ok((await client.until('Z')).includes('C:SELECT 1'));
  }));
});

describe('the session', () => {
  for (const command of ['COMMIT', 'ROLLBACK', 'ROLLBACK AND CHAIN', 'SET search_path TO x', 'DEALLOCATE ALL', 'PREPARE b AS SELECT 1']) {
    it(`does not let EXECUTE run ${command}, whose consequences would go unseen`, () => withClient(async (client) => {
      client.send(parse(command, 'a'), say.encodeSync(), query('BEGIN'), query('INSERT INTO t VALUES (1)'), query('EXECUTE a'), query('SELECT 1'), query('COMMIT'));
      const lines = [];
      for (let at = 0; at < 6; at += 1) lines.push(...await client.until('Z'));
      assert.deepEqual(lines.slice(-6), ['E:0A000', 'Z:E', 'E:25P02', 'Z:E', 'C:ROLLBACK', 'Z:I']);
      assert.ok(!outcomes().some((outcome) => /INSERT.*committed/.test(outcome)));
    }));
  }

  for (const [what, message] of [['a Query', query('SELECT 1')], ['a FunctionCall', call(177, '1', '2')]] as const) {
    it(`refuses ${what} behind an Execute without its Sync, which PostgreSQL 18 would lose`, () => withClient(async (client) => {
      client.send(parse('INSERT INTO t VALUES (77)'), bind(), execute(), message, say.encodeSync(), query('SELECT 3'));
      assert.deepEqual(await client.until('Z'), ['1', '2', 'C:INSERT 0 1', 'E:0A000', 'Z:I']);
      assert.deepEqual(await client.until('Z'), ['Z:I'], 'the Sync behind it finds nothing to end');
      assert.deepEqual(await client.until('Z'), ['T', 'D:3', 'C:SELECT 1', 'Z:I']);
      assert.equal((await server.run('SELECT count(*)::int AS n FROM t WHERE id = 77'))[0]?.['n'], 0);
      assert.deepEqual(outcomes().filter((one) => one.startsWith('INSERT INTO t VALUES (77)')), ['INSERT INTO t VALUES (77) → rolled-back 1']);
    }));
  }

  it('hears notifications, also between its own statements', () => withClient(async (client) => {
    client.send(query('LISTEN news'));
    await client.until('Z');
    await server.run("NOTIFY news, 'hello'");
    assert.deepEqual(await client.until('A'), ['A:news:hello']);
  }));

  it('calls functions by OID judged like SELECT f() (H76)', () => withClient(async (client) => {
    const oid = Number((await server.run("SELECT 'pg_catalog.int4pl(int4,int4)'::regprocedure::oid::int AS oid"))[0]?.['oid']);
    client.send(say.encodeFunctionCall({ functionOid: oid, formats: [], values: [Buffer.from('2'), Buffer.from('3')], resultFormat: 'text' }));
    assert.deepEqual(await client.until('Z'), ['V', 'Z:I']);
    assert.equal(backstop.actions.at(-1)?.text, 'SELECT "pg_catalog"."int4pl"($1, $2)');
    await server.run("CREATE OR REPLACE FUNCTION forbidden_one() RETURNS int LANGUAGE sql AS 'SELECT 1'");
    const own = Number((await server.run("SELECT 'forbidden_one()'::regprocedure::oid::int AS oid"))[0]?.['oid']);
    client.send(say.encodeFunctionCall({ functionOid: own, formats: [], values: [], resultFormat: 'text' }), say.encodeFunctionCall({ functionOid: 1, formats: [], values: [], resultFormat: 'text' }));
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z')], ['E:42501', 'Z:I', 'E:42883', 'Z:I']);
  }));

  it('refuses everything while the encoding or the string syntax is another, until it is back (H86)', () => withClient(async (client) => {
    client.send(query('SET client_encoding = SJIS'), query("SELECT 'a'"), query('RESET client_encoding'), query("SELECT 'b'"));
    const lines = [];
    for (let at = 0; at < 4; at += 1) lines.push(...await client.until('Z'));
    assert.deepEqual(lines, ['C:SET', 'Z:I', 'E:0A000', 'Z:I', 'C:RESET', 'Z:I', 'T', 'D:b', 'C:SELECT 1', 'Z:I']);
    client.send(query('BEGIN; SET LOCAL standard_conforming_strings = off'), query("SELECT 'a'"), query('ROLLBACK'), query("SELECT 'c'"));
    const more = [];
    for (let at = 0; at < 4; at += 1) more.push(...await client.until('Z'));
    assert.deepEqual(more, ['C:BEGIN', 'C:SET', 'Z:T', 'E:0A000', 'Z:E', 'C:ROLLBACK', 'Z:I', 'T', 'D:c', 'C:SELECT 1', 'Z:I']);
  }));

  it('learns where names resolve after SET, and again after ROLLBACK', () => withClient(async (client) => {
    const steps = ['SELECT 1', 'BEGIN', 'SET search_path = pg_catalog', 'SELECT 2', 'ROLLBACK', 'SELECT 3'];
    for (const step of steps) {
      client.send(query(step));
      await client.until('Z');
    }
    const path = (text: string) => backstop.actions.find((action) => action.text === text)?.searchPath;
    assert.deepEqual([path('SELECT 1'), path('SELECT 2'), path('SELECT 3')], [['postgres', 'public'], ['pg_catalog'], ['postgres', 'public']]);
  }));

  it('is settled by what a savepoint took back (H65, H93)', () => withClient(async (client) => {
    for (const step of ['BEGIN', "INSERT INTO t VALUES (70, 'a')", 'SAVEPOINT s', "INSERT INTO t VALUES (71, 'b')", 'ROLLBACK TO s', "INSERT INTO t VALUES (72, 'c')", 'COMMIT']) {
      client.send(query(step));
      await client.until('Z');
    }
    const fate = new Map(backstop.settled.map(({ text, outcome }) => [text, outcome.kind]));
    assert.deepEqual([70, 71, 72].map((id) => [...fate].find(([text]) => text.includes(`(${id},`))?.[1]), ['committed', 'rolled-back', 'committed']);
  }));

  it('that vanishes in a transaction rolls back, and says so in the record', async () => {
    const client = await backstop.client();
    client.send(query('BEGIN'), query("INSERT INTO t VALUES (80, 'a')"));
    await client.until('Z');
    await client.until('Z');
    client.end();
    await until('the outcome is there', () => Promise.resolve(backstop.settled.length === 2));
    assert.ok(backstop.settled.every(({ outcome }) => outcome.kind === 'rolled-back'));
    assert.equal(await count('t'), 5);
  });

  it('tells the client when the server ends it', () => withClient(async (client) => {
    client.send(query('SELECT pg_backend_pid()'));
    const pid = (await client.until('Z')).find((line) => line.startsWith('D:'))?.slice(2);
    await server.run(`SELECT pg_terminate_backend(${pid})`);
    assert.deepEqual(await client.untilClosed(), ['E:57P01']);
  }));

  it('passes large results whole and in order while the client reads slowly', () => withClient(async (client) => {
    client.socket.pause();
    client.send(query("SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i"));
    await new Promise((resolve) => { setImmediate(resolve); });
    client.socket.resume();
    const lines = await client.until('Z');
    assert.equal(lines.length, 20_003);
    assert.ok(lines[20_000]?.startsWith('D:20000|x'));
  }));
});
