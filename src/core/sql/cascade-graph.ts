/**
 * What foreign keys pass a change of rows on to, as a graph to be counted: which rows of which tables are deleted or
 * updated because of which others, from the catalog's facts. Bounded; what cannot be counted exactly from outside (tables
 * that delete each other in a circle, rows hidden by row security, inheritance) is a reason instead of a graph.
 */
import type { ForeignKeyFact, QualifiedName, RelationFact } from './catalog-facts.ts';
import { keyOf, type Catalog } from './catalog.ts';

export interface CascadeNode {
  readonly relation: RelationFact;
  readonly change: 'delete' | 'update';
  /** Written columns of an update. */
  readonly columns: readonly string[];
  /** By which keys rows get here, and from which earlier nodes. */
  readonly edges: readonly CascadeEdge[];
  /** A key of the table to itself that deletes on: the rows are those of all generations. */
  readonly loops: readonly ForeignKeyFact[];
  /** False: at most so many rows. */
  readonly isExact: boolean;
}

export interface CascadeEdge { readonly from: number; readonly key: ForeignKeyFact; readonly detail: string }

export type CascadeGraph =
  /** In an order in which every edge comes from an earlier node; the first is the statement's own target. */
  | { readonly kind: 'graph'; readonly nodes: readonly CascadeNode[] }
  | { readonly kind: 'unknown'; readonly reason: string };

const nodesMax = 24;

interface Growing {
  readonly relation: RelationFact;
  readonly change: 'delete' | 'update';
  readonly columns: readonly string[];
  readonly edges: { readonly from: Growing; readonly key: ForeignKeyFact; readonly detail: string }[];
  readonly loops: ForeignKeyFact[];
}

class Uncountable extends Error {}

/** `columns`: those that the UPDATE sets; undefined when they are not known. */
export function cascadeGraph(catalog: Catalog, target: RelationFact, change: 'delete' | 'update', columns: readonly string[] | undefined): CascadeGraph {
  try {
    return { kind: 'graph', nodes: inOrder(grow(catalog, target, change, columns ?? target.columns.map(({ name }) => name)), change) };
  } catch (error) {
    if (error instanceof Uncountable) return { kind: 'unknown', reason: error.message };
    throw error;
  }
}

function grow(catalog: Catalog, target: RelationFact, change: 'delete' | 'update', columns: readonly string[]): readonly Growing[] {
  const first: Growing = { relation: target, change, columns: change === 'update' ? columns : [], edges: [], loops: [] };
  const known = new Map([[markOf(first), first]]);
  const waiting = [first];
  for (let node = waiting.shift(); node !== undefined; node = waiting.shift()) {
    for (const key of keysTo(catalog, node.relation)) {
      const passed = passedOn(key, node);
      if (passed === undefined) continue;
      const { referencing, to, detail } = reached(catalog, node, key, passed);
      if (to === 'delete' && node.change === 'delete' && referencing === node.relation) {
        node.loops.push(key);
        continue;
      }
      const fresh: Growing = { relation: referencing, change: to, columns: to === 'update' ? key.fromColumns : [], edges: [], loops: [] };
      const next = known.get(markOf(fresh)) ?? fresh;
      next.edges.push({ from: node, key, detail });
      if (next !== fresh) continue;
      known.set(markOf(next), next);
      waiting.push(next);
      if (known.size > nodesMax) throw new Uncountable(`foreign keys pass the change on to more than ${nodesMax} places`);
    }
  }
  return [...known.values()];
}

function markOf({ relation, change, columns }: Growing): string {
  return [change, keyOf(relation), ...columns.toSorted()].join('\0');
}

type Passed = 'delete' | 'update';

/** What the key does to the referencing rows; undefined: nothing, or it refuses. */
function passedOn(key: ForeignKeyFact, node: Growing): Passed | undefined {
  if (node.change === 'update' && !key.toColumns.some((column) => node.columns.includes(column))) return undefined;
  const action = node.change === 'delete' ? key.onDelete : key.onUpdate;
  if (action === 'no-action' || action === 'restrict') return undefined;
  return action === 'cascade' && node.change === 'delete' ? 'delete' : 'update';
}

