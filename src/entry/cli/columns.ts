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

/**
 * What a terminal acts on (control characters, those that turn the direction of writing), and what nobody can see or tell
 * from a plain space: half of a name could hide behind it.
 */
const unseen = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]|(?! )\p{Zs}/gu;

export function printable(text: string): string {
  return text.replaceAll(unseen, (character) => {
    if (character === '\n' || character === '\t') return ' ';
    const hex = (character.codePointAt(0) ?? 0).toString(16);
    return hex.length > 4 ? `\\u{${hex}}` : `\\u${hex.padStart(4, '0')}`;
  });
}

function fit(text: string, width: number): string {
  return text.length > width ? `${text.slice(0, Math.max(0, width - 1))}…` : text.padEnd(width);
}
