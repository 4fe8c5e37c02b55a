/**
 * The questions that loadCatalog asks a PostgreSQL 15 to 18, each one statement that an ordinary role may run, answered
 * in text columns. Names of types are OIDs here, because the loader holds them all. Everything deparsed relies on an
 * empty search_path. Objects of temporary and TOAST schemas are left out: they belong to sessions, not to the catalog.
 */

/** OIDs below are assigned by initdb; everything from here on was made afterwards. */
export const firstUserOid = 16384;

const ordinarySchema = (column: string): string =>
  `${column} NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast|temp)')`;

const extensionOf = (catalog: string, oid: string): string =>
  `(SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
     WHERE d.classid = '${catalog}'::regclass AND d.objid = ${oid} AND d.deptype = 'e' LIMIT 1)`;

export const schemasQuery = `SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp)' ORDER BY 1`;

export const typesQuery = `
  SELECT t.oid, n.nspname, t.typname,
    CASE WHEN t.typelem <> 0 AND t.typsubscript = 'pg_catalog.array_subscript_handler'::regproc THEN 'array' ELSE t.typtype::text END,
    CASE WHEN t.typbasetype <> 0 THEN t.typbasetype WHEN t.typelem <> 0 THEN t.typelem ELSE r.rngsubtype END,
    CASE WHEN t.oid >= ${firstUserOid} AND t.typtype IN ('b', 'r') THEN array_to_json(ARRAY(
      SELECT f FROM unnest(ARRAY[t.typinput, t.typoutput, t.typreceive, t.typsend, t.typmodin, t.typmodout,
        r.rngcanonical, r.rngsubdiff]::oid[]) f WHERE f >= ${firstUserOid})) END,
    CASE WHEN t.typtype = 'd' AND t.oid >= ${firstUserOid} THEN array_to_json(ARRAY(
      SELECT pg_get_expr(c.conbin, 0) FROM pg_constraint c WHERE c.contypid = t.oid AND c.conbin IS NOT NULL
      UNION ALL SELECT pg_get_expr(t.typdefaultbin, 0) WHERE t.typdefaultbin IS NOT NULL)) END,
    CASE WHEN t.oid >= ${firstUserOid} THEN ${extensionOf('pg_type', 't.oid')} END
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
  LEFT JOIN pg_range r ON r.rngtypid = t.oid OR r.rngmultitypid = t.oid
  WHERE ${ordinarySchema('t.typnamespace')}`;

/** Bound bodies hold OIDs that initdb assigned (10000 to 15999), which differ from build to build. */
const functionHash = `left(md5(concat_ws('|', p.proargtypes, p.prorettype, p.provolatile, p.prokind, l.lanname, p.prosrc, p.probin,
  p.prosecdef, p.proconfig, p.prosupport::oid, md5(regexp_replace(p.prosqlbody::text, '\\m1[0-5][0-9]{3}\\M', '?', 'g')))), 12)`;

/** One digest of all functions that initdb made; equal to the snapshot's unless someone replaced one. */
export const builtinFunctionDigestQuery = `
  SELECT md5(string_agg(n.nspname || '.' || p.proname || '(' || p.proargtypes::text || ')' || ${functionHash}, ','
    ORDER BY n.nspname COLLATE "C", p.proname COLLATE "C", p.proargtypes::text COLLATE "C"))
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
  WHERE p.oid < ${firstUserOid}`;

