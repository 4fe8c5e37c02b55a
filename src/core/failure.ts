/**
 * Failure: an expected no that is not a verdict. One table gives each code its SQLSTATE, HTTP status, exit code and
 * hint, so psql, the API and the command line tell the same story. Messages never hold a SQL literal or a credential.
 */
interface FailureKind {
  readonly sqlstate: string;
  readonly httpStatus: number;
  readonly exitCode: number;
  /** What to do now; written for a person and for a language model. */
  readonly hint: string;
}

export const failureKinds = {
  usage: { sqlstate: '22023', httpStatus: 400, exitCode: 2, hint: 'Run the command with --help to see what it takes.' },
  config_invalid: { sqlstate: 'F0000', httpStatus: 500, exitCode: 2, hint: 'Correct the named place and start again.' },
  policy_invalid: { sqlstate: 'F0000', httpStatus: 422, exitCode: 2, hint: 'Correct the named line; `backstop --help` lists the shipped policies.' },
  port_in_use: { sqlstate: '58000', httpStatus: 500, exitCode: 3, hint: 'Stop what listens there, or choose another port.' },
  data_version: { sqlstate: '58000', httpStatus: 500, exitCode: 3, hint: 'Use the version that wrote the folder, or name another with --data.' },
  store_unavailable: { sqlstate: '58030', httpStatus: 503, exitCode: 4, hint: 'Check the disk and the permissions of the data folder.' },
  ledger_unavailable: { sqlstate: '58030', httpStatus: 503, exitCode: 4, hint: 'The record cannot be written, so nothing runs. An operator must restore it; then send the statement again.' },
  ledger_broken: { sqlstate: 'XX001', httpStatus: 500, exitCode: 5, hint: 'The record was changed after it was written. Keep the file, and compare it with a copy.' },
  bucket_unavailable: { sqlstate: '58030', httpStatus: 503, exitCode: 4, hint: 'What would undo this cannot be kept, so nothing that destroys runs. Check the storage of recovery points and its credentials.' },
  object_locked: { sqlstate: '55006', httpStatus: 423, exitCode: 8, hint: 'Nobody can remove it before its lock ends. Run the purge again then.' },
  recovery_point_broken: { sqlstate: 'XX001', httpStatus: 500, exitCode: 5, hint: 'The object was changed after it was verified. Keep it, and look for another copy.' },
  upstream_unavailable: { sqlstate: '08006', httpStatus: 502, exitCode: 4, hint: 'Check that the database server runs and that its address is right.' },
  upstream_unsupported: { sqlstate: '0A000', httpStatus: 502, exitCode: 4, hint: 'Backstop guards PostgreSQL 15 to 18.' },
  authentication_failed: { sqlstate: '28P01', httpStatus: 401, exitCode: 6, hint: 'Use the agent name as user and its token as password; an operator can issue one with `backstop agents add`.' },
  not_permitted: { sqlstate: '42501', httpStatus: 403, exitCode: 6, hint: 'This needs an operator token.' },
  not_found: { sqlstate: '02000', httpStatus: 404, exitCode: 7, hint: 'List what exists and use one of those names.' },
  conflict: { sqlstate: '55000', httpStatus: 409, exitCode: 8, hint: 'Look at its present state before you try again.' },
  schema_moved: { sqlstate: '40001', httpStatus: 409, exitCode: 8, hint: 'Roll back and run the whole transaction again; it is judged by the schema as it is then.' },
  rows_moved: { sqlstate: '40001', httpStatus: 409, exitCode: 8, hint: 'Send it again, in a transaction all of the transaction; it is captured anew.' },
  undefined_relation: { sqlstate: '42P01', httpStatus: 404, exitCode: 9, hint: 'Look the name up, for example in information_schema.tables, and mind the schema.' },
  undefined_function: { sqlstate: '42883', httpStatus: 404, exitCode: 9, hint: 'Look the name up, for example in pg_catalog.pg_proc, and mind the schema.' },
  statement_denied: { sqlstate: '42501', httpStatus: 403, exitCode: 9, hint: 'Do not retry the same statement. Choose a milder one, or ask an operator to run it.' },
  approval_pending: { sqlstate: '55000', httpStatus: 409, exitCode: 9, hint: 'Wait for an operator, then send exactly the same statement again.' },
  effect_exceeded: { sqlstate: '54000', httpStatus: 409, exitCode: 9, hint: 'All of it was rolled back. Send exactly the same statement again to have it counted and approved anew, or choose one that changes fewer rows.' },
  approval_denied: { sqlstate: '42501', httpStatus: 403, exitCode: 9, hint: 'A person said no. Do not retry; ask what to do instead.' },
  statement_unreadable: { sqlstate: '42601', httpStatus: 400, exitCode: 9, hint: 'Send one valid UTF-8 SQL text that the server could parse.' },
  protocol_violation: { sqlstate: '08P01', httpStatus: 400, exitCode: 9, hint: 'The client sent a message that the protocol does not allow here.' },
  cancelled: { sqlstate: '57014', httpStatus: 409, exitCode: 9, hint: 'It did not run. Send it again if it is still wanted.' },
  too_many_connections: { sqlstate: '53300', httpStatus: 429, exitCode: 9, hint: 'Close connections that are idle, or use a smaller pool.' },
  too_many_requests: { sqlstate: '53400', httpStatus: 429, exitCode: 9, hint: 'Wait until an operator has answered some of them.' },
  too_large: { sqlstate: '54000', httpStatus: 413, exitCode: 9, hint: 'Send it in smaller parts.' },
  feature_not_supported: { sqlstate: '0A000', httpStatus: 501, exitCode: 9, hint: 'See the documentation for what Backstop supports.' },
  internal: { sqlstate: 'XX000', httpStatus: 500, exitCode: 70, hint: 'This is a fault in Backstop; please report it with the log.' },
} as const satisfies Record<string, FailureKind>;

export type FailureCode = keyof typeof failureKinds;

export class Failure extends Error {
  readonly code: FailureCode;
  readonly detail: string | undefined;
  readonly hint: string;

  constructor(code: FailureCode, message: string, more: { detail?: string; hint?: string; cause?: unknown } = {}) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.name = 'Failure';
    this.code = code;
    this.detail = more.detail;
    this.hint = more.hint ?? failureKinds[code].hint;
  }

  get sqlstate(): string { return failureKinds[this.code].sqlstate; }
  get httpStatus(): number { return failureKinds[this.code].httpStatus; }
  get exitCode(): number { return failureKinds[this.code].exitCode; }
}
