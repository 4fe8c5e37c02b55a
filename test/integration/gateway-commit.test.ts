/**
 * What changes only rows inside a transaction block runs while its verdict is still on its way to the disk; the commit of
 * its transaction waits for that, and for a comparison of the catalog, whatever way to commit it takes. To show it the
 * record is held: as long as it is, nothing can be on record. Then it is let go, or fails for good.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { sql as storeSql } from 'kysely';
import type { EntryBody } from '../../src/core/ledger/entry.ts';
import { fillShop, startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { bind, copyData, copyDone, execute, flush, parse, query, sync, whole } from '../fixtures/messages.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { sqliteStores } from '../fixtures/store.ts';
import { until } from '../fixtures/until.ts';
import { connectWire, type WireClient } from '../fixtures/wire-client.ts';

const policyText = `name: open
description: Lets everything through that can be read.
levels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: allow }
unknown: hold
recovery: { required_from: never }
scopes:
  - name: counted
    match: { agents: [counted] }
    limits: { max_rows: 2, above: deny }
`;
const objects = `CREATE TABLE kept (id int PRIMARY KEY, note text NOT NULL);
CREATE TABLE numbered (id serial PRIMARY KEY, note text);
CREATE PROCEDURE change() LANGUAGE sql AS 'UPDATE kept SET note = ''called'' WHERE id = 5';`;

const folder = mkdtempSync(join(tmpdir(), 'backstop-test-policy-'));
let server: PostgresServer;
let backstop: RunningBackstop;
let client: WireClient;
before(async () => {
  server = await startPostgresServer({ max_prepared_transactions: '5' });
  writeFileSync(join(folder, 'open.yaml'), policyText);
  backstop = await startBackstop({ policy: join(folder, 'open.yaml'), shared: { server, url: await fillShop(server) } });
  await server.run(`SET ROLE shopkeeper; ${objects}`, 'shop');
});
after(async () => {
  await backstop?.stop();
  await server?.stop();
  rmSync(folder, { recursive: true });
});
beforeEach(async () => {
  await server.run("TRUNCATE kept; INSERT INTO kept SELECT n, 'old' FROM generate_series(1, 5) n", 'shop');
  client = await connectAs(backstop.agent.name, backstop.agent.token);
});
afterEach(() => { client.end(); });

const connectAs = (user: string, password: string): Promise<WireClient> =>
  connectWire({ host: backstop.host, port: backstop.port, user, password, tls: true, parameters: { database: 'shop' } });

/** Everything up to the answer of each Query or Sync. */
async function answersTo(on: WireClient, ...messages: readonly Buffer[]): Promise<readonly string[]> {
  on.send(...messages);
  return on.until('Z');
}
const inTurn = async (...texts: readonly string[]): Promise<readonly string[]> => {
  const lines: string[] = [];
  for (const text of texts) lines.push(...await answersTo(client, query(text)));
  return lines;
};
const notes = async (): Promise<string> => (await server.run('SELECT note FROM kept ORDER BY id', 'shop')).map(({ note }) => String(note)).join(' ');
const unchanged = 'old old old old old';
const change = "UPDATE kept SET note = 'new' WHERE id = 1";
const changed = 'new old old old old';

interface HeldRecord { free(): Promise<void>; fail(): Promise<void> }

/** Nothing is recorded until it is set free; or every write of it fails from then on, until `mend`. */
async function holdRecord(): Promise<HeldRecord> {
  const held = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<'free' | 'fail'>();
  const holding = backstop.memory.database.transact(async (changes) => {
    held.resolve();
    if (await gate.promise === 'fail') await storeSql.raw(sqliteStores.block).execute(changes);
  });
  await held.promise;
  const end = async (how: 'free' | 'fail'): Promise<void> => { gate.resolve(how); await holding; };
  return { free: () => end('free'), fail: () => end('fail') };
}
const mend = async (): Promise<void> => { await storeSql.raw(sqliteStores.unblock).execute(backstop.memory.database.queries); };

