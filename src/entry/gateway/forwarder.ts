/**
 * Forwarder: the one way to the server. Every judged batch goes through `forward`, which tells Replies what will come back
 * and writes the client's own bytes, in one write where nothing stands between them. It knows what the session knows of
 * the server at that moment: whether it is idle, and whether a Sync is owed.
 */
import { encodeFlush, encodeSync } from '../../lib/pgwire/frontend-encode.ts';
import type { Link } from '../../remote/postgres/link.ts';
import { joinFrames } from './batch.ts';
import { failingExecute } from './refuse.ts';
import type { Replies } from './replies.ts';
import type { Work } from './work.ts';

export interface ForwarderDeps {
  readonly link: Pick<Link, 'write'>;
  readonly replies: Replies;
  /** The link took more than it can send; `drained` ends that. */
  readonly onFull: () => void;
}

const syncMessage = encodeSync();
const flushMessage = encodeFlush();
const noBytes = Buffer.alloc(0);

export class Forwarder {
  readonly #deps: ForwarderDeps;
  #isFull = false;

  constructor(deps: ForwarderDeps) {
    this.#deps = deps;
  }

  get isFull(): boolean { return this.#isFull; }
  drained(): void { this.#isFull = false; }

  /** Nothing runs and no transaction is open, not even the implicit one of extended messages without their Sync. */
  get isServerIdle(): boolean {
    const { status, isUnsynced, isSettled } = this.#deps.replies;
    return status === 'idle' && !isUnsynced && isSettled;
  }

  forward({ plan, end, terminator }: Work): void {
    const { replies } = this.#deps;
    for (const expected of plan.expected) replies.expect(expected);
    if (plan.refusal !== undefined) replies.expect({ kind: 'refusal', error: plan.refusal });
    if (end === 'sync') replies.expect({ kind: 'sync' });
    const isWhole = plan.refusal === undefined && (end === 'own' || terminator !== undefined);
    // As received, which is nearly always.
    if (isWhole) this.write(joinFrames(terminator === undefined ? plan.frames : [...plan.frames, terminator]));
    else this.write(Buffer.concat([joinFrames(plan.frames), plan.refusal === undefined ? noBytes : failingExecute, end === 'sync' ? syncMessage : flushMessage]));
  }

  /** All replies to what was forwarded are here. True: more was written because of them, so the batch is not over. */
  continue(): boolean { return false; }

  flush(): void { this.write(flushMessage); }

  /** Bytes that are part of no batch: COPY data, CopyFail. */
  write(bytes: Buffer): void {
    if (this.#deps.link.write(bytes) || this.#isFull) return;
    this.#isFull = true;
    this.#deps.onFull();
  }
}
