/**
 * Reach of types: a cast to a type runs the casts that users defined for it (H22), its domain checks (H23), its parts'
 * and, for base types of the user's, their input and output functions. Also what expressions do without naming a type:
 * implicit casts, operator classes, and untyped literals that take the type of a column beside them.
 */
import { isAtLeast, nothing, type Risk } from '../risk.ts';
import type { CastFact, QualifiedName, TypeFact } from './catalog-facts.ts';
import { keyOf } from './catalog.ts';
import type { Mentions, TypeMention } from './mentions.ts';
import { signedFunctionRisk, untrustedSession } from './reach-function.ts';
import { reachBound } from './reach-names.ts';
import { boundScope, joinAll, opaque, pathFor, remember, through, type Scope } from './reach-scope.ts';

const serialTypes: ReadonlySet<string> = new Set(['serial', 'bigserial', 'smallserial', 'serial2', 'serial4', 'serial8']);

export function reachType(scope: Scope, mention: TypeMention): Risk {
  const shown = mention.schema === undefined ? mention.name : `${mention.schema}.${mention.name}`;
  const distrust = untrustedSession(scope, mention.schema, `The type ${shown}`);
  if (distrust !== null) return distrust;
  const path = pathFor(scope, mention.schema) ?? [];
  if (mention.schema === undefined && isTemporaryType(scope, mention.name)) {
    return opaque('type.temporary-opaque', `The type ${shown} may be one that this session made.`, { kind: 'unknown', object: shown, objectKind: 'type' });
  }
  const fact = scope.catalog.type(path, mention.name);
  if (fact !== undefined) return typeRisk(scope, keyOf(fact));
  if (mention.schema === undefined && serialTypes.has(mention.name)) return nothing;
  return opaque('type.unknown', `The type ${shown} is not known, so a cast to it may run anything.`,
    { kind: 'unknown', object: shown, objectKind: 'type' }, 'none');
}

/** The temporary schema comes first for types, and every temporary table is a type too. */
function isTemporaryType(scope: Scope, name: string): boolean {
  return !scope.bound && (scope.session.temporary.has(name) || scope.session.temporaryOpaque.has(name));
}

/** What making or showing a value of the type can run. */
export function typeRisk(scope: Scope, key: QualifiedName): Risk {
  const fact = scope.catalog.typeNamed(key);
  if (fact?.builtin === true && scope.catalog.userCasts.length === 0) return nothing;
  return remember(scope, `type\u0000${key}`, () => {
    if (fact === undefined) return opaque('type.unknown', `The type ${key} is not known.`, { kind: 'unknown', object: key, objectKind: 'type' }, 'none');
    const casts = scope.catalog.userCasts.filter((cast) => cast.target === key).map((cast) => castRisk(scope, cast));
    return joinAll([...casts, partsRisk(scope, fact)]);
  });
}

function partsRisk(scope: Scope, fact: TypeFact): Risk {
  const key = keyOf(fact);
  const checks = (fact.checks ?? []).map((check) => reachBound(boundScope(scope), check, 'expression', `a check of the domain ${key}`));
  const functions = (fact.functions ?? []).map((signature) => signedFunctionRisk(scope, signature, `The type ${key}`));
  const base = fact.base === undefined ? nothing : typeRisk(scope, fact.base);
  const columns = fact.kind !== 'composite' ? [] : scope.catalog.relationNamed(key)?.columns ?? [];
  const fields = fact.builtin === true ? [] : columns.map((column) => typeRisk(scope, column.type));
  return joinAll([through(joinAll([...checks, ...functions]), `type ${key}`), base, ...fields]);
}

function castRisk(scope: Scope, cast: CastFact): Risk {
  if (cast.function === undefined) return nothing;
  const name = `cast (${cast.source} as ${cast.target})`;
  return through(signedFunctionRisk(scope, cast.function, `The ${name}`), name);
}

/**
 * Casts that no text names: implicit ones, assignment casts of a write, casts to json that the JSON functions look up;
 * and support functions of operator classes that sorting, grouping and joining call.
 */
