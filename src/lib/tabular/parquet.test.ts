/** What is written as Parquet is read back value for value; another reader does the same in test/peers/parquet.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { zstdDecompressSync } from 'node:zlib';
import { parquetMetadata, parquetReadObjects } from 'hyparquet';
import { copyRows, type TextRow } from './copy-text.ts';
import { writeParquet, type ParquetTable } from './parquet.ts';

const columns = [
  ['b', 'boolean'], ['s', 'smallint'], ['i', 'integer'], ['l', 'bigint'], ['r', 'real'], ['d', 'double precision'],
  ['day', 'date'], ['at', 'timestamp(3) with time zone'], ['clock', 'timestamp without time zone'], ['n', 'numeric(10,2)'], ['a "b".c', 'text'],
].map(([name = '', type = '']) => ({ name, type }));

async function file(table: Pick<ParquetTable, 'columns'>, batches: readonly (readonly TextRow[])[]): Promise<ArrayBuffer> {
  const parts: Buffer[] = [];
  await writeParquet({ ...table, createdBy: 'test', notes: { why: 'a test' } }, async function* each() { yield* batches; }, async (bytes) => { parts.push(bytes); });
  const all = Buffer.concat(parts);
  return all.buffer.slice(all.byteOffset, all.byteOffset + all.length);
}

const read = (bytes: ArrayBuffer): Promise<Record<string, unknown>[]> => parquetReadObjects({
  file: bytes, compressors: { ZSTD: (input, length) => zstdDecompressSync(input, { maxOutputLength: length + 1 }) },
  parsers: { timestampFromMicroseconds: (value: bigint) => value, dateFromDays: (value: number) => value } as never,
});

test('each type that Parquet has keeps its values exactly, in as many row groups as there were batches', async () => {
  const bytes = await file({ columns }, [
    [['t', '-32768', '-2147483648', '-9223372036854775808', '1.1', '0.1', '0001-01-01', '2026-03-29 03:00:00.123+05:30', '9999-12-31 23:59:59.999999', '12345678.90', 'Ωé\t"']],
    [],
    [['f', '32767', '2147483647', '9223372036854775807', 'NaN', '-0', '1970-01-02', '1900-01-01 00:00:00-00:19:32', '1969-12-31 23:59:59.5', 'NaN', ''], columns.map(() => null)],
  ]);
  const [first, second, third] = await read(bytes);
  assert.deepEqual(first, {
    b: true, s: -32768, i: -2147483648, l: -9223372036854775808n, r: Math.fround(1.1), d: 0.1, day: -719162, at: BigInt(Date.parse('2026-03-28T21:30:00.123Z')) * 1_000n,
    clock: BigInt(Date.parse('9999-12-31T23:59:59.999Z')) * 1_000n + 999n, n: '12345678.90', 'a "b".c': 'Ωé\t"',
  });
  assert.deepEqual(second, {
    b: false, s: 32767, i: 2147483647, l: 9223372036854775807n, r: Number.NaN, d: -0, day: 1, at: BigInt(Date.parse('1900-01-01T00:19:32Z')) * 1_000n, clock: -500_000n, n: 'NaN', 'a "b".c': '',
  });
  assert.ok(Object.is(second?.['d'], -0));
  assert.deepEqual(third, Object.fromEntries(columns.map(({ name }) => [name, null])));
  const { row_groups: groups, created_by: by, key_value_metadata: notes } = parquetMetadata(bytes);
  assert.deepEqual([groups.length, by, notes], [2, 'test', [{ key: 'why', value: 'a test' }]]);
});

for (const [type, odd] of [['date', 'infinity'], ['date', '0044-03-15 BC'], ['date', '12026-01-01'], ['timestamp with time zone', '-infinity'], ['timestamp without time zone', '01/02/2026 00:00:00']] as const) {
  test(`a ${type} such as ${odd} makes its column text, in every batch`, async () => {
    const plain = type === 'date' ? '2026-01-01' : '2026-01-01 00:00:00+00';
    assert.deepEqual(await read(await file({ columns: [{ name: 'x', type }] }, [[[plain]], [[odd], [null]]])), [{ x: plain }, { x: odd }, { x: null }]);
  });
}

test('no rows are a file without rows, and what its type does not have is refused', async () => {
  assert.deepEqual(await read(await file({ columns }, [])), []);
  await assert.rejects(file({ columns: [{ name: 'i', type: 'integer' }] }, [[['one']]]), RangeError);
  await assert.rejects(file({ columns: [{ name: 'b', type: 'boolean' }] }, [[['yes']]]), RangeError);
});

test('the next batch is taken only when the one before has been written', async () => {
  let [taken, written] = [0, 0];
  await writeParquet({ columns: [{ name: 'x', type: 'text' }], createdBy: 'test', notes: {} }, async function* each() {
    for (; taken < 20; taken += 1) { assert.equal(written, taken); yield [[String(taken)]]; }
  }, async () => { await new Promise((resolve) => { setImmediate(resolve); }); written += 1; });
  assert.equal(taken, 20);
});

test('what is held does not grow with the number of batches', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const batchBytes = 1_000_000;
  const held: number[] = [];
  await writeParquet({ columns: [{ name: 'id', type: 'integer' }, { name: 'x', type: 'text' }, { name: 'at', type: 'timestamp with time zone' }], createdBy: 'test', notes: {} }, async function* each() {
    for (let batch = 0; batch < 30; batch += 1) {
      const text = Array.from({ length: batchBytes / 100 }, (_, row) => `${batch * 10_000 + row}\tname ${batch} ${'é'.repeat(20)}${row}\t2026-01-01 00:00:00+00\n`).join('');
      yield [...copyRows(Buffer.from(text).toString(), 3)];
      collect();
      const { heapUsed, external } = process.memoryUsage();
      held.push(heapUsed + external);
    }
  }, async () => undefined);
  // The last half of the first pass, which chooses columns, is not compared with the second, which writes.
  const [early, late] = [held.slice(35, 40), held.slice(55, 60)].map((some) => Math.min(...some));
  assert.ok(late !== undefined && early !== undefined && late - early < 3 * batchBytes, `${early} bytes, and then ${late}`);
});
