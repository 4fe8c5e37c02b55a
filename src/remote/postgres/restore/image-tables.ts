/**
 * ImageTables: the temporary tables of one undo. Many recovery points of the same table share theirs: the server keeps a lock
 * for each that was ever made until the transaction ends, and has room for some thousands.
 */
import { undoRows, type RowUndo, type UndoChoices, type UndoneTable } from './row-undo.ts';

export class ImageTables {
  readonly #mark: string;
  readonly #places = new Map<string, number>();

  /** `mark`: letters and digits that nobody can guess. */
  constructor(mark: string) { this.#mark = mark; }

  /** `types`: as the columns are now. `isMade`: the tables are there, with what an earlier recovery point left in them. */
  of(table: UndoneTable, types: readonly string[], choices: UndoChoices): { readonly undo: RowUndo; readonly isMade: boolean } {
    const shape = JSON.stringify([table.name, table.columns, table.key, table.added, types]);
    const isMade = this.#places.has(shape);
    const place = this.#places.get(shape) ?? this.#places.size;
    this.#places.set(shape, place);
    return { undo: undoRows(table, `${this.#mark}_${place}`, choices), isMade };
  }
}
