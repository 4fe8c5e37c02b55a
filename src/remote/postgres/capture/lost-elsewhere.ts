/**
 * Whether rows of tables that nobody keeps are lost too: by a trigger, a key or a rule that came between the judgement and
 * the lock behind which rows are kept. Asked before and after, in one transaction.
 */
import { Failure } from '../../../core/failure.ts';
import { lostElsewhereSql } from '../../../core/sql/changed-rows.ts';
import type { CatalogQuery } from '../catalog.ts';

/** `keptTables`: an array of their quoted names or object ids. NaN, which equals nothing: who does not count proves nothing. */
export async function lostElsewhere(query: CatalogQuery, keptTables: string): Promise<number> {
  const [row] = await query(lostElsewhereSql, [keptTables]);
  return Number(row?.[0] ?? Number.NaN);
}

export function lostMore(): Failure {
  return new Failure('rows_moved', 'Backstop rolled this statement back, because what would undo it is not whole: rows of other tables were changed as well, or what was changed could not be counted');
}
