/**
 * What becomes of a link whose client is gone: what still runs is cancelled, its outcome is awaited for a while, and then
 * the connection is closed, which rolls an open transaction back. Every unit has its outcome afterwards.
 */
import { encodeCopyFail } from '../../lib/pgwire/frontend-encode.ts';
import type { Link } from '../../remote/postgres/link.ts';
import type { TransactionFate } from './fate.ts';
import { abandonMsMax } from './limits.ts';
import type { Replies } from './replies.ts';

/** `whenSettled` is given what to call once nothing is owed any more or the link is lost. */
export async function abandon(
  link: Pick<Link, 'resume' | 'write' | 'cancel' | 'end' | 'isAsking'>, replies: Replies, fate: TransactionFate, whenSettled: (onSettled: () => void) => void,
): Promise<void> {
  link.resume();
  if (replies.isCopyIn) {
    replies.isCopyIn = false;
    link.write(encodeCopyFail('the client is gone'));
  } else if (!replies.isSettled || link.isAsking) await link.cancel().catch(() => { /* the server is gone as well: nothing to cancel */ });
  if (!replies.isSettled) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, abandonMsMax);
      whenSettled(() => { clearTimeout(timer); resolve(); });
    });
  }
  fate.lost(replies.mayCommit);
  await link.end();
}
