/**
 * Reach of all mentions of a statement, and of SQL nested in the catalog or given as text: the join of what each
 * relation, function, operator, type and attribute reaches, and of what any expression may call without naming it.
 */
import { joinRisks, nothing, type Risk } from '../risk.ts';
import type { Mentions } from './mentions.ts';
import { reachAttribute, reachFunction } from './reach-function.ts';
import { equalityRisk, reachOperator } from './reach-operator.ts';
import { reachRelation } from './reach-relation.ts';
import { boundScope, joinAll, opaque, type Scope } from './reach-scope.ts';
import { ambientRisk, coercionRisk, reachType } from './reach-type.ts';
import type { Statement } from './statement.ts';

export function reachMentions(scope: Scope, mentions: Mentions): Risk {
  const ofRow = mentions.fields !== undefined;
  return joinAll([
    ...mentions.relations.map((mention) => reachRelation(scope, mention)), ...mentions.functions.map((mention) => reachFunction(scope, mention)),
    ...mentions.operators.map((mention) => reachOperator(scope, mention)), ...mentions.types.map((mention) => reachType(scope, mention)),
    // Deparsed SQL writes such a call as a function, so there x.name is a column.
    ...(scope.bound ? [] : [...mentions.attributes.map((name) => reachAttribute(scope, name, ofRow)), ...(mentions.fields ?? []).map((name) => reachAttribute(scope, name, false))]),
    isEmpty(mentions) ? nothing : reachUnnamed(scope, mentions),
  ]);
}

/** IN, CASE, USING, DISTINCT, UNION and ORDER BY look up `=` or an operator class; any expression may be coerced. */
function reachUnnamed(scope: Scope, mentions: Mentions): Risk {
  const equality = scope.session.catalogChanged ? nothing : equalityRisk(scope);
  const writes = mentions.relations.some((mention) => mention.use === 'insert' || mention.use === 'update');
  return joinAll([equality, ambientRisk(scope, writes), coercionRisk(scope, mentions)]);
}

function isEmpty(mentions: Mentions): boolean {
  return mentions.relations.length === 0 && mentions.functions.length === 0 && mentions.operators.length === 0
    && mentions.types.length === 0 && mentions.attributes.length === 0 && (mentions.fields?.length ?? 0) === 0;
}

/** SQL that runs inside another statement: never anything that changes the session or its transaction. */
export function reachNested(scope: Scope, statements: readonly Statement[]): Risk {
  return joinAll(statements.map((statement) => {
    const named = joinOwn(statement.own, reachMentions(scope, statement.mentions));
    const own = statement.planned === undefined ? named : joinRisks(named, reachMentions(scope, statement.planned));
    const leaves = statement.changes.length > 0 || statement.transaction !== undefined || statement.runs !== undefined
      || statement.copy !== undefined;
    if (!leaves) return own;
    return joinRisks(own, opaque('body.session-change', 'Nested SQL changes the session, its transaction or runs what is prepared elsewhere.', { kind: 'unknown' }));
  }));
}

/** The shape names an object as written; where the catalog says which one it is, that says it all. */
function joinOwn(own: Risk, reached: Risk): Risk {
  const effects = own.effects.filter((effect) => effect.detail !== undefined || !reached.effects.some((other) =>
    other.kind === effect.kind && (other.object === effect.object || other.object?.endsWith(`.${effect.object}`) === true)));
  return joinRisks({ ...own, effects }, reached);
}

/** An expression or query that the server deparsed with an empty search_path. */
export function reachBound(scope: Scope, sql: string, kind: 'statement' | 'expression', what: string): Risk {
  const statements = scope.read(sql, kind);
  if (statements === null) return opaque('catalog.unreadable', `The definition of ${what} could not be read.`, { kind: 'unknown', object: what });
  return reachNested(boundScope(scope), statements);
}
