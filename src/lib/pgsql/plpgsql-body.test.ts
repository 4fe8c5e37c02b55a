/**
 * Every SQL text that a PL/pgSQL body can run is found, and a body that hides one is not read at all.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { loadParser, parserMajors } from './parser.ts';
import type { Parser } from './parser.ts';

const parsers: Parser[] = [];
before(async () => { for (const major of parserMajors) parsers.push(await loadParser(major)); });

function read(body: string, signature = 'f(a int) RETURNS int'): readonly string[] | null {
  const results = parsers.map((parser) => parser.readPlpgsql(`CREATE FUNCTION ${signature} LANGUAGE plpgsql AS $fn$ ${body} $fn$`));
  for (const result of results) assert.deepEqual(result, results[0], 'all majors read it alike');
  return results[0] ?? null;
}

const found: readonly (readonly [body: string, texts: readonly string[]])[] = [
  ['BEGIN RETURN a + 1; END', ['SELECT a + 1']],
  ['DECLARE x text := lower(\'A\'); BEGIN RETURN 1; END', ['SELECT NULL::text', "SELECT lower('A')", 'SELECT 1']],
  ['DECLARE d app.dom; BEGIN d := wr(a); RETURN d; END', ['SELECT NULL::app.dom', 'SELECT wr(a)', 'SELECT d']],
  ['BEGIN PERFORM wr(1); RETURN 1; END', ['SELECT wr(1)', 'SELECT 1']],
  ['BEGIN INSERT INTO t VALUES (a); DELETE FROM t; RETURN 1; END', ['INSERT INTO t VALUES (a)', 'DELETE FROM t', 'SELECT 1']],
  ['BEGIN IF c1() THEN RETURN 1; ELSIF c2() THEN RETURN 2; ELSE RETURN 3; END IF; END', ['SELECT c1()', 'SELECT c2()', 'SELECT 1', 'SELECT 2', 'SELECT 3']],
  ['BEGIN WHILE w() LOOP EXIT WHEN e(); CONTINUE WHEN n(); END LOOP; RETURN 1; END', ['SELECT w()', 'SELECT e()', 'SELECT n()', 'SELECT 1']],
  ['BEGIN FOR i IN lo()..hi() BY st() LOOP PERFORM x(i); END LOOP; RETURN 1; END', ['SELECT lo()', 'SELECT hi()', 'SELECT st()', 'SELECT x(i)', 'SELECT 1']],
  ['DECLARE r record; BEGIN FOR r IN SELECT q() LOOP NULL; END LOOP; RETURN 1; END', ['SELECT q()', 'SELECT 1']],
  ['DECLARE x int; BEGIN FOREACH x IN ARRAY arr() LOOP NULL; END LOOP; RETURN 1; END', ['SELECT NULL::int', 'SELECT arr()', 'SELECT 1']],
  ['DECLARE c CURSOR FOR SELECT cur(); BEGIN OPEN c; CLOSE c; RETURN 1; END', ['SELECT cur()', 'SELECT 1']],
  ['BEGIN CASE s() WHEN v() THEN RETURN 1; ELSE RETURN 2; END CASE; END', ['SELECT s()', 'SELECT 1', 'SELECT 2']],
  ['BEGIN RAISE NOTICE \'%\', msg() USING HINT = hint(); RETURN 1; END', ['SELECT msg()', 'SELECT hint()', 'SELECT 1']],
  ['BEGIN ASSERT sure(), why(); RETURN 1; END', ['SELECT sure()', 'SELECT why()', 'SELECT 1']],
  ['BEGIN BEGIN PERFORM inner1(); EXCEPTION WHEN others THEN PERFORM caught(); END; RETURN 1; END', ['SELECT inner1()', 'SELECT caught()', 'SELECT 1']],
  ['DECLARE x int; BEGIN SELECT into1() INTO x; RETURN x; END', ['SELECT NULL::int', 'SELECT into1()']],
];
for (const [body, texts] of found) {
  test(`found: ${body}`, () => {
    const all = read(body);
    assert.ok(all !== null, 'it can be read');
    const squeezed = new Set(all.map((text) => text.replaceAll(/\s+/g, ' ').trim()));
    assert.deepEqual(texts.filter((text) => !squeezed.has(text) && !all.some((other) => other.includes(text.replace('SELECT ', '')))), [], JSON.stringify(all));
  });
}

test('rows returned by a query are read', () => {
  assert.deepEqual(read('BEGIN RETURN QUERY SELECT wr(); RETURN NEXT 1; END', 'f() RETURNS SETOF int')?.some((text) => text.includes('wr()')), true);
});

const unread: readonly string[] = [
  "BEGIN EXECUTE 'delete from t'; RETURN 1; END", "BEGIN EXECUTE format('drop table %I', a); RETURN 1; END", "DECLARE r record; BEGIN FOR r IN EXECUTE 'select 1' LOOP NULL; END LOOP; RETURN 1; END",
  "DECLARE c refcursor; BEGIN OPEN c FOR EXECUTE 'select wr()'; RETURN 1; END", 'BEGIN COMMIT; RETURN 1; END', 'BEGIN ROLLBACK; RETURN 1; END', 'DECLARE x t.a%TYPE; BEGIN RETURN 1; END',
  'DECLARE r record := wr_row(); BEGIN RETURN 1; END', 'BEGIN RETURN 1', 'not plpgsql at all', 'DECLARE a int[]; BEGIN a[wr()] := 1; RETURN 1; END',
  // The variable holds a name, and a portal of that name may stand for a DELETE.
  'DECLARE c refcursor; BEGIN FETCH c INTO a; RETURN a; END', 'DECLARE c refcursor; BEGIN MOVE c; RETURN 1; END',
  "DECLARE c CURSOR FOR SELECT 1; BEGIN c := 'p'; FETCH c INTO a; RETURN a; END",
  `DECLARE a int[]; BEGIN a[1${' '.repeat(200_000)}, wr()] := 1; RETURN 1; END`,
];
for (const body of unread) test(`not read: ${body.slice(0, 120)}`, () => { assert.equal(read(body), null); });

test('rows returned by a text are not read', () => { assert.equal(read("BEGIN RETURN QUERY EXECUTE 'select wr()'; END", 'f() RETURNS SETOF int'), null); });

test('what is no PL/pgSQL function is not read, and the next one is', () => {
  for (const sql of ['', 'select 1', 'create function', 'drop table t', 'select 1\0', `select ${'('.repeat(30_000)}`]) {
    for (const parser of parsers) assert.equal(parser.readPlpgsql(sql), null);
    assert.ok(read('BEGIN RETURN 1; END')?.includes('SELECT 1'));
  }
});
