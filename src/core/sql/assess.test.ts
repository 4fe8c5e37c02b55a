/**
 * assess follows the session through a batch, takes the worst of it, and never throws: what cannot be read is CRITICAL.
 * The catalog is PostgreSQL's own, as offline.
 */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import fc from 'fast-check';
import { loadParser } from '../../lib/pgsql/parser.ts';
import type { Parser } from '../../lib/pgsql/parser.ts';
import { loadBuiltinCatalog } from '../../remote/postgres/builtin-catalog.ts';
import { levels, worstLevel } from '../risk.ts';
import type { Level } from '../risk.ts';
import { assess } from './assess.ts';
import type { Assessment } from './assess.ts';
import { createCatalog } from './catalog.ts';
import type { Catalog } from './catalog.ts';
import { beginSession } from './next-session.ts';
import type { SessionFacts } from './statement.ts';

let parser: Parser;
let catalog: Catalog;
before(async () => { [parser, catalog] = await Promise.all([loadParser(18), loadBuiltinCatalog(18)]); });

const fresh: SessionFacts = { ...beginSession(['public'], 'agent'), pathMayRevert: false };
const judge = (sql: string, session: Partial<SessionFacts> = {}, facts: Catalog = catalog): Assessment => assess(sql, { ...fresh, ...session }, facts, parser);
const levelOf = (sql: string, session: Partial<SessionFacts> = {}): Level => judge(sql, session).risk.level;
const rulesOf = (sql: string, session: Partial<SessionFacts> = {}): readonly string[] => judge(sql, session).risk.reasons.map(({ rule }) => rule);

test('nothing to run is SAFE, and what cannot be read is CRITICAL with the reason', () => {
  for (const sql of ['', '  ', ';', '-- only a comment']) assert.deepEqual([judge(sql).risk.level, judge(sql).statements.length, judge(sql).error], ['SAFE', 0, undefined]);
  for (const sql of ['selct 1', "select 'open", 'select 1\0', 'select \ud800', `select ${'('.repeat(20_000)}`]) {
    const { risk, error, statements } = judge(sql);
    assert.deepEqual([risk.level, risk.reasons[0]?.rule, risk.destroys, risk.recoverability, statements.length], ['CRITICAL', 'statement.unparsable', true, 'none', 0]);
    assert.ok(error);
  }
});

describe('the levels that must hold', () => {
  const rows: readonly (readonly [Level, string])[] = [
    ['SAFE', 'explain select * from t'], ['SAFE', 'select * from t where a = 1'], ['SAFE', 'show all'], ['SAFE', 'begin'], ['SAFE', 'copy t to stdout'], ['SAFE', 'table t'],
    ['LOW', 'create temp table x (a int)'], ['LOW', 'declare c cursor for select 1'], ['LOW', 'prepare q as select 1'], ['LOW', 'select * from t for update'], ['LOW', "set application_name = 'x'"],
    ['LOW', 'listen c'], ['LOW', 'discard all'], ['LOW', 'reset all'], ['LOW', 'set search_path = a, b'], ['LOW', "set statement_timeout = '30s'"], ['LOW', 'begin read write'],
    ['HIGH', 'insert into t values (1)'], ['HIGH', 'update t set a = 1 where id = 1'], ['HIGH', 'delete from t where id = 1'], ['HIGH', 'alter table t drop column c'], ['HIGH', 'create table x (a int)'],
    ['HIGH', 'do $$ begin perform 1; end $$'], ['HIGH', 'vacuum'], ['HIGH', 'lock table t'], ['HIGH', 'set transaction read write'], ['HIGH', 'set statement_timeout = 0'], ['HIGH', 'prepare transaction \'x\''],
    ['HIGH', "set app.user_id = '5'"], ['HIGH', 'reset role'], ['HIGH', 'drop view v'], ['HIGH', 'create temp table x () inherits (t)'], ['HIGH', 'comment on table t is null'], ['HIGH', 'execute q'], ['HIGH', 'fetch all from c'], ['HIGH', 'explain analyze insert into t values (1)'],
    ['CRITICAL', 'drop table t'], ['CRITICAL', 'delete from t'], ['CRITICAL', 'update t set a = 1'], ['CRITICAL', 'truncate t'], ['CRITICAL', 'drop schema s'], ['CRITICAL', 'drop database d'], ['CRITICAL', 'drop owned by r'],
    ['CRITICAL', 'drop view v cascade'], ['CRITICAL', 'grant select on t to r'], ['CRITICAL', 'alter system set a = 1'], ['CRITICAL', "load 'x'"], ['CRITICAL', 'create extension e'], ['CRITICAL', "copy t to '/tmp/x'"],
    ['CRITICAL', "copy t from program 'x'"], ['CRITICAL', 'set "ROLE" = r'], ['CRITICAL', 'set session_replication_role = replica'], ['CRITICAL', 'set row_security = off'], ['CRITICAL', 'set standard_conforming_strings = off'],
    ['CRITICAL', "set names 'sjis'"], ['CRITICAL', 'alter table t disable trigger all'], ['CRITICAL', 'explain analyze delete from t'], ['CRITICAL', 'alter table t drop column c cascade'],
  ];
  for (const [level, sql] of rows) test(`${sql} is ${level}`, () => { assert.equal(levelOf(sql), level); });
});

