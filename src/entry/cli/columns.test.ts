/**
 * Columns: what others wrote cannot act on the reader's terminal.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { columns, printable } from './columns.ts';

test('columns line up, the last one is as long as it comes, and a long cell is cut', () => {
  assert.equal(columns([['A', 'B', 'C'], ['long one', 'b', 'the rest of it']], 5), 'A      B  C\nlong…  b  the rest of it\n');
});

test('escape sequences and characters that turn the direction of writing are shown, not sent', () => {
  assert.equal(printable('a\u001b[2Jb\u202ec\u0007'), 'a\\u001b[2Jb\\u202ec\\u0007');
  assert.equal(printable('pay\u200bments\u061c\u2028\u00a0\u3164\u{e0041}\ud800'), 'pay\\u200bments\\u061c\\u2028\\u00a0\\u3164\\u{e0041}\\ud800', 'what cannot be seen is shown as well');
  assert.equal(printable('one\ntwo\tthree'), 'one two three');
  assert.equal(printable('Grüße 🐘'), 'Grüße 🐘');
});
