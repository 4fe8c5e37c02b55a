/**
 * PostgreSQL's object types as words, and how bad it is to drop each: what a DROP takes away besides the name.
 */
import type { Level, Recoverability } from '../risk.ts';

interface ObjectKind {
  readonly word: string;
  readonly drop: Exclude<Level, 'SAFE' | 'LOW'>;
  /** What of the data in it could be brought back; absent: it holds none. */
  readonly lost?: Recoverability;
}

const kinds: Readonly<Record<string, ObjectKind>> = {
  OBJECT_ACCESS_METHOD: { word: 'access method', drop: 'CRITICAL' },
  OBJECT_AGGREGATE: { word: 'aggregate', drop: 'HIGH' },
  OBJECT_AMOP: { word: 'operator family member', drop: 'HIGH' },
  OBJECT_AMPROC: { word: 'operator family member', drop: 'HIGH' },
  OBJECT_ATTRIBUTE: { word: 'column', drop: 'HIGH', lost: 'table' },
  OBJECT_CAST: { word: 'cast', drop: 'HIGH' },
  OBJECT_COLLATION: { word: 'collation', drop: 'HIGH' },
  OBJECT_COLUMN: { word: 'column', drop: 'HIGH', lost: 'table' },
  OBJECT_CONVERSION: { word: 'conversion', drop: 'HIGH' },
  OBJECT_DATABASE: { word: 'database', drop: 'CRITICAL', lost: 'none' },
  OBJECT_DEFACL: { word: 'default privileges', drop: 'CRITICAL' },
  OBJECT_DEFAULT: { word: 'default', drop: 'HIGH' },
  OBJECT_DOMAIN: { word: 'domain', drop: 'HIGH' },
  OBJECT_DOMCONSTRAINT: { word: 'constraint', drop: 'HIGH' },
  OBJECT_EVENT_TRIGGER: { word: 'event trigger', drop: 'CRITICAL' },
  OBJECT_EXTENSION: { word: 'extension', drop: 'CRITICAL', lost: 'schema' },
  OBJECT_FDW: { word: 'foreign-data wrapper', drop: 'CRITICAL' },
  OBJECT_FOREIGN_SERVER: { word: 'foreign server', drop: 'CRITICAL' },
  OBJECT_FOREIGN_TABLE: { word: 'foreign table', drop: 'HIGH' },
  OBJECT_FUNCTION: { word: 'function', drop: 'HIGH' },
  OBJECT_INDEX: { word: 'index', drop: 'HIGH' },
  OBJECT_LANGUAGE: { word: 'language', drop: 'CRITICAL' },
  OBJECT_LARGEOBJECT: { word: 'large object', drop: 'CRITICAL', lost: 'none' },
  OBJECT_MATVIEW: { word: 'materialized view', drop: 'HIGH', lost: 'table' },
  OBJECT_OPCLASS: { word: 'operator class', drop: 'HIGH' },
  OBJECT_OPERATOR: { word: 'operator', drop: 'HIGH' },
  OBJECT_OPFAMILY: { word: 'operator family', drop: 'HIGH' },
  OBJECT_PARAMETER_ACL: { word: 'setting', drop: 'CRITICAL' },
  OBJECT_POLICY: { word: 'policy', drop: 'CRITICAL' },
  OBJECT_PROCEDURE: { word: 'procedure', drop: 'HIGH' },
  OBJECT_PUBLICATION: { word: 'publication', drop: 'CRITICAL' },
  OBJECT_PUBLICATION_NAMESPACE: { word: 'publication', drop: 'CRITICAL' },
  OBJECT_PUBLICATION_REL: { word: 'publication', drop: 'CRITICAL' },
  OBJECT_ROLE: { word: 'role', drop: 'CRITICAL' },
  OBJECT_ROUTINE: { word: 'routine', drop: 'HIGH' },
  OBJECT_RULE: { word: 'rule', drop: 'HIGH' },
  OBJECT_SCHEMA: { word: 'schema', drop: 'CRITICAL', lost: 'schema' },
  OBJECT_SEQUENCE: { word: 'sequence', drop: 'HIGH', lost: 'table' },
  OBJECT_STATISTIC_EXT: { word: 'statistics object', drop: 'HIGH' },
  OBJECT_SUBSCRIPTION: { word: 'subscription', drop: 'CRITICAL' },
  OBJECT_TABCONSTRAINT: { word: 'constraint', drop: 'HIGH' },
  OBJECT_TABLE: { word: 'table', drop: 'CRITICAL', lost: 'table' },
  OBJECT_TABLESPACE: { word: 'tablespace', drop: 'CRITICAL' },
  OBJECT_TRANSFORM: { word: 'transform', drop: 'CRITICAL' },
  OBJECT_TRIGGER: { word: 'trigger', drop: 'HIGH' },
  OBJECT_TSCONFIGURATION: { word: 'text search configuration', drop: 'HIGH' },
  OBJECT_TSDICTIONARY: { word: 'text search dictionary', drop: 'HIGH' },
  OBJECT_TSPARSER: { word: 'text search parser', drop: 'HIGH' },
  OBJECT_TSTEMPLATE: { word: 'text search template', drop: 'HIGH' },
  OBJECT_TYPE: { word: 'type', drop: 'HIGH' },
  OBJECT_USER_MAPPING: { word: 'user mapping', drop: 'CRITICAL' },
  OBJECT_VIEW: { word: 'view', drop: 'HIGH' },
};

const unknownKind: ObjectKind = { word: 'object', drop: 'CRITICAL', lost: 'none' };

export function objectKind(type: string | undefined): ObjectKind {
  return type !== undefined && Object.hasOwn(kinds, type) ? kinds[type] ?? unknownKind : unknownKind;
}

/** Those that are looked up like tables. */
export const relationKinds: ReadonlySet<string> = new Set(['OBJECT_TABLE', 'OBJECT_VIEW', 'OBJECT_MATVIEW', 'OBJECT_FOREIGN_TABLE', 'OBJECT_SEQUENCE', 'OBJECT_INDEX']);
