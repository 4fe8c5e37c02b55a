/**
 * How each object of a database is made again: SQL that asks the catalog for the SQL. Every question answers rows of class,
 * object id, the fact's key (as in facts.ts), step, and a JSON list of statements. Names come quoted from the server.
 */

/** In this order; within `objects` as they depend on each other. Rows of tables are loaded after `objects`. */
export const steps = ['schemas', 'objects', 'rows', 'defaults', 'indexes', 'attached', 'constraints', 'keys', 'code', 'filled', 'marks'] as const;
export type Step = (typeof steps)[number];

const own = (catalog: string, oid: string): string =>
  `NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_catalog.${catalog}'::regclass AND e.objid = ${oid} AND e.deptype = 'e')`;
const ordinary = `n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'`;
const name = `format('%I.%I', n.nspname, c.relname)`;
const owner = (oid: string): string => `(SELECT rolname FROM pg_roles WHERE pg_roles.oid = ${oid})`;
/** An expression of one statement, or of an array of them. */
type Statements = string | { readonly all: string };
const arrayOf = (statements: readonly Statements[]): string => statements.map((one) => (typeof one === 'string' ? `ARRAY[${one}]::text[]` : `coalesce(${one.all}, '{}')`)).join(' || ');
/** Statements without those that are NULL. */
const list = (...statements: readonly Statements[]): string => `(SELECT json_agg(s ORDER BY o) FROM unnest(${arrayOf(statements)}) WITH ORDINALITY u(s, o) WHERE s IS NOT NULL)`;
const options = (column: string): string => `array_to_string(ARRAY(SELECT format('%s=%L', split_part(o, '=', 1), substr(o, strpos(o, '=') + 1)) FROM unnest(${column}) o), ', ')`;
const withOptions = (column: string): string => `CASE WHEN ${column} IS NOT NULL THEN format(' WITH (%s)', ${options(column)}) ELSE '' END`;
const isPartition = 'c.relispartition';

/** Grants as they stand: all that is there by default is taken away first. NULL: nothing was ever granted. */
const grants = (what: string, column: string, type: string, ownerId: string, columnName = `''`): { readonly all: string } => ({ all: `(
  SELECT array_agg(g ORDER BY o, g) FROM (
    SELECT 1 AS o, format('REVOKE ALL%s ON %s FROM %s', ${columnName}, ${what}, taker.grantee) AS g
      FROM (SELECT 'PUBLIC' AS grantee UNION SELECT quote_ident(${owner(ownerId)})
        UNION SELECT CASE WHEN given.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(given.grantee)) END FROM pg_default_acl preset, aclexplode(preset.defaclacl) given) taker
      WHERE ${columnName} = ''
    UNION ALL SELECT 2, format('GRANT %s%s ON %s TO %s%s', item.privilege_type, ${columnName}, ${what}, CASE WHEN item.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(item.grantee)) END,
        CASE WHEN item.is_grantable AND item.grantee <> ${ownerId} THEN ' WITH GRANT OPTION' ELSE '' END)
      FROM aclexplode(coalesce(${column}, ${type})) item WHERE item.grantor = ${ownerId}) s
  WHERE ${column} IS NOT NULL OR EXISTS (SELECT FROM pg_default_acl))` });
const comment = (what: string, catalog: string, oid: string, sub = '0'): string =>
  `(SELECT format('COMMENT ON %s IS %L', ${what}, said.description) FROM pg_description said WHERE said.classoid = 'pg_catalog.${catalog}'::regclass AND said.objoid = ${oid} AND said.objsubid = ${sub})`;
const ownedBy = (what: string, ownerId: string): string => `format('ALTER %s OWNER TO %I', ${what}, ${owner(ownerId)})`;

const schemas = `SELECT 'pg_namespace', n.oid, format('schema %I', n.nspname), 'schemas',
  ${list(`format('CREATE SCHEMA %I', n.nspname)`, ownedBy(`format('SCHEMA %I', n.nspname)`, 'n.nspowner'), grants(`format('SCHEMA %I', n.nspname)`, 'n.nspacl', `acldefault('n', n.nspowner)`, 'n.nspowner'), comment(`format('SCHEMA %I', n.nspname)`, 'pg_namespace', 'n.oid'))}
  FROM pg_namespace n WHERE ${ordinary} AND ${own('pg_namespace', 'n.oid')}`;

