/**
 * Capture of whole tables and of definitions: what a TRUNCATE, a DROP or an ALTER TABLE takes is locked, then copied out row
 * for row, with the definition of the database and the state of sequences; after the statement follows what fell, and making
 * it again is rehearsed in a savepoint, without rows, until the fingerprint of the whole database is the one from
 * before. Whatever would not come back fails the capture by its name. The session and its transaction are left as they were.
 */
import { Failure } from '../../../core/failure.ts';
import { fingerprintOf, type KeptRows, type KeptTable } from '../../../core/recovery/manifest.ts';
import type { Taken } from '../../../core/sql/taken.ts';
import { assert } from '../../../lib/assert.ts';
import type { CapturedContents, RecoveryDraft, RowsSink } from '../../../flow/protect.ts';
import type { CatalogQuery } from '../catalog.ts';
import { readDefinition, type Definition } from '../definition/definition.ts';
import { factDifferences, readDefinitionFacts, type DefinitionFacts } from '../definition/facts.ts';
import { keepDefinition, writeKeptDefinition, type Change, type KeptDefinition, type KeptSequence, type RebuiltTable } from '../definition/kept.ts';
import { asRehearsed, fallingWith, namesOf, rehearsed, remake } from '../definition/remake.ts';
import type { TransactionSession } from '../transaction-session.ts';
import { readPlace, type Capture } from './capture.ts';
import { lockClosure, resolveTaken, type TouchedRelation } from './closure.ts';
import { changedConstraintsSql, truncateTriggersSql, unforeseenSql } from './closure-queries.ts';
import { lostElsewhere, lostMore } from './lost-elsewhere.ts';
import { inOwnSettings, printingSettings } from './own-settings.ts';
import { arrayOf, readCapturedTables, type CapturedTable } from './tables.ts';

interface Found {
  readonly touched: readonly TouchedRelation[];
  /** Rows of other tables that the transaction had lost before. */
  readonly lostBefore: number;
  readonly foreseen: string;
  readonly definition: Definition;
  readonly facts: DefinitionFacts;
  readonly shapes: readonly CapturedTable[];
  readonly tables: readonly KeptTable[];
  readonly sequences: readonly KeptSequence[];
  readonly searchPath: string;
  /** A TRUNCATE that fires nothing, which might define something. */
  readonly changesRowsOnly: boolean;
}

/** `before` throws Failure where what goes cannot be kept, `after` where it would not come back. */
export function createTablesCapture(session: TransactionSession, taken: Taken, draft: Pick<RecoveryDraft, 'rows'>): Capture {
  let found: Found | undefined;
  return {
    before: async () => { found = await capture(session, taken, draft); },
    after: async () => {
      assert(found !== undefined, 'what a statement took is captured before it ran');
      return conclude(session, taken, found, draft);
    },
  };
}

async function capture({ query, copyOut }: TransactionSession, taken: Taken, draft: Pick<RecoveryDraft, 'rows'>): Promise<Found> {
  await checkIsolation(query);
  const named = await resolveTaken(query, taken);
  return inOwnSettings(query, printingSettings, async (were) => {
    const { touched, all } = await lockClosure(query, taken, named);
    const changesRowsOnly = taken.verb === 'truncate' && (await query(truncateTriggersSql, [relationsOf(touched)]))[0]?.[0] === 'f';
    const { facts, definition } = await readWhole(query, changesRowsOnly);
    const shapes = await readCapturedTables(query, touched.filter(({ kind, isGone, isChanged }) => (kind === 'r' || kind === 'p') && (isGone || isChanged)).map(({ name }) => name));
    const sequences = await readSequences(query, touched.filter(({ kind }) => kind === 'S').map(({ name }) => name));
    const withRows = new Set(touched.filter(({ kind }) => kind === 'r').map(({ name }) => name));
    const tables: KeptTable[] = [];
    for (const shape of shapes) {
      const { name, columns, types, key, alwaysIdentity, partitions } = shape;
      const kept = { name, columns, types, key, alwaysIdentity, partitions };
      const content = withRows.has(name) ? await copyRows(copyOut, shape, draft.rows()) : undefined;
      tables.push({ ...kept, fingerprint: fingerprintOf(kept), ...(content === undefined ? {} : { content }) });
    }
    const lostBefore = await lostElsewhere(query, relationsOf(touched));
    return { touched, lostBefore, foreseen: all[1], definition, facts, shapes, tables, sequences, changesRowsOnly, searchPath: were['search_path'] ?? '' };
  });
}

