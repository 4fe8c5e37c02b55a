/**
 * The rule table: every question that a policy asks of a risk, each with a stable id, the facts it reads, how it
 * compares, and what it says when it fires. Rules are independent; none sees another's answer. A rule returns a finding
 * or nothing; the decision that joins them is decide.ts. Ids appear in errors, records and documentation: never reuse one.
 */
import { isAtLeast, levels } from '../risk.ts';
import { countedRows, countOf, impactSentence, percentText, shareText, unknownReason } from '../impact.ts';
import { onlyAddsRows } from '../sql/changes-rows.ts';
import { missingRules } from '../sql/missing-names.ts';
import type { Level } from '../risk.ts';
import type { Facts } from './facts.ts';
import { budgetFinding } from './budgets.ts';
import { isOperation } from './operation.ts';
import { matchesRelation, matchesSchema } from './pattern.ts';
import type { EffectivePolicy } from './policy.ts';
import { protectedColumnFinding, protectedFinding } from './protected.ts';
import { listObjects, phrases, type Finding } from './finding.ts';

export interface Rule {
  readonly id: string;
  /** Counts up when what the rule compares changes. */
  readonly version: number;
  readonly reads: readonly (keyof Facts)[];
  /** How it compares, in words; shown beside the rule in documentation and explanations. */
  readonly compares: string;
  evaluate(facts: Facts, policy: EffectivePolicy): Finding | undefined;
}

const budgetRules: readonly Rule[] = ([['statements', 'statements'], ['rows-changed', 'rows_changed'], ['rows-read', 'rows_read']] as const).map(([name, measure]) => ({
  id: `budget.${name}`, version: 1, reads: ['level', 'effects', 'impact'],
  compares: `fires when the agent has used up \`budgets.${measure}\` of a window, or would go beyond it, or what it has used is not known; gives the budget's \`above\``,
  evaluate: (facts, policy) => budgetFinding(facts, policy, measure),
}));

