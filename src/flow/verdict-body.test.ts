/**
 * A verdict on record says what matters and stays small, whatever the statement, its objects and its search_path are.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Risk } from '../core/risk.ts';
import type { Verdict } from '../core/verdict.ts';
import { canonicalJson } from '../lib/canonical-json.ts';
import type { GuardRequest } from './guard.ts';
import { verdictBody } from './verdict-body.ts';

const entryBytesMax = 65_535;

interface Given { readonly text: string; readonly names: readonly string[]; readonly fired: Verdict['fired'] }

function bodyOf({ text, names, fired }: Given): ReturnType<typeof verdictBody> {
  const risk: Risk = {
    level: 'HIGH', destroys: false, recoverability: 'not-needed', assumptions: [],
    reasons: names.map((name) => ({ rule: `r.${name}`, level: 'HIGH', message: name })), effects: names.map((object) => ({ kind: 'update', object })),
  };
  const request: GuardRequest = {
    action: {
      kind: 'sql', id: 'act_1', actor: { kind: 'agent', name: 'a'.repeat(63) }, sessionId: 'ses_1', database: 'd'.repeat(63), role: 'r'.repeat(63), searchPath: names,
      text: 'never on record', redacted: text, fingerprint: 'f'.repeat(16), digest: 'd'.repeat(64), inTransaction: false,
    },
    risk, catalogVersion: 'c'.repeat(64), rejudge: () => Promise.reject(new Error('not asked')),
  };
  return verdictBody(request, { decision: 'hold', wouldBe: 'hold', level: 'HIGH', fired, policyName: 'p'.repeat(63), policyHash: 'p'.repeat(64) }, 'apr_1');
}

test('an ordinary statement is on record whole', () => {
  const text = 'UPDATE orders SET state = $1 WHERE id = $2 '.repeat(300);
  const names = Array.from({ length: 20 }, (_, index) => `public.table_${index}`);
  const body = bodyOf({ text, names, fired: [] });
  assert.equal(body.text, text);
  assert.deepEqual(body.effects, names.map((name) => `update ${name}`));
  assert.deepEqual(body.searchPath, names);
});

test('what is left out is said to be left out', () => {
  const body = bodyOf({ text: 'x'.repeat(1_000_000), names: Array.from({ length: 5_000 }, (_, index) => `schema_${index}`), fired: [] });
  assert.match(body.text, /…$/);
  assert.match(body.searchPath.at(-1) ?? '', /^and \d+ more$/);
  assert.equal(body.searchPath.length - 1 + Number(/\d+/.exec(body.searchPath.at(-1) ?? '')?.[0]), 5_000);
});

test('no verdict outgrows 64 KiB or lacks a canonical form, whatever it speaks of', () => {
  const nasty = fc.oneof(fc.string({ unit: 'binary', maxLength: 500 }), fc.constantFrom('\u0001'.repeat(50_000), '漢'.repeat(20_000), '\ud800'.repeat(400), '"\\'.repeat(40_000)));
  const rule = fc.record({ rule: fc.constant('level.HIGH'), decision: fc.constant('hold' as const), observed: nasty, threshold: nasty, message: nasty });
  fc.assert(fc.property(fc.record({ text: nasty, names: fc.array(nasty, { maxLength: 100 }), fired: fc.array(rule, { maxLength: 60 }) }), (given) => {
    assert.ok(Buffer.byteLength(canonicalJson(bodyOf(given))) <= entryBytesMax);
  }), { numRuns: 60 });
});
