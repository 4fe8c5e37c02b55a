/**
 * Export: the rows that a recovery point keeps, as COPY text, CSV or Parquet, in memory that does not grow with the table.
 * Whoever takes it must be able to throw away what it has when this fails: that rows are not those that were kept is
 * known for certain only at their end.
 */
import { imageKinds, type ExportFormat, type ImageKind } from '../core/recovery/export-format.ts';
import type { KeptRows, KeptTable, Manifest } from '../core/recovery/manifest.ts';
import { Failure } from '../core/failure.ts';
import { copyRows, type TextRow } from '../lib/tabular/copy-text.ts';
import { csvLine } from '../lib/tabular/csv.ts';
import { writeParquet } from '../lib/tabular/parquet.ts';

export interface ChosenRows {
  readonly table: KeptTable;
  readonly images: ImageKind;
  readonly rows: KeptRows;
}

export interface RowsWish {
  readonly table?: string | undefined;
  readonly images?: ImageKind | undefined;
}

/** Without `images`, the rows as they were before. Throws Failure `not_found`, or `usage` where there are several tables to choose from. */
export function chooseRows({ id, tables }: Pick<Manifest, 'id' | 'tables'>, wanted: RowsWish): ChosenRows {
  const entries = chooseTable(id, tables, wanted.table);
  const kept = imageKinds.flatMap((images) => entries.flatMap((table): readonly ChosenRows[] => { const rows = table[images]; return rows === undefined ? [] : [{ table, images, rows }]; }));
  const chosen = kept.find(({ images }) => wanted.images === undefined || images === wanted.images);
  if (chosen !== undefined) return chosen;
  throw new Failure('not_found', `${id} keeps no rows of ${entries[0]?.name ?? 'it'} as ${wanted.images ?? 'before'}`, { hint: kept.length === 0 ? 'It keeps no rows of that table at all.' : `It keeps: ${kept.map(({ images }) => images).join(', ')}.` });
}

/** A table may have several entries, where an action changed its columns. */
function chooseTable(id: string, tables: readonly KeptTable[], wanted: string | undefined): readonly KeptTable[] {
  const names = (some: readonly KeptTable[]): readonly string[] => [...new Set(some.map(({ name }) => name))];
  const hint = tables.length === 0 ? 'It keeps definitions only.' : `Its tables: ${names(tables).join(', ')}.`;
  const found = wanted === undefined ? tables : tables.filter(({ name }) => name === wanted || namesOf(name).join('.') === wanted || namesOf(name).at(-1) === wanted);
  if (found.length === 0) throw new Failure('not_found', wanted === undefined ? `${id} keeps no rows` : `${id} keeps no table ${wanted}`, { hint });
  if (names(found).length > 1) throw new Failure('usage', `${id} keeps several tables`, { hint: `Choose one with --table. ${hint}` });
  return found;
}

/** Of a quoted name, its parts as they are stored: `app."Odd"` is app and Odd. */
function namesOf(quoted: string): readonly string[] {
  return (quoted.match(/"(?:[^"]|"")*"|[^."]+/g) ?? []).map((part) => (part.startsWith('"') ? part.slice(1, -1).replaceAll('""', '"') : part));
}

export interface ExportDeps {
  /** COPY text, whole rows each time, checked; may be called several times. Throws Failure. */
  readonly read: (rows: KeptRows) => AsyncIterable<Buffer>;
  /** Resolves when there is room for more. */
  readonly write: (bytes: Buffer) => Promise<void>;
  readonly createdBy: string;
}

/** Throws Failure: as `read` does, and `recovery_point_broken` for text that is not rows of the table. */
export async function exportRows(deps: ExportDeps, chosen: ChosenRows, format: ExportFormat): Promise<void> {
  try {
    await writers[format](deps, chosen);
  } catch (cause) {
    // Of values that are not of their type, of text that is too long for one piece, or is no UTF-8 where it must be.
    if (cause instanceof RangeError || cause instanceof SyntaxError || cause instanceof TypeError) throw new Failure('recovery_point_broken', `rows of ${chosen.table.name} cannot be written as ${format} (${cause.message})`, { cause, hint: 'Export them as copy, which takes them as they are.' });
    throw cause;
  }
}

const writers: Readonly<Record<ExportFormat, (deps: ExportDeps, chosen: ChosenRows) => Promise<void>>> = { copy: writeCopy, csv: writeCsv, parquet: writeAsParquet };

async function writeCopy({ read, write }: ExportDeps, { rows }: ChosenRows): Promise<void> {
  for await (const text of read(rows)) await write(text);
}

/** A character for each byte, so that text of any encoding comes out as it went in. */
const byBytes = 'latin1';

async function writeCsv({ read, write }: ExportDeps, { table: { columns }, rows }: ChosenRows): Promise<void> {
  await write(Buffer.from(csvLine(columns.flatMap(namesOf))));
  for await (const text of read(rows)) {
    for (const piece of piecesOf(text)) {
      let lines = '';
      for (const row of copyRows(piece.toString(byBytes), columns.length)) lines += csvLine(row);
      await write(Buffer.from(lines, byBytes));
    }
  }
}

/** Small ones are garbage that is collected at once. */
const pieceBytes = 256 * 1024;
const newline = 0x0a;

/** Of whole rows, whole rows. */
function* piecesOf(text: Buffer): Generator<Buffer> {
  for (let start = 0; start < text.length;) {
    const within = text.lastIndexOf(newline, start + pieceBytes);
    const end = (within >= start ? within : text.indexOf(newline, start)) + 1 || text.length;
    yield text.subarray(start, end);
    start = end;
  }
}

async function writeAsParquet({ read, write, createdBy }: ExportDeps, { table, images, rows }: ChosenRows): Promise<void> {
  const columns = table.columns.map((column, at) => ({ name: namesOf(column).join('.'), type: table.types[at] ?? 'text' }));
  const notes = { 'postgresql.table': table.name, 'postgresql.types': JSON.stringify(table.types), images };
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  await writeParquet({ columns, createdBy, notes }, async function* batches(): AsyncGenerator<readonly TextRow[]> {
    for await (const text of read(rows)) yield [...copyRows(decoder.decode(text), columns.length)];
  }, write);
}