/** Of the statements with this text, oldest first: what the record says of each, in its order. */
async function recordOf(text: RegExp): Promise<readonly string[]> {
  const bodies = (await backstop.memory.ledger.entriesAfter(0, 100_000)).map(({ body }) => JSON.parse(body) as EntryBody);
  const ids = new Set(bodies.flatMap((body) => (body.kind === 'verdict' && text.test(body.text) ? [body.actionId] : [])));
  return bodies.flatMap((body) => (body.kind === 'verdict' && ids.has(body.actionId) ? [body.decision] : body.kind === 'outcome' && ids.has(body.actionId) ? [body.outcome] : []));
}

interface Way { readonly what: string; readonly messages: readonly Buffer[]; readonly done: readonly string[]; readonly prepares?: readonly Buffer[] }
const ways: readonly Way[] = [
  { what: 'COMMIT', messages: [query('COMMIT')], done: ['C:COMMIT', 'Z:I'] },
  { what: 'END', messages: [query('END')], done: ['C:COMMIT', 'Z:I'] },
  { what: 'COMMIT AND CHAIN', messages: [query('COMMIT AND CHAIN')], done: ['C:COMMIT', 'Z:T'] },
  { what: 'a COMMIT behind a read in one Query', messages: [query('SELECT 1; COMMIT')], done: ['T', 'D:1', 'C:SELECT 1', 'C:COMMIT', 'Z:I'] },
  { what: 'a COMMIT behind a savepoint in one Query', messages: [query('SAVEPOINT a; COMMIT')], done: ['C:SAVEPOINT', 'C:COMMIT', 'Z:I'] },
  { what: 'a COMMIT behind another change in one Query', messages: [query("UPDATE kept SET note = 'too' WHERE id = 2; COMMIT")], done: ['C:UPDATE 1', 'C:COMMIT', 'Z:I'] },
  { what: 'COMMIT in extended messages', messages: [whole('COMMIT'), sync()], done: ['1', '2', 'n', 'C:COMMIT', 'Z:I'] },
  { what: 'COMMIT in extended messages with Flush', messages: [whole('COMMIT'), flush(), sync()], done: ['1', '2', 'n', 'C:COMMIT', 'Z:I'] },
  { what: 'a COMMIT that was prepared before', prepares: [parse('end', 'COMMIT'), sync()], messages: [bind('', 'end'), execute(''), sync()], done: ['2', 'C:COMMIT', 'Z:I'] },
  { what: 'a COMMIT behind another change in its pipeline', messages: [whole("UPDATE kept SET note = 'too' WHERE id = 2"), whole('COMMIT'), sync()], done: ['1', '2', 'n', 'C:UPDATE 1', '1', '2', 'n', 'C:COMMIT', 'Z:I'] },
  { what: 'PREPARE TRANSACTION', messages: [query("PREPARE TRANSACTION 'two'")], done: ['C:PREPARE TRANSACTION', 'Z:I'] },
];

