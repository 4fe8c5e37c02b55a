/**
 * Budgets: how much an agent has used in each window of time, and the rules that hold it against what a policy grants.
 * Work counts when it has run, whatever becomes of its transaction. Pure; store/budgets.ts counts.
 */
import { countedRows } from '../impact.ts';
import { changesRows } from '../sql/changes-rows.ts';
import { severity } from '../verdict.ts';
import type { Facts } from './facts.ts';
import { phrases, type Finding } from './finding.ts';
import type { Budget, EffectivePolicy, Policy } from './policy.ts';

export const windows = ['minute', 'hour', 'day'] as const;
export type Window = (typeof windows)[number];

export interface Amounts {
  readonly statements: number;
  readonly rowsChanged: number;
  readonly rowsRead: number;
}

export type BudgetUse = Readonly<Record<Window, Amounts>>;

export const noAmounts: Amounts = { statements: 0, rowsChanged: 0, rowsRead: 0 };
export const noUse: BudgetUse = { minute: noAmounts, hour: noAmounts, day: noAmounts };

/** The beginning of the window that holds this moment, ISO 8601 in UTC. */
export function windowSince(window: Window, at: Date): string {
  const length = { minute: 16, hour: 13, day: 10 }[window];
  return `${at.toISOString().slice(0, length)}${'T00:00:00.000Z'.slice(length - 10)}`;
}

/** Whether anything must be counted at all. */
export function hasBudgets({ base, scoped }: Policy): boolean {
  return base.budgets.length > 0 || scoped.some(({ budgets }) => budgets.length > 0);
}

/** The end of a transaction, and its beginning, are never refused for want of a budget. */
export function isCounted({ effects }: Pick<Facts, 'effects'>): boolean {
  return effects.length === 0 || effects.some(({ kind }) => kind !== 'transaction');
}

/** Rows that may still be changed; undefined: as many as it likes. */
export function rowsLeft({ budgets }: EffectivePolicy, use: BudgetUse): number | undefined {
  const left = budgets.flatMap(({ per, rows_changed: most }) => (most === undefined ? [] : [Math.max(0, most - use[per].rowsChanged)]));
  return left.length === 0 ? undefined : Math.min(...left);
}

export type Measure = 'statements' | 'rows_changed' | 'rows_read';

const amountOf: Readonly<Record<Measure, keyof Amounts>> = { statements: 'statements', rows_changed: 'rowsChanged', rows_read: 'rowsRead' };
const words: Readonly<Record<Measure, string>> = { statements: 'statements', rows_changed: 'changed rows', rows_read: 'rows read' };

export function budgetFinding(facts: Facts, policy: EffectivePolicy, measure: Measure): Finding | undefined {
  const granted = policy.budgets.filter((budget) => budget[measure] !== undefined);
  if (granted.length === 0 || !isCounted(facts) || (measure === 'rows_changed' && !changesRows(facts))) return undefined;
  const findings = granted.flatMap((budget) => findingOf(facts, policy, budget, measure)).toSorted((a, b) => severity[b.decision] - severity[a.decision]);
  return findings[0];
}

function findingOf({ used, impact }: Facts, { name }: EffectivePolicy, budget: Budget, measure: Measure): readonly Finding[] {
  const most = budget[measure] ?? 0;
  const threshold = `${measure}: ${most} per ${budget.per}`;
  const decision = budget.above;
  if (used === undefined) {
    return [{ decision: 'deny', observed: 'what was used is not known', threshold, message: 'What this agent has used of its budget is not known, so it is denied.' }];
  }
  const before = used[budget.per][amountOf[measure]];
  const known = measure === 'statements' ? 1 : measure === 'rows_changed' ? countedRows(impact)?.total : undefined;
  if (known === undefined ? before < most : before + known <= most) return [];
  const more = known === undefined || measure === 'statements' ? '' : `, and this would change ${known} more`;
  return [{
    decision, observed: `${before} ${words[measure]} in this ${budget.per}${more}`, threshold,
    message: `This agent has used ${before} of ${most} ${words[measure]} per ${budget.per}${more}; policy ${name} ${phrases[decision]}. A new ${budget.per} begins on the full ${budget.per}, UTC.`,
  }];
}
