/**
 * Protection: whether a policy wants what undoes an action kept before it commits, and what people may be told of that. What
 * could be undone and is not, because no policy asks for it, is never told as if it were.
 */
import type { Coverage } from '../recovery/coverage.ts';
import { isAtLeast, type Risk } from '../risk.ts';
import { matchesRelation, placeOf } from './pattern.ts';
import type { EffectivePolicy } from './policy.ts';

/** By this it is to be protected; undefined: it runs without. */
export function protectionOf({ mode, recovery }: EffectivePolicy, { level }: Risk, coverage: Coverage | undefined): Coverage | undefined {
  const { required_from: from, undo_allows: allows, recycle_bin: bin } = recovery;
  if (coverage?.method === undefined || mode === 'observe' || from === 'never') return undefined;
  return isAtLeast(level, from) || allows !== undefined ? setAside(coverage, bin?.tables ?? []) : undefined;
}

/** Tables that the policy names are not copied when they are dropped. */
function setAside(coverage: Coverage, patterns: readonly string[]): Coverage {
  const { canSetAside = false, tables, lost } = coverage;
  if (!canSetAside || !tables.every((table) => patterns.some((pattern) => matchesRelation(pattern, placeOf(table, 'table'))))) return coverage;
  return {
    ...coverage, method: 'tombstone', sentence: `It can be undone to the whole ${tables.length === 1 ? 'table' : 'tables'}: ${tables.join(', ')} is set aside in the database itself before it commits, and copied only where it cannot be.`,
    lost: [...lost, 'It is not out of reach of what befalls the server.', 'Its foreign keys are checked again when it comes back.'],
  };
}

/** What holds of its undo under this policy; undefined: nobody has looked. */
export function promiseOf(policy: EffectivePolicy, risk: Risk, coverage: Coverage | undefined): Coverage | undefined {
  if (coverage?.method === undefined) return coverage;
  const kept = protectionOf(policy, risk, coverage);
  if (kept !== undefined) return kept;
  const sentence = `Backstop keeps nothing to undo it by, because policy ${policy.name} ${policy.mode === 'observe' ? 'only observes' : 'asks for no recovery point of it'}.`;
  return { scope: 'none', method: undefined, tables: [], sentence, lost: [] };
}