const sequenceOptions = `format('AS %s START WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s%s', q.seqtypid::regtype, q.seqstart, q.seqincrement, q.seqmin, q.seqmax, q.seqcache, CASE WHEN q.seqcycle THEN ' CYCLE' ELSE ' NO CYCLE' END)`;
/** The sequence that an identity column brings, by its name, because it is granted and set by that. */
const identity = `(SELECT format(' GENERATED %s AS IDENTITY (SEQUENCE NAME %s %s)', CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, s.oid::regclass, substr(${sequenceOptions}, strpos(${sequenceOptions}, 'START')))
  FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_sequence q ON q.seqrelid = s.oid
  WHERE a.attidentity <> '' AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.refobjsubid = a.attnum AND d.deptype = 'i')`;
const hasNotNullConstraints = `current_setting('server_version_num')::int >= 180000`;
const column = `format('%I %s%s%s%s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
  CASE WHEN a.attcompression <> '' THEN ' COMPRESSION ' || CASE a.attcompression WHEN 'p' THEN 'pglz' ELSE 'lz4' END ELSE '' END,
  CASE WHEN a.attcollation <> t.typcollation THEN format(' COLLATE %s', a.attcollation::regcollation) ELSE '' END,
  CASE WHEN a.attgenerated <> '' THEN format(' GENERATED ALWAYS AS (%s)%s', (SELECT pg_get_expr(f.adbin, f.adrelid) FROM pg_attrdef f WHERE f.adrelid = c.oid AND f.adnum = a.attnum), CASE a.attgenerated WHEN 's' THEN ' STORED' ELSE ' VIRTUAL' END) ELSE '' END,
  coalesce(${identity}, ''), CASE WHEN a.attnotnull AND NOT ${hasNotNullConstraints} THEN ' NOT NULL' ELSE '' END)`;
const elements = `(SELECT string_agg(e, ', ' ORDER BY k, o) FROM (
  SELECT 1 AS k, a.attnum::int8 AS o, ${column} AS e FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND (a.attislocal OR ${isPartition})
  UNION ALL SELECT 2, x.oid::int8, format('CONSTRAINT %I %s', x.conname, pg_get_constraintdef(x.oid)) FROM pg_constraint x
    WHERE x.conrelid = c.oid AND x.contype IN ('c', 'n') AND x.convalidated AND (x.conislocal OR ${isPartition})) s)`;
const parents = `(SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno) FROM pg_inherits i WHERE i.inhrelid = c.oid)`;
const columnMarks = { all: `(SELECT array_agg(m) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid, unnest(${arrayOf([
    `CASE WHEN a.attstorage <> t.typstorage THEN format('ALTER TABLE ONLY %s ALTER COLUMN %I SET STORAGE %s', ${name}, a.attname, CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END) END`,
    `CASE WHEN nullif(a.attstattarget, -1) IS NOT NULL THEN format('ALTER TABLE ONLY %s ALTER COLUMN %I SET STATISTICS %s', ${name}, a.attname, a.attstattarget) END`,
    `CASE WHEN a.attoptions IS NOT NULL THEN format('ALTER TABLE ONLY %s ALTER COLUMN %I SET (%s)', ${name}, a.attname, ${options('a.attoptions')}) END`,
    grants(name, 'a.attacl', 'NULL::aclitem[]', 'c.relowner', `format(' (%I)', a.attname)`),
    comment(`format('COLUMN %s.%I', ${name}, a.attname)`, 'pg_class', 'c.oid', 'a.attnum')])}) m
  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND m IS NOT NULL)` };
