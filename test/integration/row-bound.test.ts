/**
 * A law of what is proved without asking: whatever the WHERE is made of, an UPDATE or DELETE that is proved to change at
 * most so many rows changes no more, before a PostgreSQL with everything that makes rows equal or unique in other ways.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { assess } from '../../src/core/sql/assess.ts';
import type { Catalog } from '../../src/core/sql/catalog.ts';
import { rowBound } from '../../src/core/sql/row-bound.ts';
import type { SessionFacts } from '../../src/core/sql/statement.ts';
import { loadParser } from '../../src/lib/pgsql/parser.ts';
import { loadCatalog } from '../../src/remote/postgres/catalog.ts';
import { connectLink, type Link } from '../../src/remote/postgres/link.ts';
import { parseConnectionString } from '../../src/remote/postgres/link-target.ts';
import { ServerError } from '../../src/remote/postgres/server-error.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { freshSession } from '../fixtures/corpus.ts';

let server: PostgresServer;
let link: Link;
let catalog: Catalog;
const parser = await loadParser(18);
const readCatalog = (): Promise<Catalog> => loadCatalog(async (question, parameters) => (await link.query(question, parameters)).rows);
before(async () => {
  server = await startPostgresServer();
  await server.run(scene);
  await server.run('CREATE UNIQUE INDEX CONCURRENTLY ON invalid (id)').catch(() => undefined);
  link = await connectLink(parseConnectionString(server.url()), { parameters: new Map([['search_path', 'public'], ['TimeZone', 'America/New_York']]) });
  catalog = await readCatalog();
});
after(async () => {
  await link?.end();
  await server?.stop();
});

/** Rows that are equal in one way and not in another: beyond 2^53, in the hour that is skipped, by case, by trailing blanks. */
const scene = `
CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE DOMAIN dom AS int8; CREATE DOMAIN word AS text COLLATE ci;
CREATE TABLE big (id int8 PRIMARY KEY, v text DEFAULT 'v'); INSERT INTO big SELECT 9007199254740990 + i FROM generate_series(0, 5) i; INSERT INTO big SELECT i FROM generate_series(1, 5) i;
CREATE TABLE small (id int2 PRIMARY KEY, v text DEFAULT 'v', UNIQUE (id, v)); INSERT INTO small SELECT i FROM generate_series(1, 5) i;
CREATE TABLE exact (id numeric PRIMARY KEY, v text DEFAULT 'v'); INSERT INTO exact SELECT 9007199254740990 + i FROM generate_series(0, 5) i; INSERT INTO exact VALUES (1), (1.0000000000000000000001), (2);
CREATE TABLE pairs (a int, b text, v text DEFAULT 'v', UNIQUE (a, b)); INSERT INTO pairs SELECT a, b FROM generate_series(1, 3) a, unnest(ARRAY['a', 'A', 'b', NULL, NULL]) b; INSERT INTO pairs VALUES (NULL, 'a'), (NULL, 'a');
CREATE TABLE folded (id text COLLATE ci, v text DEFAULT 'v'); CREATE UNIQUE INDEX ON folded (id COLLATE "C"); INSERT INTO folded VALUES ('a'), ('A'), ('b'), ('B');
CREATE TABLE folding (id text COLLATE ci PRIMARY KEY, v text DEFAULT 'v'); INSERT INTO folding VALUES ('a'), ('b');
CREATE TABLE padded (id char(3) PRIMARY KEY, v text DEFAULT 'v'); INSERT INTO padded VALUES ('a'), ('b');
CREATE TABLE partial (id int, v text DEFAULT 'v', w int); CREATE UNIQUE INDEX ON partial (id) WHERE w = 1; INSERT INTO partial SELECT 1 + i % 3, 'v', CASE WHEN i < 3 THEN 1 END FROM generate_series(0, 8) i;
CREATE TABLE lowered (id text, v text DEFAULT 'v'); CREATE UNIQUE INDEX ON lowered (lower(id)); CREATE UNIQUE INDEX ON lowered ((id || v)); INSERT INTO lowered VALUES ('a', '1'), ('b', '2');
CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text DEFAULT 'v'); INSERT INTO deferred VALUES (1), (2);
CREATE TABLE invalid (id int, v text DEFAULT 'v'); INSERT INTO invalid VALUES (1), (1), (2);
CREATE TABLE parent (id int PRIMARY KEY, v text DEFAULT 'v'); CREATE TABLE heir (PRIMARY KEY (id)) INHERITS (parent); INSERT INTO parent VALUES (1), (2); INSERT INTO heir VALUES (1), (2);
CREATE TABLE split (id int, day int, v text DEFAULT 'v', PRIMARY KEY (id, day)) PARTITION BY LIST (day); CREATE TABLE split_1 PARTITION OF split FOR VALUES IN (1); CREATE TABLE split_2 PARTITION OF split FOR VALUES IN (2);
CREATE UNIQUE INDEX ON split_1 (id); CREATE UNIQUE INDEX ON split_2 (id); INSERT INTO split SELECT a, b FROM generate_series(1, 3) a, generate_series(1, 2) b;
CREATE TABLE half (id int, day int, v text DEFAULT 'v') PARTITION BY LIST (day); CREATE TABLE half_1 PARTITION OF half FOR VALUES IN (1); CREATE TABLE half_2 PARTITION OF half FOR VALUES IN (2);
CREATE UNIQUE INDEX ON ONLY half (id, day); INSERT INTO half SELECT 1, 1 + i % 2 FROM generate_series(1, 6) i;
CREATE TABLE domained (id dom PRIMARY KEY, v text DEFAULT 'v'); INSERT INTO domained SELECT 9007199254740990 + i FROM generate_series(0, 5) i;
CREATE TABLE worded (id word, v text DEFAULT 'v'); CREATE UNIQUE INDEX ON worded (id COLLATE "C"); INSERT INTO worded VALUES ('a'), ('A');
CREATE TABLE moments (id timestamp PRIMARY KEY, v text DEFAULT 'v'); INSERT INTO moments VALUES ('2024-03-10 02:30'), ('2024-03-10 03:30'), ('2024-03-11 00:00');
CREATE TABLE instants (id timestamptz PRIMARY KEY, v text DEFAULT 'v'); INSERT INTO instants VALUES ('2024-03-10 03:30'), ('2024-03-11 00:00');
CREATE TABLE days (id date PRIMARY KEY, v text DEFAULT 'v'); INSERT INTO days VALUES ('2024-03-10'), ('2024-03-11');
CREATE TABLE floats (id float8 PRIMARY KEY, v text DEFAULT 'v'); INSERT INTO floats VALUES (1), (2);
CREATE TABLE covering (id int, b int, v text DEFAULT 'v'); CREATE UNIQUE INDEX ON covering (id) INCLUDE (b); CREATE INDEX ON covering (b); INSERT INTO covering VALUES (1, 1), (2, 1), (3, 1);
CREATE EXTENSION btree_gist; CREATE TABLE spans (id int, b int4range, v text DEFAULT 'v', PRIMARY KEY (id, b WITHOUT OVERLAPS)); INSERT INTO spans VALUES (1, '[1,2)'), (1, '[2,3)');
CREATE TABLE ruled (id int PRIMARY KEY, v text DEFAULT 'v'); INSERT INTO ruled VALUES (1), (2); CREATE RULE more AS ON UPDATE TO ruled DO ALSO UPDATE pairs SET v = 'r';
CREATE TABLE guarded (id int PRIMARY KEY, v text DEFAULT 'v'); INSERT INTO guarded VALUES (1), (2); CREATE TABLE kept (id int REFERENCES guarded ON DELETE CASCADE); INSERT INTO kept VALUES (1), (1), (1);
CREATE TABLE flags (id bool PRIMARY KEY, v text DEFAULT 'v'); INSERT INTO flags VALUES (true), (false);
CREATE TABLE names (id uuid PRIMARY KEY, v text DEFAULT 'v'); INSERT INTO names SELECT ('00000000-0000-0000-0000-00000000000' || i)::uuid FROM generate_series(1, 3) i;
`;
const tables = [
  'big', 'small', 'exact', 'pairs', 'folded', 'folding', 'padded', 'partial', 'lowered', 'deferred', 'invalid', 'parent', 'ONLY parent', 'split', 'split_1', 'half', 'domained', 'worded', 'moments', 'instants', 'days', 'floats',
  'covering', 'spans', 'ruled', 'guarded', 'flags', 'names',
] as const;
const second: Readonly<Record<string, string>> = { pairs: 'b', split: 'day', split_1: 'day', half: 'day', covering: 'b', spans: 'b', small: 'v', partial: 'w', lowered: 'v' };
const firstColumn = (table: string): string => (table === 'pairs' ? 'a' : 'id');

