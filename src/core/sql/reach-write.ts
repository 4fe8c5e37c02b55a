/**
 * Reach of a write: everything attached to the relation that the server runs along with it (H13, H25): triggers, rules,
 * defaults, checks, domains, generated columns, index expressions and row security, for its partitions too, and what
 * foreign keys, TRUNCATE and DROP pass on to other relations (H69).
 */
import { joinRisks, nothing, type Risk } from '../risk.ts';
import { tokensOf } from '../../lib/pgsql/tokens.ts';
import type { ColumnFact, RelationFact, RuleFact, WriteEvent } from './catalog-facts.ts';
import { keyOf, qualify } from './catalog.ts';
import { firesOn } from './firing-triggers.ts';
import type { RelationMention, RelationUse } from './mentions.ts';
import { cascadeRisk } from './reach-cascade.ts';
import { triggerFunctionRisk } from './reach-function.ts';
import { reachBound, reachNested } from './reach-names.ts';
import { childrenOf, foreignRisk, policiesRisk, relationRisk } from './reach-relation.ts';
import { boundScope, danger, deeper, depthMax, joinAll, opaque, remember, through, type Scope } from './reach-scope.ts';
import { typeRisk } from './reach-type.ts';

export type Write = Pick<RelationMention, 'use' | 'columns' | 'cascade'>;

export function writeRisk(scope: Scope, fact: RelationFact, write: Write): Risk {
  if (scope.depth >= depthMax) return opaque('reach.too-deep', `What writing ${keyOf(fact)} reaches is too deep to follow.`, { kind: 'unknown', object: keyOf(fact) });
  const at = deeper(scope);
  const key = ['write', keyOf(fact), write.use, write.cascade === true, ...write.columns ?? ['*', '*']].join('\u0000');
  return remember(at, key, () => joinAll([attachedRisk(at, fact, write), cascadeRisk(at, fact, write)]));
}

/** What the server runs for this relation and its partitions, without what it passes on to other relations. */
export function attachedRisk(scope: Scope, fact: RelationFact, write: Write): Risk {
  const event = eventOf(write.use);
  if (event === null) return maintenanceRisk(scope, fact, write.use);
  const own = fact.kind === 'view' ? viewWriteRisk(scope, fact, event, write) : tableWriteRisk(scope, fact, event, write);
  return joinAll([own, ...childrenOf(scope, fact).map((child) => through(attachedRisk(scope, child, write), `partition ${keyOf(child)}`))]);
}

function eventOf(use: RelationUse): WriteEvent | null {
  return use === 'insert' || use === 'update' || use === 'delete' || use === 'truncate' ? use : null;
}

function tableWriteRisk(scope: Scope, fact: RelationFact, event: WriteEvent, write: Write): Risk {
  const rules = rulesFor(fact, event).map((rule) => ruleRisk(scope, fact, rule));
  const rows = event === 'insert' || event === 'update' ? rowRisk(scope, fact, event) : nothing;
  const commands = event === 'delete' || event === 'update' ? ['select', event] : [event];
  return joinAll([foreignRisk(fact), ...rules, triggersRisk(scope, fact, event, write.columns), rows, policiesRisk(scope, fact, commands)]);
}

function triggersRisk(scope: Scope, fact: RelationFact, event: WriteEvent, columns: readonly string[] | undefined): Risk {
  return joinAll((fact.triggers ?? []).filter((trigger) => firesOn(fact, trigger, event, columns)).map((trigger) => through(joinAll([
    triggerFunctionRisk(scope, trigger.function),
    trigger.when === undefined ? nothing : reachBound(scope, trigger.when, 'expression', `the trigger ${trigger.name}`),
  ]), `trigger ${trigger.name} on ${keyOf(fact)}`)));
}

/** A row that is made runs the defaults, checks and index expressions of its table and the checks of its types. */
function rowRisk(scope: Scope, fact: RelationFact, event: 'insert' | 'update'): Risk {
  const key = keyOf(fact);
  const columns = fact.columns.map((column) => columnRisk(scope, fact, column));
  const checks = (fact.checks ?? []).map((sql) => through(reachBound(scope, sql, 'expression', `a check of ${key}`), `check of ${key}`));
  const moved = event === 'update' && fact.kind === 'partitioned-table'
    ? [triggersRisk(scope, fact, 'insert', undefined), triggersRisk(scope, fact, 'delete', undefined)] : [];
  return joinAll([...columns, ...checks, indexRisk(scope, fact), ...moved]);
}

function columnRisk(scope: Scope, fact: RelationFact, column: ColumnFact): Risk {
  const name = `${keyOf(fact)}.${column.name}`;
  const what = column.generated === undefined ? 'default' : 'generated column';
  const value = column.default === undefined ? nothing
    : through(reachBound(scope, column.default, 'expression', `the ${what} ${name}`), `${what} ${name}`);
  return joinRisks(value, through(typeRisk(scope, column.type), `column ${name}`));
}

