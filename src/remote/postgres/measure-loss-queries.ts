/**
 * The questions of measure-loss.ts, for PostgreSQL 15 to 18 and any role. An object is `classid, objid, objsubid`, as in
 * pg_depend; lists of them come in as three arrays. All but the first group are asked with an empty search_path.
 */

/** Asked in the session's search path: what a name means. */
export const addressesSql = {
  object: 'SELECT classid, objid, objsubid FROM pg_catalog.pg_get_object_address($1, $2::pg_catalog.text[], $3::pg_catalog.text[])',
  routine: "SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid, pg_catalog.to_regproc($1)::pg_catalog.oid, 0",
  relation: "SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, pg_catalog.to_regclass($1)::pg_catalog.oid, 0",
} as const;

export const roleSql = 'SELECT oid FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) $1';

/** A dropped column or constraint goes from partitions and children too, which depend on nothing. */
export const heirsSql = `
  WITH RECURSIVE named AS (SELECT * FROM unnest($1::oid[], $2::oid[], $3::int4[]) AS n(classid, objid, objsubid)),
  part AS (
    SELECT a.attrelid AS relid, a.attname::text AS name, true AS is_column FROM named n JOIN pg_attribute a ON a.attrelid = n.objid AND a.attnum = n.objsubid
      WHERE n.classid = 'pg_class'::regclass AND n.objsubid > 0
    UNION ALL SELECT c.conrelid, c.conname::text, false FROM named n JOIN pg_constraint c ON c.oid = n.objid WHERE n.classid = 'pg_constraint'::regclass AND c.conrelid <> 0),
  heir AS (SELECT * FROM part UNION SELECT i.inhrelid, h.name, h.is_column FROM heir h JOIN pg_inherits i ON i.inhparent = h.relid)
  SELECT 'pg_class'::regclass::oid, a.attrelid, a.attnum::int4 FROM heir h JOIN pg_attribute a ON h.is_column AND a.attrelid = h.relid AND a.attname = h.name AND a.attinhcount > 0
  UNION ALL SELECT 'pg_constraint'::regclass::oid, c.oid, 0 FROM heir h JOIN pg_constraint c ON NOT h.is_column AND c.conrelid = h.relid AND c.conname = h.name AND c.coninhcount > 0`;

/**
 * As findDependentObjects of dependency.c: all that depends on what goes, by any kind of dependency with CASCADE ($4), else
 * by all but the normal one; and with it the whole that something is an internal part or a member of.
 */
export const closureSql = `
  WITH RECURSIVE gone(classid, objid, objsubid) AS (
    SELECT * FROM unnest($1::oid[], $2::oid[], $3::int4[])
    UNION
    SELECT n.* FROM gone g CROSS JOIN LATERAL (
      SELECT d.classid, d.objid, d.objsubid FROM pg_depend d
        WHERE d.refclassid = g.classid AND d.refobjid = g.objid AND (g.objsubid = 0 OR d.refobjsubid = g.objsubid) AND ($4::bool OR d.deptype <> 'n')
      UNION ALL
      SELECT d.refclassid, d.refobjid, d.refobjsubid FROM pg_depend d
        WHERE $4::bool AND d.classid = g.classid AND d.objid = g.objid AND (g.objsubid = 0 OR d.objsubid = g.objsubid) AND d.deptype IN ('i', 'e')
    ) n)
  SELECT classid, objid, objsubid FROM gone`;

/** What an object is an internal part, a partition or a member of: it goes with that, and never alone. */
export const wholesSql = `
  SELECT DISTINCT d.refclassid, d.refobjid, d.refobjsubid FROM unnest($1::oid[], $2::oid[], $3::int4[]) AS n(classid, objid, objsubid)
  JOIN pg_depend d ON d.classid = n.classid AND d.objid = n.objid AND d.objsubid = n.objsubid AND d.deptype IN ('i', 'e', 'P')`;

const here = `(SELECT oid FROM pg_database WHERE datname = current_database())`;
const rolesGiven = `refclassid = 'pg_authid'::regclass AND refobjid = ANY ($1::oid[])`;

