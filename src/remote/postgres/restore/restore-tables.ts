/**
 * Undoing what took tables and definitions: what fell is made again, rows are copied back, sequences go on where they were, and
 * then the fingerprint of the whole database must be the one of now with exactly what the statement had changed put back. What
 * others made or wrote since stays; where both cannot be had it is a conflict, and nothing is overwritten
 * unless that was asked for. Everything happens in the caller's transaction: rolled back, it was a plan.
 */
import { Failure } from '../../../core/failure.ts';
import type { KeptRows, Manifest } from '../../../core/recovery/manifest.ts';
import type { CatalogQuery } from '../catalog.ts';
import { readSequences } from '../capture/capture-tables.ts';
import { findBy, inOwnSettings, printingSettings } from '../capture/own-settings.ts';
import { arrayOf, readCapturedTables } from '../capture/tables.ts';
import { readDefinition, type Definition } from '../definition/definition.ts';
import { factDifferences, readDefinitionFacts, type DefinitionFacts } from '../definition/facts.ts';
import { emptyBin, outsideBin, readKeptDefinition, type KeptDefinition, type KeptSequence } from '../definition/kept.ts';
import { fallingWith, namesOf, remake } from '../definition/remake.ts';
import type { TransactionSession } from '../transaction-session.ts';
import { createRowLoader, type LoadedTable, type RestoreConflict } from './load-rows.ts';
import { keysOfSql, ownedSequencesSql, presentSql, triggersSql } from './restore-queries.ts';

/** The COPY text of kept rows, checked against its digest while it is read. */
export type ReadRows = (kept: KeptRows) => AsyncIterable<Buffer>;

export interface TablesRestored {
  /** False: nothing was done, because of the conflicts. */
  readonly isDone: boolean;
  readonly conflicts: readonly RestoreConflict[];
  readonly tables: readonly LoadedTable[];
  /** What was made again or changed back: `relation app.orders`. */
  readonly made: readonly string[];
}

export interface RestoreChoices {
  /** Rows in conflict: stop and say so, leave them as they are now, or make them what they were. */
  readonly onConflict: 'stop' | 'skip' | 'force';
}

/** Throws Failure, and ServerError for what the server refuses: then the transaction must be rolled back. */
export async function restoreTables(session: TransactionSession, manifest: Pick<Manifest, 'tables' | 'definition' | 'settings'>, readRows: ReadRows, choices: RestoreChoices): Promise<TablesRestored> {
  const kept = readKeptDefinition(manifest.definition);
  return inOwnSettings(session.query, { ...printingSettings, ...manifest.settings }, () => restore(session, manifest, kept, readRows, choices));
}

async function restore(session: TransactionSession, { tables }: Pick<Manifest, 'tables'>, kept: KeptDefinition, readRows: ReadRows, choices: RestoreChoices): Promise<TablesRestored> {
  const { query } = session;
  const { bin } = kept;
  const standing = [...kept.rebuilt.map(({ name }) => name), ...kept.emptied, ...(bin?.tables.map(({ inBin }) => inBin) ?? [])];
  const gone = await missingOf(query, standing);
  if (gone.length > 0) return refused(gone.map((what) => ({ what: `relation ${what}`, why: 'it is there no more' })));
  if (standing.length > 0) await query(`LOCK TABLE ${standing.toSorted().map((name) => `ONLY ${name}`).join(', ')} IN ACCESS EXCLUSIVE MODE`);
  const [facts, now] = [outsideBin(await readDefinitionFacts(query), bin), await readDefinition(query)];
  const conflicts = [...await reshaped(query, kept, tables), ...changedSince(kept, facts), ...unmet(kept, now), ...(await fallingWith(query, kept.rebuilt.map(({ name }) => name))).map((name) => ({ what: `relation ${name}`, why: 'it was made since, and would fall with what is made anew' }))];
  if (conflicts.length > 0) return refused(conflicts);
  const running = kept.rebuilt.length === 0 ? [] : await readSequences(query, (await query(ownedSequencesSql, [arrayOf(kept.rebuilt.map(({ name }) => name))])).map(([name]) => name ?? ''));
  const loader = createRowLoader(session, { tables, kept, readRows, onConflict: choices.onConflict });
  const rows = await loader.prepare();
  if (rows.length > 0 && choices.onConflict === 'stop') return refused(rows);
  const resumed = await quietTriggers(query, kept.emptied);
  const keys = kept.emptied.length === 0 ? [] : (await query(keysOfSql, [arrayOf(kept.emptied)])).map(([drop]) => drop ?? '');
  const made = await remake(query, kept, now, { drops: [...bin === undefined ? [] : emptyBin(bin), ...keys], load: loader.load, loadLate: loader.loadLate, each: (_making, statement) => statement });
  await findBy(query, undefined);
  for (const statement of resumed) await query(statement);
  await setSequences(query, [...running, ...kept.sequences]);
  const loaded = await loader.finish();
  await prove(query, kept, facts);
  return { isDone: true, conflicts: rows, tables: loaded, made: [...new Set([...bin?.tables.map(({ name }) => `relation ${name}`) ?? [], ...made.map(({ what }) => what)])] };
}

