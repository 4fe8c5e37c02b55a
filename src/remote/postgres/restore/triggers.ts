/**
 * Which way rows are put back, and how nothing acts on them meanwhile. Where the role may play a replica, foreign keys and
 * ordinary triggers stay silent and the keys are looked up afterwards; where it may not, or where a constraint is checked by
 * a trigger of the server's own that a replica would skip, the server's checks act and the order of tables has to fit. In
 * both ways triggers and rules of users are switched off one by one, and each is put back as it was.
 */
import type { CatalogQuery } from '../catalog.ts';

export type RestoreWay = 'replica' | 'constraints';

/** A deferrable unique or exclusion constraint is checked by an ordinary trigger: as a replica the server would let anything in. */
const wayQuery = `SELECT pg_catalog.has_parameter_privilege('session_replication_role', 'SET') AND NOT EXISTS (
  SELECT FROM pg_constraint k WHERE k.contype IN ('p', 'u', 'x') AND k.condeferrable
    AND k.conrelid IN (SELECT t.relid FROM unnest($1::regclass[]) w(oid), pg_partition_tree(w.oid) t UNION ALL SELECT w.oid FROM unnest($1::regclass[]) w(oid)))`;

/** `names`: an array of regclass as text. */
export async function wayOf(query: CatalogQuery, names: string): Promise<RestoreWay> {
  return (await query(wayQuery, [names]))[0]?.[0] === 't' ? 'replica' : 'constraints';
}

export interface Silence { readonly begin: readonly string[]; readonly end: readonly string[] }

const quietQuery = `WITH given AS (SELECT w.oid::oid AS oid FROM unnest($1::regclass[]) w(oid) UNION SELECT t.relid FROM unnest($1::regclass[]) w(oid), pg_partition_tree(w.oid) t),
    acting AS (SELECT tgrelid AS relation, 'TRIGGER' AS kind, tgname AS name, tgenabled AS enabled FROM pg_trigger WHERE NOT tgisinternal
      UNION ALL SELECT ev_class, 'RULE', rulename, ev_enabled FROM pg_rewrite WHERE ev_type <> '1')
  SELECT format('ALTER TABLE ONLY %I.%I DISABLE %s %I', n.nspname, c.relname, a.kind, a.name),
    format('ALTER TABLE ONLY %I.%I ENABLE %s%s %I', n.nspname, c.relname, CASE a.enabled WHEN 'A' THEN 'ALWAYS ' WHEN 'R' THEN 'REPLICA ' ELSE '' END, a.kind, a.name)
  FROM acting a JOIN given g ON g.oid = a.relation JOIN pg_class c ON c.oid = a.relation JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE a.enabled = ANY ($2::"char"[]) ORDER BY c.oid, a.kind, a.name`;

/** What switches off the triggers and rules that would fire, and what switches them on again. */
export async function silence(query: CatalogQuery, names: string, way: RestoreWay): Promise<Silence> {
  const acting = await query(quietQuery, [names, way === 'replica' ? '{A,R}' : '{O,A}']);
  const [begin, end] = [acting.map(([off]) => off ?? ''), acting.map(([, on]) => on ?? '')];
  if (way === 'constraints') return { begin: ['SET CONSTRAINTS ALL DEFERRED', ...begin], end: ['SET CONSTRAINTS ALL IMMEDIATE', ...end] };
  return { begin: [...begin, 'SET LOCAL session_replication_role TO replica'], end: ['SET LOCAL session_replication_role TO origin', ...end] };
}
