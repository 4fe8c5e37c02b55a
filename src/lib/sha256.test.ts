/**
 * The digest is the one that FIPS 180-4 gives, whatever the form or split of the input.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sha256, sha256Hex } from './sha256.ts';

test('the standard vector for abc comes out, whole, in parts and as bytes', () => {
  const abc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
  assert.equal(sha256Hex('abc'), abc);
  assert.equal(sha256Hex('a', 'b', Buffer.from('c')), abc);
  assert.equal(sha256('abc').length, 32);
});