const keyword = `CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END`;
const tablespace = `coalesce((SELECT format(' TABLESPACE %I', s.spcname) FROM pg_tablespace s WHERE s.oid = c.reltablespace), '')`;
const table = `CASE WHEN c.relkind IN ('r', 'p') THEN format('CREATE %sTABLE %s (%s)%s%s%s%s%s', CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED ' ELSE '' END, ${name}, ${elements},
  CASE WHEN ${isPartition} THEN '' ELSE coalesce(' INHERITS (' || ${parents} || ')', '') END,
  CASE c.relkind WHEN 'p' THEN ' PARTITION BY ' || pg_get_partkeydef(c.oid) ELSE '' END,
  CASE WHEN c.relkind = 'r' THEN (SELECT format(' USING %I', m.amname) FROM pg_am m WHERE m.oid = c.relam) ELSE '' END, ${withOptions('c.reloptions')}, ${tablespace}) END`;
const view = `CASE WHEN c.relkind = 'v' THEN format('CREATE VIEW %s%s AS %s', ${name}, ${withOptions('c.reloptions')}, pg_get_viewdef(c.oid))
  WHEN c.relkind = 'm' THEN format('CREATE MATERIALIZED VIEW %s%s%s AS %s WITH NO DATA', ${name}, ${withOptions('c.reloptions')}, ${tablespace}, rtrim(pg_get_viewdef(c.oid), ';')) END`;
/** Made with its column. */
const isIdentity = `EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'i' AND c.relkind = 'S')`;
const sequence = `CASE WHEN c.relkind = 'S' AND NOT ${isIdentity} THEN (SELECT format('CREATE %sSEQUENCE %s %s', CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED ' ELSE '' END, ${name}, ${sequenceOptions}) FROM pg_sequence q WHERE q.seqrelid = c.oid) END`;
const composite = `CASE WHEN c.relkind = 'c' THEN format('CREATE TYPE %s AS (%s)', ${name}, (SELECT string_agg(format('%I %s%s', a.attname, format_type(a.atttypid, a.atttypmod),
  CASE WHEN a.attcollation <> t.typcollation THEN format(' COLLATE %s', a.attcollation::regcollation) ELSE '' END), ', ' ORDER BY a.attnum) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)) END`;

const relations = `SELECT 'pg_class', c.oid, 'relation ' || ${name}, 'objects',
  ${list(table, view, sequence, composite, `CASE WHEN NOT ${isIdentity} THEN ${ownedBy(`format('%s %s', ${keyword}, ${name})`, 'c.relowner')} END`,
    { all: `CASE WHEN c.relkind <> 'c' THEN ${grants(`CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE '' END || ${name}`, 'c.relacl', `acldefault(CASE WHEN c.relkind = 'S' THEN 's' ELSE 'r' END::"char", c.relowner)`, 'c.relowner').all} END` },
    columnMarks, comment(`format('%s %s', ${keyword}, ${name})`, 'pg_class', 'c.oid'))}
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'c') AND ${ordinary} AND ${own('pg_class', 'c.oid')}`;

/** What a table needs once its rows, indexes and constraints are there. */
const relationMarks = `SELECT 'pg_class', c.oid, 'relation ' || ${name}, 'marks', ${list(
  `CASE WHEN c.relrowsecurity THEN format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', ${name}) END`,
  `CASE WHEN c.relforcerowsecurity THEN format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', ${name}) END`,
  `CASE WHEN c.relreplident IN ('f', 'n') AND c.relkind IN ('r', 'p') THEN format('ALTER TABLE ONLY %s REPLICA IDENTITY %s', ${name}, CASE c.relreplident WHEN 'f' THEN 'FULL' ELSE 'NOTHING' END) END`,
  `(SELECT format('ALTER TABLE ONLY %s REPLICA IDENTITY USING INDEX %I', ${name}, i.relname) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = c.oid AND x.indisreplident)`,
  `(SELECT format('ALTER TABLE ONLY %s CLUSTER ON %I', ${name}, i.relname) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = c.oid AND x.indisclustered)`,
  `(SELECT format('ALTER TABLE ONLY %s SET (%s)', ${name}, array_to_string(ARRAY(SELECT 'toast.' || o FROM unnest(t.reloptions) o), ', ')) FROM pg_class t WHERE t.oid = c.reltoastrelid AND t.reloptions IS NOT NULL)`)}
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'm') AND ${ordinary} AND ${own('pg_class', 'c.oid')}`;

const materialized = `SELECT 'pg_class', c.oid, 'relation ' || ${name}, 'filled', ${list(`format('REFRESH MATERIALIZED VIEW %s', ${name})`)}
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'm' AND c.relispopulated AND ${ordinary} AND ${own('pg_class', 'c.oid')}`;

/** A partition joins once it has its rows; its columns, checks and indexes must be there. */
const partitions = `SELECT 'pg_class', c.oid, 'relation ' || ${name}, 'attached', ${list(`format('ALTER TABLE ONLY %s ATTACH PARTITION %s %s', ${parents}, ${name}, pg_get_expr(c.relpartbound, c.oid))`)}
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE ${isPartition} AND c.relkind IN ('r', 'p') AND ${ordinary}`;

/** Not those of an identity column, which are made with it. */
const sequenceOwners = `SELECT 'pg_class', c.oid, 'sequence ' || ${name}, 'defaults', ${list(`(SELECT format('ALTER SEQUENCE %s OWNED BY %s.%I', ${name}, d.refobjid::regclass, a.attname) FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'a')`)}
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S' AND ${ordinary} AND ${own('pg_class', 'c.oid')}`;

