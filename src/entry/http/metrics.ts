/**
 * Metrics: what Prometheus may ask. Base units, counters end in `_total`; labels are levels, decisions and policies,
 * never SQL, agents or tokens, so their number stays bounded.
 */
import { AggregatorRegistry, Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { SealedPoint } from '../../core/recovery/recovery-point.ts';
import type { Verdict } from '../../core/verdict.ts';

export interface MetricSources {
  /** Connected clients. */
  readonly sessions: () => number;
  /** Statements that wait for a person now. */
  readonly holds: () => number;
  /** SAFE reads that wait to be written to the ledger. */
  readonly waitingReads: () => number;
  /** 1 when the last write to the ledger succeeded. */
  readonly isLedgerWritable: () => boolean;
  /** The policy file as it is now was refused, and an older one is in force. */
  readonly isPolicyRefused: () => boolean;
  /** Nothing is known to be wrong with the storage of recovery points. */
  readonly isStorageUsable: () => boolean;
}

export interface Metrics {
  readonly contentType: string;
  text(): Promise<string>;
  /** As `addMetrics` takes it. */
  parts(): Promise<readonly object[]>;
  countVerdict(verdict: Verdict): void;
  observeHold(seconds: number): void;
  countReload(result: 'changed' | 'unchanged' | 'refused'): void;
  /** A recovery point is sealed; so long after its rows were captured. */
  observeSeal(point: Pick<SealedPoint, 'method' | 'bytes'>, seconds: number): void;
}

export function createMetrics(sources: MetricSources): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'backstop_' });
  const verdicts = new Counter({
    name: 'backstop_verdicts_total', help: 'Verdicts by level of risk, decision, and what would have been decided under enforce.',
    labelNames: ['level', 'decision', 'would_be'], registers: [registry],
    collect: () => { counts.flush(); },
  });
  const counts = new VerdictCounts((verdict, times) => { verdicts.inc({ level: verdict.level, decision: verdict.decision, would_be: verdict.wouldBe }, times); });
  const holds = new Histogram({
    name: 'backstop_hold_seconds', help: 'How long held statements waited for a person.', buckets: [0.1, 1, 5, 15, 30, 60, 300], registers: [registry],
  });
  // Each process reads every file: the most that one has counted is how many there were.
  const reloads = new Counter({
    name: 'backstop_policy_reloads_total', help: 'Attempts to put a changed policy file in force, by result.', labelNames: ['result'], aggregator: 'max', registers: [registry],
  });
  const observeSeal = sealMetrics(registry);
  gauge(registry, 'backstop_recovery_storage_usable', '1 while recovery points can be kept, as far as is known.', () => (sources.isStorageUsable() ? 1 : 0), 'min');
  gauge(registry, 'backstop_policy_refused', '1 while the policy file is refused and an older policy is in force.', () => (sources.isPolicyRefused() ? 1 : 0), 'max');
  gauge(registry, 'backstop_sessions', 'Connected clients.', sources.sessions);
  gauge(registry, 'backstop_holds', 'Statements that wait for a person.', sources.holds);
  gauge(registry, 'backstop_ledger_waiting_reads', 'SAFE reads not written to the ledger yet.', sources.waitingReads);
  gauge(registry, 'backstop_ledger_writable', '1 when the last write to the ledger succeeded.', () => (sources.isLedgerWritable() ? 1 : 0), 'min');
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    parts: () => registry.getMetricsAsJSON(),
    countVerdict: (verdict) => { counts.add(verdict); },
    observeHold: (seconds) => { holds.observe(seconds); },
    countReload: (result) => { reloads.inc({ result }); },
    observeSeal,
  };
}

function sealMetrics(registry: Registry): Metrics['observeSeal'] {
  const points = new Counter({ name: 'backstop_recovery_points_total', help: 'Recovery points sealed, by the way they were captured.', labelNames: ['method'], registers: [registry] });
  const bytes = new Counter({ name: 'backstop_recovery_bytes_total', help: 'COPY text in sealed recovery points.', registers: [registry] });
  const seals = new Histogram({
    name: 'backstop_recovery_seal_seconds', help: 'From the last captured row until the recovery point was read back and on record.',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5], registers: [registry],
  });
  return (point, seconds) => {
    points.inc({ method: point.method });
    bytes.inc(point.bytes);
    seals.observe(seconds);
  };
}

/** Of several processes as one: counts are added, what says how well it is takes the worst. */
export function addMetrics(parts: readonly (readonly object[])[]): Pick<Metrics, 'contentType' | 'text'> {
  const sum = AggregatorRegistry.aggregate(parts as object[][]);
  return { contentType: sum.contentType, text: () => sum.metrics() };
}

function gauge(registry: Registry, name: string, help: string, read: () => number, aggregator: 'sum' | 'min' | 'max' = 'sum'): void {
  const made = new Gauge({ name, help, aggregator, registers: [registry], collect: () => { made.set(read()); } });
}

/** Verdicts are remembered objects that come again and again, so a run of the same one is counted as a number first. */
class VerdictCounts {
  readonly #report: (verdict: Verdict, times: number) => void;
  #last: Verdict | undefined;
  #times = 0;

  constructor(report: (verdict: Verdict, times: number) => void) { this.#report = report; }

  add(verdict: Verdict): void {
    if (verdict !== this.#last) {
      this.flush();
      this.#last = verdict;
    }
    this.#times += 1;
  }

  flush(): void {
    if (this.#last !== undefined && this.#times > 0) this.#report(this.#last, this.#times);
    this.#times = 0;
  }
}
