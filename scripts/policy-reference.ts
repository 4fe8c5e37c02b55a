/**
 * Writes the reference part of docs/policy.md from the schema, the rule table and the list of operations, so that it says
 * what the code takes. Everything above the marker is written by hand and stays; a test holds the rest to this.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import type { z } from 'zod';
import { operations } from '../src/core/policy/operation.ts';
import { policySchema } from '../src/core/policy/policy.ts';
import { rules } from '../src/core/policy/rules.ts';
import { examples } from './policy-examples.ts';

const documentPath = new URL('../docs/policy.md', import.meta.url);
const marker = '<!-- From here on this page is made by `npm run docs:policy`; change the schema, not the text. -->';

/** The whole page with a reference part that is current. */
export function withReference(page: string): string {
  const at = page.indexOf(marker);
  if (at < 0) throw new Error(`docs/policy.md has lost its marker: ${marker}`);
  return `${page.slice(0, at)}${marker}\n\n${reference()}`;
}

interface Def {
  readonly innerType?: z.ZodType;
  readonly in?: z.ZodType;
  readonly element?: z.ZodType;
  readonly entries?: Readonly<Record<string, string>>;
  readonly values?: readonly unknown[];
  readonly defaultValue?: unknown;
  readonly type: string;
}

const defOf = (schema: z.ZodType): Def => schema.def as unknown as Def;

interface Key { readonly path: string; readonly takes: string; readonly missing: string; readonly what: string }

function reference(): string {
  const shape = shapeOf(policySchema);
  const sections = Object.entries(shape).filter(([, schema]) => isSection(schema));
  const plain = Object.entries(shape).filter(([, schema]) => !isSection(schema));
  return [
    '## Reference\n',
    'Keys that a file may hold. A file needs `name`, `description` and `levels`; what it leaves out has the default given here.\n',
    table(plain.map(([name, schema]) => keyOf(name, schema))),
    ...sections.map(([name, schema]) => section(name, schema)),
    `## Operations\n\nThe words under \`blocked\`; \`backstop classify\` prints them as effects.\n\n${operations.map((word) => `\`${word}\``).join(', ')}.\n`,
    '## Rules\n',
    'Every rule is evaluated, whatever the others say; the worst decision wins. The verdict names each rule that fired with what\nit observed and the threshold it held that against. A rule that fails, a fact that is missing, or no rule firing at all\n(`policy.no-rule`) is a deny.\n',
    `| rule | it |\n|---|---|\n${rules.map(({ id, compares }) => `| \`${id}\` | ${compares} |`).join('\n')}\n`,
  ].join('\n');
}

function section(name: string, schema: z.ZodType): string {
  const example = examples[name];
  if (example === undefined) throw new Error(`scripts/policy-examples.ts has no example of ${name}`);
  const keys = keysOf(schema, name);
  const description = descriptionOf(schema);
  return `### \`${name}\`\n\n${description}${leftOut(schema)}\n\n\`\`\`yaml\n${example.trim()}\n\`\`\`\n${keys.length === 0 ? '' : `\n${table(keys)}`}`;
}

/** What stands in the base when the whole section is left out. */
function leftOut(schema: z.ZodType): string {
  const def = defOf(schema);
  if (def.type !== 'default' && def.type !== 'prefault') return ' Required.';
  const value = typeof def.defaultValue === 'function' ? (def.defaultValue as () => unknown)() : def.defaultValue;
  if (typeof value !== 'object' || value === null) return ` Left out: ${valueText(value)}.`;
  const given = Object.entries(value).map(([key, inner]) => `\`${key}: ${String(inner)}\``);
  return given.length === 0 ? '' : ` Left out: ${given.join(', ')}.`;
}

function table(keys: readonly Key[]): string {
  return `| key | takes | when left out | what it does |\n|---|---|---|---|\n${keys.map(({ path, takes, missing, what }) => `| \`${path}\` | ${takes} | ${missing} | ${what} |`).join('\n')}\n`;
}

/** Keys inside a mapping, or inside the mappings of a list; sections inside a scope are described once. */
function keysOf(schema: z.ZodType, path: string): readonly Key[] {
  const inner = unwrap(schema);
  const shape = 'shape' in inner ? shapeOf(inner) : shapeOfElement(inner);
  return Object.entries(shape).flatMap(([name, child]): readonly Key[] => {
    if (path === 'scopes' && isSection(child) && name !== 'match') return [];
    const nested = 'shape' in unwrap(child) ? keysOf(child, `${path}.${name}`) : [];
    return nested.length > 0 ? nested : [keyOf(`${path}.${name}`, child)];
  });
}

function keyOf(path: string, schema: z.ZodType): Key {
  return { path, takes: takesOf(schema), missing: missingOf(schema), what: descriptionOf(schema) };
}

function takesOf(schema: z.ZodType): string {
  const inner = unwrap(schema);
  const def = defOf(inner);
  switch (def.type) {
    case 'enum': return Object.values(def.entries ?? {}).length > 10 ? 'a word of the list' : Object.values(def.entries ?? {}).map((word) => `\`${word}\``).join(', ');
    case 'literal': return (def.values ?? []).map((value) => `\`${String(value)}\``).join(', ');
    case 'array': return def.element === undefined ? 'a list' : `a list: ${takesOf(def.element)}`;
    case 'number': return numberText(inner);
    case 'object': return 'a mapping';
    default: return 'text';
  }
}

function numberText(schema: z.ZodType): string {
  const { minValue, maxValue } = schema as unknown as { readonly minValue: number; readonly maxValue: number };
  return `${minValue} to ${maxValue}`;
}

function missingOf(schema: z.ZodType): string {
  const def = defOf(schema);
  if (def.type === 'default' || def.type === 'prefault') return valueText(typeof def.defaultValue === 'function' ? (def.defaultValue as () => unknown)() : def.defaultValue);
  if (def.type === 'optional') return 'not set';
  return '**required**';
}

function valueText(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map((item) => `\`${String(item)}\``).join(', ');
  return typeof value === 'object' ? 'as below' : `\`${String(value)}\``;
}

/** A description may stand on the schema or on what it wraps. */
function descriptionOf(schema: z.ZodType): string {
  const own = (schema as { readonly description?: string | undefined }).description;
  const { innerType } = defOf(schema);
  const text = own ?? (innerType === undefined ? undefined : descriptionOf(innerType));
  if (text === undefined) throw new Error('a key of the policy schema has no description');
  return text;
}

function isSection(schema: z.ZodType): boolean {
  const inner = unwrap(schema);
  return 'shape' in inner || (defOf(inner).type === 'array' && Object.keys(shapeOfElement(inner)).length > 0) || schema === shapeOf(policySchema)['unknown'] || schema === shapeOf(policySchema)['blocked'];
}

function unwrap(schema: z.ZodType): z.ZodType {
  const { innerType, in: input } = defOf(schema);
  const inner = innerType ?? input;
  return inner === undefined ? schema : unwrap(inner);
}

function shapeOf(schema: z.ZodType): Readonly<Record<string, z.ZodType>> {
  return (schema as unknown as { readonly shape?: Readonly<Record<string, z.ZodType>> }).shape ?? {};
}

function shapeOfElement(schema: z.ZodType): Readonly<Record<string, z.ZodType>> {
  const { element } = defOf(schema);
  return element === undefined ? {} : shapeOf(unwrap(element));
}

if (import.meta.main) writeFileSync(documentPath, withReference(readFileSync(documentPath, 'utf8')));
