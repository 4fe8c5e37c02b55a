/**
 * How dangerous it is to change each setting in a session. Only reviewed settings are LOW; whoever changes identity, read
 * access, triggers, escaping or what is logged removes ground that the judgement stands on, and the rest is HIGH because
 * nobody has looked at it. Names are compared as the server does: without regard to case.
 */
import type { Level, Risk } from '../risk.ts';
import { effect, risk } from './own-reading.ts';
import { readMilliseconds } from './time-limits.ts';

interface Finding { readonly level: Exclude<Level, 'SAFE'>; readonly rule: string; readonly message: string }

const harmless: Finding = { level: 'LOW', rule: 'session.setting', message: 'It changes a setting of this session that does no harm.' };
const unreviewed: Finding = { level: 'HIGH', rule: 'session.setting-unreviewed', message: 'It changes a setting whose effects are not on the reviewed list.' };
const critical = (rule: string, message: string): Finding => ({ level: 'CRITICAL', rule, message });

const harmlessNames: ReadonlySet<string> = new Set([
  'application_name', 'array_nulls', 'bytea_output', 'check_function_bodies', 'client_connection_check_interval', 'client_min_messages',
  'constraint_exclusion', 'cpu_index_tuple_cost', 'cpu_operator_cost', 'cpu_tuple_cost', 'cursor_tuple_fraction', 'datestyle',
  'debug_pretty_print', 'default_statistics_target', 'default_transaction_isolation', 'effective_cache_size',
  'effective_io_concurrency', 'escape_string_warning', 'exit_on_error', 'extra_float_digits', 'from_collapse_limit', 'geqo', 'geqo_effort',
  'geqo_generations', 'geqo_pool_size', 'geqo_seed', 'geqo_selection_bias', 'geqo_threshold', 'gin_fuzzy_search_limit',
  'icu_validation_level', 'intervalstyle', 'jit', 'jit_above_cost', 'jit_inline_above_cost', 'jit_optimize_above_cost', 'join_collapse_limit',
  'lc_messages', 'lc_monetary', 'lc_numeric', 'lc_time', 'max_parallel_maintenance_workers',
  'max_parallel_workers_per_gather', 'min_parallel_index_scan_size', 'min_parallel_table_scan_size', 'parallel_leader_participation',
  'parallel_setup_cost', 'parallel_tuple_cost', 'plan_cache_mode', 'quote_all_identifiers', 'random_page_cost', 'recursive_worktable_factor', 'seed',
  'seq_page_cost', 'timezone', 'timezone_abbreviations', 'transaction_deferrable', 'transaction_isolation',
  'xmlbinary', 'xmloption',
]);

/** Limits that protect others from a session. */
const limits: ReadonlySet<string> = new Set([
  'statement_timeout', 'lock_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'temp_file_limit',
]);
const timeoutMsMax = 60 * 60 * 1000;

/** Memory that one step of one statement may take, by the bytes that a bare number counts: one session could take all there is. */
const memory: ReadonlyMap<string, number> = new Map([['work_mem', 1024], ['logical_decoding_work_mem', 1024], ['temp_buffers', 8192]]);
const memoryBytesMax = 1024 ** 3;
const memoryUnits: ReadonlyMap<string, number> = new Map([['b', 1], ['kb', 1024], ['mb', 1024 ** 2], ['gb', 1024 ** 3], ['tb', 1024 ** 4]]);

