/**
 * Every mistake in a YAML file is named at its line and column, with what is allowed there.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { parseCheckedYaml } from './checked-yaml.ts';

const schema = z.strictObject({
  name: z.string().min(1),
  mode: z.enum(['enforce', 'observe']).default('enforce'),
  limits: z.strictObject({ rows: z.int().min(0).max(1000), words: z.array(z.enum(['one', 'two'])).default([]) }).prefault({ rows: 1 }),
});

test('a valid file gives its value with defaults filled in', () => {
  const result = parseCheckedYaml('name: a\nlimits:\n  rows: 5\n', schema);
  assert.ok(result.kind === 'valid');
  assert.deepEqual(result.value, { name: 'a', mode: 'enforce', limits: { rows: 5, words: [] } });
  assert.deepEqual([result.placeOf(['limits', 'rows']), result.placeOf(['limits', 'words'])], [{ line: 3, column: 9 }, { line: 3, column: 3 }]);
});

const rows: readonly (readonly [why: string, text: string, line: number, column: number, message: RegExp])[] = [
  ['an unknown key', 'name: a\nmoed: observe\n', 2, 1, /unknown key `moed`; allowed: name, mode, limits. Did you mean mode\?/],
  ['an unknown key inside', 'name: a\nlimits:\n  rows: 1\n  colums: 2\n', 4, 3, /unknown key `limits.colums`; allowed: rows, words/],
  ['a wrong word', 'name: a\nmode: obsrve\n', 2, 7, /`mode` is "obsrve"; allowed: enforce, observe. Did you mean observe\?/],
  ['a wrong word in a list', 'name: a\nlimits: { rows: 1, words: [one, tow] }\n', 2, 33, /`limits.words\[1\]` is "tow".*Did you mean two\?/],
  ['a missing key', 'mode: observe\n', 1, 1, /`name` is missing; it must be text/],
  ['an empty file', '', 1, 1, /`name` is missing/],
  ['a wrong type', 'name: [a]\n', 1, 7, /`name` must be text/],
  ['a number too large', 'name: a\nlimits: {rows: 1001}\n', 2, 16, /`limits.rows` is too large; the most is 1000/],
  ['a fraction', 'name: a\nlimits: {rows: 1.5}\n', 2, 16, /`limits.rows` must be a whole number/],
  ['a duplicate key', 'name: a\nname: b\n', 2, 1, /not valid YAML/],
  ['a tab as indentation', 'name: a\nlimits:\n\trows: 1\n', 3, 1, /not valid YAML/],
  ['a second document', 'name: a\n---\nname: b\n', 2, 1, /not valid YAML/],
  ['an unknown tag', 'name: !!js/function a\n', 1, 7, /not valid YAML/],
  ['another version, in which `<<` brings keys of its own', '%YAML 1.1\n---\nname: a\n<<: { mode: observe }\n', 1, 1, /only YAML 1\.2/],
  ['a list at the top', '- name\n', 1, 1, /must be a mapping of keys/],
];
for (const [why, text, line, column, message] of rows) {
  test(`${why} is named at its place`, () => {
    const result = parseCheckedYaml(text, schema);
    assert.equal(result.kind, 'invalid');
    const [first] = result.mistakes;
    assert.match(first?.message ?? '', message);
    assert.deepEqual([first?.line, first?.column], [line, column]);
  });
}

test('every mistake is named, in the order of the file', () => {
  const result = parseCheckedYaml('nmae: a\nmode: x\nlimits: {rows: -1}\n', schema);
  assert.equal(result.kind, 'invalid');
  assert.deepEqual(result.mistakes.map((mistake) => mistake.line), [1, 1, 2, 3]);
});

test('a value is not quoted back where the schema lists no words', () => {
  const result = parseCheckedYaml('name: [postgres://u:hunter2@h/d]\n', schema);
  assert.ok(!JSON.stringify(result).includes('hunter2'));
});

test('an explosion of aliases is refused, not expanded', () => {
  const bomb = ['a: &a [x,x,x,x,x,x,x,x,x]', ...'bcdefghi'.split('').map((name, index) => `${name}: &${name} [${Array(9).fill(`*${'abcdefgh'[index]}`).join(',')}]`)].join('\n');
  const result = parseCheckedYaml(bomb, schema);
  assert.equal(result.kind, 'invalid');
});
