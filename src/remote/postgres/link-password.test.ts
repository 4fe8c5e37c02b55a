/** Tests of the passfile: which line fits, and what its escapes mean. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findPassword } from './link-password.ts';

const file = [
  '# db:5432:shop:ada:commented out', 'too:few', 'db:5432:shop:ada:', 'db:5432:shop:ada:exact', 'db:*:*:ada:any port',
  String.raw`we\:ird\\:5432:*:ada:a\:b\\c`, '*:*:*:bob:everywhere:and more', '',
].join('\r\n');

const rows: readonly (readonly [wanted: readonly string[], password: string | undefined, why: string])[] = [
  [['db', '5432', 'shop', 'ada'], 'exact', 'the first line that fits and holds a password'],
  [['db', '6000', 'shop', 'ada'], 'any port', 'a star fits anything'],
  [['other', '5432', 'shop', 'ada'], undefined, 'no line fits'],
  [['we:ird\\', '5432', 'x', 'ada'], 'a:b\\c', 'a backslash takes the next character as it is'],
  [['x', '1', 'y', 'bob'], 'everywhere', 'the password ends at the next colon'],
  [['*', '5432', 'shop', 'eve'], undefined, 'a star in what is looked for is no star'],
];
for (const [wanted, password, why] of rows) {
  test(`${wanted.join(' ')}: ${why}`, () => { assert.equal(findPassword(file, wanted), password); });
}
