/**
 * A database's definition, as statements that make it again: read before something is dropped, and compared with what is
 * left afterwards, it gives exactly the statements that bring back what fell, in an order that works. What it cannot make
 * is missed by the fingerprint (facts.ts), which whoever relies on this must compare.
 */
import { z } from 'zod';
import type { CatalogQuery } from '../catalog.ts';
import { homes, dependencies, questions, steps, type Step } from './making.ts';

/** How one object is made, or one thing about it. */
export interface Making {
  /** Class and object id: which object, for as long as it is there. */
  readonly object: string;
  readonly step: Step;
  /** `relation app.orders` */
  readonly what: string;
  readonly statements: readonly string[];
}

export interface Definition {
  readonly makings: readonly Making[];
  /** Object → objects that must be there before it. */
  readonly needs: ReadonlyMap<string, ReadonlySet<string>>;
}

const stepSchema = z.enum(steps);
const statementsSchema = z.array(z.string());

/** In a transaction whose search_path is `pg_catalog` alone. */
export async function readDefinition(query: CatalogQuery): Promise<Definition> {
  const makings: Making[] = [];
  for (const question of questions) {
    for (const [catalog, oid, what, step, statements] of await query(question)) {
      if (statements !== null && statements !== undefined) {
        makings.push({ object: `${catalog ?? ''} ${oid ?? ''}`, step: stepSchema.parse(step), what: what ?? '', statements: statementsSchema.parse(JSON.parse(statements)) });
      }
    }
  }
  return { makings, needs: await readNeeds(query) };
}

/** Parts of an object are that object: a view's rule, a generated column's expression, a table's row type. */
async function readNeeds(query: CatalogQuery): Promise<Definition['needs']> {
  const home = new Map<string, string>();
  for (const [part, whole] of await query(homes)) home.set(part ?? '', whole ?? '');
  const homeOf = (object: string): string => { const whole = home.get(object); return whole === undefined || whole === object ? object : homeOf(whole); };
  const needs = new Map<string, Set<string>>();
  for (const [from, to] of await query(dependencies)) {
    const [object, needed] = [homeOf(from ?? ''), homeOf(to ?? '')];
    if (object === needed) continue;
    const known = needs.get(object) ?? new Set();
    known.add(needed);
    needs.set(object, known);
  }
  return needs;
}

/** What was there before and is there no more, in the order in which it is to be made. */
export function lostMakings(before: Definition, after: Definition): readonly Making[] {
  const left = new Set(after.makings.map(({ object }) => object));
  const lost = before.makings.filter(({ object }) => !left.has(object));
  const place = new Map(ordered(new Set(lost.map(({ object }) => object)), before.needs).map((object, index) => [object, index]));
  return lost.toSorted((a, b) => steps.indexOf(a.step) - steps.indexOf(b.step) || (place.get(a.object) ?? 0) - (place.get(b.object) ?? 0));
}

/** Each after what it needs; in a circle, as it comes. */
function ordered(objects: ReadonlySet<string>, needs: Definition['needs']): readonly string[] {
  const done = new Set<string>();
  const visit = (first: string): void => {
    // By hand, not by recursion: chains of views can be deep.
    const open = [first];
    const entered = new Set<string>();
    for (let object = open.at(-1); object !== undefined; object = open.at(-1)) {
      const missing = entered.has(object) ? [] : [...needs.get(object) ?? []].filter((needed) => objects.has(needed) && !done.has(needed) && !entered.has(needed));
      entered.add(object);
      if (missing.length > 0) { open.push(...missing); continue; }
      open.pop();
      done.add(object);
    }
  };
  for (const object of objects) if (!done.has(object)) visit(object);
  return [...done];
}
