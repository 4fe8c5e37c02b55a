/**
 * What was reserved for an action that waited over a boundary of windows is given back where it was taken: given back to
 * the window of now it would be a gift.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Impact } from '../core/impact.ts';
import { noUse } from '../core/policy/budgets.ts';
import { parsePolicy } from '../core/policy/policy.ts';
import type { Risk } from '../core/risk.ts';
import type { Budgets } from '../store/budgets.ts';
import { spend, type Spending } from './spending.ts';

const policy = parsePolicy('name: b\ndescription: d\nlevels: { SAFE: allow, LOW: allow, HIGH: hold, CRITICAL: deny }\nbudgets: [{ per: minute, rows_changed: 100 }]\n', 'b.yaml');
const update: Risk = { level: 'HIGH', reasons: [], effects: [{ kind: 'update', object: 'public.t', objectKind: 'table' }], destroys: true, recoverability: 'exact-rows', assumptions: [] };
const impact: Impact = { kind: 'measured', table: 'public.t', rows: 40, tableRows: null, percent: null, cascades: [], triggers: [], lock: null, sample: null };
const begun = new Date('2026-03-02T12:30:50.000Z');

async function spent(after: (spending: Spending) => void): Promise<readonly unknown[]> {
  const added: unknown[] = [];
  const budgets: Budgets = { used: () => noUse, take: () => Promise.resolve(noUse), add: (_agent, amounts, at) => { added.push([amounts, at]); }, close: () => Promise.resolve() };
  after(await spend({ budgets, policy: () => policy, clock: { now: () => begun } }, 'ada', update, impact));
  return added;
}

test('what does not run is given back whole', async () => {
  assert.deepEqual(await spent((spending) => { spending.giveBack(); }), [[{ statements: -1, rowsChanged: -40 }, begun]]);
});

test('what ran and changed less gives the rest back', async () => {
  assert.deepEqual(await spent((spending) => {
    spending.ran(30);
    spending.settled({ kind: 'committed', rows: 30, durationMs: 1 });
  }), [[{ rowsChanged: -10 }, begun]]);
});

test('what it changed beyond is counted now', async () => {
  assert.deepEqual(await spent((spending) => {
    spending.ran(45);
    spending.settled({ kind: 'committed', rows: 45, elsewhere: 3, durationMs: 1 });
  }), [[{ rowsChanged: 5 }, undefined], [{ rowsChanged: 3 }, undefined]]);
});
