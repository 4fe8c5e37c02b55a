/**
 * Recovery points for those who look after them, joined: what the store has on record, or what a bucket holds by itself, and
 * the bucket with what opens its objects. The bucket is opened when it is needed; a list of the record needs none.
 */
import type { Config, RecoveryConfig } from '../config.ts';
import { Failure } from '../core/failure.ts';
import type { ExportFormat } from '../core/recovery/export-format.ts';
import { readManifest, type Manifest, type ServerIdentity } from '../core/recovery/manifest.ts';
import { chooseRows, exportRows, type ChosenRows, type RowsWish } from '../flow/export-rows.ts';
import { findExpired, findOrphans, purge, removeOrphans, type Expired, type OrphanDeps, type Orphans, type PurgeDeps, type Purged, type PurgedPoints } from '../flow/purge.ts';
import { checkPoint, recordedPoints, storedPoints, type KnownPoint, type PointCatalog, type PointCheck, type Reading } from '../flow/snapshots.ts';
import { asObjectName, type Bucket } from '../remote/bucket/bucket.ts';
import { listStoredManifests } from '../remote/bucket/stored-packs.ts';
import { readObject, readStoredManifest, readStoredRows, type StoredIn } from '../remote/bucket/stored-point.ts';
import { embeddedUpstream } from '../remote/embedded-postgres.ts';
import { readPlace } from '../remote/postgres/capture/capture.ts';
import { connectLink } from '../remote/postgres/link.ts';
import { parseConnectionString, type LinkTarget } from '../remote/postgres/link-target.ts';
import { purgeStatements } from '../remote/postgres/restore/restore-tables.ts';
import { ServerError } from '../remote/postgres/server-error.ts';
import { sessionOf } from '../remote/postgres/transaction-session.ts';
import { createPurgeRecord } from '../store/purge-record.ts';
import type { Memory } from './memory.ts';
import { openerOf, openStorage } from './storage.ts';

export interface Snapshots {
  readonly catalog: PointCatalog;
  /** Throws Failure, as `readStoredManifest` does. */
  manifest(point: KnownPoint): Promise<Manifest>;
  /** Throws Failure where nothing can be told. */
  check(point: KnownPoint): Promise<PointCheck>;
  /** What was written. Throws Failure, with a part written. */
  export(point: KnownPoint, wish: ExportWish, write: (bytes: Buffer) => Promise<void>): Promise<ChosenRows>;
  close(): Promise<void>;
}

export interface ExportWish extends RowsWish {
  readonly format: ExportFormat;
  readonly createdBy: string;
}

/** What a purge is told, and by whom: an operator's token. */
export interface PurgeWish { readonly until: string; readonly days: number; readonly token: string }

export interface Purging {
  expired(until: string): Promise<Expired>;
  /** Throws Failure `not_permitted`, or as `purge` does. */
  purge(wish: PurgeWish): Promise<PurgedPoints>;
  orphans(now: Date): Promise<Orphans>;
  /** Throws Failure `not_permitted`. */
  removeOrphans(orphans: Orphans, token: string): Promise<Pick<Purged, 'objects' | 'locked' | 'lockedCount'>>;
  close(): Promise<void>;
}

/** Without a memory by the bucket alone. `onBroken` hears of packs that cannot be listed. Throws Failure `config_invalid`. */
export async function openSnapshots(config: RecoveryConfig, memory: Memory | undefined, onBroken: (pack: string, failure: Failure) => void): Promise<Snapshots> {
  const { stored, close } = await openStored(config);
  const reading: Reading = {
    manifest: async (point) => readStoredManifest(await stored(), point),
    rows: async function* rows(kept) { yield* readStoredRows(await stored(), kept); },
  };
  return {
    catalog: memory === undefined ? storedPoints(async function* listed() { yield* listStoredManifests(await stored()); }, onBroken) : recordedPoints(memory.recoveryPoints),
    manifest: (point) => reading.manifest(point),
    check: (point) => checkPoint(reading, point),
    export: async (point, { format, createdBy, ...wish }, write) => {
      const chosen = chooseRows(await reading.manifest(point), wish);
      await exportRows({ read: reading.rows, write, createdBy }, chosen, format);
      return chosen;
    },
    close,
  };
}

