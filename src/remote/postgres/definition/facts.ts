/**
 * The fingerprint of a database's definition: one fact for each object that users made, in words that mean the same after
 * the object was dropped and made again, so without object ids and times. Two equal fingerprints are one catalog; where two
 * differ, the difference names the objects. Asked in a transaction with an empty search_path, or names would not be whole.
 */
import type { CatalogQuery } from '../catalog.ts';

/** `kind identity` → JSON, its keys in a fixed order. */
export type DefinitionFacts = ReadonlyMap<string, string>;

export interface FactDifference {
  /** `column app.orders.total` */
  readonly what: string;
  /** undefined: it was not there. */
  readonly before: string | undefined;
  readonly after: string | undefined;
}

/** Of extensions only the extension itself is told: it brings its members. */
const own = (catalog: string, oid: string): string =>
  `NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_catalog.${catalog}'::regclass AND e.objid = ${oid} AND e.deptype = 'e')`;
const ordinary = `n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'`;
const roleName = (oid: string): string => `(SELECT rolname FROM pg_roles WHERE pg_roles.oid = ${oid})`;
/** NULL stands for what the owner has by default, and so does its list. */
const acl = (column: string, type: string, owner: string): string =>
  `(SELECT array_agg(i::text ORDER BY i::text) FROM unnest(coalesce(${column}, acldefault('${type}', ${owner}))) i)`;
const comment = (catalog: string, oid: string, sub = '0'): string =>
  `(SELECT d.description FROM pg_description d WHERE d.classoid = 'pg_catalog.${catalog}'::regclass AND d.objoid = ${oid} AND d.objsubid = ${sub})`;
const labels = (catalog: string, oid: string, sub = '0'): string =>
  `(SELECT json_agg(json_build_array(l.provider, l.label) ORDER BY l.provider) FROM pg_seclabel l WHERE l.classoid = 'pg_catalog.${catalog}'::regclass AND l.objoid = ${oid} AND l.objsubid = ${sub})`;
const ofRelation = `JOIN pg_class c ON c.oid = x.relid JOIN pg_namespace n ON n.oid = c.relnamespace`;
/** Since version 17 NULL means what -1 meant. */
const orDefault = (column: string): string => `nullif(${column}, -1)`;

