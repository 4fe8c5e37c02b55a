/**
 * MeasuredRun: performs what has a ceiling so that nothing of it is durable before it was held against it. The server's own
 * transaction stays open until then: of extended messages by Flush in place of the client's Sync, of a simple Query by a
 * BEGIN and COMMIT of ours around it. In a transaction of the client's, an excess makes it fail as any error does.
 *
 *   extended   … Execute Flush ─ tag ─▶ below: the rest, Sync   above: a message that fails, Sync
 *   Query      [BEGIN] Query ─ tag, Z ─▶ below: [COMMIT]         above: [ROLLBACK], or a message that fails
 *
 * Where keys, triggers or functions may change rows too, the transaction's own counters are read before and after. Steps
 * are taken in `continue`, when all that was sent has been answered; what the client sees is put into the stream of replies.
 */
import { excessOf, type Ceiling, type Effected } from '../../core/ceiling.ts';
import { Failure } from '../../core/failure.ts';
import { changedRowsSql } from '../../core/sql/changed-rows.ts';
import { canBeHeld, changesElsewhere } from '../../core/sql/changes-rows.ts';
import type { Statement } from '../../core/sql/statement.ts';
import type { CommandTag } from '../../lib/pgwire/backend-decode.ts';
import { encodeReadyForQuery } from '../../lib/pgwire/backend-encode.ts';
import type { Frame } from '../../lib/pgwire/frame-reader.ts';
import { joinFrames } from './batch.ts';
import type { TransactionFate, Unit } from './fate.ts';
import { beginSql, commitMessage, flushMessage, ownStatements, rollbackMessage, syncMessage } from './own-messages.ts';
import { takeBack } from './plan.ts';
import { errorOf } from './refuse.ts';
import { hide, pass, type Expected, type Held, type Seen } from './expected.ts';
import type { Replies } from './replies.ts';
import { onlySync, type Work } from './work.ts';

export interface MeasuredRunDeps {
  readonly replies: Replies;
  readonly fate: TransactionFate;
  readonly nowMs: () => number;
  readonly write: (bytes: Buffer) => void;
  /** Sends work, or the rest of it, that is not held any more. */
  readonly forward: (work: Work) => void;
}

type Running = Extract<Expected, { readonly kind: 'execute' | 'query' | 'function-call' }>;

/** One statement, or one Query of several, on its way. */
interface Measuring {
  readonly unit: Unit;
  readonly ceiling: Ceiling;
  /** The counters are read, because tags do not tell all. */
  readonly isCounted: boolean;
  before: number | undefined;
  /** By its tags; undefined: there was none that says it. */
  rows: number | undefined;
  /** Tags so far. */
  tags: number;
  /** What the client does not know yet: its last CommandComplete, or what a FunctionCall returned. */
  message: Buffer | undefined;
  hasFailed: boolean;
  excess: Failure | undefined;
}

export class MeasuredRun {
  readonly #deps: MeasuredRunDeps;
  #next: (() => void) | undefined;

  constructor(deps: MeasuredRunDeps) {
    this.#deps = deps;
  }

  /** Takes the work if something in it has a ceiling. `before`: bytes that are to be sent first, already expected. */
  take(work: Work, before: Buffer): boolean {
    const at = this.#heldIn(work, 0);
    if (at === undefined) return false;
    if (work.end === 'own') this.#startQuery(work, before);
    else this.#startSegment(work, 0, at, before);
    return true;
  }

  /** The next step, once everything is answered. False when there is none: the work is over. */
  continue(): boolean {
    const next = this.#next;
    this.#next = undefined;
    next?.();
    return !this.#deps.replies.isSettled;
  }

