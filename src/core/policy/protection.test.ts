/** What a policy wants kept, and what it has set aside in place of being copied. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Coverage } from '../recovery/coverage.ts';
import { nothing, type Risk } from '../risk.ts';
import { parsePolicy, type EffectivePolicy } from './policy.ts';
import { promiseOf, protectionOf } from './protection.ts';

const policy = (recovery: string, more = ''): EffectivePolicy => parsePolicy(`name: t\ndescription: t\nlevels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: allow }\nrecovery: ${recovery}\n${more}`, 't.yaml').base;
const drops = (...tables: readonly string[]): Coverage => ({ scope: 'table', method: 'tables', tables, sentence: 'All is copied.', lost: [], canSetAside: true });
const critical: Risk = { ...nothing, level: 'CRITICAL' };

const cases: readonly (readonly [why: string, policy: EffectivePolicy, coverage: Coverage, method: Coverage['method']])[] = [
  ['no bin: copied', policy('{ required_from: HIGH }'), drops('public.events'), 'tables'],
  ['a bin for it', policy('{ required_from: HIGH, recycle_bin: { tables: [events] } }'), drops('public.events'), 'tombstone'],
  ['by a pattern', policy('{ required_from: HIGH, recycle_bin: { tables: ["big.*"] } }'), drops('big.a', 'big.b'), 'tombstone'],
  ['one of two is not for the bin, so neither is', policy('{ required_from: HIGH, recycle_bin: { tables: ["big.*"] } }'), drops('big.a', 'small.b'), 'tables'],
  ['emptied, not dropped', policy('{ required_from: HIGH, recycle_bin: { tables: [events] } }'), { ...drops('public.events'), canSetAside: false }, 'tables'],
  ['nothing is kept of anything', policy('{ required_from: never, recycle_bin: { tables: [events] } }'), drops('public.events'), undefined],
];
for (const [why, given, coverage, method] of cases) {
  test(`what is kept of a DROP TABLE: ${why}`, () => {
    assert.equal(protectionOf(given, critical, coverage)?.method, method);
    assert.equal(promiseOf(given, critical, coverage)?.method, method);
  });
}

test('a table that is set aside is told so, with what that does not guard against', () => {
  const promise = promiseOf(policy('{ required_from: HIGH, recycle_bin: { tables: ["*"] } }'), critical, drops('public.events'));
  assert.match(promise?.sentence ?? '', /public\.events is set aside in the database itself/);
  assert.match(promise?.lost.join(' ') ?? '', /not out of reach of what befalls the server/);
});
