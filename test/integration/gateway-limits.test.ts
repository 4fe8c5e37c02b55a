/**
 * What one client may take from the others: connections, time in each phase, names and memory. Before a real PostgreSQL
 * 18, with limits small enough to be reached at once.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import * as say from '../../src/lib/pgwire/frontend-encode.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { scriptedToken, startScriptedGateway, type ScriptedGateway, type ScriptedOptions } from '../fixtures/scripted-gateway.ts';
import { until } from '../fixtures/until.ts';
import { openSocket, WireClient } from '../fixtures/wire-client.ts';

let server: PostgresServer;
before(async () => { server = await startPostgresServer(); });
after(async () => { await server?.stop(); });

let backstop: ScriptedGateway;
afterEach(async () => {
  await backstop?.stop();
  assert.deepEqual(backstop?.faults.filter((line) => !line.includes('a login was refused')), []);
});
async function start(options: ScriptedOptions): Promise<void> { backstop = await startScriptedGateway(server, options); }

const startup = say.encodeStartup([['user', 'ada'], ['database', 'postgres']]);
async function knock(...bytes: readonly Buffer[]): Promise<WireClient> {
  return new WireClient(await openSocket(backstop.host, backstop.port), scriptedToken).send(...bytes);
}

/** It would wait for a connection that is left over. */
async function endsSoon(): Promise<void> {
  assert.ok(await Promise.race([backstop.stop().then(() => true), pause(5_000, false)]), 'the gateway still waits for the end of a connection');
}

