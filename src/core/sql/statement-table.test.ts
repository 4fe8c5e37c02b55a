/**
 * The tables know the whole grammar: every node type that libpg-query can name in 15 to 18 has a row, every field that
 * holds a node bare is known, and every command of ALTER TABLE and every object type has one too (H75).
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { isKnownCommand } from './alter-table.ts';
import { expressionRows } from './expressions.ts';
import { bareTypeOf, neverParsed } from './grammar-nodes.ts';
import { objectKind } from './object-kinds.ts';
import { statementRows } from './statement-table.ts';

const folders: Readonly<Record<number, string>> = {
  15: 'libpg-query-15/node_modules/@pgsql/types', 16: 'libpg-query-16/node_modules/@pgsql/types',
  17: 'libpg-query-17/node_modules/@pgsql/types', 18: '@pgsql/types',
};

interface Grammar {
  readonly major: number;
  /** Node type → field → declared type. */
  readonly nodes: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly enums: ReadonlyMap<string, readonly string[]>;
}

function readGrammar(major: number): Grammar {
  const file = (name: string): string => readFileSync(new URL(`../../../node_modules/${folders[major]}/${name}`, import.meta.url), 'utf8');
  const nodes = new Map([...file('types.d.ts').matchAll(/export interface (\w+) \{([^}]*)\}/g)].map(([, name = '', body = '']) =>
    [name, new Map([...body.matchAll(/(\w+)\?: ([^;]+);/g)].map(([, field = '', type = '']) => [field, type]))]));
  const enums = new Map([...file('enums.d.ts').matchAll(/export type (\w+) = ([^;]+);/g)].map(([, name = '', values = '']) =>
    [name, [...values.matchAll(/"([^"]+)"/g)].map(([, value = '']) => value)]));
  return { major, nodes, enums };
}

const grammars = [15, 16, 17, 18].map(readGrammar);

for (const { major, nodes, enums } of grammars) {
  test(`every node type of PostgreSQL ${major}'s grammar has exactly one row`, () => {
    assert.ok(nodes.size > 230, `only ${nodes.size} node types were found`);
    const rowless = [...nodes.keys()].filter((type) => [statementRows.has(type), expressionRows.has(type), neverParsed.has(type)].filter(Boolean).length !== 1);
    assert.deepEqual(rowless, []);
  });

  test(`every field of PostgreSQL ${major}'s grammar that holds a node bare is known`, () => {
    const wrong = [...nodes].filter(([type]) => !neverParsed.has(type)).flatMap(([type, fields]) => [...fields].flatMap(([field, declared]) => {
      const bare = nodes.has(declared) && !neverParsed.has(declared) ? declared : undefined;
      return bare === undefined || bareTypeOf(type, field) === bare ? [] : [`${type}.${field}: ${declared}`];
    }));
    assert.deepEqual(wrong, []);
  });

  test(`every command of ALTER TABLE and every object type of PostgreSQL ${major} is known`, () => {
    assert.deepEqual(enums.get('AlterTableType')?.filter((command) => !isKnownCommand(command)), []);
    assert.deepEqual(enums.get('ObjectType')?.filter((type) => objectKind(type).word === 'object'), []);
  });
}

test('the tables hold nothing that no grammar has', () => {
  const known = new Set(grammars.flatMap(({ nodes }) => [...nodes.keys()]));
  assert.deepEqual([...statementRows.keys(), ...expressionRows.keys(), ...neverParsed].filter((type) => !known.has(type)), []);
});
