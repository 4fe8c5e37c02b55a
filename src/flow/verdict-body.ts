/**
 * The ledger's form of a verdict: names, digests and redacted text, never a literal. However long the statement and
 * however many objects it reaches, an entry stays below 64 KiB; a text or list of names that is cut says so.
 */
import type { VerdictBody } from '../core/ledger/entry.ts';
import type { Coverage } from '../core/recovery/coverage.ts';
import type { Effect, Risk } from '../core/risk.ts';
import type { FiredRule, Verdict } from '../core/verdict.ts';
import type { GuardRequest } from './guard.ts';

/** Bytes as JSON; together with the names and digests they stay below 64 KiB. */
const textBytesMax = 24_000;
const listBytesMax = 6_000;
const firedBytesMax = 15_000;
const itemUnitsMax = 300;
const sentenceUnitsMax = 1_000;
/** A control character takes six bytes as JSON; nothing takes more. */
const bytesPerUnitMax = 6;

/** `coverage`: as it holds under the policy. `isOverride`: it runs because an operator said so, though nothing brings back what it destroys. */
export function verdictBody({ action, risk, coverage, catalogVersion }: GuardRequest, verdict: Verdict, approvalId: string | null, isOverride = false): VerdictBody {
  const { id: actionId, sessionId, actor, database, role, searchPath, digest, fingerprint, redacted } = action;
  return {
    kind: 'verdict', actionId, sessionId, agent: actor.name, database, role, searchPath: listed(searchPath), digest, fingerprint,
    text: cutToBytes(redacted, textBytesMax), ...saidOf(risk, verdict), catalogVersion, approvalId,
    ...(coverage === undefined || coverage.scope === 'not-needed' ? {} : { coverage: coveredOf(coverage) }), ...(isOverride ? { override: true } : {}),
  };
}

type Said = Pick<VerdictBody, 'level' | 'reasons' | 'effects' | 'destroys' | 'recoverability' | 'decision' | 'wouldBe' | 'fired' | 'policyName' | 'policyHash' | 'scope'>;

/** Verdicts that are remembered come again and again. */
const known = new WeakMap<Verdict, { readonly risk: Risk; readonly said: Said }>();

function saidOf(risk: Risk, verdict: Verdict): Said {
  const last = known.get(verdict);
  if (last?.risk === risk) return last.said;
  const { decision, wouldBe, policyName, policyHash, scope } = verdict;
  const said: Said = {
    level: risk.level, reasons: listed([...new Set(risk.reasons.map((reason) => reason.rule))]), effects: listed([...new Set(risk.effects.map(named))]),
    destroys: risk.destroys, recoverability: risk.recoverability, decision, wouldBe, fired: firstThatFit(verdict.fired.map(cutRule), firedBytesMax),
    policyName, policyHash, ...(scope === undefined ? {} : { scope }),
  };
  known.set(verdict, { risk, said });
  return said;
}

function coveredOf({ scope, method, sentence, lost }: Coverage): NonNullable<VerdictBody['coverage']> {
  return { scope, method: method ?? null, sentence: cut(sentence, sentenceUnitsMax), lost: listed(lost) };
}

function named({ kind, object }: Effect): string { return object === undefined ? kind : `${kind} ${object}`; }

function cutRule({ rule, decision, observed, threshold, message }: FiredRule): FiredRule {
  return { rule, decision, observed: cut(observed, itemUnitsMax), threshold: cut(threshold, itemUnitsMax), message: cut(message, itemUnitsMax) };
}

function listed(items: readonly string[]): readonly string[] {
  const shown = firstThatFit(items.map((item) => cut(item, itemUnitsMax)), listBytesMax);
  return shown.length === items.length ? shown : [...shown, `and ${items.length - shown.length} more`];
}

function firstThatFit<T>(items: readonly T[], bytesMax: number): readonly T[] {
  let bytes = 0;
  const tooMany = items.findIndex((item) => {
    bytes += bytesOf(item);
    return bytes > bytesMax;
  });
  return tooMany < 0 ? items : items.slice(0, tooMany);
}

function cutToBytes(text: string, bytesMax: number): string {
  return bytesOf(text) <= bytesMax ? text.toWellFormed() : cut(text, Math.floor(bytesMax / bytesPerUnitMax));
}

function bytesOf(value: unknown): number { return Buffer.byteLength(JSON.stringify(value)); }

function cut(text: string, most: number): string {
  return (text.length <= most ? text : `${text.slice(0, most - 1)}…`).toWellFormed();
}
