/** Tests of the start-up packets: order, bounds, stuffing, versions, keys and the options parameter. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeCancelRequest, encodeGssRequest, encodeSslRequest, encodeStartup, encodeSync } from './frontend-encode.ts';
import { parseStartupOptions } from './startup-options.ts';
import { StartupReader, startupLengthMax, type StartupPacket } from './startup-reader.ts';
import { ProtocolError, type ProtocolFault } from './protocol-error.ts';

const parameters = [['user', 'ada'], ['database', 'shop'], ['application_name', '']] as const;
const startup = encodeStartup(parameters);

function feed(reader: StartupReader, chunks: readonly Buffer[]): StartupPacket | undefined {
  let last: StartupPacket | undefined;
  for (const chunk of chunks) last = reader.push(chunk);
  return last;
}

test('a start-up message is the same wherever it is cut', () => {
  for (let at = 0; at <= startup.length; at += 1) {
    const reader = new StartupReader();
    const first = reader.push(startup.subarray(0, at));
    const packet = first ?? reader.push(startup.subarray(at));
    assert.deepEqual(packet, {
      kind: 'startup', minorAsked: 0, minor: 0, mustNegotiate: false, unknownOptions: [], parameters: new Map(parameters),
    }, `cut at ${at}`);
  }
});

test('what follows the start-up message is kept for the reader of messages', () => {
  const reader = new StartupReader();
  assert.equal(reader.push(Buffer.concat([startup, encodeSync()]))?.kind, 'startup');
  assert.deepEqual(reader.takeRest(), encodeSync());
});

test('a client may ask for GSS, then for TLS, then start in clear', () => {
  const reader = new StartupReader();
  assert.deepEqual(reader.push(encodeGssRequest()), { kind: 'gss-request' });
  assert.deepEqual(reader.push(encodeSslRequest()), { kind: 'ssl-request' });
  assert.equal(reader.push(startup)?.kind, 'startup');
});

test('a direct TLS handshake is recognised at its first byte and handed on whole', () => {
  const reader = new StartupReader();
  const hello = Buffer.from([0x16, 3, 1, 2, 0, 1]);
  assert.deepEqual(reader.push(hello), { kind: 'direct-tls' });
  assert.deepEqual(reader.takeRest(), hello);
  reader.encrypted();
  assert.equal(reader.push(startup)?.kind, 'startup');
});

const versions: readonly { readonly asked: number; readonly minor: number; readonly mustNegotiate: boolean }[] = [
  { asked: 0, minor: 0, mustNegotiate: false }, { asked: 2, minor: 2, mustNegotiate: false },
  { asked: 3, minor: 2, mustNegotiate: true }, { asked: 9999, minor: 2, mustNegotiate: true },
];
for (const { asked, minor, mustNegotiate } of versions) {
  test(`a client that asks for 3.${asked} speaks 3.${minor}${mustNegotiate ? ' and is told so' : ''}`, () => {
    const packet = new StartupReader().push(encodeStartup(parameters, asked));
    assert.ok(packet?.kind === 'startup');
    assert.deepEqual({ asked: packet.minorAsked, minor: packet.minor, mustNegotiate: packet.mustNegotiate }, { asked, minor, mustNegotiate });
  });
}

test('unknown _pq_ options are listed for negotiation and are not parameters', () => {
  const packet = new StartupReader().push(encodeStartup([...parameters, ['_pq_.trace', '1']]));
  assert.ok(packet?.kind === 'startup');
  assert.deepEqual(packet.unknownOptions, ['_pq_.trace']);
  assert.equal(packet.mustNegotiate, true);
  assert.deepEqual([...packet.parameters.keys()], ['user', 'database', 'application_name']);
});

test('cancel keys of 4 to 256 bytes are taken', () => {
  for (const length of [4, 32, 256]) {
    const secretKey = Buffer.alloc(length, 3);
    assert.deepEqual(new StartupReader().push(encodeCancelRequest(-9, secretKey)), { kind: 'cancel', processId: -9, secretKey });
  }
});

const raw = (length: number, ...words: readonly number[]): Buffer => {
  const bytes = Buffer.alloc(4 + words.length * 4);
  [length, ...words].forEach((word, index) => bytes.writeUInt32BE(word >>> 0, index * 4));
  return bytes;
};
const withBody = (text: string): Buffer => Buffer.concat([raw(8 + text.length, 3 << 16), Buffer.from(text, 'latin1')]);

const refused: readonly { readonly why: string; readonly chunks: readonly Buffer[]; readonly fault: ProtocolFault; readonly isEncrypted?: boolean }[] = [
  { why: 'bytes stuffed behind SSLRequest (H78)', chunks: [Buffer.concat([encodeSslRequest(), startup])], fault: 'out-of-order' },
  { why: 'one byte stuffed behind SSLRequest (H78)', chunks: [Buffer.concat([encodeSslRequest(), Buffer.of(0)])], fault: 'out-of-order' },
  { why: 'bytes stuffed behind GSSENCRequest (H78)', chunks: [Buffer.concat([encodeGssRequest(), startup])], fault: 'out-of-order' },
  { why: 'SSLRequest twice (H80)', chunks: [encodeSslRequest(), encodeSslRequest()], fault: 'out-of-order' },
  { why: 'GSSENCRequest twice (H80)', chunks: [encodeGssRequest(), encodeGssRequest()], fault: 'out-of-order' },
  { why: 'SSLRequest inside TLS', chunks: [encodeSslRequest()], isEncrypted: true, fault: 'out-of-order' },
  { why: 'a TLS handshake after SSLRequest was refused', chunks: [encodeSslRequest(), Buffer.of(0x16)], fault: 'out-of-order' },
  { why: 'anything after the start-up message', chunks: [startup, startup], fault: 'out-of-order' },
  { why: 'protocol 2 (H80)', chunks: [raw(8, 2 << 16)], fault: 'version' },
  { why: 'protocol 4', chunks: [raw(8, 4 << 16)], fault: 'version' },
  { why: 'a length that cannot hold a code', chunks: [raw(7)], fault: 'length' },
  { why: 'a length of zero', chunks: [raw(0)], fault: 'length' },
  { why: 'a length above 10,000, before its body (H77)', chunks: [raw(startupLengthMax + 1)], fault: 'too-large' },
  { why: 'a negative length (H77)', chunks: [raw(-1)], fault: 'too-large' },
  { why: 'HTTP', chunks: [Buffer.from('GET / HTTP/1.1\r\n\r\n')], fault: 'too-large' },
  { why: 'a cancel request without a key', chunks: [raw(12, 80_877_102, 1)], fault: 'malformed' },
  { why: 'a cancel key of 257 bytes', chunks: [encodeCancelRequest(1, Buffer.alloc(257))], fault: 'malformed' },
  { why: 'a cancel request followed by more', chunks: [Buffer.concat([encodeCancelRequest(1, Buffer.alloc(4)), startup])], fault: 'malformed' },
  { why: 'an SSLRequest with a body', chunks: [raw(12, 80_877_103, 0)], fault: 'malformed' },
  { why: 'a parameter given twice', chunks: [withBody('user\0a\0user\0b\0\0')], fault: 'malformed' },
  { why: 'a parameter list without its end', chunks: [withBody('user\0a\0')], fault: 'malformed' },
  { why: 'a value without its end', chunks: [withBody('user\0a')], fault: 'malformed' },
  { why: 'bytes behind the parameter list', chunks: [withBody('user\0a\0\0x')], fault: 'malformed' },
  { why: 'a user that is not UTF-8', chunks: [withBody('user\0\xe9\0\0')], fault: 'not-utf8' },
  { why: 'more than a hundred parameters', chunks: [encodeStartup(Array.from({ length: 101 }, (_, i) => [`a${i}`, ''] as const))], fault: 'malformed' },
];
for (const { why, chunks, fault, isEncrypted } of refused) {
  test(`${why} ends the connection`, () => {
    const reader = new StartupReader({ isEncrypted: isEncrypted ?? false });
    assert.throws(() => feed(reader, chunks), (error) => error instanceof ProtocolError && error.fault === fault && error.isFatal);
  });
}

test('random bytes are a packet, incomplete, or refused', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(300), (bytes, at) => {
    const reader = new StartupReader();
    try {
      feed(reader, [Buffer.from(bytes.subarray(0, at)), Buffer.from(bytes.subarray(at))]);
    } catch (error) {
      assert.ok(error instanceof ProtocolError && error.isFatal);
    }
  }), { numRuns: 2000 });
});

const options: readonly (readonly [text: string, expected: readonly (readonly [string, string])[] | undefined])[] = [
  ['', []],
  ['-c search_path=app', [['search_path', 'app']]],
  ['-csearch_path=app  --statement-timeout=5s', [['search_path', 'app'], ['statement_timeout', '5s']]],
  ['-c search_path=a,\\ b', [['search_path', 'a, b']]],
  ['-c a.b=\\\\x', [['a.b', '\\x']]],
  ['-c DateStyle=ISO', [['datestyle', 'ISO']]],
  ['-c a=b\u{a0}-c', [['a', 'b\u{a0}-c']]],
  ['-c', undefined], ['-c search_path', undefined], ['-e', undefined], ['-ec a=b', undefined], ['--', undefined], ['word', undefined], ['-c =x', undefined],
];
for (const [text, expected] of options) {
  test(`the options ${JSON.stringify(text)} are ${expected === undefined ? 'not understood' : JSON.stringify(expected)}`, () => {
    assert.deepEqual(parseStartupOptions(text), expected);
  });
}
