/**
 * ImplicitTransaction: the transaction that extended messages begin by themselves and that their Sync ends. As long as
 * nothing but Parse, Describe and Close was sent in it, a Sync of our own may end it unnoticed: nothing of it lives on but
 * names. Once a statement was executed in it, only the client's own Sync may come: PostgreSQL 18 does not end it behind a
 * simple Query, says after the Sync that it is idle, and takes everything back at the next message (XX000).
 */
import type { TransactionStatus } from '../../lib/pgwire/backend-encode.ts';
import type { Statement } from '../../core/sql/statement.ts';
import type { Expected } from './expected.ts';

const withoutTrace: ReadonlySet<Expected['kind']> = new Set(['parse', 'describe', 'close', 'sync', 'own-call']);

export class ImplicitTransaction {
  #isEmpty = true;
  #hasRun = false;

  /** Nothing is lost if it ends now. */
  get isEmpty(): boolean { return this.#isEmpty; }
  /** It holds what was executed. */
  get hasRun(): boolean { return this.#hasRun; }

  sent(kind: Expected['kind']): void {
    if (!withoutTrace.has(kind)) this.#isEmpty = false;
  }

  /** An Execute has run; `status` is that of the session behind it. */
  executed(statement: Statement | undefined, status: TransactionStatus): void {
    this.#hasRun = status === 'idle' && statement?.transaction === undefined;
  }

  /** ReadyForQuery. */
  ended(): void {
    this.#isEmpty = true;
    this.#hasRun = false;
  }
}
