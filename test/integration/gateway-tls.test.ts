/**
 * TLS from the client's side: after a request and direct, the protocol that both agree on (ALPN), nothing stuffed in
 * before the handshake, channel binding, and certificates of clients in place of tokens.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { makeCertificate } from '../../src/lib/pgwire/certificate.ts';
import * as say from '../../src/lib/pgwire/frontend-encode.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { scriptedToken, startScriptedGateway, type ScriptedGateway } from '../fixtures/scripted-gateway.ts';
import { until } from '../fixtures/until.ts';
import { openSocket, WireClient } from '../fixtures/wire-client.ts';

const dayMs = 86_400_000;
const yesterday = new Date(Date.now() - dayMs);
const robot = makeCertificate(['robot'], yesterday, 30, 'client');
const named = makeCertificate(['the night shift', 'robot'], yesterday, 30, 'client');
const expired = makeCertificate(['robot'], new Date(Date.now() - 30 * dayMs), 10, 'client');
const ofServer = makeCertificate(['robot'], yesterday, 30, 'server');
const stranger = makeCertificate(['robot'], yesterday, 30, 'client');
type Certificate = typeof robot;

let server: PostgresServer;
let backstop: ScriptedGateway;
let daysAhead = 0;
before(async () => {
  server = await startPostgresServer();
  const trusted = [robot, named, expired, ofServer];
  backstop = await startScriptedGateway(server, { tls: true, now: () => new Date(Date.now() + daysAhead * dayMs), clientAuthoritiesPem: trusted.map(({ certificatePem }) => certificatePem).join('') });
});
after(async () => {
  await backstop?.stop();
  await server?.stop();
  assert.deepEqual(backstop?.faults.filter((line) => !line.includes('a login was refused')), []);
});

async function requested(options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = await openSocket(backstop.host, backstop.port);
  socket.write(say.encodeSslRequest());
  const answer = await new Promise<Buffer>((resolve) => { socket.once('data', resolve); });
  assert.equal(answer.toString(), 'S');
  return secured({ ...options, socket });
}

function secured(options: ConnectionOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host: backstop.host, port: backstop.port, rejectUnauthorized: false, ...options }, () => { resolve(socket); });
    socket.once('error', reject);
  });
}

const startup = (user: string): Buffer => say.encodeStartup([['user', user], ['database', 'postgres']]);
const withCertificate = ({ certificatePem, privateKeyPem }: Certificate): ConnectionOptions => ({ cert: certificatePem, key: privateKeyPem });

async function entered(socket: TLSSocket, user: string): Promise<readonly string[]> {
  const client = new WireClient(socket, scriptedToken);
  client.send(startup(user));
  const lines = await client.until('Z');
  client.end();
  return lines;
}

async function refused(socket: TLSSocket, user: string): Promise<{ readonly lines: readonly string[]; readonly message: string }> {
  const client = new WireClient(socket, scriptedToken);
  client.send(startup(user));
  return { lines: await client.untilClosed(), message: client.errors[0]?.message ?? '' };
}

const byToken = ['R:sasl', 'R:sasl-continue', 'R:sasl-final', 'R:ok', 'Z:I'];

describe('TLS', () => {
  it('after a request, with ALPN and without', async () => {
    assert.deepEqual(await entered(await requested(), 'ada'), byToken);
    const socket = await requested({ ALPNProtocols: ['postgresql'] });
    assert.equal(socket.alpnProtocol, 'postgresql');
    assert.deepEqual(await entered(socket, 'ada'), byToken);
  });

  it('direct, where the protocol was agreed on', async () => {
    assert.deepEqual(await entered(await secured({ ALPNProtocols: ['postgresql'] }), 'ada'), byToken);
  });

  it('direct without ALPN is refused, and so is another protocol at any time', async () => {
    const { lines, message } = await refused(await secured({}), 'ada');
    assert.deepEqual(lines, ['E:08P01']);
    assert.match(message, /ALPN/);
    await assert.rejects(secured({ ALPNProtocols: ['http/1.1'] }));
    await assert.rejects(requested({ ALPNProtocols: ['http/1.1'] }));
  });

  it('takes no second request inside, no old version, and no session that is resumed', async () => {
    for (const request of [say.encodeSslRequest(), say.encodeGssRequest()]) {
      const client = new WireClient(await requested());
      assert.deepEqual(await client.send(request).untilClosed(), ['E:08P01']);
    }
    await assert.rejects(requested({ maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'ALL:@SECLEVEL=0' }));
    const first = await requested({ maxVersion: 'TLSv1.2' });
    const session = first.getSession();
    assert.deepEqual(await entered(first, 'ada'), byToken);
    assert.ok(session !== undefined);
    const second = await requested({ maxVersion: 'TLSv1.2', session });
    assert.equal(second.isSessionReused(), false);
    second.destroy();
  });

  it('takes nothing that was sent between the request and its answer (H78)', async () => {
    const client = new WireClient(await openSocket(backstop.host, backstop.port));
    assert.deepEqual(await client.send(say.encodeSslRequest(), startup('ada')).untilClosed(), ['E:08P01']);
  });

  it('is asked for a bounded number of times', async () => {
    for (const requests of [[say.encodeGssRequest(), say.encodeGssRequest()], [say.encodeGssRequest(), say.encodeSslRequest(), say.encodeGssRequest()]]) {
      const socket = await openSocket(backstop.host, backstop.port);
      const chunks: Buffer[] = [];
      const closed = new Promise<void>((resolve) => { socket.on('data', (chunk: Buffer) => { chunks.push(chunk); }).on('close', () => { resolve(); }).on('error', () => { /* close follows */ }); });
      for (const request of requests) {
        const had = chunks.length;
        socket.write(request);
        await until('it was answered', () => Promise.resolve(chunks.length > had || socket.destroyed));
      }
      socket.end();
      await closed;
      // N, then an error or the end; N and S, and then bytes that are no handshake.
      assert.doesNotMatch(Buffer.concat(chunks).toString('latin1'), /NN|SN/);
    }
  });
});

