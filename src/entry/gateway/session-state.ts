/**
 * SessionState: what is known of the upstream session beyond its names: where unqualified names resolve, as whom it runs,
 * which temporary relations it may have. It follows what was let through, and says when that is no longer enough and the
 * server must be asked (`isStale`, `areNamesStale`); until then the search path counts as unknown. Pure.
 */
import type { Risk } from '../../core/risk.ts';
import type { SessionFacts, Statement } from '../../core/sql/statement.ts';
import { noTimeLimits, type TimeLimits } from '../../core/sql/time-limits.ts';
import type { TransactionEnd } from './fate.ts';
import type { Registry } from './registry.ts';

export interface LearntRelations {
  /** Plain temporary tables, which a read cannot make run anything. */
  readonly plain: ReadonlySet<string>;
  /** Temporary views, types, functions and whatever has rules, triggers or defaults. */
  readonly opaque: ReadonlySet<string>;
}

export type Advance = (session: SessionFacts, statement: Statement) => SessionFacts;

export class SessionState {
  /** Grows whenever a name may resolve otherwise than before. */
  epoch = 0;
  /** search_path and role must be asked for. */
  isStale = true;
  /** Prepared statements, cursors and temporary relations must be asked for. */
  areNamesStale = false;
  /** Something may have put the limits of time back to what the server has, or lifted them. */
  areLimitsDue = false;
  /** DDL of this session has been committed or rolled back: the catalog must be read again before the next judgement. */
  isCatalogDue = false;
  /** Grows whenever the open transaction may see another catalog than before. */
  catalogMark = 0;
  readonly #registry: Registry;
  readonly #advance: Advance;
  #facts: SessionFacts;
  #changedInTransaction = false;
  #madeTemporary = false;

  constructor(registry: Registry, role: string, advance: Advance, timeLimits: TimeLimits = noTimeLimits) {
    this.#registry = registry;
    this.#advance = advance;
    this.#facts = {
      searchPath: null, role, temporary: new Set(), temporaryOpaque: new Set(), catalogChanged: false,
      prepared: registry.preparedStatements, cursors: registry.cursors, timeLimits,
    };
  }

  get facts(): SessionFacts { return this.#facts; }

  /** True when judgements of this session may be shared with others of the same path and role. */
  get isPlain(): boolean {
    const { temporary, temporaryOpaque, catalogChanged } = this.#facts;
    return temporary.size === 0 && temporaryOpaque.size === 0 && !catalogChanged;
  }

  /** The statement is let through: what comes after it is judged as if it had run. */
  letThrough(statement: Statement, risk: Risk): void {
    if (risk.level !== 'SAFE' || statement.transaction !== undefined) this.catalogMark += 1;
    const opaque = runsUnreadCode(statement, risk);
    if (statement.changes.length === 0 && statement.transaction === undefined && !opaque) return;
    const { searchPath, role, temporary, temporaryOpaque, catalogChanged } = this.#advance(this.#facts, statement);
    const hadTemporary = this.#hasTemporary;
    const isDoubtful = !sameList(searchPath, this.#facts.searchPath) || role !== this.#facts.role;
    const isMoved = statement.changes.some(({ kind }) => kind === 'search-path' || kind === 'role' || kind === 'reset-all' || kind === 'setting');
    // Names stay live in the registry, which knows what the server confirmed.
    this.#set({
      searchPath: opaque ? null : searchPath, role, temporary, temporaryOpaque: union(this.#facts.temporaryOpaque, temporaryOpaque),
      catalogChanged: this.#facts.catalogChanged || catalogChanged,
    });
    if (isMoved || isDoubtful || opaque) this.#changedInTransaction = this.isStale = true;
    if ((isMoved || opaque) && (this.#facts.timeLimits?.size ?? 0) > 0) this.areLimitsDue = true;
    if (this.#hasTemporary && !hadTemporary) this.#madeTemporary = true;
    if (opaque || (hadTemporary && definesSomething.test(statement.node))) this.#doubtNames();
    if (statement.transaction?.verb === 'rollback-to') this.#reverted();
  }

  /** An error reverts what the implicit transaction had set, and leaves the rest of it undone. */
  failed(): void { this.#reverted(); }

  transactionEnded(how: TransactionEnd): void {
    this.catalogMark += 1;
    this.#reverted();
    this.#changedInTransaction = false;
    // A rollback takes new temporary tables back, and a commit may drop them (ON COMMIT DROP).
    if (this.#madeTemporary || (how === 'rolled-back' && this.#hasTemporary)) this.#doubtNames();
    this.#madeTemporary = false;
    if (!this.#facts.catalogChanged) return;
    this.isCatalogDue = true;
    this.#set({ catalogChanged: false });
  }

  /** The server reported a value that was not asked for. */
  reported(searchPath: readonly string[] | null): void {
    if (sameList(searchPath, this.#facts.searchPath)) return;
    this.isStale = true;
    this.#set({ searchPath: null });
  }

  learnt(searchPath: readonly string[] | null, role: string): void {
    this.isStale = false;
    if (sameList(searchPath, this.#facts.searchPath) && role === this.#facts.role) return;
    this.#set({ searchPath, role });
  }

  learntRelations(relations: LearntRelations): void {
    this.areNamesStale = false;
    this.#set({ temporary: relations.plain, temporaryOpaque: relations.opaque });
  }

  get #hasTemporary(): boolean { return this.#facts.temporary.size + this.#facts.temporaryOpaque.size > 0; }

  /** Until the server was asked, a name that may be temporary is not taken for anything harmless. */
  #doubtNames(): void {
    this.areNamesStale = true;
    this.#set({ temporary: new Set(), temporaryOpaque: union(this.#facts.temporaryOpaque, this.#facts.temporary) });
  }

  #reverted(): void {
    if (this.#madeTemporary) this.#doubtNames();
    if (!this.#changedInTransaction) return;
    this.isStale = true;
    this.#set({ searchPath: null });
  }

  #set(change: Partial<SessionFacts>): void {
    this.#facts = { ...this.#facts, ...change, prepared: this.#registry.preparedStatements, cursors: this.#registry.cursors };
    this.epoch += 1;
  }
}

/** Statements that may make a temporary relation into something else, or drop it. */
const definesSomething = /^(?:Create|Alter|Drop|Rename|Rule|View|Define|Discard|Comment)/;

const unread = new WeakMap<Risk, boolean>();

/** Asked for each statement of a message about the risk of the whole. */
function hasUnreadCode(risk: Risk): boolean {
  const known = unread.get(risk) ?? risk.effects.some(({ kind }) => kind === 'call' || kind === 'unknown');
  unread.set(risk, known);
  return known;
}

/** It may run code that nobody read, and such code can SET, PREPARE and create under any name. */
export function runsUnreadCode(statement: Statement, risk: Risk): boolean {
  if (risk.level === 'SAFE') return false;
  return statement.node === 'DoStmt' || statement.node === 'CallStmt' || hasUnreadCode(risk);
}

function union(a: ReadonlySet<string>, b: ReadonlySet<string>): ReadonlySet<string> {
  return b === a || b.size === 0 ? a : new Set([...a, ...b]);
}

function sameList(a: readonly string[] | null, b: readonly string[] | null): boolean {
  return a === b || (a !== null && b !== null && a.length === b.length && a.every((item, index) => item === b[index]));
}
