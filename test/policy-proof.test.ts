/**
 * z3 proves of every shipped policy what must hold whatever comes; shows on planted policies that each proof can fail; and
 * is held to the code: its formulas answer as decide() does on random facts.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { parse } from 'yaml';
import { isCounted, noAmounts, windows, type BudgetUse } from '../src/core/policy/budgets.ts';
import { decide } from '../src/core/policy/decide.ts';
import type { PolicyInput } from '../src/core/policy/facts.ts';
import { isOperation, operations } from '../src/core/policy/operation.ts';
import { checkPolicy, parsePolicy, refuseSilentObserving, type EffectivePolicy, type Policy } from '../src/core/policy/policy.ts';
import { rules } from '../src/core/policy/rules.ts';
import { countedRows, unknownReason, type Impact } from '../src/core/impact.ts';
import { effectKinds, levels, recoverabilities, type Risk } from '../src/core/risk.ts';
import { changesRows, onlyAddsRows } from '../src/core/sql/changes-rows.ts';
import { missingRules } from '../src/core/sql/missing-names.ts';
import { severity } from '../src/core/verdict.ts';
import { policyText, shippedPolicies } from '../src/remote/policy-file.ts';
import { deadParts, idleScopes, milderForWorse, unguardedLosses } from './fixtures/policy-claims.ts';
import { amounts, encoders, impactKinds, symbolsOf, touched, verdictOf, type Symbols, type Z3 } from './fixtures/policy-proof.ts';
import { startZ3 } from './fixtures/start-z3.ts';

let z3: Z3;
let end: () => void;
before(async () => {
  ({ z3, end } = await startZ3());
});
after(() => { end?.(); });

/** The sections that a file names, in its base or in the scope of that index. */
function writtenIn(text: string, scope?: number): ReadonlySet<string> {
  const file = parse(text) as { readonly scopes?: readonly object[] };
  return new Set(Object.keys(scope === undefined ? file : file.scopes?.[scope] ?? {}));
}

async function everyDeadPart(text: string): Promise<readonly string[]> {
  const policy = parsePolicy(text, 'policy.yaml');
  const dead = [...await deadParts(z3, policy.base, writtenIn(text))];
  for (const [index, scope] of policy.scoped.entries()) dead.push(...(await deadParts(z3, scope, writtenIn(text, index))).map((what) => `scope ${scope.scope}: ${what}`));
  return dead;
}

for (const name of await shippedPolicies()) {
  describe(`policy ${name}`, () => {
    let text: string;
    let policy: Policy;
    before(async () => {
      ({ text } = await policyText(name));
      policy = parsePolicy(text, `${name}.yaml`);
    });
    test('has no part that never makes a difference', async () => { assert.deepEqual(await everyDeadPart(text), []); });
    test('has no scope that is never in force or changes nothing', async () => { assert.deepEqual(await idleScopes(z3, policy), []); });
    test('gets no milder as the risk, the rows or what was used grow', async () => {
      for (const effective of [policy.base, ...policy.scoped]) assert.deepEqual(await milderForWorse(z3, effective), []);
    });
    test('lets no loss pass in production unasked', async () => {
      // What observes is not taken there at all.
      if (policy.mode === 'observe') assert.throws(() => { refuseSilentObserving(policy, 'production'); });
      else assert.deepEqual(await unguardedLosses(z3, policy), []);
    });
    test('has nothing that a check would warn of', () => {
      const checked = checkPolicy(text);
      assert.deepEqual(checked.kind === 'valid' ? checked.warnings.filter(({ message }) => !message.startsWith('observe enforces nothing')) : checked.mistakes, []);
    });
  });
}

const head = 'name: bad\ndescription: d\n';
const usual = 'levels: { SAFE: allow, LOW: allow, HIGH: hold, CRITICAL: hold }\n';

