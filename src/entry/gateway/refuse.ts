/**
 * Refusals as PostgreSQL would show an error: severity, SQLSTATE, message, detail and hint, in one ErrorResponse. Also the
 * message of ours that makes the upstream session fail in the refused one's place: Execute of a portal that cannot exist,
 * which aborts the transaction, runs nothing, and is answered by one error that the client never sees.
 */
import { randomBytes } from 'node:crypto';
import type { Approval } from '../../core/approval.ts';
import { Failure } from '../../core/failure.ts';
import { impactSentence } from '../../core/impact.ts';
import { encodeErrorResponse, encodeNoticeResponse } from '../../lib/pgwire/backend-encode.ts';
import type { SyntaxError } from '../../lib/pgsql/parser.ts';
import type { DiagnosticFields } from '../../lib/pgwire/diagnostic.ts';
import { encodeExecute } from '../../lib/pgwire/frontend-encode.ts';
import { ProtocolError } from '../../lib/pgwire/protocol-error.ts';

/** Unguessable, so no client can have a portal of that name. */
const missingPortal = `backstop_refused_${randomBytes(12).toString('hex')}`;
export const failingExecute: Buffer = encodeExecute({ portal: missingPortal, rowsMax: 0 });

export function errorOf(failure: Failure, severity: 'ERROR' | 'FATAL' = 'ERROR'): Buffer {
  return encodeErrorResponse({
    severity, code: failure.sqlstate, message: failure.message, hint: failure.hint,
    ...(failure.detail === undefined ? {} : { detail: failure.detail }),
  });
}

/** Errors that PostgreSQL itself has, where Backstop answers in its place. */
export const ownErrors = {
  unknownStatement: (name: string): Buffer => plain('26000', name === '' ? 'unnamed prepared statement does not exist' : `prepared statement "${name}" does not exist`),
  unknownPortal: (name: string): Buffer => plain('34000', `portal "${name}" does not exist`),
  abortedTransaction: (): Buffer => plain('25P02', 'current transaction is aborted, commands ignored until end of transaction block'),
  cancelledHold: (): Buffer => plain('57014', 'canceling statement due to user request', 'An approval that was asked for stays: once it is given, the same statement runs when it is sent again.'),
  schemaMoved: (): Buffer => plain(
    '40001', 'Backstop: the schema changed while this statement was judged, so it did not run',
    'Send exactly the same statement again; it is judged by the schema as it is then.',
  ),
  revoked: (): Buffer => encodeErrorResponse({
    severity: 'FATAL', code: '57P01', message: 'Backstop ended this session: the agent was revoked or its token was replaced',
    hint: 'Ask an operator for a new token.',
  }),
  shutDown: (): Buffer => encodeErrorResponse({ severity: 'FATAL', code: '57P01', message: 'Backstop is shutting down', hint: 'Connect again later.' }),
  tooManyLogins: (most: number): Buffer => encodeErrorResponse({
    severity: 'FATAL', code: '53300', message: `Backstop is busy with ${most} logins`, hint: 'Connect again in a moment, or use a smaller pool.',
  }),
  certificateEnded: (): Buffer => encodeErrorResponse({
    severity: 'FATAL', code: '57P01', message: 'Backstop ended this session: its certificate has expired', hint: 'Connect with a new certificate.',
  }),
  stalled: (what: string, msMax: number): Buffer => encodeErrorResponse({
    severity: 'FATAL', code: '08006', message: `Backstop ended this session: ${what} for more than ${msMax} ms`, hint: 'Connect again, and keep reading and writing.',
  }),
  upstreamLost: (): Buffer => encodeErrorResponse({
    severity: 'FATAL', code: '08006', message: 'Backstop lost the connection to the database server',
    hint: 'Whether the last statement took effect is not known; look before you send it again.',
  }),
  encodingChanged: (): Buffer => plain(
    '0A000', 'Backstop refuses statements while client_encoding is not UTF8 or standard_conforming_strings is off',
    'RESET client_encoding; RESET standard_conforming_strings; (or ROLLBACK, if they were set in this transaction).',
  ),
} as const;

/** What is shown while a statement waits for a person. */
export function holdNotice(approval: Approval, waitMs: number): Buffer {
  return encodeNoticeResponse({
    severity: 'NOTICE', code: '00000',
    message: `Backstop holds this statement until a person approves it: ${approval.id}`,
    detail: `Waiting up to ${Math.round(waitMs / 1000)} seconds. ${approval.impact.kind === 'none' ? '' : `${impactSentence(approval.impact)} `}${approval.coverage === null ? '' : `${[approval.coverage.sentence, ...approval.coverage.lost].join(' ')} `}${approval.risk.level}: ${approval.risk.reasons.map(({ message }) => message).slice(0, 3).join(' ')}`,
    hint: `An operator answers with: backstop approvals approve ${approval.id}   (or: backstop approvals deny ${approval.id})`,
  });
}

/** A text that PostgreSQL's grammar refuses, in the words of PostgreSQL, which quote it. */
export class SyntaxRefusal extends Error {
  readonly fields: DiagnosticFields;

  constructor({ message, position }: SyntaxError) {
    super('syntax error');
    this.fields = { severity: 'ERROR', code: '42601', message, position: String(position) };
  }
}

/** The answer to a message that is refused for what it is. Throws what is no fault of the client's. */
export function refusalOf(error: unknown): Buffer {
  return error instanceof SyntaxRefusal ? encodeErrorResponse(error.fields) : errorOf(failureOf(error));
}

/** A malformed message of which the frames around are intact. */
function failureOf(error: unknown): Failure {
  if (error instanceof Failure) return error;
  if (error instanceof ProtocolError) {
    return new Failure(error.fault === 'not-utf8' ? 'statement_unreadable' : 'protocol_violation', `Backstop cannot read this message: ${error.message}`, { cause: error });
  }
  throw error;
}

/** Why no recovery point could be kept, as the client hears it. */
export interface RefusedCapture { readonly bytes: Buffer; readonly sqlstate: string }

/** Of what the server says only the SQLSTATE is told: its words are about statements of our own, and may quote data. Throws what is no failure of anything that was asked. */
export function refusedCapture(error: unknown): RefusedCapture {
  if (error instanceof Failure) return { bytes: errorOf(error), sqlstate: error.sqlstate };
  if (!(error instanceof Error) || !('code' in error && 'severity' in error) || typeof error.code !== 'string') throw error;
  const { code } = error;
  return { sqlstate: code, bytes: plain(code, `Backstop could not keep what would undo this statement (SQLSTATE ${code}), so nothing of it lasts`, captureHints[code] ?? 'Send it again; if it happens again, ask an operator.') };
}

const captureHints: Readonly<Record<string, string>> = {
  '42501': 'The role of Backstop has to own the tables and to be allowed to create temporary ones; an operator can see to that.',
  '55006': 'Close the cursors of this session that read the same tables, and send it again.',
  '25006': 'The transaction is read-only.',
};

function plain(code: string, message: string, hint?: string): Buffer {
  return encodeErrorResponse({ severity: 'ERROR', code, message, ...(hint === undefined ? {} : { hint }) });
}
