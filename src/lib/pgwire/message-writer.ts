/**
 * MessageWriter: builds one or several messages in one buffer, each with its length filled in. The buffer grows as
 * needed; `take()` returns exactly what was written and leaves the writer unusable for more.
 */
import { assert } from '../assert.ts';

export class MessageWriter {
  #buffer: Buffer;
  #at = 0;
  #lengthAt = -1;

  constructor(bytesExpected = 128) {
    this.#buffer = Buffer.allocUnsafe(bytesExpected);
  }

  /** Starts a message; `null` for the start-up packets, which have no type byte. */
  begin(type: number | null): this {
    assert(this.#lengthAt < 0, 'a message is begun inside another');
    if (type !== null) this.uint8(type);
    this.#lengthAt = this.#at;
    return this.int32(0);
  }

  end(): this {
    this.#buffer.writeInt32BE(this.#at - this.#lengthAt, this.#lengthAt);
    this.#lengthAt = -1;
    return this;
  }

  uint8(value: number): this {
    this.#at = this.#room(1).writeUInt8(value, this.#at);
    return this;
  }

  uint16(value: number): this {
    this.#at = this.#room(2).writeUInt16BE(value, this.#at);
    return this;
  }

  int16(value: number): this {
    this.#at = this.#room(2).writeInt16BE(value, this.#at);
    return this;
  }

  int32(value: number): this {
    this.#at = this.#room(4).writeInt32BE(value, this.#at);
    return this;
  }

  uint32(value: number): this {
    this.#at = this.#room(4).writeUInt32BE(value, this.#at);
    return this;
  }

  bytes(value: Uint8Array): this {
    this.#room(value.length).set(value, this.#at);
    this.#at += value.length;
    return this;
  }

  /** Text and its NUL. A NUL inside would end the field early and shift all that follows, so it is a bug of the caller. */
  text(value: string): this {
    assert(!value.includes('\0'), 'text with a NUL cannot be written to the wire');
    const length = Buffer.byteLength(value);
    this.#room(length + 1).write(value, this.#at, 'utf8');
    this.#at += length;
    return this.uint8(0);
  }

  /** A value behind its length; null is length -1. */
  value(value: Uint8Array | null): this {
    return value === null ? this.int32(-1) : this.int32(value.length).bytes(value);
  }

  take(): Buffer {
    assert(this.#lengthAt < 0, 'a message is taken before its end');
    const written = this.#buffer.subarray(0, this.#at);
    this.#buffer = Buffer.alloc(0);
    this.#at = 0;
    return written;
  }

  #room(length: number): Buffer {
    if (this.#at + length > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#at + length));
      this.#buffer.copy(grown, 0, 0, this.#at);
      this.#buffer = grown;
    }
    return this.#buffer;
  }
}
