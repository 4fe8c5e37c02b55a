/**
 * lib/pgwire as a server, met by clients that others wrote: node-postgres and postgres.js log in with SCRAM, with and
 * without TLS and channel binding, and read an answer. The server here is just long enough to hold the pieces together.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { createSecureContext, TLSSocket } from 'node:tls';
import pg from 'pg';
import postgres from 'postgres';
import * as encode from '../../src/lib/pgwire/backend-encode.ts';
import { makeCertificate } from '../../src/lib/pgwire/certificate.ts';
import { serverEndPoint } from '../../src/lib/pgwire/channel-binding.ts';
import { loginLimits, sessionLimits } from '../../src/lib/pgwire/frame-limits.ts';
import { FrameReader, type Frame } from '../../src/lib/pgwire/frame-reader.ts';
import { decodeFrontend, decodeSaslInitialResponse } from '../../src/lib/pgwire/frontend-decode.ts';
import { mockVerifier, ScramServer } from '../../src/lib/pgwire/scram-server.ts';
import { makeVerifier } from '../../src/lib/pgwire/scram-verifier.ts';
import { StartupReader, type StartupMessage } from '../../src/lib/pgwire/startup-reader.ts';

const made = makeCertificate(['localhost', '127.0.0.1'], new Date());
const verifier = await makeVerifier('token of ada', { salt: randomBytes(16) });
const mechanismsUsed: string[] = [];
let server: Server;
let port: number;

before(async () => {
  server = createServer((socket) => { socket.on('error', () => {}); greet(socket, new StartupReader()); });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  port = address.port;
});
after(() => { server.close(); });

function greet(socket: Socket, startup: StartupReader): void {
  const onData = (chunk: Buffer): void => {
    const packet = startup.push(chunk);
    switch (packet?.kind) {
      case undefined: return;
      case 'gss-request': socket.write(encode.refuseByte); return;
      case 'cancel': socket.end(); return;
      case 'ssl-request':
        socket.off('data', onData);
        socket.write(encode.acceptByte);
        return encrypt(socket, startup);
      case 'direct-tls':
        socket.off('data', onData).pause();
        socket.unshift(startup.takeRest());
        return encrypt(socket, startup);
      case 'startup':
        socket.off('data', onData);
        return authenticate(socket, packet, startup.takeRest());
    }
  };
  socket.on('data', onData);
}

function encrypt(socket: Socket, startup: StartupReader): void {
  const secure = new TLSSocket(socket, {
    isServer: true, secureContext: createSecureContext({ key: made.privateKeyPem, cert: made.certificatePem }), ALPNProtocols: ['postgresql'],
  });
  secure.on('error', () => {});
  startup.encrypted();
  greet(secure, startup);
}

function authenticate(socket: Socket, startup: StartupMessage, rest: Buffer): void {
  const binding = socket instanceof TLSSocket ? serverEndPoint(made.certificatePem) : undefined;
  const user = startup.parameters.get('user') ?? '';
  const scram = new ScramServer({
    verifier: user === 'ada' ? verifier : undefined, nonce: randomBytes(18).toString('base64'), ...(binding === undefined ? {} : { channelBinding: binding }),
  }, mockVerifier(user, Buffer.from('secret')));
  if (startup.mustNegotiate) socket.write(encode.encodeNegotiateProtocolVersion(2, startup.unknownOptions));
  socket.write(encode.encodeAuthentication({ kind: 'sasl', mechanisms: scram.mechanisms() }));
  let reader = new FrameReader(loginLimits);
  let turn: 'first' | 'final' | 'in' = 'first';
  const answer = (frame: Frame): void => {
    if (turn === 'first') {
      const { mechanism, data } = decodeSaslInitialResponse(frame.body);
      mechanismsUsed.push(mechanism);
      const step = scram.first(mechanism, data);
      assert.ok(step.kind === 'continue');
      socket.write(encode.encodeAuthentication({ kind: 'sasl-continue', data: step.data }));
      turn = 'final';
    } else if (turn === 'final') {
      const end = scram.final(frame.body);
      if (end.kind !== 'accepted') return void socket.end(encode.encodeErrorResponse({ severity: 'FATAL', code: '28P01', message: `refused: ${end.kind}`, hint: 'ask an operator' }));
      socket.write(Buffer.concat([encode.encodeAuthentication({ kind: 'sasl-final', data: end.data }), encode.encodeAuthentication({ kind: 'ok' }), ...greeting()]));
      const unread = reader.takeRest();
      reader = new FrameReader(sessionLimits(1_000_000));
      reader.push(unread);
      turn = 'in';
    } else {
      serve(socket, frame);
    }
  };
  const onData = (chunk: Buffer): void => {
    reader.push(chunk);
    for (let frame; (frame = reader.next()) !== undefined;) answer(frame);
  };
  socket.on('data', onData);
  if (rest.length > 0) onData(rest);
}

function greeting(): readonly Buffer[] {
  const parameters = { server_version: '18.1', client_encoding: 'UTF8', standard_conforming_strings: 'on' };
  return [
    ...Object.entries(parameters).map(([name, value]) => encode.encodeParameterStatus(name, value)),
    encode.encodeBackendKeyData(4711, Buffer.alloc(4, 1)), encode.encodeReadyForQuery('idle'),
  ];
}

/** Answers every statement with its own text, and one that begins with "fail" with an error. */
function serve(socket: Socket, frame: Frame): void {
  const message = decodeFrontend(frame);
  if (message.kind === 'terminate') return void socket.end();
  if (message.kind !== 'query') return;
  const answer = message.sql.startsWith('fail')
    ? [encode.encodeNoticeResponse({ severity: 'NOTICE', code: '00000', message: 'about to fail' }), encode.encodeErrorResponse({ severity: 'ERROR', code: '42501', message: 'no', detail: 'because', hint: 'instead' })]
    : [encode.encodeRowDescription([{ name: 'echo' }]), encode.encodeDataRow([message.sql]), encode.encodeCommandComplete('SELECT 1')];
  socket.write(Buffer.concat([...answer, encode.encodeReadyForQuery('idle')]));
}

