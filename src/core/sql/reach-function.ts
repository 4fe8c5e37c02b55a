/**
 * Reach of a call: every function of that name that the search_path can reach and that takes as many arguments counts
 * (H19, H29, H30). PostgreSQL's own and reviewed extensions' are judged by the reviewed tables, the user's by their
 * bodies. Includes attribute notation (H20) and one-argument calls that are casts in disguise.
 */
import { isAtLeast, joinRisks, nothing, type Risk } from '../risk.ts';
import type { FunctionFact, QualifiedName } from './catalog-facts.ts';
import { keyOf, signatureOf } from './catalog.ts';
import { builtinFunction, extensionFunction, isReviewedExtension, type FunctionRow } from './functions.ts';
import type { FunctionMention } from './mentions.ts';
import { argumentRisk } from './reach-argument.ts';
import { bodyRisk } from './reach-body.ts';
import { danger, effectOnly, joinAll, opaque, pathFor, remember, through, type Scope } from './reach-scope.ts';
import { isCompositeLike, reachType } from './reach-type.ts';
import { isSystemSchema } from './system-relations.ts';

export function reachFunction(scope: Scope, mention: FunctionMention): Risk {
  // Naming a function in DDL does not run it; the statement's shape says what the DDL does.
  if (mention.kind === 'reference') return nothing;
  const shown = mention.schema === undefined ? mention.name : `${mention.schema}.${mention.name}`;
  const distrust = untrustedSession(scope, mention.schema, `The function ${shown}`);
  if (distrust !== null) return joinRisks(distrust, namedRow(scope, mention));
  const candidates = candidatesFor(scope, mention);
  const byName = remember(scope, `call\u0000${mention.schema ?? ''}\u0000${mention.name}\u0000${mention.argCount ?? ''}`, () => joinAll([
    asCast(scope, mention, candidates.length > 0), ...candidates.map((fact) => functionRisk(scope, fact)),
  ]));
  const rows = new Set(candidates.map(rowWithArgument).filter((row) => row !== undefined));
  const byArgument = [...rows].map((row) => argumentRisk(scope, row, mention));
  const known = joinAll([byName, ...byArgument]);
  if (candidates.length > 0 || known !== nothing || isCastName(scope, mention)) return known;
  return joinRisks(namedRow(scope, mention), opaque('function.unknown', `The function ${shown} is not known, so it may do anything.`,
    { kind: 'unknown', object: shown, objectKind: 'function' }, 'none'));
}

/** A name that is dangerous wherever it comes from keeps its level when the function itself is not known. */
function namedRow(scope: Scope, mention: FunctionMention): Risk {
  const row = extensionFunction(mention.name) ?? builtinFunction(mention.name);
  return row === undefined || row.argument !== undefined || scope.bound ? nothing : rowRisk(row, mention.name);
}

function candidatesFor(scope: Scope, mention: FunctionMention): readonly FunctionFact[] {
  const all = scope.catalog.functions(pathFor(scope, mention.schema) ?? [], mention.name);
  const fitting = all.filter((fact) => takes(fact, mention.argCount));
  // A count that fits nothing is a form counted otherwise (WITHIN GROUP, CALL with OUT): then every one counts.
  return fitting.length > 0 ? fitting : all;
}

/** VARIADIC may be written out or expanded, and an ordered-set aggregate's arguments stand in two places. */
export function takes(fact: FunctionFact, argCount: number | undefined): boolean {
  if (argCount === undefined || fact.kind === 'procedure' || fact.kind === 'aggregate') return true;
  if (fact.variadic !== undefined) return argCount >= fact.args.length - 1 - fact.defaults;
  return argCount <= fact.args.length && argCount >= fact.args.length - fact.defaults;
}

function asCast(scope: Scope, mention: FunctionMention, isFunctionToo: boolean): Risk {
  if (!isCastName(scope, mention)) return nothing;
  const type = scope.catalog.type(pathFor(scope, mention.schema) ?? [], mention.name);
  if (type?.builtin === true && isFunctionToo && scope.catalog.userCasts.length === 0) return nothing;
  return reachType(scope, mention.schema === undefined ? { name: mention.name } : { schema: mention.schema, name: mention.name });
}

function isCastName(scope: Scope, mention: FunctionMention): boolean {
  if (mention.argCount !== undefined && mention.argCount !== 1) return false;
  return scope.catalog.type(pathFor(scope, mention.schema) ?? [], mention.name) !== undefined
    || (mention.schema === undefined && !scope.bound && scope.session.temporaryOpaque.has(mention.name));
}

/**
 * H20: `x.name` calls name(x) unless x has that column, which always wins. A relation's name stands for its row;
 * `(expression).name` may call any function of one argument, whatever the expression's type.
 */
export function reachAttribute(scope: Scope, name: string, ofRow: boolean): Risk {
  if (scope.session.catalogChanged) {
    return opaque('session.catalog-changed', `Objects were changed in this transaction, so .${name} may be a call.`, { kind: 'unknown', object: name });
  }
  if (scope.catalog.functionsAnywhere(name).length === 0) return nothing;
  return remember(scope, `attribute\u0000${name}\u0000${ofRow}`, () => {
    const path = pathFor(scope, undefined);
    const all = path === null ? scope.catalog.functionsAnywhere(name) : scope.catalog.functions(path, name);
    const risks = all.filter((fact) => takes(fact, 1) && mayTake(scope, fact, name, ofRow)).map((fact) => unseenCallRisk(scope, fact));
    return through(joinAll(risks), `attribute .${name}`);
  });
}

