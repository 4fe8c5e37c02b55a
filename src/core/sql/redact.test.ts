/**
 * What is stored of a statement holds no value of it, in any of the ways PostgreSQL lets a value be written, and
 * statements that differ only in values have one fingerprint.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { loadParser } from '../../lib/pgsql/parser.ts';
import type { Parser } from '../../lib/pgsql/parser.ts';
import { fingerprint, redact, redactedCharsMax } from './redact.ts';

let parser: Parser;
before(async () => { parser = await loadParser(18); });

const rows: readonly (readonly [sql: string, redacted: string])[] = [
  ["SELECT  a, -- why\n b FROM t WHERE c = 'x' /* y */ AND d=$1", 'SELECT a, b FROM t WHERE c = ? AND d=$1'],
  ["select E'a\\'b', U&'\\0061', B'01', x'FF', n'y', $$z$$, $q$ $$ $q$, 1, 1.5e-3, .5, 0x1f, 1_000", 'select ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?'],
  ["select 'a'\n'b', 'c' \n 'd'", 'select ?, ?'],
  ["select U&'d!0061' UESCAPE '!'", 'select ? UESCAPE ?'],
  ["ALTER ROLE bob WITH PASSWORD 'hunter2' VALID UNTIL '2030-01-01'", 'ALTER ROLE bob WITH PASSWORD ? VALID UNTIL ?'],
  ["COPY t FROM PROGRAM 'curl x' WITH (DELIMITER ',', NULL 'n')", 'COPY t FROM PROGRAM ? WITH (DELIMITER ?, NULL ?)'],
  ["CREATE USER MAPPING FOR bob SERVER s OPTIONS (user 'u', password 'p')", 'CREATE USER MAPPING FOR bob SERVER s OPTIONS (user ?, password ?)'],
  ["DO $body$ begin perform 'x'; -- why\n end $body$", 'DO $$ begin perform ?; end $$'],
  ["DO LANGUAGE plpgsql 'begin perform ''x'', 1; end'", 'DO LANGUAGE plpgsql $$ begin perform ?, ?; end $$'],
  ["DO $$ begin execute $q$ drop table t $q$; end $$ LANGUAGE 'plpgsql'", 'DO $$ begin execute ?; end $$ LANGUAGE ?'],
  ["DO $$ print('x') $$ LANGUAGE plpython3u", 'DO ? LANGUAGE plpython3u'],
  ["DO E'begin perform 1; end'", 'DO ?'],
  ["create or replace function f(a text default 'x') returns int language sql as $$ select 1 from t where a = 'y' $$", 'create or replace function f(a text default ?) returns int language sql as $$ select ? from t where a = ? $$'],
  ["CREATE PROCEDURE p() AS 'BEGIN DELETE FROM t; END' LANGUAGE plpgsql; SELECT 'x'", 'CREATE PROCEDURE p() AS $$ BEGIN DELETE FROM t; END $$ LANGUAGE plpgsql; SELECT ?'],
  ["CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'lib', 'symbol'", 'CREATE FUNCTION f() RETURNS int LANGUAGE c AS ?, ?'],
  ["CREATE FUNCTION f() RETURNS text RETURN 'secret'", 'CREATE FUNCTION f() RETURNS text RETURN ?'],
  ["COMMENT ON FUNCTION f() IS $$ do 'x' $$", 'COMMENT ON FUNCTION f() IS ?'],
  ['SET myapp.token TO abc123', 'SET myapp.token TO ?'],
  ['SET myapp.token = "abc 123"', 'SET myapp.token = ?'],
  ['SET search_path TO shop, public', 'SET search_path TO shop, public'],
  ['UPDATE t SET a = t.b WHERE t.c = d', 'UPDATE t SET a = t.b WHERE t.c = d'],
  ['select "Quoted ""Name" from "s".t where a = ANY($1)', 'select "Quoted ""Name" from "s".t where a = ANY($1)'],
  ["select interval'1 day', date '2020-01-01', '{\"a\":1}'::jsonb ->> 'a'", 'select interval ?, date ?, ?::jsonb ->> ?'],
  ["NOTIFY ch, 'payload'", 'NOTIFY ch, ?'],
  ["COMMENT ON TABLE t IS 'secret'", 'COMMENT ON TABLE t IS ?'],
  ['select 1; select 2', 'select ?; select ?'],
];
for (const [sql, redacted] of rows) test(`redacted: ${redacted}`, () => { assert.equal(redact(sql, parser), redacted); });

test('of text that does not parse only its length is kept', () => {
  for (const sql of ["selct 'secret'", "select 'secret", 'select \ud800 secret', "select 1\0'secret'", "select 1'secret'"]) {
    assert.equal(redact(sql, parser), `[unparsable, ${Buffer.byteLength(sql)} bytes]`);
  }
});

