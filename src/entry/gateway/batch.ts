/**
 * Batch: what belongs together and is judged before any of it is forwarded: one Query, one FunctionCall, or the extended
 * messages up to Sync or Flush. Pure: given one message after the other, it hands out what is complete, in order.
 */
import type { Frame } from '../../lib/pgwire/frame-reader.ts';
import { frontendType } from '../../lib/pgwire/message-type.ts';
import { batchBytesMax, batchMessagesMax } from './limits.ts';

export interface ExtendedBatch {
  readonly kind: 'extended';
  /** Without the Sync or Flush that ends it. */
  readonly frames: readonly Frame[];
  /** `open`: something else follows without Sync or Flush, so we add a Flush to get the answers. */
  readonly end: 'sync' | 'flush' | 'open';
  /** That Sync or Flush; with the frames it is usually one piece of what was received. */
  readonly terminator?: Frame;
}

export type Batch =
  | ExtendedBatch
  | { readonly kind: 'query' | 'function-call'; readonly frame: Frame }
  /** Messages of COPY; outside of COPY they are leftovers that PostgreSQL ignores as well. */
  | { readonly kind: 'copy'; readonly frame: Frame }
  | { readonly kind: 'terminate' }
  /** More than may be collected; the rest up to Sync is to be discarded. */
  | { readonly kind: 'too-large' };

export class BatchCollector {
  #frames: Frame[] = [];
  #bytes = 0;

  get isEmpty(): boolean { return this.#frames.length === 0; }

  add(frame: Frame): readonly Batch[] {
    switch (frame.type) {
      case frontendType.sync: return [this.#take('sync', frame)];
      case frontendType.flush: return this.isEmpty ? [] : [this.#take('flush', frame)];
      case frontendType.query: return [...this.#rest(), { kind: 'query', frame }];
      case frontendType.functionCall: return [...this.#rest(), { kind: 'function-call', frame }];
      case frontendType.copyData:
      case frontendType.copyDone:
      case frontendType.copyFail: return [...this.#rest(), { kind: 'copy', frame }];
      case frontendType.terminate: return [...this.#rest(), { kind: 'terminate' }];
      default: return this.#collect(frame);
    }
  }

  /** Forgets what was collected. */
  clear(): void {
    this.#frames = [];
    this.#bytes = 0;
  }

  #collect(frame: Frame): readonly Batch[] {
    this.#frames.push(frame);
    this.#bytes += frame.whole.length;
    if (this.#bytes <= batchBytesMax && this.#frames.length <= batchMessagesMax) return [];
    this.clear();
    return [{ kind: 'too-large' }];
  }

  #rest(): readonly Batch[] {
    return this.isEmpty ? [] : [this.#take('open')];
  }

  #take(end: ExtendedBatch['end'], terminator?: Frame): Batch {
    const batch: Batch = { kind: 'extended', frames: this.#frames, end, ...(terminator === undefined ? {} : { terminator }) };
    this.clear();
    return batch;
  }
}

/** One piece of bytes where the messages lie side by side in what was received, else a copy. */
export function joinFrames(frames: readonly Frame[]): Buffer {
  const [first] = frames;
  const last = frames.at(-1);
  if (first === undefined || last === undefined) return Buffer.alloc(0);
  if (frames.length === 1) return first.whole;
  const isOnePiece = frames.every(({ whole }, index) => {
    const before = frames[index - 1]?.whole;
    return before === undefined || (before.buffer === whole.buffer && before.byteOffset + before.length === whole.byteOffset);
  });
  if (!isOnePiece) return Buffer.concat(frames.map(({ whole }) => whole));
  return Buffer.from(first.whole.buffer, first.whole.byteOffset, last.whole.byteOffset + last.whole.length - first.whole.byteOffset);
}
