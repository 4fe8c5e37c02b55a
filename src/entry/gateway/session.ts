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
import type { Catalog } from '../../core/sql/catalog.ts';
import type { Log } from '../../lib/log.ts';
import { encodeReadyForQuery } from '../../lib/pgwire/backend-encode.ts';
import { FrameReader, type Frame } from '../../lib/pgwire/frame-reader.ts';
import { serverLimits, sessionLimits } from '../../lib/pgwire/frame-limits.ts';
import { FrameScanner } from '../../lib/pgwire/frame-scanner.ts';
import { encodeCopyFail, encodeFlush, encodeSync } from '../../lib/pgwire/frontend-encode.ts';
import { frontendType } from '../../lib/pgwire/message-type.ts';
import { ProtocolError } from '../../lib/pgwire/protocol-error.ts';
import type { Link } from '../../remote/postgres/link.ts';
import { abandon } from './abandon.ts';
import { Admission, type Candidate } from './admission.ts';
import { BatchCollector, joinFrames, type Batch, type ExtendedBatch } from './batch.ts';
import type { SessionContext } from './context.ts';
import { ExtendedPlan } from './extended-plan.ts';
import { TransactionFate } from './fate.ts';
import type { Setting } from './judgements.ts';
import { learnNames, learnPath } from './learn.ts';
import { messageBytesMax, readAheadBytesMax, watchedReplyBytesMax } from './limits.ts';
import type { Plan } from './plan.ts';
import { errorOf, failingExecute, failureOf, ownErrors } from './refuse.ts';
import { Replies, watchedReplies } from './replies.ts';
import { readSearchPath } from './search-path.ts';
import { functionCandidate, queryCandidate } from './whole-plan.ts';

export interface SessionDeps {
  readonly socket: Socket;
  readonly link: Link;
  readonly context: SessionContext;
  readonly log: Log;
  /** Once, when both connections are over and every permit has its outcome. */
  readonly onEnd: () => void;
}

const syncMessage = encodeSync();
const flushMessage = encodeFlush();
const nothingPlanned: Plan = { frames: [], expected: [], refusal: undefined };
const noBytes = Buffer.alloc(0);

export class Session {
  readonly #deps: SessionDeps;
  readonly #reader = new FrameReader(sessionLimits(messageBytesMax));
  readonly #collector = new BatchCollector();
  /** Complete, not yet judged. */
  readonly #waiting: Batch[] = [];
  readonly #fate = new TransactionFate();
  readonly #replies: Replies;
  readonly #admission: Admission;
  readonly #scanner: FrameScanner;
  /** Settings that the server reports and that decide how it reads text. */
  readonly #textSettings = new Map([['client_encoding', 'UTF8'], ['standard_conforming_strings', 'on']]);
  #cancelling: Promise<void> | undefined;
  #isJudging = false;
  #hasInputEnded = false;
  #isOver = false;
  /** The server has said why it ends. */
  #isFatalSeen = false;
  #isDraining = false;
  /** The link took more than it can send. */
  #isLinkFull = false;
  /** A Sync came while the server copied in. */
  #hasSyncInCopy = false;
  #onSettled: (() => void) | undefined;

