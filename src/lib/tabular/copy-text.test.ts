/** COPY text is read as PostgreSQL writes it, and CSV is written as PostgreSQL reads it; the server has its say in test/integration/snapshots-export.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { copyRows, type TextRow } from './copy-text.ts';
import { csvLine } from './csv.ts';

const rows: readonly (readonly [what: string, text: string, columns: number, rows: readonly TextRow[]])[] = [
  ['plain values', '1\ta b\n2\tc\n', 2, [['1', 'a b'], ['2', 'c']]],
  ['NULL and an empty text', '\\N\t\n', 2, [[null, '']]],
  ['every letter that stands for a character', '\\b\\f\\n\\r\\t\\v\\\\\n', 1, [['\b\f\n\r\t\v\\']]],
  ['a text that looks like NULL', '\\\\N\n', 1, [['\\N']]],
  ['a backslash before a letter of a value', 'C:\\\\new\\\\table\n', 1, [['C:\\new\\table']]],
  ['bytes by their numbers', '\\101\\x42\\7\n', 1, [['AB\u0007']]],
  ['no columns', '\n\n', 0, [[], []]],
  ['one empty column', '\n', 1, [['']]],
  ['nothing', '', 3, []],
];
for (const [what, text, columns, expected] of rows) test(`COPY text: ${what}`, () => { assert.deepEqual([...copyRows(text, columns)], expected); });

test('COPY text that is cut, or of other columns, is refused', () => {
  assert.throws(() => [...copyRows('1\t2', 2)], RangeError);
  assert.throws(() => [...copyRows('1\t2\n', 3)], RangeError);
  assert.throws(() => [...copyRows('1\n', 0)], RangeError);
});

test('CSV tells NULL from an empty text and quotes what would be read otherwise', () => {
  assert.equal(csvLine([null, '', 'a', 'a,b', 'say "hi"', 'two\nlines', 'r\r', '\\.', ' b ', '\\N']), ',"",a,"a,b","say ""hi""","two\nlines","r\r","\\.", b ,\\N\n');
  assert.equal(csvLine([]), '\n');
});
