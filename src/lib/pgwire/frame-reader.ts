/**
 * FrameReader: turns received chunks into complete messages, correct wherever the chunks are cut. A length is refused as
 * soon as its header is there, before the body is buffered, and memory grows with what was received, never with what a
 * header announces. A message that lies inside one chunk is a view of it; only one that spans chunks is copied.
 *
 *   reader.push(chunk); for (let frame; (frame = reader.next()) !== undefined;) handle(frame);
 */
import type { FrameLimits } from './frame-limits.ts';
import { ProtocolError } from './protocol-error.ts';
import { typeName } from './message-type.ts';

/** One complete message: `bytes[start, end)`. Its views are made only for those who ask for them. */
export class Frame {
  readonly type: number;
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;

  constructor(bytes: Buffer, start = 0, end = bytes.length) {
    this.type = bytes[start] ?? 0;
    this.bytes = bytes;
    this.start = start;
    this.end = end;
  }

  /** All of the message as it was received, with type and length. */
  get whole(): Buffer { return this.bytes.subarray(this.start, this.end); }
  /** The message after type and length. */
  get body(): Buffer { return this.bytes.subarray(this.start + headerBytes, this.end); }
  get length(): number { return this.end - this.start; }
}

export const headerBytes = 5;
const growthBytesMin = 1024;

export class FrameReader {
  readonly #limits: FrameLimits;
  readonly #chunks: Buffer[] = [];
  /** Read position in the first chunk. */
  #at = 0;
  #unreadBytes = 0;
  /** The start of a message that began in an earlier chunk; `#partialBytes` of it are filled. */
  #partial: Buffer | undefined;
  #partialBytes = 0;

  constructor(limits: FrameLimits) {
    this.#limits = limits;
  }

  /** Bytes received and not yet returned as messages. */
  get bufferedBytes(): number { return this.#unreadBytes + this.#partialBytes; }

  /** A message has begun whose end was not there when it was last asked for. */
  get isInsideMessage(): boolean { return this.#partial !== undefined; }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#unreadBytes += chunk.length;
  }

  /** The next complete message; undefined until more is pushed. Throws a fatal ProtocolError. */
  next(): Frame | undefined {
    for (;;) {
      const chunk = this.#chunks[0];
      if (chunk === undefined) return undefined;
      const frame = this.#partial === undefined ? this.#nextWithin(chunk) : this.#nextAcross(chunk, this.#partial);
      if (frame !== undefined) return frame;
    }
  }

  /**
   * The bodies of all complete messages of one type that come next in what was received at once, one after another; undefined
   * where there is none. They are moved together where they lie, because a message of its own for each row costs more than
   * the row. Throws a fatal ProtocolError.
   */
  takeBodies(type: number): Buffer | undefined {
    const chunk = this.#chunks[0];
    if (chunk === undefined || this.#partial !== undefined) return undefined;
    const start = this.#at;
    let [from, to] = [start, start];
    while (chunk.length - from >= headerBytes && chunk[from] === type) {
      const size = checkedSize(chunk, from, this.#limits);
      if (chunk.length - from < size) break;
      chunk.copyWithin(to, from + headerBytes, from + size);
      to += size - headerBytes;
      from += size;
    }
    if (from === start) return undefined;
    this.#consume(chunk, from - start);
    return chunk.subarray(start, to);
  }

  /** Takes all that is unread, e.g. to hand the stream on. */
  takeRest(): Buffer {
    const partial = this.#partial?.subarray(0, this.#partialBytes) ?? Buffer.alloc(0);
    const [first, ...others] = this.#chunks;
    const rest = Buffer.concat([partial, ...(first === undefined ? [] : [first.subarray(this.#at), ...others])]);
    this.#chunks.length = 0;
    this.#at = this.#unreadBytes = this.#partialBytes = 0;
    this.#partial = undefined;
    return rest;
  }

  #nextWithin(chunk: Buffer): Frame | undefined {
    const start = this.#at;
    const available = chunk.length - start;
    if (available >= headerBytes) {
      const size = checkedSize(chunk, start, this.#limits);
      if (available >= size) {
        this.#consume(chunk, size);
        return new Frame(chunk, start, start + size);
      }
    }
    this.#partial = Buffer.allocUnsafe(Math.max(growthBytesMin, available * 2));
    this.#partialBytes = 0;
    this.#move(chunk, available);
    return undefined;
  }

  #nextAcross(chunk: Buffer, partial: Buffer): Frame | undefined {
    if (this.#partialBytes < headerBytes) {
      this.#move(chunk, Math.min(headerBytes - this.#partialBytes, chunk.length - this.#at));
      return this.#partialBytes === headerBytes ? this.#finish() : undefined;
    }
    const size = checkedSize(partial, 0, this.#limits);
    this.#move(chunk, Math.min(size - this.#partialBytes, chunk.length - this.#at));
    return this.#finish();
  }

  /** The partial message, if all of it is there. Its header is. */
  #finish(): Frame | undefined {
    const partial = this.#partial;
    if (partial === undefined || this.#partialBytes < checkedSize(partial, 0, this.#limits)) return undefined;
    const whole = partial.subarray(0, this.#partialBytes);
    this.#partial = undefined;
    this.#partialBytes = 0;
    return new Frame(whole);
  }

  #move(chunk: Buffer, length: number): void {
    const filled = this.#partialBytes;
    let partial = this.#partial ?? Buffer.alloc(0);
    if (filled + length > partial.length) {
      const grown = Buffer.allocUnsafe(Math.max(partial.length * 2, filled + length));
      partial.copy(grown, 0, 0, filled);
      this.#partial = partial = grown;
    }
    chunk.copy(partial, filled, this.#at, this.#at + length);
    this.#partialBytes = filled + length;
    this.#consume(chunk, length);
  }

  #consume(chunk: Buffer, length: number): void {
    this.#at += length;
    this.#unreadBytes -= length;
    if (this.#at < chunk.length) return;
    this.#chunks.shift();
    this.#at = 0;
  }
}

/** Bytes of the whole message whose header stands at `at`; throws when the limits forbid it. */
export function checkedSize(bytes: Buffer, at: number, limits: FrameLimits): number {
  const type = bytes[at] ?? 0;
  const length = bytes.readUInt32BE(at + 1);
  const lengthMax = limits(type);
  if (lengthMax === 0) throw new ProtocolError('type', `message type ${typeName(type)} is not allowed here`);
  if (length < 4) throw new ProtocolError('length', `message type ${typeName(type)} announces ${length} bytes, at least 4 are needed`);
  if (length > lengthMax) {
    throw new ProtocolError('too-large', `message type ${typeName(type)} announces ${length} bytes, at most ${lengthMax} are allowed`);
  }
  return length + 1;
}
