/**
 * LinkTarget: where the guarded servers are, as whom to log in, and how far they are trusted. Parsed once from a
 * connection string, whose keywords mean what they mean to libpq; one that is not understood is refused by its name, never
 * ignored. The password is a Secret from then on, and no message made here repeats the string or a part of it that could
 * hold a credential. Nothing is taken from PG* variables or from files in a home folder. Throws Failure('config_invalid').
 */
import { Secret } from '../../lib/secret.ts';
import { invalidConnection, printable, readConnectionText, type ConnectionWords } from './connection-text.ts';

/**
 * As in libpq. `prefer` takes TLS where the server has it; `require` insists but trusts any certificate; `verify-ca`
 * checks who issued it; `verify-full` also checks that it names the host.
 */
export type TlsMode = 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';

export type LinkAddress =
  /** `host` is what a certificate must name; `ip` is where to go instead of asking for the host's address. */
  | { readonly kind: 'tcp'; readonly host: string; readonly ip: string | undefined; readonly port: number }
  | { readonly kind: 'socket'; readonly path: string };

/** How a server may ask who we are; each is its own name in `require_auth`. */
export type LoginMethod = 'none' | 'password' | 'md5' | 'scram-sha-256';

export interface TlsWishes {
  readonly mode: TlsMode;
  /** `direct` begins with TLS at once, without asking the server first (PostgreSQL 17 and later). */
  readonly negotiation: 'postgres' | 'direct';
  /** Whose certificates are trusted: those in a PEM file, the operating system's, or those that Node brings. */
  readonly roots: { readonly kind: 'file'; readonly path: string } | { readonly kind: 'system' | 'bundled' };
  readonly revocationFile: string | undefined;
  readonly certificate: { readonly certFile: string; readonly keyFile: string; readonly keyPassword: Secret | undefined } | undefined;
  readonly sendsName: boolean;
  readonly versionMin: 'TLSv1.2' | 'TLSv1.3';
  readonly versionMax: 'TLSv1.2' | 'TLSv1.3';
}

export type SessionAttributes = 'any' | 'read-write' | 'read-only' | 'primary' | 'standby' | 'prefer-standby';

export interface LinkTarget {
  /** In the order in which they are tried. */
  readonly addresses: readonly LinkAddress[];
  readonly user: string;
  readonly password: Secret | undefined;
  /** Looked into when there is no password. */
  readonly passwordFile: string | undefined;
  /** Used where a connection names none. */
  readonly database: string;
  readonly tls: TlsWishes;
  readonly channelBinding: 'disable' | 'prefer' | 'require';
  /** undefined: all that are spoken here. */
  readonly loginMethods: ReadonlySet<LoginMethod> | undefined;
  readonly sessionAttributes: SessionAttributes;
  /** Servers, and the addresses of each, are tried in random order. */
  readonly isBalanced: boolean;
  /** For each address; undefined: as long as the caller waits. */
  readonly connectMsMax: number | undefined;
  readonly keepAlive: { readonly isOn: boolean; readonly idleMs: number };
  /** Sent at every start-up unless the caller has its own. */
  readonly parameters: ReadonlyMap<string, string>;
}

const portDefault = 5432;
const addressesMax = 32;
const keepAliveIdleMs = 30_000;
const connectSecondsMax = 3_600;

const understood = [
  'host', 'hostaddr', 'port', 'dbname', 'user', 'password', 'passfile', 'require_auth', 'channel_binding', 'connect_timeout', 'client_encoding', 'options',
  'application_name', 'fallback_application_name', 'keepalives', 'keepalives_idle', 'gssencmode', 'sslmode', 'sslnegotiation', 'sslcompression', 'sslcert',
  'sslkey', 'sslpassword', 'sslcertmode', 'sslrootcert', 'sslcrl', 'sslsni', 'ssl_min_protocol_version', 'ssl_max_protocol_version',
  'target_session_attrs', 'load_balance_hosts',
] as const;
type Keyword = typeof understood[number];
const known: ReadonlySet<string> = new Set(understood);

