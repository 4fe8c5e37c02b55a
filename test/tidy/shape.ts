/**
 * The shape of files: their names, their sizes, the comment they open with, what they export, and the few constructs
 * that only one file may use or none at all.
 */
import type { Node, Program } from 'acorn';
import { matchesIn, nodesOf } from './source.ts';
import type { Source, Violation } from './source.ts';
import { isTest } from './rooms.ts';

const fileLinesMax = 400;
const functionLinesMax = 70;
const bannedNames: ReadonlySet<string> = new Set(['util', 'utils', 'helper', 'helpers', 'common', 'manager', 'service', 'types', 'interfaces', 'v2', 'index', 'misc']);

export function nameViolations(path: string): Violation[] {
  const problem = (what: string): Violation => ({ path, line: 1, what });
  return path.split('/').flatMap((part): Violation[] => {
    const stem = part.replace(/(\.(test|bench|d))?\.[a-z]+$/, '');
    if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(stem)) return [problem(`${part} is not kebab-case`)];
    const banned = stem.split('-').find((word) => bannedNames.has(word));
    return banned === undefined ? [] : [problem(`"${banned}" says nothing about what is in ${part}`)];
  });
}

export function sizeViolations(source: Source): Violation[] {
  const lines = source.text.split('\n').length - (source.text.endsWith('\n') ? 1 : 0);
  const file = lines > fileLinesMax ? [{ path: source.path, line: fileLinesMax + 1, what: `${lines} lines; a file has at most ${fileLinesMax}` }] : [];
  const nodes = nodesOf(source.program);
  const groups = isTest(source.path) ? new Set(nodes.filter(isTestGroup).flatMap((node) => ('arguments' in node && Array.isArray(node.arguments) ? node.arguments : []))) : new Set();
  const functions = nodes.flatMap((node): Violation[] => {
    if (!/Function/.test(node.type) || !node.loc || groups.has(node)) return [];
    const length = node.loc.end.line - node.loc.start.line + 1;
    return length > functionLinesMax ? [{ path: source.path, line: node.loc.start.line, what: `a function of ${length} lines; at most ${functionLinesMax}` }] : [];
  });
  return [...file, ...functions];
}

/** The body of describe() is a list of tests, not a function to be understood as one. */
function isTestGroup(node: Node): boolean {
  return node.type === 'CallExpression' && 'callee' in node && (isNamed(node.callee, 'describe') || isNamed(node.callee, 'suite'));
}

function isOnly(node: Node): boolean {
  return node.type === 'MemberExpression' && 'object' in node && 'property' in node && isNamed(node.property, 'only')
    && ['test', 'it', 'describe', 'suite'].some((name) => isNamed(node.object, name));
}

export function openingViolations(path: string, text: string): Violation[] {
  const start = text.replace(/^#!.*\n/, '').trimStart();
  const opens = /\.(ts|mjs|js)$/.test(path) ? /^(\/\*\*|\/\/)/.test(start) : /^(#|--|\/\*)/.test(start);
  return opens ? [] : [{ path, line: 1, what: 'a file opens with a comment: what it is for and what it promises' }];
}

export function exportViolations(source: Source): Violation[] {
  const body = source.program.body;
  const at = (node: { readonly loc?: { readonly start: { readonly line: number } } | null | undefined }, what: string): Violation => ({ path: source.path, line: node.loc?.start.line ?? 1, what });
  const defaults = body.filter((node) => node.type === 'ExportDefaultDeclaration').map((node) => at(node, 'exports have names; no default export'));
  const stars = body.filter((node) => node.type === 'ExportAllDeclaration').map((node) => at(node, 'no barrel files: export * hides where a name comes from'));
  const isBarrel = body.length > 0 && body.every((node) => node.type === 'ExportNamedDeclaration' && node.source);
  return [...defaults, ...stars, ...(isBarrel ? [at(body[0] ?? {}, 'no barrel files: it only passes names on')] : [])];
}

/** Values that are exported and that no other of these files names. What a type needs stands beside it either way. */
export function unusedExportViolations(sources: readonly Source[]): Violation[] {
  const words = sources.map(({ text }) => new Set(text.match(/[A-Za-z_$][\w$]*/g)));
  return sources.flatMap((source, own) => exportedNames(source.program).flatMap(({ name, line }): Violation[] => {
    const isUsed = words.some((used, other) => other !== own && used.has(name));
    return isUsed ? [] : [{ path: source.path, line, what: `${name} is exported, and no other file uses it` }];
  }));
}

function exportedNames(program: Program): readonly { readonly name: string; readonly line: number }[] {
  return program.body.flatMap((node) => {
    if (node.type !== 'ExportNamedDeclaration' || !node.declaration) return [];
    const { declaration } = node;
    const ids = declaration.type === 'VariableDeclaration' ? declaration.declarations.map(({ id }) => id) : [declaration.id];
    return ids.flatMap((id) => (id.type === 'Identifier' ? [{ name: id.name, line: node.loc?.start.line ?? 1 }] : []));
  });
}

export function constructViolations(source: Source): Violation[] {
  const { path, text, types, program } = source;
  return [
    ...matchesIn(path, types, /\bany\b/g, () => 'no `any`; take `unknown` and check it'),
    ...(path === 'src/store/ledger.ts' ? [] : matchesIn(path, types, /\bas\s+Permit\b/g, () => 'only store/ledger.ts issues permits')),
    ...(path === 'src/config.ts' || !path.startsWith('src/') || isTest(path) ? [] : environmentViolations(source)),
    ...nodesOf(program).filter(isOnly).map((node) => ({ path, line: node.loc?.start.line ?? 1, what: 'a test alone hides the others' })),
    ...matchesIn(path, text, /(?<!['"`])\/\/\s*@ts-(?:ignore|nocheck)/g, () => 'the type checker is not switched off'),
  ];
}

function environmentViolations({ path, program }: Source): Violation[] {
  return nodesOf(program).flatMap((node): Violation[] => {
    const read = node.type === 'MemberExpression' && 'object' in node && 'property' in node && isNamed(node.object, 'process') && isNamed(node.property, 'env');
    const taken = node.type === 'ImportSpecifier' && 'imported' in node && isNamed(node.imported, 'env');
    return read || taken ? [{ path, line: node.loc?.start.line ?? 1, what: 'process.env is read only in config.ts' }] : [];
  });
}

function isNamed(node: unknown, name: string): boolean {
  return typeof node === 'object' && node !== null && (('name' in node && node.name === name) || ('value' in node && node.value === name));
}

