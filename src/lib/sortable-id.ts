/**
 * Sortable ids: a prefix, the time in ten base-32 characters and random ones after it, so that ids sort by age and two
 * never meet. The alphabet is Crockford's: no I, L, O or U, so a person can read an id aloud. Time and randomness are
 * arguments.
 */
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';
const timeCharacters = 10;
const randomCharacters = 10;

export interface IdSource {
  readonly nowMs: () => number;
  readonly randomBytes: (count: number) => Uint8Array;
}

/** Draws random bytes in blocks, because each draw is a call into the system; every byte is given out once. */
export function randomPool(draw: (count: number) => Uint8Array, blockBytes = 8_192): (count: number) => Uint8Array {
  let block: Uint8Array = new Uint8Array(0);
  let used = 0;
  return (count) => {
    if (count > block.length - used) {
      block = draw(Math.max(blockBytes, count));
      used = 0;
    }
    used += count;
    return block.subarray(used - count, used);
  };
}

/** `act_01kc…`: twenty characters after the prefix; 50 random bits within one millisecond. */
export function sortableId(prefix: string, source: IdSource): string {
  return `${prefix}_${timePart(source.nowMs())}${randomPart(source.randomBytes(randomCharacters))}`;
}

/** `apr_7k2m9q4d`: short enough to type; unique among few, not sortable. */
export function shortId(prefix: string, source: Pick<IdSource, 'randomBytes'>, characters = 10): string {
  return `${prefix}_${randomPart(source.randomBytes(characters))}`;
}

/** Many ids are made within one millisecond. */
let latest = { ms: -1, text: '' };

function timePart(ms: number): string {
  const whole = Math.floor(ms);
  if (latest.ms === whole) return latest.text;
  let left = whole;
  let text = '';
  for (let index = 0; index < timeCharacters; index += 1) {
    text = `${alphabet[left % 32]}${text}`;
    left = Math.floor(left / 32);
  }
  latest = { ms: whole, text };
  return text;
}

function randomPart(bytes: Uint8Array): string {
  let text = '';
  for (let index = 0; index < bytes.length; index += 1) text += alphabet[(bytes[index] ?? 0) & 31];
  return text;
}
