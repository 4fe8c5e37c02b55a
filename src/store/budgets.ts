/**
 * Budgets in the store: what each agent has used in the minute, hour and day that run now, over all processes that share
 * the store, and over restarts. Reads are counted in memory and written soon; what other processes read is seen within a
 * second, and where that cannot be kept nothing is known. For a write the count is taken in one transaction with all
 * that is committed, so that no two processes are given the same place in a budget. The transactions of one process come
 * one after the other, or one would miss what another still has on its way.
 */
import { noAmounts, windows, windowSince, type Amounts, type BudgetUse, type Window } from '../core/policy/budgets.ts';
import type { Clock } from '../lib/clock.ts';
import type { Changes, StoreDatabase } from './database.ts';

export interface Budgets {
  /** As known now, at most a second old; undefined: not known, ask `take`. */
  used(agent: string): BudgetUse | undefined;
  /** Counts it and returns what was used before, exactly. Throws Failure `store_unavailable`. */
  take(agent: string, amounts: Amounts): Promise<BudgetUse>;
  /** Counts what has been done; it is written soon. `takenAt`: takes back what was counted then, in the windows of that moment. */
  add(agent: string, amounts: Partial<Amounts>, takenAt?: Date): void;
  /** Writes what is left. */
  close(): Promise<void>;
}

export interface BudgetsDeps {
  readonly database: StoreDatabase;
  readonly clock: Clock;
  /** What could not be written stays to be written; this is told of it. */
  readonly onFault?: (error: unknown) => void;
}

export const staleMsMax = 1_000;
const writeEveryMs = 200;
const keptDays = 2;

/** Agent → window and its beginning → amounts. */
type Counted = Map<string, Map<string, Amounts>>;

interface Done<T> { readonly result: T; readonly uses: ReadonlyMap<string, BudgetUse> }
interface Known { readonly readMs: number; readonly since: Readonly<Record<Window, string>>; readonly use: BudgetUse }

export function createBudgets(deps: BudgetsDeps): Budgets { return new SqlBudgets(deps); }

class SqlBudgets implements Budgets {
  readonly #deps: BudgetsDeps;
  /** Not written yet. */
  #pending: Counted = new Map();
  /** On its way to the store. */
  #inFlight: Counted = new Map();
  /** What the store said last. */
  readonly #known = new Map<string, Known>();
  readonly #timer: NodeJS.Timeout;
  /** The last transaction, done or failed. */
  #turn: Promise<void> = Promise.resolve();
  #isWriting = false;
  #swept = '';

  constructor(deps: BudgetsDeps) {
    this.#deps = deps;
    this.#timer = setInterval(() => { this.#writeSoon(); }, writeEveryMs);
    this.#timer.unref();
  }

