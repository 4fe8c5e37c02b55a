/**
 * Protection: whether a policy wants what undoes an action kept before it commits, and what people may be told of that. What
 * could be undone and is not, because no policy asks for it, is never told as if it were.
 */
import type { Coverage } from '../recovery/coverage.ts';
import { isAtLeast, type Risk } from '../risk.ts';
import type { EffectivePolicy } from './policy.ts';

/** By this it is to be protected; undefined: it runs without. */
export function protectionOf({ mode, recovery: { required_from: from, undo_allows: allows } }: EffectivePolicy, { level }: Risk, coverage: Coverage | undefined): Coverage | undefined {
  if (coverage?.method === undefined || mode === 'observe' || from === 'never') return undefined;
  return isAtLeast(level, from) || allows !== undefined ? coverage : undefined;
}

/** What holds of its undo under this policy; undefined: nobody has looked. */
export function promiseOf(policy: EffectivePolicy, risk: Risk, coverage: Coverage | undefined): Coverage | undefined {
  if (coverage?.method === undefined || protectionOf(policy, risk, coverage) !== undefined) return coverage;
  const sentence = `Backstop keeps nothing to undo it by, because policy ${policy.name} ${policy.mode === 'observe' ? 'only observes' : 'asks for no recovery point of it'}.`;
  return { scope: 'none', method: undefined, tables: [], sentence, lost: [] };
}