export function ambientRisk(scope: Scope, writes: boolean): Risk {
  const { userCasts, facts } = scope.catalog;
  if (userCasts.length === 0 && facts.operatorClassFunctions.length === 0) return nothing;
  return remember(scope, `ambient\u0000${writes}`, () => joinAll([
    ...userCasts.filter((cast) => isAmbient(cast, writes) && !isGuarded(scope, cast.source)).map((cast) => castRisk(scope, cast)),
    ...facts.operatorClassFunctions.filter((signature) => !needsGuarded(scope, signature)).map((signature) => through(signedFunctionRisk(scope, signature, 'An operator class'), 'operator class')),
  ]));
}

/** A function that takes such a value cannot be called unseen. */
function needsGuarded(scope: Scope, signature: string): boolean {
  return scope.catalog.functionSigned(signature)?.args.some((type) => isGuarded(scope, type)) === true;
}

/**
 * A base type whose own input and output functions are not proved harmless: every way to a value of it (a column, a
 * cast, a function's result) counts by itself, so what takes such a value need not count where none is in play.
 */
export function isGuarded(scope: Scope, key: QualifiedName): boolean {
  const fact = scope.catalog.typeNamed(key);
  if (fact === undefined || fact.kind !== 'base' || fact.builtin === true) return false;
  return (fact.functions ?? []).some((signature) => isAtLeast(signedFunctionRisk(boundScope(scope), signature, key).level, 'HIGH'));
}

function isAmbient(cast: CastFact, writes: boolean): boolean {
  if (cast.context === 'implicit' || (writes && cast.context === 'assignment')) return true;
  return cast.target === 'pg_catalog.json' || cast.target === 'pg_catalog.jsonb';
}

/** An untyped literal beside a column of a domain, or of an array or range of one, is cast to it without a word. */
export function coercionRisk(scope: Scope, mentions: Mentions): Risk {
  if (mentions.relations.length === 0 || !anyUnsafeType(scope)) return nothing;
  const calls = mentions.functions.length + mentions.operators.length > 0;
  const types = new Set(mentions.relations.flatMap((mention) => {
    const relation = scope.catalog.relation(pathFor(scope, mention.schema) ?? [], mention.name);
    return relation === undefined || relation.builtin === true ? [] : relation.columns.map((column) => column.type);
  }));
  return joinAll([...types].filter((type) => calls || hasOwnFunctions(scope, type)).map((type) => typeRisk(scope, type)));
}

/** Even showing a value runs the output function of a base type of the user's. */
function hasOwnFunctions(scope: Scope, key: QualifiedName): boolean {
  const fact = scope.catalog.typeNamed(key);
  return fact === undefined || (fact.functions?.length ?? 0) > 0 || (fact.base !== undefined && hasOwnFunctions(scope, fact.base));
}

const unsafeTypes = new WeakMap<object, Map<string, boolean>>();

/** True when any type of the database could run something that is not proved harmless to this session. */
export function anyUnsafeType(scope: Scope): boolean {
  const { catalog } = scope;
  let known = unsafeTypes.get(catalog);
  if (known === undefined) unsafeTypes.set(catalog, known = new Map());
  const bound = boundScope(scope);
  const { key } = bound;
  const before = known.get(key);
  if (before !== undefined) return before;
  // While it is being found out, a body that asks is treated as if there were one.
  known.set(key, true);
  const found = catalog.facts.types.some((fact) => fact.builtin !== true
    && ((fact.checks?.length ?? 0) > 0 || (fact.functions?.length ?? 0) > 0) && isAtLeast(partsRisk(bound, fact).level, 'LOW'));
  if (bound.isLasting) known.set(key, found);
  else known.delete(key);
  return found;
}

const rowTypes: ReadonlySet<string> = new Set(['record', 'any', 'anyelement', 'anynonarray', 'anycompatible', 'anycompatiblenonarray'].map((name) => `pg_catalog.${name}`));

/** A type that a whole row can have: composite, a domain over one, or a pseudo-type that accepts one. */
export function isCompositeLike(scope: Scope, key: QualifiedName): boolean {
  if (rowTypes.has(key)) return true;
  const fact = scope.catalog.typeNamed(key);
  if (fact?.kind === 'domain' && fact.base !== undefined) return isCompositeLike(scope, fact.base);
  // One that is not known may be the row of a temporary table.
  return fact === undefined || fact.kind === 'composite';
}