  used(agent: string): BudgetUse | undefined {
    const known = this.#known.get(agent);
    if (known === undefined || this.#deps.clock.monotonicMs() - known.readMs > staleMsMax) return undefined;
    const at = this.#deps.clock.now();
    const useOf = (window: Window): Amounts => {
      const since = windowSince(window, at);
      const stored = known.since[window] === since ? known.use[window] : noAmounts;
      return [this.#pending, this.#inFlight].reduce((sum, counted) => plus(sum, counted.get(agent)?.get(keyOf(window, since))), stored);
    };
    return { minute: useOf('minute'), hour: useOf('hour'), day: useOf('day') };
  }

  take(agent: string, amounts: Amounts): Promise<BudgetUse> {
    return this.#inTurn(() => this.#transact([agent], async (changes, at) => {
      const use = await read(changes, agent, at);
      await write(changes, new Map([[agent, new Map(windows.map((window) => [keyOf(window, windowSince(window, at)), amounts]))]]));
      const uses = new Map([[agent, { minute: plus(use.minute, amounts), hour: plus(use.hour, amounts), day: plus(use.day, amounts) }]]);
      return { result: use, uses };
    }));
  }

  add(agent: string, amounts: Partial<Amounts>, at = this.#deps.clock.now()): void {
    const mine = this.#pending.get(agent) ?? new Map<string, Amounts>();
    for (const window of windows) {
      const key = keyOf(window, windowSince(window, at));
      mine.set(key, plus(mine.get(key) ?? noAmounts, amounts));
    }
    this.#pending.set(agent, mine);
    // Other processes must hear of changed rows at once; of reads within a second.
    if (amounts.rowsChanged !== undefined) this.#writeSoon();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#turn;
    if (this.#pending.size > 0) await this.#writeAll();
  }

  #writeSoon(): void {
    if (this.#pending.size === 0 || this.#isWriting) return;
    this.#isWriting = true;
    void this.#writeAll().finally(() => { this.#isWriting = false; });
  }

  #writeAll(): Promise<void> {
    return this.#inTurn(() => {
      const agents = [...this.#pending.keys()];
      // Those who took meanwhile have written it.
      if (agents.length === 0) return Promise.resolve();
      return this.#transact(agents, async (changes, at) => {
        await this.#sweep(changes, at);
        const uses = new Map<string, BudgetUse>();
        for (const agent of agents) uses.set(agent, await read(changes, agent, at));
        return { result: undefined, uses };
      });
    }).catch((error: unknown) => { this.#deps.onFault?.(error); });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.then(() => undefined, () => undefined);
    return result;
  }

  /** Writes what these agents have pending, then does the work; `uses` is what the store holds of them once it is done. */
  async #transact<T>(agents: readonly string[], work: (changes: Changes, at: Date) => Promise<Done<T>>): Promise<T> {
    // Only now: what one before could not write is pending again.
    const taken = this.#takePending(agents);
    const { clock } = this.#deps;
    const at = clock.now();
    try {
      const { result, uses, readMs } = await this.#deps.database.transactRelaxed(async (changes) => {
        await write(changes, taken);
        return { readMs: clock.monotonicMs(), ...await work(changes, at) };
      });
      const since = { minute: windowSince('minute', at), hour: windowSince('hour', at), day: windowSince('day', at) };
      for (const [agent, use] of uses) this.#known.set(agent, { readMs, since, use });
      return result;
    } catch (error) {
      for (const agent of agents) this.#known.delete(agent);
      this.#restore(taken);
      throw error;
    } finally {
      this.#inFlight = new Map();
    }
  }

  #takePending(agents: readonly string[]): Counted {
    const taken: Counted = new Map();
    for (const agent of agents) {
      const mine = this.#pending.get(agent);
      if (mine !== undefined) taken.set(agent, mine);
      this.#pending.delete(agent);
    }
    this.#inFlight = taken;
    return taken;
  }

  #restore(taken: Counted): void {
    for (const [agent, mine] of taken) {
      const now = this.#pending.get(agent) ?? new Map<string, Amounts>();
      for (const [key, amounts] of mine) now.set(key, plus(now.get(key) ?? noAmounts, amounts));
      this.#pending.set(agent, now);
    }
  }

  /** Once an hour. */
  async #sweep(changes: Changes, at: Date): Promise<void> {
    const hour = windowSince('hour', at);
    if (this.#swept === hour) return;
    this.#swept = hour;
    await changes.deleteFrom('budget_use').where('since', '<', new Date(at.getTime() - keptDays * 86_400_000).toISOString()).execute();
  }
}

async function write(changes: Changes, taken: Counted): Promise<void> {
  for (const [agent, mine] of taken) {
    for (const [key, { statements, rowsChanged, rowsRead }] of mine) {
      const [span = '', since = ''] = key.split(' ');
      await changes.insertInto('budget_use').values({ agent, span, since, statements, rows_changed: rowsChanged, rows_read: rowsRead })
        .onConflict((conflict) => conflict.columns(['agent', 'span', 'since']).doUpdateSet((row) => ({
          statements: row('budget_use.statements', '+', statements), rows_changed: row('budget_use.rows_changed', '+', rowsChanged), rows_read: row('budget_use.rows_read', '+', rowsRead),
        }))).execute();
    }
  }
}

async function read(changes: Changes, agent: string, at: Date): Promise<BudgetUse> {
  const rows = await changes.selectFrom('budget_use').selectAll().where('agent', '=', agent).where('since', 'in', windows.map((window) => windowSince(window, at))).execute();
  const useOf = (window: Window): Amounts => {
    const row = rows.find(({ span, since }) => span === window && since === windowSince(window, at));
    return row === undefined ? noAmounts : { statements: Number(row.statements), rowsChanged: Number(row.rows_changed), rowsRead: Number(row.rows_read) };
  };
  return { minute: useOf('minute'), hour: useOf('hour'), day: useOf('day') };
}

function keyOf(window: Window, since: string): string { return `${window} ${since}`; }

function plus(a: Amounts, b: Partial<Amounts> | undefined): Amounts {
  return { statements: a.statements + (b?.statements ?? 0), rowsChanged: a.rowsChanged + (b?.rowsChanged ?? 0), rowsRead: a.rowsRead + (b?.rowsRead ?? 0) };
}
