/**
 * StartupReader: the packets before the first tagged message, which have a length but no type. A pure state machine: it
 * is given chunks, returns one packet at a time, and the caller answers. It refuses a length outside PostgreSQL's bounds
 * before buffering, anything sent together with a request for encryption (those bytes would otherwise be taken for
 * encrypted ones), and a request made twice.
 *
 * A connection: [gss-request → N] [ssl-request → S, then a new stream, or N] then startup or cancel.
 */
import { ProtocolError } from './protocol-error.ts';
import { MessageReader } from './message-reader.ts';

export interface StartupMessage {
  readonly kind: 'startup';
  /** Minor version asked for, of protocol 3. */
  readonly minorAsked: number;
  /** What is spoken from here on: the lower of what was asked for and what is known. */
  readonly minor: number;
  /** True when NegotiateProtocolVersion must be sent, before the authentication request. */
  readonly mustNegotiate: boolean;
  /** `_pq_.` options, none of which is known here. */
  readonly unknownOptions: readonly string[];
  /** All others by name, e.g. `user`, `database`, `options`, `replication`, `application_name`. */
  readonly parameters: ReadonlyMap<string, string>;
}

export type StartupPacket =
  | StartupMessage
  | { readonly kind: 'ssl-request' }
  | { readonly kind: 'gss-request' }
  /** A TLS handshake without the request before it (sslnegotiation=direct); its bytes are in takeRest(). */
  | { readonly kind: 'direct-tls' }
  | { readonly kind: 'cancel'; readonly processId: number; readonly secretKey: Buffer };

/** MAX_STARTUP_PACKET_LENGTH in PostgreSQL. */
export const startupLengthMax = 10_000;
export const protocolMinorMax = 2;
const startupLengthMin = 8;
const secretKeyBytesMax = 256;
const parametersMax = 100;
const optionPrefix = '_pq_.';
const tlsHandshakeByte = 0x16;
const requestCode = { cancel: 80_877_102, ssl: 80_877_103, gss: 80_877_104 } as const;

export class StartupReader {
  #buffer: Buffer = Buffer.alloc(0);
  #isEncrypted: boolean;
  #sslAsked = false;
  #gssAsked = false;
  #isDone = false;

  constructor(options: { readonly isEncrypted: boolean } = { isEncrypted: false }) {
    this.#isEncrypted = options.isEncrypted;
  }

  /** A packet once it is complete; undefined until then. Throws a fatal ProtocolError. */
  push(chunk: Buffer): StartupPacket | undefined {
    if (this.#isDone) throw new ProtocolError('out-of-order', 'the start-up is already over');
    // Chunks are few and at most 10,000 bytes are kept, so joining them is cheap.
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
    if (this.#buffer[0] === tlsHandshakeByte) return this.#directTls();
    if (this.#buffer.length < 4) return undefined;
    const length = checkedLength(this.#buffer.readUInt32BE(0));
    if (this.#buffer.length < length) return undefined;
    const packet = this.#read(this.#buffer.subarray(4, length));
    this.#buffer = this.#buffer.subarray(length);
    return packet;
  }

  /** What came after the start-up message, for the reader of tagged messages or for TLS. */
  takeRest(): Buffer {
    const rest = this.#buffer;
    this.#buffer = Buffer.alloc(0);
    return rest;
  }

  /** The TLS handshake is over; what is pushed from now on is plaintext from inside it. */
  encrypted(): void {
    this.#isEncrypted = true;
    this.#isDone = false;
  }

  #read(body: Buffer): StartupPacket {
    const code = body.readUInt32BE(0);
    const isAlone = this.#buffer.length === body.length + 4;
    switch (code) {
      case requestCode.ssl: return this.#sslRequest(body, isAlone);
      case requestCode.gss: return this.#gssRequest(body, isAlone);
      case requestCode.cancel: return this.#cancelRequest(body, isAlone);
      default: return this.#startup(body, code);
    }
  }

  #sslRequest(body: Buffer, isAlone: boolean): StartupPacket {
    checkRequest(body, isAlone, this.#sslAsked || this.#isEncrypted);
    this.#sslAsked = true;
    return { kind: 'ssl-request' };
  }

  #gssRequest(body: Buffer, isAlone: boolean): StartupPacket {
    checkRequest(body, isAlone, this.#gssAsked || this.#isEncrypted);
    this.#gssAsked = true;
    return { kind: 'gss-request' };
  }

  #directTls(): StartupPacket {
    if (this.#isEncrypted || this.#sslAsked || this.#gssAsked) {
      throw new ProtocolError('out-of-order', 'a TLS handshake where none was agreed');
    }
    this.#isDone = true;
    return { kind: 'direct-tls' };
  }

  #cancelRequest(body: Buffer, isAlone: boolean): StartupPacket {
    const reader = new MessageReader(body, 'CancelRequest', 4);
    if (!isAlone || reader.bytesLeft < 8 || reader.bytesLeft > 4 + secretKeyBytesMax) throw fatal('a cancel request of unusual length');
    this.#isDone = true;
    return { kind: 'cancel', processId: reader.int32(), secretKey: Buffer.from(reader.rest()) };
  }

  #startup(body: Buffer, code: number): StartupMessage {
    const major = code >>> 16;
    const minorAsked = code & 0xffff;
    if (major !== 3) throw new ProtocolError('version', `protocol ${major}.${minorAsked} is not spoken here; 3.0 to 3.${protocolMinorMax} are`);
    const all = readParameters(body);
    const unknownOptions = [...all.keys()].filter((name) => name.startsWith(optionPrefix));
    this.#isDone = true;
    return {
      kind: 'startup', minorAsked, minor: Math.min(minorAsked, protocolMinorMax),
      mustNegotiate: minorAsked > protocolMinorMax || unknownOptions.length > 0, unknownOptions,
      parameters: new Map([...all].filter(([name]) => !name.startsWith(optionPrefix))),
    };
  }
}

function checkedLength(length: number): number {
  if (length < startupLengthMin) throw new ProtocolError('length', `a start-up packet of ${length} bytes`);
  if (length > startupLengthMax) throw new ProtocolError('too-large', `a start-up packet of ${length} bytes, at most ${startupLengthMax} are allowed`);
  return length;
}

function checkRequest(body: Buffer, isAlone: boolean, isRepeated: boolean): void {
  if (body.length !== 4) throw fatal('a request for encryption of unusual length');
  if (isRepeated) throw new ProtocolError('out-of-order', 'encryption is asked for again');
  if (!isAlone) throw new ProtocolError('out-of-order', 'data was sent before the request for encryption was answered');
}

/** Name and value in turn; an empty name ends the list and must be the last byte. */
function readParameters(body: Buffer): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  try {
    const reader = new MessageReader(body, 'Startup', 4);
    for (let name = reader.text(); name !== ''; name = reader.text()) {
      if (parameters.has(name)) throw reader.malformed('a parameter given twice');
      if (parameters.size === parametersMax) throw reader.malformed(`more than ${parametersMax} parameters`);
      parameters.set(name, reader.text());
    }
    reader.end();
  } catch (error) {
    // Whoever fails here has no session that could go on.
    throw error instanceof ProtocolError ? new ProtocolError(error.fault, error.message, { isFatal: true }) : error;
  }
  return parameters;
}

function fatal(flaw: string): ProtocolError {
  return new ProtocolError('malformed', flaw, { isFatal: true });
}
