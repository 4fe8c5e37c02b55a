/** What is exported as CSV or as COPY text is read back by PostgreSQL as exactly the rows that were kept. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { after, before, it } from 'node:test';
import fc from 'fast-check';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import type { ExportFormat } from '../../src/core/recovery/export-format.ts';
import { keepTable } from '../fixtures/kept-rows.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';

let server: PostgresServer;
let client: pg.Client;
before(async () => {
  server = await startPostgresServer();
  client = new pg.Client({ connectionString: server.url() });
  await client.connect();
  await client.query(readFileSync(new URL('../fixtures/odd-rows.sql', import.meta.url), 'utf8'));
});
after(async () => {
  await client?.end();
  await server?.stop();
});

const ways: Readonly<Record<Exclude<ExportFormat, 'parquet'>, string>> = { csv: '(FORMAT csv, HEADER match)', copy: '' };

/** Exported, and read by PostgreSQL into a table of the same columns: both as texts, row by row. */
async function roundTrip(table: string, format: keyof typeof ways, chunkBytes: number): Promise<readonly [kept: unknown, read: unknown]> {
  const kept = await keepTable(server.url(), `public.${table}`, chunkBytes);
  await client.query(`DROP TABLE IF EXISTS read_back; CREATE TABLE read_back (LIKE ${table})`);
  await pipeline([await kept.exported(format)], client.query(copyFrom(`COPY read_back FROM STDIN ${ways[format]}`)));
  const all = async (from: string): Promise<unknown> => (await client.query({ text: `SELECT t::text FROM ${from} t ORDER BY 1`, rowMode: 'array' })).rows;
  return [await all(table), await all('read_back')];
}

for (const format of ['csv', 'copy'] as const) {
  it(`reads back every kind of value from ${format}`, async () => {
    const [kept, read] = await roundTrip('"odd ""rows"', format, 200);
    assert.equal((kept as readonly unknown[]).length, 5);
    assert.deepEqual(read, kept);
  });
  it(`reads back any texts, in one column or two, from ${format}`, async () => {
    const cell = fc.option(fc.oneof(fc.string({ unit: fc.constantFrom('"', ',', '\\', '.', 'N', '\n', '\r', '\t', ' ', 'é', 'x', '1'), maxLength: 6 }), fc.string({ unit: 'binary', maxLength: 5 }).map((text) => text.toWellFormed().replaceAll('\u0000', ''))));
    await fc.assert(fc.asyncProperty(fc.array(fc.tuple(cell, cell), { maxLength: 30 }), fc.boolean(), async (rows, isOne) => {
      await client.query(`DROP TABLE IF EXISTS texts; CREATE TABLE texts (a text${isOne ? '' : ', "B" text'})`);
      for (const row of rows) await client.query(`INSERT INTO texts VALUES ($1${isOne ? '' : ', $2'})`, isOne ? [row[0]] : row);
      const [kept, read] = await roundTrip('texts', format, 64);
      assert.deepEqual(read, kept);
    }), { numRuns: 40 });
  });
}
