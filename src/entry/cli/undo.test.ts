/** When `backstop undo` asks, what it takes for a yes, and that without one nothing is done; and how several actions are shown. */
import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { Command } from 'commander';
import type { TableChange, UndonePoint, UndoReport } from '../../core/recovery/undo-plan.ts';
import type { CliDeps } from './command.ts';
import { addUndoCommand } from './undo.ts';
import { undoText } from './undo-text.ts';

const none = { insert: 0, delete: 0, 'put-back': 0, merge: 0, done: 0, conflict: 0, blocked: 0 };
const change = (given: Partial<TableChange>): TableChange => ({ table: 'app.orders', ...none, ...given });
const point = (given: Partial<UndonePoint> = {}): UndonePoint => ({
  recoveryPointId: 'rp_1', actionIds: ['act_1'], agent: 'ada', createdAt: '2026-11-21T19:00:00.000Z', texts: ['DELETE FROM orders'], changes: [change({ insert: 3 })], conflicts: [], made: [], ...given,
});

interface Ran { readonly out: string; readonly told: string; readonly applied: number }

async function run(args: readonly string[], typed: string | undefined, rowsLeft = 0): Promise<Ran> {
  let [out, told, applied] = ['', '', 0];
  const report: UndoReport = { database: 'shop', points: [point()], rowsLeft };
  const undo = {
    authenticate: () => Promise.resolve('olga'), plan: () => Promise.resolve(report),
    apply: (token: string) => {
      assert.equal(token, 'bso_1');
      applied += 1;
      return Promise.resolve({ ...report, applied: { actionId: 'act_9', recoveryPointId: 'rp_9' } });
    },
  };
  const deps: Pick<CliDeps, 'self' | 'print' | 'tell' | 'input' | 'now' | 'withUndo'> = {
    self: 'backstop', print: (text) => { out += text; return Promise.resolve(); }, tell: (text) => { told += text; }, now: () => new Date(0),
    input: Object.assign(Readable.from(typed === undefined ? [] : [typed]), { isTTY: typed !== undefined }), withUndo: (_config, _hooks, work) => work(undo),
  };
  const program = new Command('backstop').exitOverride();
  addUndoCommand(program, deps as CliDeps);
  await program.parseAsync(['undo', 'act_1', '--token', 'bso_1', ...args], { from: 'user' });
  return { out, told, applied };
}

const rows: readonly (readonly [what: string, args: readonly string[], typed: string | undefined, applied: number, isAsked: boolean, rowsLeft?: number])[] = [
  ['a yes in the terminal', [], 'yes\n', 1, true], ['a y in the terminal', [], 'Y\n', 1, true], ['anything else', [], 'no\n', 0, true], ['an empty line', [], '\n', 0, true], ['the end of input', [], '', 0, true],
  ['no terminal', [], undefined, 0, false], ['--yes', ['--yes'], undefined, 1, false], ['--json alone', ['--json'], 'yes\n', 0, false], ['--json --yes', ['--json', '--yes'], undefined, 1, false],
  ['rows in conflict without a choice', [], 'yes\n', 0, false, 2], ['rows in conflict to be skipped', ['--on-conflict', 'skip'], 'yes\n', 1, true, 2],
];
for (const [what, args, typed, applied, isAsked, rowsLeft] of rows) {
  test(`${what}: ${applied === 1 ? 'it is done' : 'nothing is done'}`, async () => {
    const ran = await run(args, typed, rowsLeft);
    assert.equal(ran.applied, applied);
    assert.equal(ran.told.includes('Undo this?'), isAsked);
    assert.match(ran.out, args.includes('--json') ? /^\{/ : /To undo: 1 action|Undone: 1 action/);
  });
}

test('several actions are shown one by one and their rows together, with what is made again', () => {
  const points = [point({ actionIds: ['act_3', 'act_2'], texts: ['UPDATE a', 'UPDATE b'], changes: [change({ 'put-back': 2 }), change({ table: 'app.items', delete: 1 })] }), point({ made: ['relation app.orders'] })];
  assert.equal(undoText({ database: 'shop', points, rowsLeft: 0 }, { self: 'backstop', again: 'backstop undo --since 1h', flags: '', policy: { onConflict: 'refuse', merges: false } }), `To undo: 3 actions in database shop

  act_3  ada  2026-11-21 19:00:00  UPDATE a
  act_2  ada  2026-11-21 19:00:00  UPDATE b
  act_1  ada  2026-11-21 19:00:00  DELETE FROM orders
  What was sent in one batch is undone together.

  Made again, or changed back:
    relation app.orders

  TABLE       COME BACK  PUT BACK  GO
  app.orders          3         2   -
  app.items           -         -   1

Nothing was changed. To do it:
  backstop undo --since 1h --yes
`);
});
