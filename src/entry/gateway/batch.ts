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

  get firstType(): number | undefined { return this.#frames[0]?.type; }
  get bytes(): number { return this.#bytes; }
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
    this.#bytes += frame.length;
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

/** What a server that reads message by message meets first. */
export function firstType(batch: Exclude<Batch, { readonly kind: 'terminate' | 'too-large' }>): number {
  return batch.kind === 'extended' ? batch.frames[0]?.type ?? frontendType.flush : batch.frame.type;
}

/** One piece of bytes where the messages lie side by side in what was received, else a copy. */
export function joinFrames(frames: readonly Frame[], terminator?: Frame): Buffer {
  const first = frames[0] ?? terminator;
  const last = terminator ?? frames.at(-1);
  if (first === undefined || last === undefined) return noBytes;
  if (first === last) return first.whole;
  if (areSideBySide(frames, terminator)) return first.bytes.subarray(first.start, last.end);
  return Buffer.concat([...frames, ...(terminator === undefined ? [] : [terminator])].map(({ whole }) => whole));
}

const noBytes = Buffer.alloc(0);

function areSideBySide(frames: readonly Frame[], terminator: Frame | undefined): boolean {
  let before = frames[0];
  for (let index = 1; index <= frames.length; index += 1) {
    const frame = index === frames.length ? terminator : frames[index];
    if (before === undefined || frame === undefined) continue;
    if (frame.bytes !== before.bytes || frame.start !== before.end) return false;
    before = frame;
  }
  return true;
}
