/**
 * A WHERE that keeps nothing back counts as none, and one that keeps anything back counts (H70).
 */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import fc from 'fast-check';
import { loadParser } from '../../lib/pgsql/parser.ts';
import type { Parser } from '../../lib/pgsql/parser.ts';
import { readStatement } from './read-statement.ts';

let parser: Parser;
before(async () => { parser = await loadParser(18); });

function levelOf(sql: string): string {
  const result = parser.parse(sql);
  assert.ok(result.kind === 'parsed' && result.statements.length === 1, sql);
  const [one] = result.statements;
  assert.ok(one);
  return readStatement(one).own.level;
}

const keepsNothingBack: readonly (readonly [string, string])[] = [
  ['true', 'the constant'], ['TRUE::bool', 'a cast leaves it true'], ["'t'", 'a text that is read as true'], ["'yes'::boolean", 'a text cast to true'], ['not false', 'a negation'],
  ['1=1', 'equal constants'], ['1 < 2', 'ordered constants'], ["'a' = 'a'", 'equal texts'], ['1 <> 2', 'unequal constants'], ['((1=1))', 'parentheses are nothing'],
  ['true or id = 1', 'one alternative is enough'], ['id = 1 or true', 'in either order'], ['id > id or true', 'beside a false one'], ['true and 1=1', 'all parts true'],
  ['id = 1 or (id = 2 or 1=1)', 'nested'], ['not (id = 1 and false)', 'NOT of what cannot be true'], ['true is true', 'a test of a constant'], ['false is not true', 'a negated test'],
  ['id = id', 'a column equals itself'], ['t.id = t.id', 'qualified'], ['id >= id', 'at least itself'], ['not id <> id', 'not unlike itself'], ['(id = id) is true', 'behind IS TRUE'],
  ['lower(name) like lower(name)', 'pattern of itself'], ['id + 1 = id + 1', 'equal expressions'], ['id between id and id', 'between itself'], ['id in (1, id)', 'a member of a list with itself'],
  ['id = any (array[id])', 'a member of an array with itself'], ['id is not distinct from id', 'not distinct from itself'], ['not (id is distinct from id)', 'negated'],
  ['id is null or id is not null', 'both cases'], ['id = 1 or id <> 1', 'equal or not'], ['id < 5 or id >= 5', 'below or not'], ['id < 5 or 5 <= id', 'turned around'],
  ['id = 1 or not (id = 1)', 'a condition or its negation'], ['id in (1,2) or id not in (1,2)', 'in or not in'], ["name like 'a%' or name not like 'a%'", 'like or not like'],
  ['active or not active', 'a truth value or its negation'], ['active is true or active is not true', 'tested both ways'], ['id between 1 and 5 or id not between 1 and 5', 'between or not'],
  ['id < 1 or id = 1 or id > 1', 'three cases'], ['not (id = 1 and id <> 1)', 'not a contradiction'], ["name like '%'", 'any text'], ["name ilike '%%'", 'any text twice'],
  ["name ~ ''", 'an empty expression matches'], ["name ~ '.*'", 'anything matches'], ["not (name not like '%')", 'doubly negated'], ["id::text like '%'", 'any number as text'],
  ['coalesce(true, false)', 'the first of two constants'], ['coalesce(id = id, false)', 'of what is true'], ['case when true then true else false end', 'the first branch'],
  ['case when id = 1 then true else true end', 'all branches'], ['1 in (1)', 'a constant among constants'], ['1 in (2, 1)', 'a constant in a list'],
  ['exists (select 1)', 'a subquery with a row'], ['exists (select 1 from t)', 'the table itself has rows'], ['exists (select 1 from other o where o.x = 1)', 'a subquery that never looks at the row'],
  ['exists (select 1 from t where t.id = 1)', 'the inner table hides the outer one'], ['id in (select id from t)', 'in itself'], ['(select true)', 'a scalar subquery'], ['(select count(*) from t) > 0', 'a count'],
  ['now() > \'2000-01-01\'', 'the clock'], ["current_user = 'x'", 'who asks'], ['$1', 'a parameter'], ['$1 = 5', 'a comparison of a parameter'], ['$1::int is null or id = $1', 'an optional filter'],
  ["current_setting('a.b', true) is null", 'a setting'], ['random() < 0.5', 'chance does not look at the row'], ['length(\'a\') = 1', 'a function of constants'], ['ctid is not null', 'every row has a place'],
  ['ctid = ctid', 'a system column equals itself'], ['tableoid is not null or id = 1', 'a system column among alternatives'], ['(1=1) = true', 'compared with true'], ['(id = 1) <> false or true', 'compared with false'],
  ["'x' = $1 or true", 'a parameter beside true'], ['not (1=2)', 'not a false constant'], ['null is null', 'null is null'], ['1 is not null', 'a constant is not null'], ["(id = id) = true", 'itself, compared with true'],
];

