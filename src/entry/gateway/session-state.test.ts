/** What is known of a session after what was let through, and when the server must be asked again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nothing, type EffectKind, type Risk } from '../../core/risk.ts';
import type { SessionChange, SessionFacts, Statement } from '../../core/sql/statement.ts';
import { Registry } from './registry.ts';
import { SessionState } from './session-state.ts';

const statement = (node: string, changes: readonly SessionChange[] = [], verb?: 'rollback-to'): Statement => ({
  node, text: '', own: nothing, changes, mentions: { relations: [], functions: [], operators: [], types: [], attributes: [], ctes: [] },
  ...(verb === undefined ? {} : { transaction: { verb, chain: false } }),
});
const risk = (kind: EffectKind): Risk => ({ ...nothing, level: 'HIGH', effects: [{ kind }] });
const advance = (session: SessionFacts, { changes, transaction }: Statement): SessionFacts => {
  let next = transaction?.verb === 'rollback-to' ? { ...session, searchPath: null } : session;
  for (const change of changes) {
    if (change.kind === 'search-path') next = { ...next, searchPath: change.path };
    if (change.kind === 'temporary-relation') next = { ...next, temporary: new Set([...next.temporary, change.name]) };
    if (change.kind === 'catalog') next = { ...next, catalogChanged: true };
  }
  return next;
};

function known(): SessionState {
  const state = new SessionState(new Registry(), '', advance);
  assert.ok(state.isStale, 'nothing is known before the server was asked');
  state.learnt(['public'], 'ada');
  return state;
}

const temporary = statement('CreateStmt', [{ kind: 'temporary-relation', name: 'mine' }]);
const rows: readonly (readonly [what: string, act: (state: SessionState) => void, path: readonly string[] | null, isStale: boolean, areNamesStale: boolean])[] = [
  ['a read changes nothing', (state) => state.letThrough(statement('SelectStmt'), nothing), ['public'], false, false],
  ['SET search_path holds for the rest of the batch and is then asked for', (state) => state.letThrough(statement('VariableSetStmt', [{ kind: 'search-path', path: ['a'] }]), nothing), ['a'], true, false],
  ['a path that was computed is not known', (state) => state.letThrough(statement('SelectStmt', [{ kind: 'search-path', path: null }]), risk('session')), null, true, false],
  ['code that nobody read may have changed path and names', (state) => state.letThrough(statement('DoStmt'), risk('unknown')), null, true, true],
  ['a call of what is not known too', (state) => state.letThrough(statement('SelectStmt'), risk('call')), null, true, true],
  ['DISCARD ALL resets the path', (state) => state.letThrough(statement('DiscardStmt', [{ kind: 'reset-all' }]), nothing), ['public'], true, false],
  ['the end of a transaction that had SET may have taken it back', (state) => {
    state.letThrough(statement('VariableSetStmt', [{ kind: 'search-path', path: ['a'] }]), nothing);
    state.learnt(['a'], 'ada');
    state.transactionEnded('rolled-back');
  }, null, true, false],
  ['an error may have taken it back as well', (state) => {
    state.letThrough(statement('VariableSetStmt', [{ kind: 'search-path', path: ['a'] }]), nothing);
    state.learnt(['a'], 'ada');
    state.failed();
  }, null, true, false],
  ['an error in a session that had SET nothing changes nothing', (state) => state.failed(), ['public'], false, false],
  ['ROLLBACK TO makes the path unknown until it is asked for', (state) => state.letThrough(statement('TransactionStmt', [], 'rollback-to'), nothing), null, true, false],
  ['a path that the server reports by itself is asked for', (state) => state.reported(['b']), null, true, false],
  ['the path that is known anyway is not', (state) => state.reported(['public']), ['public'], false, false],
];
for (const [what, act, path, isStale, areNamesStale] of rows) {
  test(what, () => {
    const state = known();
    act(state);
    assert.deepEqual([state.facts.searchPath, state.isStale, state.areNamesStale], [path, isStale, areNamesStale]);
  });
}

test('a temporary table is known as such in its transaction, and doubted after its end until the server was asked', () => {
  const state = known();
  state.letThrough(temporary, nothing);
  assert.ok(state.facts.temporary.has('mine') && !state.isPlain);
  state.transactionEnded('committed');
  assert.ok(state.areNamesStale && !state.facts.temporary.has('mine') && state.facts.temporaryOpaque.has('mine'), 'ON COMMIT DROP may have dropped it');
  state.learntRelations({ plain: new Set(['mine']), opaque: new Set() });
  assert.ok(state.facts.temporary.has('mine') && !state.facts.temporaryOpaque.has('mine'));
});

test('a temporary table that something was defined on is not plain until the server says so', () => {
  const state = known();
  state.learntRelations({ plain: new Set(['mine']), opaque: new Set() });
  state.letThrough(statement('CreateTrigStmt', [{ kind: 'catalog' }]), nothing);
  assert.ok(state.areNamesStale && state.facts.temporaryOpaque.has('mine'));
});

test('DDL makes the catalog due once its transaction has ended, not before', () => {
  const state = known();
  state.letThrough(statement('CreateStmt', [{ kind: 'catalog' }]), nothing);
  assert.deepEqual([state.facts.catalogChanged, state.isCatalogDue, state.isPlain], [true, false, false]);
  state.transactionEnded('committed');
  assert.deepEqual([state.facts.catalogChanged, state.isCatalogDue], [false, true]);
});

test('every change of what a name may mean starts a new epoch', () => {
  const state = known();
  const before = state.epoch;
  state.letThrough(statement('SelectStmt'), nothing);
  assert.equal(state.epoch, before);
  state.letThrough(temporary, nothing);
  assert.ok(state.epoch > before);
});
