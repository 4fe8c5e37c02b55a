/**
 * Catalog: an immutable, indexed set of catalog facts, with look-ups that resolve a name as PostgreSQL does: the
 * temporary schema first for relations and types and never for functions or operators, then pg_catalog unless the path
 * places it, then the schemas of the path. Functions and operators are returned as all their candidates, because which
 * one runs depends on argument types that a parse tree does not tell.
 */
import type {
  CastFact, CatalogFacts, DependencyFact, EventTriggerFact, ForeignKeyFact, FunctionFact, OperatorFact, QualifiedName,
  RelationFact, TypeFact,
} from './catalog-facts.ts';

export interface Catalog {
  readonly mode: 'live' | 'offline';
  readonly major: number;
  readonly version: string;
  readonly facts: CatalogFacts;
  /** Where `name` is found: `path` as given by effectivePath; a named schema is looked at alone. */
  relation(path: readonly string[], name: string): RelationFact | undefined;
  type(path: readonly string[], name: string): TypeFact | undefined;
  relationNamed(key: QualifiedName): RelationFact | undefined;
  typeNamed(key: QualifiedName): TypeFact | undefined;
  functionSigned(signature: string): FunctionFact | undefined;
  /** All functions of that name in those schemas, those hidden by one with the same arguments earlier in the path left out. */
  functions(path: readonly string[], name: string): readonly FunctionFact[];
  /** All functions of that name in any schema. */
  functionsAnywhere(name: string): readonly FunctionFact[];
  operators(path: readonly string[], name: string, arity: 1 | 2): readonly OperatorFact[];
  operatorsAnywhere(name: string, arity: 1 | 2): readonly OperatorFact[];
  relationsAnywhere(name: string): readonly RelationFact[];
  /** Relations that hold rows of it: its partitions and children, and all that it is one of. */
  relatives(key: QualifiedName): readonly QualifiedName[];
  /** Casts that are not PostgreSQL's own. */
  readonly userCasts: readonly CastFact[];
  foreignKeysTo(key: QualifiedName): readonly ForeignKeyFact[];
  foreignKeysFrom(key: QualifiedName): readonly ForeignKeyFact[];
  /** What a DROP … CASCADE of the relation takes along. */
  dependents(key: QualifiedName): readonly QualifiedName[];
  readonly eventTriggers: readonly EventTriggerFact[];
}

export function keyOf(fact: { readonly schema: string; readonly name: string }): QualifiedName {
  return qualify(fact.schema, fact.name);
}

/** A part that holds a separator is quoted, so that no two objects share a key or signature. */
export function qualify(schema: string, name: string): QualifiedName {
  return `${part(schema)}.${part(name)}`;
}

