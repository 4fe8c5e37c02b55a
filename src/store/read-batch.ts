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
  readonly actionId: string;
  readonly digest: string;
  readonly text: Listed<ReadText>;
  readonly session: Listed<ReadSession>;
  readonly policy: ReadPolicy;
  readonly atMs: number;
  outcome: Outcome | undefined;
  /** On record as `open`; its outcome needs an entry of its own. */
  isOpenOnRecord: boolean;
}

type ReadText = Pick<Read, 'fingerprint' | 'text'>;
type ReadSession = Pick<Read, 'sessionId' | 'agent' | 'database'>;
type ReadPolicy = Pick<Read, 'policyName' | 'policyHash'>;

/** What reads have in common and an entry lists once; the same object for all reads of one batch that share it. */
interface Listed<T> { readonly value: T; readonly bytes: number }

export const readsMax = 20_000;
/** Text kept in memory, whatever the number of reads. */
export const textUnitsMax = 16_000_000;
/** Together these keep an entry below 64 KiB: a row takes about 150 bytes, a unit of text at most six as JSON. */
const readsPerEntryMax = 150;
const dictionaryBytesPerEntryMax = 36_000;
const textUnitsPerReadMax = 5_000;
const openAfterMs = 1_000;

/** Known texts and sessions; beyond it all are forgotten, and entries then list some of them twice. */
const listedMax = 2_000;

export class ReadBatch {
  #waiting: PendingRead[] = [];
  #textUnits = 0;
  #settledLate: OutcomeBody[] = [];
  readonly #texts = new Map<string, Listed<ReadText>>();
  readonly #sessions = new Map<string, Listed<ReadSession>>();
  #policy: ReadPolicy = { policyName: '', policyHash: '' };

  get isFull(): boolean { return this.#waiting.length + this.#settledLate.length >= readsMax || this.#textUnits >= textUnitsMax; }
  get size(): number { return this.#waiting.length + this.#settledLate.length; }

  /** Throws Bug for what the record could not hold, because in a batch it would keep out all others too. */
  add(read: Read, atMs: number): PendingRead {
    checkText(read.actionId);
    checkText(read.digest);
    const pending: PendingRead = {
      actionId: read.actionId, digest: read.digest, text: this.#textOf(read), session: this.#sessionOf(read), policy: this.#policyOf(read),
      atMs, outcome: undefined, isOpenOnRecord: false,
    };
    this.#waiting.push(pending);
    this.#textUnits += pending.text.value.text.length;
    return pending;
  }

  #textOf({ text, fingerprint }: Read): Listed<ReadText> {
    const known = this.#texts.get(text);
    if (known !== undefined && known.value.fingerprint === fingerprint) return known;
    checkText(fingerprint);
    return list(this.#texts, text, { fingerprint, text: cut(text) });
  }

  #sessionOf({ sessionId, agent, database }: Read): Listed<ReadSession> {
    const known = this.#sessions.get(sessionId);
    if (known !== undefined && known.value.agent === agent && known.value.database === database) return known;
    for (const name of [sessionId, agent, database]) checkText(name);
    return list(this.#sessions, sessionId, { sessionId, agent, database });
  }

  #policyOf({ policyName, policyHash }: Read): ReadPolicy {
    const last = this.#policy;
    if (last.policyHash === policyHash && last.policyName === policyName) return last;
    for (const name of [policyName, policyHash]) checkText(name);
    return this.#policy = { policyName, policyHash };
  }

  settle(pending: PendingRead, outcome: Outcome): void {
    checkOutcome(outcome);
    pending.outcome = outcome;
    if (pending.isOpenOnRecord) this.#settledLate.push(outcomeBody(pending.actionId, outcome));
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
        this.#settledLate = [...late, ...this.#settledLate.filter((body) => !open.some((pending) => pending.actionId === body.actionId))];
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
    kind: 'outcome', actionId, outcome: outcome.kind, rows: outcome.rows, ...(outcome.elsewhere === undefined ? {} : { elsewhere: outcome.elsewhere }), sqlstate: outcome.sqlstate ?? null,
    durationUs: microseconds(outcome.durationMs), note,
  };
}

function microseconds(ms: number): number { return Math.max(0, Math.round(ms * 1000)); }

function unitsOf(reads: readonly PendingRead[]): number {
  let units = 0;
  for (const { text } of reads) units += text.value.text.length;
  return units;
}

function checkText(text: string): void {
  assert(text.isWellFormed(), 'a read has a name that is not well-formed Unicode');
}

function cut(text: string): string {
  return (text.length <= textUnitsPerReadMax ? text : `${text.slice(0, textUnitsPerReadMax - 1)}…`).toWellFormed();
}

function list<T extends object>(known: Map<string, Listed<T>>, key: string, value: T): Listed<T> {
  const listed = { value, bytes: Buffer.byteLength(JSON.stringify(value)) + 1 };
  if (known.size >= listedMax) known.clear();
  known.set(key, listed);
  return listed;
}

/** Runs of one policy, each small enough for one entry. */
function chunk(reads: readonly PendingRead[]): readonly (readonly PendingRead[])[] {
  const chunks: PendingRead[][] = [];
  let last: PendingRead[] = [];
  let listed = new Set<object>();
  let bytes = 0;
  for (const pending of reads) {
    const more = newBytes(listed, pending);
    if (last[0]?.policy.policyHash !== pending.policy.policyHash || last.length >= readsPerEntryMax || bytes + more > dictionaryBytesPerEntryMax) {
      chunks.push(last = [pending]);
      listed = new Set();
      bytes = newBytes(listed, pending);
    } else {
      last.push(pending);
      bytes += more;
    }
  }
  return chunks;
}

/** What the lists of an entry grow by; marks it as listed. */
function newBytes(listed: Set<object>, { text, session }: PendingRead): number {
  let bytes = 0;
  if (!listed.has(text)) bytes += text.bytes;
  if (!listed.has(session)) bytes += session.bytes;
  if (bytes > 0) listed.add(text).add(session);
  return bytes;
}

function readsBody(reads: readonly PendingRead[]): ReadsBody {
  const sessions = new Dictionary<ReadSession>();
  const texts = new Dictionary<ReadText>();
  let sinceMs = Infinity;
  for (const { atMs } of reads) sinceMs = Math.min(sinceMs, atMs);
  const { policyName = '', policyHash = '' } = reads[0]?.policy ?? {};
  return {
    kind: 'reads', since: new Date(sinceMs).toISOString(), policyName, policyHash,
    reads: reads.map(({ text, session, actionId, digest, atMs, outcome }): ReadRow => [
      sessions.indexOf(session), texts.indexOf(text), actionId, Math.round(atMs - sinceMs), digest,
      outcome?.kind ?? 'open', outcome?.rows ?? null, microseconds(outcome?.durationMs ?? 0), outcome?.sqlstate ?? null,
    ]),
    sessions: sessions.values, texts: texts.values,
  };
}

/** Each distinct value once. */
class Dictionary<T> {
  readonly values: T[] = [];
  readonly #places = new Map<Listed<T>, number>();

  indexOf(listed: Listed<T>): number {
    const known = this.#places.get(listed);
    if (known !== undefined) return known;
    this.#places.set(listed, this.values.length);
    this.values.push(listed.value);
    return this.values.length - 1;
  }
}
