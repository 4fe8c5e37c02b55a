/**
 * The scope in which names are resolved: the catalog, the session, and whether the SQL at hand is text of the client's
 * (names follow the search_path) or was deparsed by the server (bound: unqualified names are PostgreSQL's own). What
 * depends on the catalog alone is remembered per catalog; a result cut short by a cycle is never remembered.
 */
import { nothing, type Effect, type Level, type Recoverability, type Risk } from '../risk.ts';
import { effectivePath, type Catalog } from './catalog.ts';
import type { SessionFacts, Statement } from './statement.ts';
import { keyOfLimits } from './time-limits.ts';

export { joinAll } from '../risk.ts';

/** Reads nested SQL; null when it cannot be read. `plpgsql` takes a CREATE FUNCTION statement. */
export type ReadNested = (sql: string, kind: 'statement' | 'expression' | 'plpgsql') => readonly Statement[] | null;

export interface Scope {
  readonly catalog: Catalog;
  /** Resolves the names of the SQL at hand. */
  readonly session: SessionFacts;
  /** The session that runs it all: bodies of functions follow its search_path even when a view calls them. */
  readonly caller: SessionFacts;
  readonly read: ReadNested;
  readonly bound: boolean;
  readonly memo: Memo;
  /** How names are resolved here: tells apart the places of one run. */
  readonly key: string;
  /** Results depend on the catalog and the key alone, so they may outlive the run. */
  readonly isLasting: boolean;
  readonly depth: number;
}

/** A run is everything that one outermost name reaches. */
interface Memo {
  readonly risks: Map<string, Risk>;
  readonly active: Set<string>;
  /**
   * Results of this run that a cycle cut short, or that belong to one session only. What they lack belongs to a name that is still being resolved further
   * out, so it is in the run's result anyway: good enough inside the run, and never kept beyond it.
   */
  readonly cut: Map<string, Risk>;
  cuts: number;
}

const rememberedMax = 20_000;
const effectsWithWaysMax = 50;
export const depthMax = 8;
/** Names that are resolved inside each other, such as views of views; the stack has no room for thousands. */
const nestedMax = 100;
const memos = new WeakMap<Catalog, Memo>();

export function openScope(session: SessionFacts, catalog: Catalog, read: ReadNested): Scope {
  let memo = memos.get(catalog);
  if (memo === undefined) memos.set(catalog, memo = { risks: new Map(), active: new Set(), cut: new Map(), cuts: 0 });
  return { catalog, session, caller: session, read, bound: false, memo, ...placeOf(session), depth: 0 };
}

/** The same catalog for SQL that the server deparsed: temporary objects and the search_path play no part. */
export function boundScope(scope: Scope): Scope {
  if (scope.bound) return scope;
  const session: SessionFacts = {
    ...scope.session, searchPath: [], temporary: new Set(), temporaryOpaque: new Set(), catalogChanged: false,
  };
  return { ...scope, session, bound: true, key: `bound\u0000${scope.key}` };
}

/** For the body of a function without a search_path of its own: the names follow the session that calls. */
export function callerScope(scope: Scope): Scope {
  return scope.bound ? { ...scope, session: scope.caller, bound: false, ...placeOf(scope.caller) } : scope;
}

/** For the body of a function that sets its search_path, and for all that it calls. */
export function scopeWithPath(scope: Scope, searchPath: readonly string[] | null): Scope {
  const session: SessionFacts = { ...scope.caller, searchPath };
  return { ...scope, session, caller: session, bound: false, ...placeOf(session) };
}

export function deeper(scope: Scope): Scope {
  return { ...scope, depth: scope.depth + 1 };
}

function placeOf({ searchPath, catalogChanged, temporary, temporaryOpaque, timeLimits }: SessionFacts): Pick<Scope, 'key' | 'isLasting'> {
  return {
    key: `${keyOfLimits(timeLimits)}${searchPath === null ? '?' : `.${searchPath.join('\u0000')}`}`,
    isLasting: searchPath !== null && !catalogChanged && temporary.size === 0 && temporaryOpaque.size === 0,
  };
}

