/**
 * Ceiling: the most that a permitted statement may change, held against what it really changed before that can commit.
 * What a person approved counts first: the rows of the preview, and the rows that it said foreign keys would change. What
 * was allowed without asking, or approved without a preview, is held to the policy's limits. Triggers that the approver was
 * told of may change rows that nobody could count beforehand: up to the policy's limit, or one for each row that fires them.
 */
import type { Impact } from './impact.ts';
import { countOf, totalRows } from './impact.ts';

export interface Limits { readonly max_rows?: number | undefined; readonly max_percent?: number | undefined }

export interface Ceiling {
  /** Rows of the statement's own target, as its command tag says; null: as `total`. */
  readonly rows: number | null;
  /** With those that foreign keys and triggers change; null: no limit. */
  readonly total: number | null;
  readonly by: 'approval' | 'policy';
}

/** What really happened, read inside the transaction. */
export interface Effected {
  readonly rows: number;
  /** Rows changed through foreign keys, triggers and functions. */
  readonly elsewhere: number;
}

/** undefined: nothing is to be held against it. */
export function ceilingOf(impact: Impact, limits: Limits, isApproved: boolean): Ceiling | undefined {
  if (isApproved && impact.kind === 'measured') return approvedCeiling(impact, limits);
  if (isApproved && impact.kind === 'bounded') return { rows: impact.rowsMax, total: impact.rowsMax, by: 'approval' };
  // A person said yes to something that has no number of rows, such as an INSERT, or to a loss that no tag counts.
  if (isApproved && (impact.kind === 'none' || impact.kind === 'loss')) return undefined;
  const { max_rows: total = null, max_percent: percent } = limits;
  const rows = percent === undefined ? null : shareRows(impact, percent);
  return total === null && rows === null ? undefined : { rows, total, by: 'policy' };
}

/** Rows of the target that a share allows; a single row is never too much, and a proof of few rows stands for the share. */
function shareRows(impact: Impact, percent: number): number | null {
  if (impact.kind === 'bounded') return impact.rowsMax;
  return impact.kind !== 'measured' || impact.tableRows === null ? null : Math.max(1, Math.floor((impact.tableRows.count * percent) / 100));
}

function approvedCeiling(impact: Extract<Impact, { kind: 'measured' }>, { max_rows: most }: Limits): Ceiling {
  const counted = totalRows(impact);
  const { triggers, rows } = impact;
  if (triggers.length === 0) return { rows, total: counted, by: 'approval' };
  return { rows, total: most === undefined ? null : counted + Math.max(most, triggers.length * counted), by: 'approval' };
}

/** One sentence with both numbers; undefined when it stayed below. */
export function excessOf({ rows: rowsMax, total: totalMax, by }: Ceiling, { rows, elsewhere }: Effected): string | undefined {
  const who = by === 'approval' ? 'was approved for' : 'may by policy change at most';
  if (rowsMax !== null && rows > rowsMax) return `it changed ${countOf(rows)} and ${who} ${rowsMax}`;
  if (totalMax === null || rows + elsewhere <= totalMax) return undefined;
  return `it changed ${countOf(rows + elsewhere)} (${rows} itself and ${elsewhere} through foreign keys, triggers or functions) and ${who} ${totalMax}`;
}
