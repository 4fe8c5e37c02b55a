/**
 * Secret: a credential that cannot be printed by accident. Converting it to a string, to JSON, inspecting or logging it
 * shows a placeholder; only `reveal()` gives the value, so every use of a credential can be found by that one word.
 */
import { timingSafeEqual } from 'node:crypto';
import { inspect } from 'node:util';
import { sha256 } from './sha256.ts';

const placeholder = '[secret]';

export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
    Object.freeze(this);
  }

  reveal(): string { return this.#value; }

  /** Compares without telling by its duration how much of the guess was right. */
  equals(guess: string): boolean {
    return timingSafeEqual(sha256(this.#value), sha256(guess));
  }

  toString(): string { return placeholder; }
  toJSON(): string { return placeholder; }
  [inspect.custom](): string { return placeholder; }
}
