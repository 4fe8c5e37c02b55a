/**
 * Opens the byte stream to the guarded server: TCP or Unix socket, then TLS as the target's mode asks. Refuses anything
 * a server (or somebody before it) sends along with its answer to the TLS request, which would otherwise be taken for
 * encrypted data. Throws Failure('upstream_unavailable'), whose cause, for logs only, names the address.
 */
import { connect as connectTcp, type Socket } from 'node:net';
import { once } from 'node:events';
import { Failure } from '../../core/failure.ts';
import { serverEndPoint } from '../../lib/pgwire/channel-binding.ts';
import { encodeSslRequest } from '../../lib/pgwire/frontend-encode.ts';
import { describeAddress, type LinkAddress, type LinkTarget } from './link-target.ts';
import { checkAgreedProtocol, startTls } from './link-tls.ts';

export interface OpenSocket {
  readonly socket: Socket;
  /** TLS, or a Unix socket, on which nobody else listens. */
  readonly isPrivate: boolean;
  readonly isEncrypted: boolean;
  readonly channelBinding: Buffer | undefined;
}

const acceptByte = 0x53; // S
const refuseByte = 0x4e; // N

/**
 * The socket is paused and is destroyed when this throws. Its errors are heard by nobody but are in `socket.errored`, and
 * 'close' follows them.
 */
export async function openSocket(target: LinkTarget, address: LinkAddress, signal: AbortSignal): Promise<OpenSocket> {
  const plain = await openPlain(target, address, signal);
  try {
    return await secure(plain, target, address, signal);
  } catch (error) {
    plain.destroy();
    throw error;
  }
}

/** `what` is a sentence without its full stop; the system's or TLS's own code for the reason is put behind it. */
export function unavailable(what: string, address: LinkAddress, cause: unknown): Failure {
  const reason = cause instanceof Error ? cause : new Error(String(cause));
  const code = 'code' in reason && typeof reason.code === 'string' ? reason.code : reason.name;
  return new Failure('upstream_unavailable', `${what}${code === 'Error' ? '' : ` (${code})`}.`, {
    cause: new Error(`at ${describeAddress(address)}`, { cause: reason }),
  });
}

async function openPlain({ keepAlive }: LinkTarget, address: LinkAddress, signal: AbortSignal): Promise<Socket> {
  const socket = address.kind === 'tcp' ? connectTcp({ host: address.ip ?? address.host, port: address.port }) : connectTcp({ path: address.path });
  ignoreErrors(socket);
  await settle(socket, 'connect', signal);
  socket.setNoDelay(true);
  socket.setKeepAlive(keepAlive.isOn, keepAlive.idleMs);
  return socket;
}

async function secure(plain: Socket, { tls }: LinkTarget, address: LinkAddress, signal: AbortSignal): Promise<OpenSocket> {
  const isSocket = address.kind === 'socket';
  const open = { socket: plain, isPrivate: isSocket, isEncrypted: false, channelBinding: undefined };
  if (isSocket || tls.mode === 'disable') return open;
  if (tls.negotiation === 'postgres' && !await isTlsOffered(plain, signal)) {
    if (tls.mode === 'prefer') return open;
    throw new Failure('upstream_unavailable', `The database server has no TLS, and sslmode=${tls.mode} asks for it.`);
  }
  const socket = await startTls(plain, address, tls);
  ignoreErrors(socket);
  try {
    await settle(socket, 'secureConnect', signal);
    checkAgreedProtocol(socket, tls);
  } catch (error) {
    socket.destroy();
    throw error;
  }
  const certificate = socket.getPeerX509Certificate();
  return { socket, isPrivate: true, isEncrypted: true, channelBinding: certificate === undefined ? undefined : serverEndPoint(certificate.raw) };
}

async function isTlsOffered(socket: Socket, signal: AbortSignal): Promise<boolean> {
  socket.write(encodeSslRequest());
  const answer = await firstChunk(socket, signal);
  if (answer.length === 1 && answer[0] === acceptByte) return true;
  if (answer.length === 1 && answer[0] === refuseByte) return false;
  throw new Failure('upstream_unavailable', 'What answers there does not speak the PostgreSQL protocol.');
}

/** An error that comes while no step listens would end the process; the next step finds the socket closed. */
function ignoreErrors(socket: Socket): void {
  socket.on('error', () => {});
}

/** Node rejects on 'error' by itself, but not when the other side just closes. */
async function settle(socket: Socket, event: 'connect' | 'secureConnect', signal: AbortSignal): Promise<void> {
  const closed = new AbortController();
  const onClose = (): void => { closed.abort(new Error('the server closed the connection')); };
  socket.once('close', onClose);
  try {
    await once(socket, event, { signal: AbortSignal.any([signal, closed.signal]) });
  } catch (error) {
    socket.destroy();
    throw closed.signal.aborted ? closed.signal.reason : error;
  } finally {
    socket.off('close', onClose);
  }
}

function firstChunk(socket: Socket, signal: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const finish = (): void => {
      socket.pause();
      socket.off('data', onData).off('error', onError).off('close', onClose);
      signal.removeEventListener('abort', onAbort);
    };
    const onData = (chunk: Buffer): void => { finish(); resolve(chunk); };
    const onError = (error: Error): void => { finish(); reject(error); };
    const onClose = (): void => { finish(); reject(new Error('the server closed the connection')); };
    const onAbort = (): void => { finish(); reject(signal.reason); };
    socket.on('data', onData).on('error', onError).on('close', onClose);
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
    else if (socket.destroyed) onClose();
  });
}