describe('connections', () => {
  for (const [whose, options] of [
    ['the limit of the agent itself', { connectionsMax: 2 }], ['the limit of every agent', { limits: { clientsPerAgentMax: 2 } }], ['the limit of all together', { limits: { clientsMax: 2 } }],
  ] as const) {
    it(`past ${whose} are refused with 53300 and a hint, and taken again once one has ended`, async () => {
      await start(options);
      const [first, second] = [await backstop.client(), await backstop.client()];
      const third = await knock(startup);
      assert.equal((await third.untilClosed()).at(-1), 'E:53300');
      assert.match(third.errors[0]?.message ?? '', /2/);
      assert.match(third.errors[0]?.hint ?? '', /idle|pool/);
      first.send(say.encodeTerminate());
      await until('it has left', () => Promise.resolve(backstop.gateway.clients === 1));
      const fourth = await backstop.client();
      fourth.end();
      second.end();
    });
  }

  it('that only knock take no room from those who are in, nor from the limit of agents', async () => {
    await start({ limits: { clientsMax: 2, loginsMax: 3 } });
    const client = await backstop.client();
    const knocks = await Promise.all(Array.from({ length: 3 }, () => openSocket(backstop.host, backstop.port)));
    await until('all are counted', () => Promise.resolve(backstop.gateway.clients === 4));
    // What it sent is never looked at.
    assert.deepEqual(await (await knock(startup)).untilClosed(), ['E:53300']);
    client.send(say.encodeQuery('SELECT 1'));
    assert.deepEqual(await client.until('Z'), ['T', 'D:1', 'C:SELECT 1', 'Z:I']);
    for (const socket of knocks) socket.destroy();
    client.end();
    await endsSoon();
  });

  it('of clients that go while they are logged in are given up, and so is what was connected for them', async () => {
    await start({});
    for (const how of ['end', 'destroy'] as const) {
      const client = await knock(startup);
      await client.until('R:ok');
      client.socket[how]();
      await until('it has left', () => Promise.resolve(backstop.gateway.clients === 0));
    }
    await until('nothing is left at the server', async () => (await server.run("SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")).length === 0);
  });

  it('that the server ends while their client may send no more are ended whole', async () => {
    await start({});
    await server.run("CREATE TABLE slow (v text); CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END'; CREATE TRIGGER waits BEFORE INSERT ON slow FOR EACH ROW EXECUTE FUNCTION wait()");
    const client = await backstop.client();
    client.send(say.encodeQuery('COPY slow FROM STDIN'));
    await client.until('G');
    const row = say.encodeCopyData(Buffer.from(`${'x'.repeat(64_000)}\n`));
    client.send(...Array.from({ length: 500 }, () => row));
    let before = -1;
    await until('nothing of it goes on', async () => {
      const [was, isLeft] = [before, client.socket.writableLength > 0];
      before = client.socket.bytesWritten - client.socket.writableLength;
      const waits = await server.run("SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
      return isLeft && was === before && waits.length === 1;
    });
    await server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
    assert.equal((await client.untilClosed()).at(-1), 'E:57P01');
    await endsSoon();
  });
});

describe('time', () => {
  it('runs out for a client that says nothing, that stops inside the TLS handshake, and that does not log in', async () => {
    await start({ tls: true, limits: { greetingMsMax: 300, loginMsMax: 1_000 } });
    const silent = await knock();
    assert.deepEqual(await silent.untilClosed(), []);
    const socket = await openSocket(backstop.host, backstop.port);
    const closed = new Promise<void>((resolve) => { socket.on('close', () => { resolve(); }); });
    socket.write(say.encodeSslRequest());
    // A handshake that has begun and goes no further.
    socket.once('data', () => { socket.write(Buffer.from([0x16, 0x03, 0x01])); });
    await closed;
    const slow = new WireClient(await openSocket(backstop.host, backstop.port));
    slow.send(startup.subarray(0, 6));
    assert.deepEqual(await slow.untilClosed(), ['E:57014']);
    assert.match(slow.errors[0]?.message ?? '', /1000 ms/);
    assert.equal(backstop.gateway.clients, 0);
  });

  it('runs out for a login that answers no challenge', async () => {
    await start({ limits: { loginMsMax: 1_000 } });
    const client = new WireClient(await openSocket(backstop.host, backstop.port));
    // It says who it is and no more: the challenge stays unanswered.
    client.socket.removeAllListeners('data');
    client.send(startup);
    const chunks: Buffer[] = [];
    client.socket.on('data', (chunk: Buffer) => { chunks.push(chunk); });
    await until('it is cut off', () => Promise.resolve(client.isClosed));
    assert.match(Buffer.concat(chunks).toString('latin1'), /57014/);
  });

  it('runs out before a first statement only where that is configured', async () => {
    await start({ limits: { firstMessageMsMax: 1_000 } });
    const [idle, busy] = [await backstop.client(), await backstop.client()];
    busy.send(say.encodeQuery('SELECT 1'));
    await busy.until('Z');
    assert.deepEqual(await idle.untilClosed(), ['E:08006']);
    busy.send(say.encodeQuery('SELECT 2'));
    assert.equal((await busy.until('Z')).at(-1), 'Z:I');
    busy.end();
  });

  it('runs out for a message left half sent, and what it had open is rolled back', async () => {
    await start({ limits: { stallMsMax: 100 } });
    await server.run('CREATE TABLE IF NOT EXISTS stalled (id int)');
    const client = await backstop.client();
    client.send(say.encodeQuery('BEGIN'), say.encodeQuery('INSERT INTO stalled VALUES (1)'));
    await client.until('Z:T');
    await client.until('Z:T');
    client.send(say.encodeQuery('COMMIT').subarray(0, 8));
    assert.deepEqual(await client.untilClosed(), ['E:08006']);
    assert.deepEqual(await server.run('SELECT count(*)::int AS n FROM stalled'), [{ n: 0 }]);
  });

  it('runs out for a client that reads nothing, while the memory of the gateway stays bounded', async () => {
    await start({ limits: { stallMsMax: 1_500 } });
    const client = await backstop.client();
    const before = process.memoryUsage();
    client.socket.pause();
    client.send(say.encodeQuery("SELECT repeat('x', 1000) FROM generate_series(1, 400000)"));
    let most = 0;
    await until('the session has been ended', () => {
      const { arrayBuffers, heapUsed } = process.memoryUsage();
      most = Math.max(most, arrayBuffers + heapUsed - before.arrayBuffers - before.heapUsed);
      return Promise.resolve(backstop.gateway.clients === 0);
    });
    assert.ok(most < 64 * 1024 * 1024, `${most} bytes for 400 MB of answers`);
    client.end();
  });
});

describe('names', () => {
  it('by the thousand end in an error at the limit, the session goes on, and closing makes room', async () => {
    await start({ limits: { namesMax: 50 } });
    const client = await backstop.client();
    const before = process.memoryUsage().heapUsed;
    const parse = (name: string): Buffer => say.encodeParse({ statement: name, sql: 'SELECT 1', parameterTypes: [] });
    for (let round = 0; round < 25; round += 1) {
      client.send(...Array.from({ length: 200 }, (_, index) => Buffer.concat([parse(`s${round}_${index}`), say.encodeSync()])));
      for (let index = 0; index < 200; index += 1) {
        const lines = await client.until('Z');
        assert.equal(lines[0], round === 0 && index < 50 ? '1' : 'E:54000');
      }
      client.errors.length = 0;
    }
    assert.ok(process.memoryUsage().heapUsed - before < 128 * 1024 * 1024);
    client.send(say.encodeClose({ target: 'statement', name: 's0_0' }), parse('again'), say.encodeSync());
    assert.deepEqual(await client.until('Z'), ['3', '1', 'Z:I']);
    client.end();
  });

  it('made by SQL are refused at the limit before they are sent, and the session goes on', async () => {
    await start({ limits: { namesMax: 2 } });
    const client = await backstop.client();
    for (const [sql, last] of [['PREPARE a AS SELECT 1', 'C:PREPARE'], ['PREPARE b AS SELECT 1', 'C:PREPARE'], ['PREPARE c AS SELECT 1', 'E:54000'], ['DEALLOCATE a', 'C:DEALLOCATE'], ['PREPARE c AS SELECT 1', 'C:PREPARE']] as const) {
      client.send(say.encodeQuery(sql));
      assert.equal((await client.until('Z')).at(-2), last, sql);
    }
    client.end();
  });

  it('of portals are bounded inside one transaction', async () => {
    await start({ limits: { namesMax: 20 } });
    const client = await backstop.client();
    client.send(say.encodeQuery('BEGIN'), say.encodeParse({ statement: 's', sql: 'SELECT 1', parameterTypes: [] }));
    client.send(...Array.from({ length: 30 }, (_, index) => say.encodeBind({ portal: `p${index}`, statement: 's', formats: [], values: [], resultFormats: [] })), say.encodeSync());
    await client.until('Z:T');
    const lines = await client.until('Z:E');
    assert.equal(lines.filter((line) => line === '2').length, 20);
    assert.equal(lines.at(-2), 'E:54000');
    client.end();
  });
});

describe('memory', () => {
  const bind = (portal: string, value: string): Buffer => say.encodeBind({ portal, statement: 's', formats: [], values: [Buffer.from(value)], resultFormats: [] });
  const parse = say.encodeParse({ statement: 's', sql: 'SELECT $1::text', parameterTypes: [] });

  it('is one for all: past its limit the session that holds the most is ended, and no other', async () => {
    await start({ limits: { heldBytesMax: 8 * 1024 * 1024 } });
    const [most, less, least] = [await backstop.client(), await backstop.client(), await backstop.client()];
    less.send(parse, bind('', 'x'.repeat(3 * 1024 * 1024)));
    most.send(parse, ...Array.from({ length: 6 }, (_, index) => bind(`p${index}`, 'x'.repeat(1024 * 1024))));
    assert.equal((await most.untilClosed()).at(-1), 'E:54000');
    assert.match(most.errors.at(-1)?.message ?? '', /8388608 bytes .* this one the most/);
    assert.deepEqual(await less.send(say.encodeSync()).until('Z'), ['1', '2', 'Z:I']);
    assert.deepEqual(await least.send(say.encodeQuery('SELECT 1')).until('Z'), ['T', 'D:1', 'C:SELECT 1', 'Z:I']);
    less.end();
    least.end();
  });

  it('of a portal is that of its values, not of all that came with them', async () => {
    await start({});
    const client = await backstop.client();
    assert.deepEqual(await client.send(say.encodeQuery('BEGIN')).until('Z'), ['C:BEGIN', 'Z:T']);
    await client.send(parse, say.encodeSync()).until('Z');
    // Outside of COPY its messages are leftovers that nobody looks at.
    const leftover = say.encodeCopyData(Buffer.alloc(60_000));
    const before = settledBytes();
    for (let index = 0; index < 600; index += 1) await client.send(Buffer.concat([bind(`p${index}`, 'a'), say.encodeSync(), leftover])).until('Z');
    assert.ok(settledBytes() - before < 12_000_000, `${settledBytes() - before} bytes are kept for 600 portals`);
    client.end();
  });
});

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
function settledBytes(): number {
  collectGarbage();
  return process.memoryUsage().arrayBuffers;
}
