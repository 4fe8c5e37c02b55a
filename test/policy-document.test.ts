/**
 * docs/policy.md keeps up with the code: its reference is made from the schema and the rules, its examples are valid, and its
 * table of shipped policies is what they decide.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { decide } from '../src/core/policy/decide.ts';
import { operations } from '../src/core/policy/operation.ts';
import { checkPolicy, parsePolicy } from '../src/core/policy/policy.ts';
import { rules } from '../src/core/policy/rules.ts';
import type { Level, Recoverability, Risk } from '../src/core/risk.ts';
import { Failure } from '../src/core/failure.ts';
import { loadPolicy } from '../src/remote/policy-file.ts';
import { examples } from '../scripts/policy-examples.ts';
import { withReference } from '../scripts/policy-reference.ts';

const text = readFileSync(new URL('../docs/policy.md', import.meta.url), 'utf8');
const example = /```yaml\n([\s\S]*?)```/.exec(text)?.[1] ?? '';

test('the reference is what the schema and the rule table say; `npm run docs:policy` writes it', () => {
  assert.equal(text, withReference(text));
});

test('every operation and every rule is named', () => {
  for (const word of [...operations, ...rules.map((rule) => rule.id)]) assert.ok(text.includes(`\`${word}\``), word);
});

for (const [section, written] of Object.entries(examples)) {
  test(`the example of ${section} stands in the page and is taken`, () => {
    assert.ok(text.includes(written.trim()));
    const levels = section === 'levels' ? '' : 'levels: { SAFE: allow, LOW: allow, HIGH: hold, CRITICAL: deny }\n';
    const checked = checkPolicy(`name: shop\ndescription: An example.\n${levels}${written.trim()}\n`);
    assert.deepEqual(checked.kind === 'valid' ? checked.warnings : checked.mistakes, []);
  });
}

test('the example is a policy, and the mistake shown is the one that the parser reports', () => {
  assert.equal(parsePolicy(example, 'shop.yaml').name, 'shop');
  const shown = /^ {4}(shop\.yaml:.*)$/m.exec(text)?.[1];
  assert.throws(() => parsePolicy(example.replace('  tables:', '  table:'), 'shop.yaml'),
    (error) => error instanceof Failure && error.message === shown);
});

const columns: readonly (readonly [Level, Recoverability, Partial<Risk>])[] = [
  ['SAFE', 'not-needed', {}], ['LOW', 'not-needed', {}], ['HIGH', 'exact-rows', { destroys: true }], ['HIGH', 'not-needed', { effects: [{ kind: 'create' }] }], ['HIGH', 'none', { destroys: true }],
  ['CRITICAL', 'table', { destroys: true }], ['CRITICAL', 'not-needed', { effects: [{ kind: 'privilege' }] }], ['CRITICAL', 'none', { destroys: true }],
];
for (const [, name = '', cells = ''] of text.matchAll(/^\| `(observe|develop|protect|strict|read-only)`[^|]*\|(.*)\|$/gm)) {
  test(`the row of ${name} is what it decides`, async () => {
    const policy = await loadPolicy(name);
    const said = cells.split('|').map((cell) => cell.trim().split(/[ ,]/)[0]);
    const words = { allow: 'runs', hold: 'held', deny: 'denied' };
    const decided = columns.map(([level, recovery, more]) => {
      const risk: Risk = { level, reasons: [], effects: [], destroys: false, recoverability: 'not-needed', assumptions: [], ...more };
      return words[decide(policy.base, { risk, agent: 'ada', database: 'shop', recovery }).decision];
    });
    assert.deepEqual(said, decided);
  });
}
