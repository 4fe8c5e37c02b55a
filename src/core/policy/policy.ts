/**
 * Policy: what each level of risk gets, and what is protected or blocked whatever its level; for all, or in scopes for
 * some agents, databases, environments and hours. Written by a person as YAML, checked here with the line and column of
 * each mistake, frozen, and named by a hash of its meaning, so that a verdict can say under exactly which policy it was
 * given. A more dangerous level never gets a milder decision, in no scope.
 */
import { z } from 'zod';
import { canonicalJson } from '../../lib/canonical-json.ts';
import { parseCheckedYaml, type Mistake } from '../../lib/checked-yaml.ts';
import { deepFreeze } from '../../lib/deep-freeze.ts';
import { sha256Hex } from '../../lib/sha256.ts';
import { Failure } from '../failure.ts';
import { levels } from '../risk.ts';
import { severity, type Decision } from '../verdict.ts';
import { doubtsAbout } from './doubts.ts';
import { environments, matchSchema } from './match.ts';
import { sections } from './sections.ts';

const textMax = 500;
const scopesMax = 100;

/** Written out in the file, so that nobody turns the protection of production off by one word. */
export const observeAcknowledgement = 'I understand that nothing is enforced';

const name = z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, 'lower-case letters, digits and hyphens, beginning with a letter');

const scopeSchema = z.strictObject({
  name: name.describe('Shown in every verdict that is given in this scope.'),
  match: matchSchema,
  levels: sections.levels.optional(),
  unknown: sections.unknown.optional(),
  recovery: sections.recovery.optional(),
  protected: sections.protected.optional(),
  blocked: sections.blocked.optional(),
  limits: sections.limits.optional(),
  budgets: sections.budgets.optional(),
  timeouts: sections.timeouts.optional(),
  approval: sections.approval.optional(),
});

/** The file as written. Every key has a description; docs/policy.md is made of them. */
export const policySchema = z.strictObject({
  name: name.describe('Shown in every verdict.'),
  description: z.string().min(1).max(textMax).describe('One sentence: for whom the policy is.'),
  mode: z.enum(['enforce', 'observe']).default('enforce').describe('observe: lets everything through and records what enforce would have said.'),
  observe_in_production: z.literal(observeAcknowledgement).optional()
    .describe('Without this sentence, `mode: observe` is refused where the environment is production.'),
  levels: sections.levels,
  unknown: sections.unknown.default('deny'),
  recovery: sections.recovery.prefault({ required_from: 'CRITICAL' }),
  protected: sections.protected.prefault({}),
  blocked: sections.blocked.default([]),
  limits: sections.limits.prefault({}),
  budgets: sections.budgets.default([]),
  timeouts: sections.timeouts.prefault({}),
  approval: sections.approval.prefault({}),
  scopes: z.array(scopeSchema).max(scopesMax).default([])
    .describe('Other answers for some; the first scope that matches replaces the sections that it names, all others stay as above.'),
}).superRefine((policy, context) => {
  const say = (path: readonly (string | number)[], message: string): void => { context.addIssue({ code: 'custom', path: [...path], message }); };
  for (const [path, given] of [[[], policy.levels] as const, ...policy.scopes.map((scope, index) => [['scopes', index], scope.levels] as const)]) {
    for (const { level, message } of given === undefined ? [] : milderThanBetter(given)) say([...path, 'levels', level], message);
  }
  for (const [index, scope] of policy.scopes.entries()) {
    if (policy.scopes.findIndex((other) => other.name === scope.name) < index) say(['scopes', index, 'name'], `there is another scope ${scope.name}; each has a name of its own`);
  }
});

type Written = z.infer<typeof policySchema>;
type DeepReadonly<T> = { readonly [K in keyof T]: T[K] extends readonly (infer I)[] ? readonly DeepReadonlyItem<I>[] : T[K] extends object ? DeepReadonly<T[K]> : T[K] };
type DeepReadonlyItem<I> = I extends object ? DeepReadonly<I> : I;

type SectionName = keyof typeof sections;
type Given<T extends { readonly [K in SectionName]?: unknown }> = { readonly [K in SectionName]: Exclude<T[K], undefined> };
const sectionNames = Object.keys(sections) as readonly SectionName[];

/** What is in force for one agent, database, environment and time: what rules judge by. The same scope is always the same object. */
export type EffectivePolicy = Pick<DeepReadonly<Written>, 'name' | 'mode' | SectionName> & {
  /** Of the whole file. */
  readonly hash: string;
  /** undefined: no scope matched, the base is in force. */
  readonly scope: string | undefined;
};

