/**
 * Every code tells one story in psql, over HTTP and on the command line, and says what to do now.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure, failureKinds } from './failure.ts';
import type { FailureCode } from './failure.ts';

const codes = Object.keys(failureKinds) as FailureCode[];

for (const code of codes) {
  test(`${code} has a SQLSTATE, an HTTP status, an exit code and a hint`, () => {
    const failure = new Failure(code, 'it did not work');
    assert.match(failure.sqlstate, /^[0-9A-Z]{5}$/);
    assert.ok(!/^0[01]/.test(failure.sqlstate), 'classes 00 and 01 are success and warning');
    assert.ok(failure.httpStatus >= 400 && failure.httpStatus <= 599);
    assert.ok(failure.exitCode >= 2 && failure.exitCode <= 125, '1 is a crash of Node, 126 and up belong to the shell');
    assert.match(failure.hint, /^[A-Z].*\.$/);
  });
}

test('an exit code of one kind of trouble is not that of another', () => {
  const groups: readonly (readonly FailureCode[])[] = [['usage'], ['upstream_unavailable', 'store_unavailable'], ['ledger_broken'], ['authentication_failed', 'not_permitted'], ['internal']];
  const exits = groups.map((group) => new Set(group.map((code) => failureKinds[code].exitCode)));
  assert.ok(exits.every((exit) => exit.size === 1));
  assert.equal(new Set(exits.flatMap((exit) => [...exit])).size, groups.length);
});

test('a failure carries its message, detail and cause, and a hint of its own replaces that of the table', () => {
  const cause = new Error('ENOSPC');
  const failure = new Failure('store_unavailable', 'the store is full', { detail: '0 bytes free', hint: 'Make room.', cause });
  assert.deepEqual([failure.message, failure.detail, failure.hint, failure.cause, failure.name], ['the store is full', '0 bytes free', 'Make room.', cause, 'Failure']);
  assert.equal(new Failure('conflict', 'm').detail, undefined);
});
