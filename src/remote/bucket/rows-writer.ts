/**
 * RowsWriter: the rows of one table on their way into a recovery point. Few of them stay in memory and go into the
 * manifest, so that a small write costs no object of its own; more go into chunks, each read back and hashed again.
 */
import { isUtf8 } from 'node:buffer';
import type { KeptRows } from '../../core/recovery/manifest.ts';
import { assert } from '../../lib/assert.ts';
import { sha256Hex } from '../../lib/sha256.ts';
import { ChunkWriter, countRows, newline, type ChunkWriterDeps } from './chunk-writer.ts';

/** Of COPY text; more goes into chunks. */
const inlineBytesMax = 64 * 1024;

export class RowsWriter {
  readonly #deps: ChunkWriterDeps;
  #few: Buffer[] = [];
  #fewBytes = 0;
  #many: ChunkWriter | undefined;

  constructor(deps: ChunkWriterDeps) { this.#deps = deps; }

  /** `rows`: whole rows of COPY text, each with its newline. A promise when it must be waited for before more is given. Throws what a put threw. */
  write(rows: Buffer): Promise<void> | undefined {
    if (rows.length === 0) return undefined;
    assert(rows.at(-1) === newline, 'a row of COPY text does not end');
    if (this.#many === undefined && this.#fewBytes + rows.length <= inlineBytesMax) {
      // A copy: what was given may be a part of something large.
      this.#few.push(Buffer.from(rows));
      this.#fewBytes += rows.length;
      return undefined;
    }
    return this.#inChunks().write(rows);
  }

  /** Resolves once all that is not inline has been read back. Throws Failure: then there is no recovery point. */
  async finish(): Promise<KeptRows> {
    const text = Buffer.concat(this.#few);
    // Of another encoding than UTF-8 it has no place in JSON.
    if (this.#many === undefined && isUtf8(text)) return { rows: countRows(text), bytes: text.length, sha256: sha256Hex(text), inline: text.toString() };
    return this.#inChunks().finish();
  }

  #inChunks(): ChunkWriter {
    if (this.#many !== undefined) return this.#many;
    const many = this.#many = new ChunkWriter(this.#deps);
    if (this.#fewBytes > 0) void many.write(Buffer.concat(this.#few));
    this.#few = [];
    return many;
  }
}
