/**
 * TLS towards the guarded server: which certificates are trusted, which of ours is shown, and what must come back. Files
 * are read for each connection, so that renewed ones are used without a restart; a key that others may read is refused, as
 * libpq does. Throws Failure('upstream_unavailable') for what an operator must correct; no file's place or content is in it.
 */
import { readFile, stat } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { connect as connectTls, createSecureContext, getCACertificates, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { isIP } from 'node:net';
import { Failure } from '../../core/failure.ts';
import type { LinkAddress, TlsWishes } from './link-target.ts';
import { systemCode } from '../../lib/system-error.ts';

const alpnName = 'postgresql';

/** Begins the handshake; 'secureConnect' follows. */
export async function startTls(socket: Socket, address: LinkAddress, tls: TlsWishes): Promise<TLSSocket> {
  return connectTls({ socket, ...await tlsOptions(address, tls) });
}

/** What speaks TLS but no PostgreSQL behind it is found out here (ALPACA attacks); older servers agree on nothing. */
export function checkAgreedProtocol(socket: TLSSocket, tls: TlsWishes): void {
  if (tls.negotiation !== 'direct' || socket.alpnProtocol === alpnName) return;
  throw new Failure('upstream_unavailable', 'The database server did not agree to speak PostgreSQL inside TLS, and sslnegotiation=direct asks for it.', {
    hint: 'Leave sslnegotiation=direct out of the connection string; only PostgreSQL 17 and later know it.',
  });
}

/** A file with a secret in it, which nobody but its owner (or root's group, for root's file) may read. */
export async function readPrivateFile(path: string, keyword: string): Promise<Buffer> {
  const found = await stat(path).catch((cause: unknown) => { throw unreadable(keyword, cause); });
  if (!found.isFile()) throw unusable(`The file of ${keyword} is no file.`);
  const isRoots = found.uid === 0 && process.getuid?.() !== 0;
  const tooOpen = found.mode & (isRoots ? 0o027 : 0o077);
  if (process.platform !== 'win32' && tooOpen !== 0) {
    throw unusable(`The file of ${keyword} may be read or changed by others (mode ${(found.mode & 0o777).toString(8).padStart(4, '0')}); it must be ${isRoots ? '0640' : '0600'} or less.`);
  }
  return readNamedFile(path, keyword);
}

async function tlsOptions(address: LinkAddress, tls: TlsWishes): Promise<ConnectionOptions> {
  const host = address.kind === 'tcp' ? address.host : '';
  const isChecked = tls.mode === 'verify-ca' || tls.mode === 'verify-full';
  return {
    host,
    // RFC 6066 allows names only, no addresses.
    ...(isIP(host) === 0 && tls.sendsName ? { servername: host } : {}),
    ALPNProtocols: [alpnName],
    secureContext: createContext(tls, {
      ...(isChecked ? { ca: await rootsOf(tls), crl: tls.revocationFile === undefined ? undefined : await readNamedFile(tls.revocationFile, 'sslcrl') } : {}),
      ...await ownCertificate(tls),
    }),
    rejectUnauthorized: isChecked,
    ...(tls.mode === 'verify-ca' ? { checkServerIdentity: () => undefined } : {}),
  };
}

interface Files { readonly ca?: readonly string[] | Buffer | undefined; readonly crl?: Buffer | undefined; readonly cert?: Buffer; readonly key?: Buffer; readonly passphrase?: string }

function createContext(tls: TlsWishes, { ca, crl, ...own }: Files): ReturnType<typeof createSecureContext> {
  const trust = { ...(ca === undefined ? {} : { ca: Buffer.isBuffer(ca) ? ca : [...ca] }), ...(crl === undefined ? {} : { crl }) };
  try {
    return createSecureContext({ minVersion: tls.versionMin, maxVersion: tls.versionMax, ...trust, ...own });
  } catch (cause) {
    const code = systemCode(cause);
    throw unusable(own.key === undefined ? `The files of sslrootcert or sslcrl cannot be used (${code}).`
      : `The files of sslcert and sslkey cannot be used, or sslpassword is not the key's (${code}).`, cause);
  }
}

async function rootsOf({ roots }: TlsWishes): Promise<readonly string[] | Buffer | undefined> {
  switch (roots.kind) {
    case 'file': return readNamedFile(roots.path, 'sslrootcert');
    case 'system': return getCACertificates('system');
    case 'bundled': return undefined;
  }
}

async function ownCertificate({ certificate }: TlsWishes): Promise<Pick<Files, 'cert' | 'key' | 'passphrase'>> {
  if (certificate === undefined) return {};
  const { certFile, keyFile, keyPassword } = certificate;
  return {
    cert: await readNamedFile(certFile, 'sslcert'), key: await readPrivateFile(keyFile, 'sslkey'),
    ...(keyPassword === undefined ? {} : { passphrase: keyPassword.reveal() }),
  };
}

async function readNamedFile(path: string, keyword: string): Promise<Buffer> {
  return readFile(path).catch((cause: unknown) => { throw unreadable(keyword, cause); });
}

function unreadable(keyword: string, cause: unknown): Failure {
  return unusable(`The file of ${keyword} cannot be read (${systemCode(cause)}).`, cause);
}

function unusable(message: string, cause?: unknown): Failure {
  return new Failure('upstream_unavailable', message, { hint: 'An operator must correct the connection string of the database server, or the files it names.', cause });
}
