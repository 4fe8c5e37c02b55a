/**
 * Session: one authenticated client and its one upstream link. It collects what belongs together, has it judged as a
 * whole, forwards the client's own bytes, and passes the server's replies back; strictly one batch after the other, so
 * that each is judged knowing what the one before did. A refusal leaves the session as a PostgreSQL error would.
 *
 *   ready ─ batch ─▶ judging (may wait for a person) ─ forward ─▶ running ─ all replies ─▶ ready
 *   running ─ CopyInResponse ─▶ copying ─ CopyDone ─▶ running      any error in extended messages ─▶ skipping to Sync
 */
import type { Socket } from 'node:net';
import { Failure } from '../../core/failure.ts';
import type { Log } from '../../lib/log.ts';
import { encodeReadyForQuery } from '../../lib/pgwire/backend-encode.ts';
import { serverLimits } from '../../lib/pgwire/frame-limits.ts';
import { headerBytes } from '../../lib/pgwire/frame-reader.ts';
import { FrameScanner } from '../../lib/pgwire/frame-scanner.ts';
import { backendType, frontendType } from '../../lib/pgwire/message-type.ts';
import { ProtocolError } from '../../lib/pgwire/protocol-error.ts';
import type { Link } from '../../remote/postgres/link.ts';
import { abandon } from './abandon.ts';
import { Admission } from './admission.ts';
import { firstType, type Batch } from './batch.ts';
import { BatchJudge, type JudgeableBatch, type Judged } from './batch-judge.ts';
import { BrokenCopy } from './broken-copy.ts';
import { Cancelling } from './cancelling.ts';
import { ClientOutput } from './client-output.ts';
import type { SessionContext } from './context.ts';
import { TransactionFate } from './fate.ts';
import { Forwarder } from './forwarder.ts';
import { errorWithoutValues } from './hidden-values.ts';
import { Intake } from './intake.ts';
import { readAheadBytesMax, watchedReplyBytesMax } from './limits.ts';
import { errorOf, ownErrors } from './refuse.ts';
import { lockedSetting } from './read-only-lock.ts';
import { Replies, watchedReplies } from './replies.ts';
import { Stall } from './stall.ts';
import { readSearchPath } from './search-path.ts';
import { onlySync } from './work.ts';

export interface SessionDeps {
  readonly socket: Socket;
  readonly link: Link;
  readonly context: SessionContext;
  readonly log: Log;
  readonly stallMsMax: number;
  /** 0: for ever. */
  readonly firstMessageMsMax: number;
  /** Once, when both connections are over and every permit has its outcome. */
  readonly onEnd: () => void;
}

const endsRows: ReadonlySet<number> = new Set([backendType.commandComplete, backendType.portalSuspended, backendType.errorResponse]);
const valueSettings: ReadonlySet<string> = new Set(['TimeZone', 'DateStyle', 'IntervalStyle']);

export class Session {
  readonly #deps: SessionDeps;
  readonly #intake = new Intake();
  readonly #fate = new TransactionFate();
  readonly #replies: Replies;
  readonly #admission: Admission;
  readonly #judge: BatchJudge;
  readonly #forwarder: Forwarder;
  readonly #scanner: FrameScanner;
  /** Settings that the server reports and that decide how it reads text. */
  readonly #textSettings = new Map([['client_encoding', 'UTF8'], ['standard_conforming_strings', 'on']]);
  /** Settings that the server reports and that decide what a date or a time in a text means. */
  readonly #valueSettings: Map<string, string>;
  readonly #cancelling: Cancelling;
  #hasInputEnded = false;
  #isOver = false;
  /** The server has said why it ends. */
  #isFatalSeen = false;
  #isDraining = false;
  /** A Sync came while the server copied in. */
  #hasSyncInCopy = false;
  readonly #brokenCopy = new BrokenCopy();
  #onSettled: (() => void) | undefined;
  readonly #output: ClientOutput;
  readonly #stall: Stall;
  readonly #startedMs: number;
  #hasSpoken = false;

