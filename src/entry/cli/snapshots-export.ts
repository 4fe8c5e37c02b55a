/**
 * `backstop snapshots export`: the rows that a recovery point keeps, to standard output or to a file of its owner's, which
 * appears whole or not at all.
 */
import { randomUUID } from 'node:crypto';
import { link, open, rm } from 'node:fs/promises';
import type { Command } from 'commander';
import { Failure } from '../../core/failure.ts';
import { exportFormats, imageKinds } from '../../core/recovery/export-format.ts';
import type { ChosenRows } from '../../flow/export-rows.ts';
import { systemCode } from '../../lib/system-error.ts';
import type { CliDeps } from './command.ts';
import { sizeText } from './impact-text.ts';
import type { Options } from './options.ts';
import { onlyPoint, withPlace, withSnapshots } from './snapshots.ts';

type Write = (bytes: Buffer) => Promise<void>;

export function addSnapshotsExport(snapshots: Command, deps: CliDeps): void {
  withPlace(snapshots.command('export <point|action>').description('Write the rows that a recovery point keeps as CSV, Parquet or COPY text'), 'with --out: print what was written as JSON')
    .option('--table <name>', 'of this table (default: the only one)')
    .option('--format <format>', exportFormats.join(', '), 'csv')
    .option('--images <which>', 'before: as rows were; after: as the action left them; content: all rows of a table that fell (default: before, or content)')
    .option('--out <file>', 'a new file that only you can read (default: standard output)')
    .addHelpText('after', `
Examples:
  backstop snapshots export act_01ks3v9m2q > rows.csv
  backstop snapshots export act_01ks3v9m2q --table orders --images after --out orders-after.csv
  backstop snapshots export rp_01ks3v9m2r --format parquet --out orders.parquet
  backstop snapshots export rp_01ks3v9m2r --format copy --storage /mnt/copy | psql -c "COPY orders FROM STDIN"

PostgreSQL reads the CSV back exactly: COPY orders FROM 'rows.csv' (FORMAT csv, HEADER match).`)
    .action((name: string, options: Options) => withSnapshots(deps, options, async (found) => {
      const format = oneOf(exportFormats, options['format'], '--format');
      const images = options['images'] === undefined ? undefined : oneOf(imageKinds, options['images'], '--images');
      const { table, out } = options;
      const point = await onlyPoint(found, name);
      const wish = { format, images, table: typeof table === 'string' ? table : undefined, createdBy: `backstop ${deps.version}` };
      let bytes = 0;
      const run = (write: Write): Promise<ChosenRows> => found.export(point, wish, (part) => { bytes += part.length; return write(part); });
      if (typeof out !== 'string') {
        await run(deps.printBytes);
        return;
      }
      const chosen = await intoNewFile(out, run);
      const written = { point: point.id, table: chosen.table.name, images: chosen.images, rows: chosen.rows.rows, format, file: out, bytes };
      await deps.print(options['json'] === true ? `${JSON.stringify(written)}\n` : `${out}: ${written.rows} rows of ${written.table} (${written.images}), ${sizeText(bytes)}\n`);
    }));
}

function oneOf<T extends string>(known: readonly T[], given: unknown, flag: string): T {
  const found = known.find((one) => one === given);
  if (found !== undefined) return found;
  throw new Failure('usage', `${flag} takes ${known.join(', ')}`);
}

/** Under another name until it is whole; nothing that is there is overwritten. Throws Failure `conflict` or `usage`. */
async function intoNewFile<T>(path: string, run: (write: Write) => Promise<T>): Promise<T> {
  const unfinished = `${path}.${randomUUID()}.unfinished`;
  try {
    const file = await open(unfinished, 'wx', 0o600);
    let result: T;
    try {
      result = await run((bytes) => file.writeFile(bytes));
      await file.sync();
    } finally {
      await file.close();
    }
    await link(unfinished, path);
    return result;
  } catch (cause) {
    if (cause instanceof Failure || !(cause instanceof Error && 'code' in cause)) throw cause;
    if (systemCode(cause) === 'EEXIST') throw new Failure('conflict', `${path} is there already`, { cause, hint: 'Name a file that is not there yet.' });
    throw new Failure('usage', `${path} cannot be written (${systemCode(cause)})`, { cause });
  } finally {
    await rm(unfinished, { force: true });
  }
}
