/**
 * Did you mean: the allowed word nearest to a mistyped one. Counts insertions, removals, substitutions and swaps of
 * neighbours, ignores case and the difference between `_` and `-`, and suggests nothing when nothing is near.
 */
const lengthMax = 64;

export function closest(word: string, allowed: readonly string[]): string | undefined {
  if (word.length === 0 || word.length > lengthMax) return undefined;
  const near = allowed
    .map((candidate) => ({ candidate, distance: distance(plain(word), plain(candidate)) }))
    .filter(({ candidate, distance }) => distance <= Math.max(1, Math.floor(Math.min(word.length, candidate.length) / 3)))
    .sort((a, b) => a.distance - b.distance);
  return near[0]?.candidate;
}

function plain(word: string): string {
  return word.toLowerCase().replaceAll('_', '-');
}

/** Optimal string alignment distance, by rows. */
function distance(a: string, b: string): number {
  let beforeLast: readonly number[] = [];
  let last: readonly number[] = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) row.push(cell(a, b, i, j, row, last, beforeLast));
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}

function cell(
  a: string, b: string, i: number, j: number, row: readonly number[], last: readonly number[], beforeLast: readonly number[],
): number {
  const changed = (last[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
  const best = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, changed);
  const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
  return swapped ? Math.min(best, (beforeLast[j - 2] ?? 0) + 1) : best;
}
