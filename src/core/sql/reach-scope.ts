/**
 * The scope in which names are resolved: the catalog, the session, and whether the SQL at hand is text of the client's
 * (names follow the search_path) or was deparsed by the server (bound: unqualified names are PostgreSQL's own). What
 * depends on the catalog alone is remembered per catalog; a result cut short by a cycle is never remembered.
 */
import { joinRisks, nothing, type Effect, type Level, type Recoverability, type Risk } from '../risk.ts';
import { effectivePath, type Catalog } from './catalog.ts';
import type { SessionFacts, Statement } from './statement.ts';

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
  /** Identifies everything of the session that a remembered result depends on; null: nothing may be remembered. */
  readonly key: string | null;
  readonly depth: number;
}

interface Memo { readonly risks: Map<string, Risk>; readonly active: Set<string>; cuts: number }

const rememberedMax = 20_000;
export const depthMax = 8;
const memos = new WeakMap<Catalog, Memo>();

export function openScope(session: SessionFacts, catalog: Catalog, read: ReadNested): Scope {
  let memo = memos.get(catalog);
  if (memo === undefined) memos.set(catalog, memo = { risks: new Map(), active: new Set(), cuts: 0 });
  return { catalog, session, caller: session, read, bound: false, memo, key: sessionKey(session), depth: 0 };
}

/** The same catalog for SQL that the server deparsed: temporary objects and the search_path play no part. */
export function boundScope(scope: Scope): Scope {
  if (scope.bound) return scope;
  const session: SessionFacts = {
    ...scope.session, searchPath: [], temporary: new Set(), temporaryOpaque: new Set(), catalogChanged: false,
  };
  return { ...scope, session, bound: true, key: scope.key === null ? null : `bound\u0000${scope.key}` };
}

/** For the body of a function without a search_path of its own: the names follow the session that calls. */
export function callerScope(scope: Scope): Scope {
  return scope.bound ? { ...scope, session: scope.caller, bound: false, key: sessionKey(scope.caller) } : scope;
}

/** For the body of a function that sets its search_path, and for all that it calls. */
export function scopeWithPath(scope: Scope, searchPath: readonly string[] | null): Scope {
  const session: SessionFacts = { ...scope.caller, searchPath };
  return { ...scope, session, caller: session, bound: false, key: sessionKey(session) };
}

export function deeper(scope: Scope): Scope {
  return { ...scope, depth: scope.depth + 1 };
}

function sessionKey(session: SessionFacts): string | null {
  if (session.searchPath === null || session.catalogChanged) return null;
  if (session.temporary.size > 0 || session.temporaryOpaque.size > 0) return null;
  return session.searchPath.join('\u0000');
}

/** Schemas to look in for a name of the SQL at hand; null when the search_path is not known. */
export function pathFor(scope: Scope, schema: string | undefined): readonly string[] | null {
  if (schema !== undefined) return [schema];
  return scope.session.searchPath === null ? null : effectivePath(undefined, scope.session.searchPath);
}

/** Names hold any character but NUL, so NUL separates the parts of `what`. */
export function remember(scope: Scope, what: string, compute: () => Risk): Risk {
  const { memo } = scope;
  const key = `${scope.key ?? ''}\u0000\u0000${what}`;
  const found = scope.key === null ? undefined : memo.risks.get(key);
  if (found !== undefined) return found;
  if (memo.active.has(key)) { memo.cuts += 1; return nothing; }
  const cutsBefore = memo.cuts;
  memo.active.add(key);
  let risk: Risk;
  try { risk = compute(); } finally { memo.active.delete(key); }
  const whole = memo.cuts === cutsBefore || memo.active.size === 0;
  if (scope.key !== null && whole) {
    if (memo.risks.size >= rememberedMax) memo.risks.clear();
    memo.risks.set(key, risk);
  }
  return risk;
}

export function joinAll(risks: readonly Risk[]): Risk {
  return risks.reduce(joinRisks, nothing);
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
    effects: unique(risk.effects, (effect) => `${effect.kind}|${effect.object}|${effect.detail}|${effect.via?.join('>')}`),
    assumptions: [...new Set(risk.assumptions)],
  };
}

function unique<T>(items: readonly T[], key: (item: T) => string): readonly T[] {
  if (items.length < 2) return items;
  return [...new Map(items.map((item) => [key(item), item])).values()];
}
