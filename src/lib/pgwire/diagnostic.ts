/**
 * DiagnosticFields: the fields of ErrorResponse and NoticeResponse by name (PostgreSQL documentation, "Error and Notice
 * Message Fields"). Severity is sent twice, as S (which a server may translate) and V (which it may not); reading
 * prefers V. Unknown letters are ignored when read, as the protocol asks.
 */
import { MessageReader } from './message-reader.ts';

export type Severity = 'ERROR' | 'FATAL' | 'PANIC' | 'WARNING' | 'NOTICE' | 'DEBUG' | 'INFO' | 'LOG';

export interface DiagnosticFields {
  readonly severity: Severity;
  /** SQLSTATE. */
  readonly code: string;
  readonly message: string;
  readonly detail?: string;
  readonly hint?: string;
  /** 1-based character in the statement. */
  readonly position?: string;
  readonly internalPosition?: string;
  readonly internalQuery?: string;
  readonly where?: string;
  readonly schema?: string;
  readonly table?: string;
  readonly column?: string;
  readonly dataType?: string;
  readonly constraint?: string;
  readonly file?: string;
  readonly line?: string;
  readonly routine?: string;
}

export const severityLetters = ['S', 'V'] as const;

/** In the order in which PostgreSQL sends them. */
export const diagnosticLetters: readonly (readonly [keyof DiagnosticFields, string])[] = [
  ['code', 'C'], ['message', 'M'], ['detail', 'D'], ['hint', 'H'], ['position', 'P'], ['internalPosition', 'p'],
  ['internalQuery', 'q'], ['where', 'W'], ['schema', 's'], ['table', 't'], ['column', 'c'], ['dataType', 'd'],
  ['constraint', 'n'], ['file', 'F'], ['line', 'L'], ['routine', 'R'],
];

const severities: readonly Severity[] = ['ERROR', 'FATAL', 'PANIC', 'WARNING', 'NOTICE', 'DEBUG', 'INFO', 'LOG'];

/**
 * Reads an ErrorResponse or NoticeResponse body. A server may leave fields out (PgBouncer sends errors without a
 * SQLSTATE in places), so what is missing gets a plain default. Text before authentication may be in any encoding and
 * is read leniently: it is shown, never judged.
 */
export function decodeDiagnostic(body: Buffer): DiagnosticFields {
  const reader = new MessageReader(body, 'ErrorResponse');
  const byLetter = new Map<string, string>();
  for (let letter = reader.uint8(); letter !== 0; letter = reader.uint8()) {
    byLetter.set(String.fromCharCode(letter), reader.terminated().toString('utf8'));
  }
  reader.end();
  const known = diagnosticLetters.flatMap(([name, letter]) => {
    const value = byLetter.get(letter);
    return value === undefined ? [] : [[name, value] as const];
  });
  const spoken = byLetter.get('V') ?? byLetter.get('S');
  return {
    code: 'XX000', message: 'no message', ...Object.fromEntries(known),
    severity: severities.find((severity) => severity === spoken) ?? 'ERROR',
  };
}
