/**
 * docs/connect.md shows the line that each driver needs; its code is what the drivers' programs, which are run through
 * the gateway, really do. A block is marked in its program by `[connect` and `connect]`.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { drivers } from './peers/drivers/drivers.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const text = readFileSync(join(root, 'docs/connect.md'), 'utf8');
const blocks = [...text.matchAll(/^```(\w+) (\S+)\n(.*?)^```$/gms)].map(([, language = '', file = '', code = '']) => ({ language, file, code }));

/** What stands between the marks, without the indentation of the first. */
function marked(file: string): string {
  const [, indent = '', code] = /^( *)(?:#|\/\/) \[connect\n(.*?)^ *(?:#|\/\/) connect\]/ms.exec(readFileSync(join(root, 'test/peers/drivers', file), 'utf8')) ?? [];
  assert.ok(code !== undefined, `${file} marks nothing`);
  return `${code.split('\n').map((line) => (line.startsWith(indent) ? line.slice(indent.length) : line)).join('\n').replace(/^\n+|\n+$/g, '')}\n`;
}

for (const { file, code } of blocks.filter(({ language }) => language !== 'ini')) {
  test(`the block of ${file} is what its program does`, () => { assert.equal(code, marked(file)); });
}

test('every driver that is tested has its block', () => {
  const headings = [...text.matchAll(/^### (.*)$/gm)].map(([, name = '']) => name);
  const names = [...new Set(drivers.map(({ name }) => name))];
  assert.deepEqual(names.filter((name) => !headings.some((heading) => heading === name || heading.startsWith(`${name} `))), []);
  assert.equal(blocks.filter(({ language }) => language !== 'ini').length, names.length);
});

test('the settings of PgBouncer are those of the tests', () => {
  const block = blocks.find(({ language }) => language === 'ini');
  const program = readFileSync(join(root, 'test/peers', block?.file ?? ''), 'utf8');
  for (const line of block?.code.trim().split('\n') ?? ['no block']) assert.ok(program.includes(`'${line}'`), line);
});

test('the SQLSTATEs are those of the table of failures', () => {
  const failures = readFileSync(join(root, 'src/core/failure.ts'), 'utf8');
  for (const state of ['42501', '55000', '54000', '58030', '08006', '53300']) assert.ok(failures.includes(`'${state}'`), state);
});
