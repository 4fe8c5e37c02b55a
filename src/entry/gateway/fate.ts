/**
 * TransactionFate: what became of what ran. A unit (one Query, one Execute, one FunctionCall) is settled when its
 * transaction has ended, not when its command tag arrives: COMMIT of a failed transaction answers ROLLBACK, a pipeline is
 * one implicit transaction up to Sync, and a multi-statement Query may hold a COMMIT. Knows no socket and no clock.
 *
 * A unit of which some part is durable counts as committed, with the SQLSTATE of what failed after it.
 */
import type { Ceiling } from '../../core/ceiling.ts';
import type { Outcome } from '../../core/outcome.ts';
import type { Statement } from '../../core/sql/statement.ts';
import type { CommandTag } from '../../lib/pgwire/backend-decode.ts';
import type { TransactionStatus } from '../../lib/pgwire/backend-encode.ts';
import { openUnitsMax, savepointsMax } from './limits.ts';
import type { UnitRecovery } from './unit-recovery.ts';

export interface Unit {
  readonly actionId: string;
  readonly statements: readonly Statement[];
  /** The text of its message. */
  readonly source: string;
  readonly isSafe: boolean;
  /** It may change no more than that; see measured-run.ts. */
  readonly ceiling?: Ceiling | undefined;
  /** A DO or CALL whose code may end its transaction, where it is in no block. */
  readonly mayEndTransaction?: boolean | undefined;
  /** It may last only with a recovery point; see protected-run.ts. */
  readonly recovery?: UnitRecovery | undefined;
  readonly settle: (outcome: Outcome) => void;
  /** One of its statements has run, whatever becomes of its transaction. */
  readonly ran?: ((rows: number | null) => void) | undefined;
}

export type TransactionEnd = 'committed' | 'rolled-back';

interface Followed {
  readonly unit: Unit;
  readonly number: number;
  readonly startedMs: number;
  durationMs: number;
  rows: number | null;
  /** Rows changed beside those that the tags count. */
  elsewhere: number | undefined;
  /** Command tags so far: the number of its statements that have run. */
  tags: number;
  /** Replies are still to come. */
  isRunning: boolean;
  /** Something of it ran in the transaction that is open now. */
  isPending: boolean;
  isCommitted: boolean;
  isRolledBack: boolean;
  /** It ran after a savepoint that was rolled back to by a name that is not known. */
  isUncertain: boolean;
  sqlstate: string | undefined;
}

/** What can commit while it runs: an error of it does not say that nothing of it is durable. */
const commitsInside: ReadonlySet<string> = new Set(['CallStmt', 'DoStmt', 'VacuumStmt', 'ReindexStmt', 'ClusterStmt', 'IndexStmt']);

function mayHaveCommitted({ mayEndTransaction }: Unit, statement: Statement | undefined): boolean {
  const isAtomicCode = mayEndTransaction === false && (statement?.node === 'CallStmt' || statement?.node === 'DoStmt');
  return commitsInside.has(statement?.node ?? '') && !isAtomicCode;
}

export class TransactionFate {
  /** In the order in which they were started. */
  #open = new Map<Unit, Followed>();
  #started = 0;
  /** Each with the unit that set it, by its number. */
  #savepoints: { readonly name: string | undefined; readonly number: number }[] = [];
  #hasFailed = false;

  get isFull(): boolean { return this.#open.size >= openUnitsMax; }
  get size(): number { return this.#open.size; }

  /** It is on its way to the server. Starting it again (a suspended portal) goes on with the same unit. */
  start(unit: Unit, nowMs: number): void {
    const known = this.#open.get(unit);
    if (known !== undefined) known.isRunning = true;
    else {
      this.#started += 1;
      this.#open.set(unit, {
        unit, number: this.#started, startedMs: nowMs, durationMs: 0, rows: null, elsewhere: undefined, tags: 0, isRunning: true, isPending: false,
        isCommitted: false, isRolledBack: false, isUncertain: false, sqlstate: undefined,
      });
    }
  }

