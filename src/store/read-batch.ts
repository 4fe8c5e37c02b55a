/**
 * ReadBatch: the bounded buffer between SAFE reads and the ledger. A read enters when it is permitted and leaves in the
 * first batch after its outcome is known, or as `open` once it has run for long, so that the record also shows reads
 * that have not ended. When the buffer is full no further read is permitted.
 */
import type { EntryBody, OutcomeBody, ReadRow, ReadsBody } from '../core/ledger/entry.ts';
import type { Outcome } from '../core/outcome.ts';

export interface Read {
  readonly actionId: string;
  readonly sessionId: string;
  readonly agent: string;
  readonly database: string;
  readonly digest: string;
  readonly fingerprint: string;
  readonly text: string;
  readonly policyName: string;
  readonly policyHash: string;
}

export interface PendingRead {
  readonly read: Read;
  readonly atMs: number;
  outcome: Outcome | undefined;
  /** On record as `open`; its outcome needs an entry of its own. */
  isOpenOnRecord: boolean;
}

export const readsMax = 20_000;
/** Text kept in memory, whatever the number of reads. */
export const textUnitsMax = 16_000_000;
/** An entry stays well below 64 KiB. */
const readsPerEntryMax = 200;
const textUnitsPerEntryMax = 32_000;
const openAfterMs = 1_000;

export class ReadBatch {
  #waiting: PendingRead[] = [];
  #textUnits = 0;
  #settledLate: OutcomeBody[] = [];

  get isFull(): boolean { return this.#waiting.length + this.#settledLate.length >= readsMax || this.#textUnits >= textUnitsMax; }
  get size(): number { return this.#waiting.length + this.#settledLate.length; }

  add(read: Read, atMs: number): PendingRead {
    const pending: PendingRead = { read, atMs, outcome: undefined, isOpenOnRecord: false };
    this.#waiting.push(pending);
    this.#textUnits += read.text.length;
    return pending;
  }

  settle(pending: PendingRead, outcome: Outcome): void {
    pending.outcome = outcome;
    if (pending.isOpenOnRecord) this.#settledLate.push(outcomeBody(pending.read.actionId, outcome));
  }

  /** An outcome whose own write failed: written with the next batch. */
  keepOutcome(body: EntryBody): void {
    if (body.kind === 'outcome') this.#settledLate.push(body);
  }

  /** Takes out what can be written now; `restore` puts it back when the write failed. `all` takes the running ones too. */
  take(nowMs: number, all: boolean): TakenReads {
    const isReady = (pending: PendingRead): boolean => all || pending.outcome !== undefined || nowMs - pending.atMs >= openAfterMs;
    const taken = this.#waiting.filter(isReady);
    const late = this.#settledLate;
    this.#waiting = taken.length === this.#waiting.length ? [] : this.#waiting.filter((pending) => !isReady(pending));
    this.#settledLate = [];
    this.#textUnits -= unitsOf(taken);
    const open = taken.filter((pending) => pending.outcome === undefined);
    // Marked before the write, so that an outcome that comes during the write is not lost.
    for (const pending of open) pending.isOpenOnRecord = true;
    return {
      reads: chunk(taken).map(readsBody), late, open,
      restore: () => {
        this.#waiting = [...taken, ...this.#waiting];
        this.#textUnits += unitsOf(taken);
        this.#settledLate = [...late, ...this.#settledLate.filter((body) => !open.some((pending) => pending.read.actionId === body.actionId))];
        for (const pending of open) pending.isOpenOnRecord = false;
      },
    };
  }
}

export interface TakenReads {
  readonly reads: readonly ReadsBody[];
  /** Outcomes of reads that are on record as open. */
  readonly late: readonly OutcomeBody[];
  readonly open: readonly PendingRead[];
  readonly restore: () => void;
}

export function outcomeBody(actionId: string, outcome: Outcome, note: string | null = null): OutcomeBody {
  return {
    kind: 'outcome', actionId, outcome: outcome.kind, rows: outcome.rows, sqlstate: outcome.sqlstate ?? null,
    durationUs: microseconds(outcome.durationMs), note,
  };
}

function microseconds(ms: number): number { return Math.max(0, Math.round(ms * 1000)); }

function unitsOf(reads: readonly PendingRead[]): number {
  return reads.reduce((sum, { read }) => sum + read.text.length, 0);
}

/** Runs of one policy, each small enough for one entry. */
function chunk(reads: readonly PendingRead[]): readonly (readonly PendingRead[])[] {
  const chunks: PendingRead[][] = [];
  let units = 0;
  for (const pending of reads) {
    const last = chunks.at(-1);
    units += pending.read.text.length;
    const first = last?.[0]?.read;
    if (last === undefined || first?.policyHash !== pending.read.policyHash || last.length >= readsPerEntryMax || units > textUnitsPerEntryMax) {
      chunks.push([pending]);
      units = pending.read.text.length;
    } else {
      last.push(pending);
    }
  }
  return chunks;
}

function readsBody(reads: readonly PendingRead[]): ReadsBody {
  const sessions = new Dictionary<Read>((read) => `${read.sessionId}\0${read.database}`);
  const texts = new Dictionary<Read>((read) => read.text);
  const sinceMs = Math.min(...reads.map((pending) => pending.atMs));
  const [first] = reads;
  return {
    kind: 'reads', since: new Date(sinceMs).toISOString(), policyName: first?.read.policyName ?? '', policyHash: first?.read.policyHash ?? '',
    reads: reads.map(({ read, atMs, outcome }): ReadRow => [
      sessions.indexOf(read), texts.indexOf(read), read.actionId, Math.round(atMs - sinceMs), read.digest,
      outcome?.kind ?? 'open', outcome?.rows ?? null, microseconds(outcome?.durationMs ?? 0), outcome?.sqlstate ?? null,
    ]),
    sessions: sessions.values.map(({ sessionId, agent, database }) => ({ sessionId, agent, database })),
    texts: texts.values.map(({ fingerprint, text }) => ({ fingerprint, text })),
  };
}

/** Each distinct value once, by its key. */
class Dictionary<T> {
  readonly values: T[] = [];
  readonly #places = new Map<string, number>();
  readonly #keyOf: (value: T) => string;

  constructor(keyOf: (value: T) => string) { this.#keyOf = keyOf; }

  indexOf(value: T): number {
    const key = this.#keyOf(value);
    const known = this.#places.get(key);
    if (known !== undefined) return known;
    this.#places.set(key, this.values.length);
    this.values.push(value);
    return this.values.length - 1;
  }
}
