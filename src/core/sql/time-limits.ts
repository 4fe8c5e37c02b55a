/**
 * TimeLimits: how long the statements of one session may run, wait for a lock or leave a transaction idle, by the names of
 * PostgreSQL's own settings. A session begins with them; what would set one higher, or switch it off, lifts it. A value
 * that cannot be read as a time counts as higher.
 */
import { nothing, type Risk } from '../risk.ts';
import { effect, risk } from './own-reading.ts';
import type { SessionChange } from './statement.ts';

/** Name of the setting → milliseconds. */
export type TimeLimits = ReadonlyMap<string, number>;
export const noTimeLimits: TimeLimits = new Map();

/** As a policy gives them, in seconds. */
export interface TimeLimitSeconds {
  readonly statement?: number | undefined;
  readonly lock?: number | undefined;
  readonly idle_in_transaction?: number | undefined;
  readonly transaction?: number | undefined;
}

const settingOf: Readonly<Record<keyof TimeLimitSeconds, string>> = {
  statement: 'statement_timeout', lock: 'lock_timeout', idle_in_transaction: 'idle_in_transaction_session_timeout', transaction: 'transaction_timeout',
};
const transactionTimeoutSince = 17;

/** Those that a server of that version knows. */
export function timeLimitsFrom(seconds: TimeLimitSeconds, major: number): TimeLimits {
  const given = (Object.keys(settingOf) as (keyof TimeLimitSeconds)[]).flatMap((key) => {
    const value = seconds[key];
    return value === undefined || (key === 'transaction' && major < transactionTimeoutSince) ? [] : [[settingOf[key], value * 1000] as const];
  });
  return given.length === 0 ? noTimeLimits : new Map(given);
}

const unitsMs: ReadonlyMap<string, number> = new Map([['', 1], ['us', 0.001], ['ms', 1], ['s', 1000], ['min', 60_000], ['h', 3_600_000], ['d', 86_400_000]]);

/** undefined for what PostgreSQL might read otherwise. 0 means no limit. */
export function readMilliseconds(value: string): number | undefined {
  const [, digits, unit = ''] = /^\s*((?:0|[1-9]\d*)(?:\.\d+)?)\s*(?:(us|ms|s|min|h|d)\s*)?$/i.exec(value) ?? [];
  const factor = unitsMs.get(unit.toLowerCase());
  return digits === undefined || factor === undefined ? undefined : Number(digits) * factor;
}

/** What a change of a setting does to the limits of its session. `value` undefined: computed. */
export function liftingRisk(name: string, value: string | undefined, limits: TimeLimits): Risk {
  const mostMs = limits.get(name.toLowerCase());
  if (mostMs === undefined) return nothing;
  const ms = value === undefined ? undefined : readMilliseconds(value);
  // A fraction is rounded, and to 0 it would be none.
  if (ms !== undefined && ms >= 1 && ms <= mostMs) return nothing;
  const message = `It would lift ${name}, which is ${mostMs} ms at most for this agent.`;
  return risk('HIGH', 'session.limit-lifted', message, [effect('session', 'time limit', name.toLowerCase(), `above ${mostMs} ms`)]);
}

/** The same of all that a statement changes; a RESET goes back to the limit itself. */
export function liftingRisks(changes: readonly SessionChange[], limits: TimeLimits | undefined): readonly Risk[] {
  if (limits === undefined || limits.size === 0) return [];
  return changes.map((change) => (change.kind === 'setting' && change.value !== undefined ? liftingRisk(change.name, change.value, limits) : nothing));
}

/** For what is remembered by where a session stands. */
export function keyOfLimits(limits: TimeLimits | undefined): string {
  return limits === undefined || limits.size === 0 ? '' : [...limits].map(([name, ms]) => `${name}=${ms}`).join(',');
}