  #heldIn({ plan: { frames, expected } }: Work, from: number): number | undefined {
    const at = expected.findIndex((one, index) => index >= from && isHeld(one, frames.length - index - 1, this.#deps.replies.status !== 'idle'));
    return at < 0 ? undefined : at;
  }

  // A simple Query, or a FunctionCall.

  #startQuery(work: Work, before: Buffer): void {
    const { replies, write } = this.#deps;
    const [query] = work.plan.expected;
    const [frame] = work.plan.frames;
    if ((query?.kind !== 'query' && query?.kind !== 'function-call') || query.unit.ceiling === undefined || frame === undefined) return;
    const measuring = measuringOf(query, query.unit.ceiling, frame);
    const isOurs = replies.status === 'idle';
    const own = [...(isOurs ? [beginSql] : []), ...(measuring.isCounted ? [changedRowsSql] : [])];
    if (own.length > 0) this.#expectOwn(own.length, false, (value) => { measuring.before = numberOf(value); return value === undefined ? errorOf(unmeasured()) : hide; });
    replies.expect({ ...query, held: this.#heldQuery(measuring, isOurs) });
    write(Buffer.concat([before, this.#ownBefore(own), frame.whole]));
    this.#next = () => { this.#afterQuery(measuring, isOurs); };
  }

  #heldQuery(measuring: Measuring, isOurs: boolean): Held {
    const { statements } = measuring.unit;
    return {
      ran: (tag, message) => {
        measuring.rows = (measuring.rows ?? 0) + rowsOf(tag, statements[measuring.tags]);
        measuring.tags += 1;
        if (measuring.tags < statements.length) return pass;
        measuring.message = message;
        return hide;
      },
      suspended: () => pass,
      called: (message) => {
        measuring.message = message;
        return hide;
      },
      failed: () => { measuring.hasFailed = true; },
      ready: (status) => {
        if (isOurs) return hide;
        if (measuring.hasFailed) return pass;
        if (!measuring.isCounted) this.#check(measuring, 0);
        return measuring.isCounted || measuring.excess !== undefined ? hide : Buffer.concat([measuring.message ?? hide, encodeReadyForQuery(status)]);
      },
    };
  }

  #afterQuery(measuring: Measuring, isOurs: boolean): void {
    const { replies } = this.#deps;
    // Our own statement before it failed: the server has skipped the Query and waits for a Sync.
    if (replies.isSkipping) return isOurs ? this.#endSkipped(measuring) : this.#deps.forward(onlySync);
    if (measuring.hasFailed) return isOurs ? this.#end(measuring, false) : undefined;
    if (!measuring.isCounted) return isOurs ? this.#end(measuring, this.#check(measuring, 0)) : this.#fail(measuring);
    this.#expectOwn(1, true, (value) => {
      const isBelow = this.#count(measuring, value);
      if (isOurs) return hide;
      if (isBelow) return Buffer.concat([measuring.message ?? hide, encodeReadyForQuery(replies.status)]);
      // The question itself failed, and the transaction with it.
      return value === undefined ? Buffer.concat([errorOf(measuring.excess ?? unmeasured()), encodeReadyForQuery(replies.status)]) : hide;
    });
    this.#deps.write(Buffer.concat([ownStatements([changedRowsSql]), syncMessage]));
    this.#next = () => {
      if (isOurs) this.#end(measuring, measuring.excess === undefined);
      else if (replies.status !== 'failed') this.#fail(measuring);
    };
  }

