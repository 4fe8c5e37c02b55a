/**
 * Approvals: requests for a person's answer, kept so that they survive a restart and can be answered from any process.
 * Every change of state and its ledger entry are one transaction. A binding has at most one live approval, and exactly
 * one caller can use it. Waiting wakes at once for an answer given in this process, and soon for one given elsewhere.
 */
import { answer, expire, use, type Answer, type Approval, type ApprovalKind, type ApprovalState, type Change } from '../core/approval.ts';
import { Failure } from '../core/failure.ts';
import type { ApprovalBody } from '../core/ledger/entry.ts';
import type { Impact } from '../core/impact.ts';
import type { Coverage } from '../core/recovery/coverage.ts';
import type { Risk } from '../core/risk.ts';
import type { Verdict } from '../core/verdict.ts';
import type { Clock } from '../lib/clock.ts';
import type { Changes, Queries, StoreDatabase, Tables } from './database.ts';
import { appendEntries } from './ledger-append.ts';

export interface Approvals {
  /**
   * A new pending approval, or what stands for the same binding: the live one, or a denial whose time is not over, so
   * that whoever sends the statement again hears the no, and nobody is asked the same thing twice. Throws Failure
   * `too_many_requests`: more would bury the others, and who must answer them.
   */
  request(wanted: Wanted): Promise<Approval>;
  /** As it is now: one whose time is over is marked expired first. Throws Failure `not_found`. */
  get(id: string): Promise<Approval>;
  /** Newest first, as they are now. */
  list(state: ApprovalState | 'all', limit: number): Promise<readonly Approval[]>;
  /** Throws Failure `not_found`, or `conflict` when its state does not allow the answer. */
  answer(id: string, given: Answer): Promise<Approval>;
  /** True for exactly one caller, and only for an approved, unexpired approval of this binding. */
  use(id: string, binding: string): Promise<boolean>;
  /** The approval once it is no longer pending, or as it is when the time is over or the signal aborts. */
  waitForAnswer(id: string, limits: { readonly timeoutMs: number; readonly signal: AbortSignal }): Promise<Approval>;
}

/** Of one agent, at a time. */
export const pendingMax = 200;

export type Wanted = Omit<Approval, 'state' | 'answeredAt' | 'answeredBy' | 'reason' | 'requestedAt'>;

export function createApprovals(deps: { readonly database: StoreDatabase; readonly clock: Clock }): Approvals {
  return new SqlApprovals(deps.database, deps.clock);
}

class SqlApprovals implements Approvals {
  readonly #database: StoreDatabase;
  readonly #clock: Clock;
  /** Woken by an answer given in this process, or by a hint of another one. */
  readonly #wakers = new Set<() => void>();
  #isListening = false;

