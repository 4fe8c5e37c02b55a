/**
 * A Statement is one parsed SQL statement as Backstop understands it before any catalog is asked: its own effects from
 * its shape, the names it mentions, and what it would change in the session that runs it.
 */
import type { Risk } from '../risk.ts';
import type { Mentions } from './mentions.ts';
import type { TimeLimits } from './time-limits.ts';

/** What running the statement changes for later statements of the same session. */
export type SessionChange =
  | { readonly kind: 'search-path'; /** null: computed or unknown */ readonly path: readonly string[] | null }
  | { readonly kind: 'role' }
  | { readonly kind: 'setting'; readonly name: string; /** undefined: reset */ readonly value?: string }
  | { readonly kind: 'reset-all' }
  | { readonly kind: 'temporary-relation'; readonly name: string; /** It may run code when used: a view, a default, a check, a parent. */ readonly opaque?: boolean }
  /** The name may from now on mean a temporary object that runs code, if the session has temporary objects at all. */
  | { readonly kind: 'may-be-temporary'; readonly name: string }
  | { readonly kind: 'catalog' }
  | { readonly kind: 'prepare'; readonly name: string; readonly body: Statement }
  | { readonly kind: 'deallocate'; /** null: all */ readonly name: string | null }
  | { readonly kind: 'declare'; readonly name: string; readonly body: Statement; readonly hold: boolean }
  | { readonly kind: 'close'; readonly name: string | null };

/** Transaction control, as far as the session must follow it. */
export type TransactionVerb =
  | 'begin' | 'commit' | 'rollback' | 'savepoint' | 'release' | 'rollback-to' | 'prepare' | 'commit-prepared' | 'rollback-prepared';

export interface Statement {
  /** Parse-tree node name, e.g. `SelectStmt`. */
  readonly node: string;
  /** The statement's own text, cut from the batch by the parser's positions. */
  readonly text: string;
  /** Level, effects and reasons that follow from the shape alone, before reach. */
  readonly own: Risk;
  readonly mentions: Mentions;
  readonly changes: readonly SessionChange[];
  readonly transaction?: { readonly verb: TransactionVerb; readonly chain: boolean; readonly readOnly?: boolean; readonly savepoint?: string };
  /** EXECUTE name / FETCH, MOVE cursor: judged as the body registered under that name; unknown name = never SAFE. */
  readonly runs?: { readonly kind: 'prepared' | 'cursor'; readonly name: string };
  /** Its own risk if every relation of these names that it writes is temporary; absent when that would not matter. */
  readonly ifTemporary?: { readonly names: readonly string[]; readonly own: Risk };
  /** Plain EXPLAIN: what planning reaches if it were run; planning itself can run functions, but writes nothing. */
  readonly planned?: Mentions;
  /** The code of a DO block. */
  readonly block?: string;
  /** COPY … FROM STDIN / TO STDOUT. */
  readonly copy?: 'in' | 'out';
}

/** What is known of the session that would run a statement. Changed only by copy (nextSession). */
export interface SessionFacts {
  /** Effective schemas in order, without the implicit pg_temp and pg_catalog; null: not known, so nothing unqualified is trusted. */
  readonly searchPath: readonly string[] | null;
  readonly role: string;
  /** Temporary relations this session may have made. */
  readonly temporary: ReadonlySet<string>;
  /** Names in pg_temp that may run code: views, types, functions, tables with rules or triggers. Never harmless. */
  readonly temporaryOpaque: ReadonlySet<string>;
  /** True once DDL has run in a transaction that has not ended: what the catalog snapshot says of user objects may be old. */
  readonly catalogChanged: boolean;
  /** False when the end of the open transaction surely leaves search_path as it is; absent: not known. */
  readonly pathMayRevert?: boolean;
  /** Named prepared statements (SQL PREPARE and wire Parse share one name space) and cursors/portals. */
  readonly prepared: ReadonlyMap<string, Statement>;
  readonly cursors: ReadonlyMap<string, Statement>;
  /** What the session may not lift; absent: nobody has set any. */
  readonly timeLimits?: TimeLimits;
}
