/**
 * The gateway under bytes that no driver sends: random ones, lying lengths, random orders of real messages, and valid
 * traffic cut at every offset. It must not crash, hang, or forward anything that was not judged: every byte that reached
 * the link is accounted for, as a permitted message of the client's or as one of our own named messages.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { FrameReader, type Frame } from '../../src/lib/pgwire/frame-reader.ts';
import { sessionLimits } from '../../src/lib/pgwire/frame-limits.ts';
import { decodeFrontend } from '../../src/lib/pgwire/frontend-decode.ts';
import * as say from '../../src/lib/pgwire/frontend-encode.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { startScriptedGateway, type ScriptedGateway } from '../fixtures/scripted-gateway.ts';
import { until } from '../fixtures/until.ts';
import { openSocket, type WireClient } from '../fixtures/wire-client.ts';

let server: PostgresServer;
let backstop: ScriptedGateway;
before(async () => {
  server = await startPostgresServer();
  await server.run('CREATE TABLE t (id int, v text); CREATE TABLE forbidden (id int)');
  backstop = await startScriptedGateway(server);
});
after(async () => {
  await backstop?.stop();
  await server?.stop();
});
afterEach(() => { assert.deepEqual(backstop.faults.filter((line) => !line.includes('a login was refused')), [], 'no session ended by a fault of ours'); });

const seed = Number(process.argv.find((argument) => argument.startsWith('--seed='))?.slice(7) ?? 20_260_304);

/**
 * Holds what was forwarded for one session against what was permitted. The names are followed by a little model of its
 * own: each Execute is traced to the text that was last prepared and bound under its names.
 */
function account(): void {
  const reader = new FrameReader(sessionLimits(1 << 26));
  reader.push(Buffer.concat(backstop.forwarded));
  const permitted = new Set(backstop.actions.map(({ text }) => text));
  const statements = new Map<string, string>();
  const portals = new Map<string, string>();
  for (let frame = reader.next(); frame !== undefined; frame = reader.next()) checkForwarded(frame, permitted, statements, portals);
  assert.equal(reader.bufferedBytes, 0, 'only whole messages are forwarded');
}

function checkForwarded(frame: Frame, permitted: ReadonlySet<string>, statements: Map<string, string>, portals: Map<string, string>): void {
  const message = decodeFrontend(frame);
  switch (message.kind) {
    case 'query':
      assert.ok(permitted.has(message.sql), `forwarded and not permitted: ${message.sql}`);
      // What SQL prepares and declares, among the pieces below.
      if (message.sql.startsWith('PREPARE a')) statements.set('a', message.sql);
      if (message.sql.startsWith('DECLARE b')) portals.set('b', message.sql);
      break;
    case 'parse': statements.set(message.statement, message.sql); break;
    case 'bind': portals.set(message.portal, statements.get(message.statement) ?? 'nothing'); break;
    case 'execute':
      if (message.portal.startsWith('backstop_refused_')) break;
      assert.ok(permitted.has(portals.get(message.portal) ?? 'nothing'), `executed and not permitted: ${portals.get(message.portal) ?? 'nothing'}`);
      break;
    case 'function-call':
      // The switch of the read-only lock is the gateway's own.
      assert.deepEqual([message.functionOid, message.values[0]?.toString(), message.values[2]?.toString()], [2078, 'default_transaction_read_only', 'f'], 'no function call was permitted');
      break;
    case 'copy-data': case 'copy-done': assert.ok([...permitted].some((text) => /copy/i.test(text)), 'COPY data without a permitted COPY'); break;
    case 'describe': case 'close': case 'sync': case 'flush': case 'copy-fail': break;
    case 'terminate': assert.fail('the session ends the link, not the client');
  }
}

function forget(): void {
  backstop.forwarded.length = backstop.actions.length = backstop.settled.length = 0;
}

async function isAlive(): Promise<void> {
  const client = await backstop.client();
  client.send(say.encodeQuery('SELECT 42'));
  assert.deepEqual(await client.until('Z'), ['T', 'D:42', 'C:SELECT 1', 'Z:I']);
  client.end();
}

const parse = (sql: string, statement = ''): Buffer => say.encodeParse({ statement, sql, parameterTypes: [] });
const bind = (statement = '', portal = ''): Buffer => say.encodeBind({ portal, statement, formats: [], values: [], resultFormats: [] });
const execute = (portal = '', rowsMax = 0): Buffer => say.encodeExecute({ portal, rowsMax });

const traffic: readonly Buffer[] = [
  say.encodeQuery('SELECT 1; SELECT 2'),
  say.encodeQuery('DELETE FROM forbidden'),
  parse('SELECT 3', 's'), bind('s', 'p'), say.encodeDescribe({ target: 'portal', name: 'p' }), execute('p', 1), say.encodeSync(),
  parse('DELETE FROM forbidden'), bind(), execute(), parse('SELECT 4'), bind(), execute(), say.encodeSync(),
  say.encodeQuery('COPY t FROM STDIN'), say.encodeCopyData(Buffer.from('1\ta\n')), say.encodeCopyDone(),
  say.encodeQuery('COPY forbidden FROM STDIN'), say.encodeCopyData(Buffer.from('1\ta\n')), say.encodeCopyDone(),
  say.encodeClose({ target: 'statement', name: 's' }), say.encodeFlush(), say.encodeSync(),
];
const trafficEnds = 8;

async function answersTo(client: WireClient): Promise<readonly string[]> {
  const lines: string[] = [];
  for (let at = 0; at < trafficEnds; at += 1) lines.push(...await client.until('Z'));
  return lines;
}

