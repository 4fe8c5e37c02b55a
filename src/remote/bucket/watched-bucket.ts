/**
 * WatchedBucket: a bucket that knows how well it is. It is opened when it is first used, and again after it could not be;
 * the last answer counts, and where there was none for long, or a bad one, a small object is put and read back to see. So
 * whoever holds locks need not find out by waiting that nothing can be kept.
 */
import { zstdCompressSync } from 'node:zlib';
import { Failure } from '../../core/failure.ts';
import type { Clock } from '../../lib/clock.ts';
import { putVerified, type Bucket, type ObjectKind, type ObjectName, type Written } from './bucket.ts';

export interface WatchedBucket extends Bucket {
  /** undefined: nothing is known to be wrong with it. */
  readonly fault: Failure | undefined;
  /** Puts a small object and reads it back; what comes of it is in `fault`. */
  probe(): Promise<void>;
}

export interface WatchDeps {
  readonly place: string;
  /** Throws Failure. */
  readonly open: () => Promise<Bucket>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  /** It has become faulty, or well again. */
  readonly onChange: (fault: Failure | undefined) => void;
}

const lookEveryMs = 5_000;
/** So old may the last good answer be. */
const wellMsMax = 60_000;
/** The same each time, so that it is one object; a purge takes it away like any other that nothing names. */
const probeText = 'Backstop puts this here to see that recovery points can be kept.\n';

export function watchBucket(deps: WatchDeps): WatchedBucket { return new Watched(deps); }

class Watched implements WatchedBucket {
  readonly #deps: WatchDeps;
  readonly #timer: NodeJS.Timeout;
  #opened: Promise<Bucket> | undefined;
  #probing: Promise<void> | undefined;
  #fault: Failure | undefined;
  #wellAt = -Infinity;
  #isClosed = false;

  constructor(deps: WatchDeps) {
    this.#deps = deps;
    this.#timer = setInterval(() => { if (this.#fault !== undefined || deps.clock.monotonicMs() - this.#wellAt > wellMsMax) void this.probe(); }, lookEveryMs);
    this.#timer.unref();
  }

  get place(): string { return this.#deps.place; }
  get fault(): Failure | undefined { return this.#fault; }

  put(name: ObjectName, bytes: Buffer): Promise<void> { return this.#ask((bucket) => bucket.put(name, bytes)); }
  get(name: ObjectName): Promise<Buffer> { return this.#ask((bucket) => bucket.get(name)); }
  remove(name: ObjectName): Promise<void> { return this.#ask((bucket) => bucket.remove(name)); }
  async *list(kind?: ObjectKind): ReturnType<Bucket['list']> { yield* (await this.#open()).list(kind); }

  async write(name: ObjectName, bytes: Buffer): Promise<Written> {
    const { back, kept } = await this.#ask((bucket) => bucket.write?.(name, bytes) ?? putAndGet(bucket, name, bytes));
    return { back, kept: this.#ask(() => kept) };
  }


  /** A probe under way may take long where nobody answers; it is not waited for. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#isClosed = true;
    await (await this.#opened?.catch(() => undefined))?.close();
  }

  probe(): Promise<void> {
    this.#probing ??= this.#probe().catch((error: unknown) => { this.#tell(asFailure(error)); }).finally(() => { this.#probing = undefined; });
    return this.#probing;
  }

  async #probe(): Promise<void> {
    const bytes = zstdCompressSync(probeText);
    await putVerified(this, bytes, '.zst').catch((error: unknown) => {
      // A purge may take it away between the put and the get.
      if (error instanceof Failure && error.code === 'not_found') return putVerified(this, bytes, '.zst');
      throw error;
    });
  }

  async #ask<T>(work: (bucket: Bucket) => Promise<T>): Promise<T> {
    try {
      const answer = await work(await this.#open());
      this.#wellAt = this.#deps.clock.monotonicMs();
      this.#tell(undefined);
      return answer;
    } catch (error) {
      if (error instanceof Failure && error.code === 'bucket_unavailable') this.#tell(error);
      throw error;
    }
  }

  #open(): Promise<Bucket> {
    this.#opened ??= this.#deps.open().catch((error: unknown) => {
      this.#opened = undefined;
      throw error;
    });
    return this.#opened;
  }

  #tell(fault: Failure | undefined): void {
    const hasChanged = (fault === undefined) !== (this.#fault === undefined);
    this.#fault = fault;
    if (hasChanged && !this.#isClosed) this.#deps.onChange(fault);
  }
}

async function putAndGet(bucket: Bucket, name: ObjectName, bytes: Buffer): Promise<Written> {
  await bucket.put(name, bytes);
  return { back: await bucket.get(name), kept: Promise.resolve() };
}

function asFailure(error: unknown): Failure {
  return error instanceof Failure ? error : new Failure('bucket_unavailable', 'the storage of recovery points cannot be used', { cause: error });
}
