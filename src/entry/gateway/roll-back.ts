/**
 * Ends a transaction by a question of our own, whose notices and errors are nobody's; then the client hears what it is to
 * hear, and that it is idle.
 */
import { Failure } from '../../core/failure.ts';
import { encodeReadyForQuery } from '../../lib/pgwire/backend-encode.ts';
import type { ProtectedRunDeps } from './protected-run.ts';

const triesMax = 5;

export async function rollBack({ link, replies, session }: Pick<ProtectedRunDeps, 'link' | 'replies' | 'session'>, shown: Buffer): Promise<void> {
  link.markIdle();
  for (let tried = 1; ; tried += 1) {
    const error: unknown = await link.query('ROLLBACK').then(() => undefined, (thrown: unknown) => thrown);
    if (session.isOver()) return;
    if (error === undefined) break;
    // A late cancel, or a time-out of the client's, hit it.
    if (error instanceof Failure || tried === triesMax) throw error;
  }
  replies.rolledBack();
  session.show(Buffer.concat([shown, encodeReadyForQuery('idle')]));
}