  constructor(deps: SessionDeps) {
    this.#deps = deps;
    this.#output = new ClientOutput(deps);
    this.#valueSettings = new Map([...deps.link.parameters].filter(([name]) => valueSettings.has(name)));
    const { registry, state, nowMs } = deps.context;
    this.#stall = new Stall(deps.stallMsMax);
    this.#startedMs = nowMs();
    this.#replies = new Replies({
      fate: this.#fate, nowMs,
      events: {
        onQueryRan: (unit, statement) => { registry.apply(statement.changes, unit.source, state.epoch); },
        onTransactionEnd: (how) => { registry.transactionEnded(how); state.transactionEnded(how); this.#admission.transactionEnded(how); this.#forwarder.transactionEnded(); },
        onError: (body) => { state.failed(); return errorWithoutValues(body, deps.context.guard.policyFor(deps.context.actor.name, deps.context.database)); },
        onParameter: (name, value) => this.#parameterChanged(name, value),
        onWatchRows: (isWatched) => { this.#scanner.watch(backendType.dataRow, isWatched); },
        onFatal: () => { this.#isFatalSeen = true; },
      },
    });
    this.#admission = new Admission(deps.context, {
      inTransaction: () => this.#replies.status !== 'idle',
      isAborted: () => this.#replies.status === 'failed',
      isTextPinned: () => this.#isTextPinned,
      valueSettings: () => this.#valueSettings,
      notify: (notice) => {
        this.#scanner.insert(notice);
        if (this.#hasInputEnded) this.#clientGone();
        else if (this.#isDraining) this.end(ownErrors.shutDown());
      },
      onFault: (error) => {
        // The record has it in memory and writes it when it can; it permits nothing risky until then.
        if (error instanceof Failure) deps.log.error({ error }, 'an outcome could not be recorded at once');
        else this.#fault(error);
      },
    });
    this.#judge = new BatchJudge({
      context: deps.context, link: deps.link, replies: this.#replies, admission: this.#admission, onSkipped: (unit) => { this.#fate.skipped(unit); },
    });
    this.#forwarder = new Forwarder({
      link: deps.link, context: deps.context, replies: this.#replies, fate: this.#fate, onFull: () => { deps.socket.pause(); },
      session: {
        show: (bytes) => { this.#scanner.insert(bytes); }, isOver: () => this.#isOver || this.#isFatalSeen, cancelSent: () => this.#cancelling.sent,
        onDone: () => { this.#pump(); }, onFault: (error) => { this.#fault(error); },
      },
    });
    this.#cancelling = new Cancelling({ link: deps.link, replies: this.#replies, judging: deps.context.judging, log: deps.log, onSent: () => { this.#pump(); } });
    this.#scanner = new FrameScanner({
      limits: serverLimits, watched: watchedReplies, counted: [backendType.dataRow, backendType.copyData], watchedBytesMax: watchedReplyBytesMax,
      onFrame: (type, bytes, start, end) => { this.#see(type, bytes, start + headerBytes, end); },
      write: (bytes) => { if (!this.#isOver) this.#output.take(bytes); },
    });
  }

