/**
 * Recovery point: what is on record of one, beside the manifest that lies in the bucket. It is `sealed` when all of it has
 * been read back, before its transaction may commit, and takes that transaction's fate; `unknown` is what a crash or a
 * lost answer leaves. One that was committed can be undone, once; whatever has served its time is purged.
 */
import type { Recoverability } from '../risk.ts';
import type { CaptureMethod } from './manifest.ts';

const recoveryPointStates = ['sealed', 'committed', 'discarded', 'unknown', 'undone', 'purged'] as const;
export type RecoveryPointState = (typeof recoveryPointStates)[number];

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
  readonly xid: string;
  /** ISO 8601, milliseconds, UTC. */
  readonly createdAt: string;
}
