/**
 * Reach of a relation: what reading it expands to (views, policies, partitions, foreign servers, PostgreSQL's own
 * relations that act), and for a write everything attached to it. Each is named in the effects with how it is reached.
 */
import { joinRisks, nothing, type Effect, type EffectKind, type Risk } from '../risk.ts';
import { tokensOf } from '../../lib/pgsql/tokens.ts';
import type { ColumnFact, RelationFact, RelationKind } from './catalog-facts.ts';
import { keyOf } from './catalog.ts';
import type { FunctionMention, RelationMention, RelationUse } from './mentions.ts';
import { readingSetting } from './observing.ts';
import { droppedBeyond } from './own-reading.ts';
import { untrustedSession } from './reach-function.ts';
import { reachBound, reachNested } from './reach-names.ts';
import { boundScope, danger, effectOnly, joinAll, opaque, pathFor, remember, through, type Scope } from './reach-scope.ts';
import { writeRisk } from './reach-write.ts';
import { isSystemSchema, systemRelation } from './system-relations.ts';

const effectOf: Readonly<Record<RelationUse, EffectKind>> = {
  read: 'read', insert: 'insert', update: 'update', delete: 'delete', truncate: 'truncate', lock: 'lock', alter: 'alter',
  drop: 'drop', maintain: 'maintenance',
};

const shownKind: Readonly<Record<RelationKind, string>> = {
  'table': 'table', 'partitioned-table': 'table', 'view': 'view', 'materialized-view': 'materialized view',
  'foreign-table': 'foreign table', 'sequence': 'sequence', 'composite': 'type',
};

export function reachRelation(scope: Scope, mention: RelationMention): Risk {
  const temporary = temporaryRisk(scope, mention);
  const found = scope.catalog.relation(pathFor(scope, mention.schema) ?? [], mention.name);
  // A temporary table may have been rolled back, and then the name means the permanent one again.
  if (temporary !== null && (found === undefined || mention.schema !== undefined)) return temporary;
  const shown = mention.schema === undefined ? mention.name : `${mention.schema}.${mention.name}`;
  const distrust = untrustedSession(scope, mention.schema, `The relation ${shown}`);
  const permanent = distrust ?? (found === undefined ? unknownRelation(scope, mention, shown) : relationRisk(scope, found, mention));
  const isFollowed = mention.cascade !== true || (distrust === null && found !== undefined);
  const whole = isFollowed ? permanent : joinRisks(permanent, effectOnly(droppedBeyond(`depends on ${shown}`)));
  return temporary === null ? whole : joinRisks(temporary, whole);
}

function temporaryRisk(scope: Scope, mention: RelationMention): Risk | null {
  if (scope.bound || (mention.schema !== undefined && !mention.schema.startsWith('pg_temp'))) return null;
  const { temporary, temporaryOpaque } = scope.session;
  const object = `pg_temp.${mention.name}`;
  const effect = { kind: effectOf[mention.use], object, objectKind: 'table' };
  if (temporaryOpaque.has(mention.name)) {
    // A temporary view may stand for any relation, and what hangs on a temporary table may write to any.
    const anything = effectOnly({ kind: 'unknown', object, objectKind: 'table' });
    return joinRisks(opaque('relation.temporary-opaque', `${object} is a temporary object that may run code.`, effect), anything);
  }
  if (temporary.has(mention.name)) return effectOnly(effect);
  return mention.schema === undefined ? null
    : opaque('relation.unknown', `${object} is not known to have been made by this session.`, effect);
}

function unknownRelation(scope: Scope, mention: RelationMention, shown: string): Risk {
  const effect = { kind: effectOf[mention.use], object: shown, objectKind: 'table' };
  if (scope.catalog.mode === 'offline' && !isSystemSchema(mention.schema ?? '')) {
    return { ...effectOnly(effect), assumptions: [`${shown} is taken for a plain table`] };
  }
  return opaque('relation.unknown', `${shown} is not in the catalog: it does not exist, or was made a moment ago.`, effect);
}

