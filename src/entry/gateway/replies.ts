/**
 * Replies: what the server still owes for what was sent, and what each reply means. A queue of expectations, one for each
 * forwarded message; each reply completes the first one, an error drops all up to the next Sync. It decides for every
 * message whether the client sees it, and tells the session when nothing is owed any more. It knows no socket.
 *
 *   Query: [query] … Z     extended: [parse, bind, describe, execute, …, sync] … Z     a refusal: [refusal, sync]
 *   a FunctionCall of our own before any of them: [own-call] … Z, of which the client sees nothing
 *   around what is held to a ceiling: [own-batch, query] … Z, [own-query] … Z; see measured-run.ts and protected-run.ts
 */
import { Bug } from '../../lib/assert.ts';
import { decodeCommandComplete, decodeDataRow, decodeFunctionCallResponse, decodeParameterStatus, decodeReadyForQuery, type CommandTag } from '../../lib/pgwire/backend-decode.ts';
import type { TransactionStatus } from '../../lib/pgwire/backend-encode.ts';
import { decodeDiagnostic } from '../../lib/pgwire/diagnostic.ts';
import { backendType, typeName } from '../../lib/pgwire/message-type.ts';
import { hide, pass, type Expected, type Seen } from './expected.ts';
import type { TransactionFate, TransactionEnd, Unit } from './fate.ts';
import { ImplicitTransaction } from './implicit-transaction.ts';
import { mayCommit } from './may-commit.ts';
import type { Statement } from '../../core/sql/statement.ts';

export interface ReplyEvents {
  /** A statement of a simple Query has run. What an Execute does to names was applied when it was judged. */
  readonly onQueryRan: (unit: Unit, statement: Statement) => void;
  readonly onTransactionEnd: (how: TransactionEnd) => void;
  /** Returns what the client is to see of an error of the server's. */
  readonly onError: (body: Buffer) => Seen;
  /** Returns whether the client is to see it. */
  readonly onParameter: (name: string, value: string) => boolean;
  /** Whether rows must be seen from now on: they belong to a question of our own. */
  readonly onWatchRows: (isWatched: boolean) => void;
  /** The server says that it will close the connection. */
  readonly onFatal: () => void;
}

/** What must be seen of the server's messages; all others pass unread. */
export const watchedReplies: readonly number[] = [
  backendType.bindComplete, backendType.closeComplete, backendType.commandComplete, backendType.copyBothResponse,
  backendType.copyInResponse, backendType.emptyQueryResponse, backendType.errorResponse, backendType.functionCallResponse, backendType.noData,
  backendType.parameterStatus, backendType.parseComplete, backendType.portalSuspended, backendType.readyForQuery,
  backendType.rowDescription,
];

type OwnBatch = Extract<Expected, { readonly kind: 'own-batch' }>;
type Running = Extract<Expected, { readonly unit: Unit }>;

/** After these the server is not in the middle of extended messages. */
const bringsItsEnd: ReadonlySet<Expected['kind']> = new Set(['query', 'function-call', 'own-call', 'own-query']);
const noBody = Buffer.alloc(0);

export class Replies {
  /** As the server last told it, and as the statements that have run since then changed it. */
  status: TransactionStatus = 'idle';
  /** The server waits for CopyData. */
  isCopyIn = false;
  /** Extended messages were sent and no Sync after them: the server is inside an implicit transaction. */
  isUnsynced = false;
  readonly implicit = new ImplicitTransaction();
  /** The server discards what comes until Sync, after an error. */
  isSkipping = false;
  readonly #fate: TransactionFate;
  readonly #events: ReplyEvents;
  readonly #now: () => number;
  readonly #expected: Expected[] = [];
  /** What the call of our own that is being answered has returned; undefined: nothing yet, or an error. */
  #ownValue: string | null | undefined;
  #ownCloses = 0;
  #hasOwnFailed = false;
  #isWatchingRows = false;

  constructor(deps: { readonly fate: TransactionFate; readonly events: ReplyEvents; readonly nowMs: () => number }) {
    this.#fate = deps.fate;
    this.#events = deps.events;
    this.#now = deps.nowMs;
  }

