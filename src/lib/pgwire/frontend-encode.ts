/**
 * Encoders for what a client says to its server. Each returns one complete message; texts are UTF-8 and hold no NUL.
 * The start-up packets, which have no type byte, are here as well.
 */
import { assert } from '../assert.ts';
import type {
  BindMessage, CloseMessage, DescribeMessage, ExecuteMessage, FunctionCallMessage, ParseMessage, ValueFormat,
} from './frontend-decode.ts';
import { frontendType } from './message-type.ts';
import { MessageWriter } from './message-writer.ts';

const itemsMax = 0xffff;

export const encodeSync = (): Buffer => message(frontendType.sync, () => {}, 5);
export const encodeFlush = (): Buffer => message(frontendType.flush, () => {}, 5);
export const encodeTerminate = (): Buffer => message(frontendType.terminate, () => {}, 5);
export const encodeCopyDone = (): Buffer => message(frontendType.copyDone, () => {}, 5);

export function encodeQuery(sql: string): Buffer {
  return message(frontendType.query, (writer) => writer.text(sql));
}

export function encodeParse(parse: Omit<ParseMessage, 'kind'>): Buffer {
  return message(frontendType.parse, (writer) => {
    writer.text(parse.statement).text(parse.sql).uint16(checkedCount(parse.parameterTypes));
    for (const oid of parse.parameterTypes) writer.uint32(oid);
  });
}

export function encodeBind(bind: Omit<BindMessage, 'kind'>): Buffer {
  return message(frontendType.bind, (writer) => {
    writer.text(bind.portal).text(bind.statement);
    writeFormats(writer, bind.formats);
    writeValues(writer, bind.values);
    writeFormats(writer, bind.resultFormats);
  });
}

export function encodeDescribe(describe: Omit<DescribeMessage, 'kind'>): Buffer {
  return message(frontendType.describe, (writer) => writer.uint8(targetByte[describe.target]).text(describe.name));
}

export function encodeClose(close: Omit<CloseMessage, 'kind'>): Buffer {
  return message(frontendType.close, (writer) => writer.uint8(targetByte[close.target]).text(close.name));
}

export function encodeExecute(execute: Omit<ExecuteMessage, 'kind'>): Buffer {
  return message(frontendType.execute, (writer) => writer.text(execute.portal).int32(execute.rowsMax));
}

export function encodeFunctionCall(call: Omit<FunctionCallMessage, 'kind'>): Buffer {
  return message(frontendType.functionCall, (writer) => {
    writer.uint32(call.functionOid);
    writeFormats(writer, call.formats);
    writeValues(writer, call.values);
    writer.int16(formatCode[call.resultFormat]);
  });
}

export function encodeCopyData(data: Buffer): Buffer {
  return message(frontendType.copyData, (writer) => writer.bytes(data), data.length + 5);
}

export function encodeCopyFail(reason: string): Buffer {
  return message(frontendType.copyFail, (writer) => writer.text(reason));
}

export function encodePassword(password: string): Buffer {
  return message(frontendType.password, (writer) => writer.text(password));
}

export function encodeSaslInitialResponse(mechanism: string, data: Buffer | null): Buffer {
  return message(frontendType.password, (writer) => writer.text(mechanism).value(data));
}

export function encodeSaslResponse(data: Buffer): Buffer {
  return message(frontendType.password, (writer) => writer.bytes(data));
}

const requestCode = { cancel: 80_877_102, ssl: 80_877_103, gss: 80_877_104 } as const;

export const encodeSslRequest = (): Buffer => message(null, (writer) => writer.int32(requestCode.ssl), 8);
export const encodeGssRequest = (): Buffer => message(null, (writer) => writer.int32(requestCode.gss), 8);

export function encodeCancelRequest(processId: number, secretKey: Buffer): Buffer {
  return message(null, (writer) => writer.int32(requestCode.cancel).int32(processId).bytes(secretKey));
}

/** `minor` is the protocol's: 0 or 2 of version 3. */
export function encodeStartup(parameters: Iterable<readonly [name: string, value: string]>, minor = 0): Buffer {
  return message(null, (writer) => {
    writer.int32((3 << 16) | minor);
    for (const [name, value] of parameters) writer.text(name).text(value);
    writer.uint8(0);
  });
}

const targetByte = { statement: 0x53, portal: 0x50 } as const;
const formatCode = { text: 0, binary: 1 } as const;

function writeFormats(writer: MessageWriter, formats: readonly ValueFormat[]): void {
  writer.uint16(checkedCount(formats));
  for (const format of formats) writer.int16(formatCode[format]);
}

function writeValues(writer: MessageWriter, values: readonly (Buffer | null)[]): void {
  writer.uint16(checkedCount(values));
  for (const value of values) writer.value(value);
}

function checkedCount(items: readonly unknown[]): number {
  assert(items.length <= itemsMax, `a message holds at most ${itemsMax} of a thing`);
  return items.length;
}

function message(type: number | null, write: (writer: MessageWriter) => unknown, bytesExpected?: number): Buffer {
  const writer = new MessageWriter(bytesExpected).begin(type);
  write(writer);
  return writer.end().take();
}