/** Databases and tablespaces stay, whoever owns them. */
export const ownedSql = `SELECT classid, objid, objsubid FROM pg_shdepend WHERE ${rolesGiven} AND deptype = 'o' AND dbid = ${here}`;

/** Whatever still mentions a role, in this database or shared, forbids to drop it. */
export const ownersSql = `SELECT classid, objid, objsubid FROM pg_shdepend WHERE ${rolesGiven} AND dbid IN (0, ${here})`;

/** Partitions and children unless ONLY ($2), with CASCADE ($3) whoever refers to them, and restarted sequences ($4). */
export const emptiedSql = `
  WITH RECURSIVE emptied(relid, is_whole) AS (
    SELECT * FROM unnest($1::oid[], $2::bool[])
    UNION
    SELECT n.* FROM emptied e CROSS JOIN LATERAL (
      SELECT i.inhrelid, true FROM pg_inherits i WHERE e.is_whole AND i.inhparent = e.relid
      UNION ALL SELECT c.conrelid, r.relkind = 'p' FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid WHERE $3::bool AND c.contype = 'f' AND c.confrelid = e.relid
    ) n)
  SELECT DISTINCT 'pg_class'::regclass::oid, relid, 0 FROM emptied
  UNION SELECT d.classid, d.objid, 0 FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
    WHERE $4::bool AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid IN (SELECT relid FROM emptied) AND d.deptype IN ('a', 'i')`;

export const refusingKeysSql = `
  SELECT 'pg_constraint'::regclass::oid, oid, 0 FROM pg_constraint
  WHERE contype = 'f' AND confrelid = ANY ($1::oid[]) AND conrelid <> ALL ($1::oid[]) AND conparentid = 0`;

/** The relation that something belongs to. */
export const hostOf = `CASE a.classid
    WHEN 'pg_class'::regclass THEN CASE WHEN a.objsubid > 0 THEN a.objid ELSE (SELECT indrelid FROM pg_index WHERE indexrelid = a.objid) END
    WHEN 'pg_constraint'::regclass THEN (SELECT conrelid FROM pg_constraint WHERE oid = a.objid)
    WHEN 'pg_trigger'::regclass THEN (SELECT tgrelid FROM pg_trigger WHERE oid = a.objid)
    WHEN 'pg_rewrite'::regclass THEN (SELECT ev_class FROM pg_rewrite WHERE oid = a.objid)
    WHEN 'pg_policy'::regclass THEN (SELECT polrelid FROM pg_policy WHERE oid = a.objid)
    WHEN 'pg_attrdef'::regclass THEN (SELECT adrelid FROM pg_attrdef WHERE oid = a.objid)
    WHEN 'pg_statistic_ext'::regclass THEN (SELECT stxrelid FROM pg_statistic_ext WHERE oid = a.objid)
    WHEN 'pg_publication_rel'::regclass THEN (SELECT prrelid FROM pg_publication_rel WHERE oid = a.objid) END`;

/** What is only there because something else is: row and array types, TOAST, rules of views, triggers of keys, indexes of constraints. */
const isInner = `CASE a.classid
    WHEN 'pg_type'::regclass THEN EXISTS (SELECT FROM pg_depend d WHERE d.classid = a.classid AND d.objid = a.objid AND d.deptype = 'i')
    WHEN 'pg_class'::regclass THEN a.objsubid = 0 AND EXISTS (SELECT FROM pg_class c WHERE c.oid = a.objid AND (c.relnamespace = 'pg_toast'::regnamespace
      OR (c.relkind IN ('i', 'I', 'c') AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = a.classid AND d.objid = a.objid AND d.deptype IN ('i', 'P', 'S')))))
    WHEN 'pg_rewrite'::regclass THEN EXISTS (SELECT FROM pg_rewrite r WHERE r.oid = a.objid AND r.rulename = '_RETURN')
    WHEN 'pg_constraint'::regclass THEN EXISTS (SELECT FROM pg_constraint c WHERE c.oid = a.objid AND c.conparentid <> 0)
    WHEN 'pg_trigger'::regclass THEN EXISTS (SELECT FROM pg_trigger t WHERE t.oid = a.objid AND (t.tgisinternal OR t.tgparentid <> 0))
    WHEN 'pg_amop'::regclass THEN true
    WHEN 'pg_amproc'::regclass THEN true
    ELSE false END`;