export const rules: readonly Rule[] = [
  ...levels.map(levelRule),
  {
    id: 'effect.unknown', version: 1, reads: ['effects'],
    compares: 'fires when any effect could not be proved to be anything milder; gives what `unknown` says',
    evaluate(facts, policy) {
      const unknown = facts.effects.filter((effect) => effect.kind === 'unknown');
      if (unknown.length === 0) return undefined;
      const observed = `unknown effect: ${listObjects(unknown)}`;
      const message = `What it would do is not known, and unknown is never safe; policy ${policy.name} ${phrases[policy.unknown]}.`;
      return { decision: policy.unknown, observed, threshold: `unknown: ${policy.unknown}`, message };
    },
  },
  {
    id: 'name.missing', version: 1, reads: ['reasons'],
    compares: 'fires when the live catalog holds no relation or function of a name that is used; denies, because it could only fail',
    evaluate(facts) {
      const missing = facts.reasons.find(({ rule }) => rule === missingRules.relation || rule === missingRules.function);
      if (missing === undefined) return undefined;
      return { decision: 'deny', observed: missing.message, threshold: 'every name exists', message: 'It could only fail, so nobody is asked about it.' };
    },
  },
  {
    id: 'recovery.required', version: 2, reads: ['level', 'destroys', 'recovery'],
    compares: 'fires when data would be lost, the level is at least `recovery.required_from`, and nothing could be kept that brings it back; denies, and only an override lets it run',
    evaluate(facts, policy) {
      const from = policy.recovery.required_from;
      if (from === 'never' || !facts.destroys || !isAtLeast(facts.level, from) || isKept(facts)) return undefined;
      return {
        decision: 'deny', observed: `${facts.level}, destroys data, recovery point: none`,
        threshold: `recovery point required from ${from} when data would be lost`,
        message: `It would destroy data that no recovery point can bring back${facts.why === undefined ? '' : `, because ${facts.why}`}; only an operator's override lets it run.`,
      };
    },
  },
  {
    id: 'timeouts.lifted', version: 1, reads: ['effects'],
    compares: 'fires when a limit under `timeouts` would be set higher or switched off; denies',
    evaluate(facts) {
      const lifted = facts.effects.filter(({ kind, objectKind }) => kind === 'session' && objectKind === 'time limit');
      if (lifted.length === 0) return undefined;
      return {
        decision: 'deny', observed: lifted.map(({ object, detail }) => `${object ?? 'a limit'} ${detail ?? ''}`).join(', '), threshold: 'limits of time stay, or get lower',
        message: 'It would lift a limit of time that the policy sets for this agent. A lower value is allowed.',
      };
    },
  },
  {
    id: 'protected.table', version: 2, reads: ['effects'],
    compares: 'fires when an effect reaches a name under `protected.tables`; gives the worse of `protected.on_write` and `protected.on_read`, as it writes and reads',
    evaluate: (facts, policy) => protectedFinding(facts, policy, 'table', policy.protected.tables, matchesRelation),
  },
  {
    id: 'protected.schema', version: 2, reads: ['effects'],
    compares: 'fires when an effect reaches a schema under `protected.schemas`; gives the worse of `protected.on_write` and `protected.on_read`, as it writes and reads',
    evaluate: (facts, policy) => protectedFinding(facts, policy, 'schema', policy.protected.schemas, matchesSchema),
  },
  {
    id: 'protected.column', version: 1, reads: ['effects'],
    compares: 'fires when an effect reads or writes a column under `protected.columns`, or may; gives the worse of `protected.on_write` and `protected.on_column_read`, as it writes and reads',
    evaluate: protectedColumnFinding,
  },
  {
    id: 'operation.blocked', version: 1, reads: ['effects'],
    compares: 'fires when an effect is one of the operations under `blocked`; denies',
    evaluate(facts, policy) {
      const hit = policy.blocked.filter((operation) => facts.effects.some((effect) => isOperation(operation, effect)));
      if (hit.length === 0) return undefined;
      const effects = facts.effects.filter((effect) => hit.some((operation) => isOperation(operation, effect)));
      return {
        decision: 'deny', observed: `${hit.join(', ')}: ${listObjects(effects)}`, threshold: `blocked: ${hit.join(', ')}`,
        message: `Policy ${policy.name} blocks ${hit.join(', ')} for everyone.`,
      };
    },
  },
  {
    id: 'limit.rows', version: 2, reads: ['impact'],
    compares: 'fires when the measured rows, with those that foreign keys change, or that a DROP or TRUNCATE would lose, are more than `limits.max_rows`; gives `limits.above`',
    evaluate({ impact }, policy) {
      const { max_rows: most, above } = policy.limits ?? {};
      const counted = countedRows(impact);
      if (counted === undefined || most === undefined || above === undefined || counted.total <= most) return undefined;
      const { total, rows, table } = counted;
      const observed = impact.kind === 'loss' ? impactSentence(impact) : `${countOf(rows)} of ${table}${total > rows ? `, and ${total - rows} through foreign keys` : ''}`;
      return {
        decision: above, observed, threshold: `max_rows: ${most}`,
        message: `It would ${impact.kind === 'loss' ? 'lose' : 'change'} ${countOf(total)}, more than the ${most} that policy ${policy.name} lets one statement change; therefore it ${phrases[above]}.`,
      };
    },
  },
  {
    id: 'limit.percent', version: 2, reads: ['impact'],
    compares: 'fires when the measured share of the table is more than `limits.max_percent`, or is not known, and it is more than one row; what a DROP or TRUNCATE loses is all of it; gives `limits.above`',
    evaluate({ impact }, policy) {
      const { max_percent: most, above } = policy.limits ?? {};
      const counted = countedRows(impact);
      // A single row is a great share of a small table and means nothing.
      if (counted === undefined || most === undefined || above === undefined || counted.rows <= 1) return undefined;
      const { percent, rows, table } = counted;
      if (percent !== null && percent <= most) return undefined;
      const share = percent === null ? 'an unknown share' : percentText(percent);
      const shown = impact.kind === 'measured' ? shareText(impact) : '';
      return {
        decision: above, observed: shown === '' ? `${countOf(rows)} of ${table}, share ${percent === null ? 'unknown' : percentText(percent)}` : `${shown} rows of ${table}`, threshold: `max_percent: ${most}`,
        message: `It would ${impact.kind === 'loss' ? 'lose' : 'change'} ${share} of ${table}, more than the ${most} % that policy ${policy.name} lets one statement change; therefore it ${phrases[above]}.`,
      };
    },
  },
  {
    id: 'impact.unknown', version: 2, reads: ['impact'],
    compares: 'fires when there are `limits` and the rows that it would change or lose could not be measured; gives `limits.above`',
    evaluate({ impact }, policy) {
      const { max_rows: rows, max_percent: percent, above } = policy.limits ?? {};
      const reason = unknownReason(impact);
      if (reason === undefined || above === undefined || (rows === undefined && percent === undefined)) return undefined;
      return {
        decision: above, observed: `unknown impact: ${reason}`, threshold: [rows === undefined ? '' : `max_rows: ${rows}`, percent === undefined ? '' : `max_percent: ${percent}`].filter((text) => text !== '').join(', '),
        message: `How many rows it would change is not known, because ${reason}; so policy ${policy.name} ${phrases[above]}.`,
      };
    },
  },
  ...budgetRules,
];

/** What is kept before it commits brings back all that it loses. */
function isKept({ recovery }: Facts): boolean { return recovery === 'exact-rows' || recovery === 'table' || recovery === 'schema'; }

/** Whole tables can be brought back too, but are copied and locked for it: nobody is spared the question how large they are. */
function isUndone(facts: Facts): boolean {
  return facts.recovery === 'exact-rows' || (isKept(facts) && countedRows(facts.impact) !== undefined);
}

function levelRule(level: Level): Rule {
  return {
    id: `level.${level}`, version: 2, reads: ['level', 'effects', 'destroys', 'recovery', 'impact'],
    compares: `fires when the risk is ${level}; gives what \`levels.${level}\` says, and instead of a hold lets pass what \`recovery.undo_allows\` does`,
    evaluate(facts, policy) {
      if (facts.level !== level) return undefined;
      const decision = policy.levels[level];
      const allows = policy.recovery.undo_allows;
      const isSpared = decision === 'hold' && allows !== undefined && isAtLeast(allows, level);
      const threshold = `${level}: ${decision}${isSpared ? `, undo_allows: ${allows}` : ''}`;
      if (isSpared && onlyAddsRows(facts)) return { decision: 'allow', observed: `${level}, only adds rows`, threshold, message: `Its risk is ${level}, but it only adds rows, and policy ${policy.name} lets that pass.` };
      if (isSpared && isUndone(facts)) return { decision: 'allow', observed: `${level}, can be undone: ${facts.recovery}`, threshold, message: `Its risk is ${level}, but its undo is kept before it commits, and policy ${policy.name} lets that pass.` };
      return { decision, observed: level, threshold, message: `Its risk is ${level}, and policy ${policy.name} ${phrases[decision]}.` };
    },
  };
}