describe('what would be lost, and how far it could be brought back', () => {
  const rows: readonly (readonly [string, boolean, string])[] = [
    ['insert into t values (1)', false, 'not-needed'], ['update t set a = 1 where id = 1', true, 'exact-rows'], ['delete from t', true, 'exact-rows'], ['truncate t', true, 'table'], ['drop table t', true, 'table'],
    ['alter table t drop column c', true, 'table'], ['alter table t alter c type int', true, 'table'], ['drop schema s', true, 'schema'], ['drop database d', true, 'none'], ['drop owned by r', true, 'point-in-time'],
    ['create index on t (a)', false, 'not-needed'], ['grant select on t to r', false, 'not-needed'], ['drop index i', false, 'not-needed'], ['drop materialized view m', true, 'table'], ['select 1', false, 'not-needed'],
    ['insert into t values (1) on conflict (a) do update set b = 1', true, 'exact-rows'], ['delete from t where id = 1; drop schema s', true, 'schema'],
  ];
  for (const [sql, destroys, recoverability] of rows) {
    test(sql, () => { const { risk } = judge(sql); assert.deepEqual([risk.destroys, risk.recoverability], [destroys, recoverability]); });
  }
});

test('the effects name what a policy can block', () => {
  const effectsOf = (sql: string): readonly string[] => judge(sql).risk.effects.map(({ kind, objectKind, object }) => `${kind} ${objectKind} ${object}`);
  assert.ok(effectsOf('drop table s.t').includes('drop table s.t'));
  assert.ok(effectsOf('alter table s.t drop column c').includes('drop column s.t.c'));
  assert.ok(effectsOf('alter system set work_mem = 1').includes('server setting work_mem'));
  assert.ok(effectsOf('set role r').includes('session role role'));
  assert.ok(effectsOf('create extension e').includes('create extension e'));
  assert.ok(effectsOf("copy t to program 'x'").some((one) => one.startsWith('program ')));
  assert.ok(effectsOf('create function f() returns int language sql return 1').includes('create function f'));
});

