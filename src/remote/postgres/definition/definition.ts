/**
 * A database's definition, as statements that make it again: read before something is dropped, and compared with what is
 * left afterwards, it gives exactly the statements that bring back what fell, in an order that works. What it cannot make
 * is missed by the fingerprint (facts.ts), which whoever relies on this must compare.
 */
import { z } from 'zod';
import type { CatalogQuery } from '../catalog.ts';
import { dependencies, homes, patchQuestions, questions, steps, type Step } from './making.ts';

/** How one object is made, or one thing about it. */
export interface Making {
  /** Class and object id: which object, for as long as it is there. */
  readonly object: string;
  readonly step: Step;
  /** `relation app.orders` */
  readonly what: string;
  readonly statements: readonly string[];
}

/** What is made together with its table, as it is made on a table that is there without it. */
export interface Patch extends Making {
  /** The table. */
  readonly home: string;
}

export type Needs = ReadonlyMap<string, ReadonlySet<string>>;

export interface Definition {
  readonly makings: readonly Making[];
  readonly patches: readonly Patch[];
  /** Object → objects that must be there before it. */
  readonly needs: Needs;
}

const statementsSchema = z.array(z.string());
const stepSchema = z.enum(steps);

/** In a transaction whose search_path is `pg_catalog` alone. */
export async function readDefinition(query: CatalogQuery): Promise<Definition> {
  const makings: Making[] = [];
  const patches: Patch[] = [];
  for (const question of questions) makings.push(...(await query(question)).flatMap(readMaking));
  for (const question of patchQuestions) patches.push(...(await query(question)).flatMap((row) => readMaking(row).map((made) => ({ ...made, home: row[5] ?? '' }))));
  return { makings, patches, needs: await readNeeds(query) };
}

function readMaking([catalog, oid, what, step, statements]: readonly (string | null)[]): readonly Making[] {
  if (statements === null || statements === undefined) return [];
  return [{ object: `${catalog ?? ''} ${oid ?? ''}`, step: stepSchema.parse(step), what: what ?? '', statements: statementsSchema.parse(JSON.parse(statements)) }];
}

/** Parts of an object are that object: a view's rule, a generated column's expression, a table's row type. */
async function readNeeds(query: CatalogQuery): Promise<Needs> {
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
  const leftPatches = new Set(after.patches.map(({ object }) => object));
  const patches = before.patches.filter(({ object, home }) => !leftPatches.has(object) && left.has(home));
  return inStages([...patches, ...before.makings.filter(({ object }) => !left.has(object))], before.needs).map(({ making }) => making);
}

/** What is still there, and about which something was said that is said no more: the statements that say it again. */
export function changedMakings(before: Definition, after: Definition): readonly Making[] {
  const now = new Map(after.makings.map((made) => [partOf(made), made.statements]));
  const left = new Set(after.makings.map(({ object }) => object));
  return before.makings.flatMap((made) => {
    const said = now.get(partOf(made)) ?? [];
    const again = marksOf(made);
    return !left.has(made.object) || again.every((one) => said.includes(one)) ? [] : [{ ...made, statements: again }];
  });
}

/** Which object, and what about it. */
export function partOf({ object, step }: Making): string { return `${object} ${step}`; }

/** All but the making itself: they can be said again and again. */
export function marksOf({ statements }: Making): readonly string[] { return statements.filter((one) => !one.startsWith('CREATE ')); }

export interface Staged<M extends Making> {
  readonly making: M;
  /** When it is made: its own step, or the later one of something that it needs. */
  readonly stage: Step;
}

/**
 * By step, and within one each after what it needs. A view that groups by a primary key and shows more than that can be
 * made only once the key is there, and whatever stands on the view only after that.
 */
export function inStages<M extends Making>(makings: readonly M[], needs: Needs): readonly Staged<M>[] {
  const first = new Map<string, number>();
  // Later steps say something of what is there already.
  for (const { object, step } of makings) if (rankOf(step) <= rankOf('indexes')) first.set(object, Math.min(first.get(object) ?? Infinity, rankOf(step)));
  const order = ordered(new Set(makings.map(({ object }) => object)), needs);
  const place = new Map(order.map((object, index) => [object, index]));
  const earliest = new Map<string, number>();
  for (const object of order) earliest.set(object, Math.max(first.get(object) ?? 0, ...[...needs.get(object) ?? []].map((needed) => earliest.get(needed) ?? 0)));
  return makings.map((making) => ({ making, rank: Math.max(rankOf(making.step), earliest.get(making.object) ?? 0) }))
    .toSorted((a, b) => a.rank - b.rank || (place.get(a.making.object) ?? 0) - (place.get(b.making.object) ?? 0))
    .map(({ making, rank }) => ({ making, stage: steps[rank] ?? making.step }));
}

const ranks = new Map(steps.map((step, index) => [step, index]));
function rankOf(step: Step): number { return ranks.get(step) ?? 0; }

/** Each after what it needs; in a circle, as it comes. */
function ordered(objects: ReadonlySet<string>, needs: Needs): readonly string[] {
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
