/**
 * Covered: what can be captured of an action, or why nothing can, and the words that both ways of capturing share.
 */
import type { Effect } from '../risk.ts';
import type { Catalog } from '../sql/catalog.ts';
import type { QualifiedName, RelationFact } from '../sql/catalog-facts.ts';
import { isPermanent } from '../sql/changes-rows.ts';
import type { Coverage } from './coverage.ts';

export type Covered =
  | { readonly kind: 'covered'; readonly coverage: Coverage }
  /** A clause that follows "because". */
  | { readonly kind: 'refused'; readonly why: string };

export function refused(why: string): Covered { return { kind: 'refused', why }; }

/** It is on something that others see, and that is there when the session has ended. */
export function outlives(effect: Effect): boolean { return isPermanent(effect) && effect.detail !== 'temporary'; }

const definitions: ReadonlySet<Effect['kind']> = new Set(['create', 'alter', 'drop', 'truncate']);

export function changesDefinition(effect: Effect): boolean { return definitions.has(effect.kind) && outlives(effect); }

export interface Resolved {
  /** Each with the relation that it is on. */
  readonly found: readonly { readonly effect: Effect; readonly fact: RelationFact }[];
  /** As written, and no relation of the catalog. */
  readonly missing: readonly string[];
}

/** A shape names relations as they are written; beside it stands the same effect on what that name means. */
export function resolve(effects: readonly Effect[], catalog: Catalog): Resolved {
  const found = effects.flatMap((effect) => {
    const fact = catalog.relationNamed(effect.object ?? '');
    return fact === undefined ? [] : [{ effect, fact }];
  });
  const known = new Set(found.flatMap(({ effect: { kind }, fact: { schema, name } }) => [`${kind} ${name}`, `${kind} ${schema}.${name}`]));
  const missing = effects.filter(({ kind, object = '' }) => catalog.relationNamed(object) === undefined && !known.has(`${kind} ${object}`));
  return { found, missing: missing.map(({ object }) => object ?? 'a relation without a name') };
}

/** Of names in a sentence. */
const namesMax = 5;

export function named(tables: readonly QualifiedName[]): string {
  const shown = tables.slice(0, namesMax);
  const more = tables.length - shown.length;
  if (more > 0) return `${shown.join(', ')} and ${more} more`;
  return shown.length < 2 ? shown.join('') : `${shown.slice(0, -1).join(', ')} and ${shown.at(-1) ?? ''}`;
}