function mayTake(scope: Scope, fact: FunctionFact, name: string, ofRow: boolean): boolean {
  const type = fact.variadic ?? fact.args[0];
  if (type === undefined) return false;
  if (scope.catalog.relationNamed(type)?.columns.some((column) => column.name === name) === true) return false;
  if (!ofRow || isCompositeLike(scope, type)) return true;
  return scope.catalog.userCasts.some((cast) => cast.context === 'implicit' && isCompositeLike(scope, cast.source));
}

/** What calling exactly this function does, apart from what its constant arguments decide. */
function functionRisk(scope: Scope, fact: FunctionFact): Risk {
  if (fact.builtin === true) return builtinRisk(fact);
  const row = extensionFunction(fact.name);
  const reviewed = fact.extension !== undefined && isReviewedExtension(fact.extension) && fact.language !== 'plpgsql';
  if (reviewed) {
    if (row !== undefined) return rowRisk(row, signatureOf(fact));
    return fact.volatility === 'volatile' ? volatileRisk(fact) : nothing;
  }
  const risk = remember(scope, `function\u0000${signatureOf(fact)}`, () => bodyRisk(scope, fact));
  return row === undefined ? risk : joinRisks(risk, rowRisk(row, signatureOf(fact)));
}

function builtinRisk(fact: FunctionFact): Risk {
  const row = fact.schema === 'pg_catalog' ? builtinFunction(fact.name) : undefined;
  if (row !== undefined) return rowRisk(row, signatureOf(fact));
  return fact.volatility === 'volatile' ? volatileRisk(fact) : nothing;
}

function volatileRisk(fact: FunctionFact): Risk {
  const name = signatureOf(fact);
  return opaque('function.volatile', `${keyOf(fact)} is volatile and what it does was not reviewed.`,
    { kind: 'unknown', object: name, objectKind: 'function' });
}

/** A call that does not stand as one (attribute notation, an operator, a cast): its arguments could be anything. */
export function unseenCallRisk(scope: Scope, fact: FunctionFact): Risk {
  const row = rowWithArgument(fact);
  const own = functionRisk(scope, fact);
  return row === undefined ? own : joinRisks(own, argumentRisk(scope, row, { name: fact.name, constants: [], kind: 'call' }));
}

/** Rows whose arguments decide are judged there; only ts_rewrite has a form without SQL, which is not volatile. */
function rowWithArgument(fact: FunctionFact): FunctionRow | undefined {
  const row = fact.builtin === true ? builtinFunction(fact.name) : extensionFunction(fact.name);
  if (row?.argument === undefined) return undefined;
  return fact.name === 'ts_rewrite' && fact.volatility !== 'volatile' ? undefined : row;
}

function rowRisk(row: FunctionRow, object: string): Risk {
  if (row.argument !== undefined) return nothing;
  const effect = { kind: row.effect, object, objectKind: 'function', detail: row.note };
  if (!isAtLeast(row.level, 'LOW')) return nothing;
  const name = object.split('(')[0] ?? object;
  return danger(row.level, `function.${row.effect}`, `${name} ${row.note}.`, effect, {
    destroys: row.destroys ?? false, ...(row.recoverability === undefined ? {} : { recoverability: row.recoverability }),
  });
}

/** A function that the catalog names by signature: behind an operator, a cast, a type or an operator class. */
export function signedFunctionRisk(scope: Scope, signature: string, of: string): Risk {
  const fact = scope.catalog.functionSigned(signature);
  if (fact !== undefined) return unseenCallRisk(scope, fact);
  return opaque('function.unknown', `${of} runs a function that is not known.`,
    { kind: 'unknown', object: signature, objectKind: 'function' }, 'none');
}

/** A trigger function, by qualified name: it takes no arguments. */
export function triggerFunctionRisk(scope: Scope, name: QualifiedName): Risk {
  const risk = signedFunctionRisk(scope, `${name}()`, `The trigger function ${name}`);
  return joinRisks(risk, effectOnly({ kind: 'call', object: `${name}()`, objectKind: 'function' }));
}

/** Why a name cannot be resolved in this session at all; null when it can. */
export function untrustedSession(scope: Scope, schema: string | undefined, subject: string): Risk | null {
  if (scope.bound || (schema !== undefined && isSystemSchema(schema))) return null;
  const effect = { kind: 'unknown' } as const;
  if (schema?.startsWith('pg_temp') === true) return opaque('session.temporary-code', `${subject} is in the session's temporary schema.`, effect);
  if (scope.session.catalogChanged) {
    return opaque('session.catalog-changed', `${subject} may be another since this transaction changed objects; qualify it with pg_catalog, or end the transaction first.`, effect);
  }
  if (schema === undefined && scope.session.searchPath === null) {
    return opaque('session.search-path-unknown', `${subject} cannot be resolved while the search_path is not known.`, effect);
  }
  return null;
}