/** What is mostly compared with a table's columns: values that are there, their neighbours, and casts that look alike. */
interface Pool { readonly tables: readonly string[]; readonly literals: readonly string[]; readonly casts: readonly string[]; readonly declared: readonly number[]; readonly values: readonly (string | null)[] }
const pools: readonly Pool[] = [
  { tables: ['big', 'exact', 'domained'], literals: ['1', "'1'", '9007199254740992', '9007199254740993.0', '9007199254740992.5', '1.0'], casts: ['::int8', '::numeric', '::float8', '::dom'], declared: [20, 1700, 701], values: ['1', '9007199254740992', '9007199254740993'] },
  { tables: ['small', 'partial', 'deferred', 'invalid', 'parent', 'ONLY parent', 'split', 'split_1', 'half', 'floats', 'covering', 'spans', 'ruled', 'guarded'], literals: ['1', '2', "'1'", '1.0', '3'], casts: ['::int4', '::int2', '::numeric', '::float8', '::float4'], declared: [21, 23, 20, 1700, 701, 700], values: ['1', '2'] },
  { tables: ['pairs'], literals: ['1', '2', "'a'", "'A'", "'b'"], casts: ['::int4', '::text', '::varchar', ' COLLATE ci'], declared: [23, 25], values: ['1', 'a', 'A'] },
  { tables: ['folded', 'folding', 'padded', 'lowered', 'worded'], literals: ["'a'", "'A'", "'b'", "'a  '"], casts: ['::text', '::varchar', '::char(3)', '::word', ' COLLATE ci', ' COLLATE "C"'], declared: [25, 1043, 1042], values: ['a', 'A', 'a  '] },
  { tables: ['moments', 'instants', 'days'], literals: ["'2024-03-10 03:30'", "'2024-03-10'", "'2024-03-11'"], casts: ['::timestamptz', '::timestamp', '::date'], declared: [1082, 1114, 1184], values: ['2024-03-10 03:30', '2024-03-10', '2024-03-11'] },
  { tables: ['flags'], literals: ['true', "'t'"], casts: ['::bool', '::text'], declared: [16, 25], values: ['t'] },
  { tables: ['names'], literals: ["'00000000-0000-0000-0000-000000000001'"], casts: ['::uuid'], declared: [2950, 25], values: ['00000000-0000-0000-0000-000000000002'] },
];
const poolOf = (table: string): Pool => pools.find((one) => one.tables.includes(table)) ?? pools[0] as Pool;
const oddLiterals = ['NULL', '1 + 1', 'id', 'v', '(SELECT 1)', 'random()::int', "'v'", '-1', 'true', '1e0', "'[1,2)'"];
const mostly = <T>(usual: readonly T[], odd: readonly T[]): fc.Arbitrary<T> => fc.oneof({ weight: 12, arbitrary: fc.constantFrom(...usual) }, { weight: 1, arbitrary: fc.constantFrom(...odd) });
const castFor = (table: string): fc.Arbitrary<string> => mostly(['', '', '', ...poolOf(table).casts], ['::int4[]', '::text', '::pg_catalog.int8', '::bool']);
/** `$n` counts on through the statement; `$same` is the first one again. */
const parameter = fc.constantFrom('$n', '$n', '$n', '$same');
const valueFor = (table: string): fc.Arbitrary<string> => fc.tuple(
  fc.oneof({ weight: 3, arbitrary: mostly(poolOf(table).literals, oddLiterals) }, { weight: 2, arbitrary: parameter }), castFor(table),
).map(([one, as]) => `${one}${as}`);
const comparison = (table: string): fc.Arbitrary<string> => fc.tuple(
  mostly([firstColumn(table), firstColumn(table), `t.${firstColumn(table)}`, second[table] ?? firstColumn(table)], ['v', 'nowhere']), fc.array(valueFor(table), { minLength: 1, maxLength: 3 }),
  mostly(['=', '=', 'IN', 'flipped', 'OPERATOR(pg_catalog.=)'], ['<>', 'NOT IN', '= ANY (ARRAY', 'IS NOT DISTINCT FROM', '>=']),
).map(([column, values, operator]) => {
  const [first = '1'] = values;
  switch (operator) {
    case 'IN': case 'NOT IN': return `${column} ${operator} (${values.join(', ')})`;
    case '= ANY (ARRAY': return `${column} = ANY (ARRAY[${values.join(', ')}])`;
    case 'flipped': return `${first} = ${column}`;
    default: return `${column} ${operator} ${first}`;
  }
});
const condition = (table: string): fc.Arbitrary<string> => fc.letrec<{ whole: string; one: string }>((tie) => ({
  one: comparison(table),
  whole: fc.oneof({ depthSize: 'small', withCrossShrink: true }, tie('one'), tie('one'), fc.tuple(tie('whole'), fc.constantFrom(' AND ', ' AND ', ' OR '), tie('whole')).map(([a, word, b]) => `(${a}${word}${b})`), tie('one').map((inner) => `NOT (${inner})`)),
})).whole;

