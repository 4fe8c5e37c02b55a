/**
 * COPY text: the rows that PostgreSQL writes with `COPY … TO` in its text format, read back into values. A text in which each
 * character is one byte (latin1) comes out byte for byte; one that was decoded from UTF-8 comes out as its characters.
 * (PostgreSQL, COPY, "Text Format".)
 */

/** `null` is NULL. */
export type TextRow = readonly (string | null)[];

const named: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };
const escaped = /\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|([^]))/g;

/** `text`: whole rows, each with its newline. Throws RangeError for a row that has not as many values as there are columns. */
export function* copyRows(text: string, columns: number): Generator<TextRow> {
  for (let start = 0; start < text.length;) {
    const end = text.indexOf('\n', start);
    if (end < 0) throw new RangeError('a row of COPY text does not end');
    yield copyRow(text.slice(start, end), columns);
    start = end + 1;
  }
}

function copyRow(line: string, columns: number): TextRow {
  if (columns === 0 && line === '') return [];
  const fields = line.split('\t');
  if (fields.length !== columns) throw new RangeError(`a row of COPY text has ${fields.length} values for ${columns} columns`);
  return line.includes('\\') ? fields.map(value) : fields;
}

function value(field: string): string | null {
  if (field === '\\N') return null;
  return field.includes('\\') ? field.replace(escaped, unescape) : field;
}

function unescape(_: string, octal: string | undefined, hex: string | undefined, character = ''): string {
  if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8) & 0xff);
  if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
  return named[character] ?? character;
}
