/**
 * How a client comes in: TLS and its request, SCRAM, protocol versions, start-up parameters, limits, cancel keys,
 * revocation and the end of the gateway. Before a real PostgreSQL 18 with a scripted judgement.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import * as say from '../../src/lib/pgwire/frontend-encode.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { startScriptedGateway, type ScriptedGateway } from '../fixtures/scripted-gateway.ts';
import { until } from '../fixtures/until.ts';
import { openSocket, WireClient } from '../fixtures/wire-client.ts';

let server: PostgresServer;
let backstop: ScriptedGateway;
before(async () => {
  server = await startPostgresServer();
  backstop = await startScriptedGateway(server, { tls: true });
});
after(async () => {
  await backstop?.stop();
  await server?.stop();
  assert.deepEqual(backstop?.faults.filter((line) => !line.includes('a login was refused')), []);
});

async function raw(...bytes: readonly Buffer[]): Promise<WireClient> {
  const client = new WireClient(await openSocket(backstop.host, backstop.port));
  return client.send(...bytes);
}
const startup = (parameters: Readonly<Record<string, string>>, minor = 0): Buffer => say.encodeStartup(Object.entries({ user: 'ada', database: 'postgres', ...parameters }), minor);

async function answered(...bytes: readonly Buffer[]): Promise<string> {
  const socket = await openSocket(backstop.host, backstop.port);
  socket.write(Buffer.concat(bytes));
  const chunks: Buffer[] = [];
  for await (const chunk of socket) {
    if (Buffer.isBuffer(chunk)) chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('latin1');
}

describe('a client comes in', () => {
  it('with TLS and without, and is told what PostgreSQL tells', async () => {
    for (const tls of [true, false]) {
      const client = await backstop.client({ tls });
      assert.equal(client.parameters.get('server_encoding'), 'UTF8');
      assert.equal(client.parameters.get('client_encoding'), 'UTF8');
      client.send(say.encodeQuery('SELECT 1'));
      assert.deepEqual(await client.until('Z'), ['T', 'D:1', 'C:SELECT 1', 'Z:I']);
      client.end();
    }
    const kinds = backstop.entries.map((entry) => entry.kind);
    assert.ok(kinds.includes('connect'));
  });

  it('with a driver that checks channel binding and sends its own start-up parameters', async () => {
    const client = new pg.Client({
      host: backstop.host, port: backstop.port, user: 'ada', password: 'the token of ada', database: 'postgres',
      ssl: { rejectUnauthorized: false }, application_name: 'a driver', enableChannelBinding: true,
    });
    await client.connect();
    const { rows } = await client.query('SHOW application_name');
    assert.deepEqual(rows, [{ application_name: 'a driver' }]);
    await client.end();
  });

  it('but not with a wrong password, and a name that does not exist looks the same', async () => {
    const seen = [];
    for (const user of ['ada', 'nobody']) {
      const client = new WireClient(await openSocket(backstop.host, backstop.port), 'wrong');
      client.send(startup({ user }));
      const lines = await client.untilClosed();
      seen.push([lines, client.errors[0]?.message.replace(user, 'X'), client.errors[0]?.severity]);
    }
    assert.deepEqual(seen[0], [['R:sasl', 'R:sasl-continue', 'E:28P01'], 'password authentication failed for user "X"', 'FATAL']);
    assert.deepEqual(seen[1], seen[0]);
    await until('the record has it', () => Promise.resolve(backstop.entries.some((entry) => entry.kind === 'admin' && entry.what === 'login-refused')));
  });

  it('and protocol 3.2 gets a longer key, an unknown option is negotiated away (H80)', async () => {
    const modern = await backstop.client({ minor: 2 });
    assert.equal(modern.key?.secretKey.length, 32);
    const classic = await backstop.client({ parameters: { database: 'postgres', '_pq_.unheard_of': '1' } });
    assert.equal(classic.key?.secretKey.length, 4);
    assert.notEqual(modern.key?.processId, classic.key?.processId);
    modern.end();
    classic.end();
  });

  it('never with the upstream password, key or process in anything it sees', async () => {
    const client = await backstop.client();
    client.send(say.encodeQuery('SELECT pg_backend_pid()'), say.encodeQuery('SELECT query, application_name FROM pg_stat_activity'));
    const lines = [...await client.until('Z'), ...await client.until('Z')];
    assert.notEqual(lines.find((line) => line.startsWith('D:')), `D:${client.key?.processId}`);
    assert.ok(!lines.join('\n').includes(server.password));
    client.end();
  });

  it('to an unknown database hears so, and why', async () => {
    const client = new WireClient(await openSocket(backstop.host, backstop.port), 'the token of ada');
    client.send(startup({ database: 'no_such_database' }));
    await client.untilClosed();
    assert.match(client.errors[0]?.message ?? '', /no_such_database/);
    assert.ok(!JSON.stringify(client.errors).includes(server.password));
  });
});

describe('before anybody is authenticated', () => {
  it('GSS is answered N, TLS S, and nothing between the request and the handshake is taken (H78, H79)', async () => {
    assert.match(await answered(say.encodeGssRequest(), startup({})), /^E/, 'an error, and not the plain start-up that was stuffed behind');
    assert.match(await answered(say.encodeSslRequest(), startup({})), /^E/);
    const client = await openSocket(backstop.host, backstop.port);
    client.write(say.encodeGssRequest());
    const answer = await new Promise<Buffer>((resolve) => { client.once('data', resolve); });
    assert.equal(answer.toString(), 'N');
    client.destroy();
  });

  const broken: readonly (readonly [what: string, bytes: Buffer])[] = [
    ['a length of zero', Buffer.alloc(8)],
    ['a length of 4 GB', Buffer.from([0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0])],
    ['protocol 2', Buffer.from([0, 0, 0, 8, 0, 2, 0, 0])],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['no user', say.encodeStartup([['database', 'postgres']])],
    ['replication (H84)', say.encodeStartup([['user', 'ada'], ['replication', 'database']])],
    ['a search_path (CVE-2025-12819, H63)', say.encodeStartup([['user', 'ada'], ['search_path', 'evil']])],
    ['a query instead of a proof', Buffer.concat([startup({}), say.encodeQuery('SELECT 1')])],
    ['a proof of 20 kB', Buffer.concat([startup({}), say.encodePassword('x'.repeat(20_000))])],
  ];
  for (const [what, bytes] of broken) {
    it(`${what} ends with an error and the connection`, async () => {
      const text = await answered(bytes);
      assert.ok(text.includes('FATAL'), text);
    });
  }

  it('many connections that only knock leave room for a real one', async () => {
    await until('those before are forgotten', () => Promise.resolve(backstop.gateway.clients === 0));
    const knocks = await Promise.all(Array.from({ length: 19 }, () => openSocket(backstop.host, backstop.port)));
    for (const knock of knocks) knock.destroy();
    await until('they are forgotten', () => Promise.resolve(backstop.gateway.clients === 0));
    const client = await backstop.client();
    client.end();
    await until('it is forgotten', () => Promise.resolve(backstop.gateway.clients === 0));
  });

  it('more clients than the limit are told so', async () => {
    const held = await Promise.all(Array.from({ length: 20 }, () => openSocket(backstop.host, backstop.port)));
    await until('all are counted', () => Promise.resolve(backstop.gateway.clients === 20));
    const client = await raw();
    assert.deepEqual(await client.untilClosed(), ['E:53300']);
    for (const socket of held) socket.destroy();
    await until('they are forgotten', () => Promise.resolve(backstop.gateway.clients === 0));
  });
});

describe('the end', () => {
  it('comes to the sessions of a revoked agent, also while one waits or runs, and it cannot come back', async () => {
    const own = await startScriptedGateway(server);
    try {
      const [idle, running] = [await own.client(), await own.client()];
      running.send(say.encodeQuery('SELECT pg_sleep(30)'));
      await until('it runs', () => Promise.resolve(own.actions.length === 1));
      own.revoke();
      for (const client of [idle, running]) {
        assert.ok((await client.untilClosed()).includes('E:57P01'));
        assert.match(client.errors[0]?.message ?? '', /revoked/);
      }
      await assert.rejects(own.client(), /closed/);
      await until('all outcomes are there', () => Promise.resolve(own.settled.length === 1));
    } finally {
      await own.stop();
    }
  });

  it('lets what runs finish and tells idle clients', async () => {
    const own = await startScriptedGateway(server);
    const [idle, busy] = [await own.client(), await own.client()];
    busy.send(say.encodeQuery('SELECT pg_sleep(0.5)'));
    await until('it runs', () => Promise.resolve(own.actions.length === 1));
    await own.stop();
    assert.deepEqual(await idle.untilClosed(), ['E:57P01']);
    assert.deepEqual((await busy.untilClosed()).slice(-3), ['C:SELECT 1', 'Z:I', 'E:57P01']);
    assert.deepEqual(own.settled.map(({ outcome }) => outcome.kind), ['committed']);
    assert.equal(own.entries.filter(({ kind }) => kind === 'disconnect').length, 2);
  });
});