const keepsSomethingBack: readonly string[] = [
  'id = 1', 'id = $1', 'id in (1, 2)', 'id in (select t_id from u)', 'id = (select max(u.id) from u)', 'active', 'not active', 'id is null', 'id is not null', "name like 'a%'", "name ~ '^a'",
  "created < now() - interval '1 day'", 'id = 1 and true', 'id = 1 and 1 = 1', 'id = 1 or false', 'id = 1 or id = 2', 'false', '1 = 2', 'null', 'id = 1 and id = id', 'exists (select 1 from u where u.id = t.id)',
  'not exists (select 1 from u where u.t_id = t.id)', 'current of c', 'id < 5 or id > 5', 'id < 5 or other >= 5', 'id % 2 = 0', 'coalesce(active, false)', 'case when id = 1 then true else false end', 'id <> id',
  'not true', 'id between 1 and 5', 'id is distinct from 1', 'random() = random() and id = 1', 'id = any ($1)', '(a, b) in ((1, 2))', 'id = 1 or $1 = 5 and id = 2', 'name = \'true\'', 'data @> \'{"a": 1}\'',
];

for (const verb of ['delete from t where', 'update t set a = 1 where']) {
  describe(verb, () => {
    for (const [where, why] of keepsNothingBack) test(`${where} keeps nothing back: ${why}`, () => { assert.equal(levelOf(`${verb} ${where}`), 'CRITICAL'); });
    for (const where of keepsSomethingBack) test(`${where} keeps something back`, () => { assert.equal(levelOf(`${verb} ${where}`), 'HIGH'); });
  });
}

test('a WHERE that looks only at other tables keeps no row of the target back', () => {
  assert.equal(levelOf('delete from t using u where u.x = 1'), 'CRITICAL');
  assert.equal(levelOf('delete from t using u where t.id = u.id'), 'HIGH');
  assert.equal(levelOf('delete from t as a using t as b where b.id = 1'), 'CRITICAL');
  assert.equal(levelOf('update t set a = u.a from u where u.x = 1'), 'CRITICAL');
});

test('MERGE is judged by its join and the condition of each branch', () => {
  for (const sql of [
    'merge into t using s on true when matched then delete', 'merge into t using s on s.id = 1 when matched then update set a = 1', 'merge into t using s on t.id = t.id when matched then delete',
    'merge into t using s on false when not matched by source then delete', 'merge into t using s on 1 = 2 when not matched by source and true then update set a = 1',
  ]) assert.equal(levelOf(sql), 'CRITICAL', sql);
  for (const sql of [
    'merge into t using s on t.id = s.id when matched then delete', 'merge into t using s on true when matched and t.a = 1 then delete', 'merge into t using s on true when not matched then insert values (1)',
    'merge into t using s on t.id = s.id when not matched by source then delete', 'merge into t using s on true when matched then do nothing',
  ]) assert.equal(levelOf(sql), 'HIGH', sql);
});

test('a WHERE too deep to be looked through counts as none, and nothing throws', () => {
  for (const depth of [10, 100, 400, 1500]) assert.equal(levelOf(`delete from t where ${'not '.repeat(depth * 2)}true`), 'CRITICAL');
  assert.equal(levelOf(`delete from t where ${'not '.repeat(20)}(id = 1)`), 'HIGH');
  assert.equal(levelOf(`delete from t where id = ${Array(1500).fill('1').join(' + ')}`), 'CRITICAL');
});

test('no wrapping makes a WHERE that is always true look like one that is not', () => {
  const always = fc.constantFrom(...keepsNothingBack.map(([where]) => where).filter((where) => where !== "'t'"));
  const wrap = fc.constantFrom<(where: string) => string>(
    (where) => `(${where})`, (where) => `not (not (${where}))`, (where) => `(${where}) or id = 7`, (where) => `id = 7 or (${where})`, (where) => `(${where}) and true`,
    (where) => `(${where}) and (1=1)`, (where) => `coalesce((${where}), true)`, (where) => `case when true then (${where}) else false end`, (where) => `(${where})::boolean`, (where) => `(${where}) is true`,
  );
  fc.assert(fc.property(always, fc.array(wrap, { maxLength: 5 }), (where, wraps) => {
    const sql = `delete from t where ${wraps.reduce((inner, one) => one(inner), where)}`;
    assert.equal(levelOf(sql), 'CRITICAL', sql);
  }), { numRuns: 500 });
});

test('no WHERE takes long to look through, however it is built', () => {
  const list = Array.from({ length: 20_000 }, (_, index) => index).join(', ');
  const nested = (depth: number, core: string): string => Array.from({ length: depth }, (_, at) => at).reduce((inner) => `(a = 1 and (b = 2 or ${inner}))`, core);
  const before = process.cpuUsage();
  assert.equal(levelOf(`delete from t where id in (${list})`), 'HIGH');
  assert.equal(levelOf(`delete from t where ${nested(40, 'c = 3')}`), 'HIGH');
  for (const depth of [10, 40, 100]) levelOf(`delete from t where ${nested(depth, `id in (${list})`)}`);
  levelOf(`delete from t where ${Array.from({ length: 5000 }, (_, index) => `id = ${index}`).join(' or ')}`);
  const { user, system } = process.cpuUsage(before);
  const seconds = (user + system) / 1e6;
  assert.ok(seconds < 20, `took ${seconds.toFixed(1)} s of a processor`);
});
