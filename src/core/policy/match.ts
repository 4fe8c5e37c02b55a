/**
 * Match: for whom and when a scope of a policy speaks. All keys that are given must fit. The time is an argument; hours
 * are read in the time zone that the file names, so that a change to summer time moves them as people expect.
 */
import { z } from 'zod';
import { matchesGlob } from './pattern.ts';
import type { EffectivePolicy, Policy, Scope } from './policy.ts';

export const environments = ['dev', 'staging', 'production'] as const;
export type Environment = (typeof environments)[number];

export const days = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;

export interface Circumstances {
  readonly agent: string;
  readonly database: string;
  readonly environment: Environment;
  readonly at: Date;
}

const patterns = z.array(z.string().min(1).max(200)).min(1).max(1000).optional();
const timeOfDay = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$|^24:00$/, 'a time of day such as "09:00", in quotes');

const hoursSchema = z.strictObject({
  days: z.array(z.enum(days)).min(1).max(7).default([...days]).describe('Days of the week on which the hours begin.'),
  from: timeOfDay.describe('From this time of day on, in quotes.'),
  to: timeOfDay.describe('Until this time of day, in quotes; earlier than `from` means on the next day.'),
  zone: z.string().max(60).refine(isZone, 'no such time zone; take a name such as Europe/Berlin, or UTC').describe('The time zone, such as `Europe/Berlin`.'),
}).refine(({ from, to }) => from !== to, 'never begins, since `from` and `to` are the same; a whole day is "00:00" to "24:00"');

export const matchSchema = z.strictObject({
  agents: patterns.describe('Names of agents: `reporting`, `ci-*`.'),
  databases: patterns.describe('Names of databases: `shop`, `tenant_*`.'),
  environments: z.array(z.enum(environments)).min(1).optional().describe('As Backstop was started with `--environment`.'),
  hours: hoursSchema.optional().describe('A time window that comes again every week.'),
}).refine((match) => Object.values(match).some((value) => value !== undefined), {
  error: 'matches everything; give agents, databases, environments or hours', when: ({ issues }) => issues.length === 0,
})
  .describe('For whom and when; every key that is given must fit.');

export type Match = Scope['match'];

/** What is in force: the first scope that matches, or the base. Pure; the same scope is always the same object. */
export function scopeFor(policy: Policy, circumstances: Circumstances): EffectivePolicy {
  const index = policy.scopes.findIndex(({ match }) => matches(match, circumstances));
  return policy.scoped[index] ?? policy.base;
}

export function matches(match: Match, who: Circumstances): boolean {
  return fitsAgent(match, who) && fitsDatabase(match, who) && fitsEnvironment(match, who) && fitsHours(match, who);
}

/** The keys that do not fit; none when it matches. */
export function misfits(match: Match, who: Circumstances): readonly (keyof Match)[] {
  const fits = { agents: fitsAgent, databases: fitsDatabase, environments: fitsEnvironment, hours: fitsHours };
  return (['agents', 'databases', 'environments', 'hours'] as const).filter((key) => !fits[key](match, who));
}

function fitsAgent({ agents }: Match, { agent }: Circumstances): boolean { return fitsAny(agents, agent); }
function fitsDatabase({ databases }: Match, { database }: Circumstances): boolean { return fitsAny(databases, database); }
function fitsEnvironment({ environments: wanted }: Match, { environment }: Circumstances): boolean { return wanted === undefined || wanted.includes(environment); }
function fitsHours({ hours }: Match, { at }: Circumstances): boolean { return hours === undefined || isWithin(hours, at); }

function fitsAny(globs: readonly string[] | undefined, text: string): boolean {
  return globs === undefined || globs.some((glob) => matchesGlob(glob, text));
}

/** A window that passes midnight belongs to the day on which it began. */
function isWithin({ days: on, from, to, zone }: NonNullable<Match['hours']>, at: Date): boolean {
  const { day, minute } = localTime(at, zone);
  const [begin, end] = [minuteOf(from), minuteOf(to)];
  const includes = (index: number): boolean => on.includes(days[(index + 7) % 7] ?? 'mon');
  if (begin < end) return includes(day) && minute >= begin && minute < end;
  return (includes(day) && minute >= begin) || (includes(day - 1) && minute < end);
}

function minuteOf(time: string): number {
  const [hours = 0, minutes = 0] = time.split(':').map(Number);
  return hours * 60 + minutes;
}

const formatters = new Map<string, Intl.DateTimeFormat>();

/** Day 0 is Monday. */
function localTime(at: Date, zone: string): { readonly day: number; readonly minute: number } {
  let formatter = formatters.get(zone);
  if (formatter === undefined) {
    formatter = new Intl.DateTimeFormat('en-GB', { timeZone: zone, weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
    formatters.set(zone, formatter);
  }
  const parts = new Map(formatter.formatToParts(at).map(({ type, value }) => [type, value]));
  return {
    day: days.findIndex((name) => name === parts.get('weekday')?.toLowerCase()),
    minute: Number(parts.get('hour')) * 60 + Number(parts.get('minute')),
  };
}

function isZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat('en-GB', { timeZone: zone });
    return zone !== '';
  } catch {
    return false;
  }
}
