/**
 * ProtectedRun: performs what must be undoable so that nothing of it is durable before its recovery point is. The rows are
 * captured in the same transaction, on the client's own link: the client's, or one of ours around the batch.
 *
 *   [BEGIN] capture ─▶ the client's bytes, once ─ replies ─▶ [constraints] capture, seal ─▶ [COMMIT] ─▶ what was withheld
 *   anything fails, a cancel, a client that is gone ─▶ [ROLLBACK], or a message that fails ─▶ the error
 *
 * Inside, the batch is held to its ceilings as ever (measured-run.ts). The client sees PostgreSQL's own messages, the last
 * tag of a Query and every ReadyForQuery only when they are true. Steps are taken in `continue`, when all that was sent has
 * been answered; what waits for the server or the bucket is part of the session's `judging`, which a cancel stops.
 */
import { Failure } from '../../core/failure.ts';
import { Bug } from '../../lib/assert.ts';
import { encodeReadyForQuery } from '../../lib/pgwire/backend-encode.ts';
import type { RecoveryDraft, RecoveryPoint, RowsSink } from '../../flow/protect.ts';
import type { Capture } from '../../remote/postgres/capture/capture.ts';
import type { Link } from '../../remote/postgres/link.ts';
import { capturePlanOf } from './capture-plan.ts';
import type { SessionContext } from './context.ts';
import type { TransactionFate } from './fate.ts';
import { cancelled, type Judging } from './judging.ts';
import { commitCommand, constraintsCommand } from './own-messages.ts';
import { takeBack } from './plan.ts';
import { isProtected, nextStep, type ProtectedStep } from './protected-work.ts';
import { errorOf, refusedCapture, type RefusedCapture } from './refuse.ts';
import { hide, pass } from './expected.ts';
import type { Replies } from './replies.ts';
import { rollBack } from './roll-back.ts';
import { UnfinishedCaptures } from './unfinished-captures.ts';
import { SharedPoint } from './unit-recovery.ts';
import { WithheldReplies } from './withheld-replies.ts';
import { onlySync, type Work } from './work.ts';

export interface ProtectedRunDeps {
  readonly link: Link;
  readonly context: Pick<SessionContext, 'actor' | 'sessionId' | 'database' | 'protection' | 'judgements' | 'judging' | 'nowMs'>;
  readonly replies: Replies;
  readonly fate: TransactionFate;
  readonly write: (bytes: Buffer) => void;
  /** Sends work that is protected already; its ceilings hold. */
  readonly perform: (work: Work) => void;
  /** Sends work, or the rest of it, from the beginning. */
  readonly forward: (work: Work) => void;
  readonly session: ProtectedSession;
}

/** What the session does for it. */
export interface ProtectedSession {
  /** Between two messages. */
  readonly show: (bytes: Buffer) => void;
  /** Nobody is left to answer to, or no server to ask. */
  readonly isOver: () => boolean;
  /** No cancel request is on its way to the server. */
  readonly cancelSent: () => Promise<void>;
  /** The next batch may come. */
  readonly onDone: () => void;
  readonly onFault: (error: unknown) => void;
}

type Part = Extract<ProtectedStep, { readonly kind: 'part' }>;

/** One part of a batch on its way. */
interface Job {
  readonly work: Work;
  readonly part: Part;
  /** The transaction around it is ours. */
  readonly isOurs: boolean;
  readonly draft: RecoveryDraft;
  readonly capture: Capture;
}

export class ProtectedRun {
  readonly #deps: ProtectedRunDeps;
  #next: (() => void) | undefined;
  #withheld: WithheldReplies | undefined;
  readonly #unfinished: UnfinishedCaptures;