describe('a transaction with a change that is not on record yet', () => {
  for (const { what, messages, done, prepares } of ways) {
    it(`commits once it is: ${what}`, async () => {
      if (prepares !== undefined) await answersTo(client, ...prepares);
      await inTurn('BEGIN');
      const record = await holdRecord();
      assert.deepEqual(await answersTo(client, query(change)), ['C:UPDATE 1', 'Z:T']);
      client.send(...messages);
      await record.free();
      assert.deepEqual(await client.until('Z'), done);
      if (what.startsWith('PREPARE')) await server.run("COMMIT PREPARED 'two'", 'shop');
      assert.match(await notes(), /^new /);
    });

    it(`does not commit when it cannot be: ${what}`, async () => {
      if (prepares !== undefined) await answersTo(client, ...prepares);
      await inTurn('BEGIN');
      const record = await holdRecord();
      assert.deepEqual(await answersTo(client, query(change)), ['C:UPDATE 1', 'Z:T']);
      client.send(...messages);
      await record.fail();
      const lines = await client.until('Z');
      assert.deepEqual([lines.find((line) => line.startsWith('E')), lines.some((line) => line === 'C:COMMIT'), lines.at(-1)], ['E:58030', false, 'Z:E']);
      await mend();
      assert.deepEqual(await inTurn('COMMIT'), ['C:ROLLBACK', 'Z:I']);
      assert.equal(await notes(), unchanged);
    });
  }

  it('shows its changes to itself, and nothing of it lasts when the client is gone', async () => {
    await inTurn('BEGIN');
    const record = await holdRecord();
    assert.deepEqual(await inTurn(change, 'SELECT note FROM kept WHERE id = 1'), ['C:UPDATE 1', 'Z:T', 'T', 'D:new', 'C:SELECT 1', 'Z:T']);
    client.send(query('COMMIT'));
    client.end();
    await record.fail();
    await mend();
    await until('its session has ended', async () => (await server.run("SELECT FROM pg_stat_activity WHERE state LIKE 'idle in%'")).length === 0);
    assert.equal(await notes(), unchanged);
  });

  it('rolls back without waiting', async () => {
    await inTurn('BEGIN');
    const record = await holdRecord();
    assert.deepEqual(await inTurn(change, 'SAVEPOINT a', change, 'ROLLBACK TO a', 'RELEASE a', 'ROLLBACK'), [
      'C:UPDATE 1', 'Z:T', 'C:SAVEPOINT', 'Z:T', 'C:UPDATE 1', 'Z:T', 'C:ROLLBACK', 'Z:T', 'C:RELEASE', 'Z:T', 'C:ROLLBACK', 'Z:I']);
    await record.free();
    assert.equal(await notes(), unchanged);
  });

  it('may not commit after a ROLLBACK TO either, and the next one owes nothing of it', async () => {
    await inTurn('BEGIN', 'SAVEPOINT a');
    const record = await holdRecord();
    await inTurn(change);
    client.send(query('COMMIT'));
    await record.fail();
    assert.deepEqual(await client.until('Z'), ['E:58030', 'Z:E']);
    await mend();
    assert.deepEqual(await inTurn('ROLLBACK TO a', change), ['C:ROLLBACK', 'Z:T', 'E:58030', 'Z:E']);
    assert.deepEqual(await inTurn('ROLLBACK TO a', 'COMMIT', 'ROLLBACK AND CHAIN'), ['C:ROLLBACK', 'Z:T', 'E:58030', 'Z:E', 'C:ROLLBACK', 'Z:T']);
    assert.deepEqual(await inTurn(change, 'COMMIT'), ['C:UPDATE 1', 'Z:T', 'C:COMMIT', 'Z:I']);
    assert.equal(await notes(), changed);
  });

  it('has its verdict and its outcome on record all the same, once that can be written', async () => {
    const text = "UPDATE kept SET note = 'late' WHERE id = 1 AND 'late' <> note";
    await inTurn('BEGIN');
    const record = await holdRecord();
    await inTurn(text);
    client.send(query('COMMIT'));
    await record.fail();
    await client.until('Z');
    await inTurn('ROLLBACK');
    await mend();
    await until('both are on record', async () => (await recordOf(/\? <> note/)).length === 2);
    assert.deepEqual(await recordOf(/\? <> note/), ['allow', 'rolled-back']);
    assert.equal((await backstop.memory.ledger.verify()).broken, undefined);
  });

  it('cannot commit by a portal that was skipped behind an error', async () => {
    await inTurn('BEGIN');
    await answersTo(client, parse('end', 'COMMIT'), bind('last', 'end'), sync());
    await inTurn('SAVEPOINT a');
    assert.deepEqual((await answersTo(client, whole('SELECT 1/0'), execute('last'), sync())).slice(-2), ['E:22012', 'Z:E']);
    const record = await holdRecord();
    assert.deepEqual(await inTurn('ROLLBACK TO a', change), ['C:ROLLBACK', 'Z:T', 'C:UPDATE 1', 'Z:T']);
    client.send(execute('last'), sync());
    await record.fail();
    assert.deepEqual(await client.until('Z'), ['E:58030', 'Z:E']);
    await mend();
    assert.equal(await notes(), unchanged);
  });

  it('may copy rows in, and commits once that is on record', async () => {
    await inTurn('BEGIN');
    const record = await holdRecord();
    client.send(query('COPY kept FROM STDIN'));
    await client.until('G');
    assert.deepEqual(await answersTo(client, copyData('6\tnew\n'), copyDone()), ['C:COPY 1', 'Z:T']);
    client.send(query('COMMIT'));
    await record.free();
    assert.deepEqual(await client.until('Z'), ['C:COMMIT', 'Z:I']);
    assert.equal(await notes(), `${unchanged} new`);
  });
});

