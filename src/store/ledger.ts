/**
 * Ledger: the append-only record, and the only issuer of permits. A permit for anything but a SAFE read exists only
 * after its verdict is on disk, or ahead of that for whoever keeps it from lasting until then; permits asked for at the
 * same time share one transaction. SAFE reads get theirs at once and are written in batches from a bounded buffer. When
 * the record cannot be written nothing risky gets a permit, and reads stop once the buffer is full. Whatever a node that
 * is gone left without an outcome is settled as `unknown`.
 */
import { writeBody, type EntryBody, type Head, type StoredEntry, type VerdictBody, type WrittenBody } from '../core/ledger/entry.ts';
import { Failure } from '../core/failure.ts';
import type { Outcome } from '../core/outcome.ts';
import type { SealedPoint, TransactionFate } from '../core/recovery/recovery-point.ts';
import type { Clock } from '../lib/clock.ts';
import type { Changes, StoreDatabase, Tables } from './database.ts';
import { appendWritten, inGroups, readHead } from './ledger-append.ts';
import { entriesAfter, verifyLedger, type Verification } from './ledger-verify.ts';
import { resolveLeft, type DeadNodes, type Node } from './nodes.ts';
import { checkOutcome, outcomeBody, ReadBatch, type PendingRead, type Read } from './read-batch.ts';
import { keepSealed, keepSettled, sealedBody, type Settlement } from './recovery-points.ts';

declare const permitBrand: unique symbol;

/** Proof that the verdict is on record (or, for a SAFE read, in the bounded buffer on its way there; or see PermitAhead). */
export interface Permit {
  readonly [permitBrand]: true;
  readonly actionId: string;
}

/** Its verdict is on its way to the disk; until it is there, nothing of what is permitted may last. */
export interface PermitAhead {
  readonly permit: Permit;
  /** Resolves once the verdict is on disk. Rejects with Failure `ledger_unavailable`; it is written later if the store comes back. */
  readonly recorded: Promise<void>;
}

export interface Ledger {
  /** Resolves once the verdict is on disk. Throws Failure `ledger_unavailable`. */
  issue(verdict: VerdictBody): Promise<Permit>;
  /** At once, for what cannot last before its transaction commits; undefined: not now, `issue` would have to wait or fail. */
  issueAhead(verdict: VerdictBody): PermitAhead | undefined;
  /** For SAFE reads only. Throws Failure `ledger_unavailable` when the buffer is full. */
  issueRead(read: Read): Permit;
  /** What became of a permit; the first answer counts. Rejects when it could not be written; it is written later if the store comes back. */
  settle(permit: Permit, outcome: Outcome): Promise<void>;
  /** An entry that permits nothing: a refusal, a connection, an administrative act. Durable when it resolves. */
  append(body: EntryBody): Promise<void>;
  /** A recovery point with its entry, in one transaction. Durable when it resolves. Throws Failure `ledger_unavailable`. */
  sealPoint(point: SealedPoint): Promise<void>;
  /** What became of its transaction: written with outcomes, as soon as that is possible. */
  settlePoint(point: SealedPoint, fate: TransactionFate): void;
  /** Settles what nodes that are gone left open; see `resolveLeft`. Returns how many. */
  resolveOpenPermits(dead?: DeadNodes): Promise<number>;
  entriesAfter(seq: number, limit: number): Promise<readonly StoredEntry[]>;
  head(): Promise<Head>;
  /** The first broken entry, or undefined and how many were read. */
  verify(onProgress?: (seq: number) => void): Promise<Verification>;
  /** undefined: the last write succeeded. */
  readonly fault: Error | undefined;
  /** Reads that wait to be written. */
  readonly waitingReads: number;
  /** Writes what is left and issues nothing more; permits still open stay open on record. Throws Failure `ledger_unavailable` when that could not be written. */
  close(): Promise<void>;
}

export interface LedgerDeps {
  readonly database: StoreDatabase;
  readonly clock: Clock;
  /** In whose name permits are issued; whoever issues none needs none. */
  readonly node?: Pick<Node, 'fence' | 'isLeased'>;
}

