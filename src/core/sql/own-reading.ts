/**
 * What one row of the statement table says of a statement node: the risk of its shape, how it uses the relations that it
 * names, and what it changes in its session. The builders here keep the rows short and the wording of rules uniform.
 */
import type { Effect, EffectKind, Level, Recoverability, Risk } from '../risk.ts';
import { nothing } from '../risk.ts';
import type { FunctionMention, RelationMention, RelationUse } from './mentions.ts';
import type { SessionChange, Statement } from './statement.ts';
import { rangeVarNames, stringIn } from './tree.ts';
import type { Node, Tree } from './tree.ts';

export interface OwnReading {
  readonly risk: Risk;
  /** What each RangeVar of the statement is to it; one without an entry is read, one with an empty list is no relation. */
  readonly uses?: readonly RangeVarUse[];
  readonly relations?: readonly RelationMention[];
  readonly functions?: readonly FunctionMention[];
  readonly changes?: readonly SessionChange[];
  readonly transaction?: NonNullable<Statement['transaction']>;
  readonly runs?: NonNullable<Statement['runs']>;
  readonly copy?: NonNullable<Statement['copy']>;
  readonly block?: string;
  /** What the statements inside are: run with it (absent), only planned, or stored for later. */
  readonly inner?: 'planned' | 'stored';
}

export interface RangeVarUse {
  readonly rangeVar: Tree;
  readonly mentions: readonly RelationMention[];
}

export interface RowContext {
  /** Surely a relation of the session alone. An unqualified name is one when the reader assumes it; the name is noted then. */
  isTemporary(names: readonly string[]): boolean;
  readBody(node: Node): Statement;
}

export type StatementRow = (tree: Tree, context: RowContext) => OwnReading;

export const harmless: OwnReading = { risk: nothing };

/** `lost`: how far what is lost could be brought back; absent: nothing is lost. */
export function risk(level: Exclude<Level, 'SAFE'>, rule: string, message: string, effects: readonly Effect[], lost?: Recoverability): Risk {
  return {
    level, reasons: [{ rule, level, message }], effects,
    destroys: lost !== undefined, recoverability: lost ?? 'not-needed', assumptions: [],
  };
}

export function effect(kind: EffectKind, objectKind: string, object?: string, detail?: string): Effect {
  return { kind, objectKind, ...(object === undefined || object === '' ? {} : { object }), ...(detail === undefined ? {} : { detail }) };
}

/** An effect that writes these columns, and no others. */
export function onColumns(written: Effect, columns: readonly string[] | undefined): Effect {
  return columns === undefined ? written : { ...written, columns };
}

export function nameOf(rangeVar: Tree | undefined): string {
  return rangeVarNames(rangeVar ?? {}).join('.');
}

export function useOf(rangeVar: Tree | undefined, ...uses: readonly (RelationUse | readonly [RelationUse, Partial<RelationMention>])[]): readonly RangeVarUse[] {
  if (rangeVar === undefined) return [];
  return [{ rangeVar, mentions: uses.map((one) => (typeof one === 'string' ? mentionOf(rangeVar, one) : mentionOf(rangeVar, one[0], one[1]))) }];
}

export function mentionOf(rangeVar: Tree, use: RelationUse, more: Partial<RelationMention> = {}): RelationMention {
  const [catalog, schema] = [stringIn(rangeVar, 'catalogname'), stringIn(rangeVar, 'schemaname')];
  return {
    ...(catalog === undefined ? {} : { catalog }), ...(schema === undefined ? {} : { schema }),
    name: stringIn(rangeVar, 'relname') ?? '', use, ...more,
  };
}

export function mentionNamed(names: readonly string[], use: RelationUse, more: Partial<RelationMention> = {}): RelationMention {
  const [catalog, schema] = [names.at(-3), names.at(-2)];
  return { ...(catalog === undefined ? {} : { catalog }), ...(schema === undefined ? {} : { schema }), name: names.at(-1) ?? '', use, ...more };
}

/** Somewhere a relation may be dropped, or lose a column, a key or a default: which one, the server alone knows. */
export function droppedBeyond(why: string): Effect {
  return { kind: 'drop', objectKind: 'relation', detail: `whatever ${why}` };
}

/** `CREATE TEMP …`, or a name in pg_temp, which is also called pg_temp_3; nobody can make anything in that of another session. */
export function isCreatedTemporary(rangeVar: Tree | undefined): boolean {
  return rangeVar !== undefined && (stringIn(rangeVar, 'relpersistence') === 't' || stringIn(rangeVar, 'schemaname')?.startsWith('pg_temp') === true);
}

/** A change to a relation that only this session has: whatever happens to it, it is gone when the session ends. */
export function temporaryWrite(kind: EffectKind, object: string): Risk {
  return risk('LOW', 'temporary.write', 'It changes only a temporary relation of this session.', [effect(kind, 'table', object, 'temporary')]);
}