  /** One of its statements has run; returns which, and how the transaction ended if that statement ended it. */
  ran(unit: Unit, tag: CommandTag): { readonly statement: Statement | undefined; readonly ended: TransactionEnd | undefined } {
    unit.ran?.(tag.rows);
    const followed = this.#open.get(unit);
    if (followed === undefined) return { statement: unit.statements[0], ended: undefined };
    const statement = unit.statements[followed.tags];
    followed.tags += 1;
    if (tag.rows !== null) followed.rows = (followed.rows ?? 0) + tag.rows;
    followed.isPending = true;
    return { statement, ended: this.#follow(statement, tag, followed) };
  }

  /** It ran and gave no command tag: the empty query, a function call, a portal that stopped at its row limit. */
  ranWithoutTag(unit: Unit): void {
    const followed = this.#open.get(unit);
    if (followed !== undefined) followed.isPending = true;
  }

  /** Its last reply has come. */
  finished(unit: Unit, nowMs: number): void {
    const followed = this.#open.get(unit);
    if (followed === undefined) return;
    followed.isRunning = false;
    followed.durationMs = nowMs - followed.startedMs;
    // A read has nothing to commit, so a transaction of very many reads need not be remembered whole.
    const isForgettable = unit.isSafe && this.isFull;
    if (isForgettable) followed.isCommitted = true;
    if (!followed.isPending || isForgettable) this.#settle(followed);
  }

  /** What it changed through foreign keys, triggers and functions. */
  measured(unit: Unit, elsewhere: number): void {
    const followed = this.#open.get(unit);
    if (followed !== undefined) followed.elsewhere = elsewhere;
  }

  failed(unit: Unit, sqlstate: string, nowMs: number): void {
    const followed = this.#open.get(unit);
    this.#hasFailed = true;
    if (followed === undefined) return;
    followed.sqlstate = sqlstate;
    followed.isUncertain ||= mayHaveCommitted(unit, unit.statements[followed.tags]);
    followed.isRunning = false;
    followed.durationMs = nowMs - followed.startedMs;
    this.#settle(followed);
  }

  /** The server skipped it after an error, or it was never sent. */
  skipped(unit: Unit): void {
    const followed = this.#open.get(unit);
    if (followed === undefined) unit.settle({ kind: 'rolled-back', rows: null, durationMs: 0 });
    else {
      followed.isRunning = false;
      followed.isRolledBack = true;
      this.#settle(followed);
    }
  }

  /** An error that belongs to no unit (at Parse, Bind, or at the commit itself). */
  transactionFailed(): void { this.#hasFailed = true; }

  /** ReadyForQuery. Returns how the transaction ended, if it did. */
  ready(status: TransactionStatus): TransactionEnd | undefined {
    const hadFailed = this.#hasFailed;
    this.#hasFailed = status === 'failed';
    if (status !== 'idle') return undefined;
    const ended = hadFailed ? 'rolled-back' : 'committed';
    this.#end(ended);
    return ended;
  }

  /** The connection is gone. `mayHaveCommitted`: something was running that could have committed. */
  lost(mayHaveCommitted: boolean): void {
    const lost = [...this.#open.values()];
    this.#open.clear();
    for (const followed of lost) {
      if (followed.isPending || followed.isRunning) {
        if (mayHaveCommitted) followed.isUncertain = true;
        else followed.isRolledBack = true;
      }
      report(followed);
    }
  }

  #follow(statement: Statement | undefined, tag: CommandTag, current: Followed): TransactionEnd | undefined {
    switch (statement?.transaction?.verb) {
      case 'commit':
      case 'rollback': {
        const ended = tag.command === 'COMMIT' ? 'committed' : 'rolled-back';
        this.#end(ended);
        this.#hasFailed = false;
        return ended;
      }
      case 'prepare':
        // Neither: it now waits for COMMIT PREPARED, which any session may send.
        for (const followed of this.#open.values()) followed.isUncertain = true;
        this.#end('committed');
        return 'committed';
      case 'savepoint':
        if (this.#savepoints.length < savepointsMax) this.#savepoints.push({ name: statement.transaction?.savepoint, number: current.number });
        return undefined;
      case 'release': this.#savepoints.splice(this.#savepointAt(statement) ?? this.#savepoints.length); return undefined;
      case 'rollback-to': this.#rollBackTo(statement, current); return undefined;
      default: return undefined;
    }
  }

  #rollBackTo(statement: Statement, current: Followed): void {
    this.#hasFailed = false;
    const index = this.#savepointAt(statement);
    const savepoint = this.#savepoints[index ?? 0];
    if (savepoint === undefined) return;
    if (index !== undefined) this.#savepoints.splice(index + 1);
    for (const followed of [...this.#open.values()]) {
      if (followed.number <= savepoint.number || followed === current || followed.isRunning) continue;
      if (index === undefined) followed.isUncertain = true;
      else {
        followed.isRolledBack = true;
        this.#settle(followed);
      }
    }
  }

  /** The latest savepoint of that name, as PostgreSQL resolves it. */
  #savepointAt(statement: Statement): number | undefined {
    const name = statement.transaction?.savepoint;
    const index = name === undefined ? -1 : this.#savepoints.findLastIndex((savepoint) => savepoint.name === name);
    return index < 0 ? undefined : index;
  }

  #end(how: TransactionEnd): void {
    this.#savepoints = [];
    for (const followed of [...this.#open.values()]) {
      if (!followed.isPending) continue;
      followed.isPending = false;
      if (how === 'committed') followed.isCommitted = true;
      else followed.isRolledBack = true;
      if (!followed.isRunning) this.#settle(followed);
    }
  }

  #settle(followed: Followed): void {
    if (this.#open.delete(followed.unit)) report(followed);
  }
}

function report(followed: Followed): void {
  const { rows, elsewhere, durationMs, sqlstate } = followed;
  followed.unit.settle({ kind: kindOf(followed), rows, ...(elsewhere === undefined ? {} : { elsewhere }), durationMs, ...(sqlstate === undefined ? {} : { sqlstate }) });
}

function kindOf(followed: Followed): Outcome['kind'] {
  if (followed.isUncertain) return 'unknown';
  if (followed.isCommitted) return 'committed';
  if (followed.sqlstate !== undefined) return 'failed';
  return 'rolled-back';
}
