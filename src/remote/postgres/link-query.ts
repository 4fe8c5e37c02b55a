/**
 * OwnQuery: questions of our own on a link that is also a client's, sent in one batch. Each uses a named statement and a
 * named portal, closed again in the same batch, because the unnamed ones belong to the client and must survive. The answers
 * are read whole, in text format, within a bound. It knows no socket: it is given messages and says what to send.
 */
import { randomBytes } from 'node:crypto';
import {
  decodeCommandComplete, decodeDataRow, decodeParameterDescription, decodeReadyForQuery, decodeRowDescription, type CommandTag,
} from '../../lib/pgwire/backend-decode.ts';
import { decodeDiagnostic } from '../../lib/pgwire/diagnostic.ts';
import type { ValueFormat } from '../../lib/pgwire/frontend-decode.ts';
import type { Frame } from '../../lib/pgwire/frame-reader.ts';
import { encodeBind, encodeClose, encodeDescribe, encodeExecute, encodeParse, encodeSync } from '../../lib/pgwire/frontend-encode.ts';
import { backendType, typeName } from '../../lib/pgwire/message-type.ts';
import { ProtocolError } from '../../lib/pgwire/protocol-error.ts';
import { Failure } from '../../core/failure.ts';
import { ServerError } from './server-error.ts';

export interface Question {
  readonly sql: string;
  /** Type OIDs; 0 or absent: as the server infers. */
  readonly parameterTypes?: readonly number[];
  readonly formats?: readonly ValueFormat[];
  readonly values?: readonly (Buffer | null)[];
  /** Settings that are changed and set back by questions: nobody is told. */
  readonly hiddenSettings?: ReadonlySet<string>;
  /** It belongs to the login: the settings that it changes are reported as the session's own. */
  readonly isOfLogin?: boolean;
  /** Nothing runs; the answer holds the types of the parameters. */
  readonly isDescribed?: boolean;
}

export interface QueryResult {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | null)[])[];
  readonly command: CommandTag;
  /** Of a described question. */
  readonly parameterTypes: readonly number[];
}

export type Ask = (question: Question) => Promise<QueryResult>;

export type OwnQueryStep =
  | { readonly kind: 'more' }
  /** Send this; more answers follow. */
  | { readonly kind: 'send'; readonly bytes: Buffer }
  | { readonly kind: 'answered'; readonly result: QueryResult }
  | { readonly kind: 'failed'; readonly error: Error };

const more: OwnQueryStep = { kind: 'more' };
const silentTypes: ReadonlySet<number> = new Set([
  backendType.parseComplete, backendType.bindComplete, backendType.noData, backendType.emptyQueryResponse,
]);
const resultBytesMax = 256 * 1024 * 1024;
/** Of its portal and its statement, behind everything else that answers a question. */
const closesPerQuestion = 2;

interface Answer {
  columns: readonly string[];
  rows: (readonly (string | null)[])[];
  command: CommandTag;
  parameterTypes: readonly number[];
}

/** Unguessable, so that no client can have prepared a statement under it. */
export function ownName(): string { return `own_${randomBytes(8).toString('hex')}`; }

function noAnswer(): Answer { return { columns: [], rows: [], command: { command: '', rows: null }, parameterTypes: [] }; }

export class OwnQuery {
  readonly #name: string;
  readonly #answers: QueryResult[] = [];
  #answer = noAnswer();
  #bytesMax = resultBytesMax;
  #bytes = 0;
  #closes = 0;
  #error: Error | undefined;
  #isCleaned = false;

  /** `name` is for statement and portal; nothing of the client's may have it. */
  constructor(name: string) {
    this.#name = name;
  }

  /** All of its time is the server's. */
  get isHeld(): boolean { return false; }

  /** What all questions were answered, in their order. */
  get answers(): readonly QueryResult[] { return this.#answers; }

  /** The first that fails keeps those behind it from being asked. */
  start(questions: readonly Question[], bytesMax = resultBytesMax): Buffer {
    this.#bytesMax = bytesMax;
    return Buffer.concat([...questions.flatMap((question) => [this.#asking(question), this.#closing()]), encodeSync()]);
  }

  #asking({ sql, parameterTypes = [], formats = [], values = [], isDescribed = false }: Question): Buffer {
    const [statement, portal] = [this.#name, this.#name];
    const parse = encodeParse({ statement, sql, parameterTypes });
    if (isDescribed) return Buffer.concat([parse, encodeDescribe({ target: 'statement', name: statement })]);
    return Buffer.concat([
      parse, encodeBind({ portal, statement, formats, values, resultFormats: [] }),
      encodeDescribe({ target: 'portal', name: portal }), encodeExecute({ portal, rowsMax: 0 }),
    ]);
  }

  /** Takes every message but notices, notifications and parameter changes, which are not answers. */
  take(frame: Frame): OwnQueryStep {
    switch (frame.type) {
      case backendType.rowDescription: this.#answer.columns = decodeRowDescription(frame.body).map(({ name }) => name); return more;
      case backendType.parameterDescription: this.#answer.parameterTypes = decodeParameterDescription(frame.body); return more;
      case backendType.dataRow: this.#addRow(frame); return more;
      case backendType.commandComplete: this.#answer.command = decodeCommandComplete(frame.body); return more;
      case backendType.closeComplete: this.#closed(); return more;
      case backendType.errorResponse: this.#error ??= new ServerError(decodeDiagnostic(frame.body)); return more;
      case backendType.readyForQuery: decodeReadyForQuery(frame.body); return this.#finish();
      default:
        if (silentTypes.has(frame.type)) return more;
        throw new ProtocolError('out-of-order', `message type ${typeName(frame.type)} in answer to a query`);
    }
  }

  flush(): void { /* an answer is handed on whole */ }

  #closed(): void {
    this.#closes += 1;
    if (this.#closes % closesPerQuestion !== 0) return;
    this.#answers.push(this.#answer);
    this.#answer = noAnswer();
  }

  #finish(): OwnQueryStep {
    const [result] = this.#answers;
    if (this.#error === undefined && result !== undefined) return { kind: 'answered', result };
    if (this.#isCleaned) return { kind: 'failed', error: this.#error ?? new ProtocolError('out-of-order', 'no answer to a query') };
    // After an error the server skipped the closing messages, so the statement may still be there.
    this.#isCleaned = true;
    return { kind: 'send', bytes: Buffer.concat([this.#closing(), encodeSync()]) };
  }

  #closing(): Buffer {
    const name = this.#name;
    return Buffer.concat([encodeClose({ target: 'portal', name }), encodeClose({ target: 'statement', name })]);
  }

  #addRow(frame: Frame): void {
    this.#bytes += frame.body.length;
    if (this.#bytes > this.#bytesMax) {
      this.#answer.rows.length = 0;
      this.#error ??= new Failure('too_large', `An answer of the database server is larger than ${this.#bytesMax} bytes.`);
    }
    if (this.#error === undefined) this.#answer.rows.push(decodeDataRow(frame.body).map((value) => value?.toString('utf8') ?? null));
  }
}
