/**
 * The digest of an action: sha256 over exactly what would run. Every part is framed by its length, so no two actions
 * share one digest by moving a boundary. Names of prepared statements and portals are left out, because drivers count
 * them up and an approved statement is sent again under another name; what a name stands for is always in it.
 */
import { createHash } from 'node:crypto';
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
  const hash = createHash('sha256');
  const number = (value: number): void => { hash.update(`${value};`); };
  const bytes = (value: string | Buffer): void => { number(Buffer.byteLength(value)); hash.update(value); };
  bytes(parts.sql);
  const { bodies = [], parameterTypes = [], formats = [], values = [] } = parts;
  number(bodies.length);
  for (const body of bodies) bytes(body);
  number(parameterTypes.length);
  for (const type of parameterTypes) number(type);
  number(values.length);
  for (const [index, value] of values.entries()) {
    // One format stands for all values, none means text.
    hash.update((formats.length === 1 ? formats[0] : formats[index]) === 'binary' ? 'b' : 't');
    if (value === null) hash.update('n');
    else bytes(value);
  }
  number(parts.rowsMax ?? 0);
  return hash.digest('hex');
}
