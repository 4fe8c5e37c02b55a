/** Tests of the link against servers that lie: stuffed answers, skipped proofs, silence and noise. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { Failure } from '../../core/failure.ts';
import {
  encodeAuthentication, encodeBackendKeyData, encodeCommandComplete, encodeErrorResponse, encodeNoticeResponse, encodeParameterStatus, encodeReadyForQuery,
} from '../../lib/pgwire/backend-encode.ts';
import { ProtocolError } from '../../lib/pgwire/protocol-error.ts';
import { connectLink } from './link.ts';
import { parseConnectionString } from './link-target.ts';

type Answer = (socket: Socket, chunk: Buffer, turn: number) => void;

/** Runs a server that answers each chunk as told, and what the link makes of it. */
async function against(answer: Answer, query: string, timeoutMs = 2000): Promise<unknown> {
  const { port, close } = await listen((socket) => {
    let turn = 0;
    socket.on('data', (chunk) => { answer(socket, chunk, (turn += 1)); });
  });
  try {
    const link = await connectLink(parseConnectionString(`postgres://ada:hunter2@127.0.0.1:${port}/d${query}`), { timeoutMs });
    link.destroy();
    return 'connected';
  } catch (error) {
    return error;
  } finally {
    close();
  }
}

async function listen(onSocket: (socket: Socket) => void): Promise<{ readonly port: number; readonly close: () => void }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => { /* the link may hang up on us */ });
    onSocket(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return { port: address.port, close: () => { for (const socket of sockets) socket.destroy(); server.close(); } };
}

const ok = encodeAuthentication({ kind: 'ok' });
const pinned = [encodeParameterStatus('client_encoding', 'UTF8'), encodeParameterStatus('standard_conforming_strings', 'on')];
const ready = [...pinned, encodeParameterStatus('server_version', '18.1'), encodeBackendKeyData(7, Buffer.alloc(32)), encodeReadyForQuery('idle')];
const scramOffer = encodeAuthentication({ kind: 'sasl', mechanisms: ['SCRAM-SHA-256'] });
const plain = '?sslmode=disable';

test('a server that behaves is connected to, however its answers are cut, with notices between', async () => {
  const all = Buffer.concat([ok, encodeNoticeResponse({ severity: 'NOTICE', code: '00000', message: 'hello' }), ...ready]);
  assert.equal(await against((socket) => { for (const byte of all) socket.write(Buffer.of(byte)); }, plain), 'connected');
});