describe('bytes that no driver sends', () => {
  it('valid traffic cut at every offset is answered the same', async () => {
    const bytes = Buffer.concat(traffic);
    const reference = await backstop.client();
    reference.send(bytes, say.encodeQuery('SELECT 5'));
    const expected = await answersTo(reference);
    reference.end();
    assert.ok(expected.includes('E:42501') && expected.includes('C:COPY 1') && expected.includes('D:5'), expected.join(' '));
    const client = await backstop.client();
    for (let cut = 1; cut < bytes.length; cut += 1) {
      forget();
      client.socket.write(bytes.subarray(0, cut));
      // The two halves must arrive apart, and nothing tells when the other side has read the first.
      await new Promise((resolve) => { setImmediate(resolve); });
      client.send(bytes.subarray(cut), say.encodeQuery('SELECT 5'));
      assert.deepEqual(await answersTo(client), expected, `cut at ${cut}`);
      account();
      assert.equal(Number((await server.run('SELECT count(*)::int AS n FROM forbidden'))[0]?.['n']), 0);
    }
    client.end();
  });

  it('one byte at a time is answered the same', async () => {
    const client = await backstop.client();
    for (const byte of Buffer.concat([...traffic, say.encodeQuery('SELECT 5')])) {
      client.socket.write(Buffer.of(byte));
      await new Promise((resolve) => { setImmediate(resolve); });
    }
    const lines = await answersTo(client);
    assert.ok(lines.includes('D:5'));
    client.end();
  });

  it('random bytes before and after the login end that connection at most', async () => {
    forget();
    await fc.assert(fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), fc.boolean(), async (bytes, isLoggedIn) => {
      const socket = isLoggedIn ? (await backstop.client()).socket : await openSocket(backstop.host, backstop.port);
      const closed = new Promise<void>((resolve) => { socket.once('close', () => { resolve(); }); });
      socket.on('data', () => { /* whatever it is told */ });
      socket.end(Buffer.from(bytes));
      await closed;
    }), { numRuns: 150, seed });
    account();
    await isAlive();
  });

  it('lengths that lie are refused before anything is kept for them', async () => {
    const types = Buffer.from('QPBDECHSFXdcfp\0\xff', 'latin1');
    for (const type of types) {
      for (const length of [0, 3, 0x7fffffff, 0x80000000, 0xffffffff]) {
        const client = await backstop.client();
        const header = Buffer.alloc(5);
        header[0] = type;
        header.writeUInt32BE(length >>> 0, 1);
        client.send(header);
        const lines = await client.untilClosed();
        assert.match(lines.at(-1) ?? '', /^E:(08P01|54000)$/, `type ${type} length ${length}`);
      }
    }
    await isAlive();
  });

  it('real messages in any order leave no statement unjudged, and Sync brings every session back', async () => {
    const piece = fc.constantFrom<Buffer>(
      ...traffic, parse('SELECT 6', 'a'), parse('INSERT INTO forbidden VALUES (1)', 'a'), bind('a', 'b'), bind('a'), execute('b', 1), execute('b'), execute(),
      say.encodeQuery('BEGIN'), say.encodeQuery('COMMIT'), say.encodeQuery('ROLLBACK'), say.encodeQuery('PREPARE a AS SELECT 7'), say.encodeQuery('EXECUTE a'),
      say.encodeQuery('DEALLOCATE ALL'), say.encodeQuery('SELECT 1/0'), say.encodeQuery('INSERT INTO forbidden VALUES (2)'), say.encodeQuery('not sql'), parse('not sql'),
      say.encodeQuery('DECLARE b CURSOR FOR SELECT 8'), say.encodeQuery('FETCH b'), say.encodeQuery('INSERT INTO t VALUES (1)'), say.encodeCopyFail('no'), say.encodeFlush(),
      say.encodeFunctionCall({ functionOid: 1, formats: [], values: [], resultFormat: 'text' }), say.encodeQuery(''), parse(''),
    );
    await fc.assert(fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 25 }), fc.integer({ min: 1, max: 400 }), async (pieces, cutEvery) => {
      forget();
      const client = await backstop.client();
      // Two Syncs, because COPY may take the first for its own; a CopyFail ends a COPY that still waits.
      const bytes = Buffer.concat([...pieces, say.encodeCopyFail('over'), say.encodeSync(), say.encodeSync(), say.encodeQuery('ROLLBACK'), say.encodeSync(), say.encodeQuery("SELECT 'the end'")]);
      for (let at = 0; at < bytes.length; at += cutEvery) {
        client.socket.write(bytes.subarray(at, at + cutEvery));
        await new Promise((resolve) => { setImmediate(resolve); });
      }
      // As in PostgreSQL, only a message that has no place inside COPY ends the session.
      await client.until('D:the end').catch(() => { assert.match(client.errors.at(-1)?.message ?? '', /protocol synchronization was lost/); });
      client.end();
      account();
      assert.equal(Number((await server.run('SELECT count(*)::int AS n FROM forbidden'))[0]?.['n']), 0, 'a refused statement took effect');
    }), { numRuns: 120, seed });
    await isAlive();
  });

  it('and no permit is left without an outcome', async () => {
    await until('every session is over', () => Promise.resolve(backstop.gateway.clients === 0));
    forget();
    const client = await backstop.client();
    client.send(...traffic);
    await client.until('C:COPY 1');
    client.end();
    await until('the session is over', () => Promise.resolve(backstop.gateway.clients === 0));
    assert.equal(backstop.settled.length, backstop.actions.length);
  });
});
