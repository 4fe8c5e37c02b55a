/**
 * What an undo would do, or has done, row by row and table by table, and the rows that it does not simply undo.
 */
/**
 * insert: it is gone and comes back · delete: it came by the action and goes · put-back: it is as the action left it · merge:
 * other columns were edited since · done: it is as it was before · conflict: what the action had changed was edited since ·
 * blocked: a key keeps it as it is
 */
export const rowSteps = ['insert', 'delete', 'put-back', 'merge', 'done', 'conflict', 'blocked'] as const;
export type RowStep = (typeof rowSteps)[number];

/** How many rows of a table. */
export type TableChange = { readonly table: string } & Readonly<Record<RowStep, number>>;

export interface RowConflict {
  readonly table: string;
  /** As the server prints a row: `(1,eu)`. */
  readonly key: string;
  readonly why: string;
  readonly step: 'conflict' | 'blocked' | 'merge';
  readonly columns: readonly string[];
  /** The beginning of each value; null: there was, or is, no such row. */
  readonly before: readonly (string | null)[] | null;
  readonly after: readonly (string | null)[] | null;
  readonly now: readonly (string | null)[] | null;
}

/** What becomes of one recovery point. */
export interface UndonePoint {
  readonly recoveryPointId: string;
  /** All of them are undone together. */
  readonly actionIds: readonly string[];
  readonly agent: string;
  /** ISO 8601, milliseconds, UTC. */
  readonly createdAt: string;
  /** Of its statements, redacted. */
  readonly texts: readonly string[];
  readonly changes: readonly TableChange[];
  readonly conflicts: readonly RowConflict[];
  /** What is made again or changed back: `relation app.orders`. */
  readonly made: readonly string[];
}

export type OnConflict = 'refuse' | 'skip' | 'force';

/** What is done with rows that are not as the action left them. */
export interface UndoPolicy {
  readonly onConflict: OnConflict;
  /** Rows of which other columns were edited keep those edits. */
  readonly merges: boolean;
}

export interface UndoReport {
  readonly database: string;
  /** In the order in which they are undone: newest first. */
  readonly points: readonly UndonePoint[];
  /** Rows that are, or would be, left as they are now. */
  readonly rowsLeft: number;
  /** Absent: nothing was changed, it was only looked at. */
  readonly applied?: { readonly actionId: string; /** By which the undo can be undone; null: no row was changed in place. */ readonly recoveryPointId: string | null };
}

/** Rows that a policy leaves as they are now. */
export function rowsLeft(changes: readonly TableChange[], { onConflict, merges }: UndoPolicy): number {
  return changes.reduce((sum, change) => sum + change.blocked + (onConflict === 'force' ? 0 : change.conflict + (merges ? 0 : change.merge)), 0);
}

/** Rows that a policy changes. */
export function rowsUndone(changes: readonly TableChange[], { onConflict, merges }: UndoPolicy): number {
  return changes.reduce((sum, change) => sum + change.insert + change.delete + change['put-back'] + (merges || onConflict === 'force' ? change.merge : 0) + (onConflict === 'force' ? change.conflict : 0), 0);
}
