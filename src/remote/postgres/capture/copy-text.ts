/**
 * COPY text of values that came as text: what `COPY … TO STDOUT` would print of the same rows, byte for byte, so that all
 * images are read back in one way. See "Text Format" in PostgreSQL's documentation of COPY.
 */
const escapes: Readonly<Record<string, string>> = { '\\': '\\\\', '\b': '\\b', '\f': '\\f', '\n': '\\n', '\r': '\\r', '\t': '\\t', '\v': '\\v' };
const special = /[\\\b\f\n\r\t\v]/g;
const hasSpecial = /[\\\b\f\n\r\t\v]/;

/** Null is NULL. Each row ends with a newline. */
export function copyText(rows: readonly (readonly (string | null)[])[]): Buffer {
  return Buffer.from(rows.map((row) => `${row.map(valueText).join('\t')}\n`).join(''));
}

function valueText(value: string | null): string {
  if (value === null) return '\\N';
  return hasSpecial.test(value) ? value.replace(special, (character) => escapes[character] ?? character) : value;
}
