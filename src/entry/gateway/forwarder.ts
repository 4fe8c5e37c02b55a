/**
 * Forwarder: the one way to the server. Every judged batch goes through `forward`, which tells Replies what will come back
 * and writes the client's own bytes, in one write where nothing stands between them. It knows what the session knows of
 * the server at that moment: whether it is idle, and whether a Sync is owed; and where the mode in which the session
 * stands does not fit what comes, it puts the switch of the read-only lock in front.
 */
import { encodeFlush, encodeSync } from '../../lib/pgwire/frontend-encode.ts';
import type { Link } from '../../remote/postgres/link.ts';
import { Bug } from '../../lib/assert.ts';
import { joinFrames } from './batch.ts';
import type { TransactionFate } from './fate.ts';
import type { SessionContext } from './context.ts';
import { MeasuredRun } from './measured-run.ts';
import { ProtectedRun, type ProtectedSession } from './protected-run.ts';
import { lockedSetting, neededMode, type Switch } from './read-only-lock.ts';
import { failingExecute } from './refuse.ts';
import { hide } from './expected.ts';
import type { Replies } from './replies.ts';
import type { WithheldReplies } from './withheld-replies.ts';
import type { Work } from './work.ts';

export interface ForwarderDeps {
  readonly link: Link;
  readonly context: SessionContext;
  readonly replies: Replies;
  readonly fate: TransactionFate;
  readonly session: ProtectedSession;
  /** The link took more than it can send; `drained` ends that. */
  readonly onFull: () => void;
}

const syncMessage = encodeSync();
const flushMessage = encodeFlush();
const noBytes = Buffer.alloc(0);

export class Forwarder {
  readonly #deps: ForwarderDeps;
  readonly #measured: MeasuredRun;
  readonly #protected: ProtectedRun;
  #isFull = false;

  constructor(deps: ForwarderDeps) {
    this.#deps = deps;
    const { link, context, replies, fate, session } = deps;
    const write = (bytes: Buffer): void => { this.write(bytes); };
    this.#measured = new MeasuredRun({ replies, fate, nowMs: context.nowMs, write, forward: (work) => { this.#send(work, noBytes); } });
    this.#protected = new ProtectedRun({
      link, context, replies, fate, session, write, perform: (work) => { this.#perform(work, noBytes); }, forward: (work) => { this.forward(work); },
    });
  }

  get isFull(): boolean { return this.#isFull; }
  drained(): void { this.#isFull = false; }

  /** Nothing runs and no transaction is open, not even the implicit one of extended messages without their Sync. */
  get isServerIdle(): boolean {
    const { status, isUnsynced, isSettled } = this.#deps.replies;
    return status === 'idle' && !isUnsynced && isSettled;
  }

  forward(work: Work): void {
    const { context: { lock } } = this.#deps;
    const before = this.#before(work);
    for (const expected of work.plan.expected) if ('unit' in expected) for (const statement of expected.unit.statements) lock.follow(statement);
    if (!this.#protected.take(work, before)) this.#perform(work, before);
  }

  /** Of a protected batch the client is not told everything yet. */
  get withheld(): WithheldReplies | undefined { return this.#protected.withheld; }

  #perform(work: Work, before: Buffer): void {
    if (!this.#measured.take(work, before)) this.#send(work, before);
  }

  #before(work: Work): Buffer {
    const { context: { lock }, replies } = this.#deps;
    if (this.isServerIdle) return this.#expectSwitch(lock.switchFor(neededMode(work)));
    // A Flush behind Parse: its transaction holds nothing, so it ends where it stands in the wrong mode.
    const canEnd = replies.status === 'idle' && replies.implicit.isEmpty && !replies.isSkipping;
    const change = canEnd ? lock.switchFor(neededMode(work)) : undefined;
    return change === undefined ? noBytes : Buffer.concat([this.#expectSync(), this.#expectSwitch(change)]);
  }

  /** Of our own; the client knows nothing of it. */
  #expectSync(): Buffer {
    this.#deps.replies.expect({ kind: 'own-batch', statements: 0, hasSync: true, onAnswer: () => hide });
    return syncMessage;
  }

  #send({ plan, end, terminator }: Work, before: Buffer): void {
    const { replies } = this.#deps;
    for (const expected of plan.expected) replies.expect(expected);
    if (plan.refusal !== undefined) replies.expect({ kind: 'refusal', error: plan.refusal });
    if (end === 'sync') replies.expect({ kind: 'sync' });
    const isWhole = plan.refusal === undefined && (end === 'own' || terminator !== undefined);
    // As received, which is nearly always.
    const whole = isWhole ? joinFrames(plan.frames, terminator) : noBytes;
    if (isWhole) this.write(before.length === 0 ? whole : Buffer.concat([before, whole]));
    else this.write(Buffer.concat([before, joinFrames(plan.frames), plan.refusal === undefined ? noBytes : failingExecute, end === 'sync' ? syncMessage : flushMessage]));
  }

  /** It runs as long as the one before the client's own messages; nothing of its answer is for the client. */
  #expectSwitch(change: Switch | undefined): Buffer {
    if (change === undefined) return noBytes;
    const { replies, context: { lock } } = this.#deps;
    replies.expect({
      kind: 'own-call', setting: lockedSetting, isShown: (value) => lock.reported(value, change),
      onAnswer: (value) => {
        // What stands behind it in the same write runs all the same, so this session cannot go on.
        if (value === undefined) throw new Bug('the server did not let the read-only lock be switched');
        lock.switched(change, value);
      },
    });
    return change.bytes;
  }

  transactionEnded(): void { this.#protected.transactionEnded(); }

  /** All replies to what was forwarded are here. True: more was written because of them, so the batch is not over. */
  continue(): boolean { return this.#measured.continue() || this.#protected.continue(); }

  flush(): void { this.write(flushMessage); }

  /** Bytes that are part of no batch: COPY data, CopyFail. */
  write(bytes: Buffer): void {
    if (this.#deps.link.write(bytes) || this.#isFull) return;
    this.#isFull = true;
    this.#deps.onFull();
  }
}