interface Job {
  readonly body: WrittenBody;
  /** It is a verdict that a permit is issued for: once it is written, or already ahead of that. */
  readonly opens: 'nothing' | 'then' | 'ahead';
  readonly point?: SealedPoint;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

const flushEveryMs = 50;
/** So long what became of a permit waits for a verdict to be written with, since nobody waits for it. */
const outcomeWaitMs = 10;
const jobsPerWriteMax = 1_000;
/** Risky verdicts that wait for one write; more means that the store is far behind. */
const jobsMax = 10_000;
/** With more waiting, whoever asks for a permit waits for its verdict, so that no client runs far ahead of the record. */
const jobsAheadMax = 1_000;

export function createLedger(deps: LedgerDeps): Ledger {
  return new SqlLedger(deps);
}

class SqlLedger implements Ledger {
  readonly #database: StoreDatabase;
  readonly #clock: Clock;
  readonly #node: LedgerDeps['node'];
  readonly #reads = new ReadBatch();
  /** Reads without an outcome: their permits are these very objects. */
  readonly #running = new Set<PendingRead & Permit>();
  readonly #open = new Set<string>();
  #jobs: Job[] = [];
  /** Verdicts of permits issued ahead whose write failed: what they permitted has run, if in vain, so they are written when that is possible. */
  #late: WrittenBody[] = [];
  #settlements: Settlement[] = [];
  #writing: Promise<void> | undefined;
  #fault: Error | undefined;
  #isClosed = false;
  readonly #timer: NodeJS.Timeout;
  #outcomesDue: NodeJS.Timeout | undefined;

  constructor({ database, clock, node }: LedgerDeps) {
    this.#database = database;
    this.#node = node;
    this.#clock = clock;
    this.#timer = setInterval(() => { if (this.#reads.size + this.#late.length + this.#settlements.length > 0) this.#write(); }, flushEveryMs);
    this.#timer.unref();
  }

