/**
 * Encoders for what a server says to its client. Each returns one complete message, ready to write; texts are UTF-8.
 * Error and notice texts may come from anywhere, so a NUL in them is replaced instead of cutting the message short.
 */
import { backendType } from './message-type.ts';
import { MessageWriter } from './message-writer.ts';
import type { DiagnosticFields } from './diagnostic.ts';
import { diagnosticLetters, severityLetters } from './diagnostic.ts';

export type TransactionStatus = 'idle' | 'in-transaction' | 'failed';

export type AuthenticationRequest =
  | { readonly kind: 'ok' }
  | { readonly kind: 'cleartext-password' }
  | { readonly kind: 'md5-password'; readonly salt: Buffer }
  | { readonly kind: 'sasl'; readonly mechanisms: readonly string[] }
  | { readonly kind: 'sasl-continue'; readonly data: Buffer }
  | { readonly kind: 'sasl-final'; readonly data: Buffer };

export const statusBytes: Readonly<Record<TransactionStatus, number>> = { idle: 0x49, 'in-transaction': 0x54, failed: 0x45 };

/** Answers to SSLRequest and GSSENCRequest: one byte, no message. */
export const acceptByte = Buffer.from('S');
export const refuseByte = Buffer.from('N');

export const encodeBindComplete = (): Buffer => empty(backendType.bindComplete);
export const encodeParseComplete = (): Buffer => empty(backendType.parseComplete);

export function encodeErrorResponse(fields: DiagnosticFields): Buffer {
  return encodeDiagnostic(backendType.errorResponse, fields);
}

export function encodeNoticeResponse(fields: DiagnosticFields): Buffer {
  return encodeDiagnostic(backendType.noticeResponse, fields);
}

export function encodeReadyForQuery(status: TransactionStatus): Buffer {
  return message(backendType.readyForQuery, (writer) => writer.uint8(statusBytes[status]));
}

export function encodeCommandComplete(tag: string): Buffer {
  return message(backendType.commandComplete, (writer) => writer.text(tag));
}

export function encodeParameterStatus(name: string, value: string): Buffer {
  return message(backendType.parameterStatus, (writer) => writer.text(name).text(value));
}

/** Protocol 3.0 clients take exactly four bytes of key, 3.2 clients up to 256. */
export function encodeBackendKeyData(processId: number, secretKey: Buffer): Buffer {
  return message(backendType.backendKeyData, (writer) => writer.int32(processId).bytes(secretKey));
}

/** The newest minor version of protocol 3 that is spoken here, and the `_pq_.` options that are not known here. */
export function encodeNegotiateProtocolVersion(minorMax: number, unknownOptions: readonly string[]): Buffer {
  return message(backendType.negotiateProtocolVersion, (writer) => {
    writer.int32((3 << 16) | minorMax).int32(unknownOptions.length);
    for (const option of unknownOptions) writer.text(option);
  });
}

export function encodeAuthentication(request: AuthenticationRequest): Buffer {
  return message(backendType.authentication, (writer) => {
    switch (request.kind) {
      case 'ok': writer.int32(0); break;
      case 'cleartext-password': writer.int32(3); break;
      case 'md5-password': writer.int32(5).bytes(request.salt); break;
      case 'sasl':
        writer.int32(10);
        for (const mechanism of request.mechanisms) writer.text(mechanism);
        writer.uint8(0);
        break;
      case 'sasl-continue': writer.int32(11).bytes(request.data); break;
      case 'sasl-final': writer.int32(12).bytes(request.data); break;
    }
  });
}

export interface TextColumn {
  readonly name: string;
  /** Type OID; `text` (25) unless told. */
  readonly typeOid?: number;
}

const textOid = 25;

/** Columns that belong to no table, in text format. */
export function encodeRowDescription(columns: readonly TextColumn[]): Buffer {
  return message(backendType.rowDescription, (writer) => {
    writer.uint16(columns.length);
    for (const column of columns) {
      writer.text(column.name).uint32(0).int16(0).uint32(column.typeOid ?? textOid).int16(-1).int32(-1).int16(0);
    }
  });
}

export function encodeDataRow(values: readonly (string | null)[]): Buffer {
  return message(backendType.dataRow, (writer) => {
    writer.uint16(values.length);
    for (const value of values) writer.value(value === null ? null : Buffer.from(value));
  });
}

export function encodeNotificationResponse(processId: number, channel: string, payload: string): Buffer {
  return message(backendType.notificationResponse, (writer) => writer.int32(processId).text(channel).text(payload));
}

function encodeDiagnostic(type: number, fields: DiagnosticFields): Buffer {
  return message(type, (writer) => {
    for (const letter of severityLetters) writer.uint8(letter.charCodeAt(0)).text(withoutNul(fields.severity));
    for (const [name, letter] of diagnosticLetters) {
      const value = fields[name];
      if (value !== undefined && name !== 'severity') writer.uint8(letter.charCodeAt(0)).text(withoutNul(value));
    }
    writer.uint8(0);
  });
}

function withoutNul(text: string): string {
  return text.replaceAll('\0', '\u{FFFD}');
}

function empty(type: number): Buffer {
  return message(type, () => {}, 5);
}

function message(type: number, write: (writer: MessageWriter) => unknown, bytesExpected?: number): Buffer {
  const writer = new MessageWriter(bytesExpected).begin(type);
  write(writer);
  return writer.end().take();
}
