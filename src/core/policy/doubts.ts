/**
 * Doubts: what a valid policy says that its writer surely did not mean, such as a scope that can never be reached. Only
 * what is certain is told; that nothing is told proves nothing.
 */
import { canonicalJson } from '../../lib/canonical-json.ts';
import type { Match } from './match.ts';
import type { Policy } from './policy.ts';

export interface Doubt {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

export function doubtsAbout(policy: Policy): readonly Doubt[] {
  return [...aboutWhole(policy), ...policy.scopes.flatMap((_, index) => aboutScope(policy, index)), ...aboutSections(policy, [])];
}

function aboutWhole({ mode, observe_in_production: acknowledged }: Policy): readonly Doubt[] {
  if (mode === 'observe' && acknowledged === undefined) return [{ path: ['mode'], message: 'observe enforces nothing; where the environment is production it is refused without `observe_in_production`' }];
  if (mode === 'enforce' && acknowledged !== undefined) return [{ path: ['observe_in_production'], message: 'has no effect, since `mode` is enforce' }];
  return [];
}

function aboutScope({ scopes }: Policy, index: number): readonly Doubt[] {
  const scope = scopes[index];
  if (scope === undefined) return [];
  const { name, match, ...sections } = scope;
  const before = scopes.slice(0, index).find((other) => covers(other.match, match));
  return [
    ...(before === undefined ? [] : [{ path: ['scopes', index], message: `scope ${name} is never reached: ${before.name} before it matches all that it matches` }]),
    ...(Object.keys(sections).length > 0 ? [] : [{ path: ['scopes', index], message: `scope ${name} changes nothing: it names no section, so the base stays in force there` }]),
    ...aboutSections(sections, ['scopes', index]),
  ];
}

function aboutSections({ protected: guarded, limits }: { readonly protected?: Policy['protected'] | undefined; readonly limits?: Policy['limits'] | undefined }, path: readonly (string | number)[]): readonly Doubt[] {
  const isEmpty = guarded !== undefined && [guarded.tables, guarded.schemas, guarded.columns].every((names) => names.length === 0);
  const isDecided = guarded !== undefined && (guarded.on_write !== 'deny' || guarded.on_read !== 'allow');
  return [
    ...(isEmpty && isDecided ? [{ path: [...path, 'protected'], message: 'decides about protected objects but names none' }] : []),
    ...(limits?.max_percent === 100 ? [{ path: [...path, 'limits', 'max_percent'], message: 'never fires: nothing is more than 100 percent' }] : []),
  ];
}

/** Everything that `inner` matches is matched by `outer`. */
export function covers(outer: Match, inner: Match): boolean {
  return coversPatterns(outer.agents, inner.agents) && coversPatterns(outer.databases, inner.databases)
    && (outer.environments === undefined || (inner.environments?.every((one) => outer.environments?.includes(one)) ?? outer.environments.length === 3))
    && (outer.hours === undefined || (inner.hours !== undefined && canonicalJson(outer.hours) === canonicalJson(inner.hours)));
}

function coversPatterns(outer: readonly string[] | undefined, inner: readonly string[] | undefined): boolean {
  if (outer === undefined || outer.some((pattern) => /^\*+$/.test(pattern))) return true;
  return inner?.every((pattern) => outer.some((wide) => coversPattern(wide, pattern))) ?? false;
}

/** Sure for equal patterns and for `prefix*`. */
function coversPattern(wide: string, narrow: string): boolean {
  if (wide === narrow) return true;
  const prefix = wide.slice(0, -1);
  return wide.endsWith('*') && !prefix.includes('*') && narrow.startsWith(prefix);
}
