/**
 * Columns of text for people: each as wide as its widest cell up to a limit, the last one as it comes. Control characters
 * of what others wrote are shown, never sent to the terminal.
 */
const gap = '  ';

export function columns(rows: readonly (readonly string[])[], widthMax = 60): string {
  const clean = rows.map((row) => row.map(printable));
  const widths = (clean[0] ?? []).map((_, column) => Math.min(widthMax, Math.max(...clean.map((row) => (row[column] ?? '').length))));
  return clean.map((row) => `${row.map((cell, column) => (column === row.length - 1 ? cell : fit(cell, widths[column] ?? 0))).join(gap).trimEnd()}\n`).join('');
}

/** A terminal acts on control characters and on those that turn the direction of writing. */
export function printable(text: string): string {
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (character) =>
    (character === '\n' || character === '\t' ? ' ' : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`));
}

function fit(text: string, width: number): string {
  return text.length > width ? `${text.slice(0, Math.max(0, width - 1))}…` : text.padEnd(width);
}
