/**
 * Joins the rows of relations with what is attached to each (triggers, rules, policies, checks, index expressions) into
 * facts, and reads foreign keys. Bits and letters are those of pg_trigger, pg_policy, pg_rewrite and pg_constraint.
 */
import { z } from 'zod';
import { Failure } from '../../core/failure.ts';
import type {
  ColumnFact, ForeignKeyAction, ForeignKeyFact, PolicyFact, RelationFact, RelationKind, RuleFact, TriggerFact, WriteEvent,
} from '../../core/sql/catalog-facts.ts';
import { tokensOf } from '../../lib/pgsql/tokens.ts';
import { json, oids, text, texts, type Names, type Row } from './catalog-rows.ts';

export interface RelationRows {
  readonly relations: readonly Row[];
  readonly triggers: readonly Row[];
  readonly rules: readonly Row[];
  readonly policies: readonly Row[];
  readonly checks: readonly Row[];
  readonly indexes: readonly Row[];
  readonly uniqueKeys: readonly Row[];
  readonly otherDependents: readonly Row[];
}

const columnsSchema = z.array(z.tuple([z.string(), z.number(), z.string(), z.string().nullable()]));
const foreignSchema = z.tuple([z.string(), z.string(), z.boolean()]);

export function readRelations(rows: RelationRows, names: Names): readonly RelationFact[] {
  const of = (list: readonly Row[]): ReadonlyMap<string, readonly Row[]> => Map.groupBy(list, (row) => text(row[0]));
  const attached = {
    triggers: of(rows.triggers), rules: of(rows.rules), policies: of(rows.policies), checks: of(rows.checks), indexes: of(rows.indexes), uniqueKeys: of(rows.uniqueKeys),
  };
  const depended = new Set(rows.otherDependents.map(([oid]) => oid));
  return rows.relations.map((row) => {
    const oid = text(row[0]);
    const children = oids(row[8]).filter((child) => names.hasRelation(child)).map((child) => names.relation(child));
    const keys = attached.uniqueKeys.get(oid) ?? [];
    const primaryKey = keys.find(([, , isPrimary]) => isPrimary === 't');
    const foreign = row[9] === null ? undefined : foreignSchema.parse(json(row[9]));
    return {
      schema: text(row[1]), name: text(row[2]), kind: relationKind(text(row[3])), owner: text(row[4]), rowSecurity: row[5] === 't',
      columns: readColumns(row[6], names),
      ...(row[7] === null || row[7] === undefined ? {} : { definition: row[7] }),
      ...(children.length === 0 ? {} : { children }),
      ...(foreign === undefined ? {} : { foreign: { server: foreign[0], wrapper: foreign[1], program: foreign[2] } }),
      ...(row[11] === null || row[11] === undefined ? {} : { extension: row[11] }),
      triggers: (attached.triggers.get(oid) ?? []).map((trigger) => readTrigger(trigger, names)),
      rules: (attached.rules.get(oid) ?? []).map(readRule),
      policies: (attached.policies.get(oid) ?? []).map(readPolicy),
      checks: (attached.checks.get(oid) ?? []).map((check) => text(check[1])),
      ...(depended.has(oid) ? { hasOtherDependents: true } : {}),
      uniqueKeys: keys.map((key) => texts(key[1])), ...(primaryKey === undefined ? {} : { primaryKey: texts(primaryKey[1]) }),
      indexExpressions: [row[10], ...(attached.indexes.get(oid) ?? []).flatMap((index) => [index[1], index[2]])]
        .filter((sql) => sql !== null && sql !== undefined).map((sql) => `(${sql})`),
    };
  });
}

export function readColumns(value: string | null | undefined, names: Names): readonly ColumnFact[] {
  return columnsSchema.parse(json(value) ?? []).map(([name, type, generated, expression]) => ({
    name, type: names.type(String(type)), ...(expression === null ? {} : { default: expression }),
    ...(generated === 's' ? { generated: 'stored' } : generated === 'v' ? { generated: 'virtual' } : {}),
  }));
}

