/**
 * WithheldReplies: what the client of a protected batch is not told yet. Rows and everything before the last command tag go
 * on as they come; from that tag on, and ReadyForQuery in any case, nothing does until it is known whether the batch may
 * last. An error is shown at once unless something before it is withheld.
 */
import { decodeCommandComplete } from '../../lib/pgwire/backend-decode.ts';
import { encodeReadyForQuery } from '../../lib/pgwire/backend-encode.ts';
import { headerBytes } from '../../lib/pgwire/frame-reader.ts';
import { backendType } from '../../lib/pgwire/message-type.ts';
import { hide, type Seen } from './expected.ts';

export interface SeenMessage {
  readonly type: number;
  readonly bytes: Buffer;
  /** The whole message is `bytes[start, end)`. */
  readonly start: number;
  readonly end: number;
  /** It answers something of our own. */
  readonly isOwn: boolean;
}

const tags: ReadonlySet<number> = new Set([backendType.commandComplete, backendType.portalSuspended, backendType.emptyQueryResponse]);
const readyBytes = encodeReadyForQuery('idle').length;

export class WithheldReplies {
  readonly #tagsMax: number;
  #tags = 0;
  readonly #pieces: Buffer[] = [];
  #hasFailed = false;
  #rows: number | undefined;

  /** `tagsMax`: the last tag is the one of that number; infinite: none is withheld. */
  constructor(tagsMax: number) {
    this.#tagsMax = tagsMax;
  }

  /** The client has been told of an error, or will be. */
  get hasFailed(): boolean { return this.#hasFailed; }

  /** As the last tag says. */
  get rows(): number | undefined { return this.#rows; }

  get bytes(): Buffer { return Buffer.concat(this.#pieces); }

  /** `seen`: what would be shown of it. Returns what is. */
  see(message: SeenMessage, seen: Seen): Seen {
    const { type, bytes, start, end, isOwn } = message;
    if (type === backendType.errorResponse && seen?.length !== 0) this.#hasFailed = true;
    if (type === backendType.readyForQuery) return this.#keep(seen === undefined ? hide : seen.subarray(0, Math.max(0, seen.length - readyBytes)));
    if (tags.has(type) && !isOwn) {
      this.#tags += 1;
      this.#rows = type === backendType.commandComplete ? decodeCommandComplete(bytes, start + headerBytes, end).rows ?? undefined : undefined;
    }
    return this.#tags < this.#tagsMax ? seen : this.#keep(seen ?? Buffer.from(bytes.subarray(start, end)));
  }

  #keep(piece: Buffer): Buffer {
    if (piece.length > 0) this.#pieces.push(piece);
    return hide;
  }
}
