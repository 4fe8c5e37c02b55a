/**
 * Link: one authenticated connection to the guarded server. It is a raw relay for one client (write, onData, pause,
 * resume) and, while that relay is idle, a way to ask questions of our own (query). The two never mix: writing marks the
 * link busy, the relay's owner marks it idle once every reply has come, and a question on a busy link is a bug.
 *
 *   connectLink → idle ─ write ─▶ busy ─ markIdle ─▶ idle ─ query ─▶ asking ─ answered ─▶ idle …   any ─▶ closed
 *
 * What a server sends on its own while a question is asked (notifications, parameter changes) goes to onData as whole
 * messages; notices then are about our question and are dropped. A cancel goes over a connection of its own.
 */
import type { Socket } from 'node:net';
import { Failure } from '../../core/failure.ts';
import { assert, Bug } from '../../lib/assert.ts';
import { decodeParameterStatus, type BackendKey } from '../../lib/pgwire/backend-decode.ts';
import { serverLimits } from '../../lib/pgwire/frame-limits.ts';
import { FrameReader, type Frame } from '../../lib/pgwire/frame-reader.ts';
import { encodeTerminate } from '../../lib/pgwire/frontend-encode.ts';
import { backendType } from '../../lib/pgwire/message-type.ts';
import { ProtocolError } from '../../lib/pgwire/protocol-error.ts';
import { sendCancel } from './link-cancel.ts';
import { findHost, type HostSearch } from './link-hosts.ts';
import { login, type Login } from './link-login.ts';
import { OwnCopyIn, OwnCopyOut, type CopyLink, type RowsWriter } from './link-copy.ts';
import { openThroughPooler } from './link-pooler.ts';
import { OwnQuery, ownName, type Question, type QueryResult } from './link-query.ts';
import { openSocket, unavailable } from './link-socket.ts';
import { fitsAttributes } from './link-session-attributes.ts';
import type { LinkAddress, LinkTarget, LoginMethod } from './link-target.ts';
import { farewellIn } from './server-error.ts';

export interface LinkOptions {
  /** The target's own when left out. */
  readonly database?: string;
  /** Start-up parameters, e.g. application_name or a search_path. What keeps judgement and server together is pinned. */
  readonly parameters?: ReadonlyMap<string, string>;
  readonly signal?: AbortSignal;
  /** For each server that is tried. */
  readonly timeoutMs?: number;
  /** The very server that another link reached, whatever it is now. */
  readonly at?: LinkAddress;
}

export interface LinkHandlers {
  /** Bytes as the server sent them; the buffer is the receiver's to keep. */
  readonly onData: (chunk: Buffer) => void;
  /** After write returned false: more may be written. */
  readonly onDrain: () => void;
  /** Once, whoever ended the link. */
  readonly onClose: (error: Error | undefined) => void;
}

export interface Link {
  /** What the server reported at login. Later changes arrive in onData. */
  readonly parameters: ReadonlyMap<string, string>;
  readonly serverMajor: number;
  readonly processId: number;
  readonly isEncrypted: boolean;
  /** Where it went, down to the IP address: a cancel, and a second link to the same server, go there too. */
  readonly address: LinkAddress;
  readonly loginMethod: LoginMethod;
  readonly isBound: boolean;
  /** Receives the stream from now on; without it what is no answer to a question is dropped. */
  relay(handlers: LinkHandlers): void;
  /** False when the caller should wait for onDrain. Marks the link busy. */
  write(bytes: Buffer): boolean;
  /** Written and not yet taken by the system. */
  readonly bytesUnsent: number;
  /** Joins the writes until uncork. */
  cork(): void;
  uncork(): void;
  pause(): void;
  resume(): void;
  /** Every reply to what was written has been received. */
  markIdle(): void;
  /** A question of our own is on its way: nothing may be written. */
  readonly isAsking: boolean;
  /**
   * One statement, parameters and results as text. Questions wait for each other. Inside a transaction block an error
   * aborts the client's transaction, and in a failed one every question fails with 25P02. Throws ServerError, or
   * Failure when the link is lost or the answer takes longer than `timeoutMs` (which ends the link).
   *
   * The question runs in the client's session: qualify every name (its search_path applies, and so do its role and its
   * time-outs), and ask nothing between BEGIN and the client's first statement, because a question takes the
   * transaction's snapshot, after which SET TRANSACTION ISOLATION LEVEL fails.
   */
  query(sql: string, parameters?: readonly (string | null)[], timeoutMs?: number): Promise<QueryResult>;
  /** The same with values as a client gave them, or to learn the types of the parameters. */
  ask(question: Question, timeoutMs?: number): Promise<QueryResult>;
  /** Several in one round trip; none runs behind one that failed. Throws Failure `too_large` also beyond `bytesMax`. */
  askAll(questions: readonly Question[], bytesMax?: number, timeoutMs?: number): Promise<readonly QueryResult[]>;
  /**
   * `COPY … TO STDOUT`: hands `write` whole rows as the server prints them, and takes no more while its promise is pending.
   * Returns how many there were, once all are written. Throws what `write` threw, or as `query` does; `silenceMsMax` is for each
   * time that the server lets us wait. As for a question, whatever was thrown the link is usable again unless it was lost.
   */
  copyOut(sql: string, write: RowsWriter, silenceMsMax?: number): Promise<number>;
  /** `COPY … FROM STDIN`: sends what `source` yields, cut anywhere, and takes no more while the connection is full. Throws as `copyOut`. */
  copyIn(sql: string, source: AsyncIterable<Buffer>, silenceMsMax?: number): Promise<number>;
  /**
   * Asks the server to cancel what runs on this link. Returns when the server has acted on the request: until then
   * nothing new may be written, or the cancel could hit it.
   */
  cancel(): Promise<void>;
  /** Says goodbye, sends what is still to be written, and resolves when the connection is closed. */
  end(): Promise<void>;
  destroy(): void;
}

