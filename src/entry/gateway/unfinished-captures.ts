/**
 * UnfinishedCaptures: what captures have left in the open transaction of the client's. Taking it away keeps readers from the
 * tables until the transaction ends, so it is done right before a commit, and by whatever else ends the transaction.
 *
 *   COMMIT ─▶ what is deferred runs, as the commit would have it ─▶ captures are finished ─▶ COMMIT goes on
 *   DDL ─▶ captures are finished, so that nothing judges or keeps what is theirs ─▶ it goes on
 */
import type { Capture } from '../../remote/postgres/capture/capture.ts';
import { hide } from './expected.ts';
import { cancelled } from './judging.ts';
import { constraintsCommand } from './own-messages.ts';
import { takeBack } from './plan.ts';
import type { ProtectedRunDeps } from './protected-run.ts';
import { refusedCapture } from './refuse.ts';
import { rollBack } from './roll-back.ts';
import type { Work } from './work.ts';

export interface UnfinishedCapturesDeps extends Pick<ProtectedRunDeps, 'link' | 'replies' | 'fate' | 'context' | 'write' | 'session'> {
  /** Part of the session's judging, which a cancel stops. */
  readonly during: (work: Promise<void>) => void;
  /** When all that was sent is answered. */
  readonly then: (next: () => void) => void;
  /** Nothing of it was sent. */
  readonly refuse: (work: Work, error: Buffer) => void;
}

export class UnfinishedCaptures {
  readonly #deps: UnfinishedCapturesDeps;
  #captures: Capture[] = [];

  constructor(deps: UnfinishedCapturesDeps) {
    this.#deps = deps;
  }

  add(capture: Capture): void { if (capture.finish !== undefined) this.#captures.push(capture); }

  transactionEnded(): void { if (this.#captures.length > 0) this.#captures = []; }

  /** True when the work may commit what they are in, or look at what they have left: it goes on by `proceed` when they are finished. */
  take(work: Work, proceed: (work: Work) => void): boolean {
    const { replies, write, during } = this.#deps;
    if (this.#captures.length === 0 || replies.status !== 'in-transaction') return false;
    if (!mayCommit(work)) {
      if (!mayDefine(work)) return false;
      during(this.#finish(work, proceed));
      return true;
    }
    // It keeps triggers from being dropped while it waits, and its error is the client's.
    replies.expect({
      kind: 'own-query', commits: false, isClients: true,
      onAnswer: (succeeded) => {
        this.#deps.then(() => { this.#settled(work, succeeded, proceed); });
        return hide;
      },
    });
    write(constraintsCommand);
    return true;
  }

  #settled(work: Work, succeeded: boolean, proceed: (work: Work) => void): void {
    const { during } = this.#deps;
    if (this.#isOver(work)) return;
    if (succeeded) return during(this.#finish(work, proceed));
    // So a COMMIT that fails ends its transaction.
    this.#drop(work);
    during(rollBack(this.#deps, hide));
  }

  async #finish(work: Work, proceed: (work: Work) => void): Promise<void> {
    const { link, context: { judging }, session, refuse } = this.#deps;
    try {
      link.markIdle();
      for (const capture of this.#captures) await capture.finish?.();
      if (judging.isStopped) throw cancelled();
    } catch (error) {
      const { bytes } = refusedCapture(judging.isStopped ? cancelled() : error);
      if (this.#isOver(work)) return;
      await session.cancelSent();
      return refuse(work, bytes);
    }
    if (!this.#isOver(work)) proceed(work);
  }

  #isOver(work: Work): boolean {
    const isOver = this.#deps.session.isOver();
    if (isOver) this.#drop(work);
    return isOver;
  }

  #drop({ plan: { expected } }: Work): void { takeBack(expected, (unit) => { this.#deps.fate.skipped(unit); }); }
}

function mayCommit({ plan: { expected } }: Work): boolean {
  return expected.some((one) => 'unit' in one && one.unit.statements.some(({ transaction }) => transaction?.verb === 'commit' || transaction?.verb === 'prepare'));
}

/** They neither change definitions nor are judged by those that the transaction has made. */
const rowNodes: ReadonlySet<string> = new Set([
  'SelectStmt', 'InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt', 'CopyStmt', 'TransactionStmt', 'VariableSetStmt', 'VariableShowStmt', 'ConstraintsSetStmt', 'LockStmt',
  'DeclareCursorStmt', 'FetchStmt', 'ClosePortalStmt', 'PrepareStmt', 'ExecuteStmt', 'DeallocateStmt', 'ExplainStmt', 'ListenStmt', 'UnlistenStmt', 'NotifyStmt',
]);

function mayDefine({ plan: { expected } }: Work): boolean {
  return expected.some((one) => 'unit' in one && one.unit.statements.some(({ node }) => !rowNodes.has(node)));
}