interface Case { readonly sql: string; readonly types: readonly number[]; readonly values: readonly (string | null)[] }

const anyCase: fc.Arbitrary<Case> = fc.constantFrom(...tables).chain((table) => fc.record({
  where: condition(table), isUpdate: fc.boolean(), setsParameter: fc.boolean(), types: fc.array(mostly([0, 0, ...poolOf(table).declared], [16, 25, 705, 1043]), { minLength: 12, maxLength: 12 }),
  values: fc.array(mostly(poolOf(table).values, ['1', 'a', null]), { minLength: 12, maxLength: 12 }),
}).map(({ where, isUpdate, setsParameter, types, values }) => {
  let used = 0;
  const numbered = where.replaceAll(/\$(?:n|same)/g, (found) => {
    if (found === '$n' || used === 0) used += 1;
    return `$${found === '$n' ? used : 1}`;
  });
  const set = setsParameter && used > 0 ? "v = $1 || ''" : "v = 'w'";
  return { sql: isUpdate ? `UPDATE ${table} t SET ${set} WHERE ${numbered}` : `DELETE FROM ${table} t WHERE ${numbered}`, types: types.slice(0, used), values: values.slice(0, used) };
}));

function boundFor(sql: string, types: readonly number[] = [], session: Partial<SessionFacts> = {}, by = catalog): number | undefined {
  const facts = { ...freshSession, ...session };
  const { risk, statements } = assess(sql, facts, by, parser);
  return rowBound({ statements: statements.map(({ statement }) => statement), risk, session: facts, catalog: by, parser, parameterTypes: types })?.rowsMax;
}

