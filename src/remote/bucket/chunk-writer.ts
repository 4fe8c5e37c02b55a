/**
 * ChunkWriter: the rows of one table on their way to a bucket, in memory that does not grow with the table. What comes is
 * COPY text, whole rows; it is cut at rows into chunks, and each chunk is sealed, put, read back and hashed again while the
 * next one fills. Nothing is promised before `finish` resolves.
 */
import { createHash } from 'node:crypto';
import { Bug } from '../../lib/assert.ts';
import { putVerified, type Bucket, type ObjectName } from './bucket.ts';
import type { Seal } from './seal.ts';

export interface Chunk {
  readonly name: ObjectName;
  readonly rows: number;
  /** Of COPY text. */
  readonly bytes: number;
}

export interface WrittenRows {
  readonly rows: number;
  /** Of COPY text. */
  readonly bytes: number;
  /** Of the COPY text of all chunks, one after another; hex. */
  readonly sha256: string;
  readonly chunks: readonly Chunk[];
}

export interface ChunkWriterDeps {
  readonly bucket: Bucket;
  readonly seal: Seal;
  readonly chunkBytes?: number;
}

const chunkBytesDefault = 8 * 1024 * 1024;
/** Being sealed, put and read back; with the one that fills they bound the memory. */
const chunksInFlightMax = 3;
export const newline = 0x0a;

export class ChunkWriter {
  readonly #deps: ChunkWriterDeps;
  readonly #chunkBytes: number;
  readonly #hash = createHash('sha256');
  /** The plain text of the chunk that fills; as large as its first row where that is larger than a chunk. */
  #filling: Buffer;
  #filled = 0;
  #rows = 0;
  #bytes = 0;
  readonly #chunks: Promise<Chunk>[] = [];
  readonly #inFlight = new Set<Promise<unknown>>();
  /** Of chunks that were sealed: to fill memory that is there costs less than to be given more. */
  readonly #spare: Buffer[] = [];
  #fault: unknown;

  constructor(deps: ChunkWriterDeps) {
    this.#deps = deps;
    this.#chunkBytes = deps.chunkBytes ?? chunkBytesDefault;
    this.#filling = Buffer.allocUnsafe(this.#chunkBytes);
  }

  /** `rows`: whole rows, each with its newline. A promise when it must be waited for before more is given. Throws what a put threw. */
  write(rows: Buffer): Promise<void> | undefined {
    if (this.#fault !== undefined) throw this.#fault;
    if (rows.at(-1) !== newline) throw new Bug('a row of COPY text does not end');
    this.#hash.update(rows);
    this.#bytes += rows.length;
    if (this.#filled > 0 && this.#filled + rows.length > this.#filling.length) this.#cut();
    if (rows.length > this.#filling.length) this.#filling = Buffer.allocUnsafe(rows.length);
    rows.copy(this.#filling, this.#filled);
    this.#filled += rows.length;
    return this.#inFlight.size < chunksInFlightMax ? undefined : Promise.race(this.#inFlight).then(() => undefined);
  }

  /** Resolves once every chunk has been read back and is what was written. Throws Failure: then there is no recovery point. */
  async finish(): Promise<WrittenRows> {
    if (this.#filled > 0) this.#cut();
    const chunks = await Promise.all(this.#chunks);
    return { rows: this.#rows, bytes: this.#bytes, sha256: this.#hash.digest('hex'), chunks };
  }

  #cut(): void {
    const plain = this.#filling.subarray(0, this.#filled);
    this.#filling = this.#spare.pop() ?? Buffer.allocUnsafe(this.#chunkBytes);
    this.#filled = 0;
    const rows = countRows(plain);
    this.#rows += rows;
    const chunk = this.#store(plain, rows);
    this.#chunks.push(chunk);
    const done = chunk.then(() => undefined, (error: unknown) => { this.#fault ??= error; });
    this.#inFlight.add(done);
    void done.finally(() => { this.#inFlight.delete(done); });
  }

  async #store(plain: Buffer, rows: number): Promise<Chunk> {
    const { bucket, seal } = this.#deps;
    const bytes = plain.length;
    const sealed = await seal.close(plain);
    // One that a large row needed is not kept.
    if (plain.buffer.byteLength === this.#chunkBytes) this.#spare.push(Buffer.from(plain.buffer));
    return { name: await putVerified(bucket, sealed, seal.ending), rows, bytes };
  }
}

/** In COPY text a newline inside a value is written as `\n`, so each byte that is one ends a row. */
export function countRows(text: Buffer): number {
  let rows = 0;
  for (let at = text.indexOf(newline); at >= 0; at = text.indexOf(newline, at + 1)) rows += 1;
  return rows;
}
