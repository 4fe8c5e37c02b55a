/**
 * What the certificate of a client says, after the TLS handshake. It was asked for, not demanded: a client without one
 * logs in by its token, and one whose certificate is not good is told so in words, inside the encrypted connection.
 */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

export type ClientCertificate =
  | { readonly kind: 'none' }
  /** Of another authority, expired, revoked, or made for another purpose. */
  | { readonly kind: 'rejected'; readonly why: string }
  | { readonly kind: 'accepted'; readonly names: (agent: string) => boolean; readonly endsMs: number };

export function clientCertificate(socket: Socket): ClientCertificate {
  const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
  if (certificate === undefined) return { kind: 'none' };
  const why = flawOf(socket);
  if (why !== undefined) return { kind: 'rejected', why };
  const commonNames = certificate.subject.split('\n').flatMap((line) => (line.startsWith('CN=') ? [line.slice(3)] : []));
  return {
    kind: 'accepted', endsMs: certificate.validToDate.getTime(),
    // More than one common name says nothing: which one an authority has checked is not known.
    names: (agent) => (commonNames.length === 1 && commonNames[0] === agent) || certificate.checkHost(agent, { subject: 'never', wildcards: false }) !== undefined,
  };
}

/**
 * OpenSSL's verdict. Node shows it as `authorized` only on sockets that a tls.Server has accepted, so it is asked where
 * tls.Server asks; a Node that keeps it elsewhere accepts no certificate at all.
 */
function flawOf(socket: Socket): string | undefined {
  const handle: unknown = Reflect.get(socket, '_handle');
  if (typeof handle !== 'object' || handle === null || !('verifyError' in handle) || typeof handle.verifyError !== 'function') return 'it could not be verified';
  const error: unknown = Reflect.apply(handle.verifyError, handle, []);
  if (error === null || error === undefined) return undefined;
  return typeof error === 'object' && 'code' in error ? String(error.code).toLowerCase().replaceAll('_', ' ') : String(error);
}