describe('a planted mistake is found', () => {
  const dead: readonly (readonly [why: string, text: string, part: string])[] = [
    ['recovery that a deny of the same level stands before', 'levels: { SAFE: allow, LOW: allow, HIGH: hold, CRITICAL: deny }\nrecovery: { required_from: CRITICAL }\n', 'recovery'],
    ['a blocked operation where all is denied', 'levels: { SAFE: deny, LOW: deny, HIGH: deny, CRITICAL: deny }\nblocked: [program]\n', 'blocked: program'],
    ['limits where all is denied', 'levels: { SAFE: deny, LOW: deny, HIGH: deny, CRITICAL: deny }\nlimits: { max_rows: 5 }\n', 'limits.max_rows'],
    ['a budget behind a smaller one', `${usual}budgets: [{ per: hour, statements: 10 }, { per: hour, statements: 20, above: hold }]\n`, 'budgets[1]'],
    ['unknown that is no worse than every level', 'levels: { SAFE: hold, LOW: hold, HIGH: hold, CRITICAL: hold }\nunknown: hold\n', 'unknown'],
    ['a scope with a dead part', `${usual}scopes:\n- name: s\n  match: { agents: [a] }\n  levels: { SAFE: allow, LOW: deny, HIGH: deny, CRITICAL: deny }\n  recovery: { required_from: LOW }\n`, 'scope s: recovery'],
  ];
  for (const [why, text, part] of dead) test(why, async () => { assert.ok((await everyDeadPart(head + text)).includes(part)); });

  test('a scope behind one that matches all', async () => {
    const scopes = 'scopes:\n- { name: all, match: { agents: ["*"] }, unknown: hold }\n- { name: ci, match: { agents: [ci-*] }, blocked: [insert] }\n';
    assert.deepEqual(await idleScopes(z3, parsePolicy(head + usual + scopes, 'p.yaml')), ['scope ci is never in force']);
  });
  test('a scope behind two that match all between them', async () => {
    const scopes = 'scopes:\n- { name: live, match: { environments: [production] }, unknown: hold }\n- { name: rest, match: { environments: [dev, staging] }, blocked: [drop] }\n- { name: ci, match: { agents: [ci-*] }, blocked: [insert] }\n';
    assert.deepEqual(await idleScopes(z3, parsePolicy(head + usual + scopes, 'p.yaml')), ['scope ci is never in force']);
  });
  test('a scope behind the same hours written otherwise', async () => {
    const scopes = 'scopes:\n- { name: day, match: { hours: { from: "08:00", to: "18:00", zone: UTC } }, unknown: hold }\n- { name: noon, match: { hours: { from: "11:00", to: "13:00", zone: UTC } }, blocked: [insert] }\n';
    assert.deepEqual(await idleScopes(z3, parsePolicy(head + usual + scopes, 'p.yaml')), ['scope noon is never in force']);
  });
  test('a scope that says what the base says', async () => {
    const scopes = `scopes:\n- name: same\n  match: { agents: [a] }\n  ${usual}`;
    assert.deepEqual(await idleScopes(z3, parsePolicy(head + usual + scopes, 'p.yaml')), ['scope same changes no verdict']);
  });
  test('a loss that runs unasked in production, though not elsewhere', async () => {
    const scopes = 'scopes:\n- name: live\n  match: { environments: [production] }\n  levels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: hold }\n  recovery: { required_from: never }\n';
    assert.deepEqual(await unguardedLosses(z3, parsePolicy(head + usual + scopes, 'p.yaml')), ['scope live: a loss in production runs unasked', 'scope live: a loss without a bound can be approved in production']);
  });
  test('a level that gets a milder answer than a better one, which no file could say', async () => {
    const { base } = parsePolicy(head + usual, 'p.yaml');
    const planted: EffectivePolicy = { ...base, levels: { ...base.levels, LOW: 'deny' } };
    assert.deepEqual(await milderForWorse(z3, planted), ['more level, milder verdict']);
  });
  test('a rule that only minds few rows', async () => {
    const { base } = parsePolicy(head + usual, 'p.yaml');
    assert.deepEqual(await milderForWorse(z3, base, [(context, { rows }) => ({ fires: rows.lt(5), decision: context.Int.val(2) })]), ['more rows, milder verdict']);
  });
});

