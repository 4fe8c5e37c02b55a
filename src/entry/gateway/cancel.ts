/**
 * Cancel keys of our own, as unguessable as their length allows: a CancelRequest finds only the client that was given the
 * key, and the upstream's own key is never shown to anybody (H81). Anything that does not match is ignored in silence.
 */
import { timingSafeEqual } from 'node:crypto';

export interface CancelKey {
  /** A random number that stands for the process id; unique among the clients connected now. */
  readonly processId: number;
  readonly secretKey: Buffer;
}

export class CancelKeys {
  readonly #byId = new Map<number, { readonly secretKey: Buffer; readonly cancel: () => void }>();
  readonly #randomBytes: (length: number) => Buffer;

  constructor(randomBytes: (length: number) => Buffer) {
    this.#randomBytes = randomBytes;
  }

  /** Four bytes are all that protocol 3.0 has room for; 3.2 takes more. */
  issue(keyBytes: 4 | 32, cancel: () => void): CancelKey {
    for (;;) {
      const processId = this.#randomBytes(4).readUInt32BE() >>> 1;
      if (processId === 0 || this.#byId.has(processId)) continue;
      const secretKey = this.#randomBytes(keyBytes);
      this.#byId.set(processId, { secretKey, cancel });
      return { processId, secretKey };
    }
  }

  withdraw(key: CancelKey): void { this.#byId.delete(key.processId); }

  request({ processId, secretKey }: CancelKey): void {
    const known = this.#byId.get(processId);
    if (known === undefined || known.secretKey.length !== secretKey.length) return;
    if (timingSafeEqual(known.secretKey, secretKey)) known.cancel();
  }
}
