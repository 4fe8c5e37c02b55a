/**
 * Impact: what a statement would change, counted before it runs: rows of its target and their share of the table, rows
 * that foreign keys pass the change on to, triggers that would fire, a few of the rows, and who waits for whom. It is
 * measured, or unknown with a reason, or `none` for what changes no stored row that could be counted beforehand.
 */
export type Impact = MeasuredImpact | UnknownImpact | { readonly kind: 'none' };

export interface UnknownImpact {
  readonly kind: 'unknown';
  /** A clause that follows "because"; never holds a literal of the statement. */
  readonly reason: string;
}

export interface MeasuredImpact {
  readonly kind: 'measured';
  /** Qualified name of what the statement names as its target. */
  readonly table: string;
  /** What its command tag would say. */
  readonly rows: number;
  /** MERGE: rows by what is done to them. */
  readonly actions?: { readonly update: number; readonly delete: number; readonly insert: number };
  /** null: not known within the time. */
  readonly tableRows: { readonly count: number; readonly isExact: boolean } | null;
  /** Share of the table's rows that would be updated or deleted, 0 to 100; null when tableRows is. */
  readonly percent: number | null;
  readonly cascades: readonly CascadeImpact[];
  readonly triggers: readonly TriggerImpact[];
  readonly lock: LockImpact | null;
  /** For the approver's eyes: kept with the approval, never in the ledger or a log. */
  readonly sample: Sample | null;
}

export interface CascadeImpact {
  readonly table: string;
  readonly rows: number;
  /** `deleted by orders_customer_fkey (ON DELETE CASCADE)`. */
  readonly how: string;
  /** False: at most so many. */
  readonly isExact: boolean;
}

export interface TriggerImpact {
  readonly table: string;
  readonly name: string;
  /** `after delete`, `instead of update`. */
  readonly when: string;
}

export interface LockImpact {
  readonly mode: string;
  /** Other sessions that hold a lock which this one would wait for. */
  readonly heldBy: number;
  /** Other transactions that have changed rows of the table and not ended: their rows would be waited for. */
  readonly writers: number;
  /** Other sessions that wait for a lock on the table now. */
  readonly waiting: number;
}

export interface Sample {
  readonly columns: readonly string[];
  /** Text as PostgreSQL shows it, cut; null is NULL. */
  readonly rows: readonly (readonly (string | null)[])[];
}

export const sampleRowsMax = 5;
export const sampleValueCharsMax = 200;

export const noImpact: Impact = { kind: 'none' };

export function unknownImpact(reason: string): UnknownImpact {
  return { kind: 'unknown', reason };
}

/** Rows that foreign keys would change beside those of the target. */
export function cascadedRows({ cascades }: MeasuredImpact): number {
  return cascades.reduce((sum, { rows }) => sum + rows, 0);
}

export function totalRows(impact: MeasuredImpact): number {
  return impact.rows + cascadedRows(impact);
}

/** The numbers in one sentence without a value of any row: for the agent, the rules and the record. */
export function impactSentence(impact: Impact): string {
  switch (impact.kind) {
    case 'none': return 'Nothing to count.';
    case 'unknown': return `How many rows it would change is not known, because ${impact.reason}.`;
    case 'measured': return `It would change ${measuredPhrase(impact)}.`;
  }
}

function measuredPhrase(impact: MeasuredImpact): string {
  const { table, rows, actions } = impact;
  const share = shareText(impact);
  const parts = actions === undefined ? '' : ` (${actions.update} updated, ${actions.delete} deleted, ${actions.insert} inserted)`;
  const cascades = impact.cascades.map((cascade) => `${cascade.isExact ? '' : 'up to '}${countOf(cascade.rows)} of ${cascade.table}, ${cascade.how}`);
  return [`${countOf(rows)} of ${table}${parts}${share === '' ? '' : ` (${share})`}`, ...cascades].join('; and ');
}

/** `5.1 % of 1240`, `5.1 % of about 1240`, or nothing when it is not known. */
export function shareText({ percent, tableRows }: MeasuredImpact): string {
  if (percent === null || tableRows === null) return '';
  return `${percentText(percent)} of ${tableRows.isExact ? '' : 'about '}${tableRows.count}`;
}

export function percentText(percent: number): string {
  return `${percent > 0 && percent < 0.1 ? '<0.1' : Number(percent.toFixed(1))} %`;
}

export function countOf(rows: number): string { return rows === 1 ? '1 row' : `${rows} rows`; }
