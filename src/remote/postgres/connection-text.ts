/**
 * Splits a connection string into its keywords and values, in both of libpq's spellings (PostgreSQL documentation,
 * 34.1.1): `postgres://user:password@host:port,host:port/database?keyword=value` and `host=… user=… password='…'`. What
 * the values mean is read elsewhere. Throws Failure('config_invalid'), whose message repeats nothing that could be a
 * credential.
 */
import { Failure } from '../../core/failure.ts';

export type ConnectionWords = ReadonlyMap<string, string>;

/** Lower-case keywords as libpq names them; an empty value stands for none, as in libpq. */
export function readConnectionText(text: string): ConnectionWords {
  const words = /^postgres(?:ql)?:\/\//i.test(text) ? readUrl(text) : readKeywords(text);
  for (const [name, value] of words) {
    if (value.includes('\0')) throw invalidConnection(`Its ${name} holds a NUL.`);
  }
  return new Map([...words].filter(([, value]) => value !== ''));
}

export function invalidConnection(flaw: string): Failure {
  return new Failure('config_invalid', `The connection string of the database server cannot be read. ${flaw}`, {
    hint: 'Write postgres://user:password@host:5432/database, with ?sslmode=verify-full where the server has a certificate.',
  });
}

function readUrl(text: string): Map<string, string> {
  if (text.includes('#')) throw invalidConnection('It has a # in it; percent-encode it as %23.');
  const match = /^postgres(?:ql)?:\/\/(?:([^@/?]*)@)?([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/is.exec(text);
  if (match === null) throw invalidConnection('It is not a URL; characters such as @ : / # in a password must be percent-encoded.');
  const [, account = '', places = '', database = '', query = ''] = match;
  const words = new Map<string, string>();
  const colon = account.indexOf(':');
  words.set('user', decode(colon < 0 ? account : account.slice(0, colon), 'user'));
  words.set('password', colon < 0 ? '' : decode(account.slice(colon + 1), 'password'));
  const hosts = places.split(',').map(readPlace);
  words.set('host', hosts.every(({ host }) => host === '') ? '' : hosts.map(({ host }) => host).join(','));
  words.set('port', hosts.every(({ port }) => port === '') ? '' : hosts.map(({ port }) => port).join(','));
  words.set('dbname', decode(database, 'database'));
  for (const [name, value] of readQuery(query)) words.set(name, value);
  return words;
}

/** `host`, `host:port`, `[::1]:port`; a socket's directory is percent-encoded. */
function readPlace(text: string): { readonly host: string; readonly port: string } {
  const match = /^(?:\[([^\]]*)\]|([^:[\]@]*))(?::(\d*))?$/.exec(text);
  if (match === null) throw invalidConnection('Its host and port cannot be told apart; characters such as @ : / in a password must be percent-encoded, and an IPv6 address stands in brackets.');
  const host = match[1] ?? decode(match[2] ?? '', 'host');
  if (host.includes(',')) throw invalidConnection('A host has a comma in it.');
  return { host, port: match[3] ?? '' };
}

/** Percent-encoding only: a + is a plus, unlike in a web form. */
function readQuery(query: string): (readonly [name: string, value: string])[] {
  if (query === '') return [];
  return query.split('&').map((pair) => {
    const at = pair.indexOf('=');
    if (at < 1) throw invalidConnection('A parameter behind the ? is not written as keyword=value.');
    const name = decode(pair.slice(0, at), 'parameter');
    // JDBC's word for it, which libpq takes in a URL too.
    if (name === 'ssl' && pair.slice(at + 1) === 'true') return ['sslmode', 'require'];
    return [name, decode(pair.slice(at + 1), printable(name))];
  });
}

/** `keyword = 'value'`: quotes around blanks and empty values, a backslash before a quote or a backslash. */
function readKeywords(text: string): Map<string, string> {
  const words = new Map<string, string>();
  const pattern = /\s*([A-Za-z_]+)\s*=\s*(?:'((?:[^'\\]|\\[^])*)'(?=\s|$)|((?:[^\s'\\]|\\[^])*)(?=\s|$))/gy;
  let end = 0;
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    end = pattern.lastIndex;
    words.set(match[1] ?? '', (match[2] ?? match[3] ?? '').replaceAll(/\\([^])/g, '$1'));
  }
  if (text.slice(end).trim() !== '' || words.size === 0) {
    throw invalidConnection('It neither begins with postgres:// nor is it a row of keyword=value; a value with blanks or quotes stands in \'…\'.');
  }
  return words;
}

function decode(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // The URIError holds the text, which may be the password, so it is not passed on.
    throw invalidConnection(`Its ${what} has a % that begins no escape; percent-encode it as %25.`);
  }
}

/** A keyword for a message: in a string that is cut wrongly it may be part of a password. */
export function printable(name: string): string {
  return /^[a-z_]{1,40}$/.test(name) ? `parameter ${JSON.stringify(name)}` : 'parameter';
}
