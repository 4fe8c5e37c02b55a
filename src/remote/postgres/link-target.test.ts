/** Tests of connection strings: what they mean, what is refused, and that no password shows. */
import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { test } from 'node:test';
import { Failure } from '../../core/failure.ts';
import { describeAddress, parseConnectionString, type LinkTarget } from './link-target.ts';

function shown(target: LinkTarget): string {
  return [target.user, target.password?.reveal() ?? '-', describeAddress(target.address), target.database, target.tlsMode].join(' ');
}

const understood: readonly (readonly [text: string, expected: string])[] = [
  ['postgres://ada:secret@db.example.org:6543/shop?sslmode=verify-full', 'ada secret db.example.org:6543 shop verify-full'],
  ['postgresql://ada@localhost', 'ada - localhost:5432 ada prefer'],
  ['postgres://ada:p%40ss%3Aw%2Ford%25@h/d', 'ada p@ss:w/ord% h:5432 d prefer'],
  ['postgres://ada:secret@[::1]:7000/d', 'ada secret [::1]:7000 d prefer'],
  ['postgres://ada@/d?host=/var/run/postgresql', 'ada - /var/run/postgresql/.s.PGSQL.5432 d prefer'],
  ['postgres://ada@%2Ftmp%2Fpg:6000/d', 'ada - /tmp/pg/.s.PGSQL.6000 d prefer'],
  ['postgres://host/d?user=ada&password=p', 'ada p host:5432 d prefer'],
  ['postgres:///d?user=ada', 'ada - localhost:5432 d prefer'],
  ['postgres://ada:p@h/my%20db?sslmode=disable', 'ada p h:5432 my db disable'],
];
for (const [text, expected] of understood) {
  test(`${text} is ${expected}`, () => { assert.equal(shown(parseConnectionString(text)), expected); });
}

const refused: readonly (readonly [text: string, why: string])[] = [
  ['mysql://ada:hunter2@h/d', 'another scheme'],
  ['host=h password=hunter2', 'keywords instead of a URL'],
  ['postgres://:hunter2@h/d', 'no user'],
  ['postgres://ada:hunter2#x@h/d', 'an unescaped # that cuts the password'],
  ['postgres://ada:hunter2%@h/d', 'a broken escape in the password'],
  ['postgres://ada:hunter2@h:99999/d', 'a port out of range'],
  ['postgres://ada:hunter2@h/d?port=0', 'port zero'],
  ['postgres://ada:hunter2@h/d?sslmode=allow', 'an sslmode that is not offered'],
  ['postgres://ada:hunter2@h/d?options=-crole%3Dx', 'a parameter that is not understood'],
  ['postgres://ada:hunter2@a,b/d', 'several hosts'],
];
for (const [text, why] of refused) {
  test(`a connection string with ${why} is refused without repeating its password`, () => {
    assert.throws(() => parseConnectionString(text), (error) => {
      assert.ok(error instanceof Failure && error.code === 'config_invalid');
      assert.doesNotMatch(inspect(error, { depth: 10 }).replace(/\n\s+at .*/g, ''), /hunter2/);
      return true;
    });
  });
}

test('a target that is printed, logged or copied as JSON does not show its password', () => {
  const target = parseConnectionString('postgres://ada:hunter2@h/d');
  for (const text of [inspect(target, { depth: 10, showHidden: true }), JSON.stringify(target), String(target.password)]) assert.doesNotMatch(text, /hunter2/);
});