function relationsOf(touched: readonly TouchedRelation[]): string { return arrayOf(touched.map(({ oid }) => oid)); }

/** A snapshot that is older than the lock sees rows that are not those that fall. */
export async function checkIsolation(query: CatalogQuery): Promise<void> {
  const [level] = await query('SHOW transaction_isolation');
  if (level?.[0] === 'read committed') return;
  throw new Failure('feature_not_supported', `What this takes away cannot be kept in a transaction that is ${level?.[0] ?? ''}.`, { hint: 'Send it in a transaction block that is READ COMMITTED, or outside of one.' });
}

/** Of a large database that takes long, so not where nothing of it can change. */
async function readWhole(query: CatalogQuery, isLeftOut: boolean): Promise<Pick<Found, 'facts' | 'definition'>> {
  return isLeftOut ? { facts: new Map(), definition: { makings: [], patches: [], needs: new Map() } } : { facts: await readDefinitionFacts(query), definition: await readDefinition(query) };
}

/** A table, not a SELECT: faster, and without the rows of children. */
export function copyOutSql({ name, columns }: Pick<CapturedTable, 'name' | 'columns'>): string {
  return columns.length === 0 ? `COPY (SELECT FROM ONLY ${name}) TO STDOUT` : `COPY ${name} (${columns.join(', ')}) TO STDOUT`;
}

async function copyRows(copyOut: TransactionSession['copyOut'], shape: Pick<CapturedTable, 'name' | 'columns'>, sink: RowsSink): Promise<KeptRows> {
  const rows = await copyOut(copyOutSql(shape), (some) => sink.write(some));
  const kept = await sink.finish();
  if (kept.rows !== rows) throw new Failure('recovery_point_broken', `Of ${rows} rows of ${shape.name} ${kept.rows} were kept.`);
  return kept;
}

export async function readSequences(query: CatalogQuery, names: readonly string[]): Promise<readonly KeptSequence[]> {
  const sequences: KeptSequence[] = [];
  for (const name of names) {
    const [row] = await query(`SELECT last_value, is_called FROM ${name}`);
    sequences.push({ name, last: row?.[0] ?? '1', isCalled: row?.[1] === 't' });
  }
  return sequences;
}

async function conclude(session: TransactionSession, taken: Taken, found: Found, draft: Pick<RecoveryDraft, 'rows'>): Promise<CapturedContents> {
  return inOwnSettings(session.query, printingSettings, async () => {
    const { query } = session;
    if (await lostElsewhere(query, relationsOf(found.touched)) !== found.lostBefore) throw lostMore();
    if (taken.verb === 'drop') await checkForeseen(query, found.foreseen);
    const after = await readWhole(query, found.changesRowsOnly);
    const change: Change = { before: found.definition, after: after.definition, factsBefore: found.facts, factsAfter: after.facts };
    const definition = await rehearsedDefinition(query, taken, found, change);
    const left = await leftTables(session, found.tables, definition.rebuilt, draft);
    return { tables: [...found.tables, ...left], definition: writeKeptDefinition(definition), settings: printingSettings, ...await readPlace(query) };
  });
}

/** Of tables of which columns got another type: what became of their values, so that an edit is known from a conversion. */
async function leftTables({ copyOut }: TransactionSession, tables: readonly KeptTable[], rebuilt: readonly RebuiltTable[], draft: Pick<RecoveryDraft, 'rows'>): Promise<readonly KeptTable[]> {
  const left: KeptTable[] = [];
  for (const now of rebuilt) {
    const was = tables.find(({ name, content }) => name === now.name && content !== undefined);
    const retyped = now.columns.filter((column, index) => was?.columns.includes(column) === true && was.types[was.columns.indexOf(column)] !== now.types[index]);
    if (was === undefined || retyped.length === 0) continue;
    const hasKey = was.key.length > 0 && was.key.every((column) => now.columns.includes(column));
    const columns = now.columns.filter((column) => !hasKey || was.key.includes(column) || retyped.includes(column)).filter((column) => was.columns.includes(column));
    const kept = { name: now.name, columns, types: columns.map((column) => now.types[now.columns.indexOf(column)] ?? ''), key: hasKey ? was.key : [], alwaysIdentity: [], partitions: [] };
    left.push({ ...kept, fingerprint: fingerprintOf(kept), after: await copyRows(copyOut, kept, draft.rows()) });
  }
  return left;
}

