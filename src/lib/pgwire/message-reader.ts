/**
 * MessageReader: reads the fields of one message body in order. Every read is checked against what is left, text is
 * strict UTF-8, and `end()` refuses trailing bytes. Slices are views of the body; nothing is copied. Throws ProtocolError.
 */
import { isUtf8 } from 'node:buffer';
import { ProtocolError } from './protocol-error.ts';

const shortTextMax = 64;
/** NAMEDATALEN: names are shorter than this. */
const nameBytesEnd = 64;
/** A server in another encoding keeps a character in at most twice the bytes that it takes in UTF-8. */
const foreignNameBytesEnd = nameBytesEnd / 2;

export class MessageReader {
  readonly #body: Buffer;
  readonly #what: string;
  readonly #end: number;
  #at: number;

  /** The body is `bytes[at, end)`. */
  constructor(bytes: Buffer, what: string, at = 0, end = bytes.length) {
    this.#body = bytes;
    this.#what = what;
    this.#at = at;
    this.#end = end;
  }

  get bytesLeft(): number { return this.#end - this.#at; }

  uint8(): number { return this.#body.readUInt8(this.#take(1)); }
  int16(): number { return this.#body.readInt16BE(this.#take(2)); }
  uint16(): number { return this.#body.readUInt16BE(this.#take(2)); }
  int32(): number { return this.#body.readInt32BE(this.#take(4)); }
  uint32(): number { return this.#body.readUInt32BE(this.#take(4)); }

  bytes(length: number): Buffer {
    const start = this.#take(length);
    return this.#body.subarray(start, start + length);
  }

  rest(): Buffer { return this.bytes(this.bytesLeft); }

  /** The bytes up to the next NUL, which is consumed and not returned. */
  terminated(): Buffer {
    const end = this.#body.indexOf(0, this.#at);
    if (end < 0 || end >= this.#end) throw this.malformed('text without its terminating NUL');
    const bytes = this.#body.subarray(this.#at, end);
    this.#at = end + 1;
    return bytes;
  }

  text(): string { return this.#shortText() ?? strictText(this.terminated(), this.#what); }

  /**
   * The name of a statement or portal as the server will know it: it looks at no more than the first bytes of a longer one,
   * so that two names can be the same. Where the cut would fall in a name that is not ASCII depends on its encoding.
   */
  name(): string {
    const name = this.text();
    const bytes = Buffer.byteLength(name);
    if (bytes === name.length) return name.slice(0, nameBytesEnd - 1);
    if (bytes >= foreignNameBytesEnd) throw this.malformed('a name that is too long for what is not ASCII');
    return name;
  }

  /** Names are nearly always a few letters, for which looking at each is faster than asking for the search, the view and the check. */
  #shortText(): string | undefined {
    const body = this.#body;
    const start = this.#at;
    const last = Math.min(start + shortTextMax, this.#end);
    for (let at = start; at < last; at += 1) {
      const byte = body[at] ?? 0;
      if (byte > 0x7f) return undefined;
      if (byte !== 0) continue;
      this.#at = at + 1;
      return at === start ? '' : body.toString('latin1', start, at);
    }
    return undefined;
  }

  /** A count of things that take at least `bytesEach`: refused before anything is made for it when they cannot be there. */
  count(bytesEach: number): number {
    const count = this.uint16();
    if (count * bytesEach > this.bytesLeft) throw this.malformed('a count larger than its message');
    return count;
  }

  /** A value behind its length; -1 is NULL, any other negative length is refused. */
  value(): Buffer | null {
    const length = this.int32();
    if (length === -1) return null;
    if (length < 0) throw this.malformed('a negative value length');
    return this.bytes(length);
  }

  end(): void {
    if (this.bytesLeft !== 0) throw this.malformed('bytes after its end');
  }

  malformed(flaw: string): ProtocolError {
    return new ProtocolError('malformed', `${this.#what} message with ${flaw}`);
  }

  #take(length: number): number {
    // A negative length would walk backwards.
    if (length < 0 || length > this.bytesLeft) throw this.malformed('fewer bytes than it announces');
    const start = this.#at;
    this.#at += length;
    return start;
  }
}

/**
 * Decodes or refuses. Lenient decoding would replace bytes, and the text that is judged would not be the bytes that
 * run; TextDecoder is avoided because it drops a leading byte order mark.
 */
function strictText(bytes: Buffer, what: string): string {
  if (!isUtf8(bytes)) throw new ProtocolError('not-utf8', `${what} message with text that is not valid UTF-8`);
  return bytes.toString('utf8');
}