describe('a batch is followed statement by statement', () => {
  test('a temporary table made in it is LOW to write, and only while it surely is one', () => {
    assert.equal(levelOf('create temp table x (a int); insert into x values (1); update x set a = 2; delete from x; truncate x; drop table x'), 'LOW');
    assert.equal(levelOf('create temp table x as select 1 as a; insert into x values (1)'), 'LOW');
    assert.equal(levelOf('create temp table x (a int); create table y (a int); insert into x values (1)'), 'HIGH');
    assert.equal(levelOf('create temp table x (a int); drop table x; delete from x'), 'CRITICAL');
    assert.equal(levelOf('insert into x values (1)'), 'HIGH');
    assert.equal(levelOf('create temp table x (a int); insert into public.x values (1)'), 'HIGH');
  });
  test('a temporary object that may run code is not LOW to write or read (H33)', () => {
    for (const sql of [
      'create temp table x (a int default random()); insert into x values (1)', 'create temp table x (a mydomain); insert into x values (1)', 'create temp table x (like t including all); insert into x values (1)',
      'create temp table x (a int check (a > 0)); insert into x values (1)', 'create temp view x as select 1; select * from x', 'create temp table x () inherits (t); insert into x values (1)',
    ]) assert.ok(levels.indexOf(levelOf(sql)) >= levels.indexOf('HIGH'), sql);
    assert.equal(levelOf('insert into x values (1)', { temporary: new Set(['x']), temporaryOpaque: new Set(['x']) }), 'HIGH');
  });
  test('where a permanent table has the name too, the worse of both counts', () => {
    const live = createCatalog({ ...catalog.facts, relations: [...catalog.facts.relations, { schema: 'public', name: 'x', kind: 'table', columns: [] }] });
    assert.equal(assess('delete from x', { ...fresh, temporary: new Set(['x']) }, live, parser).risk.level, 'CRITICAL');
    assert.equal(levelOf('delete from x', { temporary: new Set(['x']) }), 'LOW');
  });
  test('PREPARE and DECLARE are what they name, EXECUTE and FETCH what they run (H10, H11)', () => {
    assert.equal(levelOf('prepare q as select 1; execute q; deallocate q'), 'LOW');
    assert.equal(levelOf('prepare q as delete from t'), 'CRITICAL');
    assert.deepEqual(judge('prepare q as delete from t where id = $1; execute q(1)').statements.map(({ risk }) => risk.level), ['HIGH', 'HIGH']);
    assert.equal(levelOf('execute q'), 'HIGH');
    assert.ok(rulesOf('prepare q as select 1; deallocate q; execute q').includes('prepared.unknown'));
    assert.ok(rulesOf('prepare q as select 1; discard all; execute q').includes('prepared.unknown'));
    assert.equal(levelOf('begin; declare c cursor for select 1; fetch c; move c; close c; commit'), 'LOW');
    assert.ok(rulesOf('declare c cursor for select 1; close c; fetch c').includes('cursor.unknown'));
    assert.equal(levelOf('explain analyze execute q'), 'HIGH');
    assert.equal(levelOf('prepare q as select 1; create temp table x as execute q'), 'LOW');
  });
  test('a changed search_path is what later names are looked up in, and an unknown one trusts none (H29)', () => {
    assert.equal(levelOf('set search_path = evil, pg_catalog; select lower(a) from t'), 'HIGH');
    assert.equal(levelOf('set search_path = a; select lower(b) from t'), 'LOW');
    assert.equal(levelOf('reset search_path; select lower(a) from t'), 'HIGH');
    assert.equal(levelOf('set search_path from current; select lower(a) from t'), 'HIGH');
    assert.equal(levelOf('set search_path to 1E5; select lower(a) from t'), 'HIGH');
    assert.equal(levelOf(`set search_path to ${Array.from({ length: 300 }, (_, index) => `s${index}`).join(', ')}; select lower(a) from t`), 'HIGH');
    assert.equal(levelOf('select lower(a) from t', { searchPath: null }), 'HIGH');
    assert.equal(levelOf('select pg_catalog.lower(a) from public.t', { searchPath: null }), 'SAFE');
    for (const sql of ['select case a when 1 then 2 end from public.t', 'select 1 from public.t join public.u using (id)', 'select 1 from public.t natural join public.u', 'select 1 in (select a from public.t)', 'select a between 1 and 2 from public.t']) {
      assert.equal(levelOf(sql, { searchPath: null }), 'HIGH', sql);
    }
    assert.equal(levelOf('begin; set local search_path = a; commit; select lower(b) from t'), 'HIGH');
    assert.ok(rulesOf("begin; set local search_path = a; prepare transaction 'x'; select lower(b) from t").includes('session.search-path-unknown'));
    assert.equal(levelOf('begin; select 1; commit; select lower(b) from t'), 'SAFE');
    assert.equal(levelOf('commit; select lower(b) from t', { pathMayRevert: true }), 'HIGH');
    assert.equal(levelOf("set search_path = \"$user\", public; select lower(a) from t", { role: '' }), 'HIGH');
  });
  test('after code that nobody read nothing is taken for known', () => {
    assert.equal(judge('do $$ begin perform 1; end $$; select 1').statements[1]?.risk.level, 'HIGH');
    assert.ok(rulesOf("prepare q as select 1; do $$ begin execute 'x'; end $$; execute q").includes('prepared.unknown'));
  });
  test('what is plain to see in a DO block counts (H12)', () => {
    assert.equal(levelOf('do $$ begin delete from t; end $$'), 'CRITICAL');
    assert.equal(levelOf("do $$ begin execute 'delete from t'; end $$"), 'HIGH');
    assert.equal(levelOf('do language plpython3u $$ x $$'), 'CRITICAL');
  });
});

