/**
 * The password for one address of the guarded server: the connection string's own, or that of the first fitting line of
 * its passfile, `host:port:database:user:password` with `*` for any and a backslash before `:` and `\` (PostgreSQL
 * documentation, 34.16). The file is read at each login, so a changed password needs no restart.
 */
import type { LinkAddress, LinkTarget } from './link-target.ts';
import { readPrivateFile } from './link-tls.ts';

/** undefined: none is configured. Throws Failure when the passfile cannot be read or others may read it. */
export async function passwordFor(target: LinkTarget, address: LinkAddress, database: string): Promise<string | undefined> {
  const { password, passwordFile, user } = target;
  if (password !== undefined) return password.reveal();
  if (passwordFile === undefined) return undefined;
  const text = (await readPrivateFile(passwordFile, 'passfile')).toString('utf8');
  return findPassword(text, [...placeOf(address), database, user]);
}

/** `wanted` is host, port, database and user. */
export function findPassword(text: string, wanted: readonly string[]): string | undefined {
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith('#')) continue;
    const fields = fieldsOf(line);
    const password = fields[wanted.length];
    const fits = wanted.every((value, at) => fields[at] === '*' || unescaped(fields[at]) === value);
    if (fits && password !== undefined && password !== '') return unescaped(password);
  }
  return undefined;
}

function fieldsOf(line: string): readonly string[] {
  return [...line.matchAll(/(?<=^|:)(?:[^:\\]|\\.|\\$)*/g)].map(([field]) => field);
}

function unescaped(field: string | undefined): string | undefined {
  return field?.replaceAll(/\\(.)/g, '$1');
}

/** As libpq looks it up: a socket in its default place is `localhost`, another one its directory. */
function placeOf(address: LinkAddress): readonly [host: string, port: string] {
  if (address.kind === 'tcp') return [address.host, String(address.port)];
  const [, folder = '', port = ''] = /^(.*)\/\.s\.PGSQL\.(\d+)$/.exec(address.path) ?? [];
  return [folder === '/tmp' || folder === '/run/postgresql' || folder === '/var/run/postgresql' ? 'localhost' : folder, port];
}
