/**
 * UnitRecovery: what lets one action be undone. Its coverage comes with the permit; the recovery point it shares with what
 * else was protected in its batch. The point's fate is that of the transaction, which is known when every action of it has its
 * outcome: a savepoint may have taken some of them back.
 */
import type { Coverage } from '../../core/recovery/coverage.ts';
import type { TransactionFate } from '../../core/recovery/recovery-point.ts';
import type { Outcome } from '../../core/outcome.ts';
import type { RecoveryPoint } from '../../flow/protect.ts';

export class UnitRecovery {
  readonly coverage: Coverage;
  /** Redacted. */
  readonly text: string;
  /** When its verdict is on record. Rejects with Failure: then it may not be sealed, nor commit. */
  readonly recorded: Promise<void>;
  #outcome: Outcome | undefined;
  #point: SharedPoint | undefined;

  constructor(coverage: Coverage, text: string, recorded: Promise<void> = Promise.resolve()) {
    this.coverage = coverage;
    this.text = text;
    this.recorded = recorded;
    // Told to whoever waits for it; until then the statement runs.
    recorded.catch(() => undefined);
  }

  /** Before its transaction may commit. */
  keptAs(point: SharedPoint): void {
    this.#point = point;
    if (this.#outcome !== undefined) point.settled(this.#outcome);
  }

  settled(outcome: Outcome): void {
    this.#outcome = outcome;
    this.#point?.settled(outcome);
  }
}

/** One recovery point of several actions. */
export class SharedPoint {
  readonly #point: RecoveryPoint;
  #open: number;
  readonly #kinds = new Set<Outcome['kind']>();

  constructor(point: RecoveryPoint, actions: number) {
    this.#point = point;
    this.#open = actions;
  }

  settled({ kind }: Outcome): void {
    this.#kinds.add(kind);
    this.#open -= 1;
    if (this.#open === 0) this.#point.settle(fateOf(this.#kinds));
  }
}

function fateOf(kinds: ReadonlySet<Outcome['kind']>): TransactionFate {
  if (kinds.has('committed')) return 'committed';
  return kinds.has('unknown') ? 'unknown' : 'discarded';
}
