/**
 * Reach of an operator: every candidate of that name and arity counts, since argument types are not known from a parse
 * tree, and an untyped literal or parameter takes whatever type a candidate asks for (H21).
 */
import type { Risk } from '../risk.ts';
import type { OperatorFact } from './catalog-facts.ts';
import type { OperatorMention } from './mentions.ts';
import { signedFunctionRisk, untrustedSession } from './reach-function.ts';
import { joinAll, opaque, pathFor, remember, through, type Scope } from './reach-scope.ts';
import { isGuarded } from './reach-type.ts';

export function reachOperator(scope: Scope, mention: OperatorMention): Risk {
  const shown = mention.schema === undefined ? mention.name : `OPERATOR(${mention.schema}.${mention.name})`;
  const distrust = untrustedSession(scope, mention.schema, `The operator ${shown}`);
  if (distrust !== null) return distrust;
  return remember(scope, `operator\u0000${mention.schema ?? ''}\u0000${mention.name}\u0000${mention.arity}`, () => {
    const path = pathFor(scope, mention.schema) ?? [];
    const candidates = scope.catalog.operators(path, mention.name, mention.arity);
    if (candidates.length > 0) return joinAll(candidates.filter((fact) => !needsGuardedValues(scope, fact, candidates)).map((fact) => operatorRisk(scope, fact)));
    return opaque('operator.unknown', `The operator ${shown} is not known, so it may run anything.`,
      { kind: 'unknown', object: shown, objectKind: 'operator' }, 'none');
  });
}

/**
 * Both operands would have to be values of a guarded type: two untyped literals are taken for text where PostgreSQL has
 * the operator for text, and nothing becomes such a type by itself unless a cast to it is implicit.
 */
function needsGuardedValues(scope: Scope, fact: OperatorFact, candidates: readonly OperatorFact[]): boolean {
  if (fact.builtin === true || fact.left === undefined) return false;
  const forText = candidates.some((other) => other.builtin === true && other.left === 'pg_catalog.text' && other.right === 'pg_catalog.text');
  return forText && [fact.left, fact.right].every((type) => isGuarded(scope, type)
    && !scope.catalog.userCasts.some((cast) => cast.target === type && cast.context === 'implicit'));
}

/** `=` as the grammar itself looks it up; where the search_path is not known, any schema's may be meant. */
export function equalityRisk(scope: Scope): Risk {
  if (scope.session.searchPath !== null) return reachOperator(scope, { name: '=', arity: 2 });
  const own = scope.catalog.operatorsAnywhere('=', 2).filter((fact) => fact.builtin !== true);
  return joinAll(own.map((fact) => operatorRisk(scope, fact)));
}

function operatorRisk(scope: Scope, fact: OperatorFact): Risk {
  const name = `${fact.schema}.${fact.name}`;
  const risk = signedFunctionRisk(scope, fact.function, `operator ${name}`);
  return fact.builtin === true ? risk : through(risk, `operator ${name}`);
}
