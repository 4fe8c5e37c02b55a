/**
 * Cancelling: where a cancel request of the client's strikes. It is for what the client waits for just then and must never
 * reach what comes after, so nothing new is sent to the server until the server has acted on it.
 *
 *   judging ─▶ the judgement stops     a call of our own ─▶ due, for the client's statement behind it
 *   running ─▶ the server is asked     nothing ─▶ forgotten, as PostgreSQL does
 */
import type { Log } from '../../lib/log.ts';
import type { Link } from '../../remote/postgres/link.ts';
import type { Judging } from './judging.ts';
import type { Replies } from './replies.ts';

export interface CancellingDeps {
  readonly link: Pick<Link, 'cancel' | 'isAsking'>;
  readonly replies: Pick<Replies, 'isOwnCall' | 'isCancellable'>;
  readonly judging: Pick<Judging, 'isUnderWay' | 'stop'>;
  readonly log: Log;
  /** The server has acted on it: the session goes on. */
  readonly onSent: () => void;
}

export class Cancelling {
  readonly #deps: CancellingDeps;
  #isDue = false;
  #sending: Promise<void> | undefined;

  constructor(deps: CancellingDeps) {
    this.#deps = deps;
  }

  /** Nothing new may be written. */
  get isSending(): boolean { return this.#sending !== undefined; }

  /** Resolves once no request is on its way to the server. */
  get sent(): Promise<void> { return this.#sending ?? Promise.resolve(); }

  request(): void {
    const { judging, link, replies } = this.#deps;
    if (judging.isUnderWay) {
      judging.stop();
      // It has to be answered before the client can be.
      if (link.isAsking) this.#send();
    } else if (replies.isOwnCall) this.#isDue = true;
    else if (replies.isCancellable) this.#send();
  }

  /** Replies were read, perhaps the last one to a call of our own. */
  answered(): void {
    if (!this.#isDue || this.#deps.replies.isOwnCall) return;
    this.#isDue = false;
    this.request();
  }

  #send(): void {
    if (this.#sending !== undefined) return;
    const { link, log, onSent } = this.#deps;
    this.#sending = link.cancel()
      .catch((error: unknown) => { log.warn({ error }, 'a cancel did not reach the database server'); })
      .finally(() => {
        this.#sending = undefined;
        onSent();
      });
  }
}
