/**
 * docs/hazards.md lists every numbered hazard, H1 to H95, with what shows that it is handled: tests and corpus rows that
 * name its number. A number without one, or a file that does not name it, fails here.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const hazardCount = 95;
const root = fileURLToPath(new URL('..', import.meta.url));

interface Row { readonly hazard: string; readonly name: string; readonly files: readonly string[] }

function readRows(markdown: string): readonly Row[] {
  return [...markdown.matchAll(/^\| (H\d+) \| ([^|]*) \| ([^|]*) \| [^|]*\|$/gm)].map(([, hazard = '', name = '', shown = '']) => (
    { hazard, name, files: [...shown.matchAll(/`([^`]+)`/g)].map(([, file = '']) => file) }));
}

/** What is wrong with a row; `read` gives the text of a file, or undefined when there is none. */
function flaws({ hazard, name, files }: Row, read: (file: string) => string | undefined): readonly string[] {
  const wrong = files.flatMap((file): readonly string[] => {
    const text = read(file);
    if (text === undefined) return [`${hazard}: there is no ${file}`];
    if (!/\.test\.ts$|corpus\/.*\.jsonl$/.test(file)) return [`${hazard}: ${file} is neither a test nor a corpus`];
    return new RegExp(`\\b${hazard}\\b`).test(text) ? [] : [`${hazard}: ${file} does not name it`];
  });
  return [...(files.length === 0 ? [`${hazard} has no test`] : []), ...(name.trim() === '' ? [`${hazard} has no name`] : []), ...wrong];
}

const rows = readRows(readFileSync(join(root, 'docs/hazards.md'), 'utf8'));

test('every number from H1 to H95 stands in the table once', () => {
  assert.deepEqual(rows.map(({ hazard }) => hazard), Array.from({ length: hazardCount }, (_, at) => `H${at + 1}`));
});

test('every hazard has a test or corpus row that names its number', () => {
  const read = (file: string): string | undefined => (existsSync(join(root, file)) ? readFileSync(join(root, file), 'utf8') : undefined);
  assert.deepEqual(rows.flatMap((row) => flaws(row, read)), []);
});

test('a row without a test, and one whose test names another number, are caught', () => {
  const [none, other, gone] = readRows('| H1 | a |  |  |\n| H2 | b | `x.test.ts` |  |\n| H3 | c | `y.test.ts` | later |\n');
  const read = (file: string): string | undefined => (file === 'x.test.ts' ? "it('holds (H22)')" : undefined);
  assert.deepEqual([none, other, gone].map((row) => (row === undefined ? undefined : flaws(row, read))), [['H1 has no test'], ['H2: x.test.ts does not name it'], ['H3: there is no y.test.ts']]);
});
