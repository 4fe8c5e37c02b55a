/**
 * Writes data/pg-catalog/MAJOR.json from a fresh cluster of each major version:
 *   node scripts/build-pg-catalog.ts postgres://postgres@127.0.0.1:5432/postgres …
 * One line per row, sorted, so that the difference between two versions reads well. Only rows that initdb made are
 * written; what they do is reviewed in src/core/sql/functions-*.ts and system-relations.ts.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import pg from 'pg';
import { qualify } from '../src/core/sql/catalog.ts';
import type { Snapshot } from '../src/remote/postgres/builtin-catalog.ts';
import { inSnapshot, type CatalogQuery } from '../src/remote/postgres/catalog.ts';
import {
  builtinFunctionDigestQuery, firstUserOid, functionsQuery, operatorsQuery, relationsQuery, schemasQuery, typesQuery,
} from '../src/remote/postgres/catalog-queries.ts';
import { readColumns } from '../src/remote/postgres/catalog-relations.ts';
import { functionHashOf, Names, oids, readFunction, readOperator, text } from '../src/remote/postgres/catalog-rows.ts';

async function build(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, types: { getTypeParser: () => (value: string) => value } });
  await client.connect();
  const query: CatalogQuery = async (sql) => (await client.query({ text: sql, rowMode: 'array' })).rows;
  const snapshot = await inSnapshot(query, () => readSnapshot(query));
  await client.end();
  const folder = new URL('../data/pg-catalog/', import.meta.url);
  await mkdir(folder, { recursive: true });
  await writeFile(new URL(`${snapshot.major}.json`, folder), print(snapshot));
}

const short = (name: string): string => name.replace(/^pg_catalog\./, '');

async function readSnapshot(query: CatalogQuery): Promise<Snapshot> {
  const typeRows = await query(typesQuery);
  const names = new Names(typeRows);
  const functionRows = await query(functionsQuery(`p.oid < ${firstUserOid}`));
  names.addFunctions(functionRows);
  const version = text((await query(`SELECT current_setting('server_version_num')`))[0]?.[0]);
  return {
    major: Math.floor(Number(version) / 10_000), version: `postgresql-${version}`,
    functionDigest: text((await query(builtinFunctionDigestQuery))[0]?.[0]),
    schemas: (await query(schemasQuery)).map((row) => text(row[0])).filter((name) => name !== 'public'),
    functions: functionRows.map((row) => {
      const fact = readFunction(row, names);
      const variadic = fact.variadic === undefined ? '' : short(fact.variadic);
      return [short(qualify(fact.schema, fact.name)), fact.args.map(short).join(' '), short(fact.returns),
        `${text(row[8])}${text(row[9])}`, variadic, fact.defaults, fact.language, functionHashOf(row, names).hash];
    }),
    operators: (await query(operatorsQuery(`o.oid < ${firstUserOid}`))).map((row) => {
      const fact = readOperator(row, names);
      return [fact.schema, fact.name, fact.left === undefined ? '' : short(fact.left), short(fact.right), fact.function];
    }),
    types: typeRows.filter((row) => Number(row[0]) < firstUserOid).map((row) =>
      [short(qualify(text(row[1]), text(row[2]))), text(row[3]), row[4] === null ? '' : short(names.type(oids(`[${row[4]}]`)[0]))]),
    relations: (await query(relationsQuery(`c.oid < ${firstUserOid}`))).map((row) => [
      short(qualify(text(row[1]), text(row[2]))), text(row[3]),
      readColumns(row[6], names).map((column) => `${column.name}:${short(column.type)}`).join(' '),
    ]),
  };
}

function print(snapshot: Snapshot): string {
  const parts = Object.entries(snapshot).map(([name, value]) => {
    if (!Array.isArray(value) || name === 'schemas') return `${JSON.stringify(name)}: ${JSON.stringify(value)}`;
    const lines = value.map((row) => JSON.stringify(row)).sort();
    return `${JSON.stringify(name)}: [\n${lines.join(',\n')}\n]`;
  });
  return `{\n${parts.join(',\n')}\n}\n`;
}

for (const url of process.argv.slice(2)) await build(url);
