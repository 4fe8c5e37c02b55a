/** Which names are refused where the server's encoding is not UTF-8. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../../core/failure.ts';
import { refuseForeignNames } from './foreign-names.ts';

const rows: readonly (readonly [sql: string, encoding: string, isRefused: boolean, why: string])[] = [
  ['DELETE FROM cafÉ', 'LATIN1', true, 'the server reads café'],
  ['DELETE FROM cafÉ', 'SQL_ASCII', true, 'what its letters are depends on the locale'],
  ['DELETE FROM "cafÉ"', 'LATIN1', false, 'quoted names stay as they are'],
  [`DELETE FROM "${'a'.repeat(62)}é"`, 'LATIN1', true, 'where it is cut depends on the encoding'],
  ["SELECT 'É' AS e -- É", 'LATIN1', false, 'values and comments are no names'],
  ['DELETE FROM CAFE', 'LATIN1', false, 'ASCII is the same everywhere'],
  ['DELETE FROM cafÉ', 'UTF8', false, 'there only ASCII letters change'],
];
for (const [sql, encoding, isRefused, why] of rows) {
  test(`${sql.slice(0, 40)} in ${encoding} ${isRefused ? 'is refused' : 'passes'}: ${why}`, () => {
    const refuse = (): void => { refuseForeignNames(sql, encoding); };
    if (isRefused) assert.throws(refuse, Failure);
    else refuse();
  });
}
