/** A cancel request reaches the client that was given the key, and nobody else. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { CancelKeys } from './cancel.ts';

test('only the very key cancels, and only while its client is here', () => {
  const cancelled: string[] = [];
  const keys = new CancelKeys(randomBytes);
  const ada = keys.issue(4, () => { cancelled.push('ada'); });
  const bob = keys.issue(32, () => { cancelled.push('bob'); });
  assert.deepEqual([ada.secretKey.length, bob.secretKey.length], [4, 32]);
  keys.request({ processId: ada.processId, secretKey: bob.secretKey });
  keys.request({ processId: ada.processId, secretKey: Buffer.alloc(4) });
  keys.request({ processId: ada.processId, secretKey: Buffer.alloc(0) });
  keys.request({ processId: ada.processId + 1, secretKey: ada.secretKey });
  assert.deepEqual(cancelled, []);
  keys.request(bob);
  keys.withdraw(ada);
  keys.request(ada);
  assert.deepEqual(cancelled, ['bob']);
});

test('an id that is taken, or zero, is not given out', () => {
  const given = [Buffer.alloc(4), Buffer.from([0, 0, 0, 8]), Buffer.alloc(4, 1), Buffer.from([0, 0, 0, 9]), Buffer.from([0, 0, 0, 12]), Buffer.alloc(4, 2)];
  const keys = new CancelKeys(() => given.shift() ?? Buffer.alloc(4, 3));
  assert.equal(keys.issue(4, () => undefined).processId, 4);
  assert.equal(keys.issue(4, () => undefined).processId, 6);
});
