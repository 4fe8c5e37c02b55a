/**
 * Trace: every rule of the table against one action, fired or not, with what it observed and the threshold it held that
 * against. It asks the very rules that decide asks, so the two cannot differ; only the words for what did not fire are
 * its own.
 */
import { countedRows, percentText, unknownReason, type CountedRows, type Impact } from '../impact.ts';
import type { Decision } from '../verdict.ts';
import { decideBy } from './decide.ts';
import { missingFacts, readFacts } from './facts.ts';
import type { Facts, PolicyInput } from './facts.ts';
import { listObjects } from './finding.ts';
import type { EffectivePolicy } from './policy.ts';
import { rules } from './rules.ts';

export interface TracedRule {
  readonly rule: string;
  /** undefined: it did not fire. */
  readonly decision: Decision | undefined;
  readonly observed: string;
  readonly threshold: string;
  readonly message: string | undefined;
  /** How it compares, in words. */
  readonly compares: string;
}

/** The worst first, then those that did not fire, in the order of the table. */
export function traceRules(policy: EffectivePolicy, input: PolicyInput): readonly TracedRule[] {
  const facts = readFacts(input);
  const fired = decideBy(rules, policy, input).fired;
  const traced = rules.map(({ id, compares, reads }): TracedRule => {
    const finding = fired.find(({ rule }) => rule === id);
    if (finding !== undefined) return { rule: id, compares, decision: finding.decision, observed: finding.observed, threshold: finding.threshold, message: finding.message };
    const quiet = quietRule(id, missingFacts(facts, reads).length === 0 ? facts as Facts : undefined, policy);
    return { rule: id, compares, decision: undefined, message: undefined, ...quiet };
  });
  return [...fired.flatMap(({ rule }) => traced.filter((one) => one.rule === rule)), ...traced.filter(({ decision }) => decision === undefined)];
}

interface Quiet { readonly observed: string; readonly threshold: string }
type QuietWords = (facts: Facts, policy: EffectivePolicy) => Quiet;

function quietRule(id: string, facts: Facts | undefined, policy: EffectivePolicy): Quiet {
  const words = quietWords[id.startsWith('level.') ? 'level' : id];
  if (facts === undefined || words === undefined) return { observed: 'not known', threshold: '' };
  if (id.startsWith('level.')) return { observed: facts.level, threshold: `${id.slice('level.'.length)}: ${policy.levels[id.slice('level.'.length) as Facts['level']]}` };
  return words(facts, policy);
}

const named = (names: readonly string[]): string => (names.length === 0 ? 'none are named' : names.slice(0, 5).join(', ') + (names.length > 5 ? ` and ${names.length - 5} more` : ''));
const reached = ({ effects }: Facts): string => (effects.length === 0 ? 'no effects' : listObjects(effects));

/** In place of `level`, each level. Every id of the table has its words; a test holds that. */
export const quietWords: Readonly<Record<string, QuietWords>> = {
  level: ({ level }) => ({ observed: level, threshold: '' }),
  'effect.unknown': (_, { unknown }) => ({ observed: 'no unknown effect', threshold: `unknown: ${unknown}` }),
  'name.missing': () => ({ observed: 'no name is missing', threshold: 'every name exists' }),
  'recovery.required': ({ level, destroys, recovery: scope }, { recovery }) => ({
    observed: `${level}, ${destroys ? `destroys data, can be undone: ${scope}` : 'loses no data'}`,
    threshold: recovery.required_from === 'never' ? 'never required' : `required from ${recovery.required_from} when data would be lost`,
  }),
  'timeouts.lifted': (_, { timeouts }) => ({
    observed: 'lifts no limit of time', threshold: named(Object.entries(timeouts).filter(([, seconds]) => seconds !== undefined).map(([name, seconds]) => `${name}: ${seconds}`)).replace('none are named', 'no limits of time'),
  }),
  'protected.table': (facts, { protected: { tables } }) => ({ observed: reached(facts), threshold: `protected tables: ${named(tables)}` }),
  'protected.schema': (facts, { protected: { schemas } }) => ({ observed: reached(facts), threshold: `protected schemas: ${named(schemas)}` }),
  'protected.column': (facts, { protected: { columns } }) => ({ observed: reached(facts), threshold: `protected columns: ${named(columns)}` }),
  'operation.blocked': (facts, { blocked }) => ({ observed: reached(facts), threshold: `blocked: ${named(blocked)}` }),
  'limit.rows': ({ impact }, { limits }) => ({ observed: impactText(impact, ({ total }) => `${total} rows`), threshold: limits.max_rows === undefined ? 'no limit' : `max_rows: ${limits.max_rows}` }),
  'limit.percent': ({ impact }, { limits }) => ({
    observed: impactText(impact, ({ percent }) => (percent === null ? 'share not known' : `${percentText(percent)} of the table`)),
    threshold: limits.max_percent === undefined ? 'no limit' : `max_percent: ${limits.max_percent}`,
  }),
  'impact.unknown': ({ impact }, { limits }) => ({
    observed: impactText(impact, () => 'measured'), threshold: limits.max_rows === undefined && limits.max_percent === undefined ? 'no limit' : 'the rows it changes are known',
  }),
  ...Object.fromEntries(([['statements', 'statements', 'statements'], ['rows-changed', 'rows_changed', 'rowsChanged'], ['rows-read', 'rows_read', 'rowsRead']] as const).map(([name, measure, amount]): [string, QuietWords] => [
    `budget.${name}`, ({ used }, { budgets }) => {
      const granted = budgets.filter((budget) => budget[measure] !== undefined);
      if (granted.length === 0) return { observed: 'not counted', threshold: 'no budget' };
      return {
        observed: used === undefined ? 'not known' : granted.map(({ per }) => `${used[per][amount]} in this ${per}`).join(', '),
        threshold: granted.map((budget) => `${measure}: ${budget[measure] ?? 0} per ${budget.per}`).join(', '),
      };
    },
  ])),
};

function impactText(impact: Impact, words: (counted: CountedRows) => string): string {
  const reason = unknownReason(impact);
  if (reason !== undefined) return `unknown: ${reason}`;
  const counted = countedRows(impact);
  return counted === undefined ? 'changes no row' : words(counted);
}
