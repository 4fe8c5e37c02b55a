/**
 * Judging: the judgement of one batch for as long as it has to wait, for the catalog, the server or a person; and what is
 * kept of it before it runs and before it may commit (protected-run.ts), for which all of this holds too. A cancel request, or the end of the client or of its server, stops it; what of the batch is not judged by then is refused. Answers
 * that come over connections of our own are not waited for any longer. A question on the client's own link still is,
 * because nothing else may be written there before its answer has come.
 */
import { Failure } from '../../core/failure.ts';

export class Judging {
  #stop: AbortController | undefined;
  #work: Promise<void> | undefined;

  get isUnderWay(): boolean { return this.#work !== undefined; }
  get isStopped(): boolean { return this.#stop?.signal.aborted === true; }
  /** Of this judgement; made only for one that waits. */
  get signal(): AbortSignal { return (this.#stop ??= new AbortController()).signal; }

  /** Resolves when no judgement is under way, and every permit of it has gone where it belongs. */
  get ended(): Promise<void> { return this.#work?.catch(() => { /* told to who waits for it */ }) ?? Promise.resolve(); }

  /** The judgement, and what is done with it, up to the moment when the next one may begin. */
  async during(work: Promise<void>): Promise<void> {
    this.#work = work;
    try {
      await work;
    } finally {
      // What was begun meanwhile goes on, and with it what has stopped both.
      if (this.#work === work) this.#work = this.#stop = undefined;
    }
  }

  stop(): void { (this.#stop ??= new AbortController()).abort(); }

  /** Throws Failure `cancelled` as soon as the judgement is stopped. */
  async unlessStopped<T>(answer: Promise<T>): Promise<T> {
    const { signal } = this;
    let stopped = (): void => undefined;
    const stop = new Promise<never>((_resolve, reject) => {
      stopped = () => { reject(cancelled()); };
      if (signal.aborted) stopped();
      else signal.addEventListener('abort', stopped, { once: true });
    });
    try {
      return await Promise.race([stop, answer]);
    } finally {
      signal.removeEventListener('abort', stopped);
    }
  }
}

/** In PostgreSQL's words. */
export function cancelled(): Failure {
  return new Failure('cancelled', 'canceling statement due to user request');
}
