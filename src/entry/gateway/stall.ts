/**
 * Stall: tells when a client has stopped in the middle of something: a message half sent, or answers left unread. Either
 * would keep memory here and locks on the server for as long as the client likes. It is looked at from time to time, so
 * watching costs nothing per message, and what we ourselves stopped reading is nobody's stall.
 */
export interface Watched {
  /** A message has begun and is not complete, and we would read on. */
  readonly isMessageOpen: boolean;
  readonly bytesRead: number;
  /** Bytes for the client that the system has not taken. */
  readonly bytesUnwritten: number;
}
export type StallKind = 'reading' | 'writing';

export class Stall {
  readonly #msMax: number;
  #reading: { readonly sinceMs: number; readonly bytesRead: number } | undefined;
  #writing: { readonly sinceMs: number; readonly bytesUnwritten: number } | undefined;

  constructor(msMax: number) {
    this.#msMax = msMax;
  }

  look({ isMessageOpen, bytesRead, bytesUnwritten }: Watched, nowMs: number): StallKind | undefined {
    if (!isMessageOpen) this.#reading = undefined;
    else if (this.#reading?.bytesRead !== bytesRead) this.#reading = { sinceMs: nowMs, bytesRead };
    if (bytesUnwritten === 0) this.#writing = undefined;
    else if (this.#writing?.bytesUnwritten !== bytesUnwritten) this.#writing = { sinceMs: nowMs, bytesUnwritten };
    if (this.#reading !== undefined && nowMs - this.#reading.sinceMs > this.#msMax) return 'reading';
    if (this.#writing !== undefined && nowMs - this.#writing.sinceMs > this.#msMax) return 'writing';
    return undefined;
  }
}