/** Rows by its tag, in a transaction that has made what a deferred constraint lets stand; undefined: it fails. */
async function performed({ sql, types, values }: Case): Promise<number | undefined> {
  await link.query('BEGIN');
  try {
    await link.query('INSERT INTO deferred SELECT i FROM generate_series(1, 2) i');
    const { command } = await link.ask({ sql, parameterTypes: types, values: values.map((one) => (one === null ? null : Buffer.from(one))) }, 20_000);
    return command.rows ?? 0;
  } catch (error) {
    if (error instanceof ServerError) return undefined;
    throw error;
  } finally {
    await link.query('ROLLBACK');
  }
}

test('what is proved to change at most so many rows changes no more', { timeout: 300_000 }, async () => {
  const seen = { proved: 0, ran: 0, hit: 0, full: 0 };
  await fc.assert(fc.asyncProperty(anyCase, async (given) => {
    const bound = boundFor(given.sql, given.types);
    if (bound === undefined) return;
    seen.proved += 1;
    const rows = await performed(given);
    if (rows === undefined) return;
    seen.ran += 1;
    if (rows > 0) seen.hit += 1;
    if (rows === bound) seen.full += 1;
    assert.ok(rows <= bound, `proved at most ${bound}, changed ${rows}: ${JSON.stringify(given)}`);
  }), { numRuns: 5_000 });
  assert.ok(seen.ran > 300 && seen.hit > 100 && seen.full > 60, JSON.stringify(seen));
});