const connectMsMax = 10_000;
const queryMsMax = 60_000;
/** A COPY can wait for disks, and in the end for the triggers and foreign keys of all its rows. */
const copySilenceMsMax = 600_000;
const endMsMax = 5_000;

/**
 * The parser and the judgement know UTF-8 and standard strings only (a backslash is a character, not an escape), so
 * the server is told and held to the same.
 */
const pinned: readonly (readonly [name: string, value: string])[] = [['client_encoding', 'UTF8'], ['standard_conforming_strings', 'on']];
const ownedParameters: ReadonlySet<string> = new Set(['user', 'database', 'replication', ...pinned.map(([name]) => name)]);

export async function connectLink(target: LinkTarget, options: LinkOptions = {}): Promise<Link> {
  const asked = startupParameters(target, options);
  const search: HostSearch<Link> = {
    attempt: (address) => connectAt(target, address, asked, options),
    fits: (link, wanted) => fitsAttributes(link, wanted, asked),
    drop: (link) => { link.destroy(); },
    random: Math.random, isOver: () => options.signal?.aborted === true,
  };
  return options.at === undefined ? findHost(target, search) : search.attempt(options.at);
}

async function connectAt(target: LinkTarget, address: LinkAddress, asked: ReadonlyMap<string, string>, options: LinkOptions): Promise<Link> {
  const timeout = AbortSignal.timeout(options.timeoutMs ?? target.connectMsMax ?? connectMsMax);
  const signal = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
  try {
    return await openThroughPooler(target, asked, (parameters) => open(target, address, parameters, signal));
  } catch (error) {
    if (error instanceof Failure || error instanceof Bug) throw error;
    if (error instanceof ProtocolError) throw unavailable('What answers there does not speak the PostgreSQL protocol', address, error);
    throw unavailable('The database server cannot be reached', address, signal.aborted ? signal.reason : error);
  }
}

async function open(target: LinkTarget, address: LinkAddress, asked: ReadonlyMap<string, string>, signal: AbortSignal): Promise<Link> {
  const opened = await openSocket(target, address, signal);
  try {
    const entered = await login({ open: opened, target, address }, asked, signal);
    checkPinned(entered.parameters);
    return new SocketLink(opened.socket, { ...entered, target, address, isEncrypted: opened.isEncrypted });
  } catch (error) {
    opened.socket.destroy();
    throw error;
  }
}

function startupParameters(target: LinkTarget, options: LinkOptions): ReadonlyMap<string, string> {
  const wished = [...options.parameters ?? []];
  const owned = wished.find(([name]) => ownedParameters.has(name.toLowerCase()));
  assert(owned === undefined, `the start-up parameter ${owned?.[0] ?? ''} is not for the caller to choose`);
  return new Map([['user', target.user], ['database', options.database ?? target.database], ...target.parameters, ...wished, ...pinned]);
}

function checkPinned(parameters: ReadonlyMap<string, string>): void {
  for (const [name, value] of pinned) {
    if (parameters.get(name) === value) continue;
    throw new Failure('upstream_unsupported', `The database server does not keep ${name} at ${value}.`, {
      hint: `Let the server, or the pooler before it, accept ${name} at start-up.`,
    });
  }
}