export const functionsQuery = (where: string): string => `
  SELECT p.oid, n.nspname, p.proname, array_to_json(p.proargtypes::oid[]), array_to_json(p.proargnames), p.pronargdefaults,
    p.provariadic, p.prorettype, p.prokind, p.provolatile, l.lanname, p.prosecdef, array_to_json(p.proconfig),
    p.prosupport::oid <> 0 OR p.protrftypes IS NOT NULL,
    CASE WHEN p.prokind = 'a' THEN NULL
      WHEN p.prosqlbody IS NOT NULL THEN pg_get_function_sqlbody(p.oid)
      WHEN l.lanname = 'plpgsql' THEN pg_get_functiondef(p.oid) ELSE p.prosrc END,
    p.prosqlbody IS NOT NULL, pg_get_expr(p.proargdefaults, 0),
    (SELECT array_to_json(ARRAY(SELECT f FROM unnest(ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn,
       a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::oid[]) f WHERE f <> 0))
     FROM pg_aggregate a WHERE a.aggfnoid = p.oid),
    pg_get_userbyid(p.proowner), ${extensionOf('pg_proc', 'p.oid')}, ${functionHash},
    array_to_json(p.proallargtypes::oid[])
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
  WHERE ${where}`;

/** Names of functions that others name by OID: those of initdb that user objects use, and the user's own. */
export const functionNamesQuery = `
  SELECT p.oid, n.nspname, p.proname, array_to_json(p.proargtypes::oid[])
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid IN (
    SELECT oprcode FROM pg_operator WHERE oid >= ${firstUserOid} UNION SELECT castfunc FROM pg_cast WHERE oid >= ${firstUserOid}
    UNION SELECT tgfoid FROM pg_trigger WHERE NOT tgisinternal UNION SELECT evtfoid FROM pg_event_trigger
    UNION SELECT unnest(ARRAY[aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn, aggmtransfn,
      aggminvtransfn, aggmfinalfn]::oid[]) FROM pg_aggregate WHERE aggfnoid >= ${firstUserOid})`;

export const operatorsQuery = (where: string): string => `
  SELECT n.nspname, o.oprname, o.oprleft, o.oprright, o.oprcode::oid
  FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE ${where} AND o.oprcode <> 0`;

export const castsQuery = `
  SELECT castsource, casttarget, nullif(castfunc, 0), castcontext FROM pg_cast WHERE oid >= ${firstUserOid}`;

export const operatorClassQuery = `
  SELECT amproc::oid FROM pg_amproc WHERE amproc >= ${firstUserOid}
  UNION SELECT o.oprcode::oid FROM pg_amop a JOIN pg_operator o ON o.oid = a.amopopr WHERE o.oprcode >= ${firstUserOid}`;

export const relationsQuery = (where: string): string => `
  SELECT c.oid, n.nspname, c.relname, c.relkind, pg_get_userbyid(c.relowner), c.relrowsecurity,
    (SELECT json_agg(json_build_array(a.attname, a.atttypid::int8, a.attgenerated,
        CASE WHEN a.atthasdef THEN pg_get_expr(d.adbin, d.adrelid) END) ORDER BY a.attnum)
      FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    CASE WHEN c.relkind IN ('v', 'm') AND c.oid >= ${firstUserOid} THEN pg_get_viewdef(c.oid) END,
    (SELECT json_agg(i.inhrelid::int8) FROM pg_inherits i WHERE i.inhparent = c.oid),
    (SELECT json_build_array(s.srvname, w.fdwname, EXISTS (SELECT FROM unnest(f.ftoptions) o WHERE o LIKE 'program=%'))
      FROM pg_foreign_table f JOIN pg_foreign_server s ON s.oid = f.ftserver
      JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw WHERE f.ftrelid = c.oid),
    (SELECT pg_get_expr(p.partexprs, p.partrelid) FROM pg_partitioned_table p WHERE p.partrelid = c.oid AND p.partexprs IS NOT NULL),
    CASE WHEN c.oid >= ${firstUserOid} THEN ${extensionOf('pg_class', 'c.oid')} END
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND ${ordinarySchema('c.relnamespace')} AND ${where}`;

export const triggersQuery = `
  SELECT t.tgrelid, t.tgname, t.tgtype, t.tgenabled, t.tgfoid,
    (SELECT json_agg(a.attname) FROM pg_attribute a WHERE a.attrelid = t.tgrelid AND a.attnum = ANY (t.tgattr::int2[])),
    CASE WHEN t.tgqual IS NOT NULL THEN pg_get_triggerdef(t.oid) END, t.tgdeferrable
  FROM pg_trigger t WHERE NOT t.tgisinternal`;

