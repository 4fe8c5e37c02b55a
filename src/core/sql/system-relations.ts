/**
 * PostgreSQL's own relations whose mere reading acts on the server or gives away credentials. Every other relation of
 * pg_catalog and information_schema is a read: a test expands each one's definition and finds only harmless functions.
 * Writing to any of them is a change behind the server's back.
 */
import type { EffectKind, Level } from '../risk.ts';

export interface SystemRelationRow {
  readonly level: Level;
  readonly rule: string;
  readonly effect: EffectKind;
  readonly note: string;
  /** Reading the other columns is a read like any; absent: every column counts. */
  readonly columns?: readonly string[];
}

const credentials: SystemRelationRow = { level: 'HIGH', rule: 'relation.credentials', effect: 'privilege', note: 'holds credentials' };
const configuration: SystemRelationRow = { level: 'HIGH', rule: 'relation.server-file', effect: 'file', note: 'reads configuration files of the server' };
const contents: SystemRelationRow = { level: 'HIGH', rule: 'relation.raw-contents', effect: 'large-object', note: 'holds the contents of large objects' };

const rows: ReadonlyMap<string, SystemRelationRow> = new Map([
  ['pg_catalog.pg_authid', credentials], ['pg_catalog.pg_shadow', credentials],
  ['pg_catalog.pg_user_mapping', { ...credentials, columns: ['umoptions'] }], ['pg_catalog.pg_user_mappings', { ...credentials, columns: ['umoptions'] }],
  ['pg_catalog.pg_subscription', { ...credentials, columns: ['subconninfo'] }],
  ['information_schema._pg_user_mappings', credentials], ['information_schema.user_mapping_options', credentials],
  ['pg_catalog.pg_largeobject', contents],
  ['pg_catalog.pg_hba_file_rules', configuration], ['pg_catalog.pg_ident_file_mappings', configuration],
  ['pg_catalog.pg_file_settings', configuration],
]);

export function systemRelation(key: string): SystemRelationRow | undefined {
  return rows.get(key);
}

export function isSystemSchema(schema: string): boolean {
  return schema === 'pg_catalog' || schema === 'information_schema' || schema === 'pg_toast';
}
