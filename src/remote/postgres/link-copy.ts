/**
 * OwnCopyOut and OwnCopyIn: one COPY of our own on a link that is also a client's, under names that nobody can guess, closed
 * again in the end. Rows flow at the speed of the slower side: while the writer's promise is pending the socket is paused, and
 * while the socket is full no more is taken from the source, so memory stays flat however many rows there are. Whatever goes
 * wrong, the server has answered with ReadyForQuery before the copy is over, so the link can be used again.
 */
import type { Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { decodeCommandComplete } from '../../lib/pgwire/backend-decode.ts';
import { decodeDiagnostic } from '../../lib/pgwire/diagnostic.ts';
import type { Frame } from '../../lib/pgwire/frame-reader.ts';
import { encodeBind, encodeClose, encodeCopyData, encodeCopyDone, encodeCopyFail, encodeExecute, encodeParse, encodeSync } from '../../lib/pgwire/frontend-encode.ts';
import { backendType, typeName } from '../../lib/pgwire/message-type.ts';
import { ProtocolError } from '../../lib/pgwire/protocol-error.ts';
import type { OwnQueryStep, QueryResult } from './link-query.ts';
import { ServerError } from './server-error.ts';

/** Takes whole rows as COPY prints them; the buffer is the writer's to keep. A promise holds the next rows back. */
export type RowsWriter = (rows: Buffer) => Promise<void> | undefined;

/** What the link lets a copy do: `cancel` resolves once the server has acted on it. */
export interface CopyLink {
  readonly socket: Pick<Socket, 'pause' | 'resume' | 'write' | 'once' | 'off' | 'destroyed'>;
  readonly cancel: () => Promise<void>;
  /** Something moved: whoever waits for the server may wait as long again. */
  readonly moved: () => void;
}

/** While a system takes all at once and a source is always ready, nobody else would have a turn, nor the server's refusal be heard. */
const turnBytesMax = 256 * 1024;

const more: OwnQueryStep = { kind: 'more' };
const silentTypes: ReadonlySet<number> = new Set([backendType.parseComplete, backendType.bindComplete, backendType.closeComplete, backendType.emptyQueryResponse]);

function starting(name: string, sql: string): Buffer {
  return Buffer.concat([
    encodeParse({ statement: name, sql, parameterTypes: [] }),
    encodeBind({ portal: name, statement: name, formats: [], values: [], resultFormats: [] }), encodeExecute({ portal: name, rowsMax: 0 }),
  ]);
}

function closing(name: string): Buffer {
  return Buffer.concat([encodeClose({ target: 'portal', name }), encodeClose({ target: 'statement', name }), encodeSync()]);
}

/** How an own copy ends: as an own query does, and with the closing messages once more where an error skipped them. */
class CopyEnd {
  readonly #name: string;
  #result: QueryResult = { columns: [], rows: [], command: { command: '', rows: null }, parameterTypes: [] };
  #error: Error | undefined;
  #isCleaned = false;

  constructor(name: string) {
    this.#name = name;
  }

  get hasFailed(): boolean { return this.#error !== undefined; }

  take(frame: Frame): OwnQueryStep {
    switch (frame.type) {
      case backendType.commandComplete: this.#result = { ...this.#result, command: decodeCommandComplete(frame.body) }; return more;
      case backendType.errorResponse: this.#error ??= new ServerError(decodeDiagnostic(frame.body)); return more;
      case backendType.readyForQuery: return this.#finish();
      default:
        if (silentTypes.has(frame.type)) return more;
        throw new ProtocolError('out-of-order', `message type ${typeName(frame.type)} in answer to a COPY`);
    }
  }

  #finish(): OwnQueryStep {
    if (this.#error === undefined) return { kind: 'answered', result: this.#result };
    if (this.#isCleaned) return { kind: 'failed', error: this.#error };
    this.#isCleaned = true;
    return { kind: 'send', bytes: closing(this.#name) };
  }
}

export class OwnCopyOut {
  readonly #name: string;
  readonly #sql: string;
  readonly #write: RowsWriter;
  readonly #link: CopyLink;
  readonly #end: CopyEnd;
  #rows: Buffer[] = [];
  #writing: Promise<void> | undefined;
  #cancelling: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(name: string, sql: string, write: RowsWriter, link: CopyLink) {
    this.#name = name;
    this.#sql = sql;
    this.#write = write;
    this.#link = link;
    this.#end = new CopyEnd(name);
  }

  /** The writer is at work: it is not the server that lets us wait. */
  get isHeld(): boolean { return this.#writing !== undefined; }

  start(): Buffer { return Buffer.concat([starting(this.#name, this.#sql), closing(this.#name)]); }

  take(frame: Frame): OwnQueryStep {
    switch (frame.type) {
      case backendType.copyData: this.#rows.push(frame.body); return more;
      case backendType.copyOutResponse: return more;
      case backendType.copyDone: this.flush(); return more;
      default: return this.#end.take(frame);
    }
  }

  /** Many at once: an object for each row would cost more than the row. */
  takeRows(rows: Buffer | undefined): void {
    if (rows !== undefined) this.#rows.push(rows);
  }

  /** Hands on the rows that were received so far. */
  flush(): void {
    const [first, ...others] = this.#rows;
    if (first === undefined) return;
    this.#link.moved();
    const rows = others.length === 0 ? first : Buffer.concat(this.#rows);
    this.#rows = [];
    if (this.#failure !== undefined) return;
    // A relay may have resumed the socket meanwhile; the order of the rows stays.
    const writing = this.#writing === undefined ? this.#attempt(rows) : this.#writing.then(() => this.#attempt(rows));
    if (writing === undefined) return;
    this.#link.socket.pause();
    const held = writing.then(() => {
      if (this.#writing !== held) return;
      this.#writing = undefined;
      this.#link.moved();
      this.#link.socket.resume();
    });
    this.#writing = held;
  }

  /** Once the server has answered: until every row is written, or what the writer failed with is thrown. */
  async written(): Promise<void> {
    await this.#writing;
    await this.#cancelling;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Never rejects: a writer that fails ends the copy. */
  #attempt(rows: Buffer): Promise<void> | undefined {
    if (this.#failure !== undefined) return undefined;
    try {
      return this.#write(rows)?.catch((error: unknown) => { this.#fail(error); });
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }

  /** The server cannot be told within the stream that nobody wants the rest. */
  #fail(error: unknown): void {
    this.#failure = { error };
    this.#cancelling = this.#link.cancel().catch(() => { /* then the rest comes, and is dropped */ });
  }
}

export class OwnCopyIn {
  readonly #name: string;
  readonly #sql: string;
  readonly #source: AsyncIterable<Buffer>;
  readonly #link: CopyLink;
  readonly #end: CopyEnd;
  #isPumping = false;
  /** Nothing more of the source is sent. */
  #isOver = false;
  #isHeld = false;
  #bytesOfTurn = 0;
  #failure: { readonly error: unknown } | undefined;

  constructor(name: string, sql: string, source: AsyncIterable<Buffer>, link: CopyLink) {
    this.#name = name;
    this.#sql = sql;
    this.#source = source;
    this.#link = link;
    this.#end = new CopyEnd(name);
  }

  /** The source is at work: it is not the server that lets us wait. */
  get isHeld(): boolean { return this.#isHeld; }

  /** A server that takes rows ignores this Sync; one that refuses the statement needs it. */
  start(): Buffer { return Buffer.concat([starting(this.#name, this.#sql), encodeSync()]); }

  take(frame: Frame): OwnQueryStep {
    if (frame.type === backendType.copyInResponse) {
      void this.#pump();
      return more;
    }
    const step = this.#end.take(frame);
    if (!this.#isPumping || !this.#end.hasFailed || this.#isOver) return step;
    // The first Sync was ignored; the server skips what is on its way up to another one.
    this.#isOver = true;
    return { kind: 'send', bytes: encodeSync() };
  }

  flush(): void { /* what the server says while it takes rows is no row */ }

  /** Once the server has answered: throws what the source failed with. */
  async written(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #pump(): Promise<void> {
    this.#isPumping = true;
    try {
      this.#isHeld = true;
      for await (const rows of this.#source) {
        this.#isHeld = false;
        await this.#send(rows);
        if (this.#isDone) return;
        this.#isHeld = true;
      }
      this.#finish(encodeCopyDone());
    } catch (error) {
      this.#failure = { error };
      this.#finish(encodeCopyFail('the rows cannot be read'));
    } finally {
      this.#isHeld = false;
    }
  }

  get #isDone(): boolean { return this.#isOver || this.#link.socket.destroyed; }

  #finish(last: Buffer): void {
    if (this.#isDone) return;
    this.#isOver = true;
    this.#link.moved();
    this.#link.socket.write(Buffer.concat([last, closing(this.#name)]));
  }

  async #send(rows: Buffer): Promise<void> {
    if (this.#isDone) return;
    this.#link.moved();
    this.#bytesOfTurn += rows.length;
    if (!this.#link.socket.write(encodeCopyData(rows))) await drained(this.#link.socket);
    if (this.#bytesOfTurn < turnBytesMax) return;
    this.#bytesOfTurn = 0;
    await setImmediate();
  }
}

/** Ends when more may be written, or when nothing ever will be. */
function drained(socket: CopyLink['socket']): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.once('drain', done);
    socket.once('close', done);
  });
}
