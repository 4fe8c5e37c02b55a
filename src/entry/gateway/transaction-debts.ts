/**
 * TransactionDebts: what the open transaction of a session owes before it may commit. A statement that a rollback undoes
 * whole is sent while its verdict is still on its way to the disk, judged by a catalog of a moment ago. Its transaction
 * pays before anything that could commit it is sent: every such verdict is on record, and a comparison that began after
 * the statements were answered finds the catalog that they were judged by. What failed once stays failed until the
 * transaction is over, so that no ROLLBACK TO lets it commit after all.
 */
import { Failure } from '../../core/failure.ts';
import type { Statement } from '../../core/sql/statement.ts';
import type { Replies } from './replies.ts';

/** The transaction block that the next message surely meets: only then does nothing but a command end it, no Sync and no Query. */
export type Block = 'open' | 'failed' | 'none-sure';

export function blockOf({ status, isSettled, isUnsynced }: Pick<Replies, 'status' | 'isSettled' | 'isUnsynced'>): Block {
  if (status === 'idle' || !isSettled || isUnsynced) return 'none-sure';
  return status === 'failed' ? 'failed' : 'open';
}

interface Owed {
  /** Verdicts that are not on record yet. */
  readonly unrecorded: Set<Promise<void>>;
  /** Catalogs that statements were judged by and that were not compared since. */
  readonly catalogVersions: Set<string>;
  /** Why the transaction may never commit. */
  failure: Failure | undefined;
}

export class TransactionDebts {
  #owed = nothingOwed();
  #block: Block = 'none-sure';
  /** Of the batch that is being judged, so not sent yet. */
  #hasUnsent = false;

  /** The next batch is about to be judged; `block` is what its first message meets. */
  begin(block: Block): void {
    this.#block = block;
    this.#hasUnsent = false;
  }

  /** Something is let through that may end the block, so what comes behind it in its batch may run outside of any. */
  mayLeaveBlock(): void { this.#block = 'none-sure'; }

  /** Whether the next statement surely runs in the block, and the block may still commit. */
  get mayIncur(): boolean { return this.#block === 'open' && this.#owed.failure === undefined; }

  /** A COMMIT that came now would surely be a ROLLBACK. */
  get isSurelyFailed(): boolean { return this.#block === 'failed'; }

  get isOwing(): boolean {
    const { unrecorded, catalogVersions, failure } = this.#owed;
    return unrecorded.size > 0 || catalogVersions.size > 0 || failure !== undefined;
  }

  incur(recorded: Promise<void>, catalogVersion: string): void {
    const owed = this.#owed;
    this.#hasUnsent = true;
    owed.catalogVersions.add(catalogVersion);
    owed.unrecorded.add(recorded);
    recorded.then(() => { owed.unrecorded.delete(recorded); }, (error: unknown) => { owed.failure ??= asFailure(error); });
  }

  /** `compare` gives the version of the catalog as compared after its call. Throws Failure where the transaction may not commit. */
  async pay(compare: () => Promise<string>): Promise<void> {
    const owed = this.#owed;
    if (owed.failure !== undefined) throw owed.failure;
    const recorded = Promise.all(owed.unrecorded);
    // Little time is to lie between the comparison and what is sent after it; what was answered can be compared meanwhile.
    if (this.#hasUnsent) await recorded;
    const [version] = await Promise.all([compare(), recorded]);
    if ([...owed.catalogVersions].some((judgedBy) => judgedBy !== version)) throw owed.failure ??= moved();
    owed.catalogVersions.clear();
  }

  /** The server is in no transaction any more. */
  transactionEnded(): void {
    if (this.isOwing) this.#owed = nothingOwed();
  }
}

function nothingOwed(): Owed {
  return { unrecorded: new Set(), catalogVersions: new Set(), failure: undefined };
}

function moved(): Failure {
  return new Failure('schema_moved', 'Backstop: the schema changed while this transaction ran, so it does not commit');
}

function asFailure(error: unknown): Failure {
  return error instanceof Failure ? error : new Failure('ledger_unavailable', 'the record cannot be written, so nothing may run', { cause: error });
}

/** What in a transaction block surely does not commit it; whatever is not named here may. */
const neverCommits: ReadonlySet<string> = new Set(['begin', 'rollback', 'savepoint', 'release', 'rollback-to']);

export function mayCommit(statements: readonly Statement[]): boolean {
  return statements.some(({ transaction }) => transaction !== undefined && !neverCommits.has(transaction.verb));
}

/** Changing rows is all that these nodes do by themselves; what they reach beside that is told by their risk. */
const rowNodes: ReadonlySet<string> = new Set(['InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt', 'SelectStmt', 'CopyStmt']);

export function changesRowsOnly(statements: readonly Statement[]): boolean {
  return statements.length > 0 && statements.every(({ node, transaction, runs, changes }) =>
    rowNodes.has(node) && transaction === undefined && runs === undefined && changes.length === 0);
}
