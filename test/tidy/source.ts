/**
 * A source file as the tidy rules see it. Node strips the types and keeps every position, acorn reads the JavaScript
 * that is left, and the stripped part is kept as text of its own: so imports of values, imports of types, function
 * sizes and words inside types are told apart without guessing.
 */
import { stripTypeScriptTypes } from 'node:module';
import { parse } from 'acorn';
import type { Node, Program } from 'acorn';

export interface Source {
  /** Relative to the repository, with `/`. */
  readonly path: string;
  readonly text: string;
  readonly program: Program;
  /** Only what belongs to types, without its comments and strings, at the same positions. */
  readonly types: string;
  readonly imports: readonly Import[];
}

export interface Import {
  readonly from: string;
  readonly kind: 'value' | 'type';
  readonly line: number;
}

export interface Violation {
  readonly path: string;
  /** 1-based. */
  readonly line: number;
  readonly what: string;
}

export function readSource(path: string, text: string): Source {
  const { code, program } = parseFile(path, text);
  const removed = Array.from({ length: text.length }, (_, index) => (text[index] === code[index] && text[index] !== '\n' ? ' ' : text[index])).join('');
  const uncommented = blank(removed, /'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`|(\/\*[\s\S]*?\*\/|\/\/.*)/g, 1);
  const types = blank(uncommented, /('(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`)/g, 1);
  return { path, text, program, types, imports: [...valueImports(program), ...typeImports(uncommented)] };
}

function parseFile(path: string, text: string): { readonly code: string; readonly program: Program } {
  try {
    const code = stripTypeScriptTypes(text);
    if (code.length !== text.length) throw new Error('stripping moved positions');
    return { code, program: parse(code, { ecmaVersion: 'latest', sourceType: 'module', locations: true, allowHashBang: true }) };
  } catch (cause) {
    throw new Error(`${path}: ${cause instanceof Error ? cause.message : 'cannot be read'}`, { cause });
  }
}

/** Every node of the tree, parents first. */
export function nodesOf(program: Node): readonly Node[] {
  const nodes: Node[] = [];
  const waiting: unknown[] = [program];
  while (waiting.length > 0) {
    const next = waiting.pop();
    if (Array.isArray(next)) waiting.push(...next.toReversed());
    else if (isNode(next)) {
      nodes.push(next);
      waiting.push(...Object.values(next).toReversed());
    }
  }
  return nodes;
}

function lineOf(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}

/** One violation for each place where the pattern matches. */
export function matchesIn(path: string, text: string, pattern: RegExp, what: (match: RegExpMatchArray) => string): Violation[] {
  return [...text.matchAll(pattern)].map((match) => ({ path, line: lineOf(text, match.index), what: what(match) }));
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string';
}

function valueImports(program: Program): Import[] {
  return nodesOf(program).flatMap((node): Import[] => {
    const given = 'source' in node && /^(Import|Export)/.test(node.type) ? node.source : undefined;
    if (!isNode(given) || !('value' in given)) return [];
    return [{ from: String(given.value), kind: 'value', line: node.loc?.start.line ?? 1 }];
  });
}

function typeImports(types: string): Import[] {
  return [...types.matchAll(/(?:\bfrom|\bimport\s*\()\s*['"]([^'"\n]+)['"]/g)]
    .map((match) => ({ from: match[1] ?? '', kind: 'type', line: lineOf(types, match.index) }));
}

/** Spaces in place of what the group matched. */
function blank(text: string, pattern: RegExp, group: number): string {
  return text.replaceAll(pattern, (...match: readonly unknown[]) => {
    const whole = String(match[0]);
    return match[group] === undefined ? whole : whole.replaceAll(/[^\n]/g, ' ');
  });
}
