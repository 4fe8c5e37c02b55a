/**
 * The rules of the house as a test: rooms and imports, sizes, names, opening comments, words and documents. Each rule is
 * first shown to catch a bad example, then held against every file of the repository; a failure is a list of
 * `path:line: what is wrong`.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { capabilityRows, capabilityViolations, dependencyViolations } from './tidy/documents.ts';
import { importViolations, purityViolations } from './tidy/rooms.ts';
import { constructViolations, exportViolations, nameViolations, openingViolations, sizeViolations, unusedExportViolations } from './tidy/shape.ts';
import { readSource } from './tidy/source.ts';
import type { Source, Violation } from './tidy/source.ts';
import { placeViolations, planViolations, productWordViolations } from './tidy/words.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const skippedFolders: ReadonlySet<string> = new Set(['node_modules', '.git', 'dist', '.backstop']);
const textBytesMax = 2_000_000;

const everything = walk(root);
const sources = everything.filter((path) => /^(src|test|scripts)\/.*\.ts$/.test(path) && !path.endsWith('.d.ts')).map((path) => readSource(path, read(path)));
const code = everything.filter((path) => /^(src|test|scripts|migrations|bin)\/.*\.(ts|mjs|js|sh|sql|yaml)$/.test(path) || /^(bin|\.ci)\/[^.]+$/.test(path));
const texts = everything.filter((path) => path !== 'package-lock.json' && !/\.(png|jpg|ico|wasm|gz|tgz)$/.test(path) && statSync(join(root, path)).size <= textBytesMax);

function walk(folder: string): readonly string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry): readonly string[] => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return skippedFolders.has(entry.name) ? [] : walk(path);
    return entry.isFile() && !/\.(tgz|log)$/.test(entry.name) ? [relative(root, path).split(sep).join('/')] : [];
  });
}

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

function hold(name: string, violations: readonly Violation[]): void {
  test(name, () => {
    const lines = violations.map(({ path, line, what }) => `${path}:${line}: ${what}\n    ${(read(path).split('\n')[line - 1] ?? '').trim().slice(0, 140)}`);
    assert.ok(lines.length === 0, `${lines.length} violations\n${lines.join('\n')}`);
  });
}

const overSources = (rule: (source: Source) => readonly Violation[]): readonly Violation[] => sources.flatMap(rule);

hold('each room imports only what it may', overSources(importViolations));
hold('core is pure', overSources(purityViolations));
hold('files have at most 400 lines and functions at most 70', overSources(sizeViolations));
hold('exports have names, and no file only passes names on', overSources(exportViolations));
hold('what is exported is used elsewhere', unusedExportViolations(sources));
hold('no any, no foreign permits, no environment outside config.ts, no test alone', overSources(constructViolations));
hold('names are kebab-case and say something', everything.filter((path) => /^(src|test|scripts)\//.test(path) && path.endsWith('.ts')).flatMap(nameViolations));
hold('each file opens with a comment', code.flatMap((path) => openingViolations(path, read(path))));
hold('no plans in files', code.filter((path) => !path.startsWith('test/tidy')).flatMap((path) => planViolations(path, read(path))));
hold('lib knows nothing of the product', everything.filter((path) => path.startsWith('src/lib/')).flatMap((path) => productWordViolations(path, read(path))));
hold('no path of one machine and no registry in any file', texts.filter((path) => !path.startsWith('test/tidy')).flatMap((path) => placeViolations(path, read(path))));
hold('every capability is planned or names a test that exists',
  capabilityViolations('docs/capabilities.md', read('docs/capabilities.md'), (path) => (existsSync(join(root, path)) ? read(path) : undefined)));
hold('dependencies are pinned', dependencyViolations('package.json', read('package.json')));

test('the rules look at the whole repository', () => {
  assert.ok(sources.length > 30 && texts.length > sources.length);
  assert.ok(capabilityRows(read('docs/capabilities.md')).length > 20);
});

type Rule = (source: Source) => readonly Violation[];
const bad: readonly (readonly [what: string, rule: Rule, path: string, text: string, line: number])[] = [
  ['core imports a package', importViolations, 'src/core/a.ts', "import { x } from 'pg';", 1],
  ['core imports the system', importViolations, 'src/core/a.ts', "import { x } from 'node:fs';", 1],
  ['core imports flow, a type only', importViolations, 'src/core/a.ts', "import type { X } from '../flow/x.ts';", 1],
  ['lib imports core', importViolations, 'src/lib/pgwire/a.ts', "\nimport { X } from '../../core/x.ts';", 2],
  ['lib imports core in a type', importViolations, 'src/lib/a.ts', "const x: import('../core/x.ts').X = 1;", 1],
  ['flow imports the value of a store', importViolations, 'src/flow/a.ts', "import { x } from '../store/x.ts';", 1],
  ['an entry imports a flow', importViolations, 'src/entry/http/a.ts', "import { x } from '../../flow/x.ts';", 1],
  ['an entry loads a flow late', importViolations, 'src/entry/http/a.ts', "const x = await import('../../flow/x.ts');", 1],
  ['an entry imports another, a type only', importViolations, 'src/entry/http/a.ts', "import type { X } from '../gateway/x.ts';", 1],
  ['an entry passes a store on', importViolations, 'src/entry/http/a.ts', "export { x } from '../../store/x.ts';", 1],
  ['flow imports an entry, a type only', importViolations, 'src/flow/a.ts', "import type { X } from '../entry/cli/x.ts';", 1],
  ['store imports remote, a type only', importViolations, 'src/store/a.ts', "import type { X } from '../remote/x.ts';", 1],
  ['flow imports the value of config', importViolations, 'src/flow/a.ts', "import { loadConfig } from '../config.ts';", 1],
  ['config imports the value of the app', importViolations, 'src/config.ts', "import { serve } from './app/serve.ts';", 1],
  ['an import without its ending', importViolations, 'src/flow/a.ts', "import { x } from './b';", 1],
  ['src imports test', importViolations, 'src/flow/a.ts', "import { x } from '../../test/b.ts';", 1],
  ['core waits', purityViolations, 'src/core/a.ts', 'export async function f() {}', 1],
  ['core reads the clock', purityViolations, 'src/core/a.ts', 'export const a = 1;\nexport const now = () => Date.now();', 2],
  ['core stamps the time', purityViolations, 'src/core/a.ts', 'export const now = () => new Date();', 1],
  ['core throws dice', purityViolations, 'src/core/a.ts', 'export const die = () => Math.random();', 1],
  ['core prints', purityViolations, 'src/core/a.ts', 'console.log(1);', 1],
  ['core promises', purityViolations, 'src/core/a.ts', 'export interface A { f(): Promise<void> }', 1],
  ['a file too long', sizeViolations, 'src/core/a.ts', '// a\n'.repeat(401), 401],
  ['a function too long', sizeViolations, 'src/core/a.ts', `\nexport const f = () => {${'\n'.repeat(71)}};`, 2],
  ['a method too long', sizeViolations, 'src/core/a.ts', `export class A { m(): void {${'\n'.repeat(71)}} }`, 1],
  ['a default export', exportViolations, 'src/core/a.ts', 'export default 1;', 1],
  ['everything passed on', exportViolations, 'src/core/a.ts', "export * from './b.ts';", 1],
  ['a barrel', exportViolations, 'src/core/a.ts', "export { a } from './b.ts';\nexport { c } from './d.ts';", 1],
  ['any as a type', constructViolations, 'src/core/a.ts', 'export const a: any = 1;', 1],
  ['any in a generic', constructViolations, 'src/core/a.ts', 'export type A = {\n  readonly b: Array<any>;\n};', 2],
  ['any in a cast', constructViolations, 'test/a.ts', 'export const a = 1 as any;', 1],
  ['a forged permit', constructViolations, 'src/flow/guard.ts', 'export const a = {} as Permit;', 1],
  ['a permit forged in two steps', constructViolations, 'src/flow/guard.ts', 'export const a = {} as unknown as\n  Permit;', 1],
  ['the environment', constructViolations, 'src/app/a.ts', 'export const a = process.env.A;', 1],
  ['the environment by name', constructViolations, 'src/app/a.ts', "import { env } from 'node:process';\nexport const a = env.A;", 1],
  ['a test alone', constructViolations, 'src/a.test.ts', "test.only('a', () => {});", 1],
  ['an unchecked line', constructViolations, 'src/a.ts', '// @ts-ignore', 1],
  ['a name that is not kebab-case', ({ path }) => nameViolations(path), 'src/core/someThing.ts', '', 1],
  ['a name that says nothing', ({ path }) => nameViolations(path), 'src/core/sql-utils.ts', '', 1],
  ['an index file', ({ path }) => nameViolations(path), 'src/core/index.ts', '', 1],
  ['no opening comment', ({ path, text }) => openingViolations(path, text), 'src/core/a.ts', 'export const a = 1; // late', 1],
  ['a plan', ({ path, text }) => planViolations(path, text), 'src/core/a.ts', '// \n// TODO: later', 2],
  ['the product in lib', ({ path, text }) => productWordViolations(path, text), 'src/lib/a.ts', '// the agent\'s token', 1],
  ['a home folder', ({ path, text }) => placeViolations(path, text), 'src/a.ts', "const a = '/home/ada/x';", 1],
  ['a registry', ({ path, text }) => placeViolations(path, text), 'src/a.ts', "const a = 'https://registry.npmjs.org/x';", 1],
];
for (const [what, rule, path, text, line] of bad) {
  test(`a bad example is caught: ${what}`, () => { assert.deepEqual(rule(readSource(path, text)).map((found) => found.line), [line]); });
}

const good: readonly (readonly [what: string, rule: Rule, path: string, text: string])[] = [
  ['flow takes the type of a store', importViolations, 'src/flow/a.ts', "import type { X } from '../store/x.ts';"],
  ['flow takes the value of another flow', importViolations, 'src/flow/a.ts', "import { x } from './b.ts';"],
  ['the app joins all', importViolations, 'src/app/a.ts', "import { x } from '../store/x.ts';\nimport { y } from '../entry/gateway/y.ts';"],
  ['core takes the type of a package', importViolations, 'src/core/a.ts', "import type { Node } from '@pgsql/types';"],
  ['a test imports what it tests with', importViolations, 'src/flow/a.test.ts', "import { x } from '../store/x.ts';"],
  ['an import inside a string or comment', importViolations, 'src/core/a.ts', "// import { x } from 'pg'\nexport const a = \"import { x } from 'pg'\";"],
  ['a date from a value', purityViolations, 'src/core/a.ts', 'export const at = (ms: number) => new Date(ms);'],
  ['any in a comment, a string and a name', constructViolations, 'src/core/a.ts', "// any\nexport interface A {\n  /** any */\n  readonly anything: 'any';\n}\nexport const any = 'any';"],
  ['the ledger issues permits', constructViolations, 'src/store/ledger.ts', 'export const a = {} as Permit;'],
  ['permitted is another word', ({ path, text }) => productWordViolations(path, text), 'src/lib/a.ts', '// not permitted here'],
  ['a long group of tests', sizeViolations, 'src/core/a.test.ts', `describe('a', () => {${'\n'.repeat(100)}});`],
  ['a function of 70 lines', sizeViolations, 'src/core/a.ts', `export const f = () => {${'\n'.repeat(69)}};`],
];
for (const [what, rule, path, text] of good) {
  test(`a good example passes: ${what}`, () => { assert.deepEqual(rule(readSource(path, text)), []); });
}