function indexRisk(scope: Scope, fact: RelationFact): Risk {
  const key = keyOf(fact);
  return joinAll((fact.indexExpressions ?? []).map((sql) =>
    through(reachBound(scope, sql, 'expression', `an index of ${key}`), `index of ${key}`)));
}

/** ANALYZE, REINDEX, CLUSTER and ALTER compute index expressions and checks; REFRESH runs the definition. */
function maintenanceRisk(scope: Scope, fact: RelationFact, use: RelationUse): Risk {
  if (use === 'drop') return nothing;
  const definition = fact.kind === 'materialized-view' && fact.definition !== undefined
    ? through(reachBound(scope, fact.definition, 'statement', keyOf(fact)), `materialized view ${keyOf(fact)}`) : nothing;
  const rows = use === 'alter' && fact.kind !== 'view' ? rowRisk(scope, fact, 'insert') : indexRisk(scope, fact);
  return joinAll([definition, rows, ...childrenOf(scope, fact).map((child) => maintenanceRisk(scope, child, use))]);
}

/** A view writes through its rules, its INSTEAD OF triggers, or else to the relations it selects from (H13). */
function viewWriteRisk(scope: Scope, fact: RelationFact, event: WriteEvent, write: Write): Risk {
  const rules = rulesFor(fact, event);
  const parts = [...rules.map((rule) => ruleRisk(scope, fact, rule)), triggersRisk(scope, fact, event, undefined)];
  const instead = rules.some((rule) => rule.instead)
    || (fact.triggers ?? []).some((trigger) => trigger.insteadOf && trigger.enabled && trigger.events.includes(event));
  // A conditional INSTEAD rule leaves other rows to the view itself, so its base is counted whenever it can be.
  return joinAll([...parts, instead && rules.length === 0 ? nothing : baseRisk(scope, fact, write)]);
}

function baseRisk(scope: Scope, fact: RelationFact, write: Write): Risk {
  const statements = fact.definition === undefined ? null : scope.read(fact.definition, 'statement');
  if (statements === null) return opaque('catalog.unreadable', `The view ${keyOf(fact)} could not be read.`, { kind: 'unknown', object: keyOf(fact) });
  const bound = boundScope(scope);
  const bases = statements.flatMap((statement) => statement.mentions.relations)
    .map((mention) => scope.catalog.relationNamed(qualify(mention.schema ?? 'pg_catalog', mention.name)))
    .filter((base): base is RelationFact => base !== undefined && base.builtin !== true);
  const passedOn: Write = { use: write.use, ...(write.cascade === undefined ? {} : { cascade: write.cascade }) };
  const read = reachNested(bound, statements);
  return through(joinAll([read, ...bases.map((base) => relationRisk(bound, base, passedOn, false))]), `view ${keyOf(fact)}`);
}

function rulesFor(fact: RelationFact, event: WriteEvent): readonly RuleFact[] {
  return (fact.rules ?? []).filter((rule) => rule.event === event);
}

function ruleRisk(scope: Scope, fact: RelationFact, rule: RuleFact): Risk {
  const via = `rule ${rule.name} on ${keyOf(fact)}`;
  const reason = danger('HIGH', 'relation.rule', `A rule on ${keyOf(fact)} rewrites the statement into others.`,
    { kind: 'call', object: rule.name, objectKind: 'rule' }, { destroys: true, recoverability: 'point-in-time' });
  const actions = ruleActions(rule.definition);
  if (actions === '') return through(reason, via);
  const statements = actions === null ? null : scope.read(actions, 'statement');
  if (statements === null) return through(joinRisks(reason, opaque('catalog.unreadable', `The rule ${rule.name} could not be read.`, { kind: 'unknown' })), via);
  return through(joinRisks(reason, reachNested(boundScope(scope), statements)), via);
}

/**
 * The actions of pg_get_ruledef's text; '' for NOTHING, null when the text has another shape. A condition only limits them.
 * The name of a rule may hold any text, so DO counts only as a word of its own, which no unquoted name can be.
 */
function ruleActions(definition: string): string | null {
  let at = 0;
  for (const { kind, text } of tokensOf(definition)) {
    at += text.length;
    if (kind !== 'word' || text !== 'DO') continue;
    const actions = definition.slice(at).trim().replace(/^(?:INSTEAD|ALSO)\s/, '').replace(/;$/, '').trim();
    if (/^NOTHING$/i.test(actions)) return '';
    return actions.startsWith('(') && actions.endsWith(')') ? actions.slice(1, -1) : actions;
  }
  return null;
}
