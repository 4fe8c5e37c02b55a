/**
 * Decodes what a client says, strictly: exactly the fields that the type prescribes and nothing after them, valid UTF-8,
 * counts and lengths held against the message, so that what is read here is what the server will read. Throws a
 * ProtocolError that is not fatal, because the frames around a malformed message are intact.
 */
import { headerBytes, type Frame } from './frame-reader.ts';
import { frontendType, typeName } from './message-type.ts';
import { MessageReader } from './message-reader.ts';
import { ProtocolError } from './protocol-error.ts';

export type ValueFormat = 'text' | 'binary';
export type NamedTarget = 'statement' | 'portal';

export interface QueryMessage { readonly kind: 'query'; readonly sql: string }

export interface ParseMessage {
  readonly kind: 'parse';
  /** '' is the unnamed statement. */
  readonly statement: string;
  readonly sql: string;
  /** OIDs; 0 leaves the type to the server. May be fewer than the parameters. */
  readonly parameterTypes: readonly number[];
}

export interface BindMessage {
  readonly kind: 'bind';
  readonly portal: string;
  readonly statement: string;
  /** None (all text), one for all, or one for each value. */
  readonly formats: readonly ValueFormat[];
  readonly values: readonly (Buffer | null)[];
  readonly resultFormats: readonly ValueFormat[];
}

export interface DescribeMessage { readonly kind: 'describe'; readonly target: NamedTarget; readonly name: string }
export interface CloseMessage { readonly kind: 'close'; readonly target: NamedTarget; readonly name: string }

export interface ExecuteMessage {
  readonly kind: 'execute';
  readonly portal: string;
  /** 0: all rows. PostgreSQL takes a negative number for all rows as well, and so it is 0 here. */
  readonly rowsMax: number;
}

export interface FunctionCallMessage {
  readonly kind: 'function-call';
  readonly functionOid: number;
  readonly formats: readonly ValueFormat[];
  readonly values: readonly (Buffer | null)[];
  readonly resultFormat: ValueFormat;
}

export type FrontendMessage =
  | QueryMessage | ParseMessage | BindMessage | DescribeMessage | ExecuteMessage | CloseMessage | FunctionCallMessage
  | { readonly kind: 'sync' }
  | { readonly kind: 'flush' }
  | { readonly kind: 'terminate' }
  | { readonly kind: 'copy-data'; readonly data: Buffer }
  | { readonly kind: 'copy-done' }
  | { readonly kind: 'copy-fail'; readonly reason: string };

/** Everything but the answers to an authentication request, whose meaning depends on what was asked. */
export function decodeFrontend(frame: Frame): FrontendMessage {
  switch (frame.type) {
    case frontendType.query: return decodeQuery(frame);
    case frontendType.parse: return decodeParse(frame);
    case frontendType.bind: return decodeBind(frame);
    case frontendType.describe: return decodeTarget(frame, 'describe');
    case frontendType.close: return decodeTarget(frame, 'close');
    case frontendType.execute: return decodeExecute(frame);
    case frontendType.functionCall: return decodeFunctionCall(frame);
    case frontendType.copyData: return { kind: 'copy-data', data: frame.body };
    case frontendType.copyFail: return decodeCopyFail(frame);
    case frontendType.sync: return decodeBare(frame, 'sync');
    case frontendType.flush: return decodeBare(frame, 'flush');
    case frontendType.copyDone: return decodeBare(frame, 'copy-done');
    case frontendType.terminate: return decodeBare(frame, 'terminate');
    default: throw new ProtocolError('type', `message type ${typeName(frame.type)} is not allowed here`);
  }
}

export interface SaslInitialResponse {
  readonly mechanism: string;
  /** null: the client left its first message out. */
  readonly data: Buffer | null;
}

/** The first answer to a SASL request. Later ones are the body as it is. */
export function decodeSaslInitialResponse(body: Buffer): SaslInitialResponse {
  const reader = new MessageReader(body, 'SASLInitialResponse');
  const mechanism = reader.text();
  const data = reader.value();
  reader.end();
  return { mechanism, data };
}