interface Waiting { readonly what: string; readonly before?: readonly (readonly Buffer[])[]; readonly messages: readonly Buffer[] }
const begin: readonly (readonly Buffer[])[] = [[query('BEGIN')]];
const waiting: readonly Waiting[] = [
  { what: 'a change outside of a block', messages: [query(change)] },
  { what: 'a change in extended messages outside of a block', messages: [whole(change), sync()] },
  { what: 'several changes in one Query, which commits them', messages: [query(`${change}; ${change}`)] },
  { what: 'a change behind its BEGIN in one pipeline', messages: [whole('BEGIN'), whole(change), sync()] },
  { what: 'a change and its COMMIT in one Query', before: begin, messages: [query(`${change}; COMMIT`)] },
  { what: 'a change behind the COMMIT of another transaction in its pipeline', before: begin, messages: [whole('COMMIT'), whole(change), sync()] },
  { what: 'a change behind a ROLLBACK in its pipeline', before: begin, messages: [whole('ROLLBACK'), whole(change), sync()] },
  { what: 'a procedure', before: begin, messages: [query('CALL change()')] },
  { what: 'a change of the schema', before: begin, messages: [query('CREATE TABLE other (id int)')] },
  { what: 'a change behind one of the schema', before: [...begin, [query('CREATE TABLE other (id int)')]], messages: [query(change)] },
  { what: 'what takes a number of a sequence', before: begin, messages: [query("INSERT INTO numbered (note) VALUES ('new')")] },
  { what: 'a cursor', before: begin, messages: [query('DECLARE c CURSOR FOR SELECT 1')] },
  { what: 'an EXPLAIN that runs it', before: begin, messages: [query(`EXPLAIN ANALYZE ${change}`)] },
  { what: 'a change that was prepared by SQL', before: [...begin, [query(`PREPARE p AS ${change}`)]], messages: [query('EXECUTE p')] },
];

describe('what could last without a commit of its own is not sent before its verdict is on record:', () => {
  for (const { what, before: first = [], messages } of waiting) {
    it(what, async () => {
      for (const batch of first) await answersTo(client, ...batch);
      const record = await holdRecord();
      client.send(...messages);
      await record.fail();
      assert.ok((await client.until('Z')).includes('E:58030'));
      await mend();
      assert.equal(await notes(), unchanged);
    });
  }

  it('a change behind a COMMIT that was flushed and not synced', async () => {
    await inTurn('BEGIN');
    client.send(whole('COMMIT'), flush());
    await client.until('C:COMMIT');
    const record = await holdRecord();
    client.send(whole(change), sync());
    await record.fail();
    assert.ok((await client.until('Z')).includes('E:58030'));
    await mend();
    assert.equal(await notes(), unchanged);
  });
});

