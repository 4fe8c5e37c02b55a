/**
 * PostgreSQL's own catalog as initdb makes it, one reviewed snapshot per major version (data/pg-catalog), generated from
 * real servers by scripts/build-pg-catalog.ts. Judges statements when no database is at hand, and tells a live server's
 * own objects from those that someone added or replaced.
 */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { Failure } from '../../core/failure.ts';
import { createCatalog, type Catalog } from '../../core/sql/catalog.ts';
import type { CatalogFacts, FunctionFact, OperatorFact, RelationFact, TypeFact } from '../../core/sql/catalog-facts.ts';

const snapshotSchema = z.object({
  major: z.number(), version: z.string(), functionDigest: z.string(), schemas: z.array(z.string()),
  functions: z.array(z.tuple([z.string(), z.string(), z.string(), z.string(), z.string(), z.number(), z.string(), z.string()])),
  operators: z.array(z.tuple([z.string(), z.string(), z.string(), z.string(), z.string()])),
  types: z.array(z.tuple([z.string(), z.string(), z.string()])),
  relations: z.array(z.tuple([z.string(), z.string(), z.string()])),
});
export type Snapshot = z.infer<typeof snapshotSchema>;

export interface BuiltinFacts {
  readonly facts: CatalogFacts;
  readonly functionDigest: string;
  /** Hash of each function by signature. */
  readonly functionHashes: ReadonlyMap<string, string>;
}

export const majors = [15, 16, 17, 18] as const;

export async function loadBuiltinCatalog(major: number): Promise<Catalog> {
  return createCatalog((await loadBuiltinFacts(major)).facts);
}

const loaded = new Map<number, Promise<BuiltinFacts>>();

export function loadBuiltinFacts(major: number): Promise<BuiltinFacts> {
  if (!majors.some((known) => known === major)) {
    throw new Failure('upstream_unsupported', `PostgreSQL ${major} is not known to this version.`);
  }
  let facts = loaded.get(major);
  if (facts === undefined) {
    facts = readSnapshot(major).then(unfold);
    loaded.set(major, facts);
  }
  return facts;
}

/** `data/` lies beside `src/` in a checkout and beside `dist/` in the package. */
async function readSnapshot(major: number): Promise<Snapshot> {
  const file = new URL(`../../../data/pg-catalog/${major}.json`, import.meta.url);
  return snapshotSchema.parse(JSON.parse(await readFile(file, 'utf8')));
}

/** In the snapshot a name without a schema is pg_catalog's. */
function qualified(name: string): string {
  return name.includes('.') ? name : `pg_catalog.${name}`;
}

function split(name: string): { readonly schema: string; readonly name: string } {
  const [schema = '', ...rest] = qualified(name).split('.');
  return { schema, name: rest.join('.') };
}

function list(names: string): string[] {
  return names === '' ? [] : names.split(' ').map(qualified);
}

const kinds: Readonly<Record<string, FunctionFact['kind']>> = { f: 'function', p: 'procedure', a: 'aggregate', w: 'window' };
const volatilities: Readonly<Record<string, FunctionFact['volatility']>> = { i: 'immutable', s: 'stable', v: 'volatile' };

function unfold(snapshot: Snapshot): BuiltinFacts {
  const functions = snapshot.functions.map(([name, args, returns, flags, variadic, defaults, language]): FunctionFact => ({
    ...split(name), args: list(args), returns: qualified(returns), defaults, language, builtin: true,
    kind: kinds[flags[0] ?? ''] ?? 'function', volatility: volatilities[flags[1] ?? ''] ?? 'volatile',
    ...(variadic === '' ? {} : { variadic: qualified(variadic) }),
  }));
  const operators = snapshot.operators.map(([schema, name, left, right, fn]): OperatorFact => ({
    schema, name, right: qualified(right), function: fn, builtin: true, ...(left === '' ? {} : { left: qualified(left) }),
  }));
  const types = snapshot.types.map(([name, kind, base]): TypeFact => ({
    ...split(name), kind: typeKind(kind), builtin: true, ...(base === '' ? {} : { base: qualified(base) }),
  }));
  const relations = snapshot.relations.map(([name, kind, columns]): RelationFact => ({
    ...split(name), kind: kind === 'v' ? 'view' : 'table', builtin: true,
    columns: columns.split(' ').map((column) => ({ name: column.split(':')[0] ?? '', type: qualified(column.split(':')[1] ?? '') })),
  }));
  const facts: CatalogFacts = {
    mode: 'offline', major: snapshot.major, version: snapshot.version, schemas: snapshot.schemas, functions, operators,
    types, relations, casts: [], foreignKeys: [], eventTriggers: [], dependencies: [], operatorClassFunctions: [],
  };
  const hashes = new Map(snapshot.functions.map((row, at) => [signature(functions[at]), row[7]]));
  return { facts, functionDigest: snapshot.functionDigest, functionHashes: hashes };
}

function signature(fact: FunctionFact | undefined): string {
  return fact === undefined ? '' : `${fact.schema}.${fact.name}(${fact.args.join(', ')})`;
}

export function typeKind(code: string): TypeFact['kind'] {
  const kind = typeKinds.get(code);
  if (kind === undefined) throw new Failure('upstream_unsupported', `The catalog has a type of the unknown kind ${code}.`);
  return kind;
}

const typeKinds: ReadonlyMap<string, TypeFact['kind']> = new Map([
  ['b', 'base'], ['d', 'domain'], ['c', 'composite'], ['e', 'enum'], ['r', 'range'], ['m', 'multirange'], ['p', 'pseudo'], ['array', 'array'],
]);
