/**
 * What each shipped policy says of each kind of risk, and the laws that hold for every policy: a worse level never gets a
 * milder verdict, observe never refuses, and what cannot be evaluated is denied.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Impact } from '../impact.ts';
import { effectKinds, levels, recoverabilities } from '../risk.ts';
import type { Effect, Level, Recoverability, Risk } from '../risk.ts';
import type { Decision } from '../verdict.ts';
import { noUse } from './budgets.ts';
import { decide, decideBy } from './decide.ts';
import { operations } from './operation.ts';
import { parsePolicy } from './policy.ts';
import type { Policy } from './policy.ts';
import { rules } from './rules.ts';
import type { Rule } from './rules.ts';

const names = ['observe', 'develop', 'protect', 'strict', 'read-only'] as const;
const shipped = Object.fromEntries(names.map((name) => [
  name, parsePolicy(readFileSync(new URL(`../../../policies/${name}.yaml`, import.meta.url), 'utf8'), `${name}.yaml`),
])) as Record<(typeof names)[number], Policy>;

function risk(level: Level, effect: Effect, destroys = false): Risk {
  return {
    level, effects: [effect], destroys, assumptions: [], recoverability: destroys ? 'table' : 'not-needed',
    reasons: level === 'SAFE' ? [] : [{ rule: 'test.reason', level, message: 'It does something.' }],
  };
}
const judge = (policy: Policy, given: Risk, recovery: Recoverability = 'none') => decide(policy.base, { risk: given, agent: 'ada', database: 'shop', recovery });

const table = { object: 'public.orders', objectKind: 'table' };
const read = risk('SAFE', { kind: 'read', ...table });
const temporary = risk('LOW', { kind: 'create', object: 'pg_temp.t', objectKind: 'table' });
const update = risk('HIGH', { kind: 'update', ...table }, true);
const opaque = risk('HIGH', { kind: 'unknown', object: 'public.f()', objectKind: 'function' }, true);
const created = risk('HIGH', { kind: 'create', ...table });
const truncate = risk('CRITICAL', { kind: 'truncate', ...table }, true);
const program = risk('CRITICAL', { kind: 'program', object: 'COPY TO PROGRAM' });
const grant = risk('CRITICAL', { kind: 'privilege', ...table });

type Row = readonly [what: string, risk: Risk, recovery: Recoverability, observe: Decision, develop: Decision, protect: Decision, strict: Decision, readOnly: Decision];
const rows: readonly Row[] = [
  ['a read', read, 'none', 'allow', 'allow', 'allow', 'allow', 'allow'],
  ['a temporary table', temporary, 'none', 'allow', 'allow', 'allow', 'hold', 'deny'],
  ['an UPDATE with WHERE that can be undone', update, 'exact-rows', 'allow', 'allow', 'allow', 'hold', 'deny'],
  ['an UPDATE with WHERE that cannot', update, 'none', 'allow', 'allow', 'deny', 'deny', 'deny'],
  ['a new table', created, 'not-needed', 'allow', 'allow', 'hold', 'hold', 'deny'],
  ['an opaque function', opaque, 'none', 'allow', 'hold', 'deny', 'deny', 'deny'],
  ['a TRUNCATE that can be undone', truncate, 'table', 'allow', 'hold', 'hold', 'deny', 'deny'],
  ['a TRUNCATE that cannot', truncate, 'none', 'allow', 'hold', 'deny', 'deny', 'deny'],
  ['a program on the server', program, 'none', 'allow', 'hold', 'deny', 'deny', 'deny'],
  ['a GRANT', grant, 'not-needed', 'allow', 'hold', 'hold', 'deny', 'deny'],
];
for (const [what, given, recovery, ...expected] of rows) {
  for (const [index, name] of names.entries()) {
    test(`${name} gives ${what} ${expected[index]}`, () => { assert.equal(judge(shipped[name], given, recovery).decision, expected[index]); });
  }
}

test('a SAFE read under protect fires level.SAFE and nothing else', () => {
  const verdict = judge(shipped.protect, read);
  assert.deepEqual(verdict.fired.map(({ rule, decision, observed, threshold }) => [rule, decision, observed, threshold]),
    [['level.SAFE', 'allow', 'SAFE', 'SAFE: allow']]);
  assert.deepEqual([verdict.level, verdict.policyName, verdict.policyHash, verdict.wouldBe], ['SAFE', 'protect', shipped.protect.hash, 'allow']);
});

test('every rule is evaluated, and the worst decision stands first', () => {
  const everything: Risk = { ...truncate, effects: [...truncate.effects, { kind: 'program' }, { kind: 'unknown' }] };
  const verdict = judge(shipped.protect, everything);
  assert.deepEqual(verdict.fired.map(({ rule, decision }) => `${rule} ${decision}`).toSorted(),
    ['effect.unknown hold', 'level.CRITICAL hold', 'operation.blocked deny', 'recovery.required deny']);
  assert.equal(verdict.fired[0]?.decision, 'deny');
});

test('the refusal for want of a recovery point says so', () => {
  const [fired] = judge(shipped.protect, truncate).fired;
  assert.equal(fired?.rule, 'recovery.required');
  assert.match(fired?.message ?? '', /that no recovery point can bring back; only an operator's override/);
  assert.match(fired?.observed ?? '', /recovery point: none/);
});

test('observe records what protect would have said', () => {
  for (const [, given, recovery] of rows) {
    const observed = judge(shipped.observe, given, recovery);
    assert.equal(observed.decision, 'allow');
    assert.equal(observed.wouldBe, judge(shipped.protect, given, recovery).decision);
  }
});

function written(more: string): Policy {
  return parsePolicy(`name: t\ndescription: t\nlevels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: allow }\nrecovery: { required_from: never }\n${more}`, 't.yaml');
}
const protects = 'protected: { tables: [orders, audit.*], schemas: [billing], on_write: hold, on_read: deny }\n';
const guarded: readonly (readonly [Effect, Decision, string])[] = [
  [{ kind: 'update', ...table }, 'hold', 'a write of a protected table'],
  [{ kind: 'read', ...table }, 'deny', 'a read of a protected table'],
  [{ kind: 'read', object: 'public.customers', objectKind: 'table' }, 'allow', 'a read of another table'],
  [{ kind: 'drop', object: 'audit', objectKind: 'schema' }, 'hold', 'a dropped schema takes its tables along'],
  [{ kind: 'create', object: 'fresh', objectKind: 'schema' }, 'allow', 'a new schema holds nothing'],
  [{ kind: 'drop', object: 'shop', objectKind: 'database' }, 'hold', 'a dropped database takes everything along'],
  [{ kind: 'delete', object: 'billing.invoices', objectKind: 'table' }, 'hold', 'a table in a protected schema'],
  [{ kind: 'call', object: 'public.orders()', objectKind: 'function' }, 'allow', 'a function that is named like the table'],
  [{ kind: 'drop', object: 'billing.f()', objectKind: 'function' }, 'allow', 'a function is not a protected table'],
  [{ kind: 'delete' }, 'hold', 'a write that does not say of what'],
  [{ kind: 'update', object: 'public.orders.total', objectKind: 'column' }, 'hold', 'a column of a protected table'],
];
for (const [effect, expected, why] of guarded) {
  test(`protected names: ${why} gets ${expected}`, () => { assert.equal(judge(written(protects), risk('HIGH', effect)).decision, expected); });
}

const measured: Impact = {
  kind: 'measured', table: 'public.orders', rows: 6, tableRows: { count: 50, isExact: true }, percent: 12, lock: null, sample: null, triggers: [],
  cascades: [{ table: 'public.items', rows: 5, how: 'deleted by k (ON DELETE CASCADE)', isExact: true }],
};
const lost: Impact = {
  kind: 'loss', verb: 'drop', named: { names: ['table public.orders'], count: 1 }, also: { names: [], count: 0 }, refusedBy: { names: [], count: 0 },
  tables: [{ table: 'public.orders', rows: { count: 50, isExact: false }, bytes: 8192 }], tableCount: 1, rows: { count: 50, isExact: false }, bytes: 8192, triggers: [], lock: null,
};
const limited: readonly (readonly [why: string, impact: Impact, limits: string, fired: readonly string[]])[] = [
  ['as many rows as it may, with those of foreign keys', measured, 'max_rows: 11, max_percent: 12', []],
  ['one row too many', measured, 'max_rows: 10', ['limit.rows hold 6 rows of public.orders, and 5 through foreign keys / max_rows: 10']],
  ['a share too great', measured, 'max_percent: 11, above: deny', ['limit.percent deny 12 % of 50 rows of public.orders / max_percent: 11']],
  ['an unknown share', { ...measured, tableRows: null, percent: null }, 'max_percent: 90', ['limit.percent hold 6 rows of public.orders, share unknown / max_percent: 90']],
  ['a single row of a small table', { ...measured, rows: 1, cascades: [], percent: 50 }, 'max_percent: 10', []],
  ['an unknown impact', { kind: 'unknown', reason: 'it was not counted' }, 'max_rows: 10, max_percent: 5', ['impact.unknown hold unknown impact: it was not counted / max_rows: 10, max_percent: 5']],
  ['an unknown impact where more is denied', { kind: 'unknown', reason: 'it was not counted' }, 'max_rows: 10, above: deny', ['impact.unknown deny unknown impact: it was not counted / max_rows: 10']],
  ['a DROP of more rows than one may change', lost, 'max_rows: 49', ['limit.rows hold It would drop table public.orders, and about 50 rows of 1 table would be lost. / max_rows: 49']],
  ['a DROP of as many', lost, 'max_rows: 50, max_percent: 100', []],
  ['a DROP, which is all of a table', lost, 'max_percent: 99', ['limit.percent hold 50 rows of public.orders, share 100 % / max_percent: 99']],
  ['a DROP of a single row', { ...lost, rows: { count: 1, isExact: true } }, 'max_rows: 1, max_percent: 10', []],
  ['a DROP of nobody knows how much', { ...lost, rows: null }, 'max_rows: 10', ['impact.unknown hold unknown impact: for a table that would lose its rows the server has no number of them / max_rows: 10']],
  ['an unknown impact without limits', { kind: 'unknown', reason: 'it was not counted' }, 'above: deny', []],
];
for (const [why, impact, limits, expected] of limited) {
  test(`limits: ${why} fires ${expected.length === 0 ? 'nothing' : expected.join()}`, () => {
    const { fired } = decide(written(`limits: { ${limits} }`).base, { risk: update, agent: 'ada', database: 'shop', recovery: 'none', impact });
    assert.deepEqual(fired.filter(({ rule }) => !rule.startsWith('level')).map(({ rule, decision, observed, threshold }) => `${rule} ${decision} ${observed} / ${threshold}`), expected);
  });
}

const undoing = (more = ''): Policy => parsePolicy(`name: t\ndescription: t\nlevels: { SAFE: allow, LOW: hold, HIGH: hold, CRITICAL: hold }\nrecovery: { required_from: HIGH, undo_allows: HIGH }\n${more}`, 't.yaml');
const insert = risk('HIGH', { kind: 'insert', ...table });
const drop = risk('CRITICAL', { kind: 'drop', ...table }, true);
const dropColumn = risk('HIGH', { kind: 'drop', object: 'public.orders.note', objectKind: 'column' }, true);
const undoable: readonly (readonly [why: string, given: Risk, recovery: Recoverability, impact: Impact, expected: Decision, rules: string])[] = [
  ['an UPDATE whose rows are kept', update, 'exact-rows', { kind: 'none' }, 'allow', 'level.HIGH'],
  ['an UPDATE of which nothing is kept', update, 'none', { kind: 'none' }, 'deny', 'recovery.required level.HIGH'],
  ['an UPDATE that only a backup of the operator\'s takes back', update, 'point-in-time', { kind: 'none' }, 'deny', 'recovery.required level.HIGH'],
  ['an INSERT', insert, 'not-needed', { kind: 'none' }, 'allow', 'level.HIGH'],
  ['an INSERT beside a call of an unread function', { ...insert, effects: [...insert.effects, { kind: 'unknown' }] }, 'none', { kind: 'none' }, 'deny', 'effect.unknown level.HIGH'],
  ['a schema change that loses nothing', risk('HIGH', { kind: 'create', ...table }), 'not-needed', { kind: 'none' }, 'hold', 'level.HIGH'],
  ['a dropped column of a table that nobody counted', dropColumn, 'table', { kind: 'none' }, 'hold', 'level.HIGH'],
  ['a dropped column of a table of few rows', dropColumn, 'table', lost, 'allow', 'level.HIGH'],
  ['a dropped table whose rows are kept', drop, 'table', lost, 'hold', 'level.CRITICAL'],
  ['a dropped table of which nothing is kept', drop, 'none', lost, 'deny', 'recovery.required level.CRITICAL'],
];
for (const [why, given, recovery, impact, expected, fired] of undoable) {
  test(`where an undo is worth something, ${why} gets ${expected}`, () => {
    const verdict = decide(undoing().base, { risk: given, agent: 'ada', database: 'shop', recovery, impact });
    assert.deepEqual([verdict.decision, verdict.fired.map(({ rule }) => rule).join(' ')], [expected, fired]);
  });
}

test('an undo that is kept opens no limit, no budget and no protected table', () => {
  const measuredUpdate = { risk: update, agent: 'ada', database: 'shop', recovery: 'exact-rows', impact: measured } as const;
  assert.equal(decide(undoing('limits: { max_rows: 10 }').base, measuredUpdate).decision, 'hold');
  assert.equal(decide(undoing('protected: { tables: [orders] }').base, measuredUpdate).decision, 'deny');
  assert.equal(decide(undoing('budgets: [{ per: hour, rows_changed: 5 }]').base, { ...measuredUpdate, used: noUse }).decision, 'deny');
});

test('a refusal says what nobody keeps, in the words of the coverage', () => {
  const { fired: [first] } = decide(undoing().base, { risk: update, agent: 'ada', database: 'shop', recovery: 'none', why: 'it has no key' });
  assert.match(first?.message ?? '', /^It would destroy data that no recovery point can bring back, because it has no key; only an operator's override lets it run\.$/);
});

test('a rule that throws denies, and its verdict names it', () => {
  const thrower: Rule = { id: 'test.throws', version: 1, reads: ['level'], compares: 'never', evaluate: () => { throw new TypeError('boom'); } };
  const verdict = decideBy([...rules, thrower], shipped.develop.base, { risk: read, agent: 'ada', database: 'shop', recovery: 'none' });
  assert.equal(verdict.decision, 'deny');
  assert.deepEqual([verdict.fired[0]?.rule, verdict.fired[0]?.observed], ['test.throws', 'TypeError']);
});

test('a missing fact denies, whichever it is', () => {
  for (const fact of ['level', 'effects', 'destroys'] as const) {
    const verdict = judge(shipped.develop, { ...read, [fact]: undefined } as unknown as Risk);
    assert.equal(verdict.decision, 'deny', fact);
    assert.match(verdict.fired[0]?.observed ?? '', new RegExp(`missing: .*${fact}`));
  }
  assert.equal(decide(shipped.protect.base, { risk: read, agent: 'ada', database: 'shop', recovery: undefined as unknown as 'none' }).decision, 'deny');
});

test('a level that nobody knows denies', () => {
  assert.equal(judge(shipped.develop, { ...read, level: 'MILD' as Level }).decision, 'deny');
});

test('no rule firing denies', () => {
  const verdict = decideBy([], shipped.develop.base, { risk: read, agent: 'ada', database: 'shop', recovery: 'none' });
  assert.deepEqual([verdict.decision, verdict.fired[0]?.rule], ['deny', 'policy.no-rule']);
});

const severity = (decision: Decision): number => ['allow', 'hold', 'deny'].indexOf(decision);
const decision = fc.constantFrom<Decision>('allow', 'hold', 'deny');
const anyPolicy: fc.Arbitrary<Policy> = fc.record({
  mode: fc.constantFrom('enforce', 'observe'), given: fc.tuple(decision, decision, decision, decision),
  unknown: fc.constantFrom('hold', 'deny'), from: fc.constantFrom('LOW', 'HIGH', 'CRITICAL', 'never'), allows: fc.constantFrom('HIGH', 'CRITICAL', undefined),
  tables: fc.subarray(['orders', 'public.*', 'audit_*']), schemas: fc.subarray(['public', 'bill*']),
  onWrite: fc.constantFrom('hold', 'deny'), onRead: decision, blocked: fc.subarray([...operations]),
}).map(({ mode, given, unknown, from, allows, tables, schemas, onWrite, onRead, blocked }) => {
  const ordered = given.toSorted((a, b) => severity(a) - severity(b));
  const file = {
    name: 'any', description: 'any', mode, levels: Object.fromEntries(levels.map((level, index) => [level, ordered[index]])), unknown,
    recovery: { required_from: from, ...(from === 'never' || allows === undefined ? {} : { undo_allows: allows }) }, protected: { tables, schemas, on_write: onWrite, on_read: onRead }, blocked,
  };
  return parsePolicy(JSON.stringify(file), 'any.yaml');
});
const anyRisk: fc.Arbitrary<Risk> = fc.record({
  level: fc.constantFrom(...levels), destroys: fc.boolean(), recoverability: fc.constantFrom(...recoverabilities),
  reasons: fc.constant([]), assumptions: fc.constant([]),
  effects: fc.array(fc.record({
    kind: fc.constantFrom(...effectKinds),
    object: fc.constantFrom('public.orders', 'orders', 'billing.a', 'x'), objectKind: fc.constantFrom('table', 'schema', 'function', 'column', 'database'),
  }, { requiredKeys: ['kind'] }), { maxLength: 5 }),
});

test('a worse level never gets a milder verdict', () => {
  fc.assert(fc.property(anyPolicy, anyRisk, fc.constantFrom(...levels), fc.constantFrom(...recoverabilities), (policy, given, level, recovery) => {
    const [milder, worse] = [given.level, level].toSorted((a, b) => levels.indexOf(a) - levels.indexOf(b));
    const before = judge(policy, { ...given, level: milder ?? 'SAFE' }, recovery);
    const after = judge(policy, { ...given, level: worse ?? 'SAFE' }, recovery);
    assert.ok(severity(after.wouldBe) >= severity(before.wouldBe));
  }), { numRuns: 500 });
});

test('a protected table that is written and read gets the worse of both answers', () => {
  const policy = parsePolicy('name: p\ndescription: d\nlevels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: allow }\nprotected: { tables: [public.pay], on_write: hold, on_read: deny }', 'p.yaml');
  const object = { object: 'public.pay', objectKind: 'table' } as const;
  const given: Risk = { level: 'LOW', destroys: false, recoverability: 'not-needed', reasons: [], assumptions: [], effects: [{ kind: 'update', ...object }] };
  assert.equal(judge(policy, given).decision, 'hold');
  assert.equal(judge(policy, { ...given, effects: [...given.effects, { kind: 'read', ...object }] }).decision, 'deny');
});

test('one effect more never makes a verdict milder', () => {
  fc.assert(fc.property(anyPolicy, anyRisk, fc.constantFrom(...effectKinds), (policy, given, kind) => {
    const after = judge(policy, { ...given, effects: [...given.effects, { kind }] });
    assert.ok(severity(after.wouldBe) >= severity(judge(policy, given).wouldBe));
  }), { numRuns: 2_000 });
});

test('observe never refuses, enforce always does what it says, and both name the worst rule first', () => {
  fc.assert(fc.property(anyPolicy, anyRisk, (policy, given) => {
    const verdict = judge(policy, given);
    assert.equal(verdict.decision, policy.mode === 'observe' ? 'allow' : verdict.wouldBe);
    assert.equal(verdict.fired[0]?.decision, verdict.wouldBe);
    assert.ok(verdict.fired.every((fired) => fired.observed !== '' && fired.threshold !== '' && fired.message !== ''));
  }), { numRuns: 500 });
});

test('ids of rules are unique', () => {
  assert.equal(new Set(rules.map((rule) => rule.id)).size, rules.length);
});
