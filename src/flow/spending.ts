/**
 * Spending: how one action draws on its agent's budgets. It is counted when it is admitted, with the rows that were
 * measured; when it runs, what it really read and changed is counted in their place; what was refused is given back.
 * Where no policy has a budget nothing is counted and nothing is asked.
 */
import type { Outcome } from '../core/outcome.ts';
import { countedRows, type Impact } from '../core/impact.ts';
import { hasBudgets, isCounted, type BudgetUse } from '../core/policy/budgets.ts';
import type { Policy } from '../core/policy/policy.ts';
import type { Risk } from '../core/risk.ts';
import { changesRows } from '../core/sql/changes-rows.ts';
import type { Clock } from '../lib/clock.ts';
import type { Budgets } from '../store/budgets.ts';

export interface SpendingDeps {
  readonly budgets: Budgets;
  readonly policy: () => Policy;
  readonly clock: Pick<Clock, 'now'>;
}

export interface Spending {
  /** What the agent had used before; undefined where that is not known, or nothing is counted. */
  readonly used: BudgetUse | undefined;
  /** One of its statements has run; `rows` as its command tag says. */
  ran(rows: number | null): void;
  settled(outcome: Outcome): void;
  /** It will not run. */
  giveBack(): void;
}

const nothingCounted: Spending = { used: undefined, ran: () => undefined, settled: () => undefined, giveBack: () => undefined };

/** For what may wait: the count is exact. */
export async function spend({ budgets, policy, clock }: SpendingDeps, agent: string, risk: Risk, impact: Impact): Promise<Spending> {
  if (!hasBudgets(policy()) || !isCounted(risk)) return nothingCounted;
  const reserved = impact.kind === 'measured' || impact.kind === 'bounded' ? countedRows(impact)?.total ?? 0 : 0;
  // Before it is counted, so that nothing is ever given back to a later window than it was taken from.
  const takenAt = clock.now();
  // Without an answer of the store nothing is known of the budget, and the rule denies.
  const used = await budgets.take(agent, { statements: 1, rowsChanged: reserved, rowsRead: 0 }).catch(() => undefined);
  return used === undefined ? nothingCounted : spendingOf(budgets, agent, risk, used, { rows: reserved, takenAt });
}

/** For a SAFE read, at once: what is known is at most a second old. */
export function spendNow({ budgets, policy, clock }: SpendingDeps, agent: string, risk: Risk): Spending | undefined {
  if (!hasBudgets(policy()) || !isCounted(risk)) return undefined;
  const used = budgets.used(agent);
  if (used === undefined) return nothingCounted;
  budgets.add(agent, { statements: 1 });
  return spendingOf(budgets, agent, risk, used, { rows: 0, takenAt: clock.now() });
}

function spendingOf(budgets: Budgets, agent: string, risk: Risk, used: BudgetUse, { rows: reservedAtFirst, takenAt }: { readonly rows: number; readonly takenAt: Date }): Spending {
  const isChange = changesRows(risk);
  let reserved = reservedAtFirst;
  let tags = 0;
  return {
    used,
    ran: (rows) => {
      tags += 1;
      // The first is counted already.
      if (tags > 1) budgets.add(agent, { statements: 1 });
      if (rows === null || rows === 0) return;
      if (!isChange) { budgets.add(agent, { rowsRead: rows }); return; }
      const covered = Math.min(rows, reserved);
      reserved -= covered;
      if (rows > covered) budgets.add(agent, { rowsChanged: rows - covered });
    },
    settled: ({ elsewhere = 0 }) => {
      const more = elsewhere - reserved;
      reserved = 0;
      if (more > 0) budgets.add(agent, { rowsChanged: more });
      if (more < 0) budgets.add(agent, { rowsChanged: more }, takenAt);
    },
    giveBack: () => {
      budgets.add(agent, { statements: -1, rowsChanged: -reserved }, takenAt);
      reserved = 0;
    },
  };
}