test('a long text is cut', () => {
  const kept = redact(`select ${'"🐘", '.repeat(redactedCharsMax)}1`, parser);
  assert.ok(kept.length <= redactedCharsMax + 40 && kept.isWellFormed());
  assert.match(kept, / … \(cut: \d+ characters more\)$/, 'whoever reads it knows that there is more');
});

test('a text of the largest size is redacted without exhausting anything', () => {
  assert.equal(redact(`select '${'x'.repeat(1_000_000)}'`, parser), 'select ?');
  assert.equal(redact(`select E'${"\\'".repeat(500_000)}'`, parser), 'select ?');
  assert.match(fingerprint(`select * from t where id in (${Array(100_000).fill('1').join(', ')})`), /^[0-9a-f]{32}$/);
});

/** Ways to write the text SECRET so that the grammar takes it for a value. */
const spellings = fc.constantFrom<(secret: string) => string>(
  (secret) => `'${secret}'`, (secret) => `'it''s ${secret}'`, (secret) => `E'\\'${secret}\\\\'`, (secret) => `e'a' \n '\\'${secret}'`, (secret) => `U&'${secret}\\0061'`,
  (secret) => `$$'${secret}$$`, (secret) => `$t$ $$ ${secret}' $t$`, (secret) => `'a' -- x' \n '${secret}'`, (secret) => `N'${secret}'`, (secret) => `'\\' || '${secret}'`,
  (secret) => `'/* ' || '${secret} */'`, (secret) => `'--' || /* ' /* */ */ '${secret}'`, (secret) => `/* ${secret} */ 1`, (secret) => `-- ${secret}\n 1`, (secret) => `date'${secret}'`,
  (secret) => `1; do $$ begin perform '${secret}', $x$ ${secret} $x$; /* ${secret} */ end $$; do 'begin raise ''${secret}''; end'; create function f() returns text language sql as $q$ select '${secret}' $q$; select 1`,
  (secret) => `"a$b$" || '${secret}'`, (secret) => `a$b$ || '${secret}' || a$b$`, (secret) => `$1 || '${secret}'`, (secret) => `a\u00a0$b$ || 'x $b$ ${secret}'`,
);

test('no secret survives, however it is written and whatever stands around it', () => {
  let kept = 0;
  fc.assert(fc.property(fc.array(spellings, { minLength: 1, maxLength: 6 }), (spelt) => {
    const sql = `select ${spelt.map((spell) => spell('S3CR3T')).join(', ')} from t`;
    const redacted = redact(sql, parser);
    if (!redacted.startsWith('[')) kept += 1;
    assert.doesNotMatch(redacted, /S3CR3T/, sql);
  }), { numRuns: 3000 });
  assert.ok(kept > 1000, 'most of these parse');
});

test('what is kept has the same names as the statement', () => {
  const name = fc.constantFrom('orders', '"Order"', 'x.y', 'café');
  const value = fc.oneof(fc.integer().map(String), fc.string().filter((text) => !text.includes('\0') && text.isWellFormed()).map((text) => `'${text.replaceAll("'", "''")}'`));
  fc.assert(fc.property(name, value, value, (table, a, b) => {
    const minus = (text: string): string => (text.startsWith('-') ? '-' : '');
    assert.equal(redact(`SELECT * FROM ${table} WHERE a = ${a} AND b IN (${b})`, parser), `SELECT * FROM ${table} WHERE a = ${minus(a)}? AND b IN (${minus(b)}?)`);
  }));
});

const sameShape: readonly (readonly [string, string])[] = [
  ['select 1', "SELECT\n 'x' -- y"],
  ['select * from t where id in (1)', 'select * from t where id in (1, 2, -3, null)'],
  ['insert into t values (1, 2)', "insert into t values (1, 'a'), (-2, default), (3, true)"],
  ['select * from t where id = $1', 'select * from t where id = 7'],
  ['select array[1,2]', 'select array[1]'],
  ['select * from t where a = -1', 'select * from t where a = 1'],
];
for (const [a, b] of sameShape) test(`one shape: ${a} and ${b.replaceAll('\n', ' ')}`, () => { assert.equal(fingerprint(a), fingerprint(b)); });

const otherShape: readonly (readonly [string, string])[] = [
  ['select a from t', 'select b from t'], ['select "A" from t', 'select "a" from t'], ['delete from t', 'delete from t where id = 1'],
  ['select 1', 'select 1; select 1'], ['select a is null', 'select a is true'], ['select a - 1', 'select a + 1'],
];
for (const [a, b] of otherShape) test(`two shapes: ${a} and ${b}`, () => { assert.notEqual(fingerprint(a), fingerprint(b)); });

test('a statement and its redacted form have one fingerprint', () => {
  for (const [sql, redacted] of rows) assert.equal(fingerprint(redacted), fingerprint(sql), sql);
});