/** Harmless with this value only. */
const onlyWith: ReadonlyMap<string, { readonly values: ReadonlySet<string>; readonly otherwise: Finding }> = new Map([
  ['standard_conforming_strings', {
    values: new Set(['on', 'true', 'yes', '1', 't', 'y', 'tr', 'tru', 'ye']),
    otherwise: critical('session.string-escapes', 'It changes how backslashes in strings are read, so that texts mean something else than was judged.'),
  }],
  ['client_encoding', {
    values: new Set(['utf8', 'utf-8', 'unicode', 'utf_8']),
    otherwise: critical('session.encoding', 'It changes the encoding, so that texts mean something else than was judged.'),
  }],
  ['backslash_quote', {
    values: new Set(['safe_encoding', 'off', 'no', 'false', '0']),
    otherwise: critical('session.string-escapes', 'It changes how backslashes in strings are read, so that texts mean something else than was judged.'),
  }],
  ['row_security', {
    values: new Set(['on', 'true', 'yes', '1']),
    otherwise: critical('session.row-security', 'It switches off the filter that row security puts on reads.'),
  }],
  ['session_replication_role', {
    values: new Set(['origin']),
    otherwise: critical('session.replication-role', 'It switches off triggers and foreign keys for this session.'),
  }],
  ...['transaction_read_only', 'default_transaction_read_only'].map((name) => [name, {
    values: new Set(['on', 'true', 'yes', '1']),
    otherwise: { level: 'HIGH', rule: 'session.read-write', message: 'It lets the session write where it may have been read-only.' },
  }] as const),
  ['default_transaction_deferrable', {
    values: new Set(['off', 'false', 'no', '0']),
    otherwise: { level: 'HIGH', rule: 'session.deferrable', message: 'It makes transactions deferrable, for which the session gives up its read-only lock: a read that is misjudged could then write.' },
  }],
  ['force_parallel_mode', { values: new Set(['off']), otherwise: unreviewed }],
  ['track_activities', { values: new Set(['on']), otherwise: { level: 'HIGH', rule: 'session.hides', message: 'It hides what the session does.' } }],
]);

const dangerous: ReadonlyMap<string, Finding> = new Map([
  ...['role', 'session_authorization', 'is_superuser'].map((name) => [name, critical('session.role', 'It changes as whom the session acts.')] as const),
  ...['allow_system_table_mods', 'zero_damaged_pages', 'ignore_checksum_failure', 'ignore_system_indexes'].map((name) => [name,
    critical('session.integrity', 'It lets the session damage what the server relies on.')] as const),
  ...['session_preload_libraries', 'local_preload_libraries', 'dynamic_library_path', 'jit_provider'].map((name) => [name,
    critical('session.library', 'It decides which code the server loads.')] as const),
]);

/** `value` undefined: the default, what another place says, or something computed. */
export function settingRisk(givenName: string, value: string | undefined, how: 'set' | 'reset'): Risk {
  const name = givenName.toLowerCase();
  const { level, rule, message } = findingOf(name, value?.trim().toLowerCase(), how);
  const objectKind = rule === 'session.role' ? 'role' : 'setting';
  const escalates = rule === 'session.library' ? [effect('program', 'library', name)] : [];
  return risk(level, rule, message, [effect('session', objectKind, name), ...escalates]);
}

function findingOf(name: string, value: string | undefined, how: 'set' | 'reset'): Finding {
  const danger = dangerous.get(name);
  if (danger !== undefined) {
    // Back to the identity that was judged when the session began.
    return how === 'reset' ? { level: 'HIGH', rule: 'session.role', message: danger.message } : danger;
  }
  if (name.startsWith('log_')) return { level: 'HIGH', rule: 'session.logging', message: 'It changes what the server logs of this session.' };
  if (name === 'search_path') return { level: 'LOW', rule: 'session.search-path', message: 'It changes where unqualified names are looked up; later statements are judged by it.' };
  if (limits.has(name)) return limit(value, how);
  const unit = memory.get(name);
  if (unit !== undefined) return how === 'reset' || isModest(value ?? '', unit) ? harmless : memoryTaken;
  const only = onlyWith.get(name);
  if (only !== undefined) return how === 'reset' || (value !== undefined && only.values.has(value)) ? harmless : only.otherwise;
  return harmlessNames.has(name) || name.startsWith('enable_') ? harmless : unreviewed;
}

const memoryTaken: Finding = { level: 'HIGH', rule: 'session.memory', message: 'It lets a statement of this session take more memory than the server may have to spare.' };

function isModest(value: string, bareUnit: number): boolean {
  const [, digits, unit] = /^(\d{1,15})\s*([kmgt]?b)?$/.exec(value) ?? [];
  return digits !== undefined && Number(digits) * (unit === undefined ? bareUnit : memoryUnits.get(unit) ?? Number.NaN) <= memoryBytesMax;
}

function limit(value: string | undefined, how: 'set' | 'reset'): Finding {
  if (how === 'reset') return harmless;
  const ms = readMilliseconds(value ?? '');
  if (ms !== undefined && ms > 0 && ms <= timeoutMsMax) return harmless;
  return { level: 'HIGH', rule: 'session.limit-removed', message: 'It removes a limit that protects others from this session, or sets it very high.' };
}