  constructor(database: StoreDatabase, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  request(wanted: Wanted): Promise<Approval> {
    return this.#database.transact(async (changes) => {
      const live = await this.#expireIfDue(changes, await findLive(changes, wanted.binding));
      if (live !== undefined) return live;
      const denial = await findDenial(changes, wanted.binding, this.#clock.now());
      if (denial !== undefined) return denial;
      await this.#checkRoom(changes, wanted.agent);
      const approval: Approval = { ...wanted, state: 'pending', requestedAt: this.#clock.now().toISOString(), answeredAt: null, answeredBy: null, reason: null };
      await changes.insertInto('approval').values(toRow(approval)).execute();
      await this.#record(changes, 'requested', approval);
      return approval;
    });
  }

  async #checkRoom(changes: Changes, agent: string): Promise<void> {
    const waiting = await changes.selectFrom('approval').select(({ fn }) => fn.countAll().as('count')).where('agent', '=', agent)
      .where('state', '=', 'pending').where('expires_at', '>', this.#clock.now().toISOString()).executeTakeFirst();
    if (Number(waiting?.count ?? 0) >= pendingMax) throw new Failure('too_many_requests', `Backstop: ${pendingMax} statements of agent ${agent} wait for an answer already, so nobody is asked about another`);
  }

  async get(id: string): Promise<Approval> {
    const approval = await getOne(this.#database.queries, id);
    if (expire(approval, this.#clock.now()).kind === 'refused') return approval;
    return this.#database.transact(async (changes) => {
      await this.#expireIfDue(changes, await getOne(changes, id));
      return getOne(changes, id);
    });
  }

  async list(state: ApprovalState | 'all', limit: number): Promise<readonly Approval[]> {
    for (const { id } of await this.#overdue()) await this.get(id);
    const query = this.#database.queries.selectFrom('approval').selectAll().orderBy('requested_at', 'desc').orderBy('id').limit(limit);
    const rows = await (state === 'all' ? query : query.where('state', '=', state)).execute();
    return rows.map(fromRow);
  }

  async answer(id: string, given: Answer): Promise<Approval> {
    const answered = await this.#database.transact(async (changes) => {
      const approval = await getOne(changes, id);
      if (await this.#expireIfDue(changes, approval) === undefined) return undefined;
      const changed = await this.#change(changes, answer(approval, given, this.#clock.now()), given.answer);
      await this.#database.hint(changes);
      return changed;
    });
    if (answered === undefined) throw new Failure('conflict', `${id} has expired`);
    this.#wakeAll();
    return answered;
  }

  use(id: string, binding: string): Promise<boolean> {
    return this.#database.transact(async (changes) => {
      const change = use(await getOne(changes, id), binding, this.#clock.now());
      if (change.kind === 'refused') return false;
      await this.#change(changes, change, 'used');
      return true;
    });
  }

  async waitForAnswer(id: string, { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal }): Promise<Approval> {
    this.#listen();
    const deadline = this.#clock.monotonicMs() + timeoutMs;
    for (;;) {
      const approval = await this.get(id);
      const leftMs = deadline - this.#clock.monotonicMs();
      if (approval.state !== 'pending' || leftMs <= 0 || signal.aborted) return approval;
      await this.#woken(Math.min(leftMs, this.#database.lookAgainMs), signal);
    }
  }

  /** For as long as the database is open, once anybody has waited. */
  #listen(): void {
    if (this.#isListening) return;
    this.#isListening = true;
    this.#database.onHint(() => { this.#wakeAll(); });
  }

  #wakeAll(): void { for (const wake of this.#wakers) wake(); }

  #woken(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#wakers.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.#wakers.add(wake);
      signal.addEventListener('abort', wake, { once: true });
    });
  }

  #overdue(): Promise<readonly { readonly id: string }[]> {
    // ISO 8601 in UTC with milliseconds: the order of the texts is that of the times.
    return this.#database.queries.selectFrom('approval').select('id').where('state', 'in', ['pending', 'approved'])
      .where('expires_at', '<=', this.#clock.now().toISOString()).execute();
  }

  /** The approval if it is still valid; an overdue one is marked and gone. */
  async #expireIfDue(changes: Changes, approval: Approval | undefined): Promise<Approval | undefined> {
    if (approval === undefined) return undefined;
    const change = expire(approval, this.#clock.now());
    if (change.kind === 'refused') return approval;
    await this.#change(changes, change, 'expired');
    return undefined;
  }

  async #change(changes: Changes, change: Change, what: ApprovalBody['change']): Promise<Approval> {
    if (change.kind === 'refused') throw new Failure('conflict', change.why);
    const { approval } = change;
    await changes.updateTable('approval').set(toRow(approval)).where('id', '=', approval.id).execute();
    await this.#record(changes, what, approval);
    return approval;
  }

  async #record(changes: Changes, what: ApprovalBody['change'], approval: Approval): Promise<void> {
    const { id: approvalId, actionId, binding, agent, kind } = approval;
    const isAnswer = what === 'approved' || what === 'overridden' || what === 'denied';
    await appendEntries(changes, this.#clock.now(), [{
      kind: 'approval', change: what, ...(kind === 'override' ? { override: true } : {}), approvalId, actionId, binding, agent,
      by: isAnswer ? approval.answeredBy : null, reason: isAnswer ? approval.reason : null,
    }]);
  }
}

async function findLive(queries: Changes, binding: string): Promise<Approval | undefined> {
  const row = await queries.selectFrom('approval').selectAll().where('binding', '=', binding).where('state', 'in', ['pending', 'approved']).executeTakeFirst();
  return row === undefined ? undefined : fromRow(row);
}

async function findDenial(changes: Changes, binding: string, now: Date): Promise<Approval | undefined> {
  const row = await changes.selectFrom('approval').selectAll().where('binding', '=', binding).where('state', '=', 'denied')
    .where('expires_at', '>', now.toISOString()).orderBy('requested_at', 'desc').executeTakeFirst();
  return row === undefined ? undefined : fromRow(row);
}

async function getOne(queries: Queries | Changes, id: string): Promise<Approval> {
  const row = await queries.selectFrom('approval').selectAll().where('id', '=', id).executeTakeFirst();
  if (row === undefined) throw new Failure('not_found', `there is no approval ${id}`);
  return fromRow(row);
}

function toRow(approval: Approval): Tables['approval'] {
  return {
    id: approval.id, kind: approval.kind, state: approval.state, action_id: approval.actionId, binding: approval.binding, agent: approval.agent,
    database_name: approval.database, redacted: approval.redacted, risk: JSON.stringify(approval.risk), verdict: JSON.stringify(approval.verdict), impact: JSON.stringify(approval.impact), coverage: JSON.stringify(approval.coverage),
    requested_at: approval.requestedAt, expires_at: approval.expiresAt,
    answered_at: approval.answeredAt, answered_by: approval.answeredBy, reason: approval.reason,
  };
}

/** What this module wrote, it can read. */
function fromRow(row: Tables['approval']): Approval {
  return {
    id: row.id, kind: row.kind as ApprovalKind, state: row.state as ApprovalState, actionId: row.action_id, binding: row.binding, agent: row.agent,
    database: row.database_name, redacted: row.redacted, risk: JSON.parse(row.risk) as Risk, verdict: JSON.parse(row.verdict) as Verdict,
    impact: JSON.parse(row.impact) as Impact, coverage: JSON.parse(row.coverage) as Coverage | null,
    requestedAt: row.requested_at, expiresAt: row.expires_at,
    answeredAt: row.answered_at, answeredBy: row.answered_by, reason: row.reason,
  };
}
