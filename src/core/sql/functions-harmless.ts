/**
 * PostgreSQL's own functions that are declared volatile only because their answer changes: clocks, random numbers,
 * statistics and state readers, sizes, and functions that SQL cannot call at all (trigger and index handlers run by
 * the server, with arguments that no expression can make). Each was read in the server's source; none writes.
 */
const clocks = 'clock_timestamp timeofday random random_normal gen_random_uuid uuidv4 uuidv7 array_sample array_shuffle current_query';

const sessionReaders = 'currval lastval lo_get loread lo_lseek lo_lseek64 lo_tell lo_tell64 lo_close currtid2';

const transactionReaders = `
  pg_xact_status txid_status pg_xact_commit_timestamp pg_xact_commit_timestamp_origin pg_last_committed_xact
  pg_get_multixact_members pg_prepared_xact pg_lock_status pg_blocking_pids pg_safe_snapshot_blocking_pids
  pg_isolation_test_session_is_blocked pg_notification_queue_usage`;

const sizes = 'pg_database_size pg_indexes_size pg_relation_size pg_table_size pg_tablespace_size pg_total_relation_size';

const structure = `
  pg_partition_ancestors pg_partition_tree pg_sequence_last_value pg_get_sequence_data pg_collation_actual_version
  pg_database_collation_actual_version pg_jit_available amvalidate`;

const serverReaders = `
  pg_control_checkpoint pg_control_init pg_control_recovery pg_control_system pg_current_wal_flush_lsn
  pg_current_wal_insert_lsn pg_current_wal_lsn pg_get_aios pg_get_backend_memory_contexts pg_get_loaded_modules
  pg_get_shmem_allocations pg_get_shmem_allocations_numa pg_get_wait_events pg_get_wal_replay_pause_state
  pg_get_wal_resource_managers pg_get_wal_summarizer_state pg_available_wal_summaries pg_wal_summary_contents
  pg_is_in_recovery pg_is_wal_replay_paused pg_last_wal_receive_lsn pg_last_wal_replay_lsn
  pg_last_xact_replay_timestamp pg_replication_origin_progress pg_replication_origin_session_is_setup
  pg_replication_origin_session_progress pg_show_replication_origin_status`;

const statistics = `
  pg_stat_get_backend_io pg_stat_get_backend_wal pg_stat_get_io pg_stat_get_recovery_prefetch
  pg_stat_get_xact_blocks_fetched pg_stat_get_xact_blocks_hit pg_stat_get_xact_function_calls
  pg_stat_get_xact_function_self_time pg_stat_get_xact_function_total_time pg_stat_get_xact_numscans
  pg_stat_get_xact_tuples_deleted pg_stat_get_xact_tuples_fetched pg_stat_get_xact_tuples_hot_updated
  pg_stat_get_xact_tuples_inserted pg_stat_get_xact_tuples_newpage_updated pg_stat_get_xact_tuples_returned
  pg_stat_get_xact_tuples_updated pg_stat_have_stats`;

/** bernoulli and system are what TABLESAMPLE names; the others take `internal` and no SQL can call them. */
const handlers = `
  bernoulli system brinhandler bthandler ginhandler gisthandler hashhandler spghandler heap_tableam_handler
  dsnowball_init dsnowball_lexize`;

/** Triggers that change or skip only the row being written, which the write itself already says. */
const rowTriggers = 'suppress_redundant_updates_trigger tsvector_update_trigger tsvector_update_trigger_column unique_key_recheck';

export const harmlessFunctions: readonly string[] = [
  clocks, sessionReaders, transactionReaders, sizes, structure, serverReaders, statistics, handlers, rowTriggers,
].flatMap((group) => group.trim().split(/\s+/));