export function relationRisk(scope: Scope, fact: RelationFact, mention: Pick<RelationMention, 'use' | 'columns' | 'reads' | 'cascade'>, isWritten = true): Risk {
  const relatives = fact.builtin === true ? [] : scope.catalog.relatives(keyOf(fact));
  const effect = effectOnly({
    kind: effectOf[mention.use], object: keyOf(fact), objectKind: shownKind[fact.kind], ...columnsOf(fact, mention, isWritten), ...(relatives.length > 0 ? { relatives } : {}),
  });
  if (fact.builtin === true) return joinRisks(effect, systemRisk(fact, mention));
  if (mention.use === 'read') return joinRisks(effect, readRisk(scope, fact));
  if (mention.use === 'lock') return effect;
  return joinRisks(effect, writeRisk(scope, fact, mention));
}

/** `isWritten`: by the text of a statement; what the server passes on from another relation reads nothing for it. */
function columnsOf({ builtin, columns }: RelationFact, { use, columns: written, reads }: Pick<RelationMention, 'use' | 'columns' | 'reads'>, isWritten: boolean): Pick<Effect, 'columns' | 'reads'> {
  if (builtin === true) return {};
  const names = columns.map(({ name }) => name);
  // x.name is a function of the whole row where x has no such column.
  const isWhole = reads === undefined || !reads.selected.every((name) => names.includes(name) || systemColumns.has(name));
  const read = withSources(columns, isWhole ? names : names.filter((name) => reads.names.has(name)));
  if (use === 'read') return { columns: read };
  return { columns: written ?? names, ...(isWritten && use in rowWrites ? { reads: read } : {}) };
}

/** A generated column shows what it is computed of. */
function withSources(columns: readonly ColumnFact[], read: readonly string[]): readonly string[] {
  const expressions = columns.flatMap(({ name, generated, default: expression = '' }) => (generated !== undefined && read.includes(name) ? [expression] : []));
  if (expressions.length === 0) return read;
  const shown = new Set([...read, ...expressions.flatMap(tokensOf).flatMap(({ kind, text }) => (kind === 'quoted-name' ? text.slice(1, -1).replaceAll('""', '"') : text))]);
  return columns.map(({ name }) => name).filter((name) => shown.has(name));
}

const rowWrites = { insert: true, update: true, delete: true } as const;
const systemColumns: ReadonlySet<string> = new Set(['ctid', 'xmin', 'xmax', 'cmin', 'cmax', 'tableoid']);

/** What is not known to have those columns may have others in their place. */
function mayRead({ columns }: RelationFact, reads: RelationMention['reads'], wanted: readonly string[]): boolean {
  const names = columns.map(({ name }) => name);
  if (reads === undefined || !wanted.every((name) => names.includes(name))) return true;
  const isWhole = !reads.selected.every((name) => names.includes(name) || systemColumns.has(name));
  return isWhole || wanted.some((name) => reads.names.has(name));
}

function systemRisk(fact: RelationFact, { use, reads }: Pick<RelationMention, 'use' | 'reads'>): Risk {
  const key = keyOf(fact);
  if (use === 'lock' || use === 'maintain') return nothing;
  if (use !== 'read') {
    return danger('CRITICAL', 'relation.system-write', `${key} is PostgreSQL's own: changing it changes the server itself.`,
      { kind: effectOf[use], object: key, objectKind: 'system relation' }, { destroys: fact.kind !== 'view', recoverability: fact.kind === 'view' ? 'not-needed' : 'none' });
  }
  if (key === 'pg_catalog.pg_settings') return readingSetting(null);
  const row = systemRelation(key);
  if (row === undefined || (row.columns !== undefined && !mayRead(fact, reads, row.columns))) return nothing;
  return danger(row.level, row.rule, `${key} ${row.note}.`, { kind: row.effect, object: key, objectKind: 'system relation', detail: row.note });
}

/** Everything that reading a relation runs or reaches. A materialized view is a table that is read, and shows what it was made of. */
function readRisk(scope: Scope, fact: RelationFact): Risk {
  const isView = fact.kind === 'view';
  const isHeld = fact.kind === 'materialized-view';
  const hasMore = isView || isHeld || fact.foreign !== undefined || fact.children !== undefined || fact.rowSecurity === true
    || (fact.checks?.length ?? 0) + (fact.indexExpressions?.length ?? 0) > 0
    || fact.columns.some((column) => column.generated === 'virtual');
  if (!hasMore) return nothing;
  return remember(scope, `read\u0000${keyOf(fact)}`, () => joinAll([
    // FOR UPDATE and FOR SHARE, of a view too, apply the policies of UPDATE to what they read.
    isView ? viewRisk(scope, fact) : nothing, isHeld ? heldRisk(scope, fact) : nothing, foreignRisk(fact), policiesRisk(scope, fact, ['select', 'update']), plannedRisk(scope, fact),
    ...fact.columns.filter((column) => column.generated === 'virtual').map((column) =>
      reachBound(scope, column.default ?? '', 'expression', `the generated column ${keyOf(fact)}.${column.name}`)),
    ...childrenOf(scope, fact).map((child) => through(readRisk(scope, child), `partition ${keyOf(child)}`)),
  ]));
}