const tls = { ca: made.certificatePem };
const clients: readonly { readonly why: string; readonly config: pg.ClientConfig; readonly mechanism: string }[] = [
  { why: 'without TLS', config: {}, mechanism: 'SCRAM-SHA-256' },
  { why: 'over TLS with the certificate checked', config: { ssl: tls }, mechanism: 'SCRAM-SHA-256' },
  { why: 'over TLS bound to the channel', config: { ssl: tls, enableChannelBinding: true }, mechanism: 'SCRAM-SHA-256-PLUS' },
  { why: 'over TLS from the first byte', config: { ssl: tls, sslnegotiation: 'direct', enableChannelBinding: true }, mechanism: 'SCRAM-SHA-256-PLUS' },
];
for (const { why, config, mechanism } of clients) {
  test(`node-postgres logs in ${why} with ${mechanism} and reads an answer and an error`, async () => {
    const client = new pg.Client({ host: '127.0.0.1', port, user: 'ada', password: 'token of ada', database: 'd', ...config });
    await client.connect();
    try {
      assert.equal(mechanismsUsed.at(-1), mechanism);
      assert.deepEqual((await client.query('select ünïcode')).rows, [{ echo: 'select ünïcode' }]);
      const notice = once(client, 'notice');
      await assert.rejects(client.query('fail now'), { code: '42501', message: 'no', detail: 'because', hint: 'instead' });
      assert.partialDeepStrictEqual(await notice, [{ message: 'about to fail' }]);
      assert.equal((await client.query('select 2')).rowCount, 1);
    } finally {
      await client.end();
    }
  });
}

for (const [user, password] of [['ada', 'wrong'], ['eve', 'token of ada']] as const) {
  test(`${user} with ${password} is refused with 28P01`, async () => {
    const client = new pg.Client({ host: '127.0.0.1', port, user, password, database: 'd' });
    await assert.rejects(client.connect(), { code: '28P01', message: 'refused: refused' });
  });
}

test('postgres.js logs in over TLS and reads an answer', async () => {
  const sql = postgres({ host: '127.0.0.1', port, user: 'ada', password: 'token of ada', database: 'd', ssl: tls, max: 1, fetch_types: false });
  try {
    assert.deepEqual([...await sql.unsafe('select 3').simple()], [{ echo: 'select 3' }]);
  } finally {
    await sql.end();
  }
});
