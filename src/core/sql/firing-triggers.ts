/**
 * Which triggers a change of rows fires, by the catalog: those of the table that is named, those of the partitions and
 * children that hold the rows, and those of every table that foreign keys pass the change on to. What they do is another
 * matter, and not counted. Where it cannot be told whether one fires, it is named.
 */
import type { TriggerImpact } from '../impact.ts';
import { descendants, type CascadeNode } from './cascade-graph.ts';
import { keyOf, type Catalog } from './catalog.ts';
import type { RelationFact, TriggerFact, WriteEvent } from './catalog-facts.ts';

/** `columns`: those that an UPDATE sets; undefined: it may be any. `isMove`: of single rows, by no statement of that kind. */
export interface TriggerWrite { readonly event: WriteEvent; readonly columns: readonly string[] | undefined; readonly isMove?: boolean }

export interface TriggerTarget {
  /** What the statement names, and the table that is written. */
  readonly target: RelationFact;
  readonly base: RelationFact;
  readonly isView: boolean;
  readonly isInstead: boolean;
}

/** INSERT … ON CONFLICT and a move between partitions fire others too: those come as writes of their own. */
export function firesOn(relation: RelationFact, { enabled, events, columns: of }: TriggerFact, event: WriteEvent, columns: readonly string[] | undefined): boolean {
  if (!enabled || !events.includes(event)) return false;
  if (event !== 'update' || columns === undefined || of === undefined) return true;
  // A generated column changes with those that it is made of, whether named or not.
  return of.some((name) => columns.includes(name) || relation.columns.some((column) => column.name === name && column.generated !== undefined));
}

export function firingTriggers({ target, base, isView, isInstead }: TriggerTarget, writes: readonly TriggerWrite[], nodes: readonly CascadeNode[], catalog: Catalog): readonly TriggerImpact[] {
  const places = isInstead ? [{ relation: target, writes }] : [
    ...(isView ? [{ relation: target, writes }] : []), { relation: base, writes: [...writes, ...moves(base, writes)] },
    ...nodes.slice(1).map(({ relation, change, columns }) => ({ relation, writes: [{ event: change, columns: change === 'update' ? columns : undefined }] })),
  ];
  const found = places.flatMap(({ relation, writes: done }) => [
    ...firedOf(relation, relation, done), ...descendants(catalog, relation).flatMap((one) => firedOf(one, relation, done)),
  ]);
  return [...new Map(found.map((one) => [`${one.table}\0${one.name}`, one])).values()];
}

/** A row that an UPDATE moves to another partition is deleted from one and inserted into the other. */
function moves({ kind }: RelationFact, writes: readonly TriggerWrite[]): readonly TriggerWrite[] {
  if (kind !== 'partitioned-table' || !writes.some(({ event }) => event === 'update')) return [];
  return (['delete', 'insert'] as const).filter((event) => !writes.some((one) => one.event === event)).map((event) => ({ event, columns: undefined, isMove: true }));
}

function firedOf(relation: RelationFact, named: RelationFact, writes: readonly TriggerWrite[]): readonly TriggerImpact[] {
  return (relation.triggers ?? []).flatMap((trigger): TriggerImpact[] => {
    const fired = writes.filter(({ event, columns, isMove }) => firesOn(relation, trigger, event, columns) && !(isMove === true && trigger.isForStatement === true));
    const events = [...new Set(fired.map(({ event }) => event))];
    // A partition's statement triggers do not fire for its parent, and what it has from its parent is named there.
    if (events.length === 0 || (relation !== named && (trigger.isForStatement === true || isInherited(trigger, named)))) return [];
    const timing = trigger.insteadOf ? 'instead of' : trigger.isBefore === true ? 'before' : 'after';
    return [{
      table: keyOf(relation), name: trigger.name, when: `${timing} ${events.join(' or ')}, for each ${trigger.isForStatement === true ? 'statement' : 'row'}`,
      function: trigger.function, fires: trigger.fires ?? 'origin',
    }];
  });
}

function isInherited({ name, function: fn }: TriggerFact, { kind, triggers = [] }: RelationFact): boolean {
  return kind === 'partitioned-table' && triggers.some((one) => one.enabled && one.name === name && one.function === fn);
}