describe('a certificate of a client', () => {
  for (const [what, certificate] of [['its common name', robot], ['a DNS name in it', named]] as const) {
    it(`logs the agent in that ${what} names, without a token`, async () => {
      assert.deepEqual(await entered(await requested(withCertificate(certificate)), 'robot'), ['R:ok', 'Z:I']);
      assert.ok(backstop.entries.some((entry) => entry.kind === 'connect' && (entry.note ?? '').includes('by certificate')));
    });
  }

  it('works in a direct TLS connection too', async () => {
    assert.deepEqual(await entered(await secured({ ...withCertificate(robot), ALPNProtocols: ['postgresql'] }), 'robot'), ['R:ok', 'Z:I']);
  });

  const bad: readonly (readonly [what: string, certificate: Certificate, why: RegExp])[] = [
    ['of a stranger', stranger, /self.signed|unable to verify/i], ['that has expired', expired, /expired/], ['made for servers', ofServer, /purpose/],
  ];
  for (const [what, certificate, why] of bad) {
    it(`${what} ends the login in words, for an agent with a token too`, async () => {
      for (const user of ['robot', 'ada']) {
        const { lines, message } = await refused(await requested(withCertificate(certificate)), user);
        assert.deepEqual(lines, ['E:28P01']);
        assert.match(message, why);
      }
    });
  }

  it('that names another agent logs nobody in, and an agent with a token still needs it', async () => {
    const other = makeCertificate(['somebody'], yesterday, 30, 'client');
    const own = await startScriptedGateway(server, { tls: true, clientAuthoritiesPem: other.certificatePem + robot.certificatePem });
    const open = backstop;
    backstop = own;
    try {
      const { lines, message } = await refused(await requested(withCertificate(other)), 'robot');
      assert.deepEqual(lines, ['E:28P01']);
      assert.match(message, /certificate authentication failed for user "robot"/);
      assert.deepEqual(await entered(await requested(withCertificate(robot)), 'ada'), byToken);
    } finally {
      await own.stop();
      backstop = open;
    }
  });

  it('is what its agent needs: without one it looks like an agent that does not exist', async () => {
    const [known, unknown] = [await refused(await requested(), 'robot'), await refused(await requested(), 'nobody')];
    assert.deepEqual(known.lines, ['R:sasl', 'R:sasl-continue', 'E:28P01']);
    assert.deepEqual([known.lines, known.message.replace('robot', 'X')], [unknown.lines, unknown.message.replace('nobody', 'X')]);
    const plain = new WireClient(await openSocket(backstop.host, backstop.port), scriptedToken);
    assert.deepEqual(await plain.send(startup('robot')).untilClosed(), known.lines);
  });

  it('ends its session when it expires', async () => {
    const client = new WireClient(await requested(withCertificate(robot)));
    client.send(startup('robot'));
    await client.until('Z');
    daysAhead = 30;
    assert.deepEqual(await client.untilClosed(), ['E:57P01']);
    assert.match(client.errors[0]?.message ?? '', /certificate has expired/);
    daysAhead = 0;
  });

  it('ends with its agent: a revoked agent has no session left', async () => {
    const own = await startScriptedGateway(server, { tls: true, clientAuthoritiesPem: robot.certificatePem });
    const open = backstop;
    backstop = own;
    try {
      const client = new WireClient(await requested(withCertificate(robot)));
      client.send(startup('robot'));
      await client.until('Z');
      own.revoke();
      assert.deepEqual(await client.untilClosed(), ['E:57P01']);
      assert.deepEqual((await refused(await requested(withCertificate(robot)), 'robot')).lines.at(-1), 'E:28P01');
    } finally {
      await own.stop();
      backstop = open;
    }
  });
});
