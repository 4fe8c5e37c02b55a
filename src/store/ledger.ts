/**
 * Ledger: the append-only record, and the only issuer of permits. A permit for anything but a SAFE read exists only
 * after its verdict is on disk; permits asked for at the same time share one transaction. SAFE reads get theirs at once
 * and are written in batches from a bounded buffer. When the record cannot be written nothing risky gets a permit, and
 * reads stop once the buffer is full. Whatever is still without an outcome at start-up is settled as `unknown`.
 */
import type { EntryBody, OutcomeBody, StoredEntry, VerdictBody } from '../core/ledger/entry.ts';
import type { Head } from '../core/ledger/entry.ts';
import { Failure } from '../core/failure.ts';
import type { Outcome } from '../core/outcome.ts';
import type { Clock } from '../lib/clock.ts';
import type { StoreDatabase } from './database.ts';
import { appendEntries, readHead } from './ledger-append.ts';
import { entriesAfter, verifyLedger, type Verification } from './ledger-verify.ts';
import { outcomeBody, ReadBatch, type PendingRead, type Read } from './read-batch.ts';

declare const permitBrand: unique symbol;

/** Proof that the verdict is on record (or, for a SAFE read, in the bounded buffer on its way there). */
export interface Permit {
  readonly [permitBrand]: true;
  readonly actionId: string;
}

export interface Ledger {
  /** Resolves once the verdict is on disk. Throws Failure `ledger_unavailable`. */
  issue(verdict: VerdictBody): Promise<Permit>;
  /** For SAFE reads only. Throws Failure `ledger_unavailable` when the buffer is full. */
  issueRead(read: Read): Permit;
  /** What became of a permit; the first answer counts. Rejects when it could not be written; it is written later if the store comes back. */
  settle(permit: Permit, outcome: Outcome): Promise<void>;
  /** An entry that permits nothing: a refusal, a connection, an administrative act. Durable when it resolves. */
  append(body: EntryBody): Promise<void>;
  /** Settles what an earlier run left open; call it before the first permit. Returns how many. */
  resolveOpenPermits(): Promise<number>;
  entriesAfter(seq: number, limit: number): Promise<readonly StoredEntry[]>;
  head(): Promise<Head>;
  /** The first broken entry, or undefined and how many were read. */
  verify(onProgress?: (seq: number) => void): Promise<Verification>;
  /** undefined: the last write succeeded. */
  readonly fault: Error | undefined;
  /** Reads that wait to be written. */
  readonly waitingReads: number;
  /** Writes what is left; permits still open stay open on record. */
  close(): Promise<void>;
}

export interface LedgerDeps { readonly database: StoreDatabase; readonly clock: Clock }

interface Job {
  readonly body: EntryBody;
  /** Opens or closes a permit beside the entry. */
  readonly permit: { readonly kind: 'open' | 'close'; readonly actionId: string } | undefined;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

const flushEveryMs = 50;
const jobsPerWriteMax = 1_000;
/** Risky verdicts that wait for one write; more means that the store is far behind. */
const jobsMax = 10_000;

export function createLedger(deps: LedgerDeps): Ledger {
  return new SqlLedger(deps);
}

class SqlLedger implements Ledger {
  readonly #database: StoreDatabase;
  readonly #clock: Clock;
  readonly #reads = new ReadBatch();
  readonly #running = new Map<string, PendingRead>();
  readonly #open = new Set<string>();
  #jobs: Job[] = [];
  #writing: Promise<void> | undefined;
  #fault: Error | undefined;
  readonly #timer: NodeJS.Timeout;

  constructor({ database, clock }: LedgerDeps) {
    this.#database = database;
    this.#clock = clock;
    this.#timer = setInterval(() => { if (this.#reads.size > 0) this.#write(); }, flushEveryMs);
    this.#timer.unref();
  }

