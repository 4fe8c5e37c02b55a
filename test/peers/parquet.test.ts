/** What is exported as Parquet is read by another implementation, Apache Arrow, as what PostgreSQL holds: types and values. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { keepTable } from '../fixtures/kept-rows.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { runProgram } from '../fixtures/run-program.ts';
import { cached, missing, step } from './peer.ts';

const arrow = 'pyarrow==26.0.1';
type Column = readonly [name: string, type: string, values: readonly (string | null)[]];
interface InFile {
  readonly groups: number;
  readonly columns: readonly Column[];
  /** Of each column, what its texts are; null: no text. */
  readonly texts: readonly (readonly (string | null)[])[];
}

describe('a Parquet file', { skip: missing('python3') }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'parquet-'));
  let server: PostgresServer;
  let python: string;
  before(async () => {
    python = join(await cached('arrow', arrow, async (into) => {
      await step('python3', ['-m', 'venv', into]);
      await step(join(into, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', '--only-binary', ':all:', arrow]);
    }), 'bin', 'python');
    server = await startPostgresServer({ timezone: 'Asia/Kolkata' });
    await server.run(readFileSync(new URL('../fixtures/odd-rows.sql', import.meta.url), 'utf8'));
  });
  after(async () => {
    await server?.stop();
    rmSync(folder, { recursive: true });
  });
  const read = async (table: string, chunkBytes: number): Promise<InFile> => {
    const path = join(folder, 'rows.parquet');
    writeFileSync(path, await (await keepTable(server.url(), table, chunkBytes)).exported('parquet'));
    const { code, stdout, stderr } = await runProgram(python, [fileURLToPath(new URL('parquet/read.py', import.meta.url)), path]);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout) as InFile;
  };

  it('has the types that PostgreSQL has, their values to the last digit, and everything else as text', async () => {
    const { groups, columns, texts } = await read('"odd ""rows"', 300);
    assert.ok(groups > 1, 'several row groups');
    assert.deepEqual(columns.slice(0, 10), [
      ['a "b",c', 'int32', ['1', '2', '3', '4', '5']],
      ['flag', 'bool', ['True', 'False', null, null, null]],
      ['small', 'int16', ['-32768', '32767', null, '0', '1']],
      ['large', 'int64', ['-9223372036854775808', '9223372036854775807', null, '0', '1']],
      ['narrow', 'float', ['1.100000023841858', 'nan', 'inf', '3.4028234663852886e+38', '1.401298464324817e-45']],
      ['wide', 'double', ['0.1', '-0.0', '-inf', '5e-324', '1.7976931348623157e+308']],
      ['amount', 'string', ["'1.50'", "'NaN'", "'12345678901234567890.123456789'", "'0'", "'-1'"]],
      ['day', 'date32[day]', [dayOf('2026-01-31'), '-719162', '0', null, dayOf('2000-02-29')]],
      ['at', 'timestamp[us, tz=UTC]', ['1774733400123456', '253402214400000001', '0', null, '1709236800000000']],
      ['clock', 'timestamp[us]', ['-877000', '253402300799999000', '0', null, '-62135596800000000']],
    ]);
    assert.deepEqual(texts.at(-1), ['x  ', '   ', '"  ', '\n  ', '\\  ']);
    const printed = ['words', 'bits', 'list', 'doc', 'raw', 'span', 'part', 'id', 'empty'];
    const rows = await server.run(`SELECT ${printed.map((name) => `${name}::text`).join(', ')} FROM "odd ""rows" ORDER BY "a ""b"",c"`);
    assert.deepEqual(texts.slice(10, -1), printed.map((name) => rows.map((row) => row[name])));
  });

  it('is told by 50,000 rows in many groups, sum by sum', async () => {
    await server.run("CREATE TABLE many AS SELECT i AS id, i * 3000000000 AS large, i / 7.0::float8 AS f, 'name ' || i % 10 AS t, now() + i * interval '1 s' AS at FROM generate_series(1, 50000) i");
    const { groups, columns } = await read('public.many', 300_000);
    const [ids, large] = columns;
    assert.ok(groups > 5);
    assert.equal(ids?.[2].length, 50_000);
    assert.equal(large?.[2].reduce((sum, value) => sum + BigInt(value ?? 0), 0n), 3_000_000_000n * 50_000n * 50_001n / 2n);
    assert.equal(columns.find(([name]) => name === 't')?.[2].filter((value) => value === "'name 3'").length, 5_000);
  });
});

function dayOf(day: string): string { return String(Date.parse(day) / 86_400_000); }
