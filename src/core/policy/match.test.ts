/**
 * Scopes: the first that matches speaks, section by section, and the window of hours is read in its own zone.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../failure.ts';
import { scopeFor } from './match.ts';
import type { Circumstances } from './match.ts';
import { observeAcknowledgement, parsePolicy, refuseSilentObserving } from './policy.ts';

const head = 'name: shop\ndescription: d\nlevels: { SAFE: allow, LOW: allow, HIGH: hold, CRITICAL: hold }\n';
const someone: Circumstances = { agent: 'ada', database: 'shop', environment: 'production', at: new Date('2026-03-02T10:00:00Z') };
const scopeOf = (scopes: string, who: Partial<Circumstances>) => scopeFor(parsePolicy(`${head}scopes:\n${scopes}`, 'shop.yaml'), { ...someone, ...who });

test('the first scope that matches replaces the sections that it names, and no others', () => {
  const scopes = '- name: reporters\n  match: { agents: [report-*] }\n  levels: { SAFE: allow, LOW: deny, HIGH: deny, CRITICAL: deny }\n  limits: { max_rows: 10 }\n- name: anybody\n  match: { databases: ["*"] }\n  blocked: [truncate]\n';
  const reporter = scopeOf(scopes, { agent: 'report-daily' });
  assert.deepEqual([reporter.scope, reporter.levels.HIGH, reporter.limits, reporter.blocked], ['reporters', 'deny', { max_rows: 10, above: 'hold' }, []]);
  const other = scopeOf(scopes, { agent: 'ada' });
  assert.deepEqual([other.scope, other.levels.HIGH, other.limits, other.blocked], ['anybody', 'hold', { above: 'hold' }, ['truncate']]);
});

test('where no scope matches the base is in force', () => {
  const base = scopeOf('- name: dev-only\n  match: { environments: [dev] }\n  unknown: hold\n', {});
  assert.deepEqual([base.scope, base.unknown], [undefined, 'deny']);
});

test('the same scope is always the same object, so that verdicts can be remembered by it', () => {
  const policy = parsePolicy(`${head}scopes: [{ name: all, match: { agents: ["*"] }, unknown: hold }]`, 'shop.yaml');
  assert.equal(scopeFor(policy, someone), scopeFor(policy, { ...someone, agent: 'bob' }));
});

const matching: readonly (readonly [match: string, who: Partial<Circumstances>, fits: boolean, why: string])[] = [
  ['{ agents: [ada] }', {}, true, 'the agent by name'],
  ['{ agents: [ad] }', {}, false, 'a name is matched whole'],
  ['{ agents: ["a*", bob] }', {}, true, 'any of the patterns'],
  ['{ databases: [shop_*] }', {}, false, 'another database'],
  ['{ databases: ["*"], environments: [dev] }', {}, false, 'every key must fit'],
  ['{ environments: [staging, production] }', {}, true, 'any of the environments'],
  ['{ hours: { from: "09:00", to: "17:00", zone: UTC } }', { at: new Date('2026-03-02T09:00:00Z') }, true, 'from the first minute on'],
  ['{ hours: { from: "09:00", to: "17:00", zone: UTC } }', { at: new Date('2026-03-02T16:59:59Z') }, true, 'until the last'],
  ['{ hours: { from: "09:00", to: "17:00", zone: UTC } }', { at: new Date('2026-03-02T17:00:00Z') }, false, 'and not after it'],
  ['{ hours: { from: "00:00", to: "24:00", days: [mon], zone: UTC } }', { at: new Date('2026-03-02T23:59:00Z') }, true, 'a whole Monday'],
  ['{ hours: { from: "00:00", to: "24:00", days: [mon], zone: UTC } }', { at: new Date('2026-03-03T00:00:00Z') }, false, 'Tuesday'],
  ['{ hours: { from: "22:00", to: "06:00", days: [fri], zone: UTC } }', { at: new Date('2026-03-07T05:59:00Z') }, true, 'the night from Friday belongs to Friday'],
  ['{ hours: { from: "22:00", to: "06:00", days: [fri], zone: UTC } }', { at: new Date('2026-03-06T05:00:00Z') }, false, 'the night before was Thursday\'s'],
  ['{ hours: { from: "22:00", to: "06:00", days: [sun], zone: UTC } }', { at: new Date('2026-03-02T01:00:00Z') }, true, 'the night from Sunday reaches into Monday'],
  ['{ hours: { from: "09:00", to: "17:00", zone: Europe/Berlin } }', { at: new Date('2026-03-02T16:30:00Z') }, false, 'Berlin is an hour ahead in winter'],
  ['{ hours: { from: "09:00", to: "17:00", zone: Europe/Berlin } }', { at: new Date('2026-07-01T07:00:00Z') }, true, 'and two in summer'],
  ['{ hours: { from: "00:00", to: "01:00", zone: Europe/Berlin, days: [tue] } }', { at: new Date('2026-03-02T23:30:00Z') }, true, 'the day is that of the zone'],
];
for (const [match, who, fits, why] of matching) {
  test(`${match} ${fits ? 'fits' : 'does not fit'}: ${why}`, () => {
    assert.equal(scopeOf(`- { name: s, match: ${match} }\n`, who).scope, fits ? 's' : undefined);
  });
}

const mistakes: readonly (readonly [why: string, scopes: string, message: RegExp])[] = [
  ['a scope that matches everything', '- name: s\n  match: {}\n', /^shop\.yaml:6:10: `scopes\[0\]\.match`: matches everything/],
  ['a scope without a match', '- name: s\n', /^shop\.yaml:5:3: `scopes\[0\]\.match` is missing/],
  ['two scopes of one name', '- { name: s, match: { agents: [a] } }\n- { name: s, match: { agents: [b] } }\n', /^shop\.yaml:6:11: .*another scope s/],
  ['a milder decision for a worse level in a scope', '- name: s\n  match: { agents: [a] }\n  levels: { SAFE: hold, LOW: allow, HIGH: hold, CRITICAL: hold }\n', /^shop\.yaml:7:30: .*LOW gets allow, milder than hold for SAFE/],
  ['an unknown key in a scope', '- name: s\n  match: { agents: [a] }\n  limit: {}\n', /^shop\.yaml:7:3: unknown key `scopes\[0\]\.limit`; allowed: .*Did you mean limits\?/],
  ['an unknown key in a match', '- name: s\n  match: { agent: [a] }\n', /unknown key `scopes\[0\]\.match\.agent`; allowed: agents, databases, environments, hours. Did you mean agents\?/],
  ['a mode in a scope', '- { name: s, match: { agents: [a] }, mode: observe }\n', /unknown key `scopes\[0\]\.mode`/],
  ['hours without an end', '- { name: s, match: { hours: { from: "09:00", to: "09:00", zone: UTC } } }\n', /never begins/],
  ['a time that is none', '- { name: s, match: { hours: { from: "9:00", to: "25:00", zone: UTC } } }\n', /a time of day such as "09:00"/],
  ['a zone that is none', '- { name: s, match: { hours: { from: "09:00", to: "17:00", zone: Mars/Base } } }\n', /no such time zone/],
];
for (const [why, scopes, message] of mistakes) {
  test(`${why} is refused at its line`, () => {
    assert.throws(() => scopeOf(scopes, {}), (error) => error instanceof Failure && message.test(error.message) || assert.fail(String(error)));
  });
}

test('production is observed only where the file says that this is meant', () => {
  const observing = (more: string) => parsePolicy(`${head}mode: observe\n${more}`, 'shop.yaml');
  const refusal = (error: unknown) => error instanceof Failure && error.code === 'policy_invalid' && (error.hint ?? '').includes(observeAcknowledgement);
  assert.throws(() => { refuseSilentObserving(observing(''), 'production'); }, refusal);
  refuseSilentObserving(observing(''), 'staging');
  refuseSilentObserving(observing(`observe_in_production: "${observeAcknowledgement}"\n`), 'production');
  assert.throws(() => observing('observe_in_production: "yes"\n'), /observe_in_production/);
});
