/**
 * Expected: what the server owes for one message that was sent, and who is told when its answer comes.
 */
import type { Risk } from '../../core/risk.ts';
import type { CommandTag } from '../../lib/pgwire/backend-decode.ts';
import type { TransactionStatus } from '../../lib/pgwire/backend-encode.ts';
import type { Candidate } from './admission.ts';
import type { Unit } from './fate.ts';
import type { Undo } from './registry.ts';

/** What the client gets in place of the message; undefined: the message itself. */
export type Seen = Buffer | undefined;
export const pass = undefined;
export const hide: Buffer = Buffer.alloc(0);

/** Whoever holds a statement to its ceiling is told how it ran, and says what the client gets in place of the message. */
export interface Held {
  /** CommandComplete; `message` is the whole of it. */
  readonly ran: (tag: CommandTag, message: Buffer) => Seen;
  /** It has run and holds back rows that the client has not asked for. */
  readonly suspended: (message: Buffer) => Seen;
  /** FunctionCallResponse; `message` is the whole of it. */
  readonly called: (message: Buffer) => Seen;
  readonly failed: () => void;
  /** The ReadyForQuery of a simple Query or FunctionCall. */
  readonly ready: (status: TransactionStatus) => Seen;
}

/** What was judged; absent where an Execute goes on with a portal that it had stopped in. */
export interface Part { readonly candidate: Candidate; readonly risk: Risk }

export type Expected =
  | { readonly kind: 'parse' | 'bind' | 'close'; readonly undo: Undo }
  | { readonly kind: 'describe' }
  | { readonly kind: 'execute'; readonly unit: Unit; readonly undo: Undo; readonly part: Part | undefined; readonly held?: Held | undefined; /** As asked for; a portal that stops there has sent so many. */ readonly rowsMax?: number }
  | { readonly kind: 'query' | 'function-call'; readonly unit: Unit; readonly part: Part | undefined; readonly held?: Held | undefined }
  /**
   * A FunctionCall of our own in front of the client's messages, while no transaction is open: nothing that answers it is
   * shown, and its end is no transaction's end. `isShown` decides on each report of the setting that it changes;
   * `onAnswer` is given what it returned as text, undefined when it failed.
   */
  | {
    readonly kind: 'own-call'; readonly setting: string; readonly isShown: (value: string) => boolean; readonly onAnswer: (value: string | null | undefined) => void;
  }
  /**
   * Statements of our own inside the client's transaction, each parsed, executed and closed under a name; nothing of it is
   * shown. `onAnswer` is given the last value that they returned, undefined when one failed, and says what the client gets.
   */
  | { readonly kind: 'own-batch'; readonly statements: number; readonly hasSync: boolean; readonly onAnswer: (value: string | null | undefined) => Seen }
  /** A command about a transaction of our own, such as its COMMIT: its error is the client's, its tag is not. */
  | { readonly kind: 'own-query'; readonly commits: boolean; /** A cancel is for this too. */ readonly isClients?: true; readonly onAnswer: (succeeded: boolean, status: TransactionStatus) => Seen }
  /** Our own message that must fail; `error` goes to the client in place of what the server says. */
  | { readonly kind: 'refusal'; readonly error: Buffer }
  | { readonly kind: 'sync' };
