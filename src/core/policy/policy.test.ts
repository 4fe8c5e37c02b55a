/**
 * A policy file is taken whole or refused at the line of its mistake; its hash names its meaning.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { Failure } from '../failure.ts';
import { parsePolicy, withApprovalTimes } from './policy.ts';
import type { Policy } from './policy.ts';

const folder = new URL('../../../policies/', import.meta.url);
const shipped = readdirSync(folder).filter((file) => file.endsWith('.yaml'));
const levelsText = 'levels: { SAFE: allow, LOW: allow, HIGH: hold, CRITICAL: deny }';
const head = `name: mine\ndescription: For a test.\n${levelsText}\n`;

function refusal(text: string): Failure {
  try {
    parsePolicy(text, 'mine.yaml');
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error('it was taken');
}

test('the shipped policies are the five that the documentation names', () => {
  assert.deepEqual(shipped.toSorted(), ['develop.yaml', 'observe.yaml', 'protect.yaml', 'read-only.yaml', 'strict.yaml']);
});

for (const file of shipped) {
  test(`${file} parses, bears the name of its file, and is frozen`, () => {
    const policy = parsePolicy(readFileSync(new URL(file, folder), 'utf8'), file);
    assert.equal(`${policy.name}.yaml`, file);
    assert.ok(Object.isFrozen(policy) && Object.isFrozen(policy.levels) && Object.isFrozen(policy.blocked));
  });
}

test('what protect says in comments can be written as it stands', () => {
  const text = readFileSync(new URL('protect.yaml', folder), 'utf8');
  const policy = parsePolicy(text.replaceAll(/^# (protected:|timeouts:|  \w+: )/gm, '$1'), 'protect.yaml');
  assert.deepEqual([policy.limits, policy.timeouts], [{ max_rows: 1000, max_percent: 10, above: 'hold' }, { statement: 300, lock: 10, idle_in_transaction: 60 }]);
  assert.deepEqual(policy.protected, { tables: ['payments', 'public.audit_*'], schemas: ['billing'], columns: [], on_write: 'deny', on_read: 'allow', on_column_read: 'deny' });
});

test('a file that gives only what it must gets the documented defaults', () => {
  const { hash, base: _, scoped: __, ...policy } = parsePolicy(head, 'mine.yaml');
  assert.match(hash, /^[0-9a-f]{64}$/);
  assert.deepEqual(policy, {
    name: 'mine', description: 'For a test.', mode: 'enforce', levels: { SAFE: 'allow', LOW: 'allow', HIGH: 'hold', CRITICAL: 'deny' },
    unknown: 'deny', recovery: { required_from: 'CRITICAL' },
    protected: { tables: [], schemas: [], columns: [], on_write: 'deny', on_read: 'allow', on_column_read: 'deny' }, blocked: [],
    limits: { above: 'hold' }, budgets: [], timeouts: {}, approval: { wait: 55, expires: 3600 }, scopes: [],
  } satisfies Omit<Policy, 'hash' | 'base' | 'scoped'>);
});

const mistakes: readonly (readonly [why: string, text: string, message: RegExp])[] = [
  ['an unknown key', `${head}protcted: {}\n`, /^mine\.yaml:4:1: unknown key `protcted`; allowed: .*Did you mean protected\?/],
  ['an unknown level', 'name: mine\ndescription: d\nlevels:\n  SAFE: allow\n  LOW: allow\n  HIHG: hold\n  CRITICAL: deny\n', /^mine\.yaml:4:3: `levels.HIGH` is missing/],
  ['a wrong decision', `name: mine\ndescription: d\nlevels:\n  SAFE: allow\n  LOW: alow\n  HIGH: hold\n  CRITICAL: deny\n`, /^mine\.yaml:5:8: `levels.LOW` is "alow"; allowed: allow, hold, deny\. Did you mean allow\?/],
  ['unknown: allow', `${head}unknown: allow\n`, /^mine\.yaml:4:10: `unknown` is "allow"; allowed: hold, deny/],
  ['an unknown operation', `${head}blocked:\n  - truncate\n  - drop-tabel\n`, /^mine\.yaml:6:5: `blocked\[1\]` is "drop-tabel".*Did you mean drop-table\?/],
  ['a milder decision for a worse level', 'name: mine\ndescription: d\nlevels: { SAFE: allow, LOW: deny,\n  HIGH: hold, CRITICAL: deny }\n', /^mine\.yaml:4:9: .*HIGH gets hold, milder than deny for LOW/],
  ['a wait that is no number', `${head}approval: { wait: 55s }\n`, /^mine\.yaml:4:19: `approval.wait` must be a number/],
  ['a negative wait', `${head}approval: { wait: -1 }\n`, /^mine\.yaml:4:19: `approval.wait` is too small; the least is 0/],
  ['a name with a space', `name: my policy\ndescription: d\n${levelsText}\n`, /^mine\.yaml:1:7: `name`: lower-case letters/],
  ['broken YAML', `${head}blocked: [truncate\n`, /^mine\.yaml:\d+:\d+: not valid YAML/],
];
for (const [why, text, message] of mistakes) {
  test(`${why} is refused at its line`, () => {
    const failure = refusal(text);
    assert.equal(failure.code, 'policy_invalid');
    assert.match(failure.message, message);
  });
}

test('every further mistake stands in the detail', () => {
  const failure = refusal(`${head}unknown: maybe\nmode: watch\n`);
  assert.match(failure.message, /mine\.yaml:4:/);
  assert.match(failure.detail ?? '', /mine\.yaml:5:.*`mode`/);
});

test('comments and order leave the hash alone; meaning changes it', () => {
  const { hash } = parsePolicy(head, 'a.yaml');
  assert.equal(parsePolicy(`# a comment\n${levelsText}\ndescription: For a test.\nname: mine\nunknown: deny\n`, 'b.yaml').hash, hash);
  assert.notEqual(parsePolicy(`${head}unknown: hold\n`, 'a.yaml').hash, hash);
});

test('times from configuration replace those of the file and change the hash', () => {
  const policy = parsePolicy(head, 'a.yaml');
  const changed = withApprovalTimes(policy, { wait: 0 });
  assert.deepEqual(changed.approval, { wait: 0, expires: 3600 });
  assert.notEqual(changed.hash, policy.hash);
  assert.equal(withApprovalTimes(policy, {}).hash, policy.hash);
});

test('a damaged file is taken or refused at a line, never anything else', () => {
  const original = readFileSync(new URL('protect.yaml', folder), 'utf8').replaceAll(/ *#.*/g, '');
  const piece = fc.oneof(fc.string({ maxLength: 6 }), fc.constantFrom('\n', ': ', '- ', '{', ']', '&a ', '*a', '!!str ', '|', '"', '<<: ', '\t', '? '));
  fc.assert(fc.property(fc.nat(original.length), fc.nat(8), piece, (at, removed, inserted) => {
    const text = original.slice(0, at) + inserted + original.slice(at + removed);
    try {
      assert.match(parsePolicy(text, 'x.yaml').hash, /^[0-9a-f]{64}$/);
    } catch (error) {
      assert.ok(error instanceof Failure && error.code === 'policy_invalid', String(error));
      assert.match(error.message, /^x\.yaml:[1-9]\d*:[1-9]\d*: /);
    }
  }), { numRuns: 1_000 });
});
