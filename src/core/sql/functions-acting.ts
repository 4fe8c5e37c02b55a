/**
 * PostgreSQL's own functions that act although a SELECT calls them, by theme, each with what it does and the hazard it
 * answers. Most run even inside a READ ONLY transaction. Levels: CRITICAL is what reaches files, WAL, replication or the
 * catalog's inside; HIGH changes data, statistics or other sessions; LOW is confined to the session or only waits.
 */
import type { FunctionGroup } from './functions.ts';

const files: readonly FunctionGroup[] = [
  { names: 'pg_read_file pg_read_binary_file pg_read_file_old pg_stat_file pg_ls_dir pg_current_logfile', level: 'CRITICAL', effect: 'file', note: 'reads files of the server', hazard: 'H36' },
  { names: 'pg_ls_logdir pg_ls_waldir pg_ls_archive_statusdir pg_ls_tmpdir pg_ls_replslotdir pg_ls_logicalmapdir pg_ls_logicalsnapdir pg_ls_summariesdir', level: 'HIGH', effect: 'file', note: 'lists a directory of the server', hazard: 'H36' },
  { names: 'pg_hba_file_rules pg_ident_file_mappings pg_show_all_file_settings', level: 'HIGH', effect: 'file', note: 'reads configuration files of the server', hazard: 'H36' },
  { names: 'lo_import lo_export', level: 'CRITICAL', effect: 'file', note: 'moves a file of the server into or out of the database', hazard: 'H38', destroys: true, recoverability: 'none' },
];

const largeObjects: readonly FunctionGroup[] = [
  { names: 'lo_creat lo_create lo_from_bytea', level: 'HIGH', effect: 'large-object', note: 'creates a large object', hazard: 'H38' },
  { names: 'lo_put lowrite lo_truncate lo_truncate64 lo_unlink', level: 'HIGH', effect: 'large-object', note: 'overwrites or deletes a large object', hazard: 'H38', destroys: true, recoverability: 'point-in-time' },
  { names: 'lo_open', level: 'LOW', effect: 'session', note: 'opens a large object in the session', hazard: 'H38' },
];

const server: readonly FunctionGroup[] = [
  { names: 'pg_terminate_backend pg_cancel_backend', level: 'HIGH', effect: 'server', note: 'interrupts other sessions', hazard: 'H39' },
  { names: 'pg_reload_conf pg_rotate_logfile pg_rotate_logfile_old', level: 'HIGH', effect: 'server', note: 'acts on the whole server', hazard: 'H39' },
  { names: 'pg_backup_start pg_backup_stop pg_create_restore_point pg_promote pg_switch_wal pg_wal_replay_pause pg_wal_replay_resume', level: 'CRITICAL', effect: 'server', note: 'controls WAL, backup or recovery', hazard: 'H40' },
  { names: 'pg_log_standby_snapshot pg_logical_emit_message', level: 'HIGH', effect: 'replication', note: 'writes to the WAL', hazard: 'H43' },
  { names: 'pg_log_backend_memory_contexts', level: 'LOW', effect: 'server', note: 'writes to the server log', hazard: 'H55' },
  { names: 'pg_sleep pg_sleep_for pg_sleep_until', level: 'LOW', effect: 'call', note: 'holds the session and its snapshot', hazard: 'H49' },
];

const replication: readonly FunctionGroup[] = [
  { names: 'pg_create_logical_replication_slot pg_create_physical_replication_slot pg_copy_logical_replication_slot pg_copy_physical_replication_slot pg_drop_replication_slot pg_replication_slot_advance pg_sync_replication_slots', level: 'CRITICAL', effect: 'replication', note: 'changes replication slots', hazard: 'H41', destroys: true, recoverability: 'none' },
  { names: 'pg_logical_slot_get_changes pg_logical_slot_get_binary_changes', level: 'CRITICAL', effect: 'replication', note: 'consumes changes of a replication slot', hazard: 'H41', destroys: true, recoverability: 'none' },
  { names: 'pg_logical_slot_peek_changes pg_logical_slot_peek_binary_changes', level: 'HIGH', effect: 'replication', note: 'decodes all changes of a replication slot', hazard: 'H41' },
  { names: 'pg_replication_origin_advance pg_replication_origin_create pg_replication_origin_drop pg_replication_origin_session_reset pg_replication_origin_session_setup pg_replication_origin_xact_reset pg_replication_origin_xact_setup', level: 'CRITICAL', effect: 'replication', note: 'changes replication state', hazard: 'H54' },
];

