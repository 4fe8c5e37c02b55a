/**
 * Facts: all that a rule may look at. They are read once from the risk and from who asks; a fact that is absent stays
 * absent here, so that a rule which needs it is answered with a deny instead of with a default.
 */
import { noImpact, type Impact } from '../impact.ts';
import type { BudgetUse } from './budgets.ts';
import { levels, recoverabilities, type Recoverability, type Risk } from '../risk.ts';

export interface PolicyInput {
  readonly risk: Risk;
  readonly agent: string;
  readonly database: string;
  /** How far it can be undone by what would be kept before it commits. */
  readonly recovery: Recoverability;
  /** Why it cannot be undone, a clause that follows "because". */
  readonly why?: string | undefined;
  /** As measured; left out for what changes no rows that could be counted beforehand. */
  readonly impact?: Impact;
  /** What the agent has used before; left out where it is not known. */
  readonly used?: BudgetUse | undefined;
}

export interface Facts extends Omit<Risk, 'assumptions'> {
  readonly recovery: Recoverability;
  readonly why: string | undefined;
  readonly impact: Impact;
  readonly used: BudgetUse | undefined;
  readonly agent: string;
  readonly database: string;
}

export function readFacts({ risk, agent, database, recovery, why, impact = noImpact, used }: PolicyInput): Partial<Facts> {
  const { level, reasons, effects, destroys, recoverability } = risk;
  const facts = { reasons, effects, destroys, recoverability, why, impact, used, agent, database };
  // A level outside the list would fire no level rule at all, and what is no known coverage covers nothing.
  return { ...facts, ...(recoverabilities.includes(recovery) ? { recovery } : {}), ...(levels.includes(level) ? { level } : {}) };
}

/** The names among `needed` that are not known. */
export function missingFacts(facts: Partial<Facts>, needed: readonly (keyof Facts)[]): readonly string[] {
  return needed.filter((name) => facts[name] === undefined || facts[name] === null);
}