function viewRisk(scope: Scope, fact: RelationFact): Risk {
  const key = keyOf(fact);
  if (fact.definition === undefined) return opaque('relation.unknown', `The definition of the view ${key} is not known.`, { kind: 'unknown', object: key, objectKind: 'view' });
  return through(reachBound(scope, fact.definition, 'statement', `the view ${key}`), `${shownKind[fact.kind]} ${key}`);
}

/** Nothing that it was made by runs again. */
function heldRisk(scope: Scope, fact: RelationFact): Risk {
  return { ...nothing, effects: viewRisk(scope, fact).effects.filter(({ kind }) => kind === 'read') };
}

/** To plan even a read, the server computes what is constant in checks, index expressions and predicates. */
function plannedRisk(scope: Scope, fact: RelationFact): Risk {
  const key = keyOf(fact);
  const checks = (fact.checks ?? []).map((sql) => through(plannedCheckRisk(scope, sql, `a check of ${key}`), `check or index of ${key}`));
  return joinAll([...checks, ...(fact.indexExpressions ?? []).map((sql) =>
    through(reachBound(scope, sql, 'expression', `a check or index of ${key}`), `check or index of ${key}`))]);
}

/** No row is checked when a table is read, so a function of a column does not run; one of constants may. */
function plannedCheckRisk(scope: Scope, sql: string, what: string): Risk {
  const statements = scope.read(sql, 'expression');
  if (statements === null) return reachBound(scope, sql, 'expression', what);
  const bound = boundScope(scope);
  return reachNested(bound, statements.map((statement) => ({
    ...statement, mentions: { ...statement.mentions, functions: statement.mentions.functions.filter((mention) => !needsRow(bound, mention)) },
  })));
}

/** A function in SQL may be inlined, and then what is constant in its body is computed; so may an argument that was left out. */
function needsRow(scope: Scope, mention: FunctionMention): boolean {
  const candidates = mention.isOfColumn === true ? scope.catalog.functions(pathFor(scope, mention.schema) ?? [], mention.name) : [];
  return candidates.length > 0 && candidates.every(({ language, args }) => isOpaqueToPlanner(language) && args.length === mention.argCount);
}

function isOpaqueToPlanner(language: string): boolean {
  return language !== 'sql' && language !== 'c' && language !== 'internal';
}

export function foreignRisk(fact: RelationFact): Risk {
  if (fact.foreign === undefined) return nothing;
  const { server, wrapper, program } = fact.foreign;
  const key = keyOf(fact);
  const effect = { kind: program ? 'program' : 'network', object: key, objectKind: 'foreign table', detail: `server ${server}, ${wrapper}` } as const;
  if (program) return danger('CRITICAL', 'relation.program', `${key} runs a program on the server when it is read.`, effect, { destroys: true, recoverability: 'none' });
  return danger('HIGH', 'relation.foreign', `${key} is a foreign table: it reaches beyond this database through ${wrapper}.`, effect);
}

/** Row-level security runs its expressions for every row; whoever is exempt from it is judged as if not. */
export function policiesRisk(scope: Scope, fact: RelationFact, commands: readonly string[]): Risk {
  if (fact.rowSecurity !== true) return nothing;
  const applying = (fact.policies ?? []).filter((policy) => policy.command === 'all' || commands.includes(policy.command));
  return joinAll(applying.flatMap((policy) => [policy.using, policy.check].filter((text) => text !== undefined).map((text) =>
    through(reachBound(scope, text, 'expression', `the policy ${policy.name}`), `policy ${policy.name} on ${keyOf(fact)}`))));
}

/** Partitions and inheritance children, as far as they are known; one that is not is a fact that is missing. */
export function childrenOf(scope: Scope, fact: RelationFact): readonly RelationFact[] {
  return (fact.children ?? []).map((key) => scope.catalog.relationNamed(key)).filter((child) => child !== undefined);
}