  constructor(deps: SessionDeps) {
    this.#deps = deps;
    const { registry, state, nowMs } = deps.context;
    this.#replies = new Replies({
      fate: this.#fate, nowMs,
      events: {
        onQueryRan: (unit, statement) => { registry.apply(statement.changes, unit.source, state.epoch); },
        onTransactionEnd: (how) => { registry.transactionEnded(how); state.transactionEnded(how); },
        onError: () => { state.failed(); },
        onParameter: (name, value) => { this.#parameterChanged(name, value); },
        onFatal: () => { this.#isFatalSeen = true; },
      },
    });
    this.#admission = new Admission(deps.context, {
      inTransaction: () => this.#replies.status !== 'idle',
      isAborted: () => this.#replies.status === 'failed',
      isTextPinned: () => this.#isTextPinned,
      notify: (notice) => { deps.socket.write(notice); },
      onFault: (error) => {
        // The record has it in memory and writes it when it can; it permits nothing risky until then.
        if (error instanceof Failure) deps.log.error({ error }, 'an outcome could not be recorded at once');
        else this.#fault(error);
      },
    });
    this.#scanner = new FrameScanner({
      limits: serverLimits, watched: watchedReplies, watchedBytesMax: watchedReplyBytesMax,
      onFrame: (type, bytes, start, end) => { this.#see(type, bytes.subarray(start + 5, end)); },
      write: (bytes) => { this.#toClient(bytes); },
    });
  }

  /** `rest`: what the client sent behind its start-up. */
  start(rest: Buffer): void {
    const { socket, link } = this.#deps;
    link.relay({
      onData: (chunk) => { this.#fromServer(chunk); },
      onDrain: () => { this.#isLinkFull = false; this.#pump(); },
      onClose: () => { this.#serverGone(); },
    });
    socket.on('data', (chunk: Buffer) => { this.#fromClient(chunk); });
    socket.on('drain', () => { link.resume(); });
    socket.on('end', () => {
      this.#hasInputEnded = true;
      // Nobody is left to answer to; a client that only closed its side does not wait for people.
      if (this.#admission.isWaiting) this.#clientGone();
      else this.#pump();
    });
    socket.on('error', () => { this.#clientGone(); });
    socket.on('close', () => { this.#clientGone(); });
    socket.resume();
    if (rest.length > 0) this.#fromClient(rest);
  }

  /** Cancels what this client waits for: its hold, or its own running statement; never anything of ours. */
  cancel(): void {
    if (this.#admission.isWaiting) this.#admission.stopWaiting();
    else if (this.#replies.running !== undefined && this.#cancelling === undefined) {
      this.#cancelling = this.#deps.link.cancel()
        .catch((error: unknown) => { this.#deps.log.warn({ error }, 'a cancel did not reach the database server'); })
        .finally(() => { this.#cancelling = undefined; this.#pump(); });
    }
  }

  /** Ends the session now, telling the client why. */
  end(error: Buffer): void {
    if (this.#isOver) return;
    this.#deps.socket.end(error);
    this.#clientGone();
  }

  /** Ends it once nothing runs and no transaction is open. */
  drain(): void {
    this.#isDraining = true;
    this.#pump();
  }

  get #isTextPinned(): boolean {
    return this.#textSettings.get('client_encoding') === 'UTF8' && this.#textSettings.get('standard_conforming_strings') === 'on';
  }

  #fromClient(chunk: Buffer): void {
    if (this.#isOver) return;
    this.#reader.push(chunk);
    this.#pump();
  }

  /** Reads on unless too much waits: for a judgement, for replies, or for a server that takes no more. */
  #pace(): void {
    const isBusy = this.#isJudging || this.#waiting.length > 0 || !this.#replies.isSettled;
    if (this.#isLinkFull || (isBusy && this.#reader.bufferedBytes > readAheadBytesMax)) this.#deps.socket.pause();
    else this.#deps.socket.resume();
  }

  /** Takes the next batches as far as the state of the session allows. */
  #pump(): void {
    try {
      if (this.#hasSyncInCopy && this.#replies.isSettled) {
        this.#hasSyncInCopy = false;
        if (this.#replies.isSkipping) this.#forward(nothingPlanned, 'sync');
      }
      while (this.#mayTake) {
        const batch = this.#nextBatch();
        if (batch === undefined) {
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
    if (this.#isOver || this.#isJudging || this.#cancelling !== undefined) return false;
    return this.#replies.isSettled || (this.#replies.isCopyIn && !this.#isLinkFull);
  }

  /** Nothing more to do for now. */
  #dry(): void {
    if (!this.#replies.isSettled) return;
    if (this.#hasInputEnded) this.#clientGone();
    else if (this.#isDraining && this.#replies.status === 'idle' && !this.#replies.isUnsynced) this.end(ownErrors.shutDown());
  }

  #nextBatch(): Batch | undefined {
    for (;;) {
      const batch = this.#waiting.shift();
      if (batch !== undefined) return batch;
      const frame = this.#reader.next();
      if (frame === undefined) return undefined;
      this.#waiting.push(...this.#collector.add(frame));
    }
  }

  #take(batch: Batch): void {
    if (batch.kind === 'terminate') this.#clientGone();
    else if (this.#replies.isCopyIn) this.#copy(batch);
    else if (this.#replies.isSkipping) {
      // As the server does after an error: everything up to Sync is dropped, judged or not.
      if (batch.kind === 'extended' && batch.end === 'sync') this.#forward(nothingPlanned, 'sync');
    } else if (batch.kind !== 'copy') {
      this.#isJudging = true;
      void this.#judge(batch).then(() => { this.#isJudging = false; this.#pump(); }, (error: unknown) => { this.#fault(error); });
    }
  }

  /** While the server copies in, the data goes on untouched; Sync and Flush are ignored there, anything else breaks it off. */
  #copy(batch: Batch): void {
    if (batch.kind === 'copy') {
      this.#toServer(batch.frame.whole);
      if (batch.frame.type === frontendType.copyData) return;
      this.#replies.isCopyIn = this.#hasSyncInCopy = false;
      // The Sync behind it waits until the answer is here, and the server would wait for that Sync to send it.
      if (this.#replies.isUnsynced) this.#toServer(flushMessage);
      return;
    }
    const isSync = batch.kind === 'extended' && batch.end === 'sync';
    // The server ignores it as long as it copies. If an error ends the COPY, this is the Sync that it waits for.
    if (isSync && batch.frames.length === 0) this.#hasSyncInCopy = true;
    else {
      this.#replies.isCopyIn = false;
      this.#toServer(encodeCopyFail('the client sent another message during COPY'));
      if (isSync) this.#forward(nothingPlanned, 'sync');
    }
  }

  async #judge(batch: Exclude<Batch, { kind: 'copy' | 'terminate' }>): Promise<void> {
    let catalog: Catalog | undefined;
    try {
      const known = this.#knownCatalog();
      catalog = known ?? await this.#learn();
    } catch (error) {
      return this.#refuseWhole(batch, errorOf(failureOf(error)));
    }
    if (batch.kind === 'too-large') return this.#refuseWhole(batch, errorOf(new Failure('too_large', 'Too much was sent before a Sync or Flush.')));
    if (batch.kind === 'extended') return this.#judgeExtended(batch, catalog);
    let candidate: Candidate;
    try {
      const setting = this.#settingWith(catalog);
      candidate = batch.kind === 'query' ? queryCandidate(batch.frame, this.#deps.context, setting) : await functionCandidate(batch.frame, this.#deps.context, setting);
    } catch (error) {
      return this.#refuseWhole(batch, errorOf(failureOf(error)));
    }
    const admission = this.#admission.admit(candidate);
    const admitted = admission instanceof Promise ? await admission : admission;
    if (admitted.kind === 'refused') return this.#refuseWhole(batch, admitted.error);
    if (this.#isOver) return this.#fate.skipped(admitted.unit);
    const { registry, state } = this.#deps.context;
    if (batch.kind === 'query') registry.beginQuery();
    for (const statement of candidate.statements) state.letThrough(statement, admitted.risk);
    this.#replies.expect({ kind: batch.kind, unit: admitted.unit });
    this.#toServer(batch.frame.whole);
  }

  async #judgeExtended(batch: ExtendedBatch, catalog: Catalog): Promise<void> {
    const plan = new ExtendedPlan(this.#deps.context, this.#admission, batch.frames, () => this.#settingWith(catalog));
    const made = await plan.make((unit) => { this.#fate.skipped(unit); });
    if (!this.#isOver) return this.#forward(made, batch.end, batch.terminator);
    for (const expected of made.expected) if ('unit' in expected) this.#fate.skipped(expected.unit);
  }

  #settingWith(catalog: Catalog): Setting {
    const { state } = this.#deps.context;
    return { catalog, facts: state.facts, isPlain: state.isPlain };
  }

  /** The catalog, when nothing has to be asked before the next judgement. */
  #knownCatalog(): Catalog | undefined {
    const { state, catalogs, database } = this.#deps.context;
    if (state.isCatalogDue || ((state.isStale || state.areNamesStale) && this.#mayAsk)) return undefined;
    return catalogs.cached(database);
  }

  /** Our questions end with a Sync, so they must not fall into a pipeline; in a failed transaction they would fail. */
  get #mayAsk(): boolean { return this.#replies.status !== 'failed' && !this.#replies.isUnsynced; }

  async #learn(): Promise<Catalog> {
    const { state, registry, catalogs, database } = this.#deps.context;
    const { link } = this.#deps;
    if (state.isCatalogDue) {
      await catalogs.refresh(database);
      state.isCatalogDue = false;
    }
    if (this.#mayAsk) {
      link.markIdle();
      if (state.isStale) await learnPath(link, state, this.#replies.status);
      if (state.areNamesStale) await learnNames(link, state, registry);
    }
    return catalogs.cached(database) ?? catalogs.current(database, { fresh: true });
  }

  /** Nothing of it reaches the server. Outside of any transaction that is all; inside, the server is made to fail. */
  #refuseWhole(batch: Batch, error: Buffer): void {
    if (this.#isOver) return;
    if (batch.kind === 'extended' || batch.kind === 'too-large') return this.#forward({ frames: [], expected: [], refusal: error }, batch.kind === 'extended' ? batch.end : 'open');
    if (this.#replies.status === 'idle' && !this.#replies.isUnsynced) {
      this.#toClient(Buffer.concat([error, encodeReadyForQuery('idle')]));
      return;
    }
    this.#forward({ frames: [], expected: [], refusal: error }, 'sync');
  }

  #forward(plan: Plan, end: ExtendedBatch['end'], terminator?: Frame): void {
    for (const expected of plan.expected) this.#replies.expect(expected);
    if (plan.refusal !== undefined) this.#replies.expect({ kind: 'refusal', error: plan.refusal });
    if (end === 'sync') this.#replies.expect({ kind: 'sync' });
    // One write: as received where nothing stands between, which is nearly always.
    if (plan.refusal === undefined && terminator !== undefined) return this.#toServer(joinFrames([...plan.frames, terminator]));
    this.#toServer(Buffer.concat([joinFrames(plan.frames), plan.refusal === undefined ? noBytes : failingExecute, end === 'sync' ? syncMessage : flushMessage]));
  }

  #toServer(bytes: Buffer): void {
    if (this.#deps.link.write(bytes)) return;
    this.#isLinkFull = true;
    this.#deps.socket.pause();
  }

  #toClient(bytes: Buffer): void {
    if (this.#isOver) return;
    if (!this.#deps.socket.write(bytes)) this.#deps.link.pause();
  }

  #fromServer(chunk: Buffer): void {
    const { socket } = this.#deps;
    socket.cork();
    try {
      this.#scanner.push(chunk);
    } catch (error) {
      this.#fault(error);
    } finally {
      socket.uncork();
    }
    if (!this.#replies.isSettled && !this.#replies.isCopyIn) return;
    if (this.#isOver) this.#onSettled?.();
    else this.#pump();
  }

  #see(type: number, body: Buffer): void {
    const replacement = this.#replies.see(type, body);
    if (replacement === undefined) return;
    this.#scanner.insertBefore(replacement);
    this.#scanner.drop();
  }

  #parameterChanged(name: string, value: string): void {
    if (this.#textSettings.has(name)) this.#textSettings.set(name, value);
    const { state } = this.#deps.context;
    // PostgreSQL 18 reports it.
    if (name === 'search_path') state.reported(readSearchPath(value, state.facts.role));
  }

  /** The client is gone or has said goodbye: what runs for it is cancelled, and its outcome still awaited. */
  #clientGone(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#admission.stopWaiting();
    this.#deps.socket.end();
    void abandon(this.#deps.link, this.#replies, this.#fate, (onSettled) => { this.#onSettled = onSettled; }).catch((error: unknown) => { this.#deps.log.error({ error }, 'a session did not end well'); })
      .finally(() => { this.#deps.socket.destroySoon(); this.#deps.onEnd(); });
  }

  #serverGone(): void {
    this.#fate.lost(this.#replies.mayCommit);
    if (this.#isOver) {
      this.#onSettled?.();
      return;
    }
    this.#isOver = true;
    this.#admission.stopWaiting();
    if (!this.#isFatalSeen) this.#deps.socket.write(ownErrors.upstreamLost());
    this.#deps.socket.end();
    this.#deps.onEnd();
  }

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
