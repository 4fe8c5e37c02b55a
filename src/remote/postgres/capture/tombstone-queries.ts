/** The questions of capture-tombstone.ts, asked with `pg_catalog` as search_path. `$1` to `$3`: all that goes; `$4`: the tables among it. */
import { hostOf } from '../measure-loss-queries.ts';

const gone = `(SELECT DISTINCT * FROM unnest($1::oid[], $2::oid[], $3::int4[]) AS a(classid, objid, objsubid)) a`;
const ofTable = `coalesce((${hostOf}) = ANY ($4::oid[]), false)`;

/** Whether anything is among it that does not move with its table and cannot be dropped by itself. */
export const unbinnableSql = `SELECT coalesce(bool_or(CASE a.classid
    WHEN 'pg_class'::regclass THEN (a.objsubid <> 0 AND a.objid <> ALL ($4::oid[])) OR NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = a.objid AND (
      (c.relkind = 'r' AND NOT c.relispartition AND NOT EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent))) OR c.relkind IN ('i', 'S', 'v', 'm', 't')))
    WHEN 'pg_type'::regclass THEN NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = a.classid AND d.objid = a.objid AND d.deptype = 'i')
    WHEN 'pg_rewrite'::regclass THEN NOT ${ofTable} AND NOT EXISTS (SELECT FROM pg_rewrite r WHERE r.oid = a.objid AND r.rulename = '_RETURN')
    WHEN 'pg_trigger'::regclass THEN NOT ${ofTable} AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.oid = a.objid AND t.tgisinternal)
    WHEN 'pg_constraint'::regclass THEN NOT ${ofTable} AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.oid = a.objid AND k.contype = 'f')
    WHEN 'pg_policy'::regclass THEN NOT ${ofTable}
    WHEN 'pg_proc'::regclass THEN EXISTS (SELECT FROM pg_proc p WHERE p.oid = a.objid AND p.prokind = 'a')
    ELSE a.classid NOT IN ('pg_attrdef'::regclass, 'pg_statistic_ext'::regclass, 'pg_publication_rel'::regclass) END), false) FROM ${gone}`;

/** Schema, name and name in the bin ($2), each quoted, of the tables ($1). */
export const binnedTablesSql = `SELECT format('%I', n.nspname), format('%I.%I', n.nspname, c.relname), format('%I.%I', $2::text, c.relname)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ($1::oid[]) ORDER BY 2`;

/** How all that does not move with the tables is dropped by itself: foreign keys of both ways first, views last. */
export const besideSql = `SELECT s FROM (
  SELECT 1 AS o, format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', k.conrelid::regclass, k.conname) AS s FROM pg_constraint k
    WHERE k.contype = 'f' AND k.conparentid = 0 AND (k.conrelid = ANY ($4::oid[]) OR k.confrelid = ANY ($4::oid[]))
  UNION ALL SELECT 2, format('ALTER PUBLICATION %I DROP TABLE ONLY %s', p.pubname, r.prrelid::regclass) FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE r.prrelid = ANY ($4::oid[])
  UNION ALL SELECT 3, format('DROP STATISTICS %I.%I', n.nspname, x.stxname) FROM pg_statistic_ext x JOIN pg_namespace n ON n.oid = x.stxnamespace WHERE x.stxrelid = ANY ($4::oid[])
  UNION ALL SELECT 4, format('ALTER TABLE ONLY %s ALTER COLUMN %I DROP DEFAULT', d.adrelid::regclass, t.attname) FROM ${gone} JOIN pg_attrdef d ON a.classid = 'pg_attrdef'::regclass AND d.oid = a.objid
    JOIN pg_attribute t ON t.attrelid = d.adrelid AND t.attnum = d.adnum WHERE d.adrelid <> ALL ($4::oid[]) AND EXISTS (SELECT FROM pg_class c WHERE c.oid = d.adrelid AND c.relkind IN ('r', 'p', 'f'))
  UNION ALL SELECT 5, format('DROP %s IF EXISTS %s CASCADE', CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, p.oid::regprocedure) FROM ${gone} JOIN pg_proc p ON a.classid = 'pg_proc'::regclass AND p.oid = a.objid
  UNION ALL SELECT 6, format('DROP %sVIEW IF EXISTS %s CASCADE', CASE c.relkind WHEN 'm' THEN 'MATERIALIZED ' ELSE '' END, c.oid::regclass) FROM ${gone} JOIN pg_class c ON a.classid = 'pg_class'::regclass AND c.oid = a.objid AND c.relkind IN ('v', 'm')
  ) x ORDER BY o, s`;
