/**
 * Operation: the words under `blocked:` in a policy. Each is an effect kind, or an effect kind narrowed by the kind of
 * object it falls on. An effect that does not say what it falls on matches every narrowed word of its kind, because
 * what is not known is not safe; only `role-change` must be named, since most effects on a session are harmless.
 */
import type { Effect, EffectKind } from '../risk.ts';

/** `read` and `transaction` would block everything, and `unknown` has a key of its own. */
const wholeKinds = [
  'insert', 'update', 'delete', 'truncate', 'create', 'drop', 'alter', 'call', 'lock', 'message', 'sequence', 'large-object',
  'file', 'program', 'network', 'privilege', 'server', 'replication', 'statistics', 'maintenance',
] as const satisfies readonly EffectKind[];

interface Narrowed {
  readonly kind: EffectKind;
  readonly objectKinds: readonly string[];
  /** Objects that mean it whatever their kind: the settings behind SET ROLE and SET SESSION AUTHORIZATION. */
  readonly objects?: readonly string[];
}

const narrowed = {
  'drop-database': { kind: 'drop', objectKinds: ['database'] },
  'drop-schema': { kind: 'drop', objectKinds: ['schema'] },
  'drop-table': { kind: 'drop', objectKinds: ['table', 'partitioned table', 'foreign table', 'relation'] },
  'drop-column': { kind: 'drop', objectKinds: ['column'] },
  'drop-extension': { kind: 'drop', objectKinds: ['extension'] },
  'create-extension': { kind: 'create', objectKinds: ['extension'] },
  'create-function': { kind: 'create', objectKinds: ['function', 'procedure', 'aggregate', 'routine'] },
  'alter-system': { kind: 'server', objectKinds: ['setting'] },
  'role-change': { kind: 'session', objectKinds: ['role'], objects: ['role', 'session_authorization'] },
} as const satisfies Record<string, Narrowed>;

export type Operation = (typeof wholeKinds)[number] | keyof typeof narrowed;

export const operations: readonly Operation[] = [...wholeKinds, ...(Object.keys(narrowed) as (keyof typeof narrowed)[])];

export function isOperation(operation: Operation, effect: Effect): boolean {
  const row: Narrowed | undefined = isNarrowed(operation) ? narrowed[operation] : undefined;
  if (row === undefined) return effect.kind === operation;
  if (effect.kind !== row.kind) return false;
  if (row.objects !== undefined && effect.object !== undefined && row.objects.includes(effect.object.toLowerCase())) return true;
  return effect.objectKind === undefined ? row.objects === undefined : row.objectKinds.includes(effect.objectKind);
}

function isNarrowed(operation: Operation): operation is keyof typeof narrowed {
  return Object.hasOwn(narrowed, operation);
}
