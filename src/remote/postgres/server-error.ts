/**
 * ServerError: an ErrorResponse of the guarded server to something of our own. Its message may quote data, so it is for
 * decisions (by `code`, the SQLSTATE) and for the operator, never for an agent or a log.
 */
import type { DiagnosticFields, Severity } from '../../lib/pgwire/diagnostic.ts';

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
