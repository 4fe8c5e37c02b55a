/**
 * FrameScanner: forwards a stream of messages while telling of the types it is asked to watch. Chunks go out whole and
 * untouched unless a message is dropped or inserted; bodies of types that are not watched are stepped over by their
 * length and neither read nor copied. Only a header or a watched message that is cut by the end of a chunk is held back
 * until the rest of it is there, so a dropped message leaves no byte behind.
 *
 * In the callback the message is `bytes[start, end)`, type and length included; its body begins at start + 5.
 */
import { assert } from '../assert.ts';
import type { FrameLimits } from './frame-limits.ts';
import { checkedSize, headerBytes } from './frame-reader.ts';
import { ProtocolError } from './protocol-error.ts';
import { typeName } from './message-type.ts';

export interface FrameScannerOptions {
  readonly limits: FrameLimits;
  readonly watched: readonly number[];
  /** Of these nothing is seen but how many there were. */
  readonly counted?: readonly number[];
  /** Watched messages are held in memory when cut, so they have a bound of their own. */
  readonly watchedBytesMax: number;
  readonly onFrame: (type: number, bytes: Buffer, start: number, end: number) => void;
  /** Receives everything that goes on, in order, as views of what was pushed. Cork around push to join them. */
  readonly write: (bytes: Buffer) => void;
}

const noBytes = Buffer.alloc(0);

/** What is done with a type of message; 0: nothing. */
const watchedMark = 1;
const countedMark = 2;

export class FrameScanner {
  readonly #options: FrameScannerOptions;
  readonly #marks = new Uint8Array(256);
  #count = 0;
  /** The first bytes of a message that was cut: less than a header, or a watched one. */
  #held: Buffer = noBytes;
  #heldBytes = 0;
  /** Bytes still to pass of an unwatched message that was cut. */
  #skip = 0;
  /** While the callback runs: where the message stands, and from where the chunk is not yet written. */
  #bytes: Buffer = noBytes;
  #start = 0;
  #end = 0;
  #from = 0;
  #inCallback = false;
  /** What was written so far ends inside a message. */
  #isCut = false;
  /** To be written once it does not. */
  #inserted: Buffer[] = [];

  constructor(options: FrameScannerOptions) {
    this.#options = options;
    for (const type of options.counted ?? []) this.#marks[type] = countedMark;
    for (const type of options.watched) this.#marks[type] = watchedMark;
  }