const table: readonly (readonly [why: string, sql: string, expected: number | undefined, types?: readonly number[]])[] = [
  ['a primary key and a literal', 'UPDATE big SET v = 1 WHERE id = 5', 1],
  ['a primary key and a parameter', 'DELETE FROM big WHERE id = $1', 1],
  ['a parameter of a declared type', 'DELETE FROM big WHERE id = $1', 1, [23]],
  ['a cast parameter', 'DELETE FROM names AS n WHERE n.id = $1::uuid AND v <> $2', 1],
  ['a list', 'DELETE FROM big WHERE id IN (1, 2, $1)', 3],
  ['alternatives', 'DELETE FROM big WHERE id = 1 OR id = 2 AND v = \'x\' OR id IN (3, 4)', 4],
  ['all columns of a key', "DELETE FROM pairs WHERE b IN ('a', 'b') AND a IN (1, 2, 3)", 6],
  ['the narrower of two', 'DELETE FROM big WHERE (id = 1 OR id = 2) AND id IN (1, 2, 3)', 2],
  ['a partitioned table by its whole key', 'UPDATE split SET v = 1 WHERE id = 1 AND day = 2', 1],
  ['one table of a tree', 'DELETE FROM ONLY parent WHERE id = 1', 1],
  ['a parameter that may be a float8', 'DELETE FROM big WHERE id = $1', undefined, [701]],
  ['a literal that is a float8', 'DELETE FROM big WHERE id = 5::float8', undefined],
  ['a parameter that stands twice', 'UPDATE big SET v = $1 WHERE id = $1', undefined],
  ['a parameter that stands twice, of a declared type', 'UPDATE big SET v = $1 WHERE id = $1', 1, [20]],
  ['a part of a key', 'DELETE FROM pairs WHERE a = 1', undefined],
  ['one of several that is no value', 'DELETE FROM big WHERE id IN (1, id)', undefined],
  ['an alternative that is open', 'DELETE FROM big WHERE id = 1 OR v = \'x\'', undefined],
  ['a negation', 'DELETE FROM big WHERE NOT id = 1', undefined],
  ['a join', 'DELETE FROM big USING small WHERE big.id = 1', undefined],
  ['WITH', 'WITH w AS (SELECT 1) DELETE FROM big WHERE id = 1', undefined],
  ['a table with children', 'DELETE FROM parent WHERE id = 1', undefined],
  ['an index that is put off', 'DELETE FROM deferred WHERE id = 1', undefined],
  ['an index that is not valid', 'DELETE FROM invalid WHERE id = 1', undefined],
  ['an index of some of the rows', 'DELETE FROM partial WHERE id = 1', undefined],
  ['an index of expressions', "DELETE FROM lowered WHERE id = 'a'", undefined],
  ['a column that is only carried along', 'DELETE FROM covering WHERE b = 1', undefined],
  ['a collation that tells less apart than the index', "DELETE FROM folded WHERE id = 'a'", undefined],
  ['the same collation as the index, which is not deterministic', "DELETE FROM folding WHERE id = 'A'", 1],
  ['a domain', 'DELETE FROM domained WHERE id = 1', undefined],
  ['a key without overlaps', 'DELETE FROM spans WHERE id = 1', undefined],
  ['an index of one table alone', 'DELETE FROM half WHERE id = 1 AND day = 1', undefined],
  ['moments, of which an hour is skipped', "DELETE FROM moments t WHERE id = '2024-03-10 03:30' AND id IN ($1::timestamptz, '2024-03-10 03:30')", undefined],
  ['moments by instants', "DELETE FROM moments WHERE id = $1", undefined, [1184]],
  ['a rule', 'UPDATE ruled SET v = 1 WHERE id = 1', undefined],
  ['a key that deletes on', 'DELETE FROM guarded WHERE id = 1', undefined],
  ['a change that the key does not pass on', 'UPDATE guarded SET v = 1 WHERE id = 1', 1],
  ['two statements', 'DELETE FROM big WHERE id = 1; DELETE FROM big WHERE id = 2', undefined],
  ['another table of the same name', 'DELETE FROM nowhere.big WHERE id = 1', undefined],
];
for (const [why, sql, expected, types] of table) {
  test(`${expected === undefined ? 'nothing is proved' : `at most ${expected} is proved`} of ${why}`, () => { assert.equal(boundFor(sql, types), expected); });
}

test('nothing is proved in a session that knows other names, or beside an equality or cast of somebody\'s own', async () => {
  const sql = 'DELETE FROM big WHERE id = 1';
  assert.equal(boundFor(sql), 1);
  for (const session of [{ searchPath: null }, { catalogChanged: true }, { temporary: new Set(['big']) }, { temporaryOpaque: new Set(['big']) }]) assert.equal(boundFor(sql, [], session), undefined);
  for (const [make, undo] of [
    ["CREATE FUNCTION near(int8, text) RETURNS bool LANGUAGE sql AS 'SELECT true'; CREATE OPERATOR = (LEFTARG = int8, RIGHTARG = text, FUNCTION = near)", 'DROP OPERATOR = (int8, text); DROP FUNCTION near'],
    ["CREATE FUNCTION wild(text) RETURNS int8 LANGUAGE sql VOLATILE AS 'SELECT 1::int8'; CREATE CAST (text AS int8) WITH FUNCTION wild(text)", 'DROP CAST (text AS int8); DROP FUNCTION wild'],
  ] as const) {
    await server.run(make);
    assert.equal(boundFor(sql, [], {}, await readCatalog()), undefined);
    await server.run(undo);
    assert.equal(boundFor(sql, [], {}, await readCatalog()), 1);
  }
});