  constructor(deps: ProtectedRunDeps) {
    this.#deps = deps;
    this.#unfinished = new UnfinishedCaptures({
      ...deps, during: (work) => { this.#during(work); }, then: (next) => { this.#next = next; }, refuse: (work, error) => { this.#refuse(work, error); },
    });
  }

  /** What the client may see of it goes through here; undefined: everything. */
  get withheld(): WithheldReplies | undefined { return this.#withheld; }

  /** Takes the work if something in it is to be protected. `before`: bytes that are to be sent first, already expected. */
  take(work: Work, before: Buffer): boolean {
    if (this.#unfinished.take(work, (finished) => { this.#proceed(finished); })) return true;
    if (!isProtected(work)) return false;
    if (before.length === 0) this.#start(work);
    else {
      this.#deps.write(before);
      this.#next = () => { this.#start(work); };
    }
    return true;
  }

  /** The client's own transaction is over, and all that captures had in it. */
  transactionEnded(): void { this.#unfinished.transactionEnded(); }

  #proceed(work: Work): void {
    if (isProtected(work)) this.#start(work);
    else this.#deps.perform(work);
  }

  /** The next step, once everything is answered. False when there is none: the work is over. */
  continue(): boolean {
    const { replies, context: { judging } } = this.#deps;
    const next = this.#next;
    this.#next = undefined;
    next?.();
    return !replies.isSettled || judging.isUnderWay;
  }

  #start(work: Work): void {
    const { replies } = this.#deps;
    const step = nextStep(work, { isInBlock: replies.status !== 'idle', isUnsynced: !replies.implicit.isEmpty });
    switch (step.kind) {
      case 'refused': return this.#refuse(work, errorOf(step.failure));
      case 'after': return this.#sendFirst(work, step.cut);
      case 'part': return this.#begin(work, step);
    }
  }

  /** Of this batch, nothing that is left was sent. */
  #refuse({ plan: { expected }, end }: Work, error: Buffer): void {
    const { replies, fate, forward, session } = this.#deps;
    takeBack(expected, (unit) => { fate.skipped(unit); });
    if (end === 'own' && replies.status === 'idle') session.show(Buffer.concat([error, encodeReadyForQuery('idle')]));
    else forward({ plan: { frames: [], expected: [], refusal: error }, end: end === 'own' ? 'sync' : end });
  }

  /** What stands before commands about transactions, and these, with a Sync of ours. */
  #sendFirst({ plan: { frames, expected, refusal }, end, terminator }: Work, cut: number): void {
    const { perform, fate, forward, session } = this.#deps;
    this.#withheld = new WithheldReplies(Infinity);
    this.#next = () => {
      const { hasFailed } = this.#takeWithheld();
      if (!hasFailed && !session.isOver()) return forward({ plan: { frames: frames.slice(cut), expected: expected.slice(cut), refusal }, end, terminator });
      takeBack(expected.slice(cut), (unit) => { fate.skipped(unit); });
      if (!session.isOver()) forward(onlySync);
    };
    perform({ plan: { frames: frames.slice(0, cut), expected: expected.slice(0, cut), refusal: undefined }, end: 'sync' });
  }

  #begin(work: Work, part: Part): void {
    try {
      this.#during(this.#prepare(this.#jobFor(work, part)));
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.#refuse(work, errorOf(error));
    }
  }

  /** Throws Failure where nothing can keep what is covered so. */
  #jobFor(work: Work, part: Part): Job {
    const { replies, link, context: { actor, sessionId, database, protection, judgements } } = this.#deps;
    if (protection === undefined) throw new Failure('bucket_unavailable', 'Backstop has no storage for recovery points');
    const { units, coverage } = part;
    const isOurs = replies.status === 'idle';
    const draft = protection.protector.begin({
      actionIds: units.map(({ unit }) => unit.actionId), agent: actor.name, sessionId, database, coverage, texts: units.map(({ recovery }) => recovery.text),
    });
    const plan = capturePlanOf(units, { coverage, database, isInBlock: !isOurs, first: isOurs ? beginSqls(coverage) : [] }, judgements);
    const capture = protection.capture(link, plan, { rows: () => this.#stoppable(draft.rows()) });
    return { work, part, isOurs, draft, capture };
  }

  #during(work: Promise<void>): void {
    const { context: { judging }, session } = this.#deps;
    judging.during(work).then(session.onDone, session.onFault);
  }

  // Before it runs.

  async #prepare(job: Job): Promise<void> {
    const { replies, link } = this.#deps;
    try {
      link.markIdle();
      if (job.isOurs) replies.status = 'in-transaction';
      await job.capture.before();
      this.#checkStopped();
    } catch (error) {
      return this.#giveUpUnsent(job, error);
    }
    if (this.#isOver(job, 0)) return;
    this.#perform(job);
  }

  async #giveUpUnsent(job: Job, error: unknown): Promise<void> {
    const { work, isOurs } = job;
    const shown = this.#errorFor(job, error);
    if (this.#isOver(job, 0)) return;
    await this.#deps.session.cancelSent();
    if (isOurs) {
      takeBack(work.plan.expected, (unit) => { this.#deps.fate.skipped(unit); });
      await rollBack(this.#deps, shown.bytes);
    } else this.#refuse(work, shown.bytes);
  }

  // While it runs.

  #perform(job: Job): void {
    const { work, part: { cut, units }, isOurs } = job;
    const { plan: { frames, expected }, end } = work;
    const isWhole = cut === expected.length;
    // PostgreSQL too says what a Query did when it is committed, and what an Execute did before.
    const tags = end === 'own' ? units[0].unit.statements.length : isOurs ? Infinity : expected.slice(0, cut).filter(({ kind }) => kind === 'execute').length;
    this.#withheld = new WithheldReplies(tags);
    this.#next = () => { this.#performed(job); };
    this.#deps.perform(isWhole ? work : { plan: { frames: frames.slice(0, cut), expected: expected.slice(0, cut), refusal: undefined }, end: 'flush' });
  }

  #performed(job: Job): void {
    const { replies } = this.#deps;
    const withheld = this.#takeWithheld();
    if (this.#isOver(job)) return;
    if (withheld.hasFailed || replies.status === 'failed' || replies.isSkipping) return this.#failed(job, withheld.bytes);
    if (job.isOurs && job.capture.isUndeferred !== true) this.#settleConstraints(job, withheld);
    else this.#during(this.#keep(job, withheld));
  }

  /** The client knows why. */
  #failed(job: Job, bytes: Buffer): void {
    const { replies, session } = this.#deps;
    job.draft.abandon();
    if (job.isOurs) return this.#during(rollBack(this.#deps, bytes));
    session.show(Buffer.concat([bytes, this.#readyOf(job, replies.status)]));
    this.#skipRest(job);
  }

  /** The server skips everything up to Sync: so does what is left. */
  #skipRest({ work: { plan: { expected }, end }, part: { cut } }: Job): void {
    const { fate, forward } = this.#deps;
    if (cut === expected.length) return;
    takeBack(expected.slice(cut), (unit) => { fate.skipped(unit); });
    if (end === 'sync') forward(onlySync);
  }

  // Before it may commit.

  /** What waits for the end of the transaction may change rows too, and its error is the client's. */
  #settleConstraints(job: Job, withheld: WithheldReplies): void {
    const { replies, write } = this.#deps;
    replies.expect({
      kind: 'own-query', commits: false, isClients: true,
      onAnswer: (succeeded) => {
        this.#next = () => {
          if (this.#isOver(job)) return;
          if (succeeded) this.#during(this.#keep(job, withheld));
          else this.#failed(job, hide);
        };
        return hide;
      },
    });
    write(constraintsCommand);
  }

  async #keep(job: Job, withheld: WithheldReplies): Promise<void> {
    const { link } = this.#deps;
    let point: RecoveryPoint;
    try {
      link.markIdle();
      this.#checkStopped();
      const contents = await job.capture.after(job.part.units.length === 1 ? withheld.rows : undefined);
      const patience = job.isOurs ? undefined : await this.#waitPatiently();
      await this.#deps.context.judging.unlessStopped(Promise.all(job.part.units.map(({ recovery }) => recovery.recorded)));
      this.#checkStopped();
      point = await this.#deps.context.judging.unlessStopped(job.draft.seal(contents));
      if (patience !== undefined) await link.query("SELECT pg_catalog.set_config('idle_in_transaction_session_timeout', $1, true)", [patience]);
    } catch (error) {
      return this.#giveUpRun(job, error);
    }
    const { units } = job.part;
    const shared = new SharedPoint(point, units.length);
    for (const { recovery } of units) recovery.keptAs(shared);
    try {
      this.#checkStopped();
      if (job.isOurs) await job.capture.finish?.();
      this.#checkStopped();
    } catch (error) {
      return this.#giveUpRun(job, error);
    }
    if (this.#isOver(job)) return;
    if (job.isOurs) return this.#commit(job, withheld);
    this.#unfinished.add(job.capture);
    this.#kept(job, withheld);
  }

  /** The bucket may take longer than the client's transaction may be idle. Returns what to put back. */
  async #waitPatiently(): Promise<string | undefined> {
    const { link } = this.#deps;
    const { rows: [row] } = await link.query("SELECT pg_catalog.current_setting('idle_in_transaction_session_timeout')");
    if (row?.[0] === '0') return undefined;
    await link.query('SET LOCAL idle_in_transaction_session_timeout = 0');
    return row?.[0] ?? undefined;
  }

  #kept(job: Job, withheld: WithheldReplies): void {
    const { replies, forward, session } = this.#deps;
    const { work: { plan: { frames, expected, refusal }, end, terminator }, part: { cut } } = job;
    session.show(Buffer.concat([withheld.bytes, this.#readyOf(job, replies.status)]));
    if (cut < expected.length) forward({ plan: { frames: frames.slice(cut), expected: expected.slice(cut), refusal }, end, terminator });
  }

  /** Everything is in the bucket, read back and on record. */
  #commit(job: Job, withheld: WithheldReplies): void {
    const { replies, write } = this.#deps;
    replies.expect({
      kind: 'own-query', commits: true,
      onAnswer: (succeeded, status) => {
        if (status === 'idle') return succeeded ? Buffer.concat([withheld.bytes, encodeReadyForQuery(status)]) : pass;
        // It was not even tried, for instance because of a time-out.
        this.#next = () => { if (!this.#isOver(job)) this.#during(rollBack(this.#deps, hide)); };
        return hide;
      },
    });
    write(commitCommand);
  }

  async #giveUpRun(job: Job, error: unknown): Promise<void> {
    const { fate, forward, context, session } = this.#deps;
    const { bytes, sqlstate } = this.#errorFor(job, error);
    if (this.#isOver(job)) return;
    await session.cancelSent();
    for (const { unit } of job.part.units) fate.failed(unit, sqlstate, context.nowMs());
    if (job.isOurs) return rollBack(this.#deps, bytes);
    const { work: { plan: { expected }, end }, part: { cut } } = job;
    takeBack(expected.slice(cut), (unit) => { fate.skipped(unit); });
    forward({ plan: { frames: [], expected: [], refusal: bytes }, end: end === 'own' ? 'sync' : end });
  }

  // Throughout.

  #takeWithheld(): WithheldReplies {
    const withheld = this.#withheld;
    if (withheld === undefined) throw new Bug('a protected batch has nothing withheld');
    this.#withheld = undefined;
    return withheld;
  }

  /** Nothing more is to be done: the link ends, and its transaction with it. `sent`: so many messages of the batch were. */
  #isOver({ draft, work, part: { cut } }: Job, sent = cut): boolean {
    const { session, fate } = this.#deps;
    if (!session.isOver()) return false;
    draft.abandon();
    takeBack(work.plan.expected.slice(sent), (unit) => { fate.skipped(unit); });
    return true;
  }

  /** Nothing for messages that bring no ReadyForQuery. */
  #readyOf({ work: { plan: { expected }, end }, part: { cut } }: Job, status: Replies['status']): Buffer {
    return cut === expected.length && (end === 'own' || end === 'sync') ? encodeReadyForQuery(status) : hide;
  }

  #checkStopped(): void { if (this.#deps.context.judging.isStopped) throw cancelled(); }

  /** A cancel does not wait for a bucket that is slow. */
  #stoppable(sink: RowsSink): RowsSink {
    const judging: Judging = this.#deps.context.judging;
    return {
      write: (rows) => {
        const written = sink.write(rows);
        return written === undefined ? undefined : judging.unlessStopped(written);
      },
      finish: () => judging.unlessStopped(sink.finish()),
    };
  }

  /** What the client hears. Throws what is no failure of anything that was asked. */
  #errorFor({ draft }: Job, error: unknown): RefusedCapture {
    draft.abandon();
    const failure = this.#deps.context.judging.isStopped ? cancelled() : error;
    return refusedCapture(failure);
  }
}

/** Behind the lock that a capture of tables takes first, it must see what others have committed by then. */
function beginSqls({ method }: Part['coverage']): readonly string[] {
  const begin = method === 'tables' || method === 'tombstone' ? 'BEGIN ISOLATION LEVEL READ COMMITTED' : 'BEGIN';
  return [begin, 'SET LOCAL idle_in_transaction_session_timeout = 0'];
}
