/**
 * Sends a cancel request over a connection of its own, with the same encryption as the link, to the very address that
 * the link reached. Resolves when the server closes that connection, which PostgreSQL does after it has signalled the
 * backend; whether anything was there to cancel is not told. Throws Failure('upstream_unavailable').
 */
import { once } from 'node:events';
import { Failure } from '../../core/failure.ts';
import type { BackendKey } from '../../lib/pgwire/backend-decode.ts';
import { encodeCancelRequest } from '../../lib/pgwire/frontend-encode.ts';
import { openSocket, unavailable } from './link-socket.ts';
import type { LinkAddress, LinkTarget } from './link-target.ts';

const cancelMsMax = 5_000;

export async function sendCancel(target: LinkTarget, address: LinkAddress, key: BackendKey): Promise<void> {
  const signal = AbortSignal.timeout(cancelMsMax);
  try {
    const { socket } = await openSocket(target, address, signal);
    const closed = once(socket, 'close', { signal });
    socket.write(encodeCancelRequest(key.processId, key.secretKey));
    socket.resume();
    await closed.finally(() => { socket.destroy(); });
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw unavailable('The cancel request did not reach the database server', address, signal.aborted ? signal.reason : error);
  }
}