const relationKinds: ReadonlyMap<string, RelationKind> = new Map([
  ['r', 'table'], ['p', 'partitioned-table'], ['v', 'view'], ['m', 'materialized-view'], ['f', 'foreign-table'], ['S', 'sequence'], ['c', 'composite'],
]);

function relationKind(code: string): RelationKind {
  const kind = relationKinds.get(code);
  if (kind === undefined) throw new Failure('upstream_unsupported', `The catalog has a relation of the unknown kind ${code}.`);
  return kind;
}

/** TRIGGER_TYPE_* of pg_trigger.h. */
const eventBits: readonly (readonly [number, WriteEvent])[] = [[4, 'insert'], [8, 'delete'], [16, 'update'], [32, 'truncate']];
const insteadBit = 64;
const beforeBit = 2;
const rowBit = 1;

function readTrigger([, name, bits, enabled, fn, columns, definition, deferrable]: Row, names: Names): TriggerFact {
  const type = Number(text(bits));
  const when = definition === null || definition === undefined ? undefined : conditionOf(definition);
  return {
    name: text(name), events: eventBits.filter(([bit]) => (type & bit) !== 0).map(([, event]) => event),
    insteadOf: (type & insteadBit) !== 0, enabled: enabled !== 'D', function: names.functionName(fn),
    ...((type & beforeBit) === 0 ? {} : { isBefore: true }), ...((type & rowBit) === 0 ? { isForStatement: true } : {}),
    ...(deferrable === 't' ? { isDeferrable: true } : {}),
    ...(enabled === 'A' ? { fires: 'always' } : enabled === 'R' ? { fires: 'replica' } : {}),
    ...(columns === null || columns === undefined ? {} : { columns: texts(columns) }), ...(when === undefined ? {} : { when }),
  };
}

/**
 * The condition in pg_get_triggerdef's text; the whole text, which is none, where it has another shape. Names may hold any
 * text, so WHEN counts only as a word of its own, which no unquoted name can be, and its brackets only outside of quotes.
 */
export function conditionOf(definition: string): string {
  let [at, begin, depth] = [0, -1, 0];
  let hasWord = false;
  for (const { kind, text: token } of tokensOf(definition)) {
    at += token.length;
    if (kind === 'word' && token === 'WHEN') hasWord = true;
    if (!hasWord || kind !== 'symbol') continue;
    if (token === '(') depth += 1;
    if (token === '(' && depth === 1) begin = at;
    if (token === ')') depth -= 1;
    if (token === ')' && depth === 0) return definition.slice(begin, at - 1);
  }
  return definition;
}

function readRule([, name, event, instead, definition]: Row): RuleFact {
  const events: Readonly<Record<string, RuleFact['event']>> = { 2: 'update', 3: 'insert', 4: 'delete' };
  return { name: text(name), event: events[text(event)] ?? 'delete', instead: instead === 't', definition: text(definition) };
}

function readPolicy([, name, command, using, check]: Row): PolicyFact {
  const commands: Readonly<Record<string, PolicyFact['command']>> = { '*': 'all', r: 'select', a: 'insert', w: 'update', d: 'delete' };
  return {
    name: text(name), command: commands[text(command)] ?? 'all',
    ...(using === null || using === undefined ? {} : { using }), ...(check === null || check === undefined ? {} : { check }),
  };
}

const actions: ReadonlyMap<string, ForeignKeyAction> = new Map([
  ['a', 'no-action'], ['r', 'restrict'], ['c', 'cascade'], ['n', 'set-null'], ['d', 'set-default'],
]);

export function readForeignKey([name, from, fromColumns, to, toColumns, onDelete, onUpdate]: Row, names: Names): ForeignKeyFact {
  return {
    name: text(name), from: names.relation(from), fromColumns: texts(fromColumns), to: names.relation(to), toColumns: texts(toColumns),
    onDelete: actions.get(text(onDelete)) ?? 'cascade', onUpdate: actions.get(text(onUpdate)) ?? 'cascade',
  };
}