  /** Our BEGIN may have succeeded before what failed. */
  #endSkipped(measuring: Measuring): void {
    const { replies, write } = this.#deps;
    this.#expectOwn(0, true, () => {
      if (replies.status === 'idle') return encodeReadyForQuery('idle');
      this.#next = () => { this.#end(measuring, false); };
      return hide;
    });
    write(syncMessage);
  }

  /** Ends the transaction that we began. */
  #end(measuring: Measuring, commits: boolean): void {
    const { replies, write } = this.#deps;
    replies.expect({
      kind: 'own-query', commits,
      onAnswer: (succeeded, status) => {
        if (status !== 'idle') {
          // A COMMIT that was not even tried, for instance because of a time-out.
          this.#next = () => { this.#end(measuring, false); };
          measuring.hasFailed = true;
          return hide;
        }
        const answer = measuring.excess !== undefined ? errorOf(measuring.excess) : commits && succeeded ? measuring.message : undefined;
        return answer === undefined ? pass : Buffer.concat([answer, encodeReadyForQuery(status)]);
      },
    });
    write(commits ? commitMessage : rollbackMessage);
  }

  /** Makes the client's own transaction fail, if there was an excess. */
  #fail({ excess }: Measuring): void {
    if (excess !== undefined) this.#deps.forward({ plan: { frames: [], expected: [], refusal: errorOf(excess) }, end: 'sync' });
  }

  // Extended messages.

  /** Everything from `from` up to the Execute at `at`, and no further. */
  #startSegment(work: Work, from: number, at: number, before: Buffer): void {
    const { replies, write } = this.#deps;
    const { frames, expected } = work.plan;
    const execute = expected[at];
    const frame = frames[at];
    if (execute?.kind !== 'execute' || execute.unit.ceiling === undefined || frame === undefined) return;
    const measuring = measuringOf(execute, execute.unit.ceiling, frame);
    for (const one of expected.slice(from, at)) replies.expect(one);
    if (measuring.isCounted) this.#expectOwn(1, false, (value) => { measuring.before = numberOf(value); return value === undefined ? errorOf(unmeasured()) : hide; });
    replies.expect({ ...execute, held: this.#heldExecute(measuring) });
    write(Buffer.concat([before, joinFrames(frames.slice(from, at)), this.#ownBefore(measuring.isCounted ? [changedRowsSql] : []), frame.whole, flushMessage]));
    this.#next = () => { this.#afterExecute(work, at, measuring); };
  }

  #heldExecute(measuring: Measuring): Held {
    const shown = (message: Buffer): Seen => {
      measuring.message = message;
      if (measuring.isCounted) return hide;
      return this.#check(measuring, 0) ? pass : hide;
    };
    return {
      ran: (tag, message) => { measuring.rows = rowsOf(tag, measuring.unit.statements[0]); return shown(message); },
      suspended: shown, called: () => pass, failed: () => { measuring.hasFailed = true; }, ready: () => pass,
    };
  }

  #afterExecute(work: Work, at: number, measuring: Measuring): void {
    if (this.#deps.replies.isSkipping) return this.#skipRest(work, at);
    if (!measuring.isCounted) return this.#goOn(work, at, measuring);
    this.#expectOwn(1, false, (value) => {
      if (this.#count(measuring, value)) return measuring.message ?? hide;
      return value === undefined ? errorOf(measuring.excess ?? unmeasured()) : hide;
    });
    this.#deps.write(Buffer.concat([ownStatements([changedRowsSql]), flushMessage]));
    this.#next = () => {
      if (this.#deps.replies.isSkipping) this.#skipRest(work, at);
      else this.#goOn(work, at, measuring);
    };
  }

  #goOn(work: Work, at: number, { excess, unit }: Measuring): void {
    const { plan: { frames, expected, refusal }, end, terminator } = work;
    // A Sync that was sent while the server copied in is ignored by it; the client sends another one.
    const isCopied = unit.statements[0]?.copy === 'in';
    if (excess !== undefined) {
      this.#undoFrom(expected, at + 1);
      return this.#deps.forward({ plan: { frames: [], expected: [], refusal: errorOf(excess) }, end: end === 'sync' && !isCopied ? 'sync' : 'flush' });
    }
    if (isCopied) return;
    const next = this.#heldIn(work, at + 1);
    if (next !== undefined) return this.#startSegment(work, at + 1, next, hide);
    if (frames.length === at + 1 && refusal === undefined && end !== 'sync') return;
    this.#deps.forward({ plan: { frames: frames.slice(at + 1), expected: expected.slice(at + 1), refusal }, end, terminator });
  }

  /** The server skips everything up to Sync: so does what is left. */
  #skipRest({ plan: { expected }, end }: Work, at: number): void {
    this.#undoFrom(expected, at + 1);
    if (end === 'sync') this.#deps.forward(onlySync);
  }

  #undoFrom(expected: readonly Expected[], at: number): void {
    takeBack(expected.slice(at), (unit) => { this.#deps.fate.skipped(unit); });
  }

  // Both.

  /** With a Flush, or the server would keep its answers back, and a cancel would seem to come before the client's own. */
  #ownBefore(sqls: readonly string[]): Buffer {
    return sqls.length === 0 ? hide : Buffer.concat([ownStatements(sqls), flushMessage]);
  }

  #expectOwn(statements: number, hasSync: boolean, onAnswer: (value: string | null | undefined) => Seen): void {
    this.#deps.replies.expect({ kind: 'own-batch', statements, hasSync, onAnswer });
  }

  /** True when it stayed below its ceiling, by the counters. */
  #count(measuring: Measuring, value: string | null | undefined): boolean {
    const after = numberOf(value);
    if (after === undefined || measuring.before === undefined) {
      measuring.excess = unmeasured();
      this.#deps.fate.failed(measuring.unit, measuring.excess.sqlstate, this.#deps.nowMs());
      return false;
    }
    return this.#check(measuring, Math.max(0, after - measuring.before - (measuring.rows ?? 0)));
  }

  #check(measuring: Measuring, elsewhere: number): boolean {
    const { unit, ceiling, rows } = measuring;
    // Without a tag the counters tell the sum only; what the ceiling leaves to the target is taken for that.
    const own = rows ?? Math.min(elsewhere, ceiling.rows ?? elsewhere);
    const effected: Effected = { rows: own, elsewhere: rows === undefined ? elsewhere - own : elsewhere };
    if (measuring.isCounted) this.#deps.fate.measured(unit, effected.elsewhere);
    const excess = excessOf(ceiling, effected);
    if (excess === undefined) return true;
    measuring.excess = new Failure('effect_exceeded', `Backstop rolled this statement back: ${excess}`);
    this.#deps.fate.failed(unit, measuring.excess.sqlstate, this.#deps.nowMs());
    return false;
  }
}