const defaults = `SELECT 'pg_attrdef', d.oid, format('column %s.%I', ${name}, a.attname), 'defaults', ${list(`format('ALTER TABLE ONLY %s ALTER COLUMN %I SET DEFAULT %s', ${name}, a.attname, pg_get_expr(d.adbin, d.adrelid))`)}
  FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum JOIN pg_class c ON c.oid = d.adrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE a.attgenerated = '' AND ${ordinary} AND ${own('pg_class', 'c.oid')}`;

/** A partition's index and key stand by themselves until they are attached. */
const indexes = `SELECT 'pg_class', c.oid, 'index ' || ${name}, 'indexes', ${list(
  `CASE WHEN k.oid IS NULL THEN pg_get_indexdef(c.oid) WHEN k.contype IN ('p', 'u', 'x') THEN format('ALTER TABLE ONLY %s ADD CONSTRAINT %I %s', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid)) END`,
  `CASE WHEN k.oid IS NOT NULL AND c.reloptions IS NOT NULL THEN format('ALTER INDEX %s SET (%s)', ${name}, ${options('c.reloptions')}) END`,
  `CASE WHEN k.oid IS NOT NULL AND c.reltablespace <> 0 THEN format('ALTER INDEX %s SET%s', ${name}, ${tablespace}) END`,
  { all: `(SELECT array_agg(format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS %s', ${name}, a.attnum, a.attstattarget)) FROM pg_attribute a WHERE a.attrelid = c.oid AND nullif(a.attstattarget, -1) IS NOT NULL)` },
  comment(`format('INDEX %s', ${name})`, 'pg_class', 'c.oid'), `(SELECT ${comment(`format('CONSTRAINT %I ON %s', k.conname, k.conrelid::regclass)`, 'pg_constraint', 'k.oid')})`)}
  FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_constraint k ON k.conindid = c.oid AND k.contype IN ('p', 'u', 'x')
  WHERE ${ordinary} AND ${own('pg_class', 'c.oid')}`;

const attachedIndexes = `SELECT 'pg_class', c.oid, 'index ' || ${name}, 'attached', ${list(`format('ALTER INDEX %s ATTACH PARTITION %s', i.inhparent::regclass, ${name})`)}
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('i', 'I') AND ${ordinary}`;

/** Checks that hold already are made with their table. */
const constraints = `SELECT 'pg_constraint', x.oid, format('constraint %I on %s', x.conname, x.conrelid::regclass), CASE x.contype WHEN 'f' THEN 'keys' ELSE 'constraints' END, ${list(
  `CASE WHEN x.contype = 'f' OR (NOT x.convalidated AND x.conislocal) THEN format('ALTER TABLE %s%s ADD CONSTRAINT %I %s', CASE WHEN x.contype = 'f' AND c.relkind <> 'p' THEN 'ONLY ' ELSE '' END, x.conrelid::regclass, x.conname, pg_get_constraintdef(x.oid)) END`,
  comment(`format('CONSTRAINT %I ON %s', x.conname, x.conrelid::regclass)`, 'pg_constraint', 'x.oid'))}
  FROM pg_constraint x JOIN pg_class c ON c.oid = x.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE x.contype IN ('c', 'f', 'n') AND (x.contype <> 'f' OR x.conparentid = 0) AND ${ordinary} AND ${own('pg_class', 'c.oid')}`;

/** Made with its table it holds already; a parent's that is not validated made it so again. */
const validated = `SELECT 'pg_constraint', x.oid, format('constraint %I on %s', x.conname, x.conrelid::regclass), 'marks', ${list(`format('ALTER TABLE %s VALIDATE CONSTRAINT %I', x.conrelid::regclass, x.conname)`)}
  FROM pg_constraint x JOIN pg_class c ON c.oid = x.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE x.contype IN ('c', 'n') AND x.convalidated AND ${ordinary} AND EXISTS (SELECT FROM pg_inherits i JOIN pg_constraint p ON p.conrelid = i.inhparent AND p.conname = x.conname AND NOT p.convalidated WHERE i.inhrelid = x.conrelid)`;

const enabled = (what: 'TRIGGER' | 'RULE', state: string, relation: string, named: string): string => `CASE WHEN ${state} <> 'O' THEN
  format('ALTER TABLE %s %s ${what} %I', ${relation}::regclass, CASE ${state} WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, ${named}) END`;

/** Those of partitions come with their parent's, in the state in which they may not have been. */
const triggers = `SELECT 'pg_trigger', x.oid, format('trigger %I on %s', x.tgname, x.tgrelid::regclass), 'code', ${list(`CASE WHEN x.tgparentid = 0 THEN pg_get_triggerdef(x.oid) END`, enabled('TRIGGER', 'x.tgenabled', 'x.tgrelid', 'x.tgname'), comment(`format('TRIGGER %I ON %s', x.tgname, x.tgrelid::regclass)`, 'pg_trigger', 'x.oid'))}
  FROM pg_trigger x JOIN pg_class c ON c.oid = x.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT x.tgisinternal AND ${ordinary} AND ${own('pg_trigger', 'x.oid')}`;

const rules = `SELECT 'pg_rewrite', x.oid, format('rule %I on %s', x.rulename, x.ev_class::regclass), 'code', ${list('pg_get_ruledef(x.oid)', enabled('RULE', 'x.ev_enabled', 'x.ev_class', 'x.rulename'), comment(`format('RULE %I ON %s', x.rulename, x.ev_class::regclass)`, 'pg_rewrite', 'x.oid'))}
  FROM pg_rewrite x JOIN pg_class c ON c.oid = x.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace WHERE x.rulename <> '_RETURN' AND ${ordinary} AND ${own('pg_rewrite', 'x.oid')}`;

const policies = `SELECT 'pg_policy', x.oid, format('policy %I on %s', x.polname, x.polrelid::regclass), 'code', ${list(
  `format('CREATE POLICY %I ON %s AS %s FOR %s TO %s%s%s', x.polname, x.polrelid::regclass, CASE WHEN x.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, CASE x.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
    (SELECT string_agg(CASE WHEN r = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', ') FROM unnest(x.polroles) r), coalesce(' USING (' || pg_get_expr(x.polqual, x.polrelid) || ')', ''), coalesce(' WITH CHECK (' || pg_get_expr(x.polwithcheck, x.polrelid) || ')', ''))`,
  comment(`format('POLICY %I ON %s', x.polname, x.polrelid::regclass)`, 'pg_policy', 'x.oid'))}
  FROM pg_policy x JOIN pg_class c ON c.oid = x.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE ${ordinary}`;

const statistics = `SELECT 'pg_statistic_ext', x.oid, format('statistics %I.%I', n.nspname, x.stxname), 'code', ${list('pg_get_statisticsobjdef(x.oid)', ownedBy(`format('STATISTICS %I.%I', n.nspname, x.stxname)`, 'x.stxowner'),
  `CASE WHEN nullif(x.stxstattarget, -1) IS NOT NULL THEN format('ALTER STATISTICS %I.%I SET STATISTICS %s', n.nspname, x.stxname, x.stxstattarget) END`, comment(`format('STATISTICS %I.%I', n.nspname, x.stxname)`, 'pg_statistic_ext', 'x.oid'))}
  FROM pg_statistic_ext x JOIN pg_namespace n ON n.oid = x.stxnamespace WHERE ${ordinary}`;

const publications = `SELECT 'pg_publication_rel', x.oid, format('publication %I of %s', p.pubname, x.prrelid::regclass), 'code', ${list(
  `format('ALTER PUBLICATION %I ADD TABLE ONLY %s%s%s', p.pubname, x.prrelid::regclass, coalesce(' (' || (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = x.prrelid AND a.attnum = ANY (x.prattrs::int2[])) || ')', ''), coalesce(' WHERE (' || pg_get_expr(x.prqual, x.prrelid) || ')', ''))`)}
  FROM pg_publication_rel x JOIN pg_publication p ON p.oid = x.prpubid
  UNION ALL SELECT 'pg_publication_namespace', x.oid, format('publication %I of schema %I', p.pubname, n.nspname), 'code', ${list(`format('ALTER PUBLICATION %I ADD TABLES IN SCHEMA %I', p.pubname, n.nspname)`)}
  FROM pg_publication_namespace x JOIN pg_publication p ON p.oid = x.pnpubid JOIN pg_namespace n ON n.oid = x.pnnspid`;

const routine = `CASE x.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END || ' ' || x.oid::regprocedure::text`;
/** Not aggregates: what is missing afterwards is told. */
const functions = `SELECT 'pg_proc', x.oid, 'function ' || x.oid::regprocedure::text, 'objects', ${list('pg_get_functiondef(x.oid)', ownedBy(routine, 'x.proowner'), grants(routine, 'x.proacl', `acldefault('f', x.proowner)`, 'x.proowner'), comment(routine, 'pg_proc', 'x.oid'))}
  FROM pg_proc x JOIN pg_namespace n ON n.oid = x.pronamespace WHERE x.prokind <> 'a' AND ${ordinary} AND ${own('pg_proc', 'x.oid')}`;

const type = `x.oid::regtype::text`;
const types = `SELECT 'pg_type', x.oid, 'type ' || ${type}, 'objects', ${list(
  `CASE x.typtype WHEN 'e' THEN format('CREATE TYPE %s AS ENUM (%s)', ${type}, (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = x.oid))
    WHEN 'd' THEN format('CREATE DOMAIN %s AS %s%s%s%s', ${type}, format_type(x.typbasetype, x.typtypmod), CASE WHEN x.typcollation <> (SELECT b.typcollation FROM pg_type b WHERE b.oid = x.typbasetype) THEN format(' COLLATE %s', x.typcollation::regcollation) ELSE '' END,
      coalesce(' DEFAULT ' || pg_get_expr(x.typdefaultbin, 0), ''), coalesce((SELECT string_agg(format(' CONSTRAINT %I %s', k.conname, pg_get_constraintdef(k.oid)), '' ORDER BY k.oid) FROM pg_constraint k WHERE k.contypid = x.oid AND k.convalidated), CASE WHEN x.typnotnull THEN ' NOT NULL' ELSE '' END))
    WHEN 'r' THEN (SELECT format('CREATE TYPE %s AS RANGE (SUBTYPE = %s, SUBTYPE_OPCLASS = %s, MULTIRANGE_TYPE_NAME = %s%s%s)', ${type}, r.rngsubtype::regtype, (SELECT format('%I.%I', s.nspname, o.opcname) FROM pg_opclass o JOIN pg_namespace s ON s.oid = o.opcnamespace WHERE o.oid = r.rngsubopc), r.rngmultitypid::regtype,
      CASE WHEN r.rngcollation <> 0 THEN format(', COLLATION = %s', r.rngcollation::regcollation) ELSE '' END, CASE WHEN r.rngsubdiff <> 0 THEN format(', SUBTYPE_DIFF = %s', r.rngsubdiff::regproc) ELSE '' END) FROM pg_range r WHERE r.rngtypid = x.oid AND r.rngcanonical = 0) END`,
  `CASE WHEN x.typtype IN ('d', 'e', 'r') THEN ${ownedBy(`'TYPE ' || ${type}`, 'x.typowner')} END`, grants(`'TYPE ' || ${type}`, 'x.typacl', `acldefault('T', x.typowner)`, 'x.typowner'), `CASE WHEN x.typtype <> 'c' THEN ${comment(`'TYPE ' || ${type}`, 'pg_type', 'x.oid')} END`)}
  FROM pg_type x JOIN pg_namespace n ON n.oid = x.typnamespace WHERE x.typtype IN ('d', 'e', 'r', 'c') AND ${ordinary} AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = x.typrelid AND c.relkind <> 'c') AND ${own('pg_type', 'x.oid')}`;

export const questions = [
  schemas, relations, functions, types, defaults, sequenceOwners, indexes, partitions, attachedIndexes, constraints, validated, triggers, rules, policies, statistics, publications, materialized, relationMarks,
] as const;

const isTable = `c.relkind IN ('r', 'p') AND ${ordinary} AND ${own('pg_class', 'c.oid')}`;
const homeTable = `'pg_class ' || c.oid`;
/**
 * What is made with its table, as it is made on a table that is there. As `questions`, and as their last column the table;
 * what parents hand down is theirs.
 */
export const patchQuestions = [
  `SELECT 'pg_identity', a.attrelid || ' ' || a.attnum, format('identity of %s.%I', ${name}, a.attname), 'objects', ${list(`format('ALTER TABLE ONLY %s ALTER COLUMN %I ADD%s', ${name}, a.attname, ${identity})`)}, ${homeTable}
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE a.attidentity <> '' AND NOT a.attisdropped AND NOT ${isPartition} AND ${isTable}`,
  `SELECT 'pg_attribute', a.attrelid || ' ' || a.attnum, format('column %s.%I', ${name}, a.attname), 'defaults', ${list(`format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL', ${name}, a.attname)`)}, ${homeTable}
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE a.attnotnull AND NOT ${hasNotNullConstraints} AND a.attnum > 0 AND NOT a.attisdropped AND ${isTable}`,
  `SELECT 'pg_constraint', x.oid::text, format('constraint %I on %s', x.conname, ${name}), 'defaults', ${list(`format('ALTER TABLE %s ADD CONSTRAINT %I %s', ${name}, x.conname, pg_get_constraintdef(x.oid))`)}, ${homeTable}
    FROM pg_constraint x JOIN pg_class c ON c.oid = x.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE x.contype IN ('c', 'n') AND x.convalidated AND x.coninhcount = 0 AND ${isTable}`,
] as const;

const address = (catalog: string, oid: string): string => `'${catalog} ' || ${oid}`;
/** Part and whole, where a part has no making of its own. */
export const homes = [
  `SELECT ${address('pg_rewrite', 'oid')}, ${address('pg_class', 'ev_class')} FROM pg_rewrite WHERE rulename = '_RETURN'`,
  `SELECT ${address('pg_attrdef', 'd.oid')}, ${address('pg_class', 'd.adrelid')} FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE a.attgenerated <> ''`,
  `SELECT ${address('pg_constraint', 'oid')}, CASE WHEN conrelid <> 0 THEN ${address('pg_class', 'conrelid')} ELSE ${address('pg_type', 'contypid')} END FROM pg_constraint WHERE contype IN ('c', 'n') AND convalidated`,
  `SELECT ${address('pg_constraint', 'oid')}, ${address('pg_class', 'conindid')} FROM pg_constraint WHERE contype IN ('p', 'u', 'x')`,
  `SELECT ${address('pg_type', 'oid')}, ${address('pg_class', 'typrelid')} FROM pg_type WHERE typrelid <> 0`,
  `SELECT ${address('pg_type', 'typarray')}, ${address('pg_type', 'oid')} FROM pg_type WHERE typarray <> 0`,
  `SELECT ${address('pg_type', 'rngmultitypid')}, ${address('pg_type', 'rngtypid')} FROM pg_range`,
].join(' UNION ALL ');

export const dependencies = `SELECT d.classid::regclass || ' ' || d.objid, d.refclassid::regclass || ' ' || d.refobjid FROM pg_depend d
  WHERE d.objid >= 16384 AND d.refobjid >= 16384 AND d.deptype IN ('n', 'a', 'i', 'P', 'S')`;
