/**
 * Work: a batch that was judged, all its parts known: which of its messages go on, what each of them is answered with, and
 * how it ends. `plan.expected` stands beside `plan.frames` one by one; every action in it carries its unit (statements,
 * whether it is SAFE) and its part (what was judged, and the risk).
 */
import type { Frame } from '../../lib/pgwire/frame-reader.ts';
import type { Plan } from './plan.ts';

export interface Work {
  readonly plan: Plan;
  /**
   * `own`: a Query or FunctionCall, which brings its own ReadyForQuery. `sync`: extended messages with their Sync. `flush`
   * and `open`: the server's implicit transaction stays open behind them.
   */
  readonly end: 'own' | 'sync' | 'flush' | 'open';
  /** The client's own Sync or Flush; with the frames it is usually one piece of what was received. */
  readonly terminator?: Frame | undefined;
}

/** A lone Sync of ours or the client's. */
export const onlySync: Work = { plan: { frames: [], expected: [], refusal: undefined }, end: 'sync' };
