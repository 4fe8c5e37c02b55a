/**
 * The policy that configuration means: its file with the times and the environment that configuration gives, what health
 * says of it, and its text for commands.
 */
import type { Config } from '../config.ts';
import { refuseSilentObserving, withApprovalTimes, type Policy } from '../core/policy/policy.ts';
import type { PolicyHealth } from '../entry/http/http.ts';
import type { PolicyInForce } from '../flow/policy-in-force.ts';
import { loadPolicy, policyText as readPolicyText } from '../remote/policy-file.ts';

/** As the file is now. Throws Failure `policy_invalid`. */
export async function loadFor(config: Config): Promise<Policy> {
  const policy = withApprovalTimes(await loadPolicy(config.policy), config.approval);
  refuseSilentObserving(policy, config.environment);
  return policy;
}

export function policyHealth(policy: PolicyInForce, { environment }: Config): PolicyHealth {
  return { name: policy.current().name, hash: policy.current().hash, since: policy.since, environment, refused: policy.refusal ?? null };
}

/** Of a shipped policy, or of a file. Throws Failure `policy_invalid`. */
export function policyText(nameOrPath: string): ReturnType<typeof readPolicyText> { return readPolicyText(nameOrPath); }
