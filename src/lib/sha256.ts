/**
 * SHA-256 over one value or over the concatenation of several; text is taken as UTF-8. Pure and synchronous. Parts are
 * not separated from each other: whoever hashes several fields must frame them first (canonical-json does).
 */
import { createHash } from 'node:crypto';

export function sha256(...parts: readonly (string | Uint8Array)[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** Sixty-four lower-case hexadecimal digits. */
export function sha256Hex(...parts: readonly (string | Uint8Array)[]): string {
  return sha256(...parts).toString('hex');
}
