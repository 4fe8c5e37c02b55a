/**
 * Plan: what of a batch is forwarded, and what in its place when something in it is refused. A batch is judged message by
 * message, as if what stands before had run; nothing of it is forwarded before the plan is complete. A refused Execute
 * takes its Bind along where the two stand together, because planning a statement can already run code (H7).
 */
import type { Frame } from '../../lib/pgwire/frame-reader.ts';
import type { Unit } from './fate.ts';
import type { Expected } from './expected.ts';

export interface Plan {
  /** The client's own messages, in order. */
  readonly frames: readonly Frame[];
  /** One for each of them. */
  readonly expected: readonly Expected[];
  /** ErrorResponse for the message after them, if that one was refused. */
  readonly refusal: Buffer | undefined;
}

/** Cuts a plan before message `at`, and takes back what stood behind: names are undone, permits settled as never used. */
export function cutPlan(frames: readonly Frame[], expected: readonly Expected[], at: number, refusal: Buffer, skipped: (unit: Unit) => void): Plan {
  takeBack(expected.slice(at), skipped);
  return { frames: frames.slice(0, at), expected: expected.slice(0, at), refusal };
}

/** What will not be sent: what it was to do to names has not happened, and its permits were never used. */
export function takeBack(expected: readonly Expected[], skipped: (unit: Unit) => void): void {
  for (const behind of expected.toReversed()) {
    if ('undo' in behind) behind.undo();
    if ('unit' in behind) skipped(behind.unit);
  }
}