export type Scope = DeepReadonly<Written>['scopes'][number];
export type Budget = DeepReadonly<Written>['budgets'][number];

export type Policy = DeepReadonly<Written> & {
  /** sha256 of the canonical form of everything above, hex. Comments and order do not change it. */
  readonly hash: string;
  /** In force where no scope matches. */
  readonly base: EffectivePolicy;
  /** In force in each of `scopes`, in their order. */
  readonly scoped: readonly EffectivePolicy[];
};

export type CheckedPolicy =
  | { readonly kind: 'valid'; readonly policy: Policy; readonly warnings: readonly Mistake[] }
  | { readonly kind: 'invalid'; readonly mistakes: readonly Mistake[] };

/** Every mistake with its place; or the policy, and what in it is valid but surely not meant. */
export function checkPolicy(yamlText: string): CheckedPolicy {
  const checked = parseCheckedYaml(yamlText, policySchema);
  if (checked.kind === 'invalid') return checked;
  const policy = namePolicy(checked.value);
  const warnings = doubtsAbout(policy).map(({ path, message }): Mistake => ({ ...checked.placeOf(path), message }));
  return { kind: 'valid', policy, warnings: warnings.toSorted((a, b) => a.line - b.line || a.column - b.column) };
}

/** Throws Failure `policy_invalid`, its message `file:line:column: what is wrong; what is allowed`. */
export function parsePolicy(yamlText: string, fileName: string): Policy {
  const checked = checkPolicy(yamlText);
  if (checked.kind === 'valid') return checked.policy;
  const lines = checked.mistakes.map(({ line, column, message }) => `${fileName}:${line}:${column}: ${message}`);
  throw new Failure('policy_invalid', lines[0] ?? `${fileName} is not a policy`, lines.length > 1 ? { detail: lines.slice(1).join('\n') } : {});
}

/** The same policy with the times that configuration gives, in every scope, under the hash that this makes. */
export function withApprovalTimes(policy: Policy, times: { readonly wait?: number | undefined; readonly expires?: number | undefined }): Policy {
  const { hash: _, base: __, scoped: ___, ...written } = policy;
  const timed = (approval: Written['approval']): Written['approval'] => ({ wait: times.wait ?? approval.wait, expires: times.expires ?? approval.expires });
  return namePolicy({
    ...written, approval: timed(policy.approval),
    scopes: policy.scopes.map((scope) => (scope.approval === undefined ? scope : { ...scope, approval: timed(scope.approval) })),
  });
}

/** Throws Failure `policy_invalid` where production would be left without protection and the file does not say that this is meant. */
export function refuseSilentObserving(policy: Policy, environment: (typeof environments)[number]): void {
  if (environment !== 'production' || policy.mode !== 'observe' || policy.observe_in_production === observeAcknowledgement) return;
  throw new Failure('policy_invalid', `policy ${policy.name} only observes, and the environment is production`, {
    hint: `Choose a policy that enforces; or name the environment (--environment dev|staging); or, to watch production unprotected, write into the policy file: observe_in_production: "${observeAcknowledgement}".`,
  });
}

function milderThanBetter(given: Written['levels']): readonly { readonly level: string; readonly message: string }[] {
  return levels.flatMap((level, index) => {
    const milder = levels[index - 1];
    if (milder === undefined || isAsSevere(given[level], given[milder])) return [];
    return [{ level, message: `${level} gets ${given[level]}, milder than ${given[milder]} for ${milder}; a worse level never gets a milder decision` }];
  });
}

function isAsSevere(a: Decision, b: Decision): boolean { return severity[a] >= severity[b]; }

function namePolicy(written: DeepReadonly<Written>): Policy {
  const hash = sha256Hex(canonicalJson(written));
  const base: EffectivePolicy = { name: written.name, mode: written.mode, hash, scope: undefined, ...sectionsOf(written) };
  const scoped = written.scopes.map((scope): EffectivePolicy => ({ ...base, ...sectionsOf(scope), scope: scope.name }));
  return deepFreeze({ ...written, hash, base, scoped });
}

/** The sections that are there and nothing else. */
function sectionsOf<T extends { readonly [K in SectionName]?: unknown }>(from: T): Given<T> {
  return Object.fromEntries(sectionNames.flatMap((section) => (from[section] === undefined ? [] : [[section, from[section]]]))) as Given<T>;
}
