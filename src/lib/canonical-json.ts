/**
 * Canonical JSON (RFC 8785): one value, one text, so that a digest over it means the value. Only what has one obvious
 * form is taken: null, booleans, safe integers, well-formed strings, arrays and plain objects. All else throws, because
 * a value that is quietly dropped or rounded would give two different things the same digest.
 */
import { Bug } from './assert.ts';

export type CanonicalValue =
  | null | boolean | number | string
  | readonly CanonicalValue[]
  | { readonly [key: string]: CanonicalValue };

/** Deeper is a cycle or an attack, not data. */
const depthMax = 200;

/** Takes `unknown` because interfaces are not assignable to an index signature; throws Bug with the path of what it cannot write. */
export function canonicalJson(value: unknown): string {
  return write(value, '$', 0);
}

function write(value: unknown, path: string, depth: number): string {
  if (depth > depthMax) throw new Bug(`${path.slice(0, 80)}… is nested deeper than ${depthMax}`);
  if (value === null) return 'null';
  switch (typeof value) {
    case 'boolean': return value ? 'true' : 'false';
    case 'number': return writeInteger(value, path);
    case 'string': return writeString(value, path);
    case 'object': return Array.isArray(value) ? writeArray(value, path, depth) : writeObject(value, path, depth);
    default: throw new Bug(`${path} is ${typeof value}, which canonical JSON cannot hold`);
  }
}

function writeInteger(value: number, path: string): string {
  if (!Number.isSafeInteger(value)) throw new Bug(`${path} is not a safe integer`);
  return String(value === 0 ? 0 : value); // RFC 8785 3.2.2.3: -0 is written 0
}

function writeString(value: string, path: string): string {
  // A lone surrogate has no UTF-8 form, so two such texts would hash alike.
  if (!value.isWellFormed()) throw new Bug(`${path} is not well-formed Unicode`);
  return JSON.stringify(value); // RFC 8785 3.2.2.2 prescribes ECMAScript's own escapes
}

function writeArray(value: readonly unknown[], path: string, depth: number): string {
  // Array.from, not map: map skips holes, and `[,]` must not become `[]`.
  return `[${Array.from(value, (item, index) => write(item, `${path}[${index}]`, depth + 1)).join(',')}]`;
}

function writeObject(value: object, path: string, depth: number): string {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) throw new Bug(`${path} is not a plain object`);
  const members = Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)) // RFC 8785 3.2.3: by UTF-16 code units
    .map(([key, item]) => `${writeString(key, `${path} key`)}:${write(item, `${path}.${key}`, depth + 1)}`);
  return `{${members.join(',')}}`;
}
