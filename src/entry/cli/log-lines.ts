/**
 * From ledger entries to what `backstop log` shows: one line for each statement that was answered. A refusal or a hold is
 * shown when it was said, a permitted statement once its outcome is known; what is still open at the end can be asked for.
 * Reads lie in batches and come one by one. Entries must be given in order. Pure but for what it keeps of open permits.
 */
import type { EntryBody, OutcomeBody, ReadsBody, RecoveryPointBody, SealedBody, StoredEntry, VerdictBody } from '../../core/ledger/entry.ts';

export interface LogLine {
  readonly at: string;
  readonly seq: number;
  readonly actionId: string;
  readonly agent: string;
  readonly database: string;
  readonly level: string;
  readonly verdict: string;
  /** Under `observe`: what it would have been. */
  readonly wouldBe: string;
  /** `committed`, `rolled-back`, `failed`, `unknown`, `open`, `none` for what did not run. */
  readonly outcome: string;
  readonly rows: number | null;
  readonly ms: number | null;
  readonly sqlstate: string | null;
  readonly reasons: readonly string[];
  readonly approvalId: string | null;
  /** It ran by an operator's override, although nothing brings back what it destroyed. */
  readonly isOverride: boolean;
  /** What undoes it, if it was captured. */
  readonly recoveryPointId: string | null;
  readonly statement: string;
}

export class LogLines {
  readonly #open = new Map<string, LogLine>();
  /** What became of recovery points after they were sealed. */
  readonly #changed = new Map<string, RecoveryPointBody['change']>();

  /** The lines that this entry completes. */
  add(entry: StoredEntry): readonly LogLine[] {
    const body = JSON.parse(entry.body) as EntryBody;
    switch (body.kind) {
      case 'verdict': return this.#verdict(entry, body);
      case 'outcome': return this.#outcome(body);
      case 'reads': return this.#reads(entry, body);
      case 'approval': case 'connect': case 'disconnect': case 'admin': case 'policy': return [];
      case 'recovery-point': return this.#recoveryPoint(body);
    }
  }

  /** Permitted, and not settled yet. */
  open(): readonly LogLine[] { return [...this.#open.values()]; }

  /** As far as entries were given: `can`, `undone`, `purged`, or nothing where there is nothing to undo. */
  undoOf({ recoveryPointId, outcome }: LogLine): string {
    if (recoveryPointId === null) return '';
    const change = this.#changed.get(recoveryPointId);
    if (change === 'undone' || change === 'purged') return change;
    return outcome === 'committed' || change === 'committed' ? 'can' : '';
  }

  #verdict({ at, seq }: StoredEntry, body: VerdictBody): readonly LogLine[] {
    const { actionId, agent, database, level, decision, wouldBe, reasons, approvalId, override, text } = body;
    const line: LogLine = {
      at, seq, actionId, agent, database, level, verdict: decision, wouldBe, outcome: 'none', rows: null, ms: null, sqlstate: null, reasons, approvalId, isOverride: override === true, recoveryPointId: null, statement: text,
    };
    if (decision !== 'allow') return [line];
    this.#open.set(actionId, { ...line, outcome: 'open' });
    return [];
  }

  #outcome({ actionId, outcome, rows, durationUs, sqlstate }: OutcomeBody): readonly LogLine[] {
    const line = this.#open.get(actionId);
    if (line === undefined) return [];
    this.#open.delete(actionId);
    return [{ ...line, outcome, rows, ms: durationUs / 1_000, sqlstate }];
  }

  /** It is sealed before its transaction can have an outcome. */
  #recoveryPoint({ change, actionIds, recoveryPointId }: SealedBody | RecoveryPointBody): readonly LogLine[] {
    if (change !== 'sealed') {
      this.#changed.set(recoveryPointId, change);
      return [];
    }
    for (const actionId of actionIds) {
      const line = this.#open.get(actionId);
      if (line !== undefined) this.#open.set(actionId, { ...line, recoveryPointId });
    }
    return [];
  }

  #reads({ seq }: StoredEntry, { since, sessions, texts, reads }: ReadsBody): readonly LogLine[] {
    const sinceMs = Date.parse(since);
    return reads.flatMap(([session, text, actionId, afterMs, , outcome, rows, us, sqlstate]): readonly LogLine[] => {
      const line: LogLine = {
        at: new Date(sinceMs + afterMs).toISOString(), seq, actionId, agent: sessions[session]?.agent ?? '', database: sessions[session]?.database ?? '', level: 'SAFE',
        verdict: 'allow', wouldBe: 'allow', outcome, rows, ms: us / 1_000, sqlstate, reasons: [], approvalId: null, isOverride: false, recoveryPointId: null, statement: texts[text]?.text ?? '',
      };
      if (outcome !== 'open') return [line];
      this.#open.set(actionId, line);
      return [];
    });
  }
}
