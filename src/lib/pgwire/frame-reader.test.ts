/** Tests of FrameReader: framing at every cut, and refusal before buffering. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { frontendType } from './message-type.ts';
import { FrameReader, type Frame } from './frame-reader.ts';
import { loginLimits, sessionLimits } from './frame-limits.ts';
import { ProtocolError, type ProtocolFault } from './protocol-error.ts';
import { encodeCopyData, encodeQuery, encodeSync } from './frontend-encode.ts';

const limits = sessionLimits(1_000_000);

function readAll(reader: FrameReader, chunks: readonly Buffer[]): readonly Buffer[] {
  const found: Buffer[] = [];
  for (const chunk of chunks) {
    reader.push(chunk);
    for (let frame: Frame | undefined; (frame = reader.next()) !== undefined;) found.push(frame.whole);
  }
  return found;
}

function cut(bytes: Buffer, places: readonly number[]): readonly Buffer[] {
  const sorted = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return sorted.slice(1).map((end, index) => bytes.subarray(sorted[index], end));
}

const messages = [encodeQuery('select 1'), encodeSync(), encodeCopyData(Buffer.alloc(3000, 7)), encodeSync(), encodeQuery('')];

test('messages are the same wherever the stream is cut in two', () => {
  const stream = Buffer.concat(messages);
  for (let at = 0; at <= stream.length; at += 1) {
    const reader = new FrameReader(limits);
    assert.deepEqual(readAll(reader, [stream.subarray(0, at), stream.subarray(at)]), messages, `cut at ${at}`);
    assert.equal(reader.bufferedBytes, 0);
  }
});

test('messages are the same however the stream is cut, also into single bytes', () => {
  const stream = Buffer.concat(messages);
  assert.deepEqual(readAll(new FrameReader(limits), [...stream].map((byte) => Buffer.of(byte))), messages);
  fc.assert(fc.property(fc.array(fc.nat(), { maxLength: 20 }), (places) => {
    assert.deepEqual(readAll(new FrameReader(limits), cut(stream, places)), messages);
  }));
});

test('messages pushed in many chunks before any is read are all there', () => {
  const stream = Buffer.concat(messages);
  const reader = new FrameReader(limits);
  for (const byte of stream) reader.push(Buffer.of(byte));
  assert.equal(reader.bufferedBytes, stream.length);
  assert.deepEqual(readAll(reader, [Buffer.alloc(0)]), messages);
});

test('a message inside one chunk is a view of it, not a copy', () => {
  const chunk = Buffer.concat([encodeSync(), encodeQuery('select 1')]);
  for (const whole of readAll(new FrameReader(limits), [chunk])) assert.equal(whole.buffer, chunk.buffer);
});

test('bodies of one type that are taken together are all of them in their order, wherever the stream is cut', () => {
  const bodies = Array.from({ length: 30 }, (_one, index) => Buffer.alloc((index * 37) % 300, 65 + (index % 26)));
  const stream = Buffer.concat([encodeSync(), ...bodies.slice(0, 20).map(encodeCopyData), encodeQuery('select 1'), ...bodies.slice(20).map(encodeCopyData), encodeSync()]);
  fc.assert(fc.property(fc.array(fc.nat(), { maxLength: 12 }), (places) => {
    const reader = new FrameReader(limits);
    const taken: Buffer[] = [];
    const others: number[] = [];
    for (const chunk of cut(Buffer.from(stream), places)) {
      reader.push(Buffer.from(chunk));
      for (;;) {
        const rows = reader.takeBodies(frontendType.copyData);
        if (rows !== undefined) taken.push(Buffer.from(rows));
        const frame = reader.next();
        if (frame === undefined) break;
        if (frame.type === frontendType.copyData) taken.push(Buffer.from(frame.body));
        else others.push(frame.type);
      }
    }
    assert.deepEqual(Buffer.concat(taken), Buffer.concat(bodies));
    assert.deepEqual(others, [frontendType.sync, frontendType.query, frontendType.sync]);
    assert.equal(reader.bufferedBytes, 0);
  }));
});

interface BadHeader { readonly why: string; readonly bytes: readonly number[]; readonly fault: ProtocolFault }
const badHeaders: readonly BadHeader[] = [
  { why: 'a length that does not hold itself', bytes: [0x51, 0, 0, 0, 3], fault: 'length' },
  { why: 'a length of zero', bytes: [0x51, 0, 0, 0, 0], fault: 'length' },
  { why: 'a negative length (H77)', bytes: [0x51, 0xff, 0xff, 0xff, 0xff], fault: 'too-large' },
  { why: 'the most negative length (H77)', bytes: [0x51, 0x80, 0, 0, 0], fault: 'too-large' },
  { why: 'a length above the limit', bytes: [0x51, 0, 0x0f, 0x42, 0x41], fault: 'too-large' },
  { why: 'a large length of a small type', bytes: [0x53, 0, 0, 0x27, 0x11], fault: 'too-large' },
  { why: 'a type that no client sends', bytes: [0x5a, 0, 0, 0, 4], fault: 'type' },
  { why: 'an authentication answer after the login', bytes: [0x70, 0, 0, 0, 4], fault: 'type' },
];

for (const { why, bytes, fault } of badHeaders) {
  test(`a header with ${why} is refused before its body, wherever it is cut`, () => {
    for (let at = 0; at < bytes.length; at += 1) {
      const reader = new FrameReader(limits);
      reader.push(Buffer.from(bytes.slice(0, at)));
      assert.equal(reader.next(), undefined);
      reader.push(Buffer.from(bytes.slice(at)));
      assert.throws(() => reader.next(), (error) => error instanceof ProtocolError && error.fault === fault && error.isFatal);
    }
  });
}

test('memory grows with what arrived, not with what a header announces', () => {
  const reader = new FrameReader(sessionLimits(0x3fffffff));
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 50; i += 1) {
    const greedy = new FrameReader(sessionLimits(0x3fffffff));
    greedy.push(Buffer.from([frontendType.query, 0x3f, 0xff, 0xff, 0xff, 1]));
    assert.equal(greedy.next(), undefined);
    assert.equal(greedy.bufferedBytes, 6);
  }
  assert.ok(process.memoryUsage().arrayBuffers - before < 10_000_000);
  assert.equal(reader.next(), undefined);
});

test('unread bytes can be handed on to a reader with other limits', () => {
  const reader = new FrameReader(loginLimits);
  reader.push(Buffer.concat([Buffer.from([frontendType.password, 0, 0, 0, 4]), encodeSync(), Buffer.from('Q')]));
  assert.equal(reader.next()?.type, frontendType.password);
  const next = new FrameReader(limits);
  next.push(reader.takeRest());
  assert.equal(reader.bufferedBytes, 0);
  assert.equal(next.next()?.type, frontendType.sync);
  assert.equal(next.next(), undefined);
  assert.deepEqual(next.takeRest(), Buffer.from('Q'));
});

test('random bytes are framed or refused; what is framed is exactly what was sent', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 4000 }), fc.array(fc.nat(), { maxLength: 8 }), (bytes, places) => {
    const stream = Buffer.from(bytes);
    const found: Buffer[] = [];
    try {
      found.push(...readAll(new FrameReader(limits), cut(stream, places)));
    } catch (error) {
      assert.ok(error instanceof ProtocolError);
      return;
    }
    assert.ok(stream.subarray(0, Buffer.concat(found).length).equals(Buffer.concat(found)));
  }), { numRuns: 500 });
});
