/**
 * Recovery points, found and checked: by the record of the store, or by the bucket alone where there is no store any more.
 * A check reads every byte of a point again, and tells what is wrong with it without stopping at it.
 */
import { Failure } from '../core/failure.ts';
import { sizeOf, type KeptRows, type Manifest } from '../core/recovery/manifest.ts';
import type { RecoveryPointState, SealedPoint } from '../core/recovery/recovery-point.ts';
import type { StoredManifest } from '../remote/bucket/stored-packs.ts';
import type { RecoveryPoints } from '../store/recovery-points.ts';

export interface KnownPoint extends Pick<SealedPoint, 'id' | 'actions' | 'agent' | 'database' | 'scope' | 'method' | 'pack' | 'line' | 'rows' | 'bytes' | 'createdAt'> {
  /** null: the bucket alone does not know it. */
  readonly state: RecoveryPointState | null;
}

export interface PointFilter {
  readonly agent?: string;
  readonly states?: readonly RecoveryPointState[];
  /** ISO 8601, milliseconds, UTC; the first counts, the last does not. */
  readonly since?: string;
  readonly until?: string;
}

export interface PointCatalog {
  /** Newest first. */
  list(filter: PointFilter): AsyncIterable<KnownPoint>;
  /** By its own name or by that of an action, or how one of them begins; oldest first. Throws Failure `not_found`. */
  find(name: string): Promise<readonly KnownPoint[]>;
}

const pagePoints = 500;

export function recordedPoints(points: Pick<RecoveryPoints, 'list' | 'startingWith'>): PointCatalog {
  return {
    async *list(filter) {
      for (let before: string | undefined; ;) {
        const page = await points.list({ ...filter, limit: pagePoints, ...(before === undefined ? {} : { before }) });
        yield* page;
        before = page.at(-1)?.id;
        if (page.length < pagePoints) return;
      }
    },
    find: async (name) => foundSome(isName(name) ? await points.startingWith(name, pagePoints) : [], name),
  };
}

/** `onBroken`: of what cannot be listed. */
export function storedPoints(manifests: () => AsyncIterable<StoredManifest>, onBroken: (pack: string, failure: Failure) => void): PointCatalog {
  const all = async (isWanted: (point: KnownPoint) => boolean): Promise<readonly KnownPoint[]> => {
    const found: KnownPoint[] = [];
    for await (const stored of manifests()) {
      if (stored.kind === 'broken') {
        onBroken(stored.pack, stored.failure);
        continue;
      }
      const point = pointOf(stored.manifest, stored);
      if (isWanted(point)) found.push(point);
    }
    return found.sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  };
  return {
    async *list({ agent, since, until }) {
      const found = await all((point) => (agent === undefined || point.agent === agent) && (since === undefined || point.createdAt >= since) && (until === undefined || point.createdAt < until));
      yield* found.toReversed();
    },
    find: async (name) => foundSome(isName(name) ? await all(({ id, actions }) => [id, ...actions].some((one) => one.startsWith(name))) : [], name),
  };
}

function pointOf(manifest: Manifest, { pack, line }: { readonly pack: string; readonly line: string }): KnownPoint {
  const { id, actions, agent, database, coverage: { scope }, method, createdAt } = manifest;
  return { id, state: null, actions, agent, database, scope, method, pack, line, ...sizeOf(manifest), createdAt };
}

function isName(text: string): boolean { return /^(?:act|rp)_[0-9a-z]+$/.test(text); }

/** Whoever is named in full is meant alone, though the names of others begin so. */
function foundSome(found: readonly KnownPoint[], name: string): readonly KnownPoint[] {
  const exact = found.filter(({ id, actions }) => id === name || actions.includes(name));
  if (exact.length > 0) return exact;
  if (found.length > 0) return found;
  throw new Failure('not_found', `there is no recovery point of ${name}`, { hint: 'An action that destroyed nothing has none. `backstop snapshots list` shows those that there are.' });
}

export interface Reading {
  /** Throws Failure. */
  readonly manifest: (point: Pick<KnownPoint, 'pack' | 'line'>) => Promise<Manifest>;
  readonly rows: (rows: KeptRows) => AsyncIterable<Buffer>;
}

export interface PointCheck {
  readonly id: string;
  readonly rows: number;
  /** Of COPY text, read again. */
  readonly bytes: number;
  /** null: it is whole. */
  readonly broken: string | null;
}

/** Every object hashed again, each table's rows too, and the manifest compared with the record. Throws Failure where nothing can be told: the bucket does not answer, or the key is missing. */
export async function checkPoint(reading: Reading, point: KnownPoint): Promise<PointCheck> {
  try {
    const manifest = await reading.manifest(point);
    const unlike = differenceOf(point, manifest);
    if (unlike !== undefined) return { id: point.id, rows: 0, bytes: 0, broken: unlike };
    for (const { before, after, content } of manifest.tables) {
      for (const kept of [before, after, content]) {
        if (kept !== undefined) await readThrough(reading.rows(kept));
      }
    }
    return { id: point.id, ...sizeOf(manifest), broken: null };
  } catch (error) {
    if (!(error instanceof Failure) || !tells.has(error.code)) throw error;
    return { id: point.id, rows: 0, bytes: 0, broken: error.message };
  }
}

const tells: ReadonlySet<string> = new Set(['recovery_point_broken', 'not_found', 'data_version']);

async function readThrough(rows: AsyncIterable<Buffer>): Promise<void> {
  const pieces = rows[Symbol.asyncIterator]();
  while ((await pieces.next()).done !== true);
}

function differenceOf(point: KnownPoint, manifest: Manifest): string | undefined {
  const { rows, bytes } = sizeOf(manifest);
  const same: readonly (readonly [what: string, recorded: unknown, kept: unknown])[] = [
    ['name', point.id, manifest.id], ['agent', point.agent, manifest.agent], ['database', point.database, manifest.database], ['actions', point.actions.join(), manifest.actions.join()],
    ['number of rows', point.rows, rows], ['size', point.bytes, bytes], ['time', point.createdAt, manifest.createdAt],
  ];
  const found = same.find(([, recorded, kept]) => recorded !== kept);
  return found === undefined ? undefined : `its manifest has another ${found[0]} than the record`;
}
