/**
 * What a session asks its own server: at its start, to be locked; between batches the search path and the role, inside a
 * transaction by SHOW, which takes no snapshot; and, only after code that nobody read, which prepared statements, cursors
 * and temporary objects there are. Asked on the client's link, because only that session knows.
 */
import { Failure } from '../../core/failure.ts';
import type { TransactionStatus } from '../../lib/pgwire/backend-encode.ts';
import type { TimeLimits } from '../../core/sql/time-limits.ts';
import type { Link } from '../../remote/postgres/link.ts';
import { lockedSetting, ReadOnlyLock } from './read-only-lock.ts';
import type { Registry } from './registry.ts';
import { readSearchPath } from './search-path.ts';
import type { SessionState } from './session-state.ts';

type Asking = Pick<Link, 'query'>;

/** Locks a session that has just begun. What would refuse it or keep silent about it cannot be guarded: throws Failure. */
export async function closeLock(link: Pick<Link, 'query' | 'parameters'>): Promise<ReadOnlyLock> {
  const own = link.parameters.get(lockedSetting);
  if (own === undefined) throw unlockable(`it does not report ${lockedSetting}`);
  let answer;
  try {
    answer = await link.query(`SELECT pg_catalog.set_config('${lockedSetting}', 'on', false), pg_catalog.current_setting('default_transaction_deferrable')`);
  } catch (error) {
    throw error instanceof Failure ? error : unlockable(error instanceof Error ? error.message : String(error), error);
  }
  const [set, deferrable] = answer.rows[0] ?? [];
  if (set !== 'on') throw unlockable(`${lockedSetting} stays ${set ?? 'unknown'}`);
  return new ReadOnlyLock({ own, isDeferrable: deferrable === 'on' });
}

function unlockable(why: string, cause?: unknown): Failure {
  return new Failure('upstream_unsupported', `The database server does not let Backstop lock a session against writes: ${why}.`, {
    hint: `Let the role of Backstop call set_config, and let a pooler before the server pass ${lockedSetting} on and serve whole sessions.`, cause,
  });
}

/**
 * Puts every limit of time that is higher or off back in force, for whatever reason: RESET ALL behind a pooler that does
 * not know the limits as the session's own, or code that nobody read. Only while no transaction is open.
 */
export async function keepTimeLimits(link: Asking, limits: TimeLimits): Promise<void> {
  if (limits.size === 0) return;
  const rows = [...limits].map(([name, ms]) => `('${name}', ${ms})`).join(', ');
  await ask(link, `SELECT pg_catalog.set_config(l.name, l.ms::pg_catalog.text, false) FROM (VALUES ${rows}) AS l (name, ms)
    JOIN pg_catalog.pg_settings AS s ON s.name OPERATOR(pg_catalog.=) l.name
    WHERE NOT (s.setting::pg_catalog.int8 OPERATOR(pg_catalog.>) 0 AND s.setting::pg_catalog.int8 OPERATOR(pg_catalog.<=) l.ms)`);
}

export async function learnPath(link: Asking, state: SessionState, status: TransactionStatus): Promise<void> {
  if (status === 'idle') {
    const { rows: [row] } = await ask(link, "SELECT pg_catalog.current_setting('search_path'), CURRENT_USER::pg_catalog.text");
    state.learnt(readSearchPath(row?.[0] ?? '', row?.[1] ?? ''), row?.[1] ?? '');
    return;
  }
  const path = await show(link, 'search_path');
  const role = await show(link, 'role');
  // Without SET ROLE the role is the session's own.
  const effective = role === 'none' ? await show(link, 'session_authorization') : role;
  state.learnt(readSearchPath(path, effective), effective);
}

/** Operators are qualified like all names: the search path is the client's, and an operator of its schemas could hide anything. */
const temporarySql = `
SELECT 'prepared', name, statement FROM pg_catalog.pg_prepared_statements
UNION ALL SELECT 'portal', name, statement FROM pg_catalog.pg_cursors
UNION ALL SELECT CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'r' AND NOT c.relhasrules AND NOT c.relhastriggers AND NOT c.relrowsecurity
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_attrdef d WHERE d.adrelid OPERATOR(pg_catalog.=) c.oid)
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid OPERATOR(pg_catalog.=) c.oid AND k.contype OPERATOR(pg_catalog.=) 'c')
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL))
  THEN 'plain' ELSE 'opaque' END, c.relname, '' FROM pg_catalog.pg_class c WHERE c.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() AND c.relkind OPERATOR(pg_catalog.<>) 'i'
UNION ALL SELECT 'opaque', t.typname, '' FROM pg_catalog.pg_type t WHERE t.typnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() AND t.typrelid OPERATOR(pg_catalog.=) 0 AND t.typelem OPERATOR(pg_catalog.=) 0
UNION ALL SELECT 'opaque', p.proname, '' FROM pg_catalog.pg_proc p WHERE p.pronamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()`;

export async function learnNames(link: Asking, state: SessionState, registry: Registry): Promise<void> {
  const { rows } = await ask(link, temporarySql);
  const of = (kind: string): ReadonlyMap<string, string> => new Map(rows.flatMap(([what, name, text]) => (what === kind ? [[name ?? '', text ?? ''] as const] : [])));
  registry.keepOnly({ prepared: of('prepared'), portals: of('portal') });
  state.learntRelations({ plain: new Set(of('plain').keys()), opaque: new Set(of('opaque').keys()) });
}

function ask(link: Asking, sql: string): ReturnType<Link['query']> {
  return link.query(sql).catch(notAnswered);
}

/**
 * A time-out of the client's own, or its cancel request, can hit our questions too; that refuses one statement and ends no
 * session. It is what PostgreSQL would have done to the statement, so the client is told so in the same words.
 */
export function notAnswered(error: unknown): never {
  if (!(error instanceof Error) || !('code' in error) || error instanceof Failure) throw error;
  if (error.code === '57014') throw new Failure('cancelled', error.message, { cause: error });
  throw new Failure('upstream_unavailable', `Backstop could not ask the session what its names mean (SQLSTATE ${String(error.code)})`, { hint: 'Send it again.', cause: error });
}

async function show(link: Asking, setting: string): Promise<string> {
  const { rows } = await ask(link, `SHOW ${setting}`);
  return rows[0]?.[0] ?? '';
}
