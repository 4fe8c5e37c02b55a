/**
 * Patterns protect what they name, and also what may be it because a part of its name is not known.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matchesRelation, matchesSchema, placeOf, splitName } from './pattern.ts';

const relations: readonly (readonly [pattern: string, object: string | undefined, objectKind: string, expected: boolean, why: string])[] = [
  ['payments', 'public.payments', 'table', true, 'a bare pattern takes every schema'],
  ['public.payments', 'public.payments', 'table', true, 'both qualified'],
  ['public.payments', 'sales.payments', 'table', false, 'another schema'],
  ['public.payments', 'payments', 'table', true, 'a name without schema may be the protected one'],
  ['public.payments', undefined, 'table', true, 'no name at all may be the protected one'],
  ['audit_*', 'public.audit_2026', 'table', true, 'a star at the end'],
  ['*_log', 'public.login', 'table', false, 'the end must fit'],
  ['a*b*c', 'public.aXbYc', 'table', true, 'several stars'],
  ['aa*aa', 'public.aaa', 'table', false, 'head and tail may not overlap'],
  ['billing.*', 'billing.anything', 'table', true, 'a star for the name'],
  ['*.payments', 'sales.payments', 'table', true, 'a star for the schema'],
  ['Orders', 'public.orders', 'table', false, 'case matters, as for PostgreSQL'],
  ['"Odd.Name"', 'public."Odd.Name"', 'table', true, 'a dot inside quotes separates nothing'],
  ['payments', 'public.payments.amount', 'column', true, 'a column belongs to its table'],
  ['amount', 'public.payments.amount', 'column', false, 'a column is no table'],
  ['payments', 'public', 'schema', true, 'a schema may hold the table'],
  ['sales.payments', 'public', 'schema', false, 'another schema cannot hold it'],
  ['sales.payments', 'shop', 'database', true, 'a database may hold it'],
  ['shop.sales.payments', 'sales.payments', 'table', true, 'a database in the pattern does not narrow it'],
];
for (const [pattern, object, objectKind, expected, why] of relations) {
  test(`${pattern} and ${objectKind} ${object ?? 'unnamed'}: ${why}`, () => {
    assert.equal(matchesRelation(pattern, placeOf(object, objectKind)), expected);
  });
}

test('a schema pattern takes what lies in it, and what may', () => {
  assert.equal(matchesSchema('billing', placeOf('billing.a', 'table')), true);
  assert.equal(matchesSchema('bill*', placeOf('billing', 'schema')), true);
  assert.equal(matchesSchema('billing', placeOf('public.billing', 'table')), false);
  assert.equal(matchesSchema('billing', placeOf('a', 'table')), true);
});

test('names split as PostgreSQL prints them', () => {
  assert.deepEqual(splitName('public."a""b"'), ['public', 'a"b']);
  assert.deepEqual(splitName('pg_catalog.pg_sleep(double precision)'), ['pg_catalog', 'pg_sleep']);
  assert.deepEqual(splitName(''), []);
});

test('a hostile pattern takes no exponential time', () => {
  const before = process.cpuUsage();
  assert.equal(matchesRelation(`${'a*'.repeat(80)}b`, placeOf(`public.${'a'.repeat(20_000)}`, 'table')), false);
  const { user, system } = process.cpuUsage(before);
  assert.ok((user + system) / 1000 < 1_000);
});
