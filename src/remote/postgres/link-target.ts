/**
 * LinkTarget: where the guarded server is, as whom to log in, and how far its TLS is trusted. Parsed once from a
 * connection string; the password is a Secret from then on, and no message made here repeats the string or a part of it
 * that could hold a credential. Throws Failure('config_invalid').
 */
import { Failure } from '../../core/failure.ts';
import { Secret } from '../../lib/secret.ts';

/**
 * As in libpq. `prefer` takes TLS where the server has it; `require` insists but trusts any certificate; `verify-ca`
 * checks who issued it; `verify-full` also checks that it names the host.
 */
export type TlsMode = 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';

export type LinkAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'socket'; readonly path: string };

export interface LinkTarget {
  readonly address: LinkAddress;
  readonly user: string;
  readonly password: Secret | undefined;
  /** Used where a connection names none. */
  readonly database: string;
  readonly tlsMode: TlsMode;
  /** PEM file of the issuers to trust instead of the system's; `verify-ca` and `verify-full` only. */
  readonly rootCertificateFile: string | undefined;
}

const tlsModes: readonly TlsMode[] = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full'];
const portDefault = 5432;
const knownParameters: ReadonlySet<string> = new Set(['host', 'port', 'user', 'password', 'dbname', 'sslmode', 'sslrootcert']);

/**
 * Reads `postgres://user:password@host:port/database?sslmode=…`. A Unix socket is a directory as the host, percent-encoded
 * or as `?host=/dir`. A parameter that is not understood is refused rather than ignored.
 */
export function parseConnectionString(text: string): LinkTarget {
  const url = parseUrl(text);
  const parameters = readParameters(url);
  const host = parameters.get('host') ?? decode(url.hostname.replace(/^\[(.*)\]$/, '$1'), 'host');
  const user = parameters.get('user') ?? decode(url.username, 'user');
  if (user === '') throw invalid('It names no user.');
  const password = parameters.get('password') ?? decode(url.password, 'password');
  const database = parameters.get('dbname') ?? decode(url.pathname.slice(1), 'database');
  return {
    address: readAddress(host === '' ? 'localhost' : host, parameters.get('port') ?? url.port),
    user,
    password: password === '' ? undefined : new Secret(password),
    database: database === '' ? user : database,
    tlsMode: readTlsMode(parameters.get('sslmode')),
    rootCertificateFile: parameters.get('sslrootcert'),
  };
}

/** Host and port or socket, for logs and for operators. */
export function describeAddress(address: LinkAddress): string {
  switch (address.kind) {
    case 'tcp': return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
    case 'socket': return address.path;
  }
}

function parseUrl(text: string): URL {
  if (!/^postgres(?:ql)?:\/\//i.test(text)) throw invalid('It does not begin with postgres://.');
  // An empty host (socket given as a parameter) is no URL to the WHATWG parser when a user stands before it.
  const withHost = text.replace(/^(postgres(?:ql)?:\/\/(?:[^/?#]*@)?)(?=[/?#]|$)/i, '$1localhost');
  const url = URL.parse(withHost);
  if (url === null) throw invalid('It is not a URL; characters such as @ : / # in a password must be percent-encoded.');
  if (url.hash !== '') throw invalid('It has a # in it; percent-encode it as %23.');
  return url;
}

function readParameters(url: URL): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  for (const [name, value] of url.searchParams) {
    if (!knownParameters.has(name)) throw invalid(`Its parameter ${JSON.stringify(name.slice(0, 40))} is not supported.`);
    parameters.set(name, value);
  }
  return parameters;
}

function readAddress(host: string, portText: string): LinkAddress {
  const port = portText === '' ? portDefault : Number(portText);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw invalid('Its port is not a number from 1 to 65535.');
  if (host.includes(',')) throw invalid('It names several hosts; name one.');
  return host.startsWith('/') ? { kind: 'socket', path: `${host}/.s.PGSQL.${port}` } : { kind: 'tcp', host, port };
}

function readTlsMode(text: string | undefined): TlsMode {
  if (text === undefined) return 'prefer';
  const mode = tlsModes.find((known) => known === text);
  if (mode === undefined) throw invalid(`Its sslmode is none of ${tlsModes.join(', ')}.`);
  return mode;
}

function decode(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // The URIError holds the text, which may be the password, so it is not passed on.
    throw invalid(`Its ${what} has a % that begins no escape; percent-encode it as %25.`);
  }
}

function invalid(flaw: string): Failure {
  return new Failure('config_invalid', `The connection string of the database server cannot be read. ${flaw}`, {
    hint: 'Write postgres://user:password@host:5432/database, with ?sslmode=verify-full where the server has a certificate.',
  });
}
