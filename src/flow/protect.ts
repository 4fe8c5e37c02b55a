/**
 * Protect: how a recovery point comes to be, from the first captured row to the moment when its transaction may commit.
 * What is captured goes into the bucket while it is read; `seal` puts the manifest there, reads it back, and only then
 * writes it on record. Whoever does not hear of a success from `seal` must not commit. What was abandoned leaves objects
 * that nothing names; a purge removes them.
 */
import type { CanonicalValue } from '../lib/canonical-json.ts';
import { Bug } from '../lib/assert.ts';
import type { Clock } from '../lib/clock.ts';
import { Failure } from '../core/failure.ts';
import { sizeOf, writeManifest, type CaptureMethod, type KeptCoverage, type KeptRows, type KeptTable, type Manifest, type ServerIdentity } from '../core/recovery/manifest.ts';
import { pointOf, type SealedPoint, type TransactionFate } from '../core/recovery/recovery-point.ts';
import type { Packs } from '../remote/bucket/packs.ts';

export interface Protector {
  /** At once; nothing is stored yet. Throws Failure `bucket_unavailable` where it is known that nothing can be. */
  begin(subject: ProtectedSubject): RecoveryDraft;
}

/** Whose statements are to be undoable, and how far. */
export interface ProtectedSubject {
  /** Of one batch, in its order. */
  readonly actionIds: readonly string[];
  readonly agent: string;
  readonly sessionId: string;
  readonly database: string;
  readonly coverage: KeptCoverage & { readonly method: CaptureMethod | undefined };
  /** Redacted; one for each action. */
  readonly texts: readonly string[];
  /** Of an undo: the recovery points that it undoes; they are `undone` once this one is committed. */
  readonly undoes?: readonly string[];
}

export interface RecoveryDraft {
  /** For the images of one table. */
  rows(): RowsSink;
  /**
   * Everything is in the bucket, read back, and on record, when it resolves: then the transaction may commit. Throws Failure
   * `bucket_unavailable`, `recovery_point_broken` or `ledger_unavailable`: then it must not.
   */
  seal(contents: CapturedContents): Promise<RecoveryPoint>;
  /** Nothing will be sealed: it was refused, rolled back or cancelled. A `seal` under way throws Failure `cancelled`. */
  abandon(): void;
}

export interface RowsSink {
  /** `rows`: whole rows of COPY text, each with its newline. A promise when it must be waited for before more is given. Throws what storing threw. */
  write(rows: Buffer): Promise<void> | undefined;
  /** Resolves once all of it has been read back, or is inline. Throws Failure. */
  finish(): Promise<KeptRows>;
}

export interface CapturedContents {
  readonly tables: readonly KeptTable[];
  readonly definition?: CanonicalValue;
  readonly settings: Readonly<Record<string, string>>;
  readonly xid: string;
  readonly lsn: string;
  readonly server: ServerIdentity;
}

export interface RecoveryPoint {
  /** undefined: nothing was changed, so there is nothing to undo and nothing on record. */
  readonly id: string | undefined;
  /** What became of the transaction; the first answer counts. At once: what a crash loses of it is found out by asking the server. */
  settle(fate: TransactionFate): void;
}

export interface ProtectorDeps {
  /** Throws Failure `bucket_unavailable`. */
  readonly openRows: () => RowsSink;
  readonly packs: Pick<Packs, 'add'>;
  readonly record: RecoveryRecord;
  readonly clock: Clock;
  /** `rp_…` */
  readonly newId: () => string;
  /** What is known to be wrong with the bucket. */
  readonly fault?: () => Failure | undefined;
  readonly onSealed?: (point: SealedPoint, seconds: number) => void;
}

/** What we remember of recovery points, as far as this flow writes it. */
export interface RecoveryRecord {
  /** Durable when it resolves, with its entry of the ledger. Throws Failure `ledger_unavailable`. */
  seal(point: SealedPoint): Promise<void>;
  settle(point: SealedPoint, fate: TransactionFate): void;
}

/** Of each redacted text; a text of megabytes is told by its beginning. */
const textCharsMax = 20_000;

