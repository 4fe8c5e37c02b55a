/**
 * Impact: what a statement would change, counted before it runs: rows of its target and their share of the table, rows
 * that foreign keys pass the change on to, triggers that would fire, a few of the rows, and who waits for whom; of a DROP
 * or TRUNCATE, the objects and rows that would be lost. It is known, or unknown with a reason, or `none` for what changes
 * no stored row that could be counted beforehand.
 */
export type Impact = MeasuredImpact | BoundedImpact | LossImpact | UnknownImpact | { readonly kind: 'none' };

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
  readonly tableRows: RowCount | null;
  /** Share of the table's rows that would be updated or deleted, 0 to 100; null when tableRows is. */
  readonly percent: number | null;
  readonly cascades: readonly CascadeImpact[];
  readonly triggers: readonly TriggerImpact[];
  readonly lock: LockImpact | null;
  /** For the approver's eyes: kept with the approval, never in the ledger or a log. */
  readonly sample: Sample | null;
}

/** Proved without asking: a unique key is compared with so many values, and nothing is passed on. */
export interface BoundedImpact {
  readonly kind: 'bounded';
  readonly table: string;
  /** At most; it may be none. */
  readonly rowsMax: number;
}

/** What DROP, TRUNCATE and their like would take away, by the server's own account of what depends on what. */
export interface LossImpact {
  readonly kind: 'loss';
  readonly verb: 'drop' | 'truncate';
  /** What the statement itself names: `table public.orders`. */
  readonly named: ObjectList;
  /** What else is dropped, or emptied, with it. */
  readonly also: ObjectList;
  /** What depends on it and is not dropped along, so that PostgreSQL would refuse the statement. */
  readonly refusedBy: ObjectList;
  /** Tables that lose all their rows, the largest first, at most `lossTablesMax` of `tableCount`. */
  readonly tables: readonly TableLoss[];
  readonly tableCount: number;
  /** In all of those tables; null: not known for at least one of them. */
  readonly rows: RowCount | null;
  readonly bytes: number;
  readonly triggers: readonly TriggerImpact[];
  readonly lock: LockImpact | null;
}

/** At most `objectNamesMax` of `count`. */
export interface ObjectList { readonly names: readonly string[]; readonly count: number }

export interface TableLoss { readonly table: string; readonly rows: RowCount | null; readonly bytes: number }

/** Not exact: the server's own estimate. */
export interface RowCount { readonly count: number; readonly isExact: boolean }

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
  /** `after delete, for each row`; `instead of update, for each row`. */
  readonly when: string;
  /** What it calls. */
  readonly function: string;
  /** `origin`: as usual. Others fire for replicated changes too, or only for those and where session_replication_role says so. */
  readonly fires: 'origin' | 'always' | 'replica';
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
export const objectNamesMax = 50;
export const lossTablesMax = 20;

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

/** What limits are held against: all rows, those of the target alone, and their share of it; undefined: there is no number. */
export interface CountedRows { readonly total: number; readonly rows: number; readonly percent: number | null; readonly table: string }

export function countedRows(impact: Impact): CountedRows | undefined {
  switch (impact.kind) {
    case 'measured': return { total: totalRows(impact), rows: impact.rows, percent: impact.percent, table: impact.table };
    case 'bounded': return { total: impact.rowsMax, rows: impact.rowsMax, percent: null, table: impact.table };
    // Whoever loses a table loses all of it.
    case 'loss': return impact.rows === null ? undefined : { total: impact.rows.count, rows: impact.rows.count, percent: 100, table: impact.tables[0]?.table ?? 'no table' };
    case 'none': case 'unknown': return undefined;
  }
}

/** Why there is no number where there should be one; undefined: there is, or none is needed. */
export function unknownReason(impact: Impact): string | undefined {
  if (impact.kind === 'unknown') return impact.reason;
  return impact.kind === 'loss' && impact.rows === null ? 'for a table that would lose its rows the server has no number of them' : undefined;
}

/** The numbers in one sentence without a value of any row: for the agent, the rules and the record. */
export function impactSentence(impact: Impact): string {
  switch (impact.kind) {
    case 'none': return 'Nothing to count.';
    case 'unknown': return `How many rows it would change is not known, because ${impact.reason}.`;
    case 'measured': return `It would change ${measuredPhrase(impact)}.`;
    case 'bounded': return `It would change at most ${countOf(impact.rowsMax)} of ${impact.table}.`;
    case 'loss': return lossSentence(impact);
  }
}

function measuredPhrase(impact: MeasuredImpact): string {
  const { table, rows, actions } = impact;
  const share = shareText(impact);
  const parts = actions === undefined ? '' : ` (${actions.update} updated, ${actions.delete} deleted, ${actions.insert} inserted)`;
  const cascades = impact.cascades.map((cascade) => `${cascade.isExact ? '' : 'up to '}${countOf(cascade.rows)} of ${cascade.table}, ${cascade.how}`);
  return [`${countOf(rows)} of ${table}${parts}${share === '' ? '' : ` (${share})`}`, ...cascades].join('; and ');
}

const namesInSentence = 5;

function lossSentence({ verb, named, also, refusedBy, rows, tableCount }: LossImpact): string {
  const lost = tableCount === 0 ? '' : `, and ${rowCountText(rows)} of ${tableCount === 1 ? '1 table' : `${tableCount} tables`} would be lost`;
  const more = also.count === 0 ? '' : ` It would also ${verb === 'drop' ? 'drop' : 'empty or restart'} ${also.count} more: ${listText(also, namesInSentence)}.`;
  const refused = refusedBy.count === 0 ? '' : ` PostgreSQL would refuse it because of ${listText(refusedBy, namesInSentence)}.`;
  return `It would ${verb} ${named.count === 0 ? 'nothing that is there' : listText(named, namesInSentence)}${lost}.${more}${refused}`;
}

/** `12 rows`, `about 12 rows`, or that it is not known. */
export function rowCountText(rows: RowCount | null): string {
  return rows === null ? 'an unknown number of rows' : `${rows.isExact ? '' : 'about '}${countOf(rows.count)}`;
}

function listText({ names, count }: ObjectList, most: number): string {
  const shown = names.slice(0, most);
  return `${shown.join(', ')}${count > shown.length ? ` and ${count - shown.length} more` : ''}`;
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
