/**
 * The ledger's form of a verdict: names, digests and redacted text, cut to a bounded size, never a literal.
 */
import type { VerdictBody } from '../core/ledger/entry.ts';
import type { Effect } from '../core/risk.ts';
import type { Verdict } from '../core/verdict.ts';
import type { GuardRequest } from './guard.ts';

/** Together these keep an entry well below 64 KiB. */
const itemsMax = 50;
const textUnitsMax = 8_000;
const itemUnitsMax = 300;

export function verdictBody({ action, risk, catalogVersion }: GuardRequest, verdict: Verdict, approvalId: string | null): VerdictBody {
  const { id: actionId, sessionId, actor, database, role, searchPath, digest, fingerprint, redacted } = action;
  const { decision, wouldBe, policyName, policyHash } = verdict;
  return {
    kind: 'verdict', actionId, sessionId, agent: actor.name, database, role, searchPath: listed(searchPath), digest, fingerprint,
    text: cut(redacted, textUnitsMax), level: risk.level,
    reasons: listed([...new Set(risk.reasons.map((reason) => reason.rule))]), effects: listed([...new Set(risk.effects.map(named))]),
    destroys: risk.destroys, recoverability: risk.recoverability, decision, wouldBe,
    fired: verdict.fired.slice(0, itemsMax).map(({ rule, decision: given, observed, threshold, message }) => ({
      rule, decision: given, observed: cut(observed, itemUnitsMax), threshold: cut(threshold, itemUnitsMax), message: cut(message, itemUnitsMax),
    })),
    policyName, policyHash, catalogVersion, approvalId,
  };
}

function named({ kind, object }: Effect): string { return object === undefined ? kind : `${kind} ${object}`; }

function listed(items: readonly string[]): readonly string[] {
  const shown = items.slice(0, itemsMax).map((item) => cut(item, itemUnitsMax));
  return items.length <= itemsMax ? shown : [...shown, `and ${items.length - itemsMax} more`];
}

function cut(text: string, most: number): string {
  return (text.length <= most ? text : `${text.slice(0, most - 1)}…`).toWellFormed();
}