export const rulesQuery = `
  SELECT ev_class, rulename, ev_type, is_instead, pg_get_ruledef(oid) FROM pg_rewrite
  WHERE oid >= ${firstUserOid} AND ev_type <> '1' AND ev_enabled <> 'D'`;

export const policiesQuery = `
  SELECT polrelid, polname, polcmd, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid) FROM pg_policy`;

export const checksQuery = `
  SELECT conrelid, pg_get_expr(conbin, conrelid) FROM pg_constraint
  WHERE contype = 'c' AND conrelid <> 0 AND oid >= ${firstUserOid}`;

export const indexExpressionsQuery = `
  SELECT indrelid, pg_get_expr(indexprs, indrelid), pg_get_expr(indpred, indrelid) FROM pg_index
  WHERE indexrelid >= ${firstUserOid} AND (indexprs IS NOT NULL OR indpred IS NOT NULL)
  UNION ALL SELECT stxrelid, array_to_string(pg_get_statisticsobjdef_expressions(oid), ', '), NULL
  FROM pg_statistic_ext WHERE stxexprs IS NOT NULL`;

const columnNames = (relation: string, numbers: string): string => `(SELECT json_agg(a.attname ORDER BY k.ord)
  FROM unnest(${numbers}) WITH ORDINALITY k(num, ord) JOIN pg_attribute a ON a.attrelid = ${relation} AND a.attnum = k.num)`;

/**
 * A deferrable constraint may be violated until its transaction ends. Equality under another collation than the column's is
 * the coarser of the two only where that of the column is not deterministic.
 */
export const uniqueKeysQuery = `
  SELECT i.indrelid, (SELECT json_agg(a.attname) FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(num, ord) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num WHERE k.ord <= i.indnkeyatts), i.indisprimary
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
  WHERE i.indexrelid >= ${firstUserOid} AND m.amname = 'btree' AND i.indisunique AND i.indisvalid AND i.indisready AND i.indislive AND i.indimmediate
    AND NOT i.indisexclusion AND i.indpred IS NULL AND i.indexprs IS NULL AND NOT EXISTS (
      SELECT FROM generate_series(0, i.indnkeyatts - 1) k JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k]
      LEFT JOIN pg_collation l ON l.oid = a.attcollation
      WHERE i.indclass[k] >= ${firstUserOid} OR (i.indcollation[k] <> a.attcollation AND NOT coalesce(l.collisdeterministic, true)))`;

export const foreignKeysQuery = `
  SELECT c.conname, c.conrelid, ${columnNames('c.conrelid', 'c.conkey')}, c.confrelid, ${columnNames('c.confrelid', 'c.confkey')},
    c.confdeltype, c.confupdtype
  FROM pg_constraint c WHERE c.contype = 'f'`;

export const eventTriggersQuery = `SELECT evtname, evtevent, evtfoid, evtenabled <> 'D', array_to_json(evttags) FROM pg_event_trigger`;

export const dependenciesQuery = `
  SELECT DISTINCT r.ev_class, d.refobjid FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
  WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid >= ${firstUserOid}
    AND r.ev_class <> d.refobjid`;

