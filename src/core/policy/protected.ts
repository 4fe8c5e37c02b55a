/**
 * Protected objects: which effects touch a table, a schema or a column that a policy protects, and what they get for it.
 * An effect that does not say what it touches touches all of it: what is not known is never milder.
 */
import type { Effect, EffectKind } from '../risk.ts';
import { severity } from '../verdict.ts';
import type { Facts } from './facts.ts';
import { listObjects, objectsMax, phrases, type Finding } from './finding.ts';
import { matchesGlob, placeOf, splitName } from './pattern.ts';
import type { Place } from './pattern.ts';
import type { EffectivePolicy } from './policy.ts';

type Touch = 'write' | 'read' | 'neither';

const touchDecisions = [{ touch: 'write', key: 'on_write' }, { touch: 'read', key: 'on_read' }] as const;

/** What an effect of each kind does to the object that it names. */
const touches: Readonly<Record<EffectKind, Touch>> = {
  read: 'read', insert: 'write', update: 'write', delete: 'write', truncate: 'write', create: 'write', drop: 'write', alter: 'write',
  lock: 'write', privilege: 'write', maintenance: 'write', call: 'neither', session: 'neither', transaction: 'neither', message: 'neither',
  sequence: 'neither', 'large-object': 'neither', file: 'neither', program: 'neither', network: 'neither', server: 'neither',
  replication: 'neither', statistics: 'neither', unknown: 'neither',
};

/** Kinds of objects that are neither tables nor hold any; an effect on anything else may be on a protected table. */
const besideTables: ReadonlySet<string> = new Set([
  'function', 'procedure', 'aggregate', 'routine', 'operator', 'type', 'domain', 'cast', 'setting', 'role', 'language', 'collation', 'cursor', 'prepared statement',
]);

export function protectedFinding(
  facts: Facts, policy: EffectivePolicy, what: 'table' | 'schema', patterns: readonly string[], matches: (pattern: string, place: Place) => boolean,
): Finding | undefined {
  const reached = facts.effects.filter((effect) => mayTouchTables(effect)
    && patterns.some((pattern) => touchedPlaces(effect).some((place) => matches(pattern, place))));
  // What is read and written too gets the worse of the two.
  const findings = touchDecisions.map(({ touch, key }) => ({ key, decision: policy.protected[key], effects: reached.filter((effect) => touches[effect.kind] === touch) }))
    .filter(({ effects }) => effects.length > 0)
    .sort((a, b) => severity[b.decision] - severity[a.decision]);
  const [worst] = findings;
  if (worst === undefined) return undefined;
  const { key, decision, effects } = worst;
  return {
    decision, observed: listObjects(effects), threshold: `protected ${what}s: ${patterns.slice(0, objectsMax).join(', ')}; ${key}: ${decision}`,
    message: `It would ${key === 'on_write' ? 'change' : 'read'} a protected ${what}, and policy ${policy.name} ${phrases[decision]}.`,
  };
}

type ColumnTouch = 'write' | 'read';

const columnKeys = { write: 'on_write', read: 'on_column_read' } as const;

export function protectedColumnFinding(facts: Facts, policy: EffectivePolicy): Finding | undefined {
  const { columns: patterns } = policy.protected;
  if (patterns.length === 0) return undefined;
  const hits = facts.effects.flatMap((effect) => patterns.flatMap((pattern) => columnTouches(pattern, effect).map((touch) => ({ effect, pattern, touch, decision: policy.protected[columnKeys[touch]] }))))
    .sort((a, b) => severity[b.decision] - severity[a.decision]);
  const [worst] = hits;
  if (worst === undefined) return undefined;
  const { touch, decision } = worst;
  const same = hits.filter((hit) => hit.touch === touch);
  const protects = [...new Set(same.map(({ pattern }) => pattern))];
  return {
    decision, observed: `${listObjects(same.map(({ effect }) => effect))}: ${protects.slice(0, objectsMax).join(', ')}`,
    threshold: `protected columns: ${patterns.slice(0, objectsMax).join(', ')}; ${columnKeys[touch]}: ${decision}`,
    message: `It would ${touch === 'write' ? 'change' : 'read, or may read,'} the protected ${protects.length > 1 ? 'columns' : 'column'} ${protects.slice(0, objectsMax).join(', ')}, and policy ${policy.name} ${phrases[decision]}.${touch === 'read' ? ' Name the columns that you need instead of `*` or a whole row.' : ''}`,
  };
}

/** What an effect does to columns of the pattern; it may be both. */
function columnTouches(pattern: string, effect: Effect): readonly ColumnTouch[] {
  const [column = '', table = '', schema] = splitName(pattern).toReversed();
  const fits = (names: readonly string[] | undefined): boolean => names === undefined || names.some((name) => matchesGlob(column, name));
  if (effect.kind === 'read' && statisticsOfValues.has(effect.object ?? '')) return ['read'];
  if (!mayTouchTables(effect) || !changesValues(effect)) return [];
  const isThere = touchedPlaces(effect).some((place) => (place.name === undefined || matchesGlob(table, place.name))
    && (schema === undefined || place.schema === undefined || matchesGlob(schema, place.schema)));
  const named = effect.objectKind === 'column' ? splitName(effect.object ?? '').slice(-1) : undefined;
  if (!isThere || !fits(named)) return [];
  if (effect.kind === 'read') return fits(effect.columns) ? ['read'] : [];
  return [...(fits(effect.columns) ? ['write' as const] : []), ...(effect.reads !== undefined && fits(effect.reads) ? ['read' as const] : [])];
}

/** Locks and maintenance leave every value as it is. */
function changesValues({ kind }: Effect): boolean { return kind !== 'lock' && kind !== 'maintenance'; }

/** They hold samples of the values of columns. */
const statisticsOfValues: ReadonlySet<string> = new Set([
  'pg_catalog.pg_statistic', 'pg_catalog.pg_stats', 'pg_catalog.pg_statistic_ext_data', 'pg_catalog.pg_stats_ext', 'pg_catalog.pg_stats_ext_exprs',
]);

/** A function that reads relations which nobody has named may read each of them; TOAST and statistics hold values of some table. */
function touchedPlaces({ kind, object, objectKind, relatives = [] }: Effect): readonly Place[] {
  if (kind === 'read' && (objectKind === 'function' || statisticsOfValues.has(object ?? ''))) return [{ kind: 'relation' }];
  if (object?.startsWith('pg_toast.') === true) return [{ kind: 'relation' }];
  return [placeOf(object, objectKind), ...relatives.map((relative) => placeOf(relative, 'table'))];
}

function mayTouchTables(effect: Effect): boolean {
  if (effect.kind === 'read' && effect.objectKind === 'function') return true;
  const isContainer = effect.objectKind === 'schema' || effect.objectKind === 'database';
  // A new or locked schema touches no table in it; a dropped or altered one touches all.
  if (isContainer && effect.kind !== 'drop' && effect.kind !== 'alter') return false;
  return touches[effect.kind] !== 'neither' && !besideTables.has(effect.objectKind ?? '');
}