/** What must be run on the server before a recovery point may go; none: it holds nothing there. */
export function purgeStatements(definition: Manifest['definition']): readonly string[] {
  if (definition === undefined) return [];
  const { bin } = readKeptDefinition(definition);
  return bin === undefined ? [] : [`DROP SCHEMA IF EXISTS ${bin.schema} CASCADE`];
}

function refused(conflicts: readonly RestoreConflict[]): TablesRestored { return { isDone: false, conflicts, tables: [], made: [] }; }

async function missingOf(query: CatalogQuery, names: readonly string[]): Promise<readonly string[]> {
  const present = new Set((await query(presentSql, [arrayOf(names)])).map(([name]) => name));
  return names.filter((name) => !present.has(name));
}

/** Rows can only be put back into a table that is as the statement left it. */
async function reshaped(query: CatalogQuery, { rebuilt, emptied }: KeptDefinition, tables: Manifest['tables']): Promise<readonly RestoreConflict[]> {
  const wanted = [...rebuilt, ...tables.filter(({ name, content }) => content !== undefined && emptied.includes(name))];
  const shapes = await readCapturedTables(query, wanted.map(({ name }) => name));
  return wanted.filter(({ columns, types }, index) => shapes[index]?.columns.join() !== columns.join() || shapes[index]?.types.join() !== types.join())
    .map(({ name }) => ({ what: `relation ${name}`, why: 'it was altered since' }));
}

function changedSince({ differences }: KeptDefinition, facts: DefinitionFacts): readonly RestoreConflict[] {
  return differences.filter(({ what, after }) => (facts.get(what) ?? null) !== after)
    .map(({ what, after }) => ({ what, why: after === null ? 'something of that name was made since' : facts.has(what) ? 'it was altered since' : 'it was dropped since' }));
}

/** What would be made needs what nobody makes. */
function unmet({ lost, changed, needs }: KeptDefinition, now: Definition): readonly RestoreConflict[] {
  const there = new Set([...now.makings, ...now.patches, ...lost].map(({ object }) => object));
  const makable = new Set([...there].map((object) => object.split(' ')[0]));
  return [...lost, ...changed].filter(({ object }) => (needs[object] ?? []).some((needed) => makable.has(needed.split(' ')[0]) && !there.has(needed)))
    .map(({ what }) => ({ what, why: 'what it belongs to is there no more' }));
}

/** Triggers and rules do not act on what they have acted on already. Returns how they are switched on again. */
async function quietTriggers(query: CatalogQuery, names: readonly string[]): Promise<readonly string[]> {
  if (names.length === 0) return [];
  const states = await query(triggersSql, [arrayOf(names)]);
  for (const [off] of states) await query(off ?? '');
  return states.map(([, on]) => on ?? '');
}

/** Never behind what they gave since. */
async function setSequences(query: CatalogQuery, sequences: readonly KeptSequence[]): Promise<void> {
  const last = new Map(sequences.map((one) => [one.name, one]));
  for (const { name, last: value, isCalled } of last.values()) {
    await query(`SELECT setval($1::regclass, CASE WHEN isAhead THEN last_value ELSE $2::int8 END, CASE WHEN isAhead THEN is_called ELSE $3::bool END) FROM (
      SELECT last_value, is_called, CASE WHEN seqincrement > 0 THEN (last_value, is_called) > ($2::int8, $3::bool) ELSE (-last_value, is_called) > (-$2::int8, $3::bool) END AND is_called AS isAhead
      FROM ${name}, pg_sequence WHERE seqrelid = $1::regclass) now`, [name, value, String(isCalled)]);
  }
}

async function prove(query: CatalogQuery, { differences }: KeptDefinition, facts: DefinitionFacts): Promise<void> {
  const wanted = new Map(facts);
  for (const { what, before } of differences) {
    if (before === null) wanted.delete(what);
    else wanted.set(what, before);
  }
  const wrong = factDifferences(wanted, await readDefinitionFacts(query));
  if (wrong.length > 0) throw new Failure('conflict', `The definition would not be what it was: ${namesOf(wrong)}.`, { hint: 'Nothing was changed. Look at what was done to these since.' });
}
