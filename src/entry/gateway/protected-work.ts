/**
 * Which part of a batch is protected next, and how: pure. A protected part stands in one transaction whose end waits for its
 * recovery point: one of ours around the whole batch, or the client's, of which then no message may end or take back
 * anything within the part. So a batch is cut where commands about transactions stand.
 */
import type { Coverage } from '../../core/recovery/coverage.ts';
import { Failure } from '../../core/failure.ts';
import type { Unit } from './fate.ts';
import type { Expected, Part } from './expected.ts';
import type { UnitRecovery } from './unit-recovery.ts';
import type { Work } from './work.ts';

export interface ProtectedUnit { readonly unit: Unit; readonly recovery: UnitRecovery; readonly part: Part }

export type ProtectedStep =
  | { readonly kind: 'refused'; readonly failure: Failure }
  /** Commands about transactions stand before it: up to `cut` the batch goes first. */
  | { readonly kind: 'after'; readonly cut: number }
  /** `cut`: where it ends; `coverage`: of all its units together. */
  | { readonly kind: 'part'; readonly cut: number; readonly units: readonly [ProtectedUnit, ...ProtectedUnit[]]; readonly coverage: Coverage };

/** What of an expected message is to be protected. A portal that goes on has changed its rows already. */
function protectedIn(expected: Expected): ProtectedUnit | undefined {
  if (expected.kind !== 'query' && expected.kind !== 'execute' && expected.kind !== 'function-call') return undefined;
  const { unit, unit: { recovery }, part } = expected;
  return recovery === undefined || part === undefined ? undefined : { unit, recovery, part };
}

export function isProtected({ plan: { expected } }: Work): boolean {
  return expected.some((one) => protectedIn(one) !== undefined);
}

/** `isInBlock`: in a transaction block of the client's that can go on; `isUnsynced`: behind messages that have run without their Sync. */
export function nextStep({ plan: { expected }, end }: Work, { isInBlock, isUnsynced }: { readonly isInBlock: boolean; readonly isUnsynced: boolean }): ProtectedStep {
  const first = expected.findIndex((one) => protectedIn(one) !== undefined);
  const control = expected.flatMap((one, index) => ('unit' in one && one.unit.statements.some(({ transaction }) => transaction !== undefined) ? [index] : []));
  if (expected.some((one) => 'unit' in one && one.unit.statements.some(({ copy }) => copy === 'in'))) return refused(copied());
  const before = control.findLast((index) => index < first);
  if (before !== undefined && expected[before]?.kind === 'execute') return end === 'sync' ? { kind: 'after', cut: before + 1 } : refused(unended());
  const after = control.find((index) => index >= first);
  if (!isInBlock) {
    if (after !== undefined) return refused(mixed());
    if (isUnsynced || end === 'flush' || end === 'open') return refused(unended());
  }
  const cut = after ?? expected.length;
  const [unit, ...more] = expected.slice(0, cut).flatMap((one) => protectedIn(one) ?? []);
  if (unit === undefined) return refused(mixed());
  const coverage = joined([unit, ...more]);
  return coverage === undefined ? refused(severalWays()) : { kind: 'part', cut, units: [unit, ...more], coverage };
}

/** Of one batch there is one recovery point; undefined: no single way captures all of it. */
function joined(units: readonly [ProtectedUnit, ...ProtectedUnit[]]): Coverage | undefined {
  const coverages = units.map(({ recovery }) => recovery.coverage);
  const [first] = coverages;
  if (first === undefined || coverages.length === 1) return first;
  if (coverages.some(({ method }) => method !== 'rows' && method !== 'transitions')) return undefined;
  const all = (of: (coverage: Coverage) => readonly string[]): readonly string[] => [...new Set(coverages.flatMap(of))];
  return { scope: first.scope, method: 'transitions', tables: all(({ tables }) => tables), sentence: all(({ sentence }) => [sentence]).join(' '), lost: all(({ lost }) => lost) };
}

function refused(failure: Failure): ProtectedStep { return { kind: 'refused', failure }; }

function unended(): Failure {
  return new Failure('feature_not_supported', 'Backstop refuses a statement that it would have to keep a recovery point of behind messages that have not ended with Sync', {
    hint: 'Send Sync behind it and behind what stands before it, or send it inside a transaction block.',
  });
}

function mixed(): Failure {
  return new Failure('feature_not_supported', 'Backstop refuses a statement that it has to keep a recovery point of in one batch with commands that begin or end transactions', {
    hint: 'Send BEGIN, COMMIT and ROLLBACK in messages of their own, each with its Sync.',
  });
}

function copied(): Failure {
  return new Failure('feature_not_supported', 'Backstop refuses a statement that it has to keep a recovery point of in one batch with a COPY', { hint: 'Send them one after the other.' });
}

function severalWays(): Failure {
  return new Failure('feature_not_supported', 'Backstop cannot keep one recovery point of all statements of this batch', { hint: 'Send them one by one, each with its Sync.' });
}
