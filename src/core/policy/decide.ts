/**
 * decide: a policy and a risk in, a Verdict out; pure. Every rule is evaluated, none is skipped because another has
 * already decided, and the worst decision wins. A rule that throws, a fact that is missing, or no rule firing at all is
 * a deny. Under `observe` the verdict lets the action pass and says in `wouldBe` what it would have been.
 */
import { severity } from '../verdict.ts';
import type { FiredRule, Verdict } from '../verdict.ts';
import { missingFacts, readFacts } from './facts.ts';
import type { Facts, PolicyInput } from './facts.ts';
import type { EffectivePolicy } from './policy.ts';
import { rules } from './rules.ts';
import type { Rule } from './rules.ts';

export function decide(policy: EffectivePolicy, input: PolicyInput): Verdict {
  return decideBy(rules, policy, input);
}

/** The same over another rule table. */
export function decideBy(table: readonly Rule[], policy: EffectivePolicy, input: PolicyInput): Verdict {
  const facts = readFacts(input);
  const fired = table
    .map((rule) => fire(rule, facts, policy))
    .filter((finding) => finding !== undefined)
    .sort((a, b) => severity[b.decision] - severity[a.decision]);
  const all = fired.length > 0 ? fired : [nothingFired];
  const wouldBe = all[0]?.decision ?? 'deny';
  return {
    decision: policy.mode === 'observe' ? 'allow' : wouldBe,
    level: facts.level ?? 'CRITICAL',
    fired: all, policyName: policy.name, policyHash: policy.hash, ...(policy.scope === undefined ? {} : { scope: policy.scope }), wouldBe,
  };
}

const nothingFired: FiredRule = {
  rule: 'policy.no-rule', decision: 'deny', observed: 'no rule fired', threshold: 'at least one rule must speak',
  message: 'No rule of the policy speaks of this, so it is denied.',
};

function fire(rule: Rule, facts: Partial<Facts>, policy: EffectivePolicy): FiredRule | undefined {
  const missing = missingFacts(facts, rule.reads);
  if (missing.length > 0) return broken(rule, `missing: ${missing.join(', ')}`);
  try {
    const finding = rule.evaluate(facts as Facts, policy);
    return finding === undefined ? undefined : { rule: rule.id, ...finding };
  } catch (error) {
    return broken(rule, error instanceof Error ? error.name : 'an exception');
  }
}

function broken(rule: Rule, observed: string): FiredRule {
  return {
    rule: rule.id, decision: 'deny', observed, threshold: `facts: ${rule.reads.join(', ')}`,
    message: `Rule ${rule.id} could not be evaluated, so it is denied.`,
  };
}