  /** Nothing is owed. */
  get isSettled(): boolean { return this.#expected.length === 0; }

  /** A call of our own runs now or next. */
  get isOwnCall(): boolean {
    const kind = this.#expected[0]?.kind;
    return kind === 'own-call' || kind === 'own-batch' || (kind === 'own-query' && !this.#isClientsEnd);
  }

  /** What runs now is the client's, and so is a cancel that comes now. */
  get isCancellable(): boolean { return this.running !== undefined || this.#isClientsEnd; }

  get #isClientsEnd(): boolean {
    const [head] = this.#expected;
    return head?.kind === 'own-query' && head.isClients === true;
  }

  /** The unit that runs now or next. */
  get running(): Unit | undefined {
    for (const expected of this.#expected) if ('unit' in expected) return expected.unit;
    return undefined;
  }

  /** Something that is owed could end the transaction by committing it. */
  get mayCommit(): boolean { return mayCommit(this.#expected, this.status); }

  expect(expected: Expected): void {
    if ('unit' in expected) this.#fate.start(expected.unit, this.#now());
    this.#sent(expected);
    this.#expected.push(expected);
    this.#watchRows();
  }

  /** Reads one watched message, whose body is `bytes[at, end)`. Throws Bug for what nothing asked for. */
  see(type: number, bytes: Buffer, at = 0, end = bytes.length): Seen {
    const head = this.#expected[0];
    const seen = head?.kind === 'own-batch' ? this.#seeOwn(head, type, bytes.subarray(at, end)) : this.#see(type, bytes, at, end);
    this.#watchRows();
    return seen;
  }

  /** A transaction of our own was rolled back by a question of our own. */
  rolledBack(): void {
    this.#fate.transactionFailed();
    this.#synced('idle');
    const ended = this.#fate.ready('idle');
    if (ended !== undefined) this.#events.onTransactionEnd(ended);
  }

  #sent({ kind }: Expected): void {
    if (!bringsItsEnd.has(kind)) this.isUnsynced = true;
    this.implicit.sent(kind);
  }

  #watchRows(): void {
    const isWatched = this.#expected[0]?.kind === 'own-batch';
    if (isWatched === this.#isWatchingRows) return;
    this.#isWatchingRows = isWatched;
    this.#events.onWatchRows(isWatched);
  }

  #see(type: number, bytes: Buffer, at: number, end: number): Seen {
    switch (type) {
      case backendType.parseComplete: return this.#complete('parse');
      case backendType.bindComplete: return this.#complete('bind');
      case backendType.closeComplete: return this.#complete('close');
      case backendType.rowDescription:
      case backendType.noData: return this.#described();
      case backendType.commandComplete: return this.#ran(decodeCommandComplete(bytes, at, end), bytes, at, end);
      case backendType.emptyQueryResponse: return this.#ranWithoutTag();
      case backendType.portalSuspended: return this.#suspended();
      case backendType.errorResponse: return this.#failed(bytes.subarray(at, end));
      case backendType.readyForQuery: return this.#ready(decodeReadyForQuery(bytes, at, end));
      case backendType.copyInResponse: return this.#copyIn();
      case backendType.functionCallResponse: return this.#called(bytes.subarray(at, end));
      case backendType.parameterStatus: return this.#reported(bytes.subarray(at, end));
      default: throw new Bug(`the server sent ${typeName(type)}, which no statement that was let through asks for`);
    }
  }

  #reported(body: Buffer): Seen {
    const { name, value } = decodeParameterStatus(body);
    const head = this.#expected[0];
    const isShown = head?.kind === 'own-call' && head.setting === name ? head.isShown(value) : this.#events.onParameter(name, value);
    return isShown ? pass : hide;
  }

  #called(body: Buffer): Seen {
    const head = this.#expected[0];
    if (head?.kind === 'function-call') return head.held?.called(frameOf(backendType.functionCallResponse, body));
    if (!this.isOwnCall) return pass;
    this.#ownValue = decodeFunctionCallResponse(body)?.toString('utf8') ?? null;
    return hide;
  }

  #complete(kind: 'parse' | 'bind' | 'close'): Seen {
    if (this.#expected[0]?.kind === 'own-query') return hide;
    this.#shift(kind);
    return pass;
  }

  #described(): Seen {
    // A simple Query describes its rows unasked.
    if (this.#expected[0]?.kind === 'describe') this.#expected.shift();
    return pass;
  }

  #ran(tag: CommandTag, bytes: Buffer, at: number, end: number): Seen {
    this.isCopyIn = false;
    if (this.#expected[0]?.kind === 'own-query') return hide;
    const head = this.#runningHead();
    const { statement, ended } = this.#fate.ran(head.unit, tag);
    if (ended !== undefined) this.#events.onTransactionEnd(ended);
    this.#followTransaction(statement, ended);
    if (head.kind === 'query' && statement !== undefined) this.#events.onQueryRan(head.unit, statement);
    if (head.kind === 'execute') {
      this.implicit.executed(statement, this.status);
      this.#finish(head.unit);
    }
    return head.held?.ran(tag, frameOf(backendType.commandComplete, bytes.subarray(at, end)));
  }

  /** The server tells it only with the next ReadyForQuery, and what stands before that is judged and performed by it too. */
  #followTransaction(statement: Statement | undefined, ended: TransactionEnd | undefined): void {
    const { verb, chain } = statement?.transaction ?? {};
    if (ended !== undefined && chain !== true) this.status = 'idle';
    else if (ended !== undefined || verb === 'begin' || verb === 'rollback-to') this.status = 'in-transaction';
  }