  get fault(): Error | undefined { return this.#fault; }
  get waitingReads(): number { return this.#reads.size; }

  async issue(verdict: VerdictBody): Promise<Permit> {
    checkAllowed(verdict);
    await this.#enqueue(verdict, 'then');
    this.#open.add(verdict.actionId);
    return permit(verdict.actionId);
  }

  issueAhead(verdict: VerdictBody): PermitAhead | undefined {
    checkAllowed(verdict);
    if (this.#isClosed || this.#fault !== undefined || this.#node?.isLeased === false || this.#jobs.length >= jobsAheadMax) return undefined;
    const recorded = this.#enqueue(verdict, 'ahead');
    this.#open.add(verdict.actionId);
    return { permit: permit(verdict.actionId), recorded };
  }

  issueRead(read: Read): Permit {
    if (this.#isClosed || this.#reads.isFull || this.#node?.isLeased === false) throw unavailable(this.#fault);
    const pending = this.#reads.add(read, this.#clock.now().getTime()) as PendingRead & Permit;
    this.#running.add(pending);
    return pending;
  }

  async settle(permitted: Permit, outcome: Outcome): Promise<void> {
    const { actionId } = permitted;
    if (this.#isRunningRead(permitted)) {
      this.#reads.settle(permitted, outcome);
      this.#running.delete(permitted);
      return;
    }
    checkOutcome(outcome);
    if (!this.#open.delete(actionId)) return;
    await this.#enqueue(outcomeBody(actionId, outcome));
  }

  #isRunningRead(permitted: Permit | (PendingRead & Permit)): permitted is PendingRead & Permit {
    return 'digest' in permitted && this.#running.has(permitted);
  }

  async append(body: EntryBody): Promise<void> { await this.#enqueue(body); }

  async sealPoint(point: SealedPoint): Promise<void> { await this.#enqueue(sealedBody(point), 'nothing', point); }

  settlePoint(point: SealedPoint, fate: TransactionFate): void { this.#settlements.push({ point, fate }); }

  resolveOpenPermits(dead?: DeadNodes): Promise<number> { return resolveLeft({ database: this.#database, clock: this.#clock }, dead); }

  entriesAfter(seq: number, limit: number): Promise<readonly StoredEntry[]> {
    return entriesAfter(this.#database.queries, seq, limit);
  }

  head(): Promise<Head> { return readHead(this.#database.queries); }

  verify(onProgress: (seq: number) => void = () => undefined): Promise<Verification> {
    return verifyLedger(this.#database.queries, onProgress);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    clearTimeout(this.#outcomesDue);
    this.#isClosed = true;
    while (this.#writing !== undefined) await this.#writing;
    await this.#writeBatch(true);
    if (this.#reads.size + this.#late.length + this.#settlements.length > 0) throw unavailable(this.#fault);
  }

  #enqueue(entry: EntryBody, opens: Job['opens'] = 'nothing', point?: SealedPoint): Promise<void> {
    // What has no canonical form is a bug of its sender's; in a batch it would keep out the entries of all others.
    const body = writeBody(entry);
    if (this.#isClosed || this.#jobs.length >= jobsMax) throw unavailable(this.#fault);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#jobs.push({ body, opens, ...(point === undefined ? {} : { point }), resolve, reject });
    this.#writeWhatWaits();
    return promise;
  }

  #writeWhatWaits(): void {
    if (this.#jobs.some(({ body: { entry } }) => entry.kind !== 'outcome')) this.#write();
    else if (this.#jobs.length > 0) this.#outcomesDue ??= setTimeout(() => { this.#outcomesDue = undefined; this.#write(); }, outcomeWaitMs);
  }

  /** One writer at a time; whatever comes while it writes goes into the next transaction together. */
  #write(): void {
    if (this.#writing !== undefined) return;
    this.#writing = this.#writeBatch(false).finally(() => {
      this.#writing = undefined;
      this.#writeWhatWaits();
    });
  }

  async #writeBatch(all: boolean): Promise<void> {
    // A turn of the loop lets concurrent callers join.
    await Promise.resolve();
    const jobs = this.#jobs.splice(0, jobsPerWriteMax);
    const taken = this.#reads.take(this.#clock.now().getTime(), all);
    const [late, settlements] = [this.#late.splice(0), this.#settlements.splice(0)];
    if (jobs.length + taken.reads.length + taken.late.length + late.length + settlements.length === 0) return;
    // What became of a permit is lost with the machine at worst, and is then resolved as unknown.
    const isDurable = jobs.some(({ body: { entry } }) => entry.kind !== 'outcome');
    const transact = isDurable ? this.#database.transact : this.#database.transactRelaxed;
    try {
      // A verdict that comes late stands before what became of its permit.
      const before = [...late, ...[...taken.reads, ...taken.late].map(writeBody)];
      const bodies = [...before, ...jobs.map(({ body }) => body)];
      const opens = (index: number): boolean => index < late.length || (index >= before.length && jobs[index - before.length]?.opens !== 'nothing');
      await transact(async (changes) => {
        const nodeId = await this.#node?.fence(changes) ?? null;
        const seqs = await appendWritten(changes, this.#clock.now(), bodies);
        await keepPermits(changes, bodies.flatMap(({ entry }, index) => openedBy(entry, opens(index)).map((actionId) =>
          ({ action_id: actionId, verdict_seq: seqs[index] ?? 0, node_id: nodeId }))), bodies.flatMap(({ entry }) => closedBy(entry)));
        await keepSealed(changes, jobs.flatMap(({ point }) => point ?? []), nodeId);
        await keepSettled(changes, settlements, this.#clock.now());
      });
      this.#fault = undefined;
      for (const job of jobs) job.resolve();
    } catch (error) {
      this.#late.push(...late);
      this.#settlements.unshift(...settlements);
      this.#failed(jobs, taken.restore, error);
    }
  }

  #failed(jobs: readonly Job[], restore: () => void, error: unknown): void {
    restore();
    this.#fault = error instanceof Error ? error : new Error('the record could not be written');
    for (const { body, opens, reject } of jobs) {
      // An outcome is a fact already: it is kept for the next write, so that no permit stays open for want of one.
      if (opens === 'ahead') this.#late.push(body);
      else this.#reads.keepOutcome(body.entry);
      reject(unavailable(this.#fault));
    }
  }
}

async function keepPermits(changes: Changes, opened: readonly Tables['open_permit'][], closed: readonly string[]): Promise<void> {
  for (const rows of inGroups(opened)) {
    // Doing it twice is no mistake: a commit whose answer was lost is written again.
    await changes.insertInto('open_permit').values(rows).onConflict((conflict) => conflict.doNothing()).execute();
  }
  for (const ids of inGroups(closed)) await changes.deleteFrom('open_permit').where('action_id', 'in', ids).execute();
}

function checkAllowed({ decision }: VerdictBody): void {
  if (decision !== 'allow') throw new Failure('internal', 'a permit was asked for what was not allowed');
}

/** The actions that an entry leaves without an outcome. */
function openedBy(body: EntryBody, opens: boolean): readonly string[] {
  if (body.kind === 'reads') return body.reads.filter((row) => row[5] === 'open').map((row) => row[2]);
  return opens && body.kind === 'verdict' ? [body.actionId] : [];
}

function closedBy(body: EntryBody): readonly string[] { return body.kind === 'outcome' ? [body.actionId] : []; }

function permit(actionId: string): Permit { return { actionId } as Permit; }

function unavailable(cause: Error | undefined): Failure {
  return new Failure('ledger_unavailable', 'the record cannot be written, so nothing may run', cause === undefined ? {} : { cause });
}
