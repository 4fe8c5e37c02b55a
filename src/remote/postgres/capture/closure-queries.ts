/** The questions of closure.ts and capture-tables.ts, asked with `pg_catalog` as search_path. */
import { hostOf } from '../measure-loss-queries.ts';

export const closureLimits = { objects: 50_000, rounds: 5 } as const;

/**
 * Relations that go, lose something, or whose parts do ($1 to $3: what goes; $4: altered; $5: their rows change), by name:
 * oid, name, kind, goes, changes, why it cannot be kept, how a view is locked.
 */
export const relationsSql = `
  WITH gone AS (SELECT DISTINCT * FROM unnest($1::oid[], $2::oid[], $3::int4[]) AS a(classid, objid, objsubid)),
  touched AS (
    SELECT a.objid AS relid, a.objsubid = 0 AS is_gone, a.objsubid > 0 AS is_changed FROM gone a WHERE a.classid = 'pg_class'::regclass
    UNION ALL SELECT ${hostOf}, false, false FROM gone a
    UNION ALL SELECT p.relid, false, false FROM gone a, pg_partition_ancestors(a.objid) p WHERE a.classid = 'pg_class'::regclass AND a.objsubid = 0
    UNION ALL SELECT r, false, $5::bool FROM unnest($4::oid[]) r
    UNION ALL SELECT d.objid, false, false FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY ($4::oid[]) AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')),
  joined AS (SELECT relid, bool_or(is_gone) AS is_gone, bool_or(is_changed) AS is_changed FROM touched GROUP BY relid)
  SELECT c.oid, format('%I.%I', n.nspname, c.relname), c.relkind, j.is_gone, j.is_changed,
    CASE WHEN c.relkind = 'f' THEN 'is a foreign table, whose rows are elsewhere' WHEN c.relpersistence = 't' THEN 'is a temporary table'
      WHEN (j.is_gone OR j.is_changed) AND c.relkind IN ('r', 'p') AND row_security_active(c.oid) THEN 'has row security, which hides rows of it' END,
    CASE WHEN c.relkind IN ('v', 'm') AND j.is_gone THEN format('COMMENT ON %sVIEW %I.%I IS %L', CASE c.relkind WHEN 'm' THEN 'MATERIALIZED ' ELSE '' END, n.nspname, c.relname, obj_description(c.oid, 'pg_class')) END
  FROM joined j JOIN pg_class c ON c.oid = j.relid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname NOT IN ('pg_toast', 'pg_catalog', 'information_schema') ORDER BY n.nspname, c.relname`;

/** Relations that this transaction has locked against everybody, that are there no more, and that nobody had told of ($1). */
export const unforeseenSql = `SELECT count(*) FROM pg_locks l
  WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = l.relation) AND l.relation <> ALL ($1::oid[])`;

/** How these constraints ($1) are dropped again. */
export const changedConstraintsSql = `SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', x.conrelid::regclass, x.conname) FROM pg_constraint x WHERE x.oid = ANY ($1::oid[]) AND x.conrelid <> 0 AND x.coninhcount = 0`;

/** Whether one of these relations ($1) has a trigger that a TRUNCATE fires (TRIGGER_TYPE_TRUNCATE of pg_trigger.h). */
export const truncateTriggersSql = `SELECT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = ANY ($1::oid[]) AND NOT t.tgisinternal AND t.tgtype::int4 & 32 <> 0)`;