const relationFacts = `SELECT 'relation', format('%I.%I', n.nspname, c.relname), json_build_object(
  'kind', c.relkind, 'owner', ${roleName('c.relowner')}, 'persistence', c.relpersistence,
  'method', (SELECT amname FROM pg_am WHERE pg_am.oid = c.relam AND c.relkind <> 'i'), 'tablespace', (SELECT spcname FROM pg_tablespace s WHERE s.oid = c.reltablespace),
  'options', c.reloptions, 'toastOptions', (SELECT t.reloptions FROM pg_class t WHERE t.oid = c.reltoastrelid),
  'rowSecurity', c.relrowsecurity, 'forcedRowSecurity', c.relforcerowsecurity, 'replicaIdentity', c.relreplident, 'type', c.reloftype::regtype,
  'parents', (SELECT array_agg(i.inhparent::regclass::text ORDER BY i.inhseqno) FROM pg_inherits i WHERE i.inhrelid = c.oid),
  'bound', pg_get_expr(c.relpartbound, c.oid), 'partitioned', CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END,
  'view', CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END, 'populated', c.relispopulated,
  'acl', ${acl('c.relacl', 'r', 'c.relowner').replace(`acldefault('r'`, `acldefault(CASE WHEN c.relkind = 'S' THEN 's' ELSE 'r' END::"char"`)}, 'comment', ${comment('pg_class', 'c.oid')}, 'labels', ${labels('pg_class', 'c.oid')})
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND ${ordinary} AND ${own('pg_class', 'c.oid')}`;

/** Numbered as they stand: dropped columns leave holes that nobody sees. */
const columnFacts = `SELECT 'column', format('%I.%I.%I', n.nspname, c.relname, a.attname), json_build_object(
  'place', row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum), 'type', format_type(a.atttypid, a.atttypmod), 'notNull', a.attnotnull,
  'collation', CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation END,
  'default', (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum),
  'identity', a.attidentity, 'generated', a.attgenerated, 'storage', a.attstorage, 'compression', a.attcompression,
  'statistics', ${orDefault('a.attstattarget')}, 'options', a.attoptions, 'local', a.attislocal, 'inherited', a.attinhcount,
  'acl', (SELECT array_agg(i::text ORDER BY i::text) FROM unnest(a.attacl) i), 'comment', ${comment('pg_class', 'c.oid', 'a.attnum')}, 'labels', ${labels('pg_class', 'c.oid', 'a.attnum')})
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type t ON t.oid = a.atttypid
  WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND ${ordinary} AND ${own('pg_class', 'c.oid')}`;

const constraintFacts = `SELECT 'constraint', format('%I on %s', x.conname, coalesce(nullif(x.conrelid, 0)::regclass::text, x.contypid::regtype::text)), json_build_object(
  'definition', pg_get_constraintdef(x.oid), 'deferrable', x.condeferrable, 'deferred', x.condeferred, 'validated', x.convalidated,
  'local', x.conislocal, 'inherited', x.coninhcount, 'noInherit', x.connoinherit AND x.contype IN ('c', 'n'), 'index', x.conindid::regclass::text,
  'parent', (SELECT p.conname FROM pg_constraint p WHERE p.oid = x.conparentid), 'comment', ${comment('pg_constraint', 'x.oid')})
  FROM pg_constraint x JOIN pg_namespace n ON n.oid = x.connamespace
  WHERE ${ordinary} AND x.contype IN ('c', 'f', 'p', 'u', 'x', 'n') AND NOT (x.contype = 'f' AND x.conparentid <> 0) AND ${own('pg_constraint', 'x.oid')}`;

const indexFacts = `SELECT 'index', format('%I.%I', n.nspname, c.relname), json_build_object(
  'definition', pg_get_indexdef(c.oid), 'valid', x.indisvalid, 'clustered', x.indisclustered, 'replicaIdentity', x.indisreplident, 'immediate', x.indimmediate,
  'options', c.reloptions, 'tablespace', (SELECT spcname FROM pg_tablespace s WHERE s.oid = c.reltablespace),
  'parent', (SELECT i.inhparent::regclass::text FROM pg_inherits i WHERE i.inhrelid = c.oid),
  'statistics', (SELECT json_agg(json_build_array(a.attnum, ${orDefault('a.attstattarget')}) ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND ${orDefault('a.attstattarget')} IS NOT NULL),
  'comment', ${comment('pg_class', 'c.oid')})
  FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE ${ordinary} AND ${own('pg_class', 'c.oid')}`;

const sequenceFacts = `SELECT 'sequence', format('%I.%I', n.nspname, c.relname), json_build_object(
  'type', x.seqtypid::regtype, 'start', x.seqstart, 'increment', x.seqincrement, 'max', x.seqmax, 'min', x.seqmin, 'cache', x.seqcache, 'cycle', x.seqcycle,
  'owned', (SELECT format('%s.%I', d.refobjid::regclass, a.attname) FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')))
  FROM pg_sequence x JOIN pg_class c ON c.oid = x.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE ${ordinary} AND ${own('pg_class', 'c.oid')}`;

const triggerFacts = `SELECT 'trigger', format('%I on %s', x.tgname, x.tgrelid::regclass), json_build_object(
  'definition', pg_get_triggerdef(x.oid), 'enabled', x.tgenabled, 'inherited', x.tgparentid <> 0, 'comment', ${comment('pg_trigger', 'x.oid')})
  FROM (SELECT t.*, t.tgrelid AS relid FROM pg_trigger t) x ${ofRelation} WHERE NOT x.tgisinternal AND ${ordinary} AND ${own('pg_trigger', 'x.oid')}`;

const ruleFacts = `SELECT 'rule', format('%I on %s', x.rulename, x.ev_class::regclass), json_build_object(
  'definition', pg_get_ruledef(x.oid), 'enabled', x.ev_enabled, 'comment', ${comment('pg_rewrite', 'x.oid')})
  FROM (SELECT r.*, r.ev_class AS relid FROM pg_rewrite r) x ${ofRelation} WHERE x.rulename <> '_RETURN' AND ${ordinary} AND ${own('pg_rewrite', 'x.oid')}`;

const policyFacts = `SELECT 'policy', format('%I on %s', x.polname, x.polrelid::regclass), json_build_object(
  'command', x.polcmd, 'permissive', x.polpermissive, 'using', pg_get_expr(x.polqual, x.polrelid), 'check', pg_get_expr(x.polwithcheck, x.polrelid),
  'roles', (SELECT array_agg(CASE WHEN r = 0 THEN 'public' ELSE ${roleName('r')} END ORDER BY 1) FROM unnest(x.polroles) r), 'comment', ${comment('pg_policy', 'x.oid')})
  FROM (SELECT p.*, p.polrelid AS relid FROM pg_policy p) x ${ofRelation} WHERE ${ordinary}`;

const statisticsFacts = `SELECT 'statistics', format('%I.%I', n.nspname, x.stxname), json_build_object(
  'definition', pg_get_statisticsobjdef(x.oid), 'owner', ${roleName('x.stxowner')}, 'target', ${orDefault('x.stxstattarget')}, 'comment', ${comment('pg_statistic_ext', 'x.oid')})
  FROM pg_statistic_ext x JOIN pg_namespace n ON n.oid = x.stxnamespace WHERE ${ordinary}`;

const publicationFacts = `SELECT 'publication', format('%I of %s', p.pubname, x.prrelid::regclass), json_build_object(
  'columns', (SELECT array_agg(a.attname ORDER BY a.attname) FROM pg_attribute a WHERE a.attrelid = x.prrelid AND a.attnum = ANY (x.prattrs::int2[])), 'where', pg_get_expr(x.prqual, x.prrelid))
  FROM pg_publication_rel x JOIN pg_publication p ON p.oid = x.prpubid
  UNION ALL SELECT 'publication', format('%I of schema %I', p.pubname, n.nspname), json_build_object()
  FROM pg_publication_namespace x JOIN pg_publication p ON p.oid = x.pnpubid JOIN pg_namespace n ON n.oid = x.pnnspid`;

const functionFacts = `SELECT 'function', x.oid::regprocedure::text, json_build_object(
  'kind', x.prokind, 'definition', CASE WHEN x.prokind <> 'a' THEN pg_get_functiondef(x.oid) END,
  'aggregate', (SELECT row_to_json(g) FROM (SELECT aggkind, aggnumdirectargs, aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn, aggmtransfn, aggminvtransfn, aggmfinalfn,
    aggfinalextra, aggmfinalextra, aggfinalmodify, aggmfinalmodify, aggsortop::regoper, aggtranstype::regtype, aggtransspace, aggmtranstype::regtype, aggmtransspace, agginitval, aggminitval
    FROM pg_aggregate WHERE aggfnoid = x.oid) g),
  'owner', ${roleName('x.proowner')}, 'acl', ${acl('x.proacl', 'f', 'x.proowner')}, 'comment', ${comment('pg_proc', 'x.oid')})
  FROM pg_proc x JOIN pg_namespace n ON n.oid = x.pronamespace WHERE ${ordinary} AND ${own('pg_proc', 'x.oid')}`;

/** Of a relation's own row type and of array types nothing is told: they come with what they belong to. */
const typeFacts = `SELECT 'type', x.oid::regtype::text, json_build_object(
  'kind', x.typtype, 'base', CASE WHEN x.typtype = 'd' THEN format_type(x.typbasetype, x.typtypmod) END, 'notNull', x.typnotnull, 'default', coalesce(pg_get_expr(x.typdefaultbin, 0), x.typdefault),
  'collation', CASE WHEN x.typtype = 'd' THEN x.typcollation::regcollation END,
  'labels', (SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = x.oid),
  'range', (SELECT json_build_array(r.rngsubtype::regtype, r.rngmultitypid::regtype, r.rngcollation::regcollation, r.rngcanonical, r.rngsubdiff, (SELECT opcname FROM pg_opclass o WHERE o.oid = r.rngsubopc)) FROM pg_range r WHERE r.rngtypid = x.oid),
  'owner', ${roleName('x.typowner')}, 'acl', ${acl('x.typacl', 'T', 'x.typowner')}, 'comment', ${comment('pg_type', 'x.oid')})
  FROM pg_type x JOIN pg_namespace n ON n.oid = x.typnamespace
  WHERE ${ordinary} AND x.typtype <> 'm' AND x.typelem = 0 AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = x.typrelid AND c.relkind <> 'c') AND ${own('pg_type', 'x.oid')}`;

const schemaFacts = `SELECT 'schema', format('%I', n.nspname), json_build_object('owner', ${roleName('n.nspowner')}, 'acl', ${acl('n.nspacl', 'n', 'n.nspowner')}, 'comment', ${comment('pg_namespace', 'n.oid')})
  FROM pg_namespace n WHERE ${ordinary} AND ${own('pg_namespace', 'n.oid')}`;

/** Whatever else users can make is told by its identity, so that it is missed when it is gone. */
const otherFacts = `SELECT i.type, i.identity, json_build_object() FROM (
  ${(['pg_operator', 'pg_cast', 'pg_collation', 'pg_conversion', 'pg_opclass', 'pg_opfamily', 'pg_ts_config', 'pg_ts_dict', 'pg_ts_parser', 'pg_ts_template', 'pg_event_trigger',
    'pg_extension', 'pg_foreign_data_wrapper', 'pg_foreign_server', 'pg_publication', 'pg_language', 'pg_transform', 'pg_default_acl', 'pg_am'] as const)
    .map((catalog) => `SELECT '${catalog}'::regclass AS class, x.oid FROM pg_catalog.${catalog} x WHERE x.oid >= 16384 AND ${own(catalog, 'x.oid')}`).join(' UNION ALL ')}
  ) o, pg_identify_object(o.class, o.oid, 0) i WHERE i.schema IS DISTINCT FROM 'pg_catalog'`;

const questions = [
  schemaFacts, relationFacts, columnFacts, constraintFacts, indexFacts, sequenceFacts, triggerFacts, ruleFacts, policyFacts, statisticsFacts,
  publicationFacts, functionFacts, typeFacts, otherFacts,
] as const;

/** On a transaction whose search_path is `pg_catalog` alone. */
export async function readDefinitionFacts(query: CatalogQuery): Promise<DefinitionFacts> {
  const facts = new Map<string, string>();
  for (const question of questions) {
    for (const [kind, identity, fact] of await query(question)) facts.set(`${kind ?? ''} ${identity ?? ''}`, fact ?? '');
  }
  return facts;
}

/** What is not as it was; empty: the same catalog. */
export function factDifferences(before: DefinitionFacts, after: DefinitionFacts): readonly FactDifference[] {
  return [...new Set([...before.keys(), ...after.keys()])].sort()
    .map((what) => ({ what, before: before.get(what), after: after.get(what) })).filter((one) => one.before !== one.after);
}
