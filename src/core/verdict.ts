/**
 * Verdict: what the policy says of a risk. A value, never thrown. Every rule of the policy is evaluated and the
 * verdict names each one that fired, with what was observed and the threshold it was held against.
 */
import type { Level } from './risk.ts';

export type Decision = 'allow' | 'hold' | 'deny';

/** A higher one wins. */
export const severity: Readonly<Record<Decision, number>> = { allow: 0, hold: 1, deny: 2 };

export interface FiredRule {
  /** Stable id such as `level.HIGH`, `protected.table`, `operation.blocked`, `recovery.required`. */
  readonly rule: string;
  readonly decision: Decision;
  readonly observed: string;
  readonly threshold: string;
  readonly message: string;
}

export interface Verdict {
  readonly decision: Decision;
  readonly level: Level;
  /** The rules that fired, the worst decision first. */
  readonly fired: readonly FiredRule[];
  readonly policyName: string;
  /** sha256 of the policy's canonical form, hex. */
  readonly policyHash: string;
  /** The scope of the policy that was in force; absent: its base. */
  readonly scope?: string;
  /** Under `observe`: what would have been decided. Equal to `decision` otherwise. */
  readonly wouldBe: Decision;
}