const liars: readonly { readonly why: string; readonly answer: Answer; readonly query: string; readonly message: RegExp; readonly code?: string }[] = [
  {
    why: 'more than one byte in answer to the TLS request (CVE-2021-23222)', query: '?sslmode=prefer', message: /does not speak/,
    answer: (socket) => { socket.write(Buffer.concat([Buffer.from('N'), ok, ...ready])); },
  },
  { why: 'no TLS where it is required', query: '?sslmode=require', message: /has no TLS/, answer: (socket) => { socket.write('N'); } },
  { why: 'an HTTP answer to the TLS request', query: '?sslmode=prefer', message: /does not speak/, answer: (socket) => { socket.write('HTTP/1.1 400 Bad Request\r\n'); } },
  { why: 'an HTTP answer to the start-up', query: plain, message: /does not speak/, answer: (socket) => { socket.write('HTTP/1.1 400 Bad Request\r\n'); } },
  { why: 'broken TLS', query: '?sslmode=require', message: /cannot be reached \(/, answer: (socket, _chunk, turn) => { socket.write(turn === 1 ? 'S' : 'not TLS at all'); } },
  {
    why: 'an acceptance in the middle of SCRAM', query: plain, message: /SCRAM/,
    answer: (socket, _chunk, turn) => { socket.write(turn === 1 ? scramOffer : Buffer.concat([ok, ...ready])); },
  },
  {
    why: 'an acceptance without the proof that it knows the password', query: plain, message: /could not prove/,
    answer: (socket, chunk, turn) => {
      if (turn === 1) socket.write(scramOffer);
      else if (turn === 2) socket.write(encodeAuthentication({ kind: 'sasl-continue', data: Buffer.from(`r=${/r=(.+)$/.exec(chunk.toString('latin1'))?.[1] ?? ''}x,s=AAAA,i=1`) }));
      else socket.write(Buffer.concat([encodeAuthentication({ kind: 'sasl-final', data: Buffer.from(`v=${Buffer.alloc(32).toString('base64')}`) }), ok, ...ready]));
    },
  },
  { why: 'a final SCRAM message before the first', query: plain, message: /not begun/, answer: (socket) => { socket.write(encodeAuthentication({ kind: 'sasl-final', data: Buffer.of(1) })); } },
  { why: 'only mechanisms that nobody speaks', query: plain, message: /no login method/, answer: (socket) => { socket.write(encodeAuthentication({ kind: 'sasl', mechanisms: ['PLAIN'] })); } },
  { why: 'readiness without any authentication', query: plain, message: /leaves out/, answer: (socket) => { socket.write(Buffer.concat(ready)); } },
  { why: 'an encoding that is not ours', query: plain, message: /client_encoding/, code: 'upstream_unsupported', answer: (socket) => { socket.write(Buffer.concat([ok, encodeParameterStatus('client_encoding', 'SJIS'), ...ready.slice(1)])); } },
  { why: 'strings with backslash escapes', query: plain, message: /standard_conforming_strings/, code: 'upstream_unsupported', answer: (socket) => { socket.write(Buffer.concat([ok, ...ready.slice(0, 1), ...ready.slice(2)])); } },
  { why: 'a query\'s answer during the login', query: plain, message: /unexpected/, answer: (socket) => { socket.write(Buffer.concat([ok, encodeCommandComplete('SELECT 1')])); } },
  { why: 'parameters without end', query: plain, message: /come to the end/, answer: (socket) => { socket.write(Buffer.concat([ok, ...Array.from({ length: 600 }, () => encodeParameterStatus('a', 'b'))])); } },
  { why: 'a message of a gigabyte', query: plain, message: /does not speak/, answer: (socket) => { socket.write(Buffer.from([0x52, 0x3f, 0xff, 0xff, 0xff])); } },
  { why: 'an end of the connection', query: plain, message: /cannot be reached/, answer: (socket) => { socket.destroy(); } },
  { why: 'an error before it is up', query: plain, message: /starting up/, answer: (socket) => { socket.write(encodeErrorResponse({ severity: 'FATAL', code: '57P03', message: 'the database system is starting up' })); } },
  { why: 'a login error that repeats the password', query: plain, message: /28P01/, answer: (socket) => { socket.write(encodeErrorResponse({ severity: 'FATAL', code: '28P01', message: 'no hunter2' })); } },
];
for (const { why, answer, query, message, code } of liars) {
  test(`a server that sends ${why} is refused`, async () => {
    const error = await against(answer, query);
    assert.ok(error instanceof Failure, String(error));
    assert.equal(error.code, code ?? 'upstream_unavailable');
    assert.match(error.message, message);
    assert.doesNotMatch(`${error.message}${error.hint}${error.detail ?? ''}`, /hunter2/);
  });
}

test('a server that says nothing is given up after the time that was allowed', async () => {
  const started = performance.now();
  const error = await against(() => {}, plain, 150);
  assert.ok(error instanceof Failure && /TimeoutError/.test(error.message));
  assert.ok(performance.now() - started < 9_000, 'not only after the ten seconds that are the default');
});

test('a server that sends random bytes, after a good beginning or at once, is refused and never hangs or crashes the link', async () => {
  const beginnings = fc.constantFrom(Buffer.alloc(0), ok, Buffer.concat([ok, ...ready.slice(0, 3)]), scramOffer);
  await fc.assert(fc.asyncProperty(beginnings, fc.uint8Array({ minLength: 1, maxLength: 300 }), async (beginning, noise) => {
    const error = await against((socket) => { socket.end(Buffer.concat([beginning, noise])); }, plain);
    assert.ok(error instanceof Failure, String(error));
  }), { numRuns: 60 });
});

test('a server that answers a question with noise loses the link, and the question fails', async () => {
  const greeting = Buffer.concat([ok, ...ready]);
  const { port, close } = await listen((socket) => {
    socket.once('data', () => { socket.write(greeting); socket.on('data', () => { socket.write('HTTP/1.1 400 Bad Request\r\n'); }); });
  });
  try {
    const link = await connectLink(parseConnectionString(`postgres://ada@127.0.0.1:${port}/d${plain}`));
    const { promise: closed, resolve } = Promise.withResolvers<Error | undefined>();
    link.relay({ onData: () => assert.fail('noise reached the client'), onDrain: () => {}, onClose: resolve });
    await assert.rejects(link.query('select 1'), (error) => error instanceof Failure && error.code === 'upstream_unavailable');
    assert.ok(await closed instanceof ProtocolError);
  } finally {
    close();
  }
});

test('an address where nobody listens is unavailable, with the reason', async () => {
  await assert.rejects(connectLink(parseConnectionString('postgres://ada:hunter2@127.0.0.1:1/d')), (error) => {
    assert.ok(error instanceof Failure && error.code === 'upstream_unavailable');
    assert.match(error.message, /ECONNREFUSED/);
    return true;
  });
});

test('a caller that gives up is not waited for', async () => {
  const error = await connectLink(parseConnectionString('postgres://ada@127.0.0.1:1/d'), { signal: AbortSignal.abort() }).catch((reason: unknown) => reason);
  assert.ok(error instanceof Failure && /AbortError/.test(error.message));
});
