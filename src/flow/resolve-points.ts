/**
 * Resolving recovery points: what a crash, or a lost answer to COMMIT, left `unknown` is asked of the server, which remembers.
 * Whatever it cannot tell stays unknown, and may be undone all the same, because an undo compares rows.
 */
import { Failure } from '../core/failure.ts';
import type { RecoveryPointOnRecord, TransactionFate } from '../core/recovery/recovery-point.ts';
import type { RecoveryPoints } from '../store/recovery-points.ts';

export interface ResolvePointsDeps {
  readonly points: Pick<RecoveryPoints, 'get' | 'list' | 'change'>;
  /** Throws Failure when the server cannot be reached. */
  readonly connect: () => Promise<Witness>;
}

/** A connection to the guarded server. */
export interface Witness {
  fateOf(point: RecoveryPointOnRecord): Promise<TransactionFate | 'not-yet'>;
  end(): Promise<void>;
}

export interface PointResolver {
  /** Of all that are unknown, each until the server has said that it cannot tell; how many it could. Throws what asking threw. */
  resolveAll(): Promise<number>;
  /** As it is now: asked first if it is unknown, or if nobody has written its end yet, who may be gone. Throws what asking threw. */
  resolve(point: RecoveryPointOnRecord): Promise<RecoveryPointOnRecord>;
}

const pagePoints = 500;
/** Of points that the server cannot tell of; with more, some are asked of again. */
const hopelessMax = 10_000;

export function createPointResolver({ points, connect }: ResolvePointsDeps): PointResolver {
  const hopeless = new Set<string>();
  const settle = async (witness: Witness, point: RecoveryPointOnRecord): Promise<boolean> => {
    const fate = await witness.fateOf(point);
    if (fate === 'unknown' && hopeless.size < hopelessMax) hopeless.add(point.id);
    if (fate === 'unknown' || fate === 'not-yet') return false;
    await points.change([point.id], fate, { by: 'backstop', note: 'the server says so' }).catch((error: unknown) => {
      // Somebody else has found it out, or undone it, meanwhile.
      if (!(error instanceof Failure && error.code === 'conflict')) throw error;
    });
    return true;
  };
  return {
    resolveAll: async () => {
      const unknown = (await allUnknown(points)).filter(({ id }) => !hopeless.has(id));
      return unknown.length === 0 ? 0 : withWitness(connect, async (witness) => {
        let resolved = 0;
        for (const point of unknown) if (await settle(witness, point)) resolved += 1;
        return resolved;
      });
    },
    resolve: async (point) => {
      if (point.state !== 'unknown' && point.state !== 'sealed') return point;
      await withWitness(connect, (witness) => settle(witness, point));
      return points.get(point.id);
    },
  };
}

async function allUnknown(points: Pick<RecoveryPoints, 'list'>): Promise<readonly RecoveryPointOnRecord[]> {
  const unknown: RecoveryPointOnRecord[] = [];
  for (;;) {
    const before = unknown.at(-1)?.id;
    const page = await points.list({ states: ['unknown'], limit: pagePoints, ...(before === undefined ? {} : { before }) });
    unknown.push(...page);
    if (page.length < pagePoints) return unknown;
  }
}

async function withWitness<T>(connect: ResolvePointsDeps['connect'], work: (witness: Witness) => Promise<T>): Promise<T> {
  const witness = await connect();
  try {
    return await work(witness);
  } finally {
    await witness.end();
  }
}