  /** `rest`: what the client sent behind its start-up. */
  start(rest: Buffer): void {
    const { socket, link } = this.#deps;
    link.relay({
      onData: (chunk) => { this.#fromServer(chunk); },
      onDrain: () => { this.#forwarder.drained(); this.#pump(); },
      onClose: () => { this.#serverGone(); },
    });
    socket.on('data', (chunk: Buffer) => { this.#fromClient(chunk); }).on('drain', () => { link.resume(); });
    socket.on('end', () => { this.#inputEnded(); });
    socket.on('error', () => { this.#clientGone(); }).on('close', () => { this.#clientGone(); });
    socket.resume();
    if (rest.length > 0) this.#fromClient(rest);
    // It may have gone while it was logged in, when nobody listened.
    if (socket.destroyed) this.#clientGone();
    else if (socket.readableEnded) this.#inputEnded();
  }

  /** Cancels what this client waits for. */
  cancel(): void { this.#cancelling.request(); }

  /** Ends the session now, telling the client why. */
  end(error: Buffer): void {
    if (this.#isOver) return;
    this.#sayLast(error);
    this.#clientGone();
  }

  /** To be called from time to time. */
  endIfStalled(): void {
    const { socket, stallMsMax, firstMessageMsMax, context } = this.#deps;
    const now = context.nowMs();
    const isMessageOpen = this.#intake.isMessageOpen && !socket.isPaused();
    const kind = this.#stall.look({ isMessageOpen, bytesRead: socket.bytesRead, bytesUnwritten: socket.writableLength }, now);
    if (kind !== undefined) this.end(ownErrors.stalled(kind === 'reading' ? 'a message was left half sent' : 'answers were left unread', stallMsMax));
    else if (!this.#hasSpoken && firstMessageMsMax > 0 && now - this.#startedMs > firstMessageMsMax) this.end(ownErrors.stalled('no statement was sent', firstMessageMsMax));
    // A client that does not read would not read why either: nothing more is waited for.
    if (kind === 'writing') socket.destroy();
  }

  /** Ends it once nothing runs and no transaction is open. Nobody waits for a person meanwhile; the approval stays. */
  drain(): void {
    this.#isDraining = true;
    if (this.#admission.isHeld) this.end(ownErrors.shutDown());
    else this.#pump();
  }

  get heldBytes(): number { return this.#intake.heldBytes + this.#deps.context.registry.bytes + this.#deps.link.bytesUnsent; }

  get #isTextPinned(): boolean {
    return this.#textSettings.get('client_encoding') === 'UTF8' && this.#textSettings.get('standard_conforming_strings') === 'on';
  }

  #fromClient(chunk: Buffer): void {
    if (this.#isOver) return;
    this.#hasSpoken = true;
    this.#intake.push(chunk);
    this.#pump();
  }

  #inputEnded(): void {
    this.#hasInputEnded = true;
    // Nobody is left to answer to; a client that only closed its side does not wait for people.
    if (this.#admission.isHeld) this.#clientGone();
    else this.#pump();
  }

  /** Reads on unless too much waits: for a judgement, for replies, or for a server that takes no more. */
  #pace(): void {
    const isBusy = this.#deps.context.judging.isUnderWay || this.#intake.hasWaiting || !this.#replies.isSettled;
    if (this.#forwarder.isFull || (isBusy && this.#intake.bufferedBytes > readAheadBytesMax)) this.#deps.socket.pause();
    else this.#deps.socket.resume();
  }

  /** Takes the next batches as far as the state of the session allows. */
  #pump(): void {
    try {
      if (this.#hasSyncInCopy && this.#replies.isSettled) {
        this.#hasSyncInCopy = false;
        if (this.#replies.isSkipping) this.#forwarder.forward(onlySync);
      }
      while (this.#mayTake) {
        const batch = this.#intake.next();
        if (batch === undefined) {
          const begun = this.#intake.firstCollected;
          if (this.#replies.isCopyIn && begun !== undefined) this.#breakCopyOff(begun);
          this.#dry();
          break;
        }
        this.#take(batch);
      }
      if (!this.#isOver) this.#pace();
    } catch (error) {
      this.#fault(error);
    }
  }

  get #mayTake(): boolean {
    if (this.#isOver || this.#deps.context.judging.isUnderWay || this.#cancelling.isSending) return false;
    return this.#replies.isSettled || (this.#replies.isCopyIn && !this.#forwarder.isFull);
  }

  /** Nothing more to do for now. */
  #dry(): void {
    if (!this.#replies.isSettled) return;
    if (this.#hasInputEnded) this.#clientGone();
    else if (this.#isDraining && this.#replies.status === 'idle' && !this.#replies.isUnsynced) this.end(ownErrors.shutDown());
  }

  #take(batch: Batch): void {
    if (batch.kind === 'terminate') this.#clientGone();
    else if (this.#replies.isCopyIn) this.#copy(batch);
    else if (this.#replies.isSkipping) {
      // As the server does after an error: everything up to Sync is dropped, judged or not.
      if (batch.kind === 'extended' && batch.end === 'sync') this.#forwarder.forward(onlySync);
    } else if (batch.kind !== 'copy') {
      const judged = this.#judge.judge(batch);
      if (judged instanceof Promise) this.#await(batch, judged);
      else this.#judged(batch, judged);
    }
  }

  #await(batch: JudgeableBatch, judging: Promise<Judged>): void {
    this.#deps.context.judging.during(judging.then((judged) => { this.#judged(batch, judged); }))
      .then(() => { this.#pump(); }, (error: unknown) => { this.#fault(error); });
  }

  /** While the server copies in, the data goes on untouched; Sync and Flush are ignored there, anything else breaks it off. */
  #copy(batch: Batch): void {
    if (batch.kind === 'copy') {
      this.#forwarder.write(batch.frame.whole);
      if (batch.frame.type === frontendType.copyData) return;
      this.#replies.isCopyIn = this.#hasSyncInCopy = false;
      // The Sync behind it waits until the answer is here, and the server would wait for that Sync to send it.
      if (this.#replies.isUnsynced) this.#forwarder.flush();
      return;
    }
    // The server ignores it as long as it copies. If an error ends the COPY, this is the Sync that it waits for.
    if (batch.kind === 'extended' && batch.end === 'sync' && batch.frames.length === 0) this.#hasSyncInCopy = true;
    else if (batch.kind !== 'terminate' && batch.kind !== 'too-large') this.#breakCopyOff(firstType(batch), batch);
    else this.#clientGone();
  }

  #breakCopyOff(messageType: number, batch?: Batch): void {
    this.#replies.isCopyIn = false;
    if (batch !== undefined) this.#intake.putBack(batch);
    this.#forwarder.write(this.#brokenCopy.off(messageType));
  }

  #judged(batch: JudgeableBatch, judged: Judged): void {
    if (judged.kind === 'refused') this.#refuseWhole(batch, judged.error);
    else if (!this.#isOver && !this.#isFatalSeen) this.#forwarder.forward(judged.work);
    else for (const expected of judged.work.plan.expected) if ('unit' in expected) this.#fate.skipped(expected.unit);
  }

  /** Nothing of it reaches the server, and nothing follows a FATAL to the client. Outside of any transaction that is all; inside, the server is made to fail. */
  #refuseWhole(batch: JudgeableBatch, error: Buffer): void {
    if (this.#isOver || this.#isFatalSeen) return;
    const isOne = batch.kind === 'query' || batch.kind === 'function-call';
    // The server drops the statement without a name before it looks at a Query.
    if (batch.kind === 'query') this.#deps.context.registry.beginQuery(false);
    if (isOne && this.#forwarder.isServerIdle) this.#scanner.insert(Buffer.concat([error, encodeReadyForQuery('idle')]));
    else {
      const end = batch.kind === 'extended' ? batch.end : batch.kind === 'too-large' ? 'open' : 'sync';
      this.#forwarder.forward({ plan: { frames: [], expected: [], refusal: error }, end });
    }
  }

  /** Inside a message that is partly sent, an error would be read as the rest of it. */
  #sayLast(error: Buffer): void {
    this.#output.release();
    if (this.#scanner.isMidMessage) this.#deps.socket.end();
    else this.#deps.socket.end(error);
  }

  #fromServer(chunk: Buffer): void {
    this.#output.gather();
    try {
      this.#scanner.push(chunk);
      this.#output.release();
    } catch (error) {
      this.#fault(error);
    }
    const { isSettled } = this.#replies;
    const goesOn = isSettled && this.#forwarder.continue();
    // A cancel that waited is for what goes on because of it.
    this.#cancelling.answered();
    if (goesOn || (!isSettled && !this.#replies.isCopyIn)) return;
    if (this.#isOver) this.#onSettled?.();
    else this.#pump();
  }

  #see(type: number, bytes: Buffer, at: number, end: number): void {
    const brokenEnd = type === backendType.errorResponse ? this.#brokenCopy.endFor(bytes.subarray(at, end)) : undefined;
    // A statement that fails at its last row has shown all others, and none of them is in a command tag.
    const rows = endsRows.has(type) ? this.#scanner.takeCount() : 0;
    if (rows > 0 && type === backendType.errorResponse) this.#replies.running?.ran?.(rows);
    const { withheld } = this.#forwarder;
    const isOwn = withheld !== undefined && this.#replies.isOwnCall;
    const seen = brokenEnd ?? this.#replies.see(type, bytes, at, end);
    const replacement = withheld === undefined ? seen : withheld.see({ type, bytes, start: at - headerBytes, end, isOwn }, seen);
    if (replacement === undefined) return;
    if (replacement.length > 0) this.#scanner.insertBefore(replacement);
    this.#scanner.drop();
    if (brokenEnd !== undefined) this.end(Buffer.alloc(0));
  }

  #parameterChanged(name: string, value: string): boolean {
    if (this.#textSettings.has(name)) this.#textSettings.set(name, value);
    if (valueSettings.has(name)) this.#valueSettings.set(name, value);
    const { state } = this.#deps.context;
    // PostgreSQL 18 reports it.
    if (name === 'search_path') state.reported(readSearchPath(value, state.facts.role));
    return name === lockedSetting ? this.#deps.context.lock.reported(value, undefined) : true;
  }

  /** The client is gone or has said goodbye: what runs for it is cancelled, and its outcome still awaited. */
  #clientGone(): void {
    if (this.#isOver) return;
    this.#output.release();
    this.#isOver = true;
    this.#deps.context.judging.stop();
    this.#deps.socket.end();
    void abandon(this.#deps.link, this.#replies, this.#fate, (onSettled) => { this.#onSettled = onSettled; }).catch((error: unknown) => { this.#deps.log.error({ error }, 'a session did not end well'); })
      .finally(() => { this.#deps.socket.destroySoon(); this.#ended(); });
  }

  #serverGone(): void {
    this.#fate.lost(this.#replies.mayCommit);
    if (this.#isOver) {
      this.#onSettled?.();
      return;
    }
    this.#isOver = true;
    this.#deps.context.judging.stop();
    if (!this.#isFatalSeen) this.#sayLast(ownErrors.upstreamLost());
    this.#deps.socket.end();
    this.#ended();
  }

  /** What is still being judged may have a permit, which then gets its outcome. */
  #ended(): void { void this.#deps.context.judging.ended.then(() => { this.#deps.onEnd(); }); }

  /** Something that was thought impossible, or a client that does not speak the protocol: this session ends, no other. */
  #fault(error: unknown): void {
    if (this.#isOver) return;
    const isClients = error instanceof ProtocolError;
    if (!isClients) this.#deps.log.error({ error }, 'a session ended by a fault');
    const failure = isClients ? new Failure(error.fault === 'too-large' ? 'too_large' : 'protocol_violation', `Backstop ends this session: ${error.message}`)
      : error instanceof Failure ? error : new Failure('internal', 'Backstop ends this session because of a fault of its own.', { cause: error });
    this.end(errorOf(failure, 'FATAL'));
  }
}
