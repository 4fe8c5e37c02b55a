/**
 * Reading a statement finds everything in it: each statement inside counts, each call in whatever disguise is mentioned,
 * and a CTE's name hides a relation only where PostgreSQL lets it.
 */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { readdirSync, readFileSync } from 'node:fs';
import { loadParser, parserMajors } from '../../lib/pgsql/parser.ts';
import type { Parser } from '../../lib/pgsql/parser.ts';
import { readStatement } from './read-statement.ts';
import type { Statement } from './statement.ts';

const parsers = new Map<number, Parser>();
before(async () => { for (const major of parserMajors) parsers.set(major, await loadParser(major)); });

function read(sql: string, major = 18): Statement {
  const result = parsers.get(major)?.parse(sql);
  assert.ok(result?.kind === 'parsed' && result.statements.length === 1, `${sql}: ${JSON.stringify(result)}`);
  const [one] = result.statements;
  assert.ok(one);
  return readStatement(one);
}

const relationsOf = (sql: string): readonly string[] => read(sql).mentions.relations.map(({ schema, name, use }) => `${use} ${schema === undefined ? '' : `${schema}.`}${name}`);
const callsOf = (sql: string): readonly string[] => read(sql).mentions.functions.map(({ schema, name, argCount }) => `${schema === undefined ? '' : `${schema}.`}${name}/${argCount ?? '?'}`);
const operatorsOf = (sql: string): readonly string[] => read(sql).mentions.operators.map(({ schema, name, arity }) => `${schema === undefined ? '' : `${schema}.`}${name}/${arity}`);
const typesOf = (sql: string): readonly string[] => read(sql).mentions.types.map(({ schema, name }) => `${schema === undefined ? '' : `${schema}.`}${name}`);
const levelOf = (sql: string): string => read(sql).own.level;

describe('a CTE hides a relation of its name only where it is in scope', () => {
  const rows: readonly (readonly [string, readonly string[], string])[] = [
    ['with v as (select 1) select * from v', [], 'in its own statement'],
    ['select * from v where exists (with v as (select 1) select 1 from v)', ['read v'], 'not outside the statement it belongs to'],
    ['with v as (select * from v) select * from v', ['read v'], 'not in itself'],
    ['with recursive v as (select 1 union all select * from v) select * from v', [], 'in itself under RECURSIVE'],
    ['with a as (select * from b), b as (select 1) select * from a, b', ['read b'], 'not in one before it'],
    ['with a as (select 1), b as (select * from a) select * from b', [], 'in one after it'],
    ['with v as (select 1) select * from s.v', ['read s.v'], 'not where a schema is named'],
    ['with v as (select 1) select * from (select * from (select * from v) x) y', [], 'in nested subqueries'],
    ['with v as (select 1) delete from v where id = 1', ['delete v'], 'not as the target of a write'],
    ['with v as (select 1) insert into t select * from v', ['insert t'], 'in the query of an INSERT'],
    ['with v as (select 1) (select * from v union select * from w) order by 1', ['read w'], 'in both arms of a UNION'],
    ['(with v as (select 1) select * from v) union select * from v', ['read v'], 'not in the other arm'],
  ];
  for (const [sql, expected, why] of rows) test(`${why}: ${sql}`, () => { assert.deepEqual(relationsOf(sql), expected); });
});

describe('a statement inside another counts', () => {
  const rows: readonly (readonly [string, string, string])[] = [
    ['with d as (delete from t returning *) select * from d', 'CRITICAL', 'H4'], ['select (with x as (delete from y returning 1) select 1)', 'CRITICAL', 'H4'],
    ['copy (delete from t returning *) to stdout', 'CRITICAL', 'H6'], ['explain analyze delete from t', 'CRITICAL', 'H7'], ['explain delete from t', 'SAFE', 'H7'],
    ['explain (analyze off) delete from t', 'SAFE', 'H7'], ['explain (analyze off, analyze on) delete from t', 'CRITICAL', 'H7'], ['explain (costs, "analyze" 1) delete from t', 'CRITICAL', 'H7'],
    ['select * into x from t', 'HIGH', 'H8'], ['create table x as with d as (delete from t returning *) select * from d', 'CRITICAL', 'H8'], ['select 1 union select 2 for update', 'LOW', 'H9'],
    ['select * from (select * from t for share) q', 'LOW', 'H9'], ['insert into t select 1 on conflict (a) do update set b = 1', 'HIGH', 'H71'], ['create schema s create table t (a int) grant all on t to public', 'CRITICAL', 'H75'],
    ['create rule r as on insert to t do instead delete from u', 'HIGH', 'H13'], ['create view v as select 1', 'HIGH', 'H13'], ['alter role r set search_path = x', 'CRITICAL', 'H62'],
  ];
  for (const [sql, level, hazard] of rows) test(`${hazard}: ${sql} is ${level}`, () => { assert.equal(levelOf(sql), level); });
});

