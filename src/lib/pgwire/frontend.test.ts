/** Tests of what a client may say: every encoder is undone by its decoder, and every malformed body is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Frame } from './frame-reader.ts';
import { decodeFrontend, decodeSaslInitialResponse, type FrontendMessage, type ValueFormat } from './frontend-decode.ts';
import * as encode from './frontend-encode.ts';
import { frontendType } from './message-type.ts';
import { ProtocolError, type ProtocolFault } from './protocol-error.ts';

const text = fc.string({ unit: 'binary', maxLength: 40 }).map((made) => made.replaceAll('\0', '').toWellFormed());
const name = fc.oneof(text.filter((made) => Buffer.byteLength(made) < 32), fc.string({ unit: 'binary-ascii', maxLength: 63 }).map((made) => made.replaceAll('\0', '')));
const oid = fc.nat(0xffffffff);
const format = fc.constantFrom<ValueFormat>('text', 'binary');
const value = fc.option(fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)));
const target = fc.constantFrom('statement' as const, 'portal' as const);
const formatted = fc.array(value, { maxLength: 6 }).chain((values) => fc.record({
  values: fc.constant(values),
  formats: fc.oneof(fc.constant([]), fc.array(format, { minLength: 1, maxLength: 1 }), fc.array(format, { minLength: values.length, maxLength: values.length })),
}));

const message: fc.Arbitrary<FrontendMessage> = fc.oneof(
  fc.record({ kind: fc.constant('query' as const), sql: text }),
  fc.record({ kind: fc.constant('parse' as const), statement: name, sql: text, parameterTypes: fc.array(oid) }),
  fc.tuple(fc.record({ kind: fc.constant('bind' as const), portal: name, statement: name, resultFormats: fc.array(format) }), formatted).map(([a, b]) => ({ ...a, ...b })),
  fc.record({ kind: fc.constant('describe' as const), target, name }),
  fc.record({ kind: fc.constant('close' as const), target, name }),
  fc.record({ kind: fc.constant('execute' as const), portal: name, rowsMax: fc.nat(0x7fffffff) }),
  fc.tuple(fc.record({ kind: fc.constant('function-call' as const), functionOid: oid, resultFormat: format }), formatted).map(([a, b]) => ({ ...a, ...b })),
  fc.constantFrom<FrontendMessage>({ kind: 'sync' }, { kind: 'flush' }, { kind: 'terminate' }, { kind: 'copy-done' }),
  fc.uint8Array().map((bytes) => ({ kind: 'copy-data' as const, data: Buffer.from(bytes) })),
  text.map((reason) => ({ kind: 'copy-fail' as const, reason })),
).map((made) => ({ ...made }));

function encodeAny(message: FrontendMessage): Buffer {
  switch (message.kind) {
    case 'query': return encode.encodeQuery(message.sql);
    case 'parse': return encode.encodeParse(message);
    case 'bind': return encode.encodeBind(message);
    case 'describe': return encode.encodeDescribe(message);
    case 'close': return encode.encodeClose(message);
    case 'execute': return encode.encodeExecute(message);
    case 'function-call': return encode.encodeFunctionCall(message);
    case 'sync': return encode.encodeSync();
    case 'flush': return encode.encodeFlush();
    case 'terminate': return encode.encodeTerminate();
    case 'copy-data': return encode.encodeCopyData(message.data);
    case 'copy-done': return encode.encodeCopyDone();
    case 'copy-fail': return encode.encodeCopyFail(message.reason);
  }
}

function frameOf(type: number, body: Buffer): Frame {
  return new Frame(Buffer.concat([Buffer.from([type, 0, 0, 0, 0]), body]));
}

function decode(whole: Buffer): FrontendMessage {
  assert.equal(whole.readUInt32BE(1), whole.length - 1);
  return decodeFrontend(new Frame(whole));
}

test('what is encoded is decoded to the same message', () => {
  fc.assert(fc.property(message, (sent) => { assert.deepEqual(decode(encodeAny(sent)), sent); }), { numRuns: 1000 });
});

test('a name is what the server will know: its first 63 bytes', () => {
  const [one, other] = [`${'a'.repeat(63)}1`, `${'a'.repeat(63)}2`];
  const named = (statement: string): FrontendMessage => decode(encode.encodeParse({ statement, sql: '', parameterTypes: [] }));
  assert.deepEqual(named(one), named(other));
  assert.deepEqual(decode(encode.encodeExecute({ portal: one, rowsMax: 0 })), { kind: 'execute', portal: 'a'.repeat(63), rowsMax: 0 });
  assert.deepEqual(decode(encode.encodeClose({ target: 'portal', name: other })), { kind: 'close', target: 'portal', name: 'a'.repeat(63) });
  assert.throws(() => named('é'.repeat(16)), ProtocolError, 'where it is cut depends on the encoding of the database');
});

test('a message with a byte more or less than it needs is refused, never guessed', () => {
  fc.assert(fc.property(message.filter(({ kind }) => kind !== 'copy-data'), (sent) => {
    const whole = encodeAny(sent);
    const body = whole.subarray(5);
    const type = whole[0] ?? 0;
    for (const changed of [Buffer.concat([body, Buffer.of(0)]), body.subarray(0, -1)]) {
      if (changed.length === body.length) continue;
      assert.throws(() => decodeFrontend(frameOf(type, changed)), (error) => error instanceof ProtocolError && !error.isFatal);
    }
  }), { numRuns: 500 });
});

test('random bodies of every type are decoded or refused, and never anything else', () => {
  const types = fc.constantFrom(...Object.values(frontendType).filter((type) => type !== frontendType.password));
  fc.assert(fc.property(types, fc.uint8Array({ maxLength: 200 }), (type, bytes) => {
    const body = Buffer.from(bytes);
    try {
      decodeFrontend(frameOf(type, body));
    } catch (error) {
      assert.ok(error instanceof ProtocolError && !error.isFatal);
    }
  }), { numRuns: 3000 });
});

const malformed: readonly { readonly why: string; readonly type: number; readonly body: Buffer; readonly fault?: ProtocolFault }[] = [
  { why: 'a Query with a NUL inside, behind which more SQL stands (H15)', type: frontendType.query, body: Buffer.from('select 1\0; drop table t\0') },
  { why: 'a Query with two NULs at its end (H15)', type: frontendType.query, body: Buffer.from('select 1\0\0') },
  { why: 'a Query without a NUL', type: frontendType.query, body: Buffer.from('select 1') },
  { why: 'an empty Query body', type: frontendType.query, body: Buffer.alloc(0) },
  { why: 'a Query that is Latin-1 (H87)', type: frontendType.query, body: Buffer.from([0x27, 0xe9, 0x27, 0]), fault: 'not-utf8' },
  { why: 'a Query with an overlong encoding of a quote (H87)', type: frontendType.query, body: Buffer.from([0xc0, 0xa7, 0]), fault: 'not-utf8' },
  { why: 'a Query with a surrogate (H87)', type: frontendType.query, body: Buffer.from([0xed, 0xa0, 0x80, 0]), fault: 'not-utf8' },
  { why: 'a Parse that counts more types than it holds', type: frontendType.parse, body: Buffer.from('\0select 1\0\xff\xff', 'latin1') },
  { why: 'a Bind with a negative value length other than -1 (H77)', type: frontendType.bind, body: Buffer.from([0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe, 0, 0]) },
  { why: 'a Bind value that reaches behind the message (H77)', type: frontendType.bind, body: Buffer.from([0, 0, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff, 0, 0]) },
  { why: 'a Bind with two formats for one value', type: frontendType.bind, body: Buffer.from([0, 0, 0, 2, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0]) },
  { why: 'a Bind with a format code of 2', type: frontendType.bind, body: Buffer.from([0, 0, 0, 1, 0, 2, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0]) },
  { why: 'a Describe of neither a statement nor a portal', type: frontendType.describe, body: Buffer.from('Tname\0') },
  { why: 'a Sync with a body', type: frontendType.sync, body: Buffer.of(0) },
];

for (const { why, type, body, fault } of malformed) {
  test(`${why} is refused`, () => {
    assert.throws(() => decodeFrontend(frameOf(type, body)), (error) => error instanceof ProtocolError && error.fault === (fault ?? 'malformed') && !error.isFatal);
  });
}

test('a negative length is named as such for each value from -2 down (H77)', () => {
  for (const length of [-2, -4, -6, -100, -0x80000000]) {
    const body = Buffer.concat([Buffer.from([0, 0, 0, 0, 0, 1]), Buffer.alloc(4), Buffer.from([0, 0])]);
    body.writeInt32BE(length, 6);
    assert.throws(() => decodeFrontend(frameOf(frontendType.bind, body)), /negative value length/);
  }
});

test('a byte order mark is part of the text, because the server sees it too', () => {
  assert.deepEqual(decode(encode.encodeQuery('\u{FEFF}select 1')), { kind: 'query', sql: '\u{FEFF}select 1' });
});

test('a negative row limit means all rows, as it does to PostgreSQL', () => {
  const body = Buffer.from([0, 0xff, 0xff, 0xff, 0xff]);
  assert.deepEqual(decodeFrontend(frameOf(frontendType.execute, body)), { kind: 'execute', portal: '', rowsMax: 0 });
});

test('authentication answers are read back, and refused with bytes after their end', () => {
  const data = Buffer.from('n,,n=,r=abc');
  assert.deepEqual(decodeSaslInitialResponse(encode.encodeSaslInitialResponse('SCRAM-SHA-256', data).subarray(5)), { mechanism: 'SCRAM-SHA-256', data });
  assert.deepEqual(decodeSaslInitialResponse(encode.encodeSaslInitialResponse('X', null).subarray(5)), { mechanism: 'X', data: null });
  assert.throws(() => decodeSaslInitialResponse(Buffer.from('SCRAM\0\0\0\0\x01ab')), ProtocolError);
});
