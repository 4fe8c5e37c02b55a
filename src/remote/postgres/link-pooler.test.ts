/** Start-up parameters that a pooler does not take are set after the login. The real PgBouncer is in test/peers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../../core/failure.ts';
import { splitParameters } from './link-pooler.ts';

test('only what every PgBouncer tracks goes into the start-up message', () => {
  const { atStartup, later } = splitParameters(new Map([
    ['user', 'u'], ['database', 'd'], ['TimeZone', 'UTC'], ['DateStyle', 'ISO'], ['search_path', ''], ['extra_float_digits', '2'],
    ['options', '-c statement_timeout=5s --lock-timeout=1s'],
  ]));
  assert.deepEqual([...atStartup], [['user', 'u'], ['database', 'd'], ['TimeZone', 'UTC'], ['DateStyle', 'ISO']]);
  assert.deepEqual([...later], [['search_path', ''], ['extra_float_digits', '2'], ['statement_timeout', '5s'], ['lock_timeout', '1s']]);
});

test('options that are no settings cannot be set later', () => {
  assert.throws(() => splitParameters(new Map([['options', '-x']])), (error: unknown) => error instanceof Failure && error.code === 'config_invalid');
});