/**
 * From the beginning of a capture until it is on record: a purge takes what no record names after a day, and must never take
 * what is about to be named.
 */
const draftHoursMax = 6;

export function createProtector(deps: ProtectorDeps): Protector {
  return {
    begin: (subject) => {
      const fault = deps.fault?.();
      if (fault !== undefined) throw fault;
      return new Draft(deps, subject);
    },
  };
}

const nothingChanged: RecoveryPoint = { id: undefined, settle: () => undefined };

class Draft implements RecoveryDraft {
  readonly #deps: ProtectorDeps;
  readonly #subject: ProtectedSubject;
  readonly #createdAt: Date;
  #isOpen = true;
  #isAbandoned = false;

  constructor(deps: ProtectorDeps, subject: ProtectedSubject) {
    this.#deps = deps;
    this.#subject = subject;
    this.#createdAt = deps.clock.now();
  }

  rows(): RowsSink {
    this.#checkOpen();
    return this.#deps.openRows();
  }

  async seal(contents: CapturedContents): Promise<RecoveryPoint> {
    this.#checkOpen();
    this.#isOpen = false;
    const startMs = this.#deps.clock.monotonicMs();
    const manifest = this.#manifest(contents);
    if (isEmpty(manifest)) return nothingChanged;
    const { packs, record } = this.#deps;
    const { pack, line, kept } = await packs.add(writeManifest(manifest));
    this.#checkAge();
    const sealed = pointOf(manifest, { pack, line }, this.#subject.undoes);
    const point: RecoveryPoint = { id: manifest.id, settle: settler(record, sealed) };
    // It was read back; that it becomes durable and that it comes on record need not wait for each other, only the commit for both.
    const failed = (await Promise.allSettled([record.seal(sealed), kept])).find((result) => result.status === 'rejected');
    if (failed !== undefined) {
      // It may be on record all the same, where only the answer was lost.
      point.settle('discarded');
      throw failed.reason;
    }
    this.#deps.onSealed?.(sealed, (this.#deps.clock.monotonicMs() - startMs) / 1_000);
    if (!this.#isAbandoned) return point;
    point.settle('discarded');
    throw givenUp();
  }

  abandon(): void {
    this.#isOpen = false;
    this.#isAbandoned = true;
  }

  #checkAge(): void {
    const hours = (this.#deps.clock.now().getTime() - this.#createdAt.getTime()) / 3_600_000;
    if (hours > draftHoursMax) throw new Failure('too_large', `what undoes this took ${Math.round(hours)} hours to keep, and at most ${draftHoursMax} are allowed`);
  }

  #checkOpen(): void {
    if (!this.#isOpen) throw givenUp();
  }

  #manifest({ tables, definition, settings, xid, lsn, server }: CapturedContents): Manifest {
    const { actionIds, agent, sessionId, database, texts, coverage: { method, scope, sentence, lost } } = this.#subject;
    if (method === undefined) throw new Bug('a recovery point was begun of what nothing captures');
    const { clock, newId } = this.#deps;
    return {
      format: 1, id: newId(), actions: actionIds, agent, sessionId, database, server, xid, lsn,
      createdAt: this.#createdAt.toISOString(), verifiedAt: clock.now().toISOString(), method, coverage: { scope, sentence, lost },
      settings, tables, ...(definition === undefined ? {} : { definition }), texts: texts.map(cut),
    };
  }
}

function givenUp(): Failure { return new Failure('cancelled', 'the recovery point of this statement was given up'); }

/** Of rows nothing changed. What falls with a table that is empty has to be made again all the same. */
function isEmpty({ method, tables, definition }: Manifest): boolean {
  return (method === 'rows' || method === 'transitions') && definition === undefined && sizeOf({ tables }).rows === 0;
}

function settler(record: RecoveryRecord, point: SealedPoint): (fate: TransactionFate) => void {
  let isSettled = false;
  return (fate) => {
    if (isSettled) return;
    isSettled = true;
    record.settle(point, fate);
  };
}

function cut(text: string): string {
  return (text.length <= textCharsMax ? text : `${text.slice(0, textCharsMax - 1)}…`).toWellFormed();
}
