/**
 * A Parquet file of rows that come in batches: each batch is a row group that is written out before the next one is taken,
 * so that memory does not grow with the table. Compressed by zstd, a column each for what `parquet-columns.ts` says.
 */
import { zstdCompressSync } from 'node:zlib';
import type { ByteWriter, Writer } from 'hyparquet-writer';
import type { TextRow } from './copy-text.ts';
import { parquetColumn, type ParquetColumn } from './parquet-columns.ts';

export interface ParquetTable {
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  /** What wrote it, and notes for whoever reads it, both in the file. */
  readonly createdBy: string;
  readonly notes: Readonly<Record<string, string>>;
}

/** Called anew for each pass over the rows. */
export type Batches = () => AsyncIterable<readonly TextRow[]>;

/** Throws RangeError for a value that its type does not have. */
export async function writeParquet({ columns, createdBy, notes }: ParquetTable, batches: Batches, write: (bytes: Buffer) => Promise<void>): Promise<void> {
  const chosen = await chooseColumns(columns, batches);
  // Loaded when it is needed: most who load this file write none.
  const library = await import('hyparquet-writer');
  const file = new library.ParquetWriter({
    writer: writerTo(new library.ByteWriter(), write), createdBy, codec: 'ZSTD', compressors: { ZSTD: (input) => zstdCompressSync(input) },
    schema: [{ name: 'schema', num_children: chosen.length }, ...chosen.map(({ element }) => element)],
    kvMetadata: Object.entries(notes).map(([key, value]) => ({ key, value })),
  });
  // Without statistics of texts: the least and the greatest would keep in memory the whole text that they were cut from.
  for await (const rows of batches()) {
    if (rows.length === 0) continue;
    const columnData = chosen.map((column, at) => ({
      name: column.element.name, data: rows.map((row) => converted(column, row[at])), offsetIndex: false, statistics: column.element.type !== 'BYTE_ARRAY', ...(column.isPlain === true ? { encoding: 'PLAIN' as const } : {}),
    }));
    await file.write({ columnData, rowGroupSize: rows.length });
  }
  await file.finish();
}

/** By the types, and where these may hold what Parquet does not, by a look at every value. */
async function chooseColumns(columns: ParquetTable['columns'], batches: Batches): Promise<readonly ParquetColumn[]> {
  const typed = columns.map(({ name, type }) => parquetColumn(name, type, { asText: false }));
  const doubtful = new Set(typed.flatMap((column, at) => (column.isDoubtful ? [at] : [])));
  if (doubtful.size === 0) return typed;
  const asText = new Set<number>();
  for await (const rows of batches()) {
    for (const at of doubtful) {
      const column = typed[at];
      if (!rows.some((row) => isWithoutPlace(column, row[at]))) continue;
      asText.add(at);
      doubtful.delete(at);
    }
  }
  return columns.map(({ name, type }, at) => parquetColumn(name, type, { asText: asText.has(at) }));
}

function isWithoutPlace(column: ParquetColumn | undefined, value: string | null | undefined): boolean {
  return value != null && column?.convert(value) === undefined;
}

function converted({ element, convert }: ParquetColumn, value: string | null | undefined): boolean | number | bigint | string | null {
  if (value == null) return null;
  const given = convert(value);
  if (given === undefined || (Number.isNaN(given) && value !== 'NaN')) throw new RangeError(`a value of column ${element.name} is not one of its type`);
  return given;
}

/** What has been written so far leaves with each row group. */
function writerTo(writer: ByteWriter, write: (bytes: Buffer) => Promise<void>): Writer {
  const flush = async (): Promise<void> => {
    const bytes = Buffer.from(writer.getBytes());
    writer.index = 0;
    if (bytes.length > 0) await write(bytes);
  };
  return Object.assign(writer, { flush, finish: flush });
}
