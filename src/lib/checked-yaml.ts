/**
 * Checked YAML: text and a schema in, either a valid value or every mistake with its line and column. Unknown keys,
 * duplicate keys and more than one document are mistakes, and each says what is allowed there and what was probably
 * meant. A value is quoted back only where the schema lists the allowed words, since elsewhere it may be a credential.
 */
import { isMap, isNode, LineCounter, parseDocument, visit } from 'yaml';
import type { Document } from 'yaml';
import type { z } from 'zod';
import { closest } from './closest.ts';

export interface Mistake {
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

export type CheckedYaml<T> =
  /** `placeOf` tells where a value stands in the text. */
  | { readonly kind: 'valid'; readonly value: T; readonly placeOf: (path: readonly (string | number)[]) => { readonly line: number; readonly column: number } }
  | { readonly kind: 'invalid'; readonly mistakes: readonly Mistake[] };

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

export function parseCheckedYaml<T>(text: string, schema: z.ZodType<T>): CheckedYaml<T> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true, stringKeys: true, strict: true });
  const at = (offset: number, message: string): Mistake => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col), message };
  };
  const [syntax] = [...document.errors, ...document.warnings];
  if (syntax !== undefined) return { kind: 'invalid', mistakes: [at(syntax.pos[0], `not valid YAML: ${syntax.message}`)] };
  if (document.directives?.yaml.explicit === true && document.directives.yaml.version !== '1.2') {
    return { kind: 'invalid', mistakes: [at(0, 'only YAML 1.2 is taken here; in other versions keys and words mean other things')] };
  }
  const alias = firstAlias(document);
  if (alias !== undefined) return { kind: 'invalid', mistakes: [at(alias, 'aliases (`*name`) are not taken here; write the value out')] };

  // An empty document is an empty mapping, so that the schema can name the keys that it misses.
  const result = schema.safeParse(document.toJS() ?? {});
  if (result.success) {
    return { kind: 'valid', value: result.data, placeOf: (path) => { const { line, column } = at(offsetOf(document, path), ''); return { line, column }; } };
  }
  const mistakes = result.error.issues.flatMap((issue) => explainIssue(issue, schema, document, at));
  return { kind: 'invalid', mistakes: mistakes.sort((a, b) => a.line - b.line || a.column - b.column) };
}

/** Aliases hide what a line says and can be nested until they fill the memory. */
function firstAlias(document: Document): number | undefined {
  let found: number | undefined;
  visit(document, { Alias: (_, node) => { found = node.range?.[0] ?? 0; return visit.BREAK; } });
  return found;
}

function explainIssue(issue: Issue, schema: z.ZodType, document: Document, at: (offset: number, message: string) => Mistake): Mistake[] {
  if (issue.code !== 'unrecognized_keys') return [at(offsetOf(document, issue.path), describeIssue(issue, document.getIn(issue.path)))];
  const known = keysAt(schema, issue.path);
  return issue.keys.map((key) => {
    const message = `unknown key \`${nameOf([...issue.path, key])}\`${allowedText(key, known)}`;
    return at(offsetOfKey(document, issue.path, key), message);
  });
}

/** What is wrong with the value at the issue's path and what is allowed; `found` is quoted only beside a list of words. */
export function describeIssue(issue: Issue, found: unknown): string {
  const name = `\`${nameOf(issue.path)}\``;
  if (issue.code === 'invalid_value') {
    const allowed = issue.values.map(String);
    if (found === undefined) return `${name} is missing; allowed: ${allowed.join(', ')}`;
    return `${name} is ${typeof found === 'string' ? JSON.stringify(found.slice(0, 40)) : 'no such word'}${allowedText(String(found), allowed)}`;
  }
  if (issue.code === 'invalid_type') return found === undefined ? `${name} is missing; it must be ${article(issue.expected)}` : `${name} must be ${article(issue.expected)}`;
  if (issue.code === 'too_small') return `${name} is too ${issue.origin === 'number' || issue.origin === 'int' ? 'small' : 'short'}; the least is ${issue.minimum}`;
  if (issue.code === 'too_big') return `${name} is too ${issue.origin === 'number' || issue.origin === 'int' ? 'large' : 'long'}; the most is ${issue.maximum}`;
  return `${name}: ${issue.message}`;
}

function article(type: string): string {
  const words: Readonly<Record<string, string>> = {
    string: 'text', number: 'a number', int: 'a whole number', boolean: 'true or false', array: 'a list', object: 'a mapping of keys',
  };
  return words[type] ?? type;
}

function allowedText(word: string, allowed: readonly string[]): string {
  if (allowed.length === 0) return '';
  const guess = closest(word, allowed);
  return `; allowed: ${allowed.join(', ')}${guess === undefined ? '' : `. Did you mean ${guess}?`}`;
}

function nameOf(path: Path): string {
  const name = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`)).join('');
  return name.replace(/^\./, '') || 'the file';
}

/** Where the value is; for a missing one, where the mapping that misses it begins. */
function offsetOf(document: Document, path: Path): number {
  for (let length = path.length; length > 0; length -= 1) {
    const node = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return document.contents?.range?.[0] ?? 0;
}

function offsetOfKey(document: Document, path: Path, key: string): number {
  const map = path.length === 0 ? document.contents : document.getIn(path, true);
  if (isMap(map)) {
    for (const { key: node } of map.items) if (isNode(node) && node.toString() === key && node.range) return node.range[0];
  }
  return offsetOf(document, path);
}

/** The keys that the schema knows at a path; none when they cannot be told. */
function keysAt(schema: z.ZodType, path: Path): readonly string[] {
  const inner = unwrap(schema);
  const [step, ...rest] = path;
  const element = elementOf(inner);
  if (element !== undefined && step !== undefined) return keysAt(element, rest);
  const shape = shapeOf(inner);
  if (shape === undefined) return [];
  if (step === undefined) return Object.keys(shape);
  const child = shape[String(step)];
  return child === undefined ? [] : keysAt(child, rest);
}

function unwrap(schema: z.ZodType): z.ZodType {
  const { def } = schema as z.ZodType & { readonly def: { readonly innerType?: z.ZodType; readonly in?: z.ZodType } };
  const inner = def.innerType ?? def.in;
  return inner === undefined ? schema : unwrap(inner);
}

function shapeOf(schema: z.ZodType): Readonly<Record<string, z.ZodType>> | undefined {
  return 'shape' in schema ? (schema.shape as Readonly<Record<string, z.ZodType>>) : undefined;
}

function elementOf(schema: z.ZodType): z.ZodType | undefined {
  return 'element' in schema ? (schema.element as z.ZodType) : undefined;
}
