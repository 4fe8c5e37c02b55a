/** Tests of what a server says: encoders undone by decoders, tags, diagnostics, and lengths that lie. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import * as decode from './backend-decode.ts';
import * as encode from './backend-encode.ts';
import { decodeDiagnostic, type DiagnosticFields } from './diagnostic.ts';
import { ProtocolError } from './protocol-error.ts';

function bodyOf(message: Buffer): Buffer {
  assert.equal(message.readUInt32BE(1), message.length - 1);
  return message.subarray(5);
}

const full: DiagnosticFields = {
  severity: 'FATAL', code: '42501', message: 'refused', detail: 'why', hint: 'what to do', position: '5', internalPosition: '6',
  internalQuery: 'select', where: 'PL', schema: 's', table: 't', column: 'c', dataType: 'd', constraint: 'n', file: 'f', line: '9', routine: 'r',
};

test('every field of an error arrives under its own letter', () => {
  assert.deepEqual(decodeDiagnostic(bodyOf(encode.encodeErrorResponse(full))), full);
});

test('a notice with only what must be there is read back', () => {
  const notice: DiagnosticFields = { severity: 'NOTICE', code: '00000', message: 'größer' };
  assert.deepEqual(decodeDiagnostic(bodyOf(encode.encodeNoticeResponse(notice))), notice);
});

test('severity is sent as S and as V, and V wins when a server translates S', () => {
  const body = bodyOf(encode.encodeErrorResponse({ severity: 'ERROR', code: '42601', message: 'm' }));
  assert.ok(body.toString('latin1').startsWith('SERROR\0VERROR\0C42601\0'));
  assert.equal(decodeDiagnostic(Buffer.from('SFEHLER\0VFATAL\0C1\0Mm\0\0')).severity, 'FATAL');
});

test('an error that lacks a SQLSTATE still has one (H90)', () => {
  assert.deepEqual(decodeDiagnostic(Buffer.from('SERROR\0Mlogin failed\0\0')), { severity: 'ERROR', code: 'XX000', message: 'login failed' });
});

test('a NUL inside an error text cannot end the field', () => {
  const body = bodyOf(encode.encodeErrorResponse({ severity: 'ERROR', code: '42601', message: 'a\0Mb' }));
  assert.equal(decodeDiagnostic(body).message, 'a\u{FFFD}Mb');
});

const tags: readonly (readonly [tag: string, command: string, rows: number | null])[] = [
  ['SELECT 12', 'SELECT', 12], ['INSERT 0 3', 'INSERT', 3], ['UPDATE 0', 'UPDATE', 0], ['DELETE 200000', 'DELETE', 200_000],
  ['COPY 7', 'COPY', 7], ['MERGE 2', 'MERGE', 2], ['FETCH 1', 'FETCH', 1], ['CREATE TABLE', 'CREATE TABLE', null], ['BEGIN', 'BEGIN', null], ['COPY', 'COPY', null],
];
for (const [tag, command, rows] of tags) {
  test(`the tag ${tag} is ${command} with ${rows ?? 'no number of'} rows`, () => {
    assert.deepEqual(decode.decodeCommandComplete(bodyOf(encode.encodeCommandComplete(tag))), { command, rows });
  });
}

test('every authentication request is read back', () => {
  const requests: readonly encode.AuthenticationRequest[] = [
    { kind: 'ok' }, { kind: 'cleartext-password' }, { kind: 'md5-password', salt: Buffer.from([1, 2, 3, 4]) },
    { kind: 'sasl', mechanisms: ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'] }, { kind: 'sasl-continue', data: Buffer.from('r=a') }, { kind: 'sasl-final', data: Buffer.from('v=b') },
  ];
  for (const request of requests) assert.deepEqual(decode.decodeAuthentication(bodyOf(encode.encodeAuthentication(request))), request);
  assert.throws(() => decode.decodeAuthentication(Buffer.from([0, 0, 0, 7])), (error) => error instanceof ProtocolError && error.fault === 'type');
});

test('the small messages are read back', () => {
  for (const status of ['idle', 'in-transaction', 'failed'] as const) {
    assert.equal(decode.decodeReadyForQuery(bodyOf(encode.encodeReadyForQuery(status))), status);
  }
  assert.deepEqual(decode.decodeParameterStatus(bodyOf(encode.encodeParameterStatus('TimeZone', 'UTC'))), { name: 'TimeZone', value: 'UTC' });
  assert.deepEqual(decode.decodeNotificationResponse(bodyOf(encode.encodeNotificationResponse(-5, 'ch', 'p'))), { processId: -5, channel: 'ch', payload: 'p' });
  assert.throws(() => decode.decodeReadyForQuery(Buffer.from('X')), ProtocolError);
});

test('keys of 4 to 256 bytes are taken, others refused', () => {
  for (const length of [4, 32, 256]) {
    const secretKey = Buffer.alloc(length, 9);
    assert.deepEqual(decode.decodeBackendKeyData(bodyOf(encode.encodeBackendKeyData(77, secretKey))), { processId: 77, secretKey });
  }
  for (const length of [0, 3, 257]) {
    assert.throws(() => decode.decodeBackendKeyData(bodyOf(encode.encodeBackendKeyData(77, Buffer.alloc(length)))), ProtocolError);
  }
});

test('rows are read back, NULL apart from the empty text', () => {
  const values = ['', null, 'ü'];
  assert.deepEqual(decode.decodeDataRow(bodyOf(encode.encodeDataRow(values))).map((value) => value?.toString() ?? null), values);
  const columns = decode.decodeRowDescription(bodyOf(encode.encodeRowDescription([{ name: 'a' }, { name: 'b', typeOid: 23 }])));
  assert.deepEqual(columns.map(({ name, typeOid, format }) => [name, typeOid, format]), [['a', 25, 'text'], ['b', 23, 'text']]);
});

test('random bodies are decoded or refused by every decoder, and never anything else', () => {
  const decoders = [
    decode.decodeReadyForQuery, decode.decodeCommandComplete, decode.decodeParameterStatus, decode.decodeBackendKeyData,
    decode.decodeAuthentication, decode.decodeRowDescription, decode.decodeDataRow, decode.decodeParameterDescription, decode.decodeNotificationResponse, decodeDiagnostic,
  ];
  fc.assert(fc.property(fc.constantFrom(...decoders), fc.uint8Array({ maxLength: 120 }), (decoder, bytes) => {
    try {
      decoder(Buffer.from(bytes));
    } catch (error) {
      assert.ok(error instanceof ProtocolError);
    }
  }), { numRuns: 3000 });
});
