/**
 * Whether a server is what `target_session_attrs` asks for, as libpq tells it: by what the server reported at login, or by
 * asking, where a pooler reported nothing. A read-only default that we asked for ourselves says nothing about the server.
 */
import { Failure } from '../../core/failure.ts';
import type { Link } from './link.ts';
import type { SessionAttributes } from './link-target.ts';

const askMsMax = 5_000;
type Asked = Pick<Link, 'parameters' | 'query'>;

export async function fitsAttributes(link: Asked, wanted: SessionAttributes, startup: ReadonlyMap<string, string>): Promise<boolean> {
  switch (wanted) {
    case 'any':
    case 'prefer-standby': return true;
    case 'primary': return !await isStandby(link);
    case 'standby': return isStandby(link);
    case 'read-write': return !await isReadOnly(link, startup);
    case 'read-only': return isReadOnly(link, startup);
  }
}

async function isStandby(link: Asked): Promise<boolean> {
  const reported = link.parameters.get('in_hot_standby');
  if (reported !== undefined) return reported === 'on';
  return await ask(link, 'SELECT pg_catalog.pg_is_in_recovery()') === 't';
}

async function isReadOnly(link: Asked, startup: ReadonlyMap<string, string>): Promise<boolean> {
  if (await isStandby(link)) return true;
  const isOurs = startup.has('default_transaction_read_only') || /default[-_]transaction[-_]read[-_]only/i.test(startup.get('options') ?? '');
  if (isOurs) return false;
  const reported = link.parameters.get('default_transaction_read_only');
  if (reported !== undefined) return reported === 'on';
  return await ask(link, 'SHOW default_transaction_read_only') === 'on';
}

async function ask(link: Asked, sql: string): Promise<string | null | undefined> {
  try {
    return (await link.query(sql, [], askMsMax)).rows[0]?.[0];
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    throw new Failure('upstream_unavailable', 'The database server does not tell whether it is a standby.', { cause });
  }
}
