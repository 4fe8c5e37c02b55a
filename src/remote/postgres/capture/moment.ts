/** What a manifest says beside the rows, of the moment at which they were printed as the session prints: in one question. */
import type { CapturedContents } from '../../../flow/protect.ts';
import { placeColumns, placeOf } from './capture.ts';
import { printingColumns, printingOf } from './printing.ts';

const placeValues = 5;

export const momentSql = `SELECT ${placeColumns}, ${printingColumns}`;

export function momentOf(row: readonly (string | null)[] = []): Omit<CapturedContents, 'tables' | 'definition'> {
  return { settings: printingOf(row.slice(placeValues)), ...placeOf(row.slice(0, placeValues)) };
}
