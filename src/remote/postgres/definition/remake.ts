/**
 * Making a definition what it was, by what was kept of it: whatever must give way is dropped, and what is then missing is made,
 * each thing by the statements of before where the kept definition has them, and of now for what came later. The same code
 * rehearses it before a statement commits and does it when the statement is undone.
 */
import { Failure } from '../../../core/failure.ts';
import { arrayOf } from '../capture/tables.ts';
import type { CatalogQuery } from '../catalog.ts';
import { closureSql } from '../measure-loss-queries.ts';
import { ServerError } from '../server-error.ts';
import { inStages, lostMakings, marksOf, partOf, readDefinition, type Definition, type Making } from './definition.ts';
import type { DefinitionFacts, FactDifference } from './facts.ts';
import type { KeptDefinition } from './kept.ts';
import { steps, type Step } from './making.ts';

export interface RemakeHands {
  /** Dropped before anything is made, beside what the kept definition says; made again with the rest. */
  readonly drops: readonly string[];
  /** Tables are there, and nothing else of them. */
  readonly load: () => Promise<void>;
  /** Their defaults are there too. */
  readonly loadLate: () => Promise<void>;
  /** Each statement, or what is run in its stead. */
  readonly each: (making: Making, statement: string) => string | undefined;
}

/** Throws Failure, naming what could not be made; the transaction is then good for nothing but its end. */
export async function remake(query: CatalogQuery, kept: KeptDefinition, now: Definition, hands: RemakeHands): Promise<readonly Making[]> {
  const falling = await fallingWith(query, kept.rebuilt.map(({ name }) => name));
  // Their rows would be nobody's to put back.
  if (falling.length > 0) throw new Failure('conflict', `${falling.join(', ')} would fall with what is made anew.`);
  const drops = [...(kept.rebuilt.length === 0 ? [] : [`DROP TABLE ${kept.rebuilt.map(({ name }) => name).join(', ')} CASCADE`]), ...kept.strays, ...hands.drops];
  for (const drop of drops) await attempt(query, 'what stands in the way', drop);
  const wanted = wantedOf(kept, now);
  const left = drops.length === 0 ? now : await readDefinition(query);
  const staged = inStages([...lostMakings(wanted, left), ...kept.changed], wanted.needs);
  const at = (...stages: readonly Step[]): readonly Making[] => staged.filter(({ stage }) => stages.includes(stage)).map(({ making }) => making);
  const late = staged.find(({ making, stage }) => stage !== 'objects' && making.statements.some((one) => /^CREATE (?:UNLOGGED )?TABLE /.test(one)));
  if (late !== undefined) throw new Failure('conflict', `${late.making.what} needs what is made only after its rows.`);
  await make(query, at('schemas', 'objects'), hands);
  await hands.load();
  await make(query, at('defaults'), hands);
  await hands.loadLate();
  await make(query, at(...steps.filter((step) => !['schemas', 'objects', 'defaults'].includes(step))), hands);
  return staged.map(({ making }) => making);
}

const tablesSql = `SELECT DISTINCT format('%I.%I', n.nspname, c.relname) FROM unnest($1::oid[], $2::oid[]) AS a(classid, objid) JOIN pg_class c ON a.classid = 'pg_class'::regclass AND c.oid = a.objid
  JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'f') AND c.oid <> ALL ($3::regclass[]) AND n.nspname <> 'pg_toast' ORDER BY 1`;

/** Tables that would fall, or lose a column, if these were dropped with all that depends on them; quoted. */
export async function fallingWith(query: CatalogQuery, names: readonly string[]): Promise<readonly string[]> {
  if (names.length === 0) return [];
  const roots = await query('SELECT r::oid FROM unnest($1::regclass[]) r', [arrayOf(names)]);
  const all = await query(closureSql, [arrayOf(roots.map(() => classOfRelations)), arrayOf(roots.map(([oid]) => oid ?? '')), arrayOf(roots.map(() => '0')), 'true']);
  return (await query(tablesSql, [arrayOf(all.map(([one]) => one ?? '')), arrayOf(all.map(([, one]) => one ?? '')), arrayOf(names)])).map(([name]) => name ?? '');
}

const classOfRelations = '1259';

/** The definition of now, with what was kept in the place of what the statement made of it. */
function wantedOf(kept: KeptDefinition, now: Definition): Definition {
  const fresh = new Set(kept.fresh);
  const isBinned = ({ what }: Making): boolean => kept.bin !== undefined && what.includes(kept.bin.schema);
  const present = new Map(now.makings.map((made) => [partOf(made), made]));
  const was = new Map(kept.lost.map((made) => [partOf(made), made]));
  const merged = kept.lost.map((made) => ({ ...made, statements: [...made.statements, ...marksOf(present.get(partOf(made)) ?? { ...made, statements: [] }).filter((one) => !made.statements.includes(one))] }));
  const needs = new Map(now.needs);
  for (const [object, needed] of Object.entries(kept.needs)) needs.set(object, new Set([...needs.get(object) ?? [], ...needed]));
  return { makings: [...merged, ...now.makings.filter((made) => !was.has(partOf(made)) && !fresh.has(made.object) && !isBinned(made))], patches: now.patches, needs };
}

async function make(query: CatalogQuery, makings: readonly Making[], { each }: RemakeHands): Promise<void> {
  for (const making of makings) {
    for (const statement of making.statements) {
      const run = each(making, statement);
      if (run !== undefined) await attempt(query, making.what, run);
    }
  }
}

async function attempt(query: CatalogQuery, what: string, statement: string): Promise<void> {
  try {
    await query(statement);
  } catch (cause) {
    if (!(cause instanceof ServerError)) throw cause;
    // The server's own message may quote a row.
    throw new Failure('conflict', `${what} cannot be made again (SQLSTATE ${cause.code}).`, { cause });
  }
}

/** What a rehearsal runs: nothing that has to read the rows of others, which are not all there. */
export function rehearsed(making: Making, statement: string): string | undefined {
  if (making.step === 'filled' || isPartitionedKey(making)) return undefined;
  if (making.step !== 'keys' || statement.endsWith(' NOT VALID') || !statement.includes(' ADD CONSTRAINT ')) return statement;
  return `${statement} NOT VALID`;
}

/** Not every version adds the key of a partitioned table without reading the rows. */
function isPartitionedKey({ step, statements }: Making): boolean { return step === 'keys' && statements[0]?.startsWith('ALTER TABLE ONLY ') === false; }

/** Without what a rehearsal leaves out. */
export function asRehearsed(facts: DefinitionFacts, made: readonly Making[]): DefinitionFacts {
  const views = new Set(made.filter(({ step }) => step === 'filled').map(({ what }) => what));
  const keys = new Set(made.filter(({ step }) => step === 'keys').map(({ what }) => what));
  const leftOut = new Set(made.filter(isPartitionedKey).map(({ what }) => what));
  return new Map([...facts].flatMap(([what, fact]): [string, string][] => {
    if (leftOut.has(what)) return [];
    if (views.has(what)) return [[what, fact.replace(/"populated" : (?:true|false)/, '')]];
    return [[what, keys.has(what) ? fact.replace(/ NOT VALID"/, '"').replace(/"validated" : (?:true|false)/, '') : fact]];
  }));
}

/** In a few words, for a message. */
export function namesOf(differences: readonly Pick<FactDifference, 'what'>[]): string {
  const shown = differences.slice(0, namesMax).map(({ what }) => what).join(', ');
  return differences.length > namesMax ? `${shown} and ${differences.length - namesMax} more` : shown;
}

const namesMax = 5;
