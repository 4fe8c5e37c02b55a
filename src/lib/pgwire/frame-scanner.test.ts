/** Tests of FrameScanner: what goes on is what came, whatever is watched and wherever it is cut. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FrameReader } from './frame-reader.ts';
import { FrameScanner } from './frame-scanner.ts';
import { serverLimits } from './frame-limits.ts';
import { backendType } from './message-type.ts';
import { ProtocolError } from './protocol-error.ts';
import {
  encodeBindComplete, encodeCommandComplete, encodeDataRow, encodeErrorResponse, encodeNoticeResponse, encodeParameterStatus,
  encodeParseComplete, encodeReadyForQuery,
} from './backend-encode.ts';

const row = encodeDataRow(['a value that nobody watches'.repeat(20), null]);
const replies = [
  encodeParseComplete(), encodeBindComplete(), row, row, encodeCommandComplete('SELECT 2'),
  encodeParameterStatus('TimeZone', 'UTC'), encodeReadyForQuery('idle'), row, encodeReadyForQuery('failed'),
];
const stream = Buffer.concat(replies);
const watched = [backendType.commandComplete, backendType.readyForQuery, backendType.parameterStatus];

type Edit = (scanner: FrameScanner, frame: Buffer) => void;

function scan(chunks: readonly Buffer[], edit: Edit = () => {}): { readonly written: Buffer; readonly seen: readonly Buffer[]; readonly writes: readonly Buffer[] } {
  const writes: Buffer[] = [];
  const seen: Buffer[] = [];
  const scanner: FrameScanner = new FrameScanner({
    limits: serverLimits, watched, watchedBytesMax: 100_000,
    onFrame: (type, bytes, start, end) => {
      assert.equal(bytes[start], type);
      const frame = Buffer.from(bytes.subarray(start, end));
      seen.push(frame);
      edit(scanner, frame);
    },
    write: (bytes) => { writes.push(bytes); },
  });
  for (const chunk of chunks) scanner.push(chunk);
  assert.ok(scanner.isAtBoundary);
  return { written: Buffer.concat(writes), seen, writes };
}

const seenWhole = replies.filter((reply) => watched.some((type) => type === reply[0]));
const isReady = (frame: Buffer): boolean => frame[0] === backendType.readyForQuery;

const edits: readonly { readonly why: string; readonly edit: Edit; readonly expected: Buffer }[] = [
  { why: 'nothing is edited', edit: () => {}, expected: stream },
  {
    why: 'every ReadyForQuery is dropped',
    edit: (scanner, frame) => { if (isReady(frame)) scanner.drop(); },
    expected: Buffer.concat(replies.filter((reply) => !isReady(reply))),
  },
  {
    why: 'an error is put before every ReadyForQuery',
    edit: (scanner, frame) => { if (isReady(frame)) scanner.insertBefore(Buffer.from('<error>')); },
    expected: Buffer.concat(replies.flatMap((reply) => (isReady(reply) ? [Buffer.from('<error>'), reply] : [reply]))),
  },
  {
    why: 'a ReadyForQuery is replaced',
    edit: (scanner, frame) => {
      if (!isReady(frame)) return;
      scanner.insertBefore(Buffer.from('<a>'));
      scanner.drop();
    },
    expected: Buffer.concat(replies.map((reply) => (isReady(reply) ? Buffer.from('<a>') : reply))),
  },
  {
    why: 'everything watched is dropped',
    edit: (scanner) => { scanner.drop(); },
    expected: Buffer.concat(replies.filter((reply) => !seenWhole.includes(reply))),
  },
];

for (const { why, edit, expected } of edits) {
  test(`when ${why}, the output is the same wherever the stream is cut`, () => {
    for (let at = 0; at <= stream.length; at += 1) {
      const { written, seen } = scan([stream.subarray(0, at), stream.subarray(at)], edit);
      assert.ok(written.equals(expected), `cut at ${at}`);
      assert.deepEqual(seen, seenWhole, `cut at ${at}`);
    }
    const { written, seen } = scan([...stream].map((byte) => Buffer.of(byte)), edit);
    assert.ok(written.equals(expected), 'byte by byte');
    assert.deepEqual(seen, seenWhole);
  });
}

test('a chunk in which nothing is edited is written once and is the chunk itself', () => {
  const { writes } = scan([stream]);
  assert.equal(writes.length, 1);
  assert.equal(writes[0], stream);
});

test('a large unwatched message passes while it is still incomplete', () => {
  const large = encodeDataRow(['x'.repeat(100_000)]);
  const writes: Buffer[] = [];
  const scanner = new FrameScanner({ limits: serverLimits, watched, watchedBytesMax: 100, onFrame: () => assert.fail('a DataRow is not watched'), write: (bytes) => { writes.push(bytes); } });
  scanner.push(large.subarray(0, 70_000));
  assert.equal(Buffer.concat(writes).length, 70_000);
  assert.equal(scanner.isAtBoundary, false);
  scanner.push(large.subarray(70_000));
  assert.ok(Buffer.concat(writes).equals(large));
  assert.ok(scanner.isAtBoundary);
});

test('bytes put between messages never fall into one, wherever the stream is cut', () => {
  const inserted = encodeNoticeResponse({ severity: 'NOTICE', code: '00000', message: 'between' });
  for (let at = 0; at <= stream.length; at += 1) {
    for (let next = at; next <= Math.min(at + 9, stream.length); next += 1) {
      const writes: Buffer[] = [];
      const scanner = new FrameScanner({ limits: serverLimits, watched, watchedBytesMax: 1000, onFrame: () => {}, write: (part) => { writes.push(part); } });
      scanner.push(stream.subarray(0, at));
      scanner.insert(inserted);
      if (scanner.isMidMessage) assert.ok(!Buffer.concat(writes).includes(inserted));
      scanner.push(stream.subarray(at, next));
      scanner.push(stream.subarray(next));
      const reader = new FrameReader(serverLimits);
      reader.push(Buffer.concat(writes));
      const frames: Buffer[] = [];
      for (let frame = reader.next(); frame !== undefined; frame = reader.next()) frames.push(frame.whole);
      assert.equal(frames.filter((frame) => frame.equals(inserted)).length, 1, `cut at ${at} and ${next}`);
      assert.ok(Buffer.concat(frames.filter((frame) => !frame.equals(inserted))).equals(stream));
    }
  }
});

test('a watched message above its bound is refused when its header is seen, however it is cut', () => {
  const error = encodeErrorResponse({ severity: 'ERROR', code: 'P0001', message: 'x'.repeat(300) });
  for (let at = 0; at < error.length; at += 1) {
    const scanner = new FrameScanner({
      limits: serverLimits, watched: [backendType.errorResponse], watchedBytesMax: 200, onFrame: () => {}, write: () => {},
    });
    const feed = (): void => {
      scanner.push(error.subarray(0, at));
      scanner.push(error.subarray(at, error.length - 1));
    };
    assert.throws(feed, (thrown) => thrown instanceof ProtocolError && thrown.fault === 'too-large');
  }
});

test('a type that no server sends and a length that holds not even itself end the stream', () => {
  for (const bytes of [[0x51, 0, 0, 0, 4], [0x44, 0, 0, 0, 3], [0x44, 0xff, 0xff, 0xff, 0xff]]) {
    assert.throws(() => scan([Buffer.from(bytes)]), (thrown) => thrown instanceof ProtocolError && thrown.isFatal);
  }
});

test('random bytes pass unchanged as far as they are messages, and are refused otherwise', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), fc.nat(600), (noise, at) => {
    const bytes = Buffer.concat([stream, Buffer.from(noise)]);
    const writes: Buffer[] = [];
    const scanner = new FrameScanner({ limits: serverLimits, watched, watchedBytesMax: 1000, onFrame: () => {}, write: (part) => { writes.push(part); } });
    try {
      scanner.push(bytes.subarray(0, at));
      scanner.push(bytes.subarray(at));
    } catch (error) {
      assert.ok(error instanceof ProtocolError);
    }
    const written = Buffer.concat(writes);
    assert.ok(bytes.subarray(0, written.length).equals(written));
  }), { numRuns: 300 });
});

test('counted messages are counted once, wherever they are cut, and not while they are watched', () => {
  fc.assert(fc.property(fc.array(fc.nat(stream.length), { maxLength: 20 }), (cuts) => {
    let rows = 0;
    const scanner: FrameScanner = new FrameScanner({
      limits: serverLimits, watched, counted: [backendType.dataRow], watchedBytesMax: 100_000, write: () => {},
      onFrame: (type) => { if (type === backendType.commandComplete) rows = scanner.takeCount(); },
    });
    const places = [0, ...cuts.toSorted((a, b) => a - b), stream.length];
    for (const [index, place] of places.entries()) scanner.push(stream.subarray(place, places[index + 1] ?? place));
    assert.deepEqual([rows, scanner.takeCount(), scanner.takeCount()], [2, 1, 0]);
    scanner.watch(backendType.dataRow, true);
    scanner.push(row);
    scanner.watch(backendType.dataRow, false);
    scanner.push(row);
    assert.equal(scanner.takeCount(), 1);
  }));
});