function reached(catalog: Catalog, node: Growing, key: ForeignKeyFact, to: Passed): { readonly referencing: RelationFact; readonly to: Passed; readonly detail: string } {
  const referencing = catalog.relationNamed(key.from);
  if (referencing === undefined) throw new Uncountable(`the table ${key.from}, which a foreign key passes the change on to, is not in the catalog`);
  if (referencing.rowSecurity === true) throw new Uncountable(`row security of ${key.from} may hide rows that a foreign key would change`);
  if (node.relation.kind === 'table' && (node.relation.children?.length ?? 0) > 0) {
    throw new Uncountable(`${keyOf(node.relation)} has inheritance children, whose rows its foreign keys do not cover`);
  }
  const action = node.change === 'delete' ? key.onDelete : key.onUpdate;
  return { referencing, to, detail: `ON ${node.change.toUpperCase()} ${action.replace('-', ' ').toUpperCase()}` };
}

/** Keys to the table, or to its partitions; one that PostgreSQL keeps for each partition as well is there once. */
function keysTo(catalog: Catalog, relation: RelationFact): readonly ForeignKeyFact[] {
  const keys = [relation, ...descendants(catalog, relation)].flatMap((one) => catalog.foreignKeysTo(keyOf(one)));
  const unique = [...new Map(keys.map((key) => [[key.from, ...key.fromColumns].join('\0'), key])).values()];
  const covered = new Set(unique.flatMap((key) => {
    const parent = catalog.relationNamed(key.from);
    return parent?.kind === 'partitioned-table' ? descendants(catalog, parent).map(keyOf) : [];
  }));
  return unique.filter((key) => !covered.has(key.from));
}

export function descendants(catalog: Catalog, relation: RelationFact): readonly RelationFact[] {
  const found = new Map<QualifiedName, RelationFact>();
  const waiting = [...relation.children ?? []];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    const child = found.has(name) ? undefined : catalog.relationNamed(name);
    if (child === undefined) continue;
    found.set(name, child);
    waiting.push(...child.children ?? []);
  }
  return [...found.values()];
}

/** Sorted so that edges point forwards. What is left over stands in a circle. */
function inOrder(growing: readonly Growing[], change: 'delete' | 'update'): readonly CascadeNode[] {
  const order: Growing[] = [];
  const left = new Set(growing);
  while (left.size > 0) {
    const next = [...left].find((node) => node.edges.every(({ from }) => !left.has(from)));
    if (next === undefined) throw new Uncountable('foreign keys pass the change on in a circle');
    left.delete(next);
    order.push(next);
  }
  const exact = new Map<Growing, boolean>();
  return order.map((node, index) => {
    const isExact = index === 0 || isExactNode(node, order, change, exact);
    exact.set(node, isExact);
    const edges = node.edges.map(({ from, key, detail }) => ({ from: order.indexOf(from), key, detail }));
    const { relation, columns, loops } = node;
    return { relation, change: node.change, columns, edges, loops, isExact };
  });
}

/**
 * A key is passed on only where its value changes, which an UPDATE does not promise. A row that one key deletes and
 * another updates may be gone before the update, save those that the statement itself deletes first.
 */
function isExactNode(node: Growing, order: readonly Growing[], change: 'delete' | 'update', exact: ReadonlyMap<Growing, boolean>): boolean {
  if (change === 'update' || node.edges.some(({ from }) => exact.get(from) !== true || from.change === 'update')) return false;
  if (node.edges.length > 1 && node.edges.some(({ key }) => key.onDelete === 'set-default')) return false;
  const [first] = order;
  const others = order.filter((other) => other !== node && other.relation === node.relation);
  // A reference that another key has set to NULL is no longer found.
  const isOverlapping = others.some((other) => other.change === 'update' && writtenOrRead(node).some((column) => other.columns.includes(column)));
  if (isOverlapping) return false;
  return node.change === 'delete' || !others.some((other) => other.change === 'delete' && (other !== first || other.loops.length > 0));
}

function writtenOrRead({ edges, loops }: Growing): readonly string[] {
  return [...edges.map(({ key }) => key), ...loops].flatMap(({ fromColumns }) => fromColumns);
}
