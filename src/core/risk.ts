/**
 * Risk: what an action could do, independent of whether policy lets it.
 * Levels are ordered; the worst part speaks for the whole. Every level above SAFE is carried by at least one
 * Reason with a stable rule id, and every Effect names the object it reaches and how it is reached.
 */

export const levels = ['SAFE', 'LOW', 'HIGH', 'CRITICAL'] as const;
export type Level = (typeof levels)[number];

/** What a statement does to the world. `unknown` means it could not be proved to be anything milder. */
export const effectKinds = [
  'read', 'insert', 'update', 'delete', 'truncate', 'create', 'drop', 'alter', 'call', 'lock', 'session', 'transaction',
  'message', 'sequence', 'large-object', 'file', 'program', 'network', 'privilege', 'server', 'replication',
  'statistics', 'maintenance', 'unknown',
] as const;
export type EffectKind = (typeof effectKinds)[number];

export interface Effect {
  readonly kind: EffectKind;
  /** Qualified name as PostgreSQL prints it, e.g. `public.orders` or `pg_catalog.pg_sleep(double precision)`. */
  readonly object?: string;
  /** `table`, `view`, `function`, `column`, `database`, `setting`, … */
  readonly objectKind?: string;
  /** Other relations that hold the same rows: partitions and children, and what it is one of. */
  readonly relatives?: readonly string[];
  /** Columns that it reads, or that an insert or update writes; absent: it may be any. */
  readonly columns?: readonly string[];
  /** Columns whose stored values a write also reads, in WHERE or RETURNING for instance; absent: none. */
  readonly reads?: readonly string[];
  /** How it is reached when not named in the text: `["view public.v", "function public.f()"]`. */
  readonly via?: readonly string[];
  /** One short fact more, e.g. the lock mode or `ON DELETE CASCADE`. */
  readonly detail?: string;
}

export interface Reason {
  /** Stable id, `group.name` in kebab case: `delete.no-where`, `function.volatile`, `statement.unparsable`. */
  readonly rule: string;
  readonly level: Level;
  /** One sentence for a person or a language model. Never holds a literal of the statement. */
  readonly message: string;
}

/** How far an effect could be undone, from best to worst. `not-needed`: nothing is lost. */
export const recoverabilities = ['not-needed', 'exact-rows', 'table', 'schema', 'point-in-time', 'none'] as const;
export type Recoverability = (typeof recoverabilities)[number];

export interface Risk {
  readonly level: Level;
  readonly reasons: readonly Reason[];
  readonly effects: readonly Effect[];
  /** Data would be lost if this ran. */
  readonly destroys: boolean;
  readonly recoverability: Recoverability;
  /** What was taken for granted, e.g. offline: `public.t is taken for a plain table`. */
  readonly assumptions: readonly string[];
}

export const nothing: Risk = {
  level: 'SAFE', reasons: [], effects: [], destroys: false, recoverability: 'not-needed', assumptions: [],
};

export function worstLevel(a: Level, b: Level): Level {
  return levels.indexOf(a) >= levels.indexOf(b) ? a : b;
}

export function isAtLeast(level: Level, bound: Level): boolean {
  return levels.indexOf(level) >= levels.indexOf(bound);
}

function worstRecoverability(a: Recoverability, b: Recoverability): Recoverability {
  return recoverabilities.indexOf(a) >= recoverabilities.indexOf(b) ? a : b;
}

/** The join of many, in one pass: a text of a megabyte names a hundred thousand things. */
export function joinAll(risks: readonly Risk[]): Risk {
  const some = risks.filter((risk) => risk !== nothing);
  const [first, ...others] = some;
  if (first === undefined || others.length === 0) return first ?? nothing;
  return {
    level: some.map(({ level }) => level).reduce(worstLevel),
    reasons: some.flatMap(({ reasons }) => reasons),
    effects: some.flatMap(({ effects }) => effects),
    destroys: some.some(({ destroys }) => destroys),
    recoverability: some.map(({ recoverability }) => recoverability).reduce(worstRecoverability),
    assumptions: some.flatMap(({ assumptions }) => assumptions),
  };
}

/** The join of two risks: worst level, union of reasons and effects. */
export function joinRisks(a: Risk, b: Risk): Risk {
  if (a === nothing) return b;
  if (b === nothing) return a;
  return {
    level: worstLevel(a.level, b.level),
    reasons: [...a.reasons, ...b.reasons],
    effects: [...a.effects, ...b.effects],
    destroys: a.destroys || b.destroys,
    recoverability: worstRecoverability(a.recoverability, b.recoverability),
    assumptions: [...a.assumptions, ...b.assumptions],
  };
}
