/**
 * Outcome: what really happened to a permitted action. `committed` and `rolled-back` speak of the transaction's fate,
 * not of the command tag; `failed` is the server's own error; `unknown` is what a crash or a lost answer leaves.
 */
export interface Outcome {
  readonly kind: 'committed' | 'rolled-back' | 'failed' | 'unknown';
  /** Rows from the command tags; null when no tag named a number. */
  readonly rows: number | null;
  /** Rows changed through foreign keys, triggers and functions, where that was measured. */
  readonly elsewhere?: number;
  readonly sqlstate?: string;
  readonly durationMs: number;
}