/** Throws Failure('config_invalid'). */
export function parseConnectionString(text: string): LinkTarget {
  const all = readConnectionText(text);
  for (const name of all.keys()) {
    if (!known.has(name)) throw invalidConnection(`Its ${printable(name)} is not supported.`);
  }
  const words = new Words(all);
  words.check('client_encoding', /^(?:utf-?8|unicode|auto)$/i, 'client_encoding can only be UTF8');
  words.check('sslcompression', /^0$/, 'sslcompression can only be 0');
  words.check('gssencmode', /^(?:disable|prefer)$/, 'gssencmode can only be disable; GSSAPI is not spoken here');
  words.check('sslcertmode', /^(?:disable|allow)$/, 'sslcertmode can only be disable or allow');
  const user = words.get('user');
  if (user === undefined) throw invalidConnection('It names no user.');
  const password = words.get('password');
  const tls = readTls(words);
  const channelBinding = words.oneOf('channel_binding', ['disable', 'prefer', 'require'], 'prefer');
  if (channelBinding === 'require' && tls.mode === 'disable') throw invalidConnection('channel_binding=require needs TLS, and sslmode=disable forbids it.');
  return {
    addresses: readAddresses(words), user, password: password === undefined ? undefined : new Secret(password),
    passwordFile: words.get('passfile'), database: words.get('dbname') ?? user, tls, channelBinding,
    loginMethods: readLoginMethods(words.get('require_auth')),
    sessionAttributes: words.oneOf('target_session_attrs', ['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby'], 'any'),
    isBalanced: words.oneOf('load_balance_hosts', ['disable', 'random'], 'disable') === 'random',
    connectMsMax: connectTimeout(words.number('connect_timeout', connectSecondsMax)),
    keepAlive: { isOn: words.flag('keepalives', true), idleMs: (words.number('keepalives_idle', 86_400) ?? 0) * 1000 || keepAliveIdleMs },
    parameters: readParameters(words),
  };
}

