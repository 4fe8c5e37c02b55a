/**
 * Policy: what each level of risk gets, and what is protected or blocked whatever its level. Written by a person as
 * YAML, checked here with the line and column of each mistake, frozen, and named by a hash of its meaning, so that a
 * verdict can say under exactly which policy it was given. A more dangerous level never gets a milder decision.
 */
import { z } from 'zod';
import { canonicalJson } from '../../lib/canonical-json.ts';
import { parseCheckedYaml } from '../../lib/checked-yaml.ts';
import { deepFreeze } from '../../lib/deep-freeze.ts';
import { sha256Hex } from '../../lib/sha256.ts';
import { Failure } from '../failure.ts';
import { levels } from '../risk.ts';
import type { Decision } from '../verdict.ts';
import { operations } from './operation.ts';

const textMax = 500;
const listMax = 1000;

const decision = z.enum(['allow', 'hold', 'deny']);
const refusal = z.enum(['hold', 'deny']);
const name = z.string().min(1).max(200);

const levelsSchema = z.strictObject({
  SAFE: decision.describe('Reads, and what changes nothing.'),
  LOW: decision.describe('Effects that stay inside the session: temporary tables, cursors, row locks, harmless settings.'),
  HIGH: decision.describe('Writes and schema changes with a bound: INSERT, UPDATE or DELETE with WHERE, ALTER TABLE; calls that could not be proved harmless.'),
  CRITICAL: decision.describe('Losses without a bound, programs and files on the server, control of the server, privileges.'),
}).describe('What each level of risk gets.');

const recoverySchema = z.strictObject({
  required_from: z.enum(['LOW', 'HIGH', 'CRITICAL', 'never'])
    .describe('From this level on, a statement that would lose data is denied unless a recovery point exists.'),
}).describe('When a statement that loses data needs a recovery point first.');

const protectedSchema = z.strictObject({
  tables: z.array(name).max(listMax).default([]).describe('Tables and views: `payments`, `public.payments`, `audit_*`.'),
  schemas: z.array(name).max(listMax).default([]).describe('Schemas, with all that is in them: `billing`, `tenant_*`.'),
  on_write: refusal.default('deny').describe('What a write, change, lock or drop of a protected object gets.'),
  on_read: decision.default('allow').describe('What a read of a protected object gets.'),
}).describe('Objects with a decision of their own, whatever the level.');

const approvalSchema = z.strictObject({
  wait: z.int().min(0).max(3600).default(55)
    .describe('Seconds that a held statement waits on its connection; 0 answers at once. Agents often give up after 60.'),
  expires: z.int().min(1).max(30 * 24 * 3600).default(3600).describe('Seconds for which a request, and the answer to it, stays valid.'),
}).describe('How long a held statement waits, and how long its approval lives.');

/** The file as written. Every key has a description; docs/policy.md explains them at length. */
export const policySchema = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, 'lower-case letters, digits and hyphens, beginning with a letter').describe('Shown in every verdict.'),
  description: z.string().min(1).max(textMax).describe('One sentence: for whom the policy is.'),
  mode: z.enum(['enforce', 'observe']).default('enforce').describe('observe: lets everything through and records what enforce would have said.'),
  levels: levelsSchema,
  unknown: refusal.default('deny').describe('What an effect gets that could not be proved to be anything milder.'),
  recovery: recoverySchema.prefault({ required_from: 'CRITICAL' }),
  protected: protectedSchema.prefault({}),
  blocked: z.array(z.enum(operations)).max(listMax).default([]).describe('Operations that are always denied.'),
  approval: approvalSchema.prefault({}),
}).superRefine((policy, context) => {
  const order: readonly Decision[] = ['allow', 'hold', 'deny'];
  for (const [index, level] of levels.entries()) {
    const milder = levels[index - 1];
    if (milder === undefined || order.indexOf(policy.levels[level]) >= order.indexOf(policy.levels[milder])) continue;
    context.addIssue({
      code: 'custom', path: ['levels', level],
      message: `${level} gets ${policy.levels[level]}, milder than ${policy.levels[milder]} for ${milder}; a worse level never gets a milder decision`,
    });
  }
});

type Written = z.infer<typeof policySchema>;
type DeepReadonly<T> = { readonly [K in keyof T]: T[K] extends readonly (infer I)[] ? readonly I[] : T[K] extends object ? DeepReadonly<T[K]> : T[K] };

export type Policy = DeepReadonly<Written> & {
  /** sha256 of the canonical form of everything above, hex. Comments and order do not change it. */
  readonly hash: string;
};

/** Throws Failure `policy_invalid`, its message `file:line:column: what is wrong; what is allowed`. */
export function parsePolicy(yamlText: string, fileName: string): Policy {
  const checked = parseCheckedYaml(yamlText, policySchema);
  if (checked.kind === 'valid') return namePolicy(checked.value);
  const lines = checked.mistakes.map(({ line, column, message }) => `${fileName}:${line}:${column}: ${message}`);
  throw new Failure('policy_invalid', lines[0] ?? `${fileName} is not a policy`, lines.length > 1 ? { detail: lines.slice(1).join('\n') } : {});
}

/** The same policy with the times that configuration gives, under the hash that this makes. */
export function withApprovalTimes(policy: Policy, times: { readonly wait?: number | undefined; readonly expires?: number | undefined }): Policy {
  const { hash: _, ...written } = policy;
  return namePolicy({
    ...written,
    approval: { wait: times.wait ?? policy.approval.wait, expires: times.expires ?? policy.approval.expires },
  });
}

function namePolicy(written: DeepReadonly<Written>): Policy {
  return deepFreeze({ ...written, hash: sha256Hex(canonicalJson(written)) });
}