const statistics: readonly FunctionGroup[] = [
  { names: 'pg_stat_reset pg_stat_reset_backend_stats pg_stat_reset_replication_slot pg_stat_reset_shared pg_stat_reset_single_function_counters pg_stat_reset_single_table_counters pg_stat_reset_slru pg_stat_reset_subscription_stats', level: 'HIGH', effect: 'statistics', note: 'destroys statistics', hazard: 'H42', destroys: true, recoverability: 'none' },
  { names: 'pg_clear_attribute_stats pg_clear_relation_stats pg_restore_attribute_stats pg_restore_relation_stats', level: 'HIGH', effect: 'statistics', note: 'overwrites planner statistics', hazard: 'H42' },
  { names: 'pg_stat_clear_snapshot pg_stat_force_next_flush', level: 'LOW', effect: 'session', note: 'refreshes the session\'s view of statistics' },
];

const locksAndMessages: readonly FunctionGroup[] = [
  { names: 'pg_advisory_lock pg_advisory_lock_shared pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_try_advisory_lock pg_try_advisory_lock_shared pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared pg_advisory_unlock pg_advisory_unlock_all pg_advisory_unlock_shared', level: 'LOW', effect: 'lock', note: 'takes or releases an advisory lock', hazard: 'H44' },
  { names: 'pg_notify', level: 'LOW', effect: 'message', note: 'sends a notification', hazard: 'H45' },
  { names: 'setseed', level: 'LOW', effect: 'session', note: 'seeds the session\'s random numbers' },
  { names: 'txid_current pg_current_xact_id', level: 'LOW', effect: 'transaction', note: 'assigns a transaction id', hazard: 'H50' },
  { names: 'pg_export_snapshot', level: 'LOW', effect: 'transaction', note: 'holds back vacuum while the transaction is open', hazard: 'H51' },
];

const writes: readonly FunctionGroup[] = [
  { names: 'nextval', level: 'HIGH', effect: 'sequence', note: 'advances a sequence, which a rollback does not undo', hazard: 'H53' },
  { names: 'setval', level: 'HIGH', effect: 'sequence', note: 'sets a sequence, which a rollback does not undo', hazard: 'H53', destroys: true, recoverability: 'exact-rows' },
  { names: 'set_config', level: 'HIGH', effect: 'session', note: 'changes a setting', hazard: 'H46', argument: { kind: 'setting', at: 0 } },
  { names: 'pg_import_system_collations', level: 'HIGH', effect: 'alter', note: 'writes the system catalog', hazard: 'H47' },
  { names: 'pg_extension_config_dump', level: 'HIGH', effect: 'alter', note: 'changes what a dump of an extension holds' },
  { names: 'brin_desummarize_range brin_summarize_new_values brin_summarize_range gin_clean_pending_list', level: 'HIGH', effect: 'maintenance', note: 'rewrites parts of an index' },
  { names: 'pg_nextoid pg_stop_making_pinned_objects', level: 'CRITICAL', effect: 'server', note: 'is for initdb alone' },
  { names: 'plpgsql_call_handler plpgsql_inline_handler plpgsql_validator', level: 'HIGH', effect: 'call', note: 'runs or checks code of the procedural language' },
  { names: 'domain_in domain_recv array_in array_recv record_in record_recv range_in range_recv multirange_in multirange_recv anyarray_in anyarray_recv', level: 'HIGH', effect: 'call', note: 'makes a value of a type named by OID, which can run that type\'s own functions', hazard: 'H23' },
];

