/**
 * Action: what an actor wants done. A SQL action is one simple Query message (all its statements together) or one
 * Execute of the extended protocol with its bind values. The digest covers the exact bytes that would be performed.
 */
import type { Actor } from './actor.ts';

export interface SqlAction {
  readonly kind: 'sql';
  /** `act_` and a sortable unique id. */
  readonly id: string;
  readonly actor: Actor;
  /** The client session it arrived on, `ses_…`. */
  readonly sessionId: string;
  readonly database: string;
  /** The upstream role it would run as. */
  readonly role: string;
  readonly searchPath: readonly string[];
  /** TimeZone, DateStyle and IntervalStyle, by which its server reads what the text says. */
  readonly valueSettings?: ReadonlyMap<string, string>;
  /** The SQL as sent. Never logged and never stored. */
  readonly text: string;
  /** The same with every literal replaced; safe to store. */
  readonly redacted: string;
  /** Groups statements of one shape, hex. */
  readonly fingerprint: string;
  /** sha256 over the exact SQL bytes and the bind values (formats, lengths, bytes), hex. */
  readonly digest: string;
  /** True inside an explicit transaction block of the client's. */
  readonly inTransaction: boolean;
}
export type Action = SqlAction;
