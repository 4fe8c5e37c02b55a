/**
 * The digest of an action: sha256 over exactly what would run. Every part is framed by its length, so no two actions
 * share one digest by moving a boundary. Names of prepared statements and portals are left out, because drivers count
 * them up and an approved statement is sent again under another name; what a name stands for is always in it.
 */
import { isAscii } from 'node:buffer';
import { hash } from 'node:crypto';
import { sha256Hex } from '../../lib/sha256.ts';
import type { ValueFormat } from '../../lib/pgwire/frontend-decode.ts';

export interface DigestParts {
  /** The SQL text of the message. */
  readonly sql: string;
  /** Texts that it runs by name (EXECUTE q, FETCH c), in the order of the statements. */
  readonly bodies?: readonly string[];
  readonly parameterTypes?: readonly number[];
  readonly formats?: readonly ValueFormat[];
  readonly values?: readonly (Buffer | null)[];
  /** Rows asked for by an Execute; 0: all. */
  readonly rowsMax?: number;
}

export function digestOf(parts: DigestParts): string {
  const { sql, bodies = [], parameterTypes = [], formats = [], values = [] } = parts;
  const input = new DigestInput();
  input.text(sql);
  input.number(bodies.length);
  for (const body of bodies) input.text(body);
  input.number(parameterTypes.length);
  for (const type of parameterTypes) input.number(type);
  input.number(values.length);
  for (let index = 0; index < values.length; index += 1) {
    // One format stands for all values, none means text.
    const format = (formats.length === 1 ? formats[0] : formats[index]) === 'binary' ? 'b' : 't';
    const value = values[index] ?? null;
    input.mark(value === null ? `${format}n` : format);
    if (value !== null) input.bytes(value);
  }
  input.number(parts.rowsMax ?? 0);
  return input.digest();
}

/** Gathers the framed parts so that they are hashed by one call: a short action is hashed faster than a hash object is made. */
class DigestInput {
  readonly #parts: (string | Buffer)[] = [];
  /** ASCII that is not yet among the parts. */
  #pending = '';

  number(value: number): void { this.#pending += `${value};`; }
  mark(letters: string): void { this.#pending += letters; }

  text(value: string): void {
    this.number(Buffer.byteLength(value));
    this.#pending += value;
  }

  bytes(value: Buffer): void {
    this.number(value.length);
    // Bytes that are ASCII are the same as text; most values are a few digits or letters.
    if (value.length <= shortValueMax && isAscii(value)) this.#pending += value.toString('latin1');
    else {
      this.#parts.push(this.#pending, value);
      this.#pending = '';
    }
  }

  digest(): string {
    if (this.#parts.length === 0) return hash('sha256', this.#pending);
    return sha256Hex(...this.#parts, this.#pending);
  }
}

const shortValueMax = 256;
