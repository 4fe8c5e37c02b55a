/**
 * Putting rows back: from their before- and after-images and from what is in the table now follows, for each key, what is to
 * be done, or why nothing can be done without overwriting what somebody has changed since. All as SQL over temporary tables
 * that hold the images, in one transaction behind a lock on the table, so that what was shown is what is done.
 *
 *   before, after   now        →
 *   row     –       –          insert          row     row   as after     put back
 *   –       row     as after   delete          row     row   other columns edited   merge (if asked for)
 *   anything        as before  done already    anything else  conflict
 */
import type { CapturedTable } from '../capture/tables.ts';

export interface RowUndo {
  /** Makes the tables for the images; the images are copied into `before` and `after`. */
  readonly begin: readonly string[];
  readonly before: string;
  readonly after: string;
  /** Once the images are there: decides for each key. */
  readonly decide: readonly string[];
  /** Rows of: step (`insert`, `delete`, `put-back`, `merge`, `done`: it is as it was, `conflict`), number of rows. */
  readonly count: string;
  /** Up to `most` rows of: key as text, before, after and now as text (NULL: no row), why. */
  readonly conflicts: (most: number) => string;
  /** In this order over all tables: every removal, then every row that is put there, so that no unique key stands in the way. */
  readonly remove: readonly string[];
  readonly put: readonly string[];
  /** Rows of the images that are not as they were before; none: the undo is whole. Conflicts that were left are not among them. */
  readonly unlike: string;
}

export interface UndoChoices {
  /** Rows of which other columns were edited since: put back only what the action had changed. */
  readonly merges: boolean;
  /** Rows that conflict are made as they were, whatever was done to them since. */
  readonly forces: boolean;
}

/** No column of a user's is called that. */
const step = '"backstop step"';
const why = '"backstop why"';

/** `mark`: letters and digits that nobody can guess. Every step is settled by text, so that equal means the same to the last digit. */
export function undoRows(table: CapturedTable, mark: string, { merges, forces }: UndoChoices): RowUndo {
  const { name, columns, key } = table;
  const [before, after, plan] = ['before', 'after', 'plan'].map((part) => `pg_temp.backstop_${mark}_${part}`) as [string, string, string];
  const list = columns.join(', ');
  const keyList = key.join(', ');
  const sameKey = (a: string, b: string): string => key.map((column) => `${a}.${column} = ${b}.${column}`).join(' AND ');
  const row = (alias: string): string => `ROW(${columns.map((column) => `${alias}.${column}`).join(', ')})::pg_catalog.text`;
  // Not IS NOT NULL, which asks of a key that is a record whether all its fields are.
  const there = (alias: string): string => `(${alias}.${key[0] ?? ''} IS DISTINCT FROM NULL)`;
  const changed = (column: string, a: string, b: string): string => `${a}.${column}::pg_catalog.text IS DISTINCT FROM ${b}.${column}::pg_catalog.text`;
  const others = columns.filter((column) => !key.includes(column));
  const clash = others.map((column) => `(${changed(column, 'a', 'b')} AND ${changed(column, 'l', 'a')})`).join(' OR ');
  const doable = `${step} IN ('insert', 'delete', 'put-back'${merges ? ", 'merge'" : ''}${forces ? ", 'conflict'" : ''})`;
  const replaced = `(${step} IN ('delete', 'put-back')${forces ? " OR ${step} = 'conflict'" : ''})`;
  const given = `(${step} IN ('insert', 'put-back')${forces ? " OR ${step} = 'conflict'" : ''})`;
  const empty = (target: string): string => `CREATE TEMPORARY TABLE ${target} ON COMMIT DROP AS SELECT ${list} FROM ONLY ${name} WHERE false`;
  return {
    begin: [empty(before), empty(after)], before, after,
    decide: [
      `CREATE TEMPORARY TABLE ${plan} ON COMMIT DROP AS SELECT ${key.map((column) => `coalesce(b.${column}, a.${column}) AS ${column}`).join(', ')},
        CASE WHEN ${there('l')} IS NOT DISTINCT FROM ${there('b')} AND (NOT ${there('l')} OR ${row('l')} = ${row('b')}) THEN 'done'
          WHEN ${there('b')} AND NOT ${there('a')} THEN CASE WHEN ${there('l')} THEN 'conflict' ELSE 'insert' END
          WHEN NOT ${there('l')} THEN 'conflict'
          WHEN ${row('l')} = ${row('a')} THEN CASE WHEN ${there('b')} THEN 'put-back' ELSE 'delete' END
          WHEN NOT ${there('b')} OR ${clash === '' ? 'true' : clash} THEN 'conflict' ELSE 'merge' END AS ${step},
        CASE WHEN ${there('b')} AND NOT ${there('a')} THEN 'its key is in use again' WHEN NOT ${there('l')} THEN 'it was deleted since'
          WHEN NOT ${there('b')} THEN 'it was edited since' ELSE 'what the action had changed was edited since' END AS ${why}
        FROM ${before} b FULL JOIN ${after} a ON ${sameKey('a', 'b')} LEFT JOIN ${name} l ON ${key.map((column) => `l.${column} = coalesce(b.${column}, a.${column})`).join(' AND ')}`,
      `ALTER TABLE ${plan} ADD PRIMARY KEY (${keyList})`, `ANALYZE ${plan}`,
    ],
    count: `SELECT ${step}, pg_catalog.count(*) FROM ${plan} GROUP BY ${step}`,
    conflicts: (most) => `SELECT ROW(${key.map((column) => `p.${column}`).join(', ')})::pg_catalog.text, ${['b', 'a', 'l'].map((alias) => `CASE WHEN ${there(alias)} THEN ${row(alias)} END`).join(', ')}, p.${why}
      FROM ${plan} p LEFT JOIN ${before} b ON ${sameKey('b', 'p')} LEFT JOIN ${after} a ON ${sameKey('a', 'p')} LEFT JOIN ${name} l ON ${sameKey('l', 'p')}
      WHERE p.${step} = 'conflict' ORDER BY ${key.map((column) => `p.${column}`).join(', ')} LIMIT ${most}`,
    remove: [`DELETE FROM ${name} l USING ${plan} p WHERE ${sameKey('l', 'p')} AND ${replaced}`],
    put: [
      `INSERT INTO ${name} (${list}) OVERRIDING SYSTEM VALUE SELECT ${columns.map((column) => `b.${column}`).join(', ')} FROM ${before} b JOIN ${plan} p ON ${sameKey('b', 'p')} WHERE ${given}`,
      ...(merges && others.length > 0 ? [`UPDATE ${name} l SET ${others.map((column) => `${column} = CASE WHEN ${changed(column, 'a', 'b')} THEN b.${column} ELSE l.${column} END`).join(', ')}
        FROM ${plan} p, ${before} b, ${after} a WHERE ${sameKey('l', 'p')} AND ${sameKey('b', 'p')} AND ${sameKey('a', 'p')} AND p.${step} = 'merge'`] : []),
    ],
    unlike: `SELECT pg_catalog.count(*) FROM ${plan} p LEFT JOIN ${before} b ON ${sameKey('b', 'p')} LEFT JOIN ${name} l ON ${sameKey('l', 'p')}
      WHERE (${doable} OR ${step} = 'done') AND ${step} <> 'merge' AND NOT (${there('b')} IS NOT DISTINCT FROM ${there('l')} AND (NOT ${there('b')} OR ${row('b')} = ${row('l')}))`,
  };
}
