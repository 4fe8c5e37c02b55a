/**
 * ReadBatch: the bounded buffer between SAFE reads and the ledger. A read enters when it is permitted and leaves in the
 * first batch after its outcome is known, or as `open` once it has run for long, so that the record also shows reads
 * that have not ended. When the buffer is full no further read is permitted.
 */
import type { EntryBody, OutcomeBody, ReadRow, ReadsBody } from '../core/ledger/entry.ts';
import type { Outcome } from '../core/outcome.ts';
import { assert } from '../lib/assert.ts';

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
/** Together these keep an entry below 64 KiB: a row takes about 150 bytes, a unit of text at most six as JSON. */
const readsPerEntryMax = 150;
const dictionaryBytesPerEntryMax = 36_000;
const textUnitsPerReadMax = 5_000;
const openAfterMs = 1_000;

export class ReadBatch {
  #waiting: PendingRead[] = [];
  #textUnits = 0;
  #settledLate: OutcomeBody[] = [];

  get isFull(): boolean { return this.#waiting.length + this.#settledLate.length >= readsMax || this.#textUnits >= textUnitsMax; }
  get size(): number { return this.#waiting.length + this.#settledLate.length; }

  /** Throws Bug for what the record could not hold, because in a batch it would keep out all others too. */
  add(given: Read, atMs: number): PendingRead {
    const read = { ...given, text: cut(given.text) };
    assert(Object.values(read).every((part) => part.isWellFormed()), 'a read has a name that is not well-formed Unicode');
    const pending: PendingRead = { read, atMs, outcome: undefined, isOpenOnRecord: false };
    this.#waiting.push(pending);
    this.#textUnits += read.text.length;
    return pending;
  }

  settle(pending: PendingRead, outcome: Outcome): void {
    checkOutcome(outcome);
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

/** Throws Bug for what has no canonical form. */
export function checkOutcome({ rows, durationMs, sqlstate }: Outcome): void {
  assert(rows === null || Number.isSafeInteger(rows), 'an outcome has a number of rows that is no safe integer');
  assert(Number.isSafeInteger(microseconds(durationMs)), 'an outcome has a duration that is no number of milliseconds');
  assert(sqlstate === undefined || sqlstate.isWellFormed(), 'an outcome has a SQLSTATE that is not well-formed Unicode');
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

function cut(text: string): string {
  return (text.length <= textUnitsPerReadMax ? text : `${text.slice(0, textUnitsPerReadMax - 1)}…`).toWellFormed();
}

/** Runs of one policy, each small enough for one entry. */
function chunk(reads: readonly PendingRead[]): readonly (readonly PendingRead[])[] {
  const chunks: PendingRead[][] = [];
  let listed = new Set<string>();
  let bytes = 0;
  for (const pending of reads) {
    const last = chunks.at(-1);
    const first = last?.[0]?.read;
    const more = newBytes(listed, pending.read);
    if (last === undefined || first?.policyHash !== pending.read.policyHash || last.length >= readsPerEntryMax || bytes + more > dictionaryBytesPerEntryMax) {
      chunks.push([pending]);
      listed = new Set();
      bytes = newBytes(listed, pending.read);
    } else {
      last.push(pending);
      bytes += more;
    }
  }
  return chunks;
}

/** What the dictionaries of an entry grow by; marks it as listed. */
function newBytes(listed: Set<string>, read: Read): number {
  const texts = [textKey(read), sessionKey(read)].filter((text) => !listed.has(text));
  for (const text of texts) listed.add(text);
  return texts.reduce((sum, text) => sum + Buffer.byteLength(JSON.stringify(text)) + dictionaryItemBytes, 0);
}

/** Keys, quotes and the fingerprint around a text or a session. */
const dictionaryItemBytes = 120;

function textKey(read: Read): string { return read.text; }
function sessionKey({ sessionId, agent, database }: Read): string { return `${sessionId}\0${agent}\0${database}`; }

function readsBody(reads: readonly PendingRead[]): ReadsBody {
  const sessions = new Dictionary<Read>(sessionKey);
  const texts = new Dictionary<Read>(textKey);
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
