/**
 * Recovery points for those who look after them, joined: what the store has on record, or what a bucket holds by itself, and
 * the bucket with what opens its objects. The bucket is opened when it is needed; a list of the record needs none.
 */
import type { RecoveryConfig } from '../config.ts';
import { Failure } from '../core/failure.ts';
import type { ExportFormat } from '../core/recovery/export-format.ts';
import { readManifest, type Manifest } from '../core/recovery/manifest.ts';
import { chooseRows, exportRows, type ChosenRows, type RowsWish } from '../flow/export-rows.ts';
import { findExpired, findOrphans, purge, removeOrphans, type Expired, type OrphanDeps, type Orphans, type PurgeDeps, type Purged } from '../flow/purge.ts';
import { checkPoint, recordedPoints, storedPoints, type KnownPoint, type PointCatalog, type PointCheck, type Reading } from '../flow/snapshots.ts';
import { asObjectName, type Bucket } from '../remote/bucket/bucket.ts';
import { listStoredManifests } from '../remote/bucket/stored-packs.ts';
import { readObject, readStoredManifest, readStoredRows, type StoredIn } from '../remote/bucket/stored-point.ts';
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
  purge(wish: PurgeWish): Promise<Purged>;
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
export async function openPurging(config: RecoveryConfig, { recoveryPoints: points, database, ledger, identities }: Memory): Promise<Purging> {
  const { stored, close } = await openStored(config);
  const record = createPurgeRecord({ database });
  const remove = async (text: string): Promise<void> => {
    const name = asObjectName(text);
    if (name === undefined) throw new Failure('recovery_point_broken', 'a recovery point names an object that is none');
    await (await stored()).bucket.remove(name);
  };
  const deps: PurgeDeps = { points, record, bucket: { remove } };
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

async function sessionsIn(from: StoredIn, pack: string): Promise<readonly string[]> {
  return (await readObject(from, pack)).toString().trimEnd().split('\n').map((line) => readManifest(line).sessionId);
}
