/**
 * Opens the byte stream to the guarded server: TCP or Unix socket, then TLS as the target's mode asks. Refuses anything
 * a server (or somebody before it) sends along with its answer to the TLS request, which would otherwise be taken for
 * encrypted data. Throws Failure('upstream_unavailable'), whose cause, for logs only, names the address.
 */
import { readFile } from 'node:fs/promises';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { once } from 'node:events';
import { Failure } from '../../core/failure.ts';
import { serverEndPoint } from '../../lib/pgwire/channel-binding.ts';
import { encodeSslRequest } from '../../lib/pgwire/frontend-encode.ts';
import { describeAddress, type LinkAddress, type LinkTarget } from './link-target.ts';

export interface OpenSocket {
  readonly socket: Socket;
  /** TLS, or a Unix socket, on which nobody else listens. */
  readonly isPrivate: boolean;
  readonly isEncrypted: boolean;
  readonly channelBinding: Buffer | undefined;
}

const keepAliveMs = 30_000;
const acceptByte = 0x53; // S
const refuseByte = 0x4e; // N

/**
 * The socket is paused and is destroyed when this throws. Its errors are heard by nobody but are in `socket.errored`, and
 * 'close' follows them. `reach` is the IP address to use instead of asking for the host's.
 */
export async function openSocket(target: LinkTarget, signal: AbortSignal, reach?: string): Promise<OpenSocket> {
  const plain = await openPlain(target.address, reach, signal);
  try {
    return await secure(plain, target, signal);
  } catch (error) {
    plain.destroy();
    throw error;
  }
}

/** `what` is a sentence without its full stop; the system's or TLS's own code for the reason is put behind it. */
export function unavailable(what: string, target: LinkTarget, cause: unknown): Failure {
  const reason = cause instanceof Error ? cause : new Error(String(cause));
  const code = 'code' in reason && typeof reason.code === 'string' ? reason.code : reason.name;
  return new Failure('upstream_unavailable', `${what}${code === 'Error' ? '' : ` (${code})`}.`, {
    cause: new Error(`at ${describeAddress(target.address)}`, { cause: reason }),
  });
}

async function openPlain(address: LinkAddress, reach: string | undefined, signal: AbortSignal): Promise<Socket> {
  const socket = address.kind === 'tcp' ? connectTcp({ host: reach ?? address.host, port: address.port }) : connectTcp({ path: address.path });
  ignoreErrors(socket);
  await settle(socket, 'connect', signal);
  socket.setNoDelay(true);
  socket.setKeepAlive(true, keepAliveMs);
  return socket;
}

async function secure(plain: Socket, target: LinkTarget, signal: AbortSignal): Promise<OpenSocket> {
  const isSocket = target.address.kind === 'socket';
  const open = { socket: plain, isPrivate: isSocket, isEncrypted: false, channelBinding: undefined };
  if (isSocket || target.tlsMode === 'disable') return open;
  if (!await isTlsOffered(plain, signal)) {
    if (target.tlsMode === 'prefer') return open;
    throw new Failure('upstream_unavailable', `The database server has no TLS, and sslmode=${target.tlsMode} asks for it.`);
  }
  const socket = connectTls({ socket: plain, ...await tlsOptions(target) });
  ignoreErrors(socket);
  try {
    await settle(socket, 'secureConnect', signal);
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

async function tlsOptions(target: LinkTarget): Promise<ConnectionOptions> {
  const { address, tlsMode, rootCertificateFile } = target;
  const host = address.kind === 'tcp' ? address.host : '';
  const isChecked = tlsMode === 'verify-ca' || tlsMode === 'verify-full';
  return {
    host,
    // RFC 6066 allows names only, no addresses.
    ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }),
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['postgresql'],
    rejectUnauthorized: isChecked,
    ...(isChecked && rootCertificateFile !== undefined ? { ca: await readFile(rootCertificateFile) } : {}),
    ...(tlsMode === 'verify-ca' ? { checkServerIdentity: () => undefined } : {}),
  };
}