test('every rule of the table has a formula, and there is no formula without a rule', () => {
  assert.deepEqual(Object.keys(encoders).toSorted(), rules.map(({ id }) => id).toSorted());
});

const decision = fc.constantFrom('allow', 'hold', 'deny');
const refusal = fc.constantFrom('hold', 'deny');
const few = fc.nat(4);
const anyPolicy: fc.Arbitrary<EffectivePolicy> = fc.record({
  given: fc.tuple(decision, decision, decision, decision), unknown: refusal, from: fc.constantFrom('LOW', 'HIGH', 'CRITICAL', 'never'), allows: fc.constantFrom('HIGH', 'CRITICAL', undefined),
  guarded: fc.record({ tables: fc.subarray(['orders']), schemas: fc.subarray(['billing']), columns: fc.subarray(['orders.total']), on_write: refusal, on_read: decision, on_column_read: refusal }),
  blocked: fc.subarray([...operations]), limits: fc.record({ max_rows: few, max_percent: fc.nat(100), above: refusal }, { requiredKeys: [] }),
  budgets: fc.array(fc.record({ per: fc.constantFrom(...windows), statements: few, rows_changed: few, rows_read: few, above: refusal }, { requiredKeys: ['per', 'statements'] }), { maxLength: 3 }),
}).map(({ given, unknown, from, allows, guarded, blocked, limits, budgets }) => {
  const ordered = given.toSorted((a, b) => severity[a as 'allow'] - severity[b as 'allow']);
  return parsePolicy(JSON.stringify({
    name: 'any', description: 'any', levels: Object.fromEntries(levels.map((level, index) => [level, ordered[index]])), unknown,
    recovery: { required_from: from, ...(from === 'never' || allows === undefined ? {} : { undo_allows: allows }) }, protected: guarded, blocked, limits, budgets,
  }), 'any.yaml').base;
});
const anyRisk: fc.Arbitrary<Risk> = fc.record({
  level: fc.constantFrom(...levels), destroys: fc.boolean(), recoverability: fc.constant('none' as const), assumptions: fc.constant([]),
  reasons: fc.constantFrom([], [{ rule: missingRules.relation, level: 'HIGH' as const, message: 'It is not there.' }]),
  effects: fc.array(fc.record({
    kind: fc.constantFrom(...effectKinds), object: fc.constantFrom('public.orders', 'billing.a', 'x', 'public.orders.total'),
    objectKind: fc.constantFrom('table', 'schema', 'function', 'column', 'time limit'), columns: fc.subarray(['id', 'total']),
  }, { requiredKeys: ['kind'] }), { maxLength: 3 }),
});
const anyLoss: fc.Arbitrary<Impact> = fc.option(few).map((count) => {
  const none = { names: [], count: 0 };
  return { kind: 'loss', verb: 'drop', named: none, also: none, refusedBy: none, tables: [], tableCount: 1, rows: count === null ? null : { count, isExact: false }, bytes: 0, triggers: [], lock: null };
});
const anyImpact: fc.Arbitrary<Impact> = fc.oneof(anyLoss, few.map((rowsMax) => ({ kind: 'bounded' as const, table: 't', rowsMax })), fc.constant({ kind: 'none' as const }), fc.constant({ kind: 'unknown' as const, reason: 'r' }), fc.record({
  rows: few, percent: fc.option(fc.integer({ min: 0, max: 100_000 }).map((thousandths) => thousandths / 1000)), cascaded: few,
}).map(({ rows, percent, cascaded }) => ({
  kind: 'measured' as const, table: 't', rows, tableRows: null, percent, cascades: [{ table: 'c', rows: cascaded, how: 'h', isExact: true }], triggers: [], lock: null, sample: null,
})));
const anyUse: fc.Arbitrary<BudgetUse | undefined> = fc.option(fc.record({ statements: few, rowsChanged: few, rowsRead: few }), { nil: undefined })
  .map((used) => (used === undefined ? undefined : { minute: used, hour: noAmounts, day: { ...used, statements: used.statements + 1 } }));