  #suspended(): Seen {
    const head = this.#runningHead();
    if (head.kind === 'execute') {
      head.unit.ran?.(head.rowsMax ?? null);
      this.implicit.executed(undefined, this.status);
    }
    this.#ranWithoutTag();
    return head.held?.suspended(frameOf(backendType.portalSuspended, noBody));
  }

  #ranWithoutTag(): Seen {
    const head = this.#runningHead();
    this.#fate.ranWithoutTag(head.unit);
    if (head.kind === 'execute') this.#finish(head.unit);
    return pass;
  }

  #finish(unit: Unit): void {
    this.#expected.shift();
    this.#fate.finished(unit, this.#now());
  }

  #failed(body: Buffer): Seen {
    const { severity, code } = decodeDiagnostic(body);
    this.isCopyIn = false;
    if (severity === 'FATAL' || severity === 'PANIC') {
      this.#events.onFatal();
      return pass;
    }
    const head = this.#expected[0];
    if (head?.kind === 'own-call') return hide;
    const shown = this.#events.onError(body);
    if (head !== undefined && 'held' in head) head.held?.failed();
    switch (head?.kind) {
      case undefined: return shown;
      case 'query':
      case 'function-call': this.#fate.failed(head.unit, code, this.#now()); return shown;
      case 'own-query': this.#hasOwnFailed = true; this.#fate.transactionFailed(); return shown;
      case 'sync': this.#fate.transactionFailed(); return shown;
      case 'execute': this.#fate.failed(head.unit, code, this.#now()); break;
      default: this.#fate.transactionFailed();
    }
    this.#dropToSync();
    return head?.kind === 'refusal' ? head.error : shown;
  }

  /** What follows an error is skipped by the server, and whatever it was to do to names has not happened. */
  #dropToSync(): void {
    const at = this.#expected.findIndex((expected) => expected.kind === 'sync');
    const dropped = this.#expected.splice(0, at < 0 ? this.#expected.length : at);
    for (const expected of dropped.toReversed()) if ('undo' in expected) expected.undo();
    for (const [index, expected] of dropped.entries()) if (index > 0 && 'unit' in expected) this.#fate.skipped(expected.unit);
    this.isSkipping = at < 0;
  }

  /** The client has no part in it: what it knows of its own transaction stays as it is. */
  #ownAnswered(): Seen {
    const own = this.#expected.shift();
    const value = this.#ownValue;
    this.#ownValue = undefined;
    if (own?.kind === 'own-call') own.onAnswer(value);
    return hide;
  }

  #ready(status: TransactionStatus): Seen {
    const head = this.#expected[0];
    if (head?.kind === 'own-call') return this.#ownAnswered();
    this.isCopyIn = false;
    this.#synced(status);
    // After COPY the server may have taken a Sync for its own; its ReadyForQuery is then the truth all the same.
    if (head?.kind === 'query' || head?.kind === 'function-call') {
      if (head.kind === 'function-call') this.#fate.ranWithoutTag(head.unit);
      this.#finish(head.unit);
    } else if (head?.kind === 'sync' || head?.kind === 'own-query') this.#expected.shift();
    else if (head !== undefined) throw new Bug(`ReadyForQuery came while ${head.kind} was expected`);
    const ended = this.#fate.ready(status);
    if (ended !== undefined) this.#events.onTransactionEnd(ended);
    if (head?.kind === 'query' || head?.kind === 'function-call') return head.held?.ready(status);
    if (head?.kind !== 'own-query') return pass;
    const succeeded = !this.#hasOwnFailed;
    this.#hasOwnFailed = false;
    return head.onAnswer(succeeded, status);
  }

  /** What was sent behind belongs to the next transaction. */
  #synced(status: TransactionStatus): void {
    this.status = status;
    this.isSkipping = this.isUnsynced = false;
    this.implicit.ended();
    for (const behind of this.#expected.slice(1)) this.#sent(behind);
  }

  #seeOwn(head: OwnBatch, type: number, body: Buffer): Seen {
    switch (type) {
      case backendType.dataRow: this.#ownValue = decodeDataRow(body)[0]?.toString('utf8') ?? null; return hide;
      case backendType.errorResponse: return this.#ownBatchFailed(head, body);
      case backendType.closeComplete:
        this.#ownCloses += 1;
        return this.#ownCloses === 2 * head.statements && !head.hasSync ? this.#ownBatchAnswered(head, this.#ownValue ?? null) : hide;
      case backendType.readyForQuery:
        this.#synced(decodeReadyForQuery(body));
        return this.#ownBatchAnswered(head, this.#hasOwnFailed ? undefined : this.#ownValue ?? null);
      case backendType.parameterStatus: return this.#reported(body);
      default: return hide;
    }
  }

  /** Without a Sync of its own behind it, the server skips all that was sent after it. */
  #ownBatchFailed(head: OwnBatch, body: Buffer): Seen {
    const { severity } = decodeDiagnostic(body);
    if (severity === 'FATAL' || severity === 'PANIC') {
      this.#events.onFatal();
      return pass;
    }
    this.#events.onError(body);
    this.#fate.transactionFailed();
    this.#hasOwnFailed = true;
    if (head.hasSync) return hide;
    this.#dropToSync();
    return this.#ownBatchAnswered(head, undefined);
  }

  #ownBatchAnswered(head: OwnBatch, value: string | null | undefined): Seen {
    if (this.#expected[0] === head) this.#expected.shift();
    this.#ownValue = undefined;
    this.#ownCloses = 0;
    this.#hasOwnFailed = false;
    return head.onAnswer(value);
  }

  /** While it copies, the server ignores Sync and Flush: those sent behind the Execute get no answer. */
  #copyIn(): Seen {
    const head = this.#runningHead();
    this.isCopyIn = true;
    while (head.kind === 'execute' && this.#expected[1]?.kind === 'sync') this.#expected.splice(1, 1);
    return pass;
  }

  #shift(kind: Expected['kind']): void {
    const head = this.#expected.shift();
    if (head?.kind !== kind) throw new Bug(`the server completed ${kind} while ${head?.kind ?? 'nothing'} was expected`);
  }

  #runningHead(): Running {
    const head = this.#expected[0];
    if (head !== undefined && (head.kind === 'execute' || head.kind === 'query')) return head;
    throw new Bug(`the server answered a statement while ${head?.kind ?? 'nothing'} was expected`);
  }
}

/** The whole message again. */
function frameOf(type: number, body: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(body.length + 5);
  frame.writeUInt8(type, 0);
  frame.writeInt32BE(body.length + 4, 1);
  body.copy(frame, 5);
  return frame;
}