test('every form of a call is mentioned, wherever it stands (H20, H26)', () => {
  assert.deepEqual(callsOf('select count(*) filter (where f(x)) over (partition by g() order by h() rows i() preceding) from t'), ['count/0', 'f/1', 'g/0', 'h/0', 'i/0']);
  assert.deepEqual(callsOf('select * from rows from (f(1), s.g(2) as (a int))'), ['f/1', 's.g/1']);
  assert.deepEqual(callsOf('select * from t tablesample s.sample(1) repeatable (f())'), ['s.sample/1', 'f/0']);
  assert.deepEqual(callsOf("select * from xmltable('/a' passing x() columns a int path 'b' default f())"), ['x/0', 'f/0']);
  assert.deepEqual(callsOf("select * from json_table(j(), '$' columns (a int path '$' default f() on empty, nested path '$' columns (b int default g() on error)))"), ['j/0', 'f/0', 'g/0']);
  assert.deepEqual(callsOf('select json_objectagg(f(): g()), json_arrayagg(h() order by i()) filter (where j()), json_array(k()), json_scalar(l()), json_serialize(m() returning text)'), ['f/0', 'g/0', 'j/0', 'i/0', 'h/0', 'k/0', 'l/0', 'm/0']);
  assert.deepEqual(callsOf('select f(variadic array[1]), mode() within group (order by g())'), ['f/?', 'mode/?', 'g/0']);
  assert.deepEqual(callsOf('values (f()) order by g() limit h() offset i()'), ['f/0', 'g/0', 'i/0', 'h/0']);
  assert.deepEqual(callsOf('insert into t values (f()) on conflict ((g(a))) where h() do update set b = i(), c[j()] = 1 where k() returning l()').length, 7);
  const { attributes, fields } = read('select t.purge, (t).a, (f()).b.c, s.t.d, t.*, e from t').mentions;
  assert.deepEqual([attributes, fields], [['purge', 'd'], ['a', 'b', 'c']]);
});

test('constant texts of arguments are given, computed ones are not', () => {
  const constants = (sql: string): unknown => read(sql).mentions.functions[0]?.constants;
  assert.deepEqual(constants("select f('a', E'b\\n', 'c'::text, 'd'::varchar(1), 'e' || 'f', 5, $1, null, x => 'g')"), ['a', 'b\n', 'c', null, null, null, null, null, 'g']);
  assert.deepEqual(read("select f(1, x => 'g', y := 2)").mentions.functions[0]?.namedArgs, ['x', 'y']);
});

test('every form of an operator is mentioned (H21)', () => {
  assert.deepEqual(operatorsOf('select a operator(s.+) b, - a, a !== b'), ['s.+/2', '-/1', '!==/2']);
  assert.deepEqual(operatorsOf("select a between 1 and 2, a not between 1 and 2, a like 'x', a not ilike 'x', a similar to 'x', a in (1), a not in (1), nullif(a, 1), a is distinct from 1"),
    ['>=/2', '<=/2', '</2', '>/2', '~~/2', '!~~*/2', '~/2', '=/2', '<>/2', '=/2', '=/2']);
  assert.deepEqual(operatorsOf('select 1 operator(s.=) any (select 1), 1 < all (array[1]), (1, 2) <= (3, 4) from t order by a using operator(s.<)'), ['s.=/2', '</2', '<=/2', 's.</2']);
});

