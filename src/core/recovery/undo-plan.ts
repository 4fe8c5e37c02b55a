/**
 * What an undo would do, or has done, row by row and table by table, and the rows that it does not simply undo.
 */
/**
 * insert: it is gone and comes back · delete: it came by the action and goes · put-back: it is as the action left it · merge:
 * other columns were edited since · done: it is as it was before · conflict: what the action had changed was edited since ·
 * blocked: a foreign key keeps it as it is
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