const upgrade: readonly FunctionGroup[] = [{
  names: `binary_upgrade_add_sub_rel_state binary_upgrade_create_empty_extension binary_upgrade_logical_slot_has_caught_up
    binary_upgrade_replorigin_advance binary_upgrade_set_missing_value binary_upgrade_set_next_array_pg_type_oid
    binary_upgrade_set_next_heap_pg_class_oid binary_upgrade_set_next_heap_relfilenode
    binary_upgrade_set_next_index_pg_class_oid binary_upgrade_set_next_index_relfilenode
    binary_upgrade_set_next_multirange_array_pg_type_oid binary_upgrade_set_next_multirange_pg_type_oid
    binary_upgrade_set_next_pg_authid_oid binary_upgrade_set_next_pg_enum_oid
    binary_upgrade_set_next_pg_tablespace_oid binary_upgrade_set_next_pg_type_oid
    binary_upgrade_set_next_toast_pg_class_oid binary_upgrade_set_next_toast_relfilenode
    binary_upgrade_set_record_init_privs`,
  level: 'CRITICAL', effect: 'server', note: 'is for pg_upgrade alone', destroys: true, recoverability: 'none',
}];

const foreignKeyTriggers: readonly FunctionGroup[] = [{
  names: `RI_FKey_cascade_del RI_FKey_cascade_upd RI_FKey_check_ins RI_FKey_check_upd RI_FKey_noaction_del
    RI_FKey_noaction_upd RI_FKey_restrict_del RI_FKey_restrict_upd RI_FKey_setdefault_del RI_FKey_setdefault_upd
    RI_FKey_setnull_del RI_FKey_setnull_upd`,
  level: 'HIGH', effect: 'call', note: 'is a foreign key\'s own trigger', destroys: true, recoverability: 'point-in-time',
}];

const sqlAsText: readonly FunctionGroup[] = [
  { names: 'query_to_xml query_to_xmlschema query_to_xml_and_xmlschema ts_stat', level: 'SAFE', effect: 'call', note: 'runs SQL given as text', hazard: 'H27', argument: { kind: 'sql', at: 0 } },
  { names: 'ts_rewrite', level: 'SAFE', effect: 'call', note: 'runs SQL given as text', hazard: 'H27', argument: { kind: 'sql', at: 1 } },
  { names: 'table_to_xml table_to_xml_and_xmlschema', level: 'LOW', effect: 'read', note: 'exports a whole table in one value', hazard: 'H52', argument: { kind: 'relation', at: 0 } },
  { names: 'cursor_to_xml cursor_to_xmlschema', level: 'SAFE', effect: 'call', note: 'fetches from a cursor', hazard: 'H27', argument: { kind: 'cursor', at: 0 } },
  { names: 'schema_to_xml schema_to_xml_and_xmlschema database_to_xml database_to_xml_and_xmlschema', level: 'HIGH', effect: 'read', note: 'exports every table and view of a schema or of the database', hazard: 'H52' },
  { names: 'pg_input_is_valid pg_input_error_info', level: 'SAFE', effect: 'call', note: 'runs the input function and the checks of a type', hazard: 'H23', argument: { kind: 'type', at: 1 } },
  { names: 'json_populate_record json_populate_recordset jsonb_populate_record jsonb_populate_recordset jsonb_populate_record_valid json_to_record json_to_recordset jsonb_to_record jsonb_to_recordset', level: 'SAFE', effect: 'call', note: 'makes values of a type that its arguments carry', hazard: 'H23', argument: { kind: 'any-type' } },
];

const settingReaders: readonly FunctionGroup[] = [
  { names: 'current_setting', level: 'SAFE', effect: 'read', note: 'reads a setting', argument: { kind: 'read-setting', at: 0 } },
  { names: 'pg_show_all_settings', level: 'SAFE', effect: 'read', note: 'reads every setting', argument: { kind: 'read-setting', at: 'all' } },
];

export const actingFunctions: readonly FunctionGroup[] = [
  ...files, ...largeObjects, ...server, ...replication, ...statistics, ...locksAndMessages, ...writes, ...upgrade,
  ...foreignKeyTriggers, ...sqlAsText, ...settingReaders,
];