test('the formulas answer as decide() does', async () => {
  await fc.assert(fc.asyncProperty(anyPolicy, anyRisk, fc.constantFrom(...recoverabilities), anyImpact, anyUse, async (policy, risk, recovery, impact, used) => {
    const input: PolicyInput = { risk, agent: 'ada', database: 'shop', recovery, impact, used };
    const facts = symbolsOf(z3);
    const said = z3.substitute(verdictOf(z3, facts, policy), ...valuesOf(facts, policy, input));
    assert.equal(Number((await z3.simplify(said)).toString()), severity[decide(policy, input).wouldBe]);
    // Making a failure smaller takes more memory than z3 can have.
  }), { numRuns: 300, endOnFailure: true });
});

type Pair = Parameters<Z3['substitute']>[1];

/** The concrete value of each unknown: what a rule would find in these facts. */
function valuesOf(facts: Symbols, policy: EffectivePolicy, { risk, recovery, impact = { kind: 'none' }, used }: PolicyInput): readonly Pair[] {
  const bool = (value: boolean): Pair[1] => z3.Bool.val(value);
  const int = (value: number): Pair[1] => z3.Int.val(value);
  const measured = countedRows(impact);
  const kind = measured !== undefined ? 'measured' : unknownReason(impact) !== undefined ? 'unknown' : 'none';
  const flags: Record<keyof Symbols['flags'], boolean> = {
    destroys: risk.destroys, exact: recovery === 'exact-rows', wide: recovery === 'table' || recovery === 'schema', adds: onlyAddsRows(risk), unknown: risk.effects.some(({ kind }) => kind === 'unknown'), missing: risk.reasons.length > 0,
    lifted: risk.effects.some(({ kind, objectKind }) => kind === 'session' && objectKind === 'time limit'),
    writes: changesRows({ ...risk, level: 'HIGH' }), counted: isCounted(risk), percentKnown: measured !== undefined && measured.percent !== null, usedKnown: used !== undefined,
  };
  const own = { statements: 'statements', rows_changed: 'rowsChanged', rows_read: 'rowsRead' } as const;
  return [
    [facts.level, int(levels.indexOf(risk.level))], [facts.impact, int(impactKinds.indexOf(kind))],
    [facts.ownRows, int(measured?.rows ?? 0)], [facts.rows, int(measured?.total ?? 0)], [facts.percent, int(Math.round((measured?.percent ?? 0) * 1000))],
    ...Object.entries(flags).map(([name, value]): Pair => [facts.flags[name as keyof Symbols['flags']], bool(value)]),
    ...[...facts.operations].map(([operation, symbol]): Pair => [symbol, bool(risk.effects.some((effect) => isOperation(operation, effect)))]),
    ...touched.flatMap((what): Pair[] => [[facts.writes[what], bool(touches(policy, risk, what, 'write'))], [facts.reads[what], bool(touches(policy, risk, what, 'read'))]]),
    ...[...facts.used].map(([name, symbol]): Pair => {
      const [window, amount] = name.split(' ') as [(typeof windows)[number], (typeof amounts)[number]];
      return [symbol, int(used?.[window][own[amount]] ?? 0)];
    }),
  ];
}

/** Asked of the rule itself, under answers that tell the two apart. */
function touches(policy: EffectivePolicy, risk: Risk, what: (typeof touched)[number], how: 'write' | 'read'): boolean {
  const answers = how === 'write' ? { on_write: 'deny', on_read: 'allow', on_column_read: 'hold' } as const : { on_write: 'hold', on_read: 'deny', on_column_read: 'deny' } as const;
  const asked: EffectivePolicy = { ...policy, protected: { ...policy.protected, ...answers } };
  const verdict = decide(asked, { risk, agent: 'ada', database: 'shop', recovery: 'none' });
  return verdict.fired.some(({ rule, decision: given }) => rule === `protected.${what}` && given === 'deny');
}
