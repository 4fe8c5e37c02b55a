/**
 * Extensions whose declared volatility is trusted, because their source was reviewed and their stable functions neither
 * write nor run SQL (those of postgis_raster, postgis_topology and address_standardizer do, though they are declared immutable
 * or stable), and the rows for functions of extensions that do. A name listed here is judged by its row wherever
 * it comes from; a volatile function of a reviewed extension without a row is not trusted.
 */
import type { FunctionGroup } from './functions.ts';

export const reviewedExtensions: ReadonlySet<string> = new Set([
  'plpgsql', 'citext', 'hstore', 'pg_trgm', 'unaccent', 'uuid-ossp', 'pgcrypto', 'intarray', 'ltree', 'cube',
  'earthdistance', 'fuzzystrmatch', 'btree_gin', 'btree_gist', 'isn', 'seg', 'bloom', 'pg_stat_statements', 'postgis',
  'postgis_sfcgal', 'vector', 'tablefunc', 'tsm_system_rows',
  'tsm_system_time', 'sslinfo', 'intagg', 'dict_int', 'dict_xsyn', 'lo', 'tcn', 'pg_prewarm', 'pg_surgery', 'adminpack',
]);

const outside = 'leaves the database and its transaction';

export const extensionFunctions: readonly FunctionGroup[] = [
  {
    names: `dblink dblink_exec dblink_open dblink_fetch dblink_close dblink_send_query dblink_get_result dblink_connect
      dblink_connect_u dblink_build_sql_insert dblink_build_sql_update dblink_build_sql_delete`,
    level: 'CRITICAL', effect: 'network', note: outside, hazard: 'H28', destroys: true, recoverability: 'none',
  },
  { names: 'dblink_disconnect dblink_cancel_query dblink_is_busy dblink_get_connections dblink_error_message dblink_get_notify', level: 'HIGH', effect: 'network', note: outside, hazard: 'H28' },
  { names: 'pg_file_write pg_file_rename pg_file_unlink pg_file_sync pg_logdir_ls', level: 'CRITICAL', effect: 'file', note: 'writes or reads files of the server', hazard: 'H37', destroys: true, recoverability: 'none' },
  { names: 'heap_force_kill heap_force_freeze', level: 'CRITICAL', effect: 'delete', note: 'destroys or revives row versions by force', hazard: 'H48', destroys: true, recoverability: 'none' },
  { names: 'pg_prewarm autoprewarm_dump_now autoprewarm_start_worker', level: 'HIGH', effect: 'server', note: 'fills the server\'s buffers', hazard: 'H49' },
  { names: 'pg_stat_statements_reset', level: 'HIGH', effect: 'statistics', note: 'destroys statistics', hazard: 'H42', destroys: true, recoverability: 'none' },
  { names: 'lo_manage', level: 'HIGH', effect: 'large-object', note: 'deletes large objects', destroys: true, recoverability: 'point-in-time' },
  { names: 'crosstab crosstab2 crosstab3 crosstab4 crosstabn', level: 'SAFE', effect: 'call', note: 'runs SQL given as text', hazard: 'H27', argument: { kind: 'sql', at: 0, andAt: 1 } },
  { names: 'st_fromflatgeobuftotable', level: 'HIGH', effect: 'create', note: 'makes a table' },
  { names: 'crosstab_hash connectby xpath_table', level: 'HIGH', effect: 'call', note: 'builds SQL from its arguments and runs it', hazard: 'H27', destroys: true, recoverability: 'point-in-time' },
  { names: 'xpath_nodeset xpath_list xpath_string xpath_number xpath_bool xslt_process', level: 'HIGH', effect: 'call', note: 'runs an XML library over the document', hazard: 'H27' },
  { names: 'populate_record st_fromflatgeobuf', level: 'SAFE', effect: 'call', note: 'makes values of a type that its arguments carry', argument: { kind: 'any-type' } },
  { names: 'set_limit', level: 'LOW', effect: 'session', note: 'changes a setting of the session' },
  {
    names: `pg_stat_statements pg_stat_statements_info gen_salt gen_random_bytes uuid_generate_v1 uuid_generate_v1mc
      uuid_generate_v4 normal_rand tsm_system_rows_handler system_rows system_time`,
    level: 'SAFE', effect: 'read', note: 'reads only',
  },
];
