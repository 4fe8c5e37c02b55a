/** Which rows of a recovery point are exported, and that what is not theirs never passes as rows. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../core/failure.ts';
import { fingerprintOf, type KeptRows, type KeptTable } from '../core/recovery/manifest.ts';
import { exportFormats, imageKinds, type ExportFormat } from '../core/recovery/export-format.ts';
import { chooseRows, exportRows } from './export-rows.ts';

const kept = (inline: string): KeptRows => ({ rows: inline.split('\n').length - 1, bytes: Buffer.byteLength(inline), sha256: '0'.repeat(64), inline });
const tableOf = (name: string, more: Partial<KeptTable>): KeptTable => {
  const shape = { name, columns: ['id', '"A ""b"', 'n'], types: ['integer', 'text', 'numeric(10,2)'], key: ['id'], alwaysIdentity: [], partitions: [] };
  return { ...shape, fingerprint: fingerprintOf(shape), ...more };
};
const orders = tableOf('public.orders', { before: kept('1\ta\t\\N\n'), after: kept('') });
const odd = tableOf('app."Odd.""x"', { content: kept('2\tb\\nc\t1.50\n3\t\\N\t\n') });
const point = (...tables: readonly KeptTable[]): { readonly id: string; readonly tables: readonly KeptTable[] } => ({ id: 'rp_1', tables });
const failsWith = (code: string, text: RegExp) => (error: unknown): boolean => error instanceof Failure && error.code === code && text.test(`${error.message} ${error.hint}`);

test('the only table is taken, and of it the rows as they were before', () => {
  assert.deepEqual(imageKinds.map((images) => { try { return chooseRows(point(orders), { images }).rows; } catch { return undefined; } }), [orders.before, undefined, orders.after]);
  assert.equal(chooseRows(point(orders), {}).images, 'before');
  assert.equal(chooseRows(point(odd), {}).images, 'content');
});

test('of several tables one is named, as it is written or as it is stored', () => {
  for (const table of ['app."Odd.""x"', 'app.Odd."x', 'Odd."x']) assert.equal(chooseRows(point(orders, odd), { table }).table, odd, table);
  assert.throws(() => chooseRows(point(orders, odd), {}), failsWith('usage', /--table.*public\.orders, app/));
  assert.throws(() => chooseRows(point(orders, odd), { table: 'order' }), failsWith('not_found', /public\.orders/));
  assert.throws(() => chooseRows(point(orders, tableOf('old.orders', {})), { table: 'orders' }), failsWith('usage', /old\.orders/));
  assert.throws(() => chooseRows(point(), {}), failsWith('not_found', /definitions only/));
  assert.throws(() => chooseRows(point(orders), { images: 'content' }), failsWith('not_found', /: before, after\./));
});

test('of a table with several entries each of its images is found', () => {
  const entries = [tableOf('public.orders', { content: kept('1\ta\t1\n') }), tableOf('public.orders', { after: kept('1\tb\t\\N\n') })] as const;
  assert.deepEqual(chooseRows(point(...entries), {}).rows, entries[0].content);
  assert.deepEqual(chooseRows(point(...entries), { table: 'orders', images: 'after' }).rows, entries[1].after);
  assert.throws(() => chooseRows(point(...entries), { images: 'before' }), failsWith('not_found', /content, after/));
});

async function exported(table: KeptTable, format: ExportFormat, pieces: readonly (string | Buffer)[]): Promise<Buffer> {
  const parts: Buffer[] = [];
  await exportRows({ read: async function* read() { for (const piece of pieces) yield Buffer.from(piece as string); }, write: async (bytes) => { parts.push(bytes); }, createdBy: 'test' }, chooseRows(point(table), {}), format);
  return Buffer.concat(parts);
}

test('CSV has a line of names and a line for each row, whatever pieces they come in', async () => {
  assert.equal((await exported(odd, 'csv', ['2\tb\\nc\t1.50\n', '3\t\\N\t\n'])).toString(), 'id,"A ""b",n\n2,"b\nc",1.50\n3,,""\n');
  assert.equal((await exported(odd, 'copy', ['2\tb\\nc\t1.50\n'])).toString(), '2\tb\\nc\t1.50\n');
});

test('rows of any length come out of CSV whole, and in their order', async () => {
  const rows = Array.from({ length: 3_000 }, (_, id) => [String(id), 'x'.repeat(id % 7 === 0 ? 2_000 : id === 1_500 ? 700_000 : id % 300), '1']);
  const lines = (await exported(odd, 'csv', [rows.map((row) => `${row.join('\t')}\n`).join('')])).toString().split('\n');
  assert.deepEqual(lines.slice(1, -1), rows.map((row) => row.map((cell) => cell === '' ? '""' : cell).join(',')));
});

test('bytes that are no UTF-8 come out of CSV as they went in, and are no Parquet', async () => {
  const row = Buffer.from([0x32, 0x09, 0xe9, 0xff, 0x09, 0x31, 0x0a]);
  assert.deepEqual((await exported(odd, 'csv', [row])).subarray(-7), Buffer.from([0x32, 0x2c, 0xe9, 0xff, 0x2c, 0x31, 0x0a]));
  await assert.rejects(exported(odd, 'parquet', [row]), failsWith('recovery_point_broken', /copy/));
});

test('text that is not rows of the table is refused, and so is what reading throws', async () => {
  for (const format of ['csv', 'parquet'] as const) await assert.rejects(exported(odd, format, ['2\tb\n']), failsWith('recovery_point_broken', /3 columns/));
  await assert.rejects(exported(odd, 'parquet', ['two\tb\t1\n']), failsWith('recovery_point_broken', /column id/));
  for (const format of exportFormats) {
    await assert.rejects(exportRows({ read: async function* read() { yield Buffer.from('1\tb\t1\n'); throw new Failure('not_found', 'gone'); }, write: async () => undefined, createdBy: 'test' }, chooseRows(point(odd), {}), format), failsWith('not_found', /gone/));
  }
});
