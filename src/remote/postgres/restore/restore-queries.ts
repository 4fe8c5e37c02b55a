/** The questions of restore-tables.ts, asked with `pg_catalog` as search_path. `$1`: quoted names of tables. */
const given = `unnest($1::regclass[])`;

/** Which of these names ($1, as text) are there. */
export const presentSql = `SELECT w.name FROM unnest($1::text[]) AS w(name) WHERE to_regclass(w.name) IS NOT NULL`;

/** Foreign keys that lead out of these tables, or out of what they are partitions of, as they are dropped. */
export const keysOfSql = `
  WITH wanted AS (SELECT r AS relid FROM ${given} r UNION SELECT p.relid FROM ${given} r, pg_partition_ancestors(r) p)
  SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', x.conrelid::regclass, x.conname) FROM pg_constraint x JOIN wanted w ON w.relid = x.conrelid
  WHERE x.contype = 'f' AND x.conparentid = 0 ORDER BY x.conrelid, x.conname`;

/** Each trigger and rule that acts on rows that come in: off, and on as it is now. */
export const triggersSql = `
  SELECT format('ALTER TABLE ONLY %s DISABLE TRIGGER %I', t.tgrelid::regclass, t.tgname),
    format('ALTER TABLE ONLY %s ENABLE%s TRIGGER %I', t.tgrelid::regclass, CASE t.tgenabled WHEN 'A' THEN ' ALWAYS' WHEN 'R' THEN ' REPLICA' ELSE '' END, t.tgname)
  FROM pg_trigger t JOIN ${given} r ON t.tgrelid = r WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'
  UNION ALL
  SELECT format('ALTER TABLE ONLY %s DISABLE RULE %I', e.ev_class::regclass, e.rulename),
    format('ALTER TABLE ONLY %s ENABLE%s RULE %I', e.ev_class::regclass, CASE e.ev_enabled WHEN 'A' THEN ' ALWAYS' WHEN 'R' THEN ' REPLICA' ELSE '' END, e.rulename)
  FROM pg_rewrite e JOIN ${given} r ON e.ev_class = r WHERE e.rulename <> '_RETURN' AND e.ev_enabled <> 'D'`;

/** Of columns of these tables: they go and come with them. */
export const ownedSequencesSql = `
  SELECT format('%I.%I', n.nspname, s.relname) FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_namespace n ON n.oid = s.relnamespace JOIN ${given} r ON d.refobjid = r
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') ORDER BY 1`;