/** Host and port or socket, for logs and for operators. */
export function describeAddress(address: LinkAddress): string {
  if (address.kind === 'socket') return address.path;
  const place = `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
  return address.ip === undefined || address.ip === address.host ? place : `${place} (${address.ip})`;
}

class Words {
  readonly #words: ConnectionWords;

  constructor(words: ConnectionWords) { this.#words = words; }

  get(name: Keyword): string | undefined { return this.#words.get(name); }

  check(name: Keyword, pattern: RegExp, flaw: string): void {
    const value = this.get(name);
    if (value !== undefined && !pattern.test(value)) throw invalidConnection(`Its ${flaw}.`);
  }

  oneOf<T extends string>(name: Keyword, values: readonly T[], otherwise: T): T {
    const value = this.get(name);
    if (value === undefined) return otherwise;
    const found = values.find((one) => one === value);
    if (found === undefined) throw invalidConnection(`Its ${name} is none of ${values.join(', ')}.`);
    return found;
  }

  number(name: Keyword, max: number): number | undefined {
    const value = this.get(name);
    if (value === undefined) return undefined;
    if (!/^\d{1,9}$/.test(value) || Number(value) > max) throw invalidConnection(`Its ${name} is not a number from 0 to ${max}.`);
    return Number(value);
  }

  flag(name: Keyword, otherwise: boolean): boolean {
    return this.oneOf(name, ['0', '1'], otherwise ? '1' : '0') === '1';
  }
}

/** In libpq 0 waits for ever; here the caller's own limit is what then holds. One second is taken for two, as there. */
function connectTimeout(seconds: number | undefined): number | undefined {
  return seconds === undefined || seconds === 0 ? undefined : Math.max(seconds, 2) * 1000;
}

function readAddresses(words: Words): readonly LinkAddress[] {
  const hosts = words.get('host')?.split(',') ?? [];
  const ips = words.get('hostaddr')?.split(',') ?? [];
  const ports = words.get('port')?.split(',') ?? [''];
  const count = Math.max(hosts.length, ips.length, 1);
  if (hosts.length > 0 && ips.length > 0 && hosts.length !== ips.length) throw invalidConnection(`It names ${hosts.length} hosts and ${ips.length} addresses in hostaddr.`);
  if (ports.length !== 1 && ports.length !== count) throw invalidConnection(`It names ${count} hosts and ${ports.length} ports.`);
  if (count > addressesMax) throw invalidConnection(`It names ${count} hosts; at most ${addressesMax} are taken.`);
  return Array.from({ length: count }, (_, at) => readAddress(hosts[at] ?? '', ips[at] ?? '', ports[ports.length === 1 ? 0 : at] ?? ''));
}

function readAddress(host: string, ip: string, portText: string): LinkAddress {
  const port = portText === '' ? portDefault : Number(portText);
  if (!/^\d*$/.test(portText) || port < 1 || port > 65_535) throw invalidConnection('Its port is not a number from 1 to 65535.');
  if (ip === '' && host.startsWith('/')) return { kind: 'socket', path: `${host.replace(/\/+$/, '')}/.s.PGSQL.${port}` };
  if (host.startsWith('@')) throw invalidConnection('A host that begins with @ (an abstract socket) is not supported.');
  if (ip !== '' && !/^(?:\d+(?:\.\d+){3}|[\da-f:.]*:[\da-f:.]*(?:%\w+)?)$/i.test(ip)) throw invalidConnection('Its hostaddr is no IP address.');
  const name = host !== '' ? host : ip !== '' ? ip : 'localhost';
  return { kind: 'tcp', host: name, ip: ip === '' ? undefined : ip, port };
}

function readTls(words: Words): TlsWishes {
  if (words.get('sslmode') === 'allow') throw invalidConnection('sslmode=allow tries the login without TLS first, so it is not supported; write prefer or require.');
  const root = words.get('sslrootcert');
  const asked = words.oneOf('sslmode', ['disable', 'prefer', 'require', 'verify-ca', 'verify-full'], root === 'system' ? 'verify-full' : 'prefer');
  if (root === 'system' && asked !== 'verify-full') throw invalidConnection('sslrootcert=system needs sslmode=verify-full: anybody can have a certificate of a public issuer.');
  const negotiation = words.oneOf('sslnegotiation', ['postgres', 'direct'], 'postgres');
  if (negotiation === 'direct' && (asked === 'disable' || asked === 'prefer')) throw invalidConnection('sslnegotiation=direct needs sslmode=require or stronger.');
  const versions = ['TLSv1.2', 'TLSv1.3'] as const;
  const tls = {
    // As libpq does: whoever names an issuer wants it checked.
    mode: asked === 'require' && root !== undefined ? 'verify-ca' : asked,
    negotiation, roots: rootsNamed(root),
    revocationFile: words.get('sslcrl'), certificate: words.get('sslcertmode') === 'disable' ? undefined : readCertificate(words), sendsName: words.flag('sslsni', true),
    versionMin: words.oneOf('ssl_min_protocol_version', versions, 'TLSv1.2'), versionMax: words.oneOf('ssl_max_protocol_version', versions, 'TLSv1.3'),
  } as const;
  if (tls.versionMin > tls.versionMax) throw invalidConnection('Its ssl_min_protocol_version is above its ssl_max_protocol_version.');
  return tls;
}

function rootsNamed(root: string | undefined): TlsWishes['roots'] {
  if (root === undefined) return { kind: 'bundled' };
  return root === 'system' ? { kind: 'system' } : { kind: 'file', path: root };
}

function readCertificate(words: Words): TlsWishes['certificate'] {
  const [certFile, keyFile, keyPassword] = [words.get('sslcert'), words.get('sslkey'), words.get('sslpassword')];
  if (certFile !== undefined && keyFile !== undefined) return { certFile, keyFile, keyPassword: keyPassword === undefined ? undefined : new Secret(keyPassword) };
  if (certFile === undefined && keyFile === undefined && keyPassword === undefined) return undefined;
  throw invalidConnection('sslcert and sslkey belong together: name the file of the certificate and the file of its key.');
}

/** `a,b`: one of these. `!a,!b`: none of these. */
function readLoginMethods(text: string | undefined): ReadonlySet<LoginMethod> | undefined {
  if (text === undefined) return undefined;
  const all: readonly LoginMethod[] = ['none', 'password', 'md5', 'scram-sha-256'];
  const words = text.split(',').map((word) => word.trim());
  const named = words.map((word) => all.find((method) => method === word.replace(/^!/, '')));
  const areExcluded = words.every((word) => word.startsWith('!'));
  if (named.includes(undefined) || (!areExcluded && words.some((word) => word.startsWith('!')))) {
    throw invalidConnection(`Its require_auth is no list of ${all.join(', ')}, all or none with a ! before them.`);
  }
  return new Set(all.filter((method) => named.includes(method) !== areExcluded));
}

function readParameters(words: Words): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  const application = words.get('application_name') ?? words.get('fallback_application_name');
  if (application !== undefined) parameters.set('application_name', application);
  const options = words.get('options');
  if (options !== undefined) parameters.set('options', options);
  return parameters;
}