/** Schemas to look in for a name of the SQL at hand; null when the search_path is not known. */
export function pathFor(scope: Scope, schema: string | undefined): readonly string[] | null {
  if (schema !== undefined) return [schema];
  return scope.session.searchPath === null ? null : effectivePath(undefined, scope.session.searchPath);
}

/**
 * Every name is resolved once in a run, however many ways lead to it. Names hold any character but NUL, so NUL separates
 * the parts of `what`.
 */
export function remember(scope: Scope, what: string, compute: () => Risk): Risk {
  const { memo } = scope;
  const key = `${scope.key}\u0000\u0000${what}`;
  const known = scope.isLasting ? memo.risks.get(key) : undefined;
  if (known !== undefined) return known;
  const cutShort = memo.active.has(key) ? nothing : memo.cut.get(key);
  if (cutShort !== undefined) { memo.cuts += 1; return cutShort; }
  if (memo.active.size >= nestedMax) {
    memo.cuts += 1;
    return opaque('reach.too-deep', `More than ${nestedMax} views, types or functions stand inside each other there.`, { kind: 'unknown' });
  }
  const cutsBefore = memo.cuts;
  memo.active.add(key);
  let risk: Risk;
  try {
    risk = compact(compute());
  } finally {
    memo.active.delete(key);
    if (memo.active.size === 0) memo.cut.clear();
  }
  const isOutermost = memo.active.size === 0;
  const isWhole = memo.cuts === cutsBefore || isOutermost;
  if (isWhole && scope.isLasting) {
    if (memo.risks.size >= rememberedMax) memo.risks.clear();
    memo.risks.set(key, risk);
  } else if (!isOutermost) {
    memo.cut.set(key, risk);
  }
  return risk;
}

/** Ways to one effect multiply; beyond a screenful each effect is named once, by the first way. */
function compact(risk: Risk): Risk {
  const once = withoutRepeats(risk);
  if (once.effects.length <= effectsWithWaysMax) return once;
  return { ...once, effects: unique(once.effects, (effect) => `${effect.kind}|${effect.objectKind}|${effect.object}|${effect.detail}|${columnKey(effect)}`) };
}

export function danger(
  level: Level, rule: string, message: string, effect: Effect, lost: { readonly destroys?: boolean; readonly recoverability?: Recoverability } = {},
): Risk {
  return {
    level, reasons: level === 'SAFE' ? [] : [{ rule, level, message }], effects: [effect], destroys: lost.destroys ?? false,
    recoverability: lost.recoverability ?? (lost.destroys === true ? 'none' : 'not-needed'), assumptions: [],
  };
}

/** What could be anything: HIGH, may destroy, cannot be undone but by going back in time (or not at all). */
export function opaque(rule: string, message: string, effect: Effect, recoverability: Recoverability = 'point-in-time'): Risk {
  return danger('HIGH', rule, message, effect, { destroys: true, recoverability });
}

export function effectOnly(effect: Effect): Risk {
  return { ...nothing, effects: [effect] };
}

/** Says of every effect by what it is reached. */
export function through(risk: Risk, via: string): Risk {
  if (risk.effects.length === 0) return risk;
  return { ...risk, effects: risk.effects.map((effect) => ({ ...effect, via: [via, ...(effect.via ?? [])] })) };
}

/** The same risk with each reason, effect and assumption once. */
export function withoutRepeats(risk: Risk): Risk {
  if (risk.effects.length < 2 && risk.reasons.length < 2 && risk.assumptions.length < 2) return risk;
  return {
    ...risk,
    reasons: unique(risk.reasons, (reason) => `${reason.rule}|${reason.message}`),
    effects: unique(risk.effects, (effect) => `${effect.kind}|${effect.object}|${effect.detail}|${columnKey(effect)}|${effect.via?.join('>')}`),
    assumptions: [...new Set(risk.assumptions)],
  };
}

/** Two effects on different columns are two effects. */
export function columnKey({ columns, reads }: Effect): string {
  return columns === undefined && reads === undefined ? '' : JSON.stringify([columns ?? null, reads ?? null]);
}

function unique<T>(items: readonly T[], key: (item: T) => string): readonly T[] {
  if (items.length < 2) return items;
  return [...new Map(items.map((item) => [key(item), item])).values()];
}