/** `foreseen`: object ids, as an array. A relation that came into what was dropped after it was looked at would be lost. */
export async function checkForeseen(query: CatalogQuery, foreseen: string): Promise<void> {
  const [row] = await query(unforeseenSql, [foreseen]);
  if (row?.[0] !== '0') throw new Failure('conflict', 'Others made objects that this takes away, while it ran.', { hint: 'Send it again when they are done.' });
}

/** First with the tables left as they are, then, where that does not do, with all of them made anew. */
async function rehearsedDefinition(query: CatalogQuery, { verb }: Taken, found: Found, change: Change): Promise<KeptDefinition> {
  const left = new Set(change.after.makings.map(({ object }) => object));
  const survivors = found.touched.filter(({ oid, kind }) => (kind === 'r' || kind === 'p') && left.has(`pg_class ${oid}`));
  const shapes = await readCapturedTables(query, survivors.map(({ name }) => name));
  const all = survivors.map(({ oid }, index): RebuiltTable => ({ object: `pg_class ${oid}`, name: shapes[index]?.name ?? '', columns: shapes[index]?.columns ?? [], types: shapes[index]?.types ?? [] }));
  const named = new Set(all.filter((one) => hasOtherColumns(one, found, change)).map(({ name }) => name));
  // Children that kept a column of their own fall with their parent all the same.
  for (const name of await fallingWith(query, [...named])) named.add(name);
  const reshaped = all.filter(({ name }) => named.has(name));
  const emptied = verb === 'truncate' ? found.tables.filter(({ content }) => content !== undefined).map(({ name }) => name) : [];
  const tried = [reshaped, ...(reshaped.length === 0 ? [all.filter(({ object }) => createdOtherwise(object, change))] : [])];
  const sequences = found.sequences.filter(({ name }) => verb === 'truncate' || found.touched.some((one) => one.name === name && !left.has(`pg_class ${one.oid}`)));
  let problem = '';
  for (const rebuilt of tried) {
    const unkept = rebuilt.find(({ name }) => !found.tables.some((table) => table.name === name));
    if (unkept !== undefined) { problem = `the rows of ${unkept.name}`; continue; }
    const strays = rebuilt.length === 0 ? (await query(changedConstraintsSql, [arrayOf(freshKeys(change))])).map(([drop]) => drop ?? '') : [];
    const kept = keepDefinition(change, { rebuilt, emptied, sequences, strays, searchPath: found.searchPath });
    const differences = kept.differences.length === 0 ? '' : await rehearse(query, kept, change.after, change.factsBefore, []);
    if (differences === '') return kept;
    problem = differences;
  }
  throw new Failure('feature_not_supported', `What this takes away could not be made again exactly: ${problem}.`, { hint: 'Nothing was changed. Take the parts away one by one, or ask an operator.' });
}

/** The columns that hold rows, or their place, or what a generated one is made of. */
function hasOtherColumns({ name }: RebuiltTable, { facts }: Found, { factsAfter }: Change): boolean {
  return [...facts].some(([what, fact]) => what.startsWith(`column ${name}.`) && storedOf(fact) !== storedOf(factsAfter.get(what)));
}

function storedOf(fact: string | undefined): string {
  if (fact === undefined) return '';
  const { place, type, collation, generated } = JSON.parse(fact) as Readonly<Record<string, unknown>>;
  return JSON.stringify([place, type, collation, generated]);
}

function createdOtherwise(object: string, { before, after }: Change): boolean {
  const statement = ({ makings }: Definition): string | undefined => makings.find((made) => made.object === object && made.step === 'objects')?.statements[0];
  return statement(before) !== statement(after);
}

/** A partition that is detached gets foreign keys of its own. */
function freshKeys({ before, after }: Change): readonly string[] {
  const known = new Set(before.makings.map(({ object }) => object));
  return after.makings.flatMap(({ object, step }) => (step === 'keys' && !known.has(object) ? [object.slice('pg_constraint '.length)] : []));
}

/** What would not be as it was; empty: everything is. Leaves nothing behind. */
export async function rehearse(query: CatalogQuery, kept: KeptDefinition, now: Definition, factsBefore: DefinitionFacts, drops: readonly string[]): Promise<string> {
  await query('SAVEPOINT backstop_rehearsal');
  try {
    const made = await remake(query, kept, now, { drops, load: async () => undefined, loadLate: async () => undefined, each: rehearsed });
    return namesOf(factDifferences(asRehearsed(factsBefore, made), asRehearsed(await readDefinitionFacts(query), made)));
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== 'conflict') throw error;
    return error.message.replace(/\.$/, '');
  } finally {
    await query('ROLLBACK TO backstop_rehearsal');
    await query('RELEASE backstop_rehearsal');
  }
}
