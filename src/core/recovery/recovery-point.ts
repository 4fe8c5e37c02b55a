/**
 * Recovery point: what is on record of one, beside the manifest that lies in the bucket. It is `sealed` when all of it has
 * been read back, before its transaction may commit, and takes that transaction's fate; `unknown` is what a crash or a
 * lost answer leaves. One that was committed can be undone, once; whatever has served its time is purged.
 */
import type { Recoverability } from '../risk.ts';
import { chunksOf, sizeOf, type CaptureMethod, type Manifest } from './manifest.ts';

export const recoveryPointStates = ['sealed', 'committed', 'discarded', 'unknown', 'undone', 'purged'] as const;
export type RecoveryPointState = (typeof recoveryPointStates)[number];

/**
 * Which state may follow which. `unknown` is settled by asking the server, or never; what was undone counts again once the
 * undo has been undone itself; nothing is purged while its transaction runs, and nothing comes after that.
 */
const next: Readonly<Record<RecoveryPointState, readonly RecoveryPointState[]>> = {
  sealed: ['committed', 'discarded', 'unknown'],
  unknown: ['committed', 'discarded', 'undone', 'purged'],
  committed: ['undone', 'purged'],
  undone: ['committed', 'purged'],
  discarded: ['purged'],
  purged: [],
};

export function mayBecome(from: RecoveryPointState, to: RecoveryPointState): boolean { return next[from].includes(to); }

/** What became of the transaction that changed what is kept. */
export type TransactionFate = 'committed' | 'discarded' | 'unknown';

/** As it is when its manifest has been read back. */
export interface SealedPoint {
  readonly id: string;
  readonly actions: readonly string[];
  readonly agent: string;
  readonly sessionId: string;
  readonly database: string;
  readonly scope: Recoverability;
  readonly method: CaptureMethod;
  /** Where its manifest lies: the object, and the SHA-256 of its line, hex. */
  readonly pack: string;
  readonly line: string;
  /** The other objects that it needs. */
  readonly chunks: readonly string[];
  /** Of all its images together; `bytes` of COPY text. */
  readonly rows: number;
  readonly bytes: number;
  /** The server and the transaction on it, decimal: what is asked when nobody heard the answer to COMMIT. */
  readonly systemId: string;
  readonly timeline: number;
  readonly xid: string;
  /** The points that its action undoes, when it is an undo: once this one is committed they are undone. */
  readonly undoes: readonly string[];
  /** ISO 8601, milliseconds, UTC. */
  readonly createdAt: string;
}

/** As the store knows it; the manifest knows the chunks. */
export interface RecoveryPointOnRecord extends Omit<SealedPoint, 'chunks'> {
  readonly state: RecoveryPointState;
  /** When it came into that state. */
  readonly changedAt: string;
}

/** Of a manifest that lies there. `undoes`: the points that its action undoes. */
export function pointOf(manifest: Manifest, { pack, line }: Pick<SealedPoint, 'pack' | 'line'>, undoes: readonly string[] = []): SealedPoint {
  const { id, actions, agent, sessionId, database, coverage: { scope }, method, server: { systemId, timeline }, xid, createdAt } = manifest;
  return { id, actions, agent, sessionId, database, scope, method, pack, line, chunks: chunksOf(manifest).map(({ name }) => name), ...sizeOf(manifest), systemId, timeline, xid, undoes, createdAt };
}
