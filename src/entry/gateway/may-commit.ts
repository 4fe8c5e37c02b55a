/**
 * Whether something that the server still owes an answer for could commit: when the connection is lost, that decides
 * between an outcome that is known and one that is not.
 */
import type { TransactionStatus } from '../../lib/pgwire/backend-encode.ts';
import type { Expected } from './expected.ts';

/** `status`: before the first of them. */
export function mayCommit(expected: readonly Expected[], status: TransactionStatus): boolean {
  if (expected.some((one) => one.kind === 'own-query' && one.commits)) return true;
  const verbs = expected.flatMap((one) => ('unit' in one ? one.unit.statements.map(({ transaction }) => transaction?.verb) : []));
  // Whatever is said next to a failed transaction, it does not commit: a COMMIT rolls back. Only what comes after could.
  if (status === 'failed' && verbs.length <= 1) return false;
  if (status === 'idle' && expected.some(mayEnd)) return true;
  // What stands behind a ROLLBACK is a transaction of its own.
  return verbs.some((verb, at) => verb === 'commit' || verb === 'prepare' || (verb === 'rollback' && at < verbs.length - 1));
}

/** What is held to a ceiling stays uncommitted until someone has looked at it. */
function mayEnd(expected: Expected): boolean {
  switch (expected.kind) {
    case 'query': case 'execute': case 'function-call': return expected.held === undefined;
    case 'own-call': case 'own-query': case 'sync': return true;
    case 'parse': case 'bind': case 'close': case 'describe': case 'refusal': case 'own-batch': return false;
  }
}
