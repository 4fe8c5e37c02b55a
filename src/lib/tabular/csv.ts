/**
 * CSV as RFC 4180 has it and PostgreSQL's `COPY … (FORMAT csv)` reads it back exactly: NULL is nothing at all, an empty text
 * is `""`, and lines end in a newline alone, as PostgreSQL writes them.
 */
import type { TextRow } from './copy-text.ts';

/** Nothing at all would be NULL, and `\.` alone on a line is the end of the data for PostgreSQL before 18. */
const quoted = /^$|^\\\.$|[",\r\n]/;

/** With its newline. */
export function csvLine(row: TextRow): string { return `${row.map(cell).join(',')}\n`; }

function cell(value: string | null): string {
  if (value === null) return '';
  return quoted.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}