describe('a text of very many names is judged in a time that grows with it and not with its square', { timeout: 60_000 }, () => {
  const many = (count: number, one: (index: number) => string, separator = ', '): string => Array.from({ length: count }, (_, index) => one(index)).join(separator);
  const rows: readonly (readonly [string, Level, string])[] = [
    ['functions', 'HIGH', `select ${many(25_000, (index) => `f${index}()`)}`], ['types', 'HIGH', `select ${many(25_000, (index) => `1::t${index}`)}`], ['relations', 'SAFE', `select 1 from ${many(25_000, (index) => `t${index}`)}`],
    ['queries in WITH', 'SAFE', `with ${many(25_000, (index) => `c${index} as (select 1)`)} select 1`], ['locks', 'LOW', `select 1 from ${many(5_000, (index) => `t t${index}`)} ${'for update '.repeat(50_000)}`],
    ['casts to one type', 'HIGH', `insert into t values ${many(60_000, (index) => `('${index}'::text)`)}`], ['settings', 'LOW', many(14_000, () => 'set jit = on', ';')],
  ];
  for (const [what, level, sql] of rows) test(what, () => { assert.equal(levelOf(sql), level); });

  test('with more it is refused', () => {
    for (const sql of [`select ${many(40_000, (index) => `f${index}()`)}`, many(2_000, (index) => `prepare q${index} as select 1`, ';'), many(2_000, (index) => `create temp table t${index} ()`, ';')]) assert.match(judge(sql).error ?? '', /^more than/);
  });
});

test('the worst of a batch speaks for the whole, whatever the order (H1)', () => {
  const pool = ['select 1', 'select * from t', 'select * from t for update', 'insert into t values (1)', 'delete from t where id = 1', 'delete from t', 'drop table t', 'listen c', 'show all'];
  fc.assert(fc.property(fc.array(fc.constantFrom(...pool), { minLength: 1, maxLength: 6 }), (sqls) => {
    const apart = sqls.map((sql) => levelOf(sql)).reduce(worstLevel);
    const { risk, statements } = judge(sqls.join(' ;\n-- é 🐘\n'));
    assert.equal(statements.length, sqls.length);
    assert.ok(levels.indexOf(risk.level) >= levels.indexOf(apart), sqls.join('; '));
    assert.equal(risk.level, statements.map((one) => one.risk.level).reduce(worstLevel));
  }), { numRuns: 200 });
});

test('a comment, letter case or line break never changes the level (H2, H17)', () => {
  const pool = ['select 1 from t where a = 2', 'delete from t', 'delete from t where id = 1', 'drop table t', 'explain analyze delete from t', 'with d as (delete from t returning 1) select 1'];
  const decorate = fc.constantFrom<(sql: string) => string>(
    (sql) => `/*select*/${sql}`, (sql) => `--select\n${sql}`, (sql) => sql.toUpperCase(), (sql) => sql.replaceAll(' ', '\n\t'), (sql) => sql.replaceAll(' ', ' /* ; drop */ '), (sql) => `;;${sql};;`,
  );
  fc.assert(fc.property(fc.constantFrom(...pool), fc.array(decorate, { maxLength: 4 }), (sql, decorations) => {
    const decorated = decorations.reduce((inner, one) => one(inner), sql);
    assert.equal(levelOf(decorated), levelOf(sql), decorated);
  }), { numRuns: 300 });
});

test('every level above SAFE has a reason of that level, and no text makes assess throw', () => {
  const words = fc.constantFrom('select', 'delete', 'from', 't', 'where', '1', '=', '(', ')', ',', 'with', 'as', 'insert', 'into', 'values', 'explain', 'analyze', 'f', '::', 'd', 'set', 'role', 'drop', 'table', ';', "'x'", '$1', 'or', 'true', 'for', 'update', 'create', 'temp', 'execute', 'prepare', 'q', '*', '.', 'returning');
  fc.assert(fc.property(fc.array(words, { maxLength: 14 }).map((parts) => parts.join(' ')), (sql) => {
    const { risk } = judge(sql);
    assert.equal(risk.reasons.map(({ level }) => level).reduce(worstLevel, 'SAFE'), risk.level, sql);
  }), { numRuns: 2000 });
});
