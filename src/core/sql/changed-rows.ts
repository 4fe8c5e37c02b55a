/**
 * The server's own account of how many rows of permanent tables a transaction has changed, by whatever means: what a command
 * tag does not tell. Counters that are not yet reported stand in it too, so only the difference of two answers in one
 * transaction says anything. NULL: the server does not count.
 */
export const changedRowsSql = `SELECT CASE WHEN pg_catalog.current_setting('track_counts') OPERATOR(pg_catalog.=) 'on' THEN
  (SELECT COALESCE(pg_catalog.sum(n_tup_ins OPERATOR(pg_catalog.+) n_tup_upd OPERATOR(pg_catalog.+) n_tup_del), 0)
   FROM pg_catalog.pg_stat_xact_user_tables WHERE schemaname OPERATOR(pg_catalog.!~) '^pg_temp') END`;

/**
 * The same of rows that were lost, by UPDATE or DELETE, in all tables but those whose quoted names the parameter is an array of.
 */
export const lostElsewhereSql = `SELECT CASE WHEN pg_catalog.current_setting('track_counts') OPERATOR(pg_catalog.=) 'on' THEN
  (SELECT COALESCE(pg_catalog.sum(n_tup_upd OPERATOR(pg_catalog.+) n_tup_del), 0) FROM pg_catalog.pg_stat_xact_user_tables
   WHERE schemaname OPERATOR(pg_catalog.!~) '^pg_temp' AND relid OPERATOR(pg_catalog.<>) ALL ($1::pg_catalog.regclass[]::pg_catalog.oid[])) END`;
