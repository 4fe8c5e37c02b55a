/**
 * Budgets in the store: what each agent has used in the minute, hour and day that run now, over all processes that share
 * the store, and over restarts. Reads are counted in memory and written soon; what other processes read is seen within a
 * second, and where that cannot be kept nothing is known. For a write the count is taken in one transaction with all
 * that is committed, so that no two processes are given the same place in a budget.
 */
import { noAmounts, windows, windowSince, type Amounts, type BudgetUse, type Window } from '../core/policy/budgets.ts';
import type { Clock } from '../lib/clock.ts';
import type { Changes, StoreDatabase } from './database.ts';

export interface Budgets {
  /** As known now, at most a second old; undefined: not known, ask `take`. */
  used(agent: string): BudgetUse | undefined;
  /** Counts it and returns what was used before, exactly. Throws Failure `store_unavailable`. */
  take(agent: string, amounts: Amounts): Promise<BudgetUse>;
  /** Counts what has been done, or takes back what was not; it is written soon. */
  add(agent: string, amounts: Partial<Amounts>): void;
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

interface Known { readonly readMs: number; readonly since: Readonly<Record<Window, string>>; readonly use: BudgetUse }

export function createBudgets(deps: BudgetsDeps): Budgets { return new SqlBudgets(deps); }

class SqlBudgets implements Budgets {
  readonly #deps: BudgetsDeps;
  /** Not written yet. */
  #pending: Counted = new Map();
  /** On their way to the store. */
  readonly #inFlight = new Set<Counted>();
  /** What the store said last. */
  readonly #known = new Map<string, Known>();
  readonly #timer: NodeJS.Timeout;
  #writing: Promise<void> | undefined;
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
      return [this.#pending, ...this.#inFlight].reduce((sum, counted) => plus(sum, counted.get(agent)?.get(keyOf(window, since))), stored);
    };
    return { minute: useOf('minute'), hour: useOf('hour'), day: useOf('day') };
  }

  async take(agent: string, amounts: Amounts): Promise<BudgetUse> {
    const at = this.#deps.clock.now();
    const taken = this.#takePending();
    try {
      return await this.#deps.database.transactRelaxed(async (changes) => {
        await write(changes, taken);
        const use = await read(changes, agent, at);
        await write(changes, new Map([[agent, new Map(windows.map((window) => [keyOf(window, windowSince(window, at)), amounts]))]]));
        this.#learn(agent, at, { minute: plus(use.minute, amounts), hour: plus(use.hour, amounts), day: plus(use.day, amounts) });
        return use;
      });
    } catch (error) {
      this.#known.delete(agent);
      this.#restore(taken);
      throw error;
    } finally {
      this.#inFlight.delete(taken);
    }
  }

  add(agent: string, amounts: Partial<Amounts>): void {
    const at = this.#deps.clock.now();
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
    await this.#writing;
    if (this.#pending.size > 0) await this.#writeAll();
  }

  #writeSoon(): void {
    if (this.#pending.size === 0 || this.#writing !== undefined) return;
    this.#writing = this.#writeAll().finally(() => { this.#writing = undefined; });
  }

  async #writeAll(): Promise<void> {
    const at = this.#deps.clock.now();
    const taken = this.#takePending();
    try {
      await this.#deps.database.transactRelaxed(async (changes) => {
        await write(changes, taken);
        await this.#sweep(changes, at);
        for (const agent of taken.keys()) this.#learn(agent, at, await read(changes, agent, at));
      });
    } catch (error) {
      for (const agent of taken.keys()) this.#known.delete(agent);
      this.#restore(taken);
      this.#deps.onFault?.(error);
    } finally {
      this.#inFlight.delete(taken);
    }
  }

  #takePending(): Counted {
    const taken = this.#pending;
    this.#pending = new Map();
    this.#inFlight.add(taken);
    return taken;
  }

  #restore(taken: Counted): void {
    for (const [agent, mine] of taken) {
      const now = this.#pending.get(agent) ?? new Map<string, Amounts>();
      for (const [key, amounts] of mine) now.set(key, plus(now.get(key) ?? noAmounts, amounts));
      this.#pending.set(agent, now);
    }
  }

  #learn(agent: string, at: Date, use: BudgetUse): void {
    const since = { minute: windowSince('minute', at), hour: windowSince('hour', at), day: windowSince('day', at) };
    this.#known.set(agent, { readMs: this.#deps.clock.monotonicMs(), since, use });
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
