/**
 * explain: a verdict in the words that people and language models read: in the PostgreSQL error of a refusal, in the
 * request for an approval, on the command line. It quotes rules, observed values, thresholds and object names, never a
 * literal of the statement. Texts are bounded, so an error always fits a terminal and a model's context.
 */
import type { Coverage } from '../recovery/coverage.ts';
import { levels, type Effect, type Risk } from '../risk.ts';
import type { Decision, FiredRule, Verdict } from '../verdict.ts';

export interface Explanation {
  /** One line: what was decided, and the main reason. */
  readonly message: string;
  /** Every rule that fired with observed value and threshold, every reason, and what would be reached; one a line. */
  readonly detail: string;
  /** What to do next. */
  readonly hint: string;
}

const reasonsMax = 8;
const effectsMax = 12;
const detailLengthMax = 4_000;

const decided: Readonly<Record<Decision, string>> = { allow: 'allowed', hold: 'held', deny: 'denied' };

/** For whoever sent the statement, and for the record. `coverage`: as it holds under the policy; absent: nobody has looked. */
export function explain(verdict: Verdict, risk: Risk, coverage?: Coverage): Explanation {
  const undo = coverage === undefined || coverage.scope === 'not-needed' ? [] : [`undo: ${coverage.sentence}`, ...lostLines(coverage)];
  return { message: messageOf(verdict, risk), detail: bounded([...verdict.fired.map(ruleLine), ...undo, ...whatLines(risk)]), hint: hintOf(verdict) };
}

/** For the person who must answer: the same, and how far it could be undone. */
export function explainForApprover(verdict: Verdict, risk: Risk, coverage?: Coverage): Explanation {
  return {
    message: messageOf(verdict, risk),
    detail: bounded([undoSentence(risk, coverage), ...(coverage === undefined ? [] : lostLines(coverage)), ...verdict.fired.map(ruleLine), ...whatLines(risk)]),
    hint: verdict.decision === 'deny'
      ? 'Nothing that Backstop keeps brings back what it destroys. Override it only if that is meant, or lies elsewhere; your name and your reason stay on record. Or deny it with a reason that tells the agent what to do instead.'
      : 'Approve it only if you know why the agent wants it and what it will do; deny it with a reason that tells the agent what to do instead.',
  };
}

/** One sentence on what can be done once the statement has run. */
export function undoSentence(risk: Risk, coverage?: Coverage): string {
  if (risk.level === 'SAFE') return 'It changes nothing, so there is nothing to undo.';
  if (coverage !== undefined) return coverage.sentence;
  const loss = risk.destroys ? 'It would lose data' : 'It would have an effect';
  return `${loss} that nothing undoes: no recovery point is taken before it runs. ${laterSentence(risk)}`;
}

function laterSentence({ recoverability }: Risk): string {
  switch (recoverability) {
    case 'not-needed': return 'Nothing stored would be lost.';
    case 'exact-rows': return 'Without your own backup the old values of its rows are gone.';
    case 'table': return 'Without your own backup the whole table is gone.';
    case 'schema': return 'Without your own backup the whole schema is gone.';
    case 'point-in-time': return 'Only your own point-in-time backup could bring it back.';
    case 'none': return 'No backup of the database could take it back.';
  }
}

function messageOf(verdict: Verdict, risk: Risk): string {
  const decision = verdict.decision === verdict.wouldBe ? decided[verdict.decision] : `${decided[verdict.decision]}, would be ${decided[verdict.wouldBe]}`;
  const why = mainReason(verdict, risk);
  return `Backstop: ${decision} by policy ${verdict.policyName}, risk ${verdict.level}${why === '' ? '' : `: ${why}`}`;
}

/** What the statement would do, unless a rule of the policy other than its level decided. */
function mainReason(verdict: Verdict, risk: Risk): string {
  const [deciding] = verdict.fired;
  const worst = risk.reasons.find((reason) => reason.level === risk.level);
  const what = worst?.message.replace(/\.$/, '') ?? '';
  const rule = deciding?.rule.startsWith('level.') === false ? deciding.message : '';
  return [what, rule].filter((part) => part !== '').join('. ');
}

function lostLines({ lost }: Coverage): readonly string[] { return lost.map((line) => `not undone: ${line}`); }

function whatLines(risk: Risk): readonly string[] {
  const reasons = [...new Map(risk.reasons.map((reason) => [`${reason.rule} ${reason.message}`, reason])).values()];
  return [
    ...shorten(reasons.toSorted((a, b) => levels.indexOf(b.level) - levels.indexOf(a.level)).map((reason) => `reason ${reason.rule} (${reason.level}): ${reason.message}`), reasonsMax, 'reasons'),
    ...shorten([...new Set([...risk.effects.filter((effect) => !isRead(effect)), ...risk.effects.filter(isRead)].map(effectLine))], effectsMax, 'effects'),
    ...risk.assumptions.map((assumption) => `assumed: ${assumption}`),
  ];
}

/** Named last, so that a dozen of reads hides nothing worse. */
function isRead({ kind }: Effect): boolean { return kind === 'read'; }

function ruleLine(fired: FiredRule): string {
  return `rule ${fired.rule} (${fired.decision}): observed ${fired.observed}; threshold ${fired.threshold}`;
}

function effectLine(effect: Effect): string {
  const object = [effect.objectKind, effect.object].filter((part) => part !== undefined).join(' ');
  const via = effect.via === undefined || effect.via.length === 0 ? '' : ` through ${effect.via.join(' → ')}`;
  return `effect ${effect.kind}${object === '' ? '' : ` ${object}`}${effect.detail === undefined ? '' : ` (${effect.detail})`}${via}`;
}

function shorten(lines: readonly string[], most: number, what: string): readonly string[] {
  return lines.length <= most ? lines : [...lines.slice(0, most), `and ${lines.length - most} more ${what}`];
}

function bounded(lines: readonly string[]): string {
  const text = lines.join('\n');
  return text.length <= detailLengthMax ? text : `${text.slice(0, detailLengthMax - 1).toWellFormed()}…`;
}

function hintOf(verdict: Verdict): string {
  if (verdict.decision === 'allow') return 'Nothing to do.';
  if (verdict.decision === 'hold') return 'A person must approve it. Wait, then send exactly the same statement again; do not rephrase it, because an approval covers these bytes only.';
  const refusing = new Set(verdict.fired.filter((fired) => fired.decision === 'deny').map((fired) => fired.rule));
  // A blocked operation stays blocked however little it would lose.
  if (refusing.has('operation.blocked')) return 'Do not retry it and do not look for another way to the same effect; ask an operator to do it.';
  if (refusing.has('recovery.required')) {
    return 'Do not retry it. Choose a statement that can be undone, or ask an operator.';
  }
  return 'Do not retry the same statement. Choose a milder one, or ask an operator to run it.';
}
