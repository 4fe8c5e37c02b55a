/**
 * Decodes what a server says, one function for each type, each given the body of a message. A server is trusted further
 * than a client, but its lengths and counts are held against the message just the same. Throws ProtocolError.
 * ErrorResponse and NoticeResponse are in diagnostic.ts.
 */
import type { AuthenticationRequest, TransactionStatus } from './backend-encode.ts';
import { statusBytes } from './backend-encode.ts';
import { MessageReader } from './message-reader.ts';
import { ProtocolError } from './protocol-error.ts';

/** The body is `bytes[at, end)`, here and for CommandComplete: both come with every statement. */
export function decodeReadyForQuery(bytes: Buffer, at = 0, end = bytes.length): TransactionStatus {
  if (end - at === 1) {
    const byte = bytes[at];
    if (byte === statusBytes.idle) return 'idle';
    if (byte === statusBytes['in-transaction']) return 'in-transaction';
    if (byte === statusBytes.failed) return 'failed';
  }
  throw new MessageReader(bytes, 'ReadyForQuery').malformed('an unknown transaction status');
}

export interface CommandTag {
  /** All words of the tag but its numbers: `INSERT`, `CREATE TABLE`. */
  readonly command: string;
  /** null when the tag names no number of rows. */
  readonly rows: number | null;
}

/** Splits a command tag. INSERT carries an OID (always 0 now) before its rows. */
export function decodeCommandTag(tag: string): CommandTag {
  const known = knownTags.get(tag);
  if (known !== undefined) return known;
  const numbers = / \d+$/.exec(tag);
  const read = numbers === null ? { command: tag, rows: null } : { command: tag.slice(0, numbers.index).replace(/ \d+$/, ''), rows: Number(numbers[0]) };
  if (knownTags.size < knownTagsMax) knownTags.set(tag, read);
  return read;
}

/** The first tags that came, which are the ones that come all the time: `SELECT 1`, `BEGIN`, `INSERT 0 1`. */
const knownTags = new Map<string, CommandTag>();
const knownTagsMax = 1_000;

export function decodeCommandComplete(bytes: Buffer, at = 0, end = bytes.length): CommandTag {
  const reader = new MessageReader(bytes, 'CommandComplete', at, end);
  const tag = reader.text();
  reader.end();
  return decodeCommandTag(tag);
}

/** Lenient in its text, because a server may report the client's own bytes (application_name) before they are checked. */
export function decodeParameterStatus(body: Buffer): { readonly name: string; readonly value: string } {
  const reader = new MessageReader(body, 'ParameterStatus');
  const name = reader.terminated().toString('utf8');
  const value = reader.terminated().toString('utf8');
  reader.end();
  return { name, value };
}

/** null: the function returned NULL. */
export function decodeFunctionCallResponse(body: Buffer): Buffer | null {
  const reader = new MessageReader(body, 'FunctionCallResponse');
  const value = reader.value();
  reader.end();
  return value;
}

export interface BackendKey {
  readonly processId: number;
  /** 4 bytes in protocol 3.0, 4 to 256 in 3.2. */
  readonly secretKey: Buffer;
}

const secretKeyBytesMax = 256;

/** The key is copied: it outlives the chunk that it came in. */
export function decodeBackendKeyData(body: Buffer): BackendKey {
  const reader = new MessageReader(body, 'BackendKeyData');
  const processId = reader.int32();
  const secretKey = Buffer.from(reader.rest());
  if (secretKey.length < 4 || secretKey.length > secretKeyBytesMax) throw reader.malformed('a key of unusual length');
  return { processId, secretKey };
}

export function decodeAuthentication(body: Buffer): AuthenticationRequest {
  const reader = new MessageReader(body, 'Authentication');
  const code = reader.int32();
  switch (code) {
    case 0: reader.end(); return { kind: 'ok' };
    case 3: reader.end(); return { kind: 'cleartext-password' };
    case 5: {
      const salt = reader.bytes(4);
      reader.end();
      return { kind: 'md5-password', salt };
    }
    case 10: return { kind: 'sasl', mechanisms: readMechanisms(reader) };
    case 11: return { kind: 'sasl-continue', data: reader.rest() };
    case 12: return { kind: 'sasl-final', data: reader.rest() };
    default: throw new ProtocolError('type', `authentication method ${code} is not supported`);
  }
}

function readMechanisms(reader: MessageReader): readonly string[] {
  const mechanisms: string[] = [];
  for (let mechanism = reader.text(); mechanism !== ''; mechanism = reader.text()) mechanisms.push(mechanism);
  reader.end();
  return mechanisms;
}

export interface ColumnDescription {
  readonly name: string;
  /** 0 when the column comes from no table. */
  readonly tableOid: number;
  readonly columnNumber: number;
  readonly typeOid: number;
  readonly typeSize: number;
  readonly typeModifier: number;
  readonly format: 'text' | 'binary';
}

const columnBytesMin = 19;

export function decodeRowDescription(body: Buffer): readonly ColumnDescription[] {
  const reader = new MessageReader(body, 'RowDescription');
  const columns = Array.from({ length: reader.count(columnBytesMin) }, () => ({
    name: reader.text(), tableOid: reader.uint32(), columnNumber: reader.int16(), typeOid: reader.uint32(),
    typeSize: reader.int16(), typeModifier: reader.int32(), format: reader.int16() === 1 ? 'binary' as const : 'text' as const,
  }));
  reader.end();
  return columns;
}

/** Views of the body; copy what must outlive it. */
export function decodeDataRow(body: Buffer): readonly (Buffer | null)[] {
  const reader = new MessageReader(body, 'DataRow');
  const values = Array.from({ length: reader.count(4) }, () => reader.value());
  reader.end();
  return values;
}

/** Parameter type OIDs of a described statement. */
export function decodeParameterDescription(body: Buffer): readonly number[] {
  const reader = new MessageReader(body, 'ParameterDescription');
  const types = Array.from({ length: reader.count(4) }, () => reader.uint32());
  reader.end();
  return types;
}

export function decodeNotificationResponse(body: Buffer): { readonly processId: number; readonly channel: string; readonly payload: string } {
  const reader = new MessageReader(body, 'NotificationResponse');
  const processId = reader.int32();
  const channel = reader.text();
  const payload = reader.text();
  reader.end();
  return { processId, channel, payload };
}
