/**
 * Assertions throw Bug, never a failure that somebody might handle, and pass values through untouched.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assert as check, Bug, present } from './assert.ts';

test('a broken assertion is a Bug that says what was thought impossible', () => {
  assert.throws(() => check(1 > 2, 'order is kept'), (error) => error instanceof Bug && error.message === 'order is kept');
  check(true, 'never thrown');
});

test('present passes falsy values and refuses only null and undefined', () => {
  assert.equal(present(0, 'count'), 0);
  assert.equal(present('', 'name'), '');
  assert.throws(() => present(null, 'socket'), /socket is missing/);
  assert.throws(() => present(undefined, 'socket'), Bug);
});