interface SocketLinkFacts extends Login {
  readonly target: LinkTarget;
  readonly address: LinkAddress;
  readonly isEncrypted: boolean;
}

type OwnExchange = OwnQuery | OwnCopyOut | OwnCopyIn;

interface Asking {
  readonly exchange: OwnExchange;
  readonly question: Pick<Question, 'hiddenSettings' | 'isOfLogin'>;
  readonly resolve: (result: QueryResult) => void;
  readonly reject: (error: Error) => void;
  /** Waits as long again. */
  readonly moved: () => void;
}

class SocketLink implements Link {
  readonly parameters: Map<string, string>;
  readonly serverMajor: number;
  readonly processId: number;
  readonly isEncrypted: boolean;
  readonly address: LinkAddress;
  readonly loginMethod: LoginMethod;
  readonly isBound: boolean;
  readonly #socket: Socket;
  readonly #target: LinkTarget;
  readonly #key: BackendKey | undefined;
  readonly #reader = new FrameReader(serverLimits);
  #handlers: LinkHandlers | undefined;
  #isBusy = false;
  #asking: Asking | undefined;
  #isCopying = false;
  #lastQuestion: Promise<unknown> = Promise.resolve();
  #isClosed = false;
  #error: Error | undefined;

  constructor(socket: Socket, facts: SocketLinkFacts) {
    this.#socket = socket;
    this.#target = facts.target;
    this.#key = facts.key;
    this.address = facts.address;
    this.loginMethod = facts.method;
    this.isBound = facts.isBound;
    this.parameters = new Map(facts.parameters);
    this.isEncrypted = facts.isEncrypted;
    this.processId = facts.key?.processId ?? 0;
    this.serverMajor = Number.parseInt(facts.parameters.get('server_version') ?? '0', 10);
    socket.on('data', (chunk: Buffer) => { this.#receive(chunk); });
    socket.on('drain', () => { this.#handlers?.onDrain(); });
    socket.on('error', (error) => { this.#error ??= error; });
    socket.on('close', () => { this.#closed(); });
    if (facts.rest.length > 0) socket.unshift(facts.rest);
    if (socket.destroyed) queueMicrotask(() => { this.#closed(); });
    else socket.resume();
  }

  relay(handlers: LinkHandlers): void {
    assert(this.#handlers === undefined, 'a link is relayed twice');
    this.#handlers = handlers;
    if (this.#isClosed) queueMicrotask(() => { handlers.onClose(this.#error); });
  }

  write(bytes: Buffer): boolean {
    assert(this.#asking === undefined, 'a relay writes while a question of our own is asked');
    this.#isBusy = true;
    return this.#socket.write(bytes);
  }

  get bytesUnsent(): number { return this.#socket.writableLength; }
  cork(): void { this.#socket.cork(); }
  uncork(): void { this.#socket.uncork(); }
  pause(): void { this.#socket.pause(); }
  resume(): void { this.#socket.resume(); }
  markIdle(): void { this.#isBusy = false; }
  get isAsking(): boolean { return this.#asking !== undefined || this.#isCopying; }

  query(sql: string, parameters: readonly (string | null)[] = [], timeoutMs = queryMsMax): Promise<QueryResult> {
    return this.ask({ sql, values: parameters.map((value) => (value === null ? null : Buffer.from(value))) }, timeoutMs);
  }

  ask(question: Question, timeoutMs = queryMsMax): Promise<QueryResult> {
    return this.#inTurn(() => {
      const query = new OwnQuery(ownName());
      return this.#exchange(query, query.start([question]), question, timeoutMs);
    });
  }

  askAll(questions: readonly Question[], bytesMax?: number, timeoutMs = queryMsMax): Promise<readonly QueryResult[]> {
    return this.#inTurn(async () => {
      const query = new OwnQuery(ownName());
      await this.#exchange(query, query.start(questions, bytesMax), questions[0] ?? {}, timeoutMs);
      return query.answers;
    });
  }

  copyOut(sql: string, write: RowsWriter, silenceMsMax = copySilenceMsMax): Promise<number> {
    return this.#copy((link) => new OwnCopyOut(ownName(), sql, write, link), silenceMsMax);
  }

  copyIn(sql: string, source: AsyncIterable<Buffer>, silenceMsMax = copySilenceMsMax): Promise<number> {
    return this.#copy((link) => new OwnCopyIn(ownName(), sql, source, link), silenceMsMax);
  }

  cancel(): Promise<void> {
    return this.#key === undefined ? Promise.resolve() : sendCancel(this.#target, this.address, this.#key);
  }

  async end(): Promise<void> {
    if (this.#isClosed) return;
    const closed = new Promise<void>((resolve) => { this.#socket.once('close', () => { resolve(); }); });
    const timer = setTimeout(() => { this.#socket.destroy(); }, endMsMax);
    this.#socket.end(encodeTerminate());
    // A paused socket would never see the other side's end.
    this.#socket.resume();
    await closed;
    clearTimeout(timer);
  }

  destroy(): void { this.#socket.destroy(); }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    assert(!this.#isBusy, 'a question of our own is asked while the relay is busy');
    const answer = this.#lastQuestion.then(work);
    this.#lastQuestion = answer.catch(() => { /* who asked is told; the next question does not depend on it */ });
    return answer;
  }

  #copy(make: (link: CopyLink) => OwnCopyOut | OwnCopyIn, silenceMsMax: number): Promise<number> {
    return this.#inTurn(async () => {
      const copy = make({ socket: this.#socket, cancel: () => this.cancel(), moved: () => { this.#asking?.moved(); } });
      this.#isCopying = true;
      try {
        const { command } = await this.#exchange(copy, copy.start(), {}, silenceMsMax).finally(() => copy.written());
        return command.rows ?? 0;
      } finally {
        this.#isCopying = false;
      }
    });
  }

  #exchange(exchange: OwnExchange, start: Buffer, question: Asking['question'], silenceMsMax: number): Promise<QueryResult> {
    if (this.#isClosed) return Promise.reject(this.#lost());
    assert(!this.#isBusy, 'a question of our own is asked while the relay is busy');
    return new Promise<QueryResult>((resolve, reject) => {
      const timer = setTimeout(() => {
        if (exchange.isHeld) timer.refresh();
        else this.#giveUp(silenceMsMax);
      }, silenceMsMax);
      this.#asking = {
        exchange, question, moved: () => { timer.refresh(); },
        resolve: (result) => { clearTimeout(timer); resolve(result); },
        reject: (error) => { clearTimeout(timer); reject(error); },
      };
      this.#socket.write(start);
      this.#socket.resume();
    });
  }

  /** A server notices that its client has gone only when it next writes, so the question is cancelled as well. */
  #giveUp(timeoutMs: number): void {
    this.#socket.destroy(new Error(`no answer within ${timeoutMs} ms`));
    this.cancel().catch(() => { /* whoever waits is told of the time-out, which is the cause of both */ });
  }

  #receive(chunk: Buffer): void {
    if (this.#asking === undefined) {
      this.#handlers?.onData(chunk);
      return;
    }
    try {
      this.#reader.push(chunk);
      this.#readAnswers();
    } catch (error) {
      this.#socket.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #readAnswers(): void {
    for (let asking = this.#asking; asking !== undefined; asking = this.#asking) {
      if (asking.exchange instanceof OwnCopyOut) asking.exchange.takeRows(this.#reader.takeBodies(backendType.copyData));
      const frame = this.#reader.next();
      if (frame === undefined) return asking.exchange.flush();
      if (!this.#passOn(frame, asking)) this.#take(asking, frame);
    }
    const rest = this.#reader.takeRest();
    if (rest.length > 0) this.#handlers?.onData(rest);
  }

  /** True for what the server says on its own. */
  #passOn(frame: Frame, { question }: Asking): boolean {
    const isForRelay = frame.type === backendType.parameterStatus || frame.type === backendType.notificationResponse;
    if (frame.type === backendType.parameterStatus) {
      const { name, value } = decodeParameterStatus(frame.body);
      if (question.hiddenSettings?.has(name) === true) return true;
      if (question.isOfLogin === true) this.parameters.set(name, value);
    }
    const farewell = farewellIn(frame);
    if (isForRelay || farewell !== undefined) this.#handlers?.onData(farewell ?? frame.whole);
    return isForRelay || frame.type === backendType.noticeResponse;
  }

  #take(asking: Asking, frame: Frame): void {
    const step = asking.exchange.take(frame);
    switch (step.kind) {
      case 'more': return;
      case 'send': this.#socket.write(step.bytes); return;
      case 'answered': this.#asking = undefined; asking.resolve(step.result); return;
      case 'failed': this.#asking = undefined; asking.reject(step.error); return;
    }
  }

  #closed(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#asking?.reject(this.#lost());
    this.#asking = undefined;
    this.#handlers?.onClose(this.#error);
  }

  #lost(): Failure {
    return unavailable('The connection to the database server was lost', this.address, this.#error ?? new Error('closed'));
  }
}