test('every place that casts names its type (H22, H23)', () => {
  assert.deepEqual(typesOf("select a::d1, cast(a as s.d2), d3 'x', a::d4[], f() from g() as (x d5), rows from (h() as (y d6))"), ['d1', 's.d2', 'd3', 'd4', 'd5', 'd6']);
  assert.deepEqual(typesOf("select * from xmltable('/a' passing x columns a d1) x, json_table(j, '$' columns (b d2)) y"), ['d1', 'd2']);
  assert.deepEqual(typesOf("select json_value(j, '$' returning d1), xmlserialize(content x as d2), json_object('a': 1 returning d3)"), ['d1', 'd2', 'd3']);
  assert.deepEqual(typesOf('prepare q (d1, s.d2) as select $1'), ['d1', 's.d2']);
  assert.deepEqual(typesOf('create function f(a t.b%type) returns int language sql return 1'), ['%TYPE', 'pg_catalog.int4'].sort());
});

test('what a write touches is told with its columns', () => {
  const writesOf = (sql: string): unknown => read(sql).mentions.relations.map(({ reads: _, ...written }) => written);
  assert.deepEqual(writesOf('insert into t (a, b) values (1, 2) on conflict (a) do update set c = 3'), [{ name: 't', use: 'insert', columns: ['a', 'b'] }, { name: 't', use: 'update', columns: ['c'] }]);
  assert.deepEqual(writesOf('update only s.t as x set a = 1, (b, c) = (2, 3) where x.id = 1'), [{ schema: 's', name: 't', use: 'update', columns: ['a', 'b', 'c'] }]);
  assert.deepEqual(relationsOf('merge into t using s on t.a = s.a when matched then delete when not matched then insert values (1)'), ['read t', 'delete t', 'insert t', 'read s']);
  assert.deepEqual(read('truncate a, s.b cascade').mentions.relations, [{ name: 'a', use: 'truncate', cascade: true }, { schema: 's', name: 'b', use: 'truncate', cascade: true }]);
  assert.deepEqual(read('drop table a, s.b cascade').mentions.relations, [{ name: 'a', use: 'drop', cascade: true }, { schema: 's', name: 'b', use: 'drop', cascade: true }]);
});

test('names that are no relations are not taken for any', () => {
  assert.deepEqual(relationsOf('select * from t x, u y for update of x'), ['read t', 'read u']);
  assert.deepEqual(relationsOf('create table n (a int references r) inherits (p)'), ['read r', 'alter p', 'read p']);
  assert.deepEqual(relationsOf('create view v as select * from t'), ['read t']);
  assert.deepEqual(relationsOf('set constraints c deferred'), []);
  assert.deepEqual(relationsOf('explain create table n as select * from t'), ['read t']);
});

test('nothing of a message repeats a literal of the statement', () => {
  for (const sql of ["alter role r password 'hunter2'", "notify c, 'hunter2'", "copy t to 'hunter2'", "set x.y = 'hunter2'", "create subscription s connection 'hunter2' publication p", "do 'hunter2'", "select f('hunter2')"]) {
    const { own, mentions } = read(sql);
    assert.doesNotMatch(JSON.stringify([own.reasons, own.effects]), /hunter2/, sql);
    assert.ok(mentions);
  }
});

test('each call, operator and cast in the corpus is mentioned once for each time it stands in the tree', () => {
  const folder = new URL('../../../test/corpus/sql/', import.meta.url);
  const lines = readdirSync(folder).filter((name) => name.endsWith('.jsonl')).flatMap((name) => readFileSync(new URL(name, folder), 'utf8').split('\n')).filter((line) => line.trim() !== '');
  assert.ok(lines.length > 1000, `only ${lines.length} rows`);
  for (const major of [15, 18]) {
    for (const line of lines) {
      const { sql } = JSON.parse(line) as { readonly sql: string };
      const parsed = parsers.get(major)?.parse(sql);
      if (parsed?.kind !== 'parsed') continue;
      for (const one of parsed.statements) {
        const text = JSON.stringify(one.tree);
        const { mentions, own } = readStatement(one);
        const count = (pattern: RegExp): number => [...text.matchAll(pattern)].length;
        assert.equal(mentions.functions.filter(({ kind }) => kind === 'call').length, count(/"(?:FuncCall|funccall|RangeTableSample)":\{/g), sql);
        assert.ok(mentions.operators.length >= count(/"A_Expr":\{/g), sql);
        assert.ok(mentions.types.length >= count(/"TypeCast":\{/g), sql);
        assert.ok(!own.reasons.some(({ rule }) => rule === 'statement.unknown-node'), sql);
      }
    }
  }
});