function part(name: string): string {
  return /[".,()]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name;
}

/** `schema.name(type, type)` with qualified types: unique, as PostgreSQL identifies a function. */
export function signatureOf(fact: Pick<FunctionFact, 'schema' | 'name' | 'args'>): string {
  return `${keyOf(fact)}(${fact.args.join(', ')})`;
}

/** The schemas PostgreSQL would search, in order. `pg_temp` in a path never serves functions or operators. */
export function effectivePath(schema: string | undefined, searchPath: readonly string[]): readonly string[] {
  if (schema !== undefined) return [schema];
  return searchPath.includes('pg_catalog') ? searchPath : ['pg_catalog', ...searchPath];
}

export function createCatalog(facts: CatalogFacts): Catalog {
  const relations = byKey(facts.relations);
  const types = byKey(facts.types);
  const functionsByName = groupBy(facts.functions, (fact) => fact.name);
  const operatorsByName = groupBy(facts.operators, (fact) => `${fact.left === undefined ? 1 : 2}${fact.name}`);
  const relationsByName = groupBy(facts.relations, (fact) => fact.name);
  const signed = new Map(facts.functions.map((fact) => [signatureOf(fact), fact]));
  const keysTo = groupBy(facts.foreignKeys, (fact) => fact.to);
  const keysFrom = groupBy(facts.foreignKeys, (fact) => fact.from);
  const dependents = groupBy(facts.dependencies, (fact: DependencyFact) => fact.to);
  const parents = groupBy(facts.relations.flatMap((fact) => (fact.children ?? []).map((child) => ({ child, parent: keyOf(fact) }))), ({ child }) => child);
  const operatorsAnywhere = (name: string, arity: 1 | 2): readonly OperatorFact[] => operatorsByName.get(`${arity}${name}`) ?? [];
  return {
    mode: facts.mode, major: facts.major, version: facts.version, facts,
    relation: (path, name) => firstIn(path, name, relations),
    type: (path, name) => firstIn(path, name, types),
    relationNamed: (key) => relations.get(key),
    typeNamed: (key) => types.get(key),
    functionSigned: (signature) => signed.get(signature),
    functions: (path, name) => visible(path, functionsByName.get(name) ?? [], argumentsKey),
    functionsAnywhere: (name) => functionsByName.get(name) ?? [],
    operators: (path, name, arity) => visible(path, operatorsAnywhere(name, arity), operandsKey),
    operatorsAnywhere,
    relationsAnywhere: (name) => relationsByName.get(name) ?? [],
    relatives: (key) => [
      ...closure(key, (one) => relations.get(one)?.children ?? []),
      ...closure(key, (one) => (parents.get(one) ?? []).map(({ parent }) => parent)),
    ],
    userCasts: facts.casts.filter((cast) => cast.builtin !== true),
    foreignKeysTo: (key) => keysTo.get(key) ?? [],
    foreignKeysFrom: (key) => keysFrom.get(key) ?? [],
    dependents: (key) => (dependents.get(key) ?? []).map((fact) => fact.from),
    eventTriggers: facts.eventTriggers.filter((trigger) => trigger.enabled),
  };
}

/** All that can be reached from it, without itself. */
function closure(from: QualifiedName, next: (key: QualifiedName) => readonly QualifiedName[]): readonly QualifiedName[] {
  const reached = new Set([from]);
  for (const key of reached) for (const one of next(key)) reached.add(one);
  reached.delete(from);
  return [...reached];
}

function firstIn<T>(path: readonly string[], name: string, index: ReadonlyMap<QualifiedName, T>): T | undefined {
  for (const schema of path) {
    const found = index.get(qualify(schema, name));
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * Candidates in the schemas of the path. A candidate is hidden only by one of an earlier schema with exactly the same
 * arguments; a variadic one hides nothing and is hidden by nothing, since it competes in its expanded form.
 */
function visible<T extends { readonly schema: string }>(
  path: readonly string[], facts: readonly T[], identity: (fact: T) => string | undefined,
): readonly T[] {
  const inPath = facts.filter((fact) => path.includes(fact.schema));
  if (inPath.length < 2 || inPath.every((fact) => fact.schema === inPath[0]?.schema)) return inPath;
  return inPath.filter((fact) => {
    const own = identity(fact);
    const at = path.indexOf(fact.schema);
    return own === undefined || !inPath.some((other) => path.indexOf(other.schema) < at && identity(other) === own);
  });
}

function argumentsKey(fact: FunctionFact): string | undefined {
  return fact.variadic !== undefined || fact.defaults > 0 ? undefined : fact.args.join(',');
}

function operandsKey(fact: OperatorFact): string {
  return `${fact.left ?? ''},${fact.right}`;
}

function byKey<T extends { readonly schema: string; readonly name: string }>(facts: readonly T[]): ReadonlyMap<QualifiedName, T> {
  return new Map(facts.map((fact) => [keyOf(fact), fact]));
}

function groupBy<T>(facts: readonly T[], key: (fact: T) => string): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>();
  for (const fact of facts) {
    const group = groups.get(key(fact));
    if (group === undefined) groups.set(key(fact), [fact]);
    else group.push(fact);
  }
  return groups;
}
