/** What an approver reads of a loss. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LossImpact } from '../../core/impact.ts';
import { impactCell, impactRows } from './impact-text.ts';

const loss: LossImpact = {
  kind: 'loss', verb: 'drop', named: { names: ['schema shed'], count: 1 }, also: { names: ['table shed.tool', 'table column public.child.m'], count: 52 },
  refusedBy: { names: ['view public.v'], count: 1 },
  tables: [{ table: 'shed.big', rows: { count: 1_200_000, isExact: false }, bytes: 3_221_225_472 }, { table: 'shed.tool', rows: { count: 1, isExact: true }, bytes: 24_576 }], tableCount: 3,
  rows: { count: 1_200_001, isExact: false }, bytes: 3_221_250_048,
  triggers: [{ table: 'shed.tool', name: 'noted', when: 'before truncate', function: 'public.note()', fires: 'always' }], lock: { mode: 'ACCESS EXCLUSIVE', heldBy: 2, writers: 0, waiting: 0 },
};

test('a loss is told by name, the rows first', () => {
  assert.deepEqual(impactRows(loss), [
    ['Impact', 'drops schema shed'], ['', 'about 1200001 rows of 3 tables would be lost (3 GB)'],
    ['Rows lost', 'about 1200000 rows of shed.big (3 GB)'], ['', '1 row of shed.tool (24 kB)'], ['', 'and 1 more'],
    ['Also drops', 'table shed.tool'], ['', 'table column public.child.m'], ['', 'and 50 more'], ['REFUSED BY', 'view public.v'],
    ['Triggers', 'noted of shed.tool fires (always, for replicated changes too) before truncate, and runs public.note(); what it changes is not counted'],
    ['Locks', 'ACCESS EXCLUSIVE on each of them until the transaction ends; would wait for 2 sessions holding a lock on the table'],
  ]);
  assert.equal(impactCell(loss), '~1200001');
});

test('what nobody could count is called unknown', () => {
  assert.equal(impactCell({ ...loss, rows: null }), 'unknown');
  assert.deepEqual(impactRows({ ...loss, verb: 'truncate', named: { names: [], count: 0 }, also: { names: [], count: 0 }, refusedBy: { names: [], count: 0 }, tables: [], tableCount: 0, triggers: [], lock: null }), [
    ['Impact', 'empties nothing that is there'],
  ]);
});
