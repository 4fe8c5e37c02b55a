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

/** Of several workers on one port: which one this is, so that a request finds the worker that issued its key. */
export interface CancelPlace { readonly slot: number; readonly slots: number }

const processIdMax = 0x7fff_ffff;

export class CancelKeys {
  readonly #byId = new Map<number, { readonly secretKey: Buffer; readonly cancel: () => void }>();
  readonly #randomBytes: (length: number) => Buffer;

  readonly #place: CancelPlace;

  constructor(randomBytes: (length: number) => Buffer, place: CancelPlace = { slot: 0, slots: 1 }) {
    this.#randomBytes = randomBytes;
    this.#place = place;
  }

  /** Four bytes are all that protocol 3.0 has room for; 3.2 takes more. */
  issue(keyBytes: 4 | 32, cancel: () => void): CancelKey {
    for (;;) {
      const { slot, slots } = this.#place;
      const random = this.#randomBytes(4).readUInt32BE() >>> 1;
      const processId = random - (random % slots) + slot;
      if (processId === 0 || processId > processIdMax || this.#byId.has(processId)) continue;
      const secretKey = this.#randomBytes(keyBytes);
      this.#byId.set(processId, { secretKey, cancel });
      return { processId, secretKey };
    }
  }

  withdraw(key: CancelKey): void { this.#byId.delete(key.processId); }

  /** undefined: it is for nobody else; otherwise the slot of the worker that may know the key. */
  request({ processId, secretKey }: CancelKey): number | undefined {
    const slot = processId % this.#place.slots;
    if (slot !== this.#place.slot) return slot;
    const known = this.#byId.get(processId);
    if (known === undefined || known.secretKey.length !== secretKey.length) return undefined;
    if (timingSafeEqual(known.secretKey, secretKey)) known.cancel();
    return undefined;
  }
}