/** Rows first, then what other objects lose, parts of what goes anyway ($4: relations) and members of extensions last; a column, default, index or constraint of those is not told. */
export const describeSql = `
  WITH given AS (SELECT DISTINCT * FROM unnest($1::oid[], $2::oid[], $3::int4[]) AS g(classid, objid, objsubid)),
  placed AS (
    SELECT a.*, coalesce((${hostOf}) = ANY ($4::oid[]), false) AS is_part, (${isInner}) AS is_inner FROM given a),
  ranked AS (
    SELECT *, CASE WHEN is_part THEN 4
      WHEN EXISTS (SELECT FROM pg_depend d WHERE d.classid = placed.classid AND d.objid = placed.objid AND d.deptype = 'e') THEN 5
      WHEN classid = 'pg_class'::regclass AND objsubid = 0 THEN CASE (SELECT relkind FROM pg_class WHERE oid = objid) WHEN 'r' THEN 0 WHEN 'p' THEN 0 WHEN 'm' THEN 0 ELSE 1 END
      WHEN classid = 'pg_class'::regclass THEN 0
      WHEN classid = 'pg_constraint'::regclass THEN 1 ELSE 2 END AS rank
    FROM placed WHERE NOT is_inner AND NOT (is_part AND (classid IN ('pg_attrdef'::regclass, 'pg_constraint'::regclass) OR classid = 'pg_class'::regclass))),
  chosen AS (SELECT *, count(*) OVER () AS total FROM ranked ORDER BY rank, classid, objid, objsubid LIMIT $5::int8)
  SELECT coalesce(i.type || ' ' || i.identity, 'an object that has just gone'), c.total
  FROM chosen c CROSS JOIN LATERAL pg_identify_object(c.classid, c.objid, c.objsubid) i ORDER BY c.rank, c.classid, c.objid, c.objsubid`;

/** Name, question, statistics' number of rows, bytes, whether a count sees all rows, pages of the main fork. */
export const tablesSql = `
  SELECT n.nspname || '.' || c.relname, format('SELECT count(*) FROM ONLY %I.%I', n.nspname, c.relname),
    greatest(c.reltuples::int8, s.n_live_tup), pg_total_relation_size(c.oid),
    has_table_privilege(c.oid, 'SELECT') AND NOT row_security_active(c.oid), pg_relation_size(c.oid)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
  WHERE c.oid = ANY ($1::oid[]) AND c.relkind = 'r' AND n.nspname <> 'pg_toast' ORDER BY c.relpages, c.oid`;

/** Of the relations that go, and of those that lose a key, a trigger, a column or the like. */
export const lockedSql = `
  WITH relations AS (
    SELECT coalesce(${hostOf}, CASE WHEN a.classid = 'pg_class'::regclass THEN a.objid END) AS relid FROM unnest($1::oid[], $2::oid[], $3::int4[]) AS a(classid, objid, objsubid))
  SELECT count(DISTINCT pid) FILTER (WHERE granted), count(DISTINCT pid) FILTER (WHERE NOT granted) FROM pg_locks
  WHERE locktype = 'relation' AND database = ${here} AND relation IN (SELECT relid FROM relations) AND pid <> pg_backend_pid() AND pid <> $4::int4`;

/** TRIGGER_TYPE_TRUNCATE and TRIGGER_TYPE_BEFORE of pg_trigger.h. */
export const truncateTriggersSql = `
  SELECT n.nspname || '.' || c.relname, t.tgname, CASE WHEN t.tgtype::int4 & 2 <> 0 THEN 'before' ELSE 'after' END || ' truncate', t.tgfoid::regprocedure::text, t.tgenabled
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE t.tgrelid = ANY ($1::oid[]) AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype::int4 & 32 <> 0 ORDER BY 1, 2`;

export const eventTriggersSql = `
  SELECT 'every table', evtname, 'on ' || evtevent, evtfoid::regprocedure::text, evtenabled FROM pg_event_trigger
  WHERE evtenabled <> 'D' AND evtevent IN ('ddl_command_start', 'ddl_command_end', 'sql_drop') ORDER BY 2`;
