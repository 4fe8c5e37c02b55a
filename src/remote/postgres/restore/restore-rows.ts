/**
 * The rows of a recovery point put back, in a transaction of which somebody else is in charge: locked, the images read in
 * (hashed again on the way), each key decided, what foreign keys forbid taken out, and then, if that is wanted, done and
 * proved. What is done is kept for a recovery point of its own. Throws Failure: then the transaction must be rolled back.
 */
import { Failure } from '../../../core/failure.ts';
import type { KeptRows, Manifest } from '../../../core/recovery/manifest.ts';
import { rowSteps, type RowConflict, type TableChange } from '../../../core/recovery/undo-plan.ts';
import { arrayOf } from '../capture/tables.ts';
import { ServerError } from '../server-error.ts';
import type { TransactionSession } from '../transaction-session.ts';
import { blockByKeys, orphansQuery, readForeignKeys, type ForeignKey, type UndoneRows } from './foreign-keys.ts';
import type { ImageTables } from './image-tables.ts';
import { checkTablesThere, readLiveTables, type LiveTable } from './live-tables.ts';
import type { UndoChoices } from './row-undo.ts';
import type { TouchedRows } from './touched-rows.ts';
import { silence, wayOf, type RestoreWay, type Silence } from './triggers.ts';
import { readKeysAround } from './without-keys.ts';
import { readUniqueKeys } from './unique-keys.ts';

export interface RestoreRowsDeps {
  readonly session: TransactionSession;
  /** COPY text; throws Failure before the end where it is not what was kept. */
  readonly readRows: (kept: KeptRows) => AsyncIterable<Buffer>;
  /** Of the transaction. */
  readonly images: ImageTables;
  readonly choices: UndoChoices;
  readonly touched: TouchedRows;
  readonly onProgress: (what: string) => void;
}

export interface PlannedRows {
  readonly changes: readonly TableChange[];
  /** The first of those that are not simply undone. */
  readonly conflicts: readonly RowConflict[];
  /** Does it and proves it. Throws Failure. */
  apply(): Promise<void>;
}

interface Planned { readonly tables: readonly (UndoneRows & LiveTable)[]; readonly keys: readonly ForeignKey[]; readonly way: RestoreWay; readonly names: string }

const conflictsShownMax = 100;
/** What is printed is compared, so it must be printed without loss; nothing is found by a search path. */
const printingSettings: Readonly<Record<string, string>> = {
  search_path: '', DateStyle: 'ISO, MDY', IntervalStyle: 'postgres', TimeZone: 'UTC', extra_float_digits: '1', bytea_output: 'hex',
};
/** Of those that were in force when the images were printed; anything else in a manifest is no business of ours. */
const readingSettings = ['search_path', 'DateStyle', 'IntervalStyle', 'TimeZone', 'extra_float_digits', 'bytea_output', 'lc_monetary'];

export async function planRows(deps: RestoreRowsDeps, manifest: Manifest): Promise<PlannedRows> {
  const { session: { query }, choices, images, onProgress } = deps;
  const kept = manifest.tables.filter(({ before, after }) => (before?.rows ?? 0) + (after?.rows ?? 0) > 0);
  const list = kept.map(({ name }) => name);
  const names = arrayOf(list);
  await checkTablesThere(query, list);
  // Not even a foreign key of somebody else's can be looked up meanwhile, so what is decided stays true until the end.
  if (list.length > 0) await query(`LOCK TABLE ${list.toSorted().join(', ')} IN EXCLUSIVE MODE`);
  const live = await readLiveTables(query, kept);
  const tables = live.map(({ undone, live: now }) => ({ live: now, undone, table: undone, ...images.of(undone, now.types, choices) }));
  for (const [index, { undo, undone, isMade }] of tables.entries()) {
    onProgress(`reading what is kept of ${undone.name}`);
    for (const sql of isMade ? [undo.beginAgain] : undo.begin) await query(sql);
    await useSettings(deps, manifest.settings);
    for (const [target, rows] of [[undo.before, kept[index]?.before], [undo.after, kept[index]?.after]] as const) await copyIn(deps, target, undone.columns, rows);
    await useSettings(deps, printingSettings);
    onProgress(`comparing it with ${undone.name} as it is now`);
    for (const sql of undo.decide) await query(sql);
  }
  const keys = await readForeignKeys(query, names);
  await blockByKeys(query, { foreign: keys, unique: await readUniqueKeys(query, names) }, tables);
  const planned: Planned = { tables, keys, names, way: await wayOf(query, names) };
  return { ...await summary(deps, planned), apply: () => apply(deps, planned) };
}

async function useSettings({ session: { query } }: RestoreRowsDeps, settings: Readonly<Record<string, string>>): Promise<void> {
  for (const name of readingSettings) {
    const value = settings[name] ?? printingSettings[name];
    if (value !== undefined) await query('SELECT pg_catalog.set_config($1, $2, true)', [name, value]);
  }
}

async function copyIn({ session, readRows }: RestoreRowsDeps, target: string, columns: readonly string[], kept: KeptRows | undefined): Promise<void> {
  if (kept === undefined || kept.rows === 0) return;
  const rows = await session.copyIn(`COPY ${target} (${columns.join(', ')}) FROM STDIN`, readRows(kept));
  if (rows !== kept.rows) throw new Failure('recovery_point_broken', `${kept.rows} rows were kept and ${rows} were read back`);
}

