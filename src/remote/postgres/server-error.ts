/**
 * ServerError: an ErrorResponse of the guarded server to something of our own. Its message may quote data, so it is for
 * decisions (by `code`, the SQLSTATE) and for the operator, never for an agent or a log.
 */
import { encodeErrorResponse } from '../../lib/pgwire/backend-encode.ts';
import { decodeDiagnostic, type DiagnosticFields, type Severity } from '../../lib/pgwire/diagnostic.ts';
import type { Frame } from '../../lib/pgwire/frame-reader.ts';
import { backendType } from '../../lib/pgwire/message-type.ts';

export class ServerError extends Error {
  /** SQLSTATE. */
  readonly code: string;
  readonly severity: Severity;

  constructor(fields: DiagnosticFields) {
    super(fields.message);
    this.name = 'ServerError';
    this.code = fields.code;
    this.severity = fields.severity;
  }
}

/** Why the server ends the connection: no answer to what was asked, so without what it says of our own text. */
export function farewellIn(frame: Frame): Buffer | undefined {
  if (frame.type !== backendType.errorResponse) return undefined;
  const { position: _position, internalPosition: _internal, internalQuery: _query, where: _where, ...fields } = decodeDiagnostic(frame.body);
  return fields.severity === 'FATAL' || fields.severity === 'PANIC' ? encodeErrorResponse(fields) : undefined;
}
