/**
 * The recycle bin: a DROP TABLE that sets the table aside instead of copying it, for tables too large to copy. The client's own
 * statement runs, so that it fails as it would and everybody sees what falls; then it is taken back to a savepoint, what
 * falls with the table is dropped by itself with its definition kept, foreign keys go both ways, and the table moves
 * into a schema that nobody else may use. All that can be seen from outside of that schema is then what the
 * DROP left. Tables of which that cannot be said are copied like others.
 */
import { randomBytes } from 'node:crypto';
import type { CapturedContents, RecoveryDraft } from '../../../flow/protect.ts';
import { Failure } from '../../../core/failure.ts';
import type { Taken } from '../../../core/sql/taken.ts';
import { assert } from '../../../lib/assert.ts';
import type { CatalogQuery } from '../catalog.ts';
import { readDefinition, type Definition } from '../definition/definition.ts';
import { factDifferences, readDefinitionFacts, type DefinitionFacts } from '../definition/facts.ts';
import { emptyBin, keepDefinition, outsideBin, writeKeptDefinition, type Change, type KeptDefinition, type RecycleBin } from '../definition/kept.ts';
import { namesOf } from '../definition/remake.ts';
import type { TransactionSession } from '../transaction-session.ts';
import { readPlace, type Capture } from './capture.ts';
import { checkForeseen, checkIsolation, createTablesCapture, rehearse } from './capture-tables.ts';
import { lockClosure, resolveTaken, type Addresses } from './closure.ts';
import { inOwnSettings, printingSettings } from './own-settings.ts';
import { arrayOf } from './tables.ts';
import { besideSql, binnedTablesSql, unbinnableSql } from './tombstone-queries.ts';

interface Found {
  readonly all: Addresses;
  readonly tables: string;
  readonly definition: Definition;
  readonly facts: DefinitionFacts;
  readonly searchPath: string;
}

/** `before` throws Failure where what goes cannot be kept, `after` where it would not come back. */
export function createTombstoneCapture(session: TransactionSession, taken: Taken, draft: Pick<RecoveryDraft, 'rows'>): Capture {
  const copying = createTablesCapture(session, taken, draft);
  let found: Found | undefined;
  return {
    before: async () => {
      found = taken.verb === 'drop' ? await look(session.query, taken) : undefined;
      if (found === undefined) return copying.before();
      await session.query('SAVEPOINT backstop_bin');
    },
    after: async (changedRows) => (found === undefined ? copying.after(changedRows) : setAside(session.query, found)),
  };
}

/** undefined: it cannot be set aside, and has to be copied. */
async function look(query: CatalogQuery, taken: Taken): Promise<Found | undefined> {
  await checkIsolation(query);
  const named = await resolveTaken(query, taken);
  return inOwnSettings(query, printingSettings, async (were) => {
    const { touched, all } = await lockClosure(query, taken, named);
    const tables = touched.filter(({ kind, isGone }) => (kind === 'r' || kind === 'p') && isGone).map(({ oid }) => oid);
    const [row] = await query(unbinnableSql, [...all, arrayOf(tables)]);
    if (tables.length === 0 || row?.[0] !== 'f') return undefined;
    return { all, tables: arrayOf(tables), definition: await readDefinition(query), facts: await readDefinitionFacts(query), searchPath: were['search_path'] ?? '' };
  });
}

async function setAside(query: CatalogQuery, found: Found): Promise<CapturedContents> {
  const change = await inOwnSettings(query, printingSettings, async (): Promise<Change> => {
    await checkForeseen(query, found.all[1]);
    return { before: found.definition, after: await readDefinition(query), factsBefore: found.facts, factsAfter: await readDefinitionFacts(query) };
  });
  await query('ROLLBACK TO backstop_bin');
  await query('RELEASE backstop_bin');
  return inOwnSettings(query, printingSettings, async () => {
    const bin = await moveAside(query, found);
    const seen = factDifferences(change.factsAfter, outsideBin(await readDefinitionFacts(query), bin));
    if (seen.length > 0) throw new Failure('feature_not_supported', `This cannot be put into the recycle bin, where it would not look as if it was dropped: ${namesOf(seen)}.`, { hint: 'Nothing was changed. Drop these by themselves first.' });
    const kept = keepDefinition(change, { rebuilt: [], emptied: [], sequences: [], strays: [], searchPath: found.searchPath, bin });
    await checkComesBack(query, kept, bin, change);
    return { tables: [], definition: writeKeptDefinition(kept), settings: printingSettings, ...await readPlace(query) };
  });
}

async function moveAside(query: CatalogQuery, { all, tables }: Found): Promise<RecycleBin> {
  const schema = `backstop_recycle_bin_${randomBytes(8).toString('hex')}`;
  const rows = await query(binnedTablesSql, [tables, schema]);
  for (const [drop] of await query(besideSql, [...all, tables])) await query(drop ?? '');
  await query(`CREATE SCHEMA ${schema}`);
  for (const [, name] of rows) await query(`ALTER TABLE ${name ?? ''} SET SCHEMA ${schema}`);
  return { schema, tables: rows.map(([home, name, inBin]) => ({ schema: home ?? '', name: name ?? '', inBin: inBin ?? '' })) };
}

async function checkComesBack(query: CatalogQuery, kept: KeptDefinition, bin: RecycleBin, { factsBefore }: Change): Promise<void> {
  assert(bin.tables.length > 0, 'something is in the recycle bin');
  const problem = await rehearse(query, kept, await readDefinition(query), factsBefore, emptyBin(bin));
  if (problem !== '') throw new Failure('feature_not_supported', `What this takes away could not be made again exactly: ${problem}.`, { hint: 'Nothing was changed. Take the parts away one by one, or ask an operator.' });
}
