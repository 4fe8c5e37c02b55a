/**
 * Words under `blocked:` match the effects they name, and everything that cannot be told from them.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Effect } from '../risk.ts';
import { isOperation, operations } from './operation.ts';
import type { Operation } from './operation.ts';

const rows: readonly (readonly [Operation, Effect, boolean, string])[] = [
  ['drop-table', { kind: 'drop', objectKind: 'table', object: 'public.a' }, true, 'a table is dropped'],
  ['drop-table', { kind: 'drop', objectKind: 'view', object: 'public.v' }, false, 'a view is no table'],
  ['drop-table', { kind: 'drop', object: 'public.a' }, true, 'a drop that does not say of what may be of a table'],
  ['drop', { kind: 'drop', objectKind: 'view', object: 'public.v' }, true, 'a whole kind takes every object'],
  ['drop-schema', { kind: 'create', objectKind: 'schema', object: 's' }, false, 'creating is not dropping'],
  ['truncate', { kind: 'truncate', objectKind: 'table', object: 'public.a' }, true, 'truncate'],
  ['program', { kind: 'program' }, true, 'a program'],
  ['program', { kind: 'file' }, false, 'a file is no program'],
  ['alter-system', { kind: 'server', objectKind: 'setting', object: 'work_mem' }, true, 'ALTER SYSTEM'],
  ['role-change', { kind: 'session', objectKind: 'role' }, true, 'SET ROLE'],
  ['role-change', { kind: 'session', objectKind: 'setting', object: 'work_mem' }, false, 'an ordinary SET'],
  ['role-change', { kind: 'session', objectKind: 'setting', object: 'Role' }, true, 'the setting behind SET ROLE'],
  ['role-change', { kind: 'session', object: 'session_authorization' }, true, 'the setting behind SET SESSION AUTHORIZATION'],
  ['role-change', { kind: 'session' }, false, 'a cursor, a DISCARD: the level speaks for what is not named'],
];
for (const [operation, effect, expected, why] of rows) {
  test(`${operation}: ${why}`, () => { assert.equal(isOperation(operation, effect), expected); });
}

test('no word blocks every read, and none blocks what is unknown under another name', () => {
  assert.ok(!operations.some((operation) => isOperation(operation, { kind: 'read', object: 'public.a', objectKind: 'table' })));
  assert.ok(!operations.some((operation) => isOperation(operation, { kind: 'unknown' })));
});