/** Throws Failure `config_invalid`. */
export async function openPurging({ recovery, upstream, dataDir }: Pick<Config, 'recovery' | 'upstream' | 'dataDir'>, { recoveryPoints: points, database, ledger, identities }: Memory): Promise<Purging> {
  const { stored, close } = await openStored(recovery);
  const record = createPurgeRecord({ database });
  const remove = async (text: string): Promise<void> => {
    const name = asObjectName(text);
    if (name === undefined) throw new Failure('recovery_point_broken', 'a recovery point names an object that is none');
    await (await stored()).bucket.remove(name);
  };
  const emptyBin: PurgeDeps['emptyBin'] = async (point) => {
    const { definition, server } = await readStoredManifest(await stored(), point);
    const statements = purgeStatements(definition);
    if (statements.length > 0) await runOn(server, { target: parseConnectionString((upstream ?? embeddedUpstream(dataDir)).reveal()), database: point.database }, statements);
  };
  const deps: PurgeDeps = { points, record, bucket: { remove }, emptyBin };
  const orphanDeps = async (): Promise<OrphanDeps> => {
    const from = await stored();
    return { points, record, bucket: { place: from.bucket.place, list: (kind) => from.bucket.list(kind), remove }, sessionsIn: (pack) => sessionsIn(from, pack) };
  };
  return {
    expired: (until) => findExpired(deps, until),
    purge: async ({ until, days, token }) => purge(deps, { until, by: await identities.authenticateOperator(token), note: `older than ${days} days` }),
    orphans: async (now) => findOrphans(await orphanDeps(), now),
    removeOrphans: async (orphans, token) => {
      const by = await identities.authenticateOperator(token);
      const from = await orphanDeps();
      await ledger.append({ kind: 'admin', what: 'orphans-purged', by, subject: from.bucket.place, note: `${orphans.names.length} objects that no record names` });
      return removeOrphans(from, orphans);
    },
    close,
  };
}

/** On that server and no other. Throws Failure. */
async function runOn({ systemId }: ServerIdentity, { target, database }: { readonly target: LinkTarget; readonly database: string }, statements: readonly string[]): Promise<void> {
  const link = await connectLink(target, { database, parameters: new Map([['application_name', 'backstop purge']]) });
  try {
    const { query } = sessionOf(link);
    const { server } = await readPlace(query);
    if (server.systemId !== systemId) throw new Failure('conflict', 'the server is not the one on which its tables were set aside');
    for (const sql of statements) await query(sql);
  } catch (error) {
    throw error instanceof ServerError ? new Failure('conflict', `the server did not drop what was set aside there (${error.code}: ${error.message})`, { cause: error }) : error;
  } finally {
    await link.end();
  }
}

interface Stored {
  readonly stored: () => Promise<StoredIn & { readonly bucket: Bucket }>;
  readonly close: () => Promise<void>;
}

async function openStored(config: RecoveryConfig): Promise<Stored> {
  const opener = await openerOf(config);
  let bucket: Promise<Bucket> | undefined;
  return {
    stored: async () => ({ opener, bucket: await (bucket ??= openStorage(config, { isThere: true })) }),
    close: async () => { await (await bucket?.catch(() => undefined))?.close(); },
  };
}

/** A crash of the machine may leave a pack that is cut short; nobody's recovery point is in that. Throws Failure. */
async function sessionsIn(from: StoredIn, pack: string): Promise<readonly string[]> {
  try {
    return (await readObject(from, pack)).toString().trimEnd().split('\n').map((line) => readManifest(line).sessionId);
  } catch (error) {
    if (error instanceof Failure && (error.code === 'recovery_point_broken' || error.code === 'not_found')) return [];
    throw error;
  }
}
