/**
 * Hoarding: each session may collect a large batch, keep prepared statements and portals, and have much under way to the
 * server, but not all of them at once: memory is one for all. Where they hold more than that together, whoever holds the
 * most is ended, so that one agent with many connections cannot take the others with it.
 */
import { Failure } from '../../core/failure.ts';
import { errorOf } from './refuse.ts';

export interface Hoarder {
  /** Of what it sent, as far as it is kept here. */
  readonly heldBytes: number;
  end(error: Buffer): void;
}

export function endLargest(sessions: readonly Hoarder[], bytesMax: number): void {
  const sizes = sessions.map((session) => ({ session, bytes: session.heldBytes })).sort((a, b) => b.bytes - a.bytes);
  let total = sizes.reduce((sum, { bytes }) => sum + bytes, 0);
  for (const { session, bytes } of sizes) {
    if (total <= bytesMax) return;
    total -= bytes;
    session.end(errorOf(new Failure('too_large', `Backstop ends this session: all together hold more than ${bytesMax} bytes of messages that wait here, and this one the most`), 'FATAL'));
  }
}
