/** Which start-up parameters pass, and that none can carry a setting past the judgement. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../../core/failure.ts';
import { readStartupParameters } from './startup-parameters.ts';

const read = (more: Readonly<Record<string, string>>) => readStartupParameters(new Map([['user', 'ada'], ...Object.entries(more)]));

const passing: readonly (readonly [name: string, value: string, sent: readonly [string, string] | null])[] = [
  ['application_name', 'psql', ['application_name', 'psql']],
  ['timezone', 'UTC', ['TimeZone', 'UTC']],
  ['DateStyle', 'ISO', ['DateStyle', 'ISO']],
  ['extra_float_digits', '3', ['extra_float_digits', '3']],
  ['client_encoding', "'utf-8'", null],
  ['client_encoding', 'UNICODE', null],
  ['options', '-c TimeZone=UTC --extra-float-digits=2', ['extra_float_digits', '2']],
  ['options', '', null],
  ['replication', 'off', null],
];
for (const [name, value, sent] of passing) {
  test(`${name}=${value} passes`, () => {
    const { parameters } = read({ [name]: value });
    if (sent === null) assert.equal(parameters.size, 0);
    else assert.equal(parameters.get(sent[0]), sent[1]);
  });
}

const refused: readonly (readonly [name: string, value: string, why: string])[] = [
  ['database', 'd'.repeat(64), 'the server would cut it and open another'],
  ['search_path', 'evil', 'names would resolve elsewhere before anything is judged (CVE-2025-12819)'],
  ['options', '-c search_path=evil', 'the same through options'],
  ['options', '-csession_replication_role=replica', 'triggers off'],
  ['options', '--role=postgres', 'another role'],
  ['options', '-d 5', 'a switch that is no setting'],
  ['options', '-c', 'a switch without its value'],
  ['client_encoding', 'SJIS', 'a backslash may end a character (CVE-2006-2314)'],
  ['options', '-c client_encoding=GBK', 'the same through options'],
  ['standard_conforming_strings', 'off', 'strings would be read otherwise'],
  ['replication', 'database', 'another grammar'],
  ['replication', 'true', 'another grammar'],
  ['replication', '', 'unclear is refused'],
  ['application_name', 'x'.repeat(257), 'unbounded'],
];
for (const [name, value, why] of refused) {
  test(`${name}=${value.slice(0, 40)} is refused: ${why}`, () => {
    assert.throws(() => read({ [name]: value }), Failure);
  });
}

test('a start-up without a user is refused', () => {
  assert.throws(() => readStartupParameters(new Map()), (error) => error instanceof Failure && error.code === 'authentication_failed');
});
