/**
 * The rooms and who may import whom. `lib` and `core` are imported anywhere; of `store`, `remote` and `flow` only types
 * are, except where src/app joins them; an entry knows no other entry. Core is pure: no input or output, no clock, no
 * randomness, nothing asynchronous.
 */
import { posix } from 'node:path';
import type { Node } from 'acorn';
import { matchesIn, nodesOf } from './source.ts';
import type { Import, Source, Violation } from './source.ts';

/** `app`, `lib`, `core`, `store`, `remote`, `flow`, `entry/NAME`, or the file itself at the top of src. */
function roomOf(path: string): string {
  const [, first = '', second = ''] = path.split('/');
  return first === 'entry' ? `entry/${second}` : first;
}

const outermost: ReadonlySet<string> = new Set(['main.ts', 'app', 'config.ts', 'config-settings.ts']);

/** Rooms whose values come in as arguments. */
const received: ReadonlySet<string> = new Set(['store', 'remote', 'flow']);
const never: Readonly<Record<string, readonly string[]>> = { store: ['remote'], remote: ['store'] };

/** Packages that compute and do nothing else. */
const corePackages: ReadonlySet<string> = new Set(['zod']);

export function importViolations(source: Source): Violation[] {
  if (!source.path.startsWith('src/') || isTest(source.path)) return [];
  return source.imports.flatMap((given): Violation[] => {
    const problem = problemOf(source.path, given);
    return problem === undefined ? [] : [{ path: source.path, line: given.line, what: `${problem} (${given.from})` }];
  });
}

function problemOf(path: string, { from, kind }: Import): string | undefined {
  const own = roomOf(path);
  if (!from.startsWith('.')) return own === 'core' && kind === 'value' && !corePackages.has(from) ? 'core imports only core, lib and zod' : undefined;
  if (!/\.(ts|json)$/.test(from)) return 'imports end in .ts';
  const target = posix.join(posix.dirname(path), from);
  if (!target.startsWith('src/')) return 'src imports nothing outside src';
  const other = roomOf(target);
  // The app joins the parts.
  if (other === own || own === 'app' || other === 'lib') return undefined;
  if (own === 'lib') return 'lib imports only lib';
  if (other === 'core') return undefined;
  if (own === 'core') return 'core imports only core and lib';
  return outermost.has(other) ? outermostProblem(own, other, kind) : roomProblem(own, other, kind);
}

function outermostProblem(own: string, other: string, kind: Import['kind']): string | undefined {
  if (kind === 'type' || own === 'main.ts') return undefined;
  if (other.startsWith('config') && (own.startsWith('config') || own === 'entry/cli')) return undefined;
  return `${other} is received, not imported, by ${own}`;
}

function roomProblem(own: string, other: string, kind: Import['kind']): string | undefined {
  if (other.startsWith('entry/')) {
    if (own === 'main.ts' && other === 'entry/cli') return undefined;
    return own.startsWith('entry/') ? 'no entry imports another entry' : `${own} never imports an entry`;
  }
  if (never[own]?.includes(other)) return `${own} and ${other} never import each other`;
  if (received.has(other) && kind === 'value') return `${other} is received: outside src/app only its types are imported`;
  return undefined;
}

const impureNames: ReadonlySet<string> = new Set([
  'process', 'performance', 'fetch', 'crypto', 'console', 'setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'globalThis', 'require',
]);

export function purityViolations(source: Source): Violation[] {
  if (!source.path.startsWith('src/core/') || isTest(source.path)) return [];
  const found = nodesOf(source.program).flatMap((node): Violation[] => {
    const what = impurity(node);
    return what === undefined ? [] : [{ path: source.path, line: node.loc?.start.line ?? 1, what: `core is pure: ${what}` }];
  });
  return [...found, ...matchesIn(source.path, source.types, /\bPromise\s*</g, () => 'core is pure: Promise')];
}

function impurity(node: Node): string | undefined {
  if ('async' in node && node.async === true) return 'async';
  if (node.type === 'AwaitExpression' || node.type === 'ImportExpression') return node.type === 'AwaitExpression' ? 'await' : 'import()';
  const name = nameOf(node);
  if (node.type === 'Identifier' && name !== undefined && impureNames.has(name)) return name;
  if (node.type === 'NewExpression' && 'callee' in node && nameOf(node.callee) === 'Date' && 'arguments' in node && Array.isArray(node.arguments) && node.arguments.length === 0) return 'new Date()';
  if (node.type !== 'MemberExpression' || !('object' in node) || !('property' in node)) return undefined;
  const member = `${nameOf(node.object) ?? ''}.${nameOf(node.property) ?? ''}`;
  return member === 'Date.now' || member === 'Math.random' ? member : undefined;
}

function nameOf(node: unknown): string | undefined {
  return typeof node === 'object' && node !== null && 'name' in node && typeof node.name === 'string' ? node.name : undefined;
}

export function isTest(path: string): boolean {
  return path.endsWith('.test.ts') || path.startsWith('test/');
}