describe('somebody else\'s change of the schema', () => {
  let made = 0;
  const moveSchema = (): Promise<unknown> => server.run(`CREATE TABLE moved_${made += 1} (id int)`, 'shop');

  for (const { what, messages, prepares } of ways.filter(({ what: way }) => !/another change/.test(way))) {
    it(`while a transaction is open keeps it from committing: ${what}`, async () => {
      if (prepares !== undefined) await answersTo(client, ...prepares);
      await inTurn('BEGIN', change);
      await moveSchema();
      const lines = await answersTo(client, ...messages);
      assert.deepEqual([lines.find((line) => line.startsWith('E')), lines.at(-1)], ['E:40001', 'Z:E']);
      assert.deepEqual(await inTurn('COMMIT'), ['C:ROLLBACK', 'Z:I']);
      assert.equal(await notes(), unchanged);
      assert.deepEqual(await inTurn('BEGIN', change, 'COMMIT'), ['C:BEGIN', 'Z:T', 'C:UPDATE 1', 'Z:T', 'C:COMMIT', 'Z:I']);
    });
  }

  it('keeps it from committing after a ROLLBACK TO as well, and not the one after it', async () => {
    await inTurn('BEGIN', 'SAVEPOINT a', change);
    await moveSchema();
    assert.deepEqual(await inTurn('COMMIT', 'ROLLBACK TO a', 'COMMIT'), ['E:40001', 'Z:E', 'C:ROLLBACK', 'Z:T', 'E:40001', 'Z:E']);
    assert.deepEqual(await inTurn('ROLLBACK AND CHAIN', change, 'COMMIT'), ['C:ROLLBACK', 'Z:T', 'C:UPDATE 1', 'Z:T', 'C:COMMIT', 'Z:I']);
    assert.equal(await notes(), changed);
  });

  it('does not touch a transaction that has only read', async () => {
    await inTurn('BEGIN', 'SELECT note FROM kept WHERE id = 1');
    await moveSchema();
    assert.deepEqual(await inTurn('COMMIT'), ['C:COMMIT', 'Z:I']);
  });

  it('is not the transaction\'s own: what it changes before and after DDL of its own commits', async () => {
    await inTurn('BEGIN');
    assert.deepEqual(await inTurn(change, `CREATE TABLE moved_${made += 1} (id int)`, "UPDATE kept SET note = 'too' WHERE id = 2", 'COMMIT'), [
      'C:UPDATE 1', 'Z:T', 'C:CREATE TABLE', 'Z:T', 'C:UPDATE 1', 'Z:T', 'C:COMMIT', 'Z:I']);
    assert.equal(await notes(), 'new too old old old');
  });
});

describe('under limits of rows', () => {
  let counted: WireClient;
  before(async () => {
    const { username, password } = new URL((await backstop.addAgent('counted')).url);
    counted = await connectAs(username, password);
  });
  after(() => { counted.end(); });

  for (const how of ['free', 'fail'] as const) {
    it(`a change is counted first and then runs ahead of its record, which is then ${how === 'free' ? 'written' : 'not written'}`, async () => {
      await answersTo(counted, query('BEGIN'));
      const record = await holdRecord();
      assert.deepEqual(await answersTo(counted, query(change)), ['C:UPDATE 1', 'Z:T']);
      counted.send(query('COMMIT'));
      await record[how]();
      assert.deepEqual(await counted.until('Z'), how === 'free' ? ['C:COMMIT', 'Z:I'] : ['E:58030', 'Z:E']);
      if (how === 'fail') {
        await mend();
        await answersTo(counted, query('ROLLBACK'));
      }
      assert.equal(await notes(), how === 'free' ? changed : unchanged);
    });
  }

  it('one that would change more is refused inside its block, which does not commit', async () => {
    await answersTo(counted, query('BEGIN'));
    assert.deepEqual(await answersTo(counted, query("UPDATE kept SET note = 'new'")), ['E:42501', 'Z:E']);
    assert.deepEqual(await answersTo(counted, query('COMMIT')), ['C:ROLLBACK', 'Z:I']);
  });
});
