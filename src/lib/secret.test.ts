/**
 * A Secret shows itself to reveal() alone: not to templates, JSON, inspection, enumeration or the log.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { createLog } from './log.ts';
import { Secret } from './secret.ts';

const value = 'hunter2-a4f0';
const secret = new Secret(value);

test('no way of printing a secret shows it', () => {
  const lines: string[] = [];
  createLog({ level: 'info', destination: { write: (line) => { lines.push(line); } } }).info({ upstream: secret, deep: { a: [secret] } }, `at ${secret}`);
  const shown = [`${secret}`, String(secret), JSON.stringify({ secret }), inspect({ secret }, { depth: 9, showHidden: true }),
    JSON.stringify(Object.entries(secret)), JSON.stringify(structuredClone({ ...secret })), ...lines];
  for (const text of shown) assert.ok(!text.includes(value), text);
  assert.equal(lines.length, 1);
});

test('reveal gives the value, and equals compares it', () => {
  assert.equal(secret.reveal(), value);
  assert.equal(secret.equals(value), true);
  assert.equal(secret.equals(`${value} `), false);
  assert.equal(secret.equals(''), false);
});
