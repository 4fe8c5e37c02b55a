/**
 * Errors quote values: where a constraint is violated PostgreSQL shows the whole row that failed, and so columns that the
 * statement never named (H89). Where the policy protects columns that detail is left out; the code, the message and the
 * name of the constraint stay, which is what programs look at.
 */
import type { EffectivePolicy } from '../../core/policy/policy.ts';
import { decodeDiagnostic } from '../../lib/pgwire/diagnostic.ts';
import { encodeErrorResponse } from '../../lib/pgwire/backend-encode.ts';

/** Integrity constraints, and the check option of a view. */
const quotesRows = /^(?:23|44)/;

/** The whole message in place of an error; undefined: the error itself. */
export function errorWithoutValues(body: Buffer, { protected: { columns } }: EffectivePolicy): Buffer | undefined {
  if (columns.length === 0) return undefined;
  const fields = decodeDiagnostic(body);
  if (!quotesRows.test(fields.code) || fields.detail === undefined) return undefined;
  return encodeErrorResponse({ ...fields, detail: 'Backstop leaves out the values of the row, because the policy protects columns.' });
}
