/**
 * What can be captured of statements that change rows: before- and after-images of each of them, wherever they change. Every
 * table that rows are lost from needs a key by which a row is found again, and must hide none of its rows.
 */
import type { Effect } from '../risk.ts';
import { descendants } from '../sql/cascade-graph.ts';
import { keyOf, type Catalog } from '../sql/catalog.ts';
import type { QualifiedName, RelationFact } from '../sql/catalog-facts.ts';
import { rowsQuery } from '../sql/rows-query.ts';
import { named, outlives, refused, resolve, type Covered, type Resolved } from './covered.ts';
import type { CoverageInput } from './coverage.ts';

/** Each is locked and gets three triggers. */
const imagedTablesMax = 64;

interface Written {
  readonly table: RelationFact;
  /** Rows are only added to it. */
  readonly isOnlyAdded: boolean;
}

export function coveredImages(input: CoverageInput): Covered {
  const { catalog, risk: { effects } } = input;
  const { found, missing } = resolve(effects.filter(isWrite), catalog);
  if (missing[0] !== undefined) return refused(`${missing[0]} is not in the catalog that is known here`);
  // What a view is told to write, its tables write: they have effects of their own.
  const written = writtenTables(found.filter(({ fact }) => fact.kind !== 'view'), catalog);
  const captured = written.filter(({ table, isOnlyAdded }) => !(isOnlyAdded && table.primaryKey === undefined));
  const hole = captured.map(({ table }) => holeOf(table, catalog) ?? deferredHole(table, input)).find((why) => why !== undefined);
  if (hole !== undefined) return refused(hole);
  if (captured.length === 0) return refused('no table is known whose rows it would lose');
  if (captured.length > imagedTablesMax) return refused(`it reaches more than ${imagedTablesMax} tables`);
  const tables = captured.map(({ table }) => keyOf(table)).toSorted();
  const isRows = written.length === 1 && rowsQuery(input) !== undefined;
  const sentence = isRows ? `It can be undone to the exact rows: those of ${named(tables)} that its WHERE chooses are kept, as they were, before it commits.`
    : `It can be undone to the exact rows: all that it changes in ${named(tables)}, by itself or through keys and triggers, are kept, as they were, before it commits.`;
  const added = written.filter((one) => !captured.includes(one)).map(({ table }) => keyOf(table));
  return { kind: 'covered', coverage: { scope: 'exact-rows', method: isRows ? 'rows' : 'transitions', tables, sentence, lost: lostBeside(effects, added) } };
}

const writeKinds: ReadonlySet<Effect['kind']> = new Set(['insert', 'update', 'delete']);

export function isWrite(effect: Effect): boolean { return writeKinds.has(effect.kind) && outlives(effect); }

function writtenTables(writes: Resolved['found'], catalog: Catalog): readonly Written[] {
  const kinds = new Map<QualifiedName, { readonly table: RelationFact; readonly kinds: Set<Effect['kind']> }>();
  for (const { effect, fact } of writes) {
    const table = wholeOf(fact, catalog);
    const known = kinds.get(keyOf(table)) ?? { table, kinds: new Set() };
    known.kinds.add(effect.kind);
    kinds.set(keyOf(table), known);
  }
  return [...kinds.values()].map((one) => ({ table: one.table, isOnlyAdded: [...one.kinds].every((kind) => kind === 'insert') }));
}

/** Of a partition, the table that it belongs to in the end. */
export function wholeOf(fact: RelationFact, catalog: Catalog): RelationFact {
  const key = keyOf(fact);
  const above = catalog.relatives(key).map((name) => catalog.relationNamed(name))
    .filter((one) => one !== undefined && one.kind === 'partitioned-table' && descendants(catalog, one).some((part) => keyOf(part) === key))
    .filter((one) => one !== undefined);
  return above.toSorted((a, b) => descendants(catalog, b).length - descendants(catalog, a).length)[0] ?? fact;
}

function holeOf(table: RelationFact, catalog: Catalog): string | undefined {
  const key = keyOf(table);
  if (table.builtin === true) return `${key} is PostgreSQL's own`;
  if (table.kind !== 'table' && table.kind !== 'partitioned-table') return `${key} is no table of this database`;
  if (table.primaryKey === undefined) return `${key} has no primary key by which a row could be found again`;
  const computed = table.columns.find(({ name, generated }) => generated !== undefined && table.primaryKey?.includes(name) === true);
  if (computed !== undefined) return `the primary key of ${key} is computed, so it could not be written again`;
  return hidingHole(table, catalog) ?? (table.kind === 'table' && (table.children?.length ?? 0) > 0 ? `other tables inherit from ${key}` : undefined);
}

/** Nothing can be read whole that hides rows, or holds them elsewhere. */
export function hidingHole(table: RelationFact, catalog: Catalog): string | undefined {
  const parts = [table, ...descendants(catalog, table)];
  const hiding = parts.find(({ rowSecurity }) => rowSecurity === true);
  if (hiding !== undefined) return `row security of ${keyOf(hiding)} may hide rows`;
  const elsewhere = parts.find(({ foreign }) => foreign !== undefined);
  return elsewhere === undefined ? undefined : `${keyOf(elsewhere)} is on another server`;
}

/** Outside of the client's blocks they are made to fire before what was changed is read. */
function deferredHole(table: RelationFact, { isInBlock, catalog }: CoverageInput): string | undefined {
  const late = !isInBlock ? undefined : [table, ...descendants(catalog, table)].flatMap(({ triggers = [] }) => triggers).find(({ enabled, isDeferrable }) => enabled && isDeferrable === true);
  return late === undefined ? undefined : `the trigger ${late.name} on ${keyOf(table)} may wait for the end of the transaction, and then change more; send it outside of the transaction`;
}

function lostBeside(effects: readonly Effect[], added: readonly QualifiedName[]): readonly string[] {
  return [
    ...(added.length > 0 ? [`Rows that it adds to ${named(added)} stay, for want of a primary key by which they could be found again.`] : []),
    ...(effects.some(({ kind }) => kind === 'sequence') ? ['Sequences stay where it has advanced them to.'] : []),
    ...(effects.some(({ kind }) => kind === 'message') ? ['Notifications that it sends are not taken back.'] : []),
  ];
}