  /** True when all that was pushed ended with a complete message. */
  get isAtBoundary(): boolean { return this.#skip === 0 && this.#heldBytes === 0; }

  /** True while more bytes would be read as the rest of a message that is only partly written. */
  get isMidMessage(): boolean { return this.#isCut; }

  /** Throws a fatal ProtocolError; messages before the broken one have then been told of, and some not yet written. */
  push(chunk: Buffer): void {
    let at = Math.min(this.#skip, chunk.length);
    this.#skip -= at;
    this.#from = 0;
    if (this.#inserted.length > 0 && this.#skip === 0) this.#writeInserted(chunk, at);
    if (this.#heldBytes > 0) at = this.#resume(chunk);
    at = this.#walk(chunk, at);
    // What is left is the start of a cut message that must wait.
    if (this.#from < at) this.#options.write(this.#from === 0 && at === chunk.length ? chunk : chunk.subarray(this.#from, at));
    if (at < chunk.length) this.#hold(chunk, at, chunk.length);
    this.#isCut = this.#skip > 0;
  }

  /** Puts these bytes between two messages: now, or when the one that is partly written has come to its end. Not in the callback. */
  insert(bytes: Buffer): void {
    assert(!this.#inCallback, 'bytes are put between messages inside a callback');
    if (this.#isCut) this.#inserted.push(bytes);
    else this.#options.write(bytes);
  }

  /** From the next message on; afterwards it is counted again if it was. */
  watch(type: number, isWatched: boolean): void {
    this.#marks[type] = isWatched ? watchedMark : this.#options.counted?.includes(type) === true ? countedMark : 0;
  }

  /** How many counted messages there were since it was asked for last. */
  takeCount(): number {
    const count = this.#count;
    this.#count = 0;
    return count;
  }

  /** Leaves the present message out. */
  drop(): void {
    this.#flushTo(this.#start);
    this.#from = this.#end;
  }

  /** Puts these bytes before the present message, whether or not it is dropped. Not after `drop`. */
  insertBefore(bytes: Buffer): void {
    this.#flushTo(this.#start);
    this.#options.write(bytes);
  }

  #writeInserted(chunk: Buffer, end: number): void {
    this.#options.write(chunk.subarray(0, end));
    for (const bytes of this.#inserted.splice(0)) this.#options.write(bytes);
    this.#from = end;
    this.#isCut = false;
  }

  /** Steps over complete messages; returns where the rest begins that must be held. */
  #walk(chunk: Buffer, begin: number): number {
    let at = begin;
    while (chunk.length - at >= headerBytes) {
      const end = at + checkedSize(chunk, at, this.#options.limits);
      const mark = this.#marks[chunk[at] ?? 0];
      if (mark === watchedMark) {
        if (end > chunk.length) return this.#checkWatched(chunk, at, end);
        this.#tell(chunk, at, end);
      } else {
        if (mark === countedMark) this.#count += 1;
        if (end > chunk.length) {
          this.#skip = end - chunk.length;
          return chunk.length;
        }
      }
      at = end;
    }
    return at;
  }

  /** Goes on with a held message; returns where the next one begins in the chunk. */
  #resume(chunk: Buffer): number {
    let at = 0;
    if (this.#heldBytes < headerBytes) {
      at = Math.min(headerBytes - this.#heldBytes, chunk.length);
      this.#hold(chunk, 0, at);
      this.#from = at;
      if (this.#heldBytes < headerBytes) return at;
    }
    const size = checkedSize(this.#held, 0, this.#options.limits);
    const missing = size - this.#heldBytes;
    const mark = this.#marks[this.#held[0] ?? 0];
    if (mark !== watchedMark) {
      if (mark === countedMark) this.#count += 1;
      this.#options.write(this.#takeHeld());
      this.#isCut = true;
      const end = Math.min(at + missing, chunk.length);
      this.#skip = missing - (end - at);
      return end;
    }
    this.#checkWatched(this.#held, 0, size);
    const end = Math.min(at + missing, chunk.length);
    this.#hold(chunk, at, end);
    this.#from = end;
    if (this.#heldBytes === size) this.#tellHeld(end);
    return end;
  }

  #tell(bytes: Buffer, start: number, end: number): void {
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
    this.#inCallback = true;
    this.#options.onFrame(bytes[start] ?? 0, bytes, start, end);
    this.#inCallback = false;
    this.#bytes = noBytes;
  }

  /** A message joined from several chunks is a little chunk of its own. */
  #tellHeld(from: number): void {
    const whole = this.#takeHeld();
    this.#from = 0;
    this.#tell(whole, 0, whole.length);
    if (this.#from < whole.length) this.#options.write(whole);
    this.#from = from;
  }

  #flushTo(end: number): void {
    assert(this.#inCallback, 'a message is edited outside its callback');
    if (this.#from < end) this.#options.write(this.#bytes.subarray(this.#from, end));
    this.#from = Math.max(this.#from, end);
    this.#isCut = false;
  }

  #checkWatched(bytes: Buffer, at: number, end: number): number {
    if (end - at <= this.#options.watchedBytesMax) return at;
    throw new ProtocolError('too-large', `message type ${typeName(bytes[at] ?? 0)} of ${end - at} bytes is too large to be held`);
  }

  #hold(chunk: Buffer, start: number, end: number): void {
    const filled = this.#heldBytes;
    const needed = filled + end - start;
    if (needed > this.#held.length) {
      const grown = Buffer.allocUnsafe(Math.max(256, this.#held.length * 2, needed));
      this.#held.copy(grown, 0, 0, filled);
      this.#held = grown;
    }
    chunk.copy(this.#held, filled, start, end);
    this.#heldBytes = needed;
  }

  #takeHeld(): Buffer {
    const whole = this.#held.subarray(0, this.#heldBytes);
    this.#held = noBytes;
    this.#heldBytes = 0;
    return whole;
  }
}