  get fault(): Error | undefined { return this.#fault; }
  get waitingReads(): number { return this.#reads.size; }

  async issue(verdict: VerdictBody): Promise<Permit> {
    if (verdict.decision !== 'allow') throw new Failure('internal', 'a permit was asked for what was not allowed');
    await this.#enqueue(verdict, { kind: 'open', actionId: verdict.actionId });
    this.#open.add(verdict.actionId);
    return permit(verdict.actionId);
  }

  issueRead(read: Read): Permit {
    if (this.#reads.isFull) throw unavailable(this.#fault);
    this.#running.set(read.actionId, this.#reads.add(read, this.#clock.now().getTime()));
    return permit(read.actionId);
  }

  async settle({ actionId }: Permit, outcome: Outcome): Promise<void> {
    const read = this.#running.get(actionId);
    if (read !== undefined) {
      this.#running.delete(actionId);
      this.#reads.settle(read, outcome);
      return;
    }
    if (!this.#open.delete(actionId)) return;
    await this.#enqueue(outcomeBody(actionId, outcome), { kind: 'close', actionId });
  }

  append(body: EntryBody): Promise<void> { return this.#enqueue(body, undefined); }

  async resolveOpenPermits(): Promise<number> {
    const left = await this.#database.queries.selectFrom('open_permit').select('action_id').orderBy('verdict_seq').execute();
    const unknown: Outcome = { kind: 'unknown', rows: null, durationMs: 0 };
    await Promise.all(left.map(({ action_id: actionId }) =>
      this.#enqueue(outcomeBody(actionId, unknown, 'found without an outcome at start-up'), { kind: 'close', actionId })));
    return left.length;
  }

  entriesAfter(seq: number, limit: number): Promise<readonly StoredEntry[]> {
    return entriesAfter(this.#database.queries, seq, limit);
  }

  head(): Promise<Head> { return readHead(this.#database.queries); }

  verify(onProgress: (seq: number) => void = () => undefined): Promise<Verification> {
    return verifyLedger(this.#database.queries, onProgress);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    while (this.#writing !== undefined) await this.#writing;
    await this.#writeBatch(true);
  }

  #enqueue(body: EntryBody, change: Job['permit']): Promise<void> {
    if (this.#jobs.length >= jobsMax) return Promise.reject(unavailable(this.#fault));
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#jobs.push({ body, permit: change, resolve, reject });
    this.#write();
    return promise;
  }

  /** One writer at a time; whatever comes while it writes goes into the next transaction together. */
  #write(): void {
    if (this.#writing !== undefined) return;
    this.#writing = this.#writeBatch(false).finally(() => {
      this.#writing = undefined;
      if (this.#jobs.length > 0) this.#write();
    });
  }

  async #writeBatch(all: boolean): Promise<void> {
    // A turn of the loop lets concurrent callers join.
    await Promise.resolve();
    const jobs = this.#jobs.splice(0, jobsPerWriteMax);
    const taken = this.#reads.take(this.#clock.now().getTime(), all);
    const bodies: EntryBody[] = [...taken.reads, ...taken.late, ...jobs.map((job) => job.body)];
    if (bodies.length === 0) return;
    const opened = [...taken.open.map(({ read }) => read.actionId), ...actionIds(jobs, 'open')];
    const closed = [...taken.late.map((body: OutcomeBody) => body.actionId), ...actionIds(jobs, 'close')];
    const transact = jobs.length > 0 ? this.#database.transact : this.#database.transactRelaxed;
    try {
      await transact(async (changes) => {
        const seqs = await appendEntries(changes, this.#clock.now(), bodies);
        const verdictSeq = seqs.at(-1) ?? 0;
        for (const actionId of opened) await changes.insertInto('open_permit').values({ action_id: actionId, verdict_seq: verdictSeq }).execute();
        for (const actionId of closed) await changes.deleteFrom('open_permit').where('action_id', '=', actionId).execute();
      });
      this.#fault = undefined;
      for (const job of jobs) job.resolve();
    } catch (error) {
      this.#failed(jobs, taken.restore, error);
    }
  }

  #failed(jobs: readonly Job[], restore: () => void, error: unknown): void {
    restore();
    this.#fault = error instanceof Error ? error : new Error('the record could not be written');
    for (const job of jobs) {
      // An outcome is a fact already: it is kept for the next write, so that no permit stays open for want of one.
      if (job.permit?.kind === 'close') this.#reads.keepOutcome(job.body);
      job.reject(unavailable(this.#fault));
    }
  }
}

function actionIds(jobs: readonly Job[], kind: 'open' | 'close'): readonly string[] {
  return jobs.flatMap((job) => job.permit?.kind === kind ? [job.permit.actionId] : []);
}

function permit(actionId: string): Permit { return { actionId } as Permit; }

function unavailable(cause: Error | undefined): Failure {
  return new Failure('ledger_unavailable', 'the record cannot be written, so nothing may run', cause === undefined ? {} : { cause });
}
