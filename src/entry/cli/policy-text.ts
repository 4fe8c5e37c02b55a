/**
 * What `backstop policy check` and `backstop policy explain` print, for people and as JSON.
 */
import { misfits, type Circumstances, type Match } from '../../core/policy/match.ts';
import type { CheckedPolicy, EffectivePolicy, Policy } from '../../core/policy/policy.ts';
import type { TracedRule } from '../../core/policy/trace.ts';
import type { Coverage } from '../../core/recovery/coverage.ts';
import type { Risk } from '../../core/risk.ts';
import type { Decision, Verdict } from '../../core/verdict.ts';
import { columns, printable } from './columns.ts';

export interface Explained {
  readonly sql: string;
  readonly who: Circumstances;
  readonly policy: Policy;
  readonly inForce: EffectivePolicy;
  readonly risk: Risk;
  /** As it holds under the policy. */
  readonly coverage: Coverage;
  readonly error: string | undefined;
  readonly verdict: Verdict;
  readonly rules: readonly TracedRule[];
  readonly isLive: boolean;
}

const hashShown = 12;
/** Of one rule; the whole is in JSON. */
const cellMax = 44;

export function checkText(shownAs: string, checked: CheckedPolicy): string {
  if (checked.kind === 'invalid') return `${shownAs}: ${checked.mistakes.length === 1 ? '1 mistake' : `${checked.mistakes.length} mistakes`}\n${places(checked.mistakes)}`;
  const { policy, warnings } = checked;
  const scopes = policy.scopes.length === 0 ? '' : `, ${policy.scopes.length === 1 ? '1 scope' : `${policy.scopes.length} scopes`}`;
  const doubts = warnings.length === 0 ? '' : ` ${warnings.length === 1 ? '1 warning' : `${warnings.length} warnings`}:\n${places(warnings)}`;
  return `${shownAs}: policy ${policy.name} is valid (${policy.hash.slice(0, hashShown)}${scopes}).${doubts === '' ? '\n' : doubts}`;
}

function places(mistakes: readonly { readonly line: number; readonly column: number; readonly message: string }[]): string {
  return mistakes.map(({ line, column, message }) => `  ${`${line}:${column}`.padEnd(8)}${printable(message)}\n`).join('');
}

export function checkJson(file: string, checked: CheckedPolicy): string {
  const found = checked.kind === 'invalid'
    ? { file, ok: false, mistakes: checked.mistakes, warnings: [] }
    : { file, ok: true, name: checked.policy.name, hash: checked.policy.hash, mistakes: [], warnings: checked.warnings };
  return `${JSON.stringify(found)}\n`;
}

const words: Readonly<Record<Decision, string>> = { allow: 'ALLOWED', hold: 'HELD for a person', deny: 'DENIED' };
const marks: Readonly<Record<Decision, string>> = { allow: '✓ allow', hold: '‖ hold', deny: '✗ deny' };

export function explanationText(explained: Explained): string {
  const { sql, who, verdict, inForce, risk, coverage, error, rules, isLive } = explained;
  const would = verdict.decision === verdict.wouldBe ? '' : `, would be ${words[verdict.wouldBe]}`;
  const fired = rules.filter(({ decision }) => decision !== undefined);
  const quiet = rules.filter(({ decision }) => decision === undefined);
  return [
    `\n  ${printable(sql)}\n`,
    `  sent by ${printable(who.agent)} to ${printable(who.database)} (${who.environment}) at ${who.at.toISOString().slice(0, 16).replace('T', ' ')} UTC${isLive ? '' : ', judged offline'}\n`,
    `\n${words[verdict.decision]}${would}: risk ${verdict.level}, policy ${verdict.policyName} (${verdict.policyHash.slice(0, hashShown)}), ${inForce.scope === undefined ? 'its base' : `scope ${inForce.scope}`}\n`,
    ...(error === undefined ? [] : [`It could not be read: ${printable(error)}\n`]),
    ...rules.filter(({ decision }) => decision === verdict.wouldBe).slice(0, 3).map(({ message }) => `  ${printable(message ?? '')}\n`),
    section('Why the risk', risk.reasons.slice(0, 8).map(({ level, rule, message }) => [level, rule, message])),
    coverage.scope === 'not-needed' ? '' : `\nUndo\n${[coverage.sentence, ...coverage.lost].map((line) => `  ${printable(line)}\n`).join('')}`,
    section('Scope', scopeRows(explained)),
    section('Rules that fired', fired.map(ruleCells)),
    section('Rules that did not fire', quiet.map(ruleCells)),
    '\n',
  ].join('');
}

function ruleCells({ rule, decision, observed, threshold }: TracedRule): readonly string[] {
  return [decision === undefined ? '·' : marks[decision], rule, observed, threshold];
}

function section(title: string, rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '';
  return `\n${title}\n${columns(rows, cellMax).split('\n').map((line) => (line === '' ? '' : `  ${line}`)).join('\n')}`;
}

function scopeRows({ policy, who, inForce }: Explained): readonly (readonly string[])[] {
  const chosen = policy.scoped.indexOf(inForce);
  const rows = policy.scopes.map(({ name, match }, index) => {
    const wrong = misfits(match, who);
    const why = index === chosen ? `matches: ${matchText(match)}` : wrong.length === 0 ? `would match too, but ${inForce.scope ?? ''} comes first` : `does not match: ${wrong.map((key) => keyText(match, key)).join('; ')}`;
    return [index === chosen ? '→' : '·', name, why];
  });
  if (rows.length === 0) return [['→', 'base', 'the policy has no scopes']];
  return [...rows, [chosen < 0 ? '→' : '·', 'base', chosen < 0 ? 'no scope matches' : 'in force where no scope matches']];
}

function matchText(match: Match): string {
  return (['agents', 'databases', 'environments', 'hours'] as const).filter((key) => match[key] !== undefined).map((key) => keyText(match, key)).join('; ');
}

function keyText({ agents, databases, environments, hours }: Match, key: keyof Match): string {
  switch (key) {
    case 'agents': return `agents ${(agents ?? []).join(', ')}`;
    case 'databases': return `databases ${(databases ?? []).join(', ')}`;
    case 'environments': return `environments ${(environments ?? []).join(', ')}`;
    case 'hours': return hours === undefined ? 'hours' : `hours ${hours.days.join(' ')} ${hours.from} to ${hours.to} ${hours.zone}`;
  }
}

export function explanationJson({ sql, who, policy, inForce, risk, coverage, error, verdict, rules }: Explained): string {
  const { level, reasons, effects, destroys, recoverability, assumptions } = risk;
  return `${JSON.stringify({
    sql, agent: who.agent, database: who.database, environment: who.environment, at: who.at.toISOString(),
    decision: verdict.decision, wouldBe: verdict.wouldBe, policy: policy.name, policyHash: policy.hash, scope: inForce.scope ?? null,
    scopes: policy.scopes.map(({ name, match }) => ({ name, misfits: misfits(match, who), chosen: name === inForce.scope })),
    rules: rules.map(({ decision, message, ...rule }) => ({ ...rule, fired: decision !== undefined, decision: decision ?? null, message: message ?? null })),
    risk: { level, destroys, recoverability, reasons, effects, assumptions }, undo: { ...coverage, method: coverage.method ?? null }, error: error ?? null,
  })}\n`;
}