/** Relations that something depends on which `dependencies`, foreign keys and children do not tell. What belongs to the relation itself goes with it. */
export const otherDependentsQuery = `
  SELECT d.refobjid FROM pg_depend d WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid >= ${firstUserOid} AND d.deptype = 'n' AND CASE d.classid
    WHEN 'pg_rewrite'::regclass THEN false
    WHEN 'pg_class'::regclass THEN d.objid <> d.refobjid AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = d.objid AND i.inhparent = d.refobjid)
    WHEN 'pg_constraint'::regclass THEN EXISTS (SELECT FROM pg_constraint c WHERE c.oid = d.objid AND c.contype <> 'f' AND c.conrelid <> d.refobjid)
    WHEN 'pg_policy'::regclass THEN EXISTS (SELECT FROM pg_policy p WHERE p.oid = d.objid AND p.polrelid <> d.refobjid)
    WHEN 'pg_trigger'::regclass THEN EXISTS (SELECT FROM pg_trigger t WHERE t.oid = d.objid AND t.tgrelid <> d.refobjid)
    WHEN 'pg_attrdef'::regclass THEN EXISTS (SELECT FROM pg_attrdef a WHERE a.oid = d.objid AND a.adrelid <> d.refobjid)
    ELSE true END
  UNION SELECT t.typrelid FROM pg_type t JOIN pg_depend d ON d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray) AND d.deptype = 'n'
  WHERE t.typrelid >= ${firstUserOid}`;

const rowMark = (oid: string, alias: string): string =>
  `bit_xor(hashint8extended((${alias}.xmin::text::int8 << 32) | ${oid}::int8, 7)) || '.' || count(*)`;

const ofOrdinaryRelation = (column: string): string =>
  `${column} >= ${firstUserOid} AND ${column} IN (SELECT oid FROM pg_class WHERE oid >= ${firstUserOid} AND relpersistence <> 't')`;

/** Marks of every catalog whose rows decide a judgement; any DDL on them changes one. Temporary objects do not count. */
export const versionQuery = `SELECT md5(concat_ws('/', ${[
  ['pg_namespace', 'x.oid', `nspname !~ '^pg_(toast|temp)'`],
  ['pg_class', 'x.oid', `oid >= ${firstUserOid} AND relpersistence <> 't' AND relkind <> 't'`],
  ['pg_attribute', '(x.attrelid::int8 * 1700 + x.attnum)', ofOrdinaryRelation('attrelid')],
  ['pg_attrdef', 'x.oid', ofOrdinaryRelation('adrelid')],
  ['pg_index', 'x.indexrelid', ofOrdinaryRelation('indrelid')],
  ['pg_inherits', '(x.inhrelid::int8 * 31 + x.inhparent::int8)', 'true'],
  ['pg_trigger', 'x.oid', ofOrdinaryRelation('tgrelid')],
  ['pg_rewrite', 'x.oid', ofOrdinaryRelation('ev_class')],
  ['pg_policy', 'x.oid', 'true'],
  ['pg_statistic_ext', 'x.oid', 'true'],
  ['pg_constraint', 'x.oid', `oid >= ${firstUserOid} AND ${ordinarySchema('connamespace')}`],
  // initdb made the others, and whoever replaces one of them leaves another transaction's mark.
  ['pg_proc', 'x.oid', `oid >= ${firstUserOid} OR xmin <> '1'::xid`],
  ['pg_type', 'x.oid', `oid >= ${firstUserOid} AND ${ordinarySchema('typnamespace')}`],
  ['pg_operator', 'x.oid', `oid >= ${firstUserOid}`],
  ['pg_cast', 'x.oid', `oid >= ${firstUserOid}`],
  ['pg_amproc', 'x.oid', `oid >= ${firstUserOid}`],
  ['pg_amop', 'x.oid', `oid >= ${firstUserOid}`],
  ['pg_aggregate', 'x.aggfnoid::oid', `aggfnoid >= ${firstUserOid}`],
  ['pg_event_trigger', 'x.oid', 'true'],
  ['pg_extension', 'x.oid', 'true'],
  ['pg_foreign_table', 'x.ftrelid', 'true'],
  ['pg_db_role_setting', '(x.setdatabase::int8 * 31 + x.setrole::int8)', 'true'],
].map(([catalog, oid, where]) => `(SELECT ${rowMark(oid ?? '', 'x')} FROM ${catalog} x WHERE ${where})`).join(',\n')}))`;
