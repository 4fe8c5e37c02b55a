/**
 * ImplicitTransaction: the transaction that extended messages begin by themselves and that their Sync ends. As long as
 * nothing but Parse, Describe and Close was sent in it, a Sync of our own may end it unnoticed: nothing of it lives on but
 * names. Once a statement was executed in it, only the client's own Sync may come: PostgreSQL 18 does not end it behind a
 * simple Query, says after the Sync that it is idle, and takes everything back at the next message (XX000).
 */
import type { TransactionStatus } from '../../lib/pgwire/backend-encode.ts';
import type { Statement } from '../../core/sql/statement.ts';
import type { TransactionEnd } from './fate.ts';
import type { Expected } from './replies.ts';

const withoutTrace: ReadonlySet<Expected['kind']> = new Set(['parse', 'describe', 'close', 'sync', 'own-call']);

export class ImplicitTransaction {
  #isInBlock = false;
  #isEmpty = true;
  #hasRun = false;
  #isRevived = false;

  /** Nothing is lost if it ends now. */
  get isEmpty(): boolean { return this.#isEmpty; }
  /** It holds what was executed. */
  get hasRun(): boolean { return this.#hasRun; }
  /** The transaction that had failed at the last ReadyForQuery is over, or taken back to a savepoint. */
  get isRevived(): boolean { return this.#isRevived; }

  sent(kind: Expected['kind']): void {
    if (!withoutTrace.has(kind)) this.#isEmpty = false;
  }

  /** An Execute has run, perhaps in a transaction block, perhaps beginning or ending one. */
  executed(statement: Statement | undefined, ended: TransactionEnd | undefined): void {
    if (ended !== undefined) this.#isInBlock = statement?.transaction?.chain === true;
    else if (statement?.transaction?.verb === 'begin') this.#isInBlock = true;
    this.#hasRun = ended === undefined && !this.#isInBlock;
    this.#isRevived ||= ended !== undefined || statement?.transaction?.verb === 'rollback-to';
  }

  /** ReadyForQuery. */
  ended(status: TransactionStatus): void {
    this.#isInBlock = status !== 'idle';
    this.#isEmpty = true;
    this.#hasRun = this.#isRevived = false;
  }
}