function unmeasured(): Failure {
  return new Failure('effect_exceeded', 'Backstop rolled this statement back: what it changed could not be measured', { hint: 'Send it again; if it happens again, an operator should look whether track_counts is on at the server.' });
}

function measuringOf({ unit, part }: Running, ceiling: Ceiling, frame: Frame): Measuring {
  const isCounted = part === undefined || changesElsewhere(part.risk) || !unit.statements.every(isTold) || limitsRows(frame);
  return { unit, ceiling, isCounted, before: undefined, rows: undefined, tags: 0, message: undefined, hasFailed: false, excess: undefined };
}

/** `behind`: messages after it in its batch. */
function isHeld(expected: Expected, behind: number, isInBlock: boolean): boolean {
  if (expected.kind !== 'query' && expected.kind !== 'execute' && expected.kind !== 'function-call') return false;
  // A portal that goes on with what it has changed already.
  if (expected.unit.ceiling === undefined || (expected.kind === 'execute' && expected.part === undefined)) return false;
  const { statements } = expected.unit;
  // While the server copies in, messages behind the Execute would break it off.
  return !(expected.kind === 'execute' && statements[0]?.copy === 'in' && behind > 0) && canBeHeld(statements, isInBlock || expected.unit.mayEndTransaction !== true);
}

const told: ReadonlySet<string> = new Set(['InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt', 'CopyStmt']);
/** They change no row by themselves. */
const silent: ReadonlySet<string> = new Set(['SelectStmt', 'VariableShowStmt', 'VariableSetStmt', 'ListenStmt', 'UnlistenStmt', 'NotifyStmt', 'PrepareStmt', 'DeallocateStmt', 'ClosePortalStmt', 'LockStmt']);

/** Its tag counts all that it changes by itself; a WITH may hold more, and COPY TO counts what it shows. */
function isTold({ node, text, own, copy }: Statement): boolean {
  if (silent.has(node)) return node !== 'SelectStmt' || own.level === 'SAFE';
  return told.has(node) && copy !== 'out' && !/\bwith\b/i.test(text);
}

/** An Execute that may stop before the end has no tag when it does. */
function limitsRows({ body, type }: Frame): boolean {
  return type === 0x45 && body.length >= 4 && body.readInt32BE(body.length - 4) > 0;
}

const changing: ReadonlySet<string> = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE', 'COPY']);

function rowsOf({ command, rows }: CommandTag, statement: Statement | undefined): number {
  return changing.has(command) && statement?.copy !== 'out' ? rows ?? 0 : 0;
}

function numberOf(value: string | null | undefined): number | undefined {
  const number = value === null || value === undefined ? Number.NaN : Number(value);
  return Number.isSafeInteger(number) ? number : undefined;
}
