/**
 * The rules by which documents are followed: what counts as a command, and what shown output may differ in.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backstopUses, patternOf, steady, stepsOf } from './document-steps.ts';

const fence = (language: string, ...lines: readonly string[]): string => ['```' + language, ...lines, '```'].join('\n');

test('each line of a shell block is a command, without its remark', () => {
  assert.deepEqual(stepsOf(fence('sh', 'npm run up   # until Ctrl-C', '', '# only a remark', 'npm test')).map(({ text, line }) => [text, line]),
    [['npm run up', 2], ['npm test', 5]]);
});

test('a console block has commands, statements, their output, and output that comes later', () => {
  const steps = stepsOf([fence('console', '$ bin/backstop log', 'a', 'b', 'shop=> SELECT 1;', ' 1'), fence('console', 'UPDATE 1')].join('\n'));
  assert.deepEqual(steps.map(({ kind, text, shown }) => [kind, text, shown]),
    [['shell', 'bin/backstop log', ['a', 'b']], ['sql', 'SELECT 1;', [' 1']], ['more', '', ['UPDATE 1']]]);
});

test('other blocks hold no commands', () => {
  assert.deepEqual(stepsOf(fence('yaml', '$ rm -r /')), []);
});

test('a block that is never closed is an error', () => {
  assert.throws(() => stepsOf('```sh\nnpm test'));
});

const same: readonly (readonly [shown: string, printed: string])[] = [
  ['apr_k3d9 waits', 'apr_zzzz waits'], ['2026-01-02 03:04:05  a', '2027-11-12 13:14:15 a'], ['ERROR:  denied: …', 'ERROR:  denied: why\nDETAIL:  much'],
  [' count \n-------\n 3', '  count\n----\n     3\n'], ['took 3 ms', 'took 12.5 ms'],
];
for (const [shown, printed] of same) {
  test(`what is shown holds for what is printed: ${JSON.stringify(shown)}`, () => { assert.match(steady(printed), patternOf(shown.split('\n'))); });
}

const different: readonly (readonly [shown: string, printed: string])[] = [
  ['UPDATE 1', 'UPDATE 2'], ['UPDATE 1', 'UPDATE 1\nUPDATE 1'], ['ERROR: denied', 'NOTICE: held\nERROR: denied'], ['a.c', 'abc'],
];
for (const [shown, printed] of different) {
  test(`what is shown is not what is printed: ${JSON.stringify(shown)} and ${JSON.stringify(printed)}`, () => { assert.doesNotMatch(steady(printed), patternOf(shown.split('\n'))); });
}

test('commands of the program are found in blocks, behind pipes and in the text', () => {
  const text = ['Run `backstop agents add NAME [--json]` or `backstop`, not a backstop.', fence('console', "$ cat a | bin/backstop classify --jsonl -", '$ bin/backstop classify "DELETE FROM a"')].join('\n');
  assert.deepEqual(backstopUses(text).map(({ words }) => words),
    [['agents', 'add', 'NAME', '--json'], [], ['classify', '--jsonl', '-'], ['classify', '"DELETE FROM a"']]);
});
