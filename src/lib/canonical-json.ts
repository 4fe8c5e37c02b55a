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
const pathCharsMax = 80;

/** Takes `unknown` because interfaces are not assignable to an index signature; throws Bug with the path of what it cannot write. */
export function canonicalJson(value: unknown): string {
  try {
    return write(value, 0);
  } catch (error) {
    if (error instanceof Unwritable) throw new Bug(`$${error.path.slice(0, pathCharsMax)} ${error.message}`);
    throw error;
  }
}

/** Thrown on the way up, gathering the path: building it on the way down would cost more than all the rest. */
class Unwritable extends Error {
  path = '';
}

function write(value: unknown, depth: number): string {
  if (depth > depthMax) throw new Unwritable(`is nested deeper than ${depthMax}`);
  if (value === null) return 'null';
  switch (typeof value) {
    case 'boolean': return value ? 'true' : 'false';
    case 'number': return writeInteger(value);
    case 'string': return writeString(value);
    case 'object': return Array.isArray(value) ? writeArray(value, depth) : writeObject(value, depth);
    default: throw new Unwritable(`is ${typeof value}, which canonical JSON cannot hold`);
  }
}

function writeInteger(value: number): string {
  if (!Number.isSafeInteger(value)) throw new Unwritable('is not a safe integer');
  return String(value === 0 ? 0 : value); // RFC 8785 3.2.2.3: -0 is written 0
}

function writeString(value: string): string {
  // A lone surrogate has no UTF-8 form, so two such texts would hash alike.
  if (!value.isWellFormed()) throw new Unwritable('is not well-formed Unicode');
  return JSON.stringify(value); // RFC 8785 3.2.2.2 prescribes ECMAScript's own escapes
}

/** Long lists of short rows are what is written most; a row of plain values has one form, which JSON.stringify gives. */
function isRow(value: readonly unknown[]): boolean {
  if ('toJSON' in value) return false;
  for (let index = 0; index < value.length; index += 1) {
    const item = value[index];
    if (typeof item === 'string' ? !item.isWellFormed() : item !== null && !Number.isSafeInteger(item)) return false;
  }
  return true;
}

function writeArray(value: readonly unknown[], depth: number): string {
  if (depth < depthMax && isRow(value)) return JSON.stringify(value);
  let text = '[';
  // By index, not map: map skips holes, and `[,]` must not become `[]`.
  for (let index = 0; index < value.length; index += 1) text += `${index === 0 ? '' : ','}${writeMember(value[index], depth, index)}`;
  return `${text}]`;
}

function writeObject(value: object, depth: number): string {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) throw new Unwritable('is not a plain object');
  const members = Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)) // RFC 8785 3.2.3: by UTF-16 code units
    .map(([key, item]) => `${writeMember(key, depth, 'key')}:${writeMember(item, depth, key)}`);
  return `{${members.join(',')}}`;
}

function writeMember(value: unknown, depth: number, at: string | number): string {
  try {
    return write(value, depth + 1);
  } catch (error) {
    if (error instanceof Unwritable) error.path = `${typeof at === 'number' ? `[${at}]` : `.${at}`}${error.path}`;
    throw error;
  }
}
