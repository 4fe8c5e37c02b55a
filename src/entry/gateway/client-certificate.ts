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
  if (!(socket instanceof TLSSocket) || certificate === undefined) return { kind: 'none' };
  if (!socket.authorized) return { kind: 'rejected', why: reasonOf(socket.authorizationError) };
  const commonNames = certificate.subject.split('\n').flatMap((line) => (line.startsWith('CN=') ? [line.slice(3)] : []));
  return {
    kind: 'accepted', endsMs: certificate.validToDate.getTime(),
    // More than one common name says nothing: which one an authority has checked is not known.
    names: (agent) => (commonNames.length === 1 && commonNames[0] === agent) || certificate.checkHost(agent, { subject: 'never', wildcards: false }) !== undefined,
  };
}

/** OpenSSL's name of the flaw, e.g. CERT_HAS_EXPIRED; Node's types call it an error. */
function reasonOf(error: unknown): string {
  const text = error instanceof Error ? ('code' in error ? String(error.code) : error.message) : String(error);
  return text.toLowerCase().replaceAll('_', ' ');
}
