/** What counts as too much, and what the error says of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ceilingOf, excessOf, type Ceiling } from './ceiling.ts';
import { noImpact, unknownImpact, type Impact, type MeasuredImpact } from './impact.ts';

const measured: MeasuredImpact = {
  kind: 'measured', table: 'public.t', rows: 3, tableRows: { count: 50, isExact: true }, percent: 6, cascades: [], triggers: [], lock: null, sample: null,
};
const cascading: MeasuredImpact = { ...measured, cascades: [{ table: 'public.c', rows: 4, how: 'deleted by k (ON DELETE CASCADE)', isExact: true }] };
const triggering: MeasuredImpact = { ...cascading, triggers: [{ table: 'public.t', name: 'audit', when: 'after delete, for each row', function: 'public.audit', fires: 'origin' }] };

type Row = readonly [claim: string, impact: Impact, limits: Parameters<typeof ceilingOf>[1], isApproved: boolean, expected: Ceiling | undefined];
const rows: readonly Row[] = [
  ['what was approved is held to its preview, whatever the policy allows', measured, { max_rows: 1000 }, true, { rows: 3, total: 3, by: 'approval' }],
  ['rows of foreign keys were approved with it', cascading, {}, true, { rows: 3, total: 7, by: 'approval' }],
  ['triggers may change what the policy allows', triggering, { max_rows: 1000 }, true, { rows: 3, total: 1007, by: 'approval' }],
  ['or one row for each that fires them', triggering, { max_rows: 1 }, true, { rows: 3, total: 14, by: 'approval' }],
  ['without limits triggers are recorded and not limited', triggering, {}, true, { rows: 3, total: null, by: 'approval' }],
  ['what the policy allows is held to its limits', measured, { max_rows: 10, max_percent: 10 }, false, { rows: 5, total: 10, by: 'policy' }],
  ['a share of a small table is at least one row', { ...measured, tableRows: { count: 4, isExact: true } }, { max_percent: 10 }, false, { rows: 1, total: null, by: 'policy' }],
  ['a preview that failed leaves the policy\'s limits, approved or not', unknownImpact('it was not counted'), { max_rows: 10 }, true, { rows: null, total: 10, by: 'policy' }],
  ['an INSERT that a person approved has no number to be held to', noImpact, { max_rows: 10 }, true, undefined],
  ['an INSERT that the policy allows has', noImpact, { max_rows: 10 }, false, { rows: null, total: 10, by: 'policy' }],
  ['no limits, no ceiling', noImpact, {}, false, undefined],
];
for (const [claim, impact, limits, isApproved, expected] of rows) {
  test(claim, () => { assert.deepEqual(ceilingOf(impact, limits, isApproved), expected); });
}

test('the sentence has both numbers', () => {
  assert.equal(excessOf({ rows: 3, total: 7, by: 'approval' }, { rows: 3, elsewhere: 4 }), undefined);
  assert.equal(excessOf({ rows: 3, total: 7, by: 'approval' }, { rows: 4, elsewhere: 0 }), 'it changed 4 rows and was approved for 3');
  assert.equal(excessOf({ rows: null, total: 7, by: 'policy' }, { rows: 3, elsewhere: 5 }), 'it changed 8 rows (3 itself and 5 through foreign keys, triggers or functions) and may by policy change at most 7');
});
