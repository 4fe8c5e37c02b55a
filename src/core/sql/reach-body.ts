/**
 * What calling a user's function does, proved from its body where that can be done: SQL and PL/pgSQL whose statements
 * are all SAFE or LOW and stay inside the session's state. Whatever cannot be proved is HIGH, may destroy, and keeps the
 * effects that were found, so that an approver sees them. Declared volatility proves nothing here (H31).
 */
import { isAtLeast, joinRisks, nothing, type Risk } from '../risk.ts';
import type { FunctionFact, QualifiedName } from './catalog-facts.ts';
import { keyOf, signatureOf } from './catalog.ts';
import { isCut } from './next-session.ts';
import { reachBound, reachNested } from './reach-names.ts';
import { boundScope, callerScope, danger, deeper, depthMax, joinAll, opaque, scopeWithPath, through, type Scope } from './reach-scope.ts';
import { typeRisk } from './reach-type.ts';
import { unseenCallRisk } from './reach-function.ts';

export function bodyRisk(scope: Scope, fact: FunctionFact): Risk {
  const name = signatureOf(fact);
  const unproved = (why: string): Risk => opaque('function.unproved', `${keyOf(fact)} ${why}.`,
    { kind: 'unknown', object: name, objectKind: 'function' });
  const language = fact.language;
  if (scope.depth >= depthMax) return unproved('calls too deeply to be followed');
  if (fact.hasSupport === true) return unproved('has planner code that its body does not show');
  const at = configuredScope(deeper(scope), fact);
  if (at === null) return unproved('changes settings while it runs');
  if (fact.kind === 'aggregate') return aggregateRisk(deeper(scope), fact, unproved);
  if (language === 'internal' && rangeConstructors.has(fact.source ?? '')) return signatureRisk(deeper(scope), fact);
  if (language !== 'sql' && language !== 'plpgsql') return unproved(`is written in ${language}, which cannot be read`);
  if (fact.source === undefined) return unproved('has no readable body');
  // A recursive call finds this entry active: its own work is what is being proved.
  const statements = scope.read(fact.source, language === 'sql' ? 'statement' : 'plpgsql');
  if (statements === null) return unproved('has a body that cannot be read or builds SQL at run time');
  const body = through(reachNested(at, statements), `function ${keyOf(fact)}`);
  const whole = joinAll([body, signatureRisk(deeper(scope), fact)]);
  if (!isAtLeast(whole.level, 'HIGH')) return whole;
  const isKnown = whole.effects.every((effect) => effect.kind !== 'unknown');
  return isKnown ? joinRisks(whole, actingRisk(fact)) : joinRisks(whole, unproved('is not proved harmless by its body'));
}

/** Everything it does was found, and speaks for itself. */
function actingRisk(fact: FunctionFact): Risk {
  return danger('HIGH', 'function.acts', `${keyOf(fact)} does more than read, as its body shows.`,
    { kind: 'call', object: signatureOf(fact), objectKind: 'function' });
}

/** Where the body's names are resolved; null when its SET clauses do more than fix the search_path. */
function configuredScope(scope: Scope, fact: FunctionFact): Scope | null {
  const config = fact.config ?? [];
  const path = config.find((setting) => /^search_path=/i.test(setting));
  if (config.some((setting) => setting !== path && !harmlessSetting.test(setting))) return null;
  if (fact.boundBody === true) return boundScope(scope);
  return path === undefined ? callerScope(scope) : scopeWithPath(scope, parsePath(path.slice('search_path='.length)));
}

const harmlessSetting = /^(work_mem|statement_timeout|client_min_messages|timezone|datestyle|intervalstyle|extra_float_digits|jit|enable_\w+|plan_cache_mode|bytea_output)=/i;

/** A search_path as pg_proc.proconfig writes it; null when it depends on the role, or holds a name that the server would cut. */
function parsePath(value: string): readonly string[] | null {
  const names = value.split(',').map((part) => part.trim()).filter((part) => part !== '' && part !== '""');
  if (names.some((part) => part.includes('$user') || !/^("[^",]+"|[a-z_][a-z0-9_$]*)$/i.test(part))) return null;
  const schemas = names.map((part) => (part.startsWith('"') ? part.slice(1, -1) : part.toLowerCase()));
  return schemas.some(isCut) ? null : schemas;
}

function aggregateRisk(scope: Scope, fact: FunctionFact, unproved: (why: string) => Risk): Risk {
  const parts = (fact.uses ?? []).map((signature) => {
    const part = scope.catalog.functionSigned(signature);
    return part === undefined ? unproved('is built from a function that is not known') : unseenCallRisk(scope, part);
  });
  return fact.uses === undefined ? unproved('is an aggregate of unknown parts') : joinAll([...parts, signatureRisk(scope, fact)]);
}

/** What CREATE TYPE … AS RANGE makes: they compare their bounds, as the type's own functions do. */
const rangeConstructors: ReadonlySet<string> = new Set([
  'range_constructor2', 'range_constructor3', 'multirange_constructor0', 'multirange_constructor1', 'multirange_constructor2',
]);

/** Arguments and result are coerced to their types, and omitted arguments run their defaults. */
function signatureRisk(scope: Scope, fact: FunctionFact): Risk {
  const types: readonly QualifiedName[] = [...fact.args, fact.returns, ...fact.resultTypes ?? []];
  const defaults = fact.defaultExpressions === undefined
    ? nothing : reachBound(scope, `(${fact.defaultExpressions})`, 'expression', `the defaults of ${keyOf(fact)}`);
  return joinAll([defaults, ...types.map((type) => typeRisk(scope, type))]);
}
