/**
 * KeptDefinition: what a recovery point of tables holds beside their rows. It is the difference between the definition before
 * a statement and after it, as statements that take it back, and the facts that must then be what they were. It is
 * read back as a stranger's text would be.
 */
import { z } from 'zod';
import type { CanonicalValue } from '../../../lib/canonical-json.ts';
import { Failure } from '../../../core/failure.ts';
import { changedMakings, lostMakings, type Definition, type Making } from './definition.ts';
import { factDifferences, type DefinitionFacts } from './facts.ts';
import { steps } from './making.ts';

export interface KeptDefinition {
  /** What fell, and what rebuilt tables are made of, in the order in which it is made. */
  readonly lost: readonly Making[];
  /** What is said again of objects that are still there. */
  readonly changed: readonly Making[];
  /** Of those objects: what each of them needs. */
  readonly needs: Readonly<Record<string, readonly string[]>>;
  /** Objects that the statement made, such as the index of a column with another type. */
  readonly fresh: readonly string[];
  /** Constraints among them, as they are dropped again. */
  readonly strays: readonly string[];
  /** Tables whose columns changed: they are made anew, as they were. */
  readonly rebuilt: readonly RebuiltTable[];
  /** Tables that lost their rows and nothing else; quoted. */
  readonly emptied: readonly string[];
  readonly sequences: readonly KeptSequence[];
  readonly differences: readonly KeptDifference[];
  /** In force when it was taken: functions that rows pass through may find their names by it. */
  readonly searchPath: string;
  /** Tables that were moved aside in place of being dropped. */
  readonly bin?: RecycleBin;
}

/** A schema that nobody else may use, made for one statement. */
export interface RecycleBin {
  /** Its name is nobody's but ours, so facts that hold it are of what lies there. */
  readonly schema: string;
  /** Quoted: where each table was, and where it is. */
  readonly tables: readonly { readonly schema: string; readonly name: string; readonly inBin: string }[];
}

export interface RebuiltTable {
  readonly object: string;
  /** Quoted. */
  readonly name: string;
  /** As the statement left them, without generated ones. */
  readonly columns: readonly string[];
  readonly types: readonly string[];
}

export interface KeptSequence {
  /** Quoted. */
  readonly name: string;
  /** Decimal. */
  readonly last: string;
  readonly isCalled: boolean;
}

/** null: it was not there. */
export interface KeptDifference {
  readonly what: string;
  readonly before: string | null;
  readonly after: string | null;
}

export interface Change {
  readonly before: Definition;
  readonly after: Definition;
  readonly factsBefore: DefinitionFacts;
  readonly factsAfter: DefinitionFacts;
}

export type KeptParts = Pick<KeptDefinition, 'rebuilt' | 'emptied' | 'sequences' | 'strays' | 'searchPath' | 'bin'>;

export function keepDefinition({ before, after, factsBefore, factsAfter }: Change, parts: KeptParts): KeptDefinition {
  const rebuilt = new Set(parts.rebuilt.map(({ object }) => object));
  const left: Definition = { ...after, makings: after.makings.filter(({ object }) => !rebuilt.has(object)), patches: after.patches.filter(({ home }) => !rebuilt.has(home)) };
  const [lost, changed] = [lostMakings(before, left), changedMakings(before, left)];
  const known = new Set(before.makings.map(({ object }) => object));
  return {
    ...parts, lost, changed, needs: Object.fromEntries([...lost, ...changed].map(({ object }) => [object, [...before.needs.get(object) ?? []].toSorted()])),
    fresh: [...new Set(after.makings.map(({ object }) => object).filter((object) => !known.has(object)))],
    differences: factDifferences(factsBefore, factsAfter).map((one) => ({ what: one.what, before: one.before ?? null, after: one.after ?? null })),
  };
}

/** How what lies in a recycle bin is put back where it was. */
export function emptyBin({ schema, tables }: RecycleBin): readonly string[] {
  return [...tables.map((one) => `ALTER TABLE ${one.inBin} SET SCHEMA ${one.schema}`), `DROP SCHEMA ${schema}`];
}

/** Facts without those of what lies there. */
export function outsideBin(facts: DefinitionFacts, bin: RecycleBin | undefined): DefinitionFacts {
  return bin === undefined ? facts : new Map([...facts].filter(([what]) => !what.includes(bin.schema)));
}

/** As JSON has it. */
export function writeKeptDefinition(kept: KeptDefinition): CanonicalValue { return keptSchema.parse(kept) as unknown as CanonicalValue; }

const words = z.array(z.string());
const making = z.object({ object: z.string(), step: z.enum(steps), what: z.string(), statements: words });
const keptSchema = z.strictObject({
  lost: z.array(making), changed: z.array(making), needs: z.record(z.string(), words), fresh: words, strays: words,
  rebuilt: z.array(z.strictObject({ object: z.string(), name: z.string(), columns: words, types: words })), emptied: words,
  sequences: z.array(z.strictObject({ name: z.string(), last: z.string().regex(/^-?\d{1,19}$/), isCalled: z.boolean() })),
  differences: z.array(z.strictObject({ what: z.string(), before: z.string().nullable(), after: z.string().nullable() })),
  searchPath: z.string(),
  bin: z.strictObject({ schema: z.string().regex(/^backstop_recycle_bin_[0-9a-f]+$/), tables: z.array(z.strictObject({ schema: z.string(), name: z.string(), inBin: z.string() })) }).exactOptional(),
});

/** Throws Failure `recovery_point_broken`. */
export function readKeptDefinition(value: unknown): KeptDefinition {
  const read = keptSchema.safeParse(value);
  if (read.success) return read.data;
  throw new Failure('recovery_point_broken', 'the definition in a recovery point cannot be read');
}
