/**
 * Packs: how small things get into a bucket at the rate at which agents write. What is to be kept at the same time becomes
 * one object, a line each: one put and one read-back for all of them; whatever comes meanwhile goes into the next.
 */
import { Failure } from '../../core/failure.ts';
import { sha256Hex } from '../../lib/sha256.ts';
import { writeVerified, type Bucket, type ObjectName } from './bucket.ts';
import type { Seal } from './seal.ts';

/** Where a line was kept, and what it says. */
export interface Packed {
  readonly pack: ObjectName;
  /** SHA-256 of the line without its newline, hex. */
  readonly line: string;
  /** Resolves once it is durable. Rejects with Failure: then nobody may rely on it. */
  readonly kept: Promise<void>;
}

export interface PacksDeps {
  readonly bucket: Bucket;
  readonly seal: Seal;
}

interface Waiting {
  readonly text: string;
  readonly resolve: (packed: Packed) => void;
  readonly reject: (error: unknown) => void;
}

const packCharsMax = 8 * 1024 * 1024;
/** More means that the bucket is far behind. */
const waitingMax = 10_000;

export class Packs {
  readonly #deps: PacksDeps;
  readonly #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;

  constructor(deps: PacksDeps) { this.#deps = deps; }

  /** Resolves once the line has been read back; it is durable once `kept` resolves too. Throws Failure `bucket_unavailable`. */
  add(text: string): Promise<Packed> {
    if (text.includes('\n')) return Promise.reject(new Failure('internal', 'a line of a pack holds a newline'));
    if (this.#waiting.length >= waitingMax) return Promise.reject(new Failure('bucket_unavailable', `${this.#deps.bucket.place} is too far behind`));
    const { promise, resolve, reject } = Promise.withResolvers<Packed>();
    this.#waiting.push({ text, resolve, reject });
    this.#writing ??= this.#writeAll().finally(() => { this.#writing = undefined; });
    return promise;
  }

  async #writeAll(): Promise<void> {
    // A turn of the loop lets concurrent callers join.
    await Promise.resolve();
    while (this.#waiting.length > 0) await this.#write(this.#take());
  }

  #take(): readonly Waiting[] {
    let chars = 0;
    const end = this.#waiting.findIndex(({ text }) => (chars += text.length) > packCharsMax);
    return this.#waiting.splice(0, end < 0 ? this.#waiting.length : Math.max(1, end));
  }

  async #write(lines: readonly Waiting[]): Promise<void> {
    const { bucket, seal } = this.#deps;
    try {
      const plain = Buffer.from(lines.map(({ text }) => `${text}\n`).join(''));
      const { name: pack, kept } = await writeVerified(bucket, await seal.close(plain), seal.ending, 'packs');
      for (const { text, resolve } of lines) resolve({ pack, line: sha256Hex(text), kept });
      // Whatever comes until it is durable goes into the next one together. It is told to those who wait for it.
      await kept.catch(() => undefined);
    } catch (error) {
      for (const { reject } of lines) reject(error);
    }
  }
}