test('a capability must be planned or name a test that exists', () => {
  const table = ['| promise | shown by |', '|---|---|', '| a | planned |', '| b | test/a.test.ts: it holds |', '| c | test/a.test.ts: it flies |',
    '| d | soon |', '| e | src/a.ts |', '| f | |'].join('\n');
  const found = capabilityViolations('c.md', table, (path) => ({ 'test/a.test.ts': "test('it holds', …)", 'src/a.ts': '' })[path]);
  assert.deepEqual(found.map(({ line }) => line), [5, 6, 7, 8]);
});

test('an export that no other file names is caught', () => {
  const files = [['a', 'export const used = 1;\nexport function alone() {}\nexport type Shape = 1;'], ['b', "import { used } from './a.ts';\nused;"]];
  assert.deepEqual(unusedExportViolations(files.map(([name, text = '']) => readSource(`src/${name}.ts`, text))).map(({ path, line }) => `${path}:${line}`), ['src/a.ts:2']);
});

test('a range, a tag and a link are no exact versions', () => {
  const text = '{"dependencies":{"a":"^1.0.0"},\n"devDependencies":{"b":"latest","c":"1.2.3-beta.4","d":"npm:e@1.2.3",\n"f":"npm:e@1"}}';
  assert.deepEqual(dependencyViolations('package.json', text).map(({ line }) => line), [1, 2, 3]);
});