function readerOf({ bytes, start, end }: Frame, what: string): MessageReader {
  return new MessageReader(bytes, what, start + headerBytes, end);
}

function decodeQuery(frame: Frame): QueryMessage {
  const reader = readerOf(frame, 'Query');
  const sql = reader.text();
  // A parser that stops at the first NUL would judge less than what the message holds.
  reader.end();
  return { kind: 'query', sql };
}

function decodeParse(frame: Frame): ParseMessage {
  const reader = readerOf(frame, 'Parse');
  const statement = reader.name();
  const sql = reader.text();
  const count = reader.count(4);
  const parameterTypes: number[] = [];
  for (let index = 0; index < count; index += 1) parameterTypes.push(reader.uint32());
  reader.end();
  return { kind: 'parse', statement, sql, parameterTypes };
}

function decodeBind(frame: Frame): BindMessage {
  const reader = readerOf(frame, 'Bind');
  const portal = reader.name();
  const statement = reader.name();
  const formats = readFormats(reader);
  const values = readValues(reader);
  checkFormats(reader, formats, values);
  const resultFormats = readFormats(reader);
  reader.end();
  return { kind: 'bind', portal, statement, formats, values, resultFormats };
}

function decodeExecute(frame: Frame): ExecuteMessage {
  const reader = readerOf(frame, 'Execute');
  const portal = reader.name();
  const rowsMax = Math.max(0, reader.int32());
  reader.end();
  return { kind: 'execute', portal, rowsMax };
}

function decodeFunctionCall(frame: Frame): FunctionCallMessage {
  const reader = readerOf(frame, 'FunctionCall');
  const functionOid = reader.uint32();
  const formats = readFormats(reader);
  const values = readValues(reader);
  checkFormats(reader, formats, values);
  const resultFormat = readFormat(reader);
  reader.end();
  return { kind: 'function-call', functionOid, formats, values, resultFormat };
}

function decodeCopyFail(frame: Frame): FrontendMessage {
  const reader = readerOf(frame, 'CopyFail');
  const reason = reader.text();
  reader.end();
  return { kind: 'copy-fail', reason };
}

function decodeTarget<K extends 'describe' | 'close'>(frame: Frame, kind: K): { readonly kind: K; readonly target: NamedTarget; readonly name: string } {
  const reader = readerOf(frame, kind === 'describe' ? 'Describe' : 'Close');
  const letter = reader.uint8();
  const target = letter === 0x53 ? 'statement' : letter === 0x50 ? 'portal' : undefined;
  if (target === undefined) throw reader.malformed('a target that is neither a statement nor a portal');
  const name = reader.name();
  reader.end();
  return { kind, target, name };
}

function decodeBare<K extends 'sync' | 'flush' | 'copy-done' | 'terminate'>(frame: Frame, kind: K): { readonly kind: K } {
  readerOf(frame, kind).end();
  return { kind };
}

const none: readonly never[] = [];

function readFormats(reader: MessageReader): readonly ValueFormat[] {
  const count = reader.count(2);
  if (count === 0) return none;
  const formats: ValueFormat[] = [];
  for (let index = 0; index < count; index += 1) formats.push(readFormat(reader));
  return formats;
}

function readFormat(reader: MessageReader): ValueFormat {
  const code = reader.int16();
  if (code !== 0 && code !== 1) throw reader.malformed('a format code that is neither text nor binary');
  return code === 0 ? 'text' : 'binary';
}

function readValues(reader: MessageReader): readonly (Buffer | null)[] {
  const count = reader.count(4);
  const values: (Buffer | null)[] = [];
  for (let index = 0; index < count; index += 1) values.push(reader.value());
  return values;
}

function checkFormats(reader: MessageReader, formats: readonly ValueFormat[], values: readonly unknown[]): void {
  if (formats.length > 1 && formats.length !== values.length) throw reader.malformed('as many formats as fit no value count');
}
