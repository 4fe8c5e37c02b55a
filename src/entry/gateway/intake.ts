/**
 * Intake: what the client sends, as batches in order. It reads messages only as far as batches are asked for, so that
 * what waits stays in the bytes that were received, where the session can bound it.
 */
import { FrameReader } from '../../lib/pgwire/frame-reader.ts';
import { sessionLimits } from '../../lib/pgwire/frame-limits.ts';
import { BatchCollector, type Batch } from './batch.ts';
import { messageBytesMax } from './limits.ts';

export class Intake {
  readonly #reader = new FrameReader(sessionLimits(messageBytesMax));
  readonly #collector = new BatchCollector();
  /** Complete, not yet taken. */
  readonly #waiting: Batch[] = [];
  /** Of the batch that was handed out last and is judged now. */
  #takenBytes = 0;

  /** Bytes received that belong to no batch yet. */
  get bufferedBytes(): number { return this.#reader.bufferedBytes; }
  /** All that is kept of what was received. */
  get heldBytes(): number { return this.#reader.bufferedBytes + this.#collector.bytes + this.#takenBytes; }
  /** The client has begun a message and not ended it. */
  get isMessageOpen(): boolean { return this.#reader.isInsideMessage; }
  get hasWaiting(): boolean { return this.#waiting.length > 0; }

  /** The type of the first message that waits for its Sync or Flush. */
  get firstCollected(): number | undefined { return this.#collector.firstType; }

  /** It comes again before anything else. */
  putBack(batch: Batch): void { this.#waiting.unshift(batch); }

  push(chunk: Buffer): void { this.#reader.push(chunk); }

  /** Throws a fatal ProtocolError. */
  next(): Batch | undefined {
    this.#takenBytes = 0;
    for (;;) {
      const batch = this.#waiting.shift();
      if (batch !== undefined) {
        this.#takenBytes = bytesOf(batch);
        return batch;
      }
      const frame = this.#reader.next();
      if (frame === undefined) return undefined;
      this.#waiting.push(...this.#collector.add(frame));
    }
  }
}

function bytesOf(batch: Batch): number {
  if (batch.kind === 'extended') return batch.frames.reduce((sum, { length }) => sum + length, 0);
  return 'frame' in batch ? batch.frame.length : 0;
}