async function summary({ session: { query }, choices }: RestoreRowsDeps, { tables }: Planned): Promise<Pick<PlannedRows, 'changes' | 'conflicts'>> {
  const changes: TableChange[] = [];
  const conflicts: RowConflict[] = [];
  for (const { undone, undo } of tables) {
    const counts = new Map((await query(undo.count)).map(([step, rows]) => [step, Number(rows)]));
    changes.push({ table: undone.name, ...Object.fromEntries(rowSteps.map((step) => [step, counts.get(step) ?? 0])) } as TableChange);
    const shown = await query(undo.conflicts(conflictsShownMax - conflicts.length));
    conflicts.push(...shown.filter(([step]) => step !== 'merge' || !choices.merges).map(([step, why, key, before, after, now]): RowConflict => ({
      table: undone.name, key: key ?? '', why: why ?? '', step: step === 'merge' ? 'merge' : step === 'blocked' ? 'blocked' : 'conflict',
      columns: undone.columns, before: valuesOf(before), after: valuesOf(after), now: valuesOf(now),
    })));
  }
  return { changes, conflicts };
}

function valuesOf(json: string | null | undefined): readonly (string | null)[] | null {
  return json === null || json === undefined ? null : JSON.parse(json) as readonly (string | null)[];
}

async function apply(deps: RestoreRowsDeps, planned: Planned): Promise<void> {
  const { session: { query }, touched, onProgress } = deps;
  const { tables, names, way } = planned;
  for (const { live, undo } of tables) await touched.note(live, undo);
  const quiet = await silence(query, names, way);
  if (way === 'replica') await perform(deps, [...asStep(quiet.begin), ...asReplica(tables), ...asStep(quiet.end)]);
  else await performUnderConstraints(deps, planned, quiet);
  onProgress('proving that every row is as it was');
  await prove(deps, planned);
}

async function perform({ session: { query }, onProgress }: RestoreRowsDeps, steps: readonly Step[]): Promise<void> {
  for (const [what, sql] of steps) {
    if (what !== undefined) onProgress(what);
    await query(sql);
  }
}

/** In an order that suits the keys; where none does, with the foreign keys taken away meanwhile. */
async function performUnderConstraints(deps: RestoreRowsDeps, planned: Planned, quiet: Silence): Promise<void> {
  const { session: { query } } = deps;
  await query('SAVEPOINT backstop_undo');
  try {
    await perform(deps, [...asStep(quiet.begin), ...underConstraints(planned), ...asStep(quiet.end)]);
  } catch (error) {
    if (!(error instanceof ServerError) || !error.code.startsWith(integrityViolation)) throw error;
    await query('ROLLBACK TO backstop_undo');
    const keys = await readKeysAround(query, planned.names);
    // Every check that is still waiting keeps a table from being altered.
    await perform(deps, [...asStep(quiet.begin), ...asStep(keys.drop), ...asReplica(planned.tables), ...asStep(['SET CONSTRAINTS ALL IMMEDIATE']), ...asStep(keys.add), ...asStep(quiet.end)]);
  }
  await query('RELEASE backstop_undo');
}

/** Class 23 of SQLSTATE. */
const integrityViolation = '23';

function asStep(statements: readonly string[]): readonly Step[] { return statements.map((sql): Step => [undefined, sql]); }

/** `what`: what is shown meanwhile. */
type Step = readonly [what: string | undefined, sql: string];

function asReplica(tables: Planned['tables']): readonly Step[] {
  return [
    ...tables.flatMap(({ undone, undo }) => undo.remove.map((sql): Step => [`making room in ${undone.name}`, sql])),
    ...tables.flatMap(({ undone, undo }) => undo.put.map((sql): Step => [`putting rows back into ${undone.name}`, sql])),
  ];
}

function underConstraints({ tables, keys }: Planned): readonly Step[] {
  const parentsFirst = orderOf(tables.length, keys).flatMap((index) => tables[index] ?? []);
  return [
    ...parentsFirst.map(({ undone, undo }): Step => [`putting rows back into ${undone.name}`, undo.insert]),
    ...parentsFirst.toReversed().flatMap(({ undone, undo }): readonly Step[] => [
      ...(undo.update === undefined ? [] : [[`putting rows back into ${undone.name}`, undo.update] as const]), [`removing rows from ${undone.name}`, undo.delete],
    ]),
  ];
}

/** Tables before those that refer to them; where they refer to one another, in the order given. */
export function orderOf(count: number, keys: readonly Pick<ForeignKey, 'childIndex' | 'parentIndex'>[]): readonly number[] {
  const order: number[] = [];
  const seen = new Set<number>();
  const visit = (index: number): void => {
    if (seen.has(index)) return;
    seen.add(index);
    for (const { childIndex, parentIndex } of keys) if (childIndex === index && parentIndex !== undefined) visit(parentIndex);
    order.push(index);
  };
  for (let index = 0; index < count; index += 1) visit(index);
  return order;
}

async function prove({ session: { query } }: RestoreRowsDeps, { tables, keys, way }: Planned): Promise<void> {
  for (const { undone, undo } of tables) {
    const unlike = Number((await query(undo.unlike))[0]?.[0]);
    if (unlike !== 0) throw unproved(`${unlike} ${unlike === 1 ? 'row' : 'rows'} of ${undone.name} would not be as before`);
  }
  if (way === 'constraints') return;
  for (const key of keys) {
    const orphans = Number((await query(orphansQuery(key, tables)))[0]?.[0]);
    if (orphans !== 0) throw unproved(`${orphans} ${orphans === 1 ? 'row' : 'rows'} of ${key.child} would refer to nothing in ${key.parent} (${key.name})`);
  }
}

function unproved(what: string): Failure {
  return new Failure('conflict', `the undo was rolled back: ${what}`, { hint: 'Nothing was changed. Undo first what was done to these rows later, or take them out of the recovery point with `backstop snapshots export`.' });
}
