/**
 * Putting rows back: from their before- and after-images and from what is in the table now follows, for each key, what is to
 * be done, or why nothing can be done without overwriting what somebody has changed since. All as SQL over temporary tables
 * that hold the images, in one transaction behind a lock on the table, so that what was shown is what is done. Two ways to
 * do it: where no trigger fires, rows are taken away and put there anew, which no unique key can hinder and which reaches
 * columns that UPDATE cannot; where foreign keys act, rows that are there are updated in place.
 *
 *   before, after   now        →
 *   row     –       –          insert          row     row   as after     put back
 *   –       row     as after   delete          row     row   other columns edited   merge (if asked for)
 *   anything        as before  done already    anything else  conflict
 */
export interface UndoneTable {
  /** Quoted: `app.orders`. */
  readonly name: string;
  /** Quoted; of the images, in their order. */
  readonly columns: readonly string[];
  readonly key: readonly string[];
  /** How the index of the key compares, one for each of its columns: `OPERATOR(pg_catalog.=)`. */
  readonly keyEquals: readonly string[];
  /** Quoted columns that the images do not know, because they were added since: they keep what is in them. */
  readonly added: readonly string[];
  /** Quoted columns that UPDATE cannot set. */
  readonly alwaysIdentity: readonly string[];
}

export interface UndoChoices {
  /** Rows of which other columns were edited since: put back only what the action had changed. */
  readonly merges: boolean;
  /** Rows that conflict are made as they were, whatever was done to them since. */
  readonly forces: boolean;
}

export interface RowUndo {
  /** Makes the temporary tables; the images are copied into `before` and `after`. */
  readonly begin: readonly string[];
  /** Instead of `begin`, where they were made for another recovery point of the same transaction. */
  readonly beginAgain: string;
  readonly before: string;
  readonly after: string;
  /** The rows of the images as they are now, and what is to be done with each key. */
  readonly now: string;
  readonly plan: string;
  /** Once the images are there: decides for each key. */
  readonly decide: readonly string[];
  /** Rows of: step (`insert`, `delete`, `put-back`, `merge`, `done`: it is as it was, `conflict`, `blocked`: it cannot be done), number of rows. */
  readonly count: string;
  /** Up to `most` rows of what is not simply undone: step, why, key as text, and the values before, after and now as JSON lists of text (NULL: no row). */
  readonly conflicts: (most: number) => string;
  /** Where no trigger fires: over all tables first every removal, then every row that is put there. */
  readonly remove: readonly string[];
  readonly put: readonly string[];
  /** Where foreign keys act: over all tables inserts, tables before those that refer to them; then, the other way round, updates and deletes. */
  readonly insert: string;
  readonly update: string | undefined;
  readonly delete: string;
  /** Rows of the images that are not what was planned: as before where it was to be undone, as they were found where not. None: the undo is whole. */
  readonly unlike: string;
  /** Condition on a row of the plan: something is done with it. */
  readonly isDone: (alias: string) => string;
  /** Condition: two rows have the same key. */
  readonly sameKey: (a: string, b: string) => string;
  /** A SELECT of the rows as the undo leaves them, for those keys with which something is done. */
  readonly final: string;
}

/** No column of a user's is called that. */
const step = '"backstop step"';
const why = '"backstop why"';
const live = '"backstop live"';

/** `mark`: letters and digits that nobody can guess. Values are compared by what they print, so that equal means the same to the last digit. */
export function undoRows(table: UndoneTable, mark: string, choices: UndoChoices): RowUndo {
  const { name, columns, key, added } = table;
  const [before, after, now, plan] = ['before', 'after', 'now', 'plan'].map((part) => `pg_temp.backstop_${mark}_${part}`) as [string, string, string, string];
  const names = { before, after, now, plan };
  const sameKey = (a: string, b: string): string => key.map((column, index) => `${a}.${column} ${table.keyEquals[index] ?? ''} ${b}.${column}`).join(' AND ');
  const isDone = doneBy(choices);
  const final = finalRows(table, names, { sameKey, isDone, merges: choices.merges });
  const list = columns.join(', ');
  const empty = (target: string, of: string): string => `CREATE TEMPORARY TABLE ${target} ON COMMIT DROP AS SELECT ${of} FROM ONLY ${name} WHERE false`;
  const written = columns.filter((column) => !table.alwaysIdentity.includes(column));
  return {
    begin: [empty(before, list), empty(after, list), empty(now, [...columns, ...added].join(', ')), empty(plan, `${key.join(', ')}, ''::pg_catalog.text AS ${step}, ''::pg_catalog.text AS ${why}`)],
    beginAgain: `TRUNCATE ${before}, ${after}, ${now}, ${plan}`, ...names, sameKey, isDone, final,
    decide: [
      `ANALYZE ${before}`, `ANALYZE ${after}`,
      `INSERT INTO ${now} SELECT ${[...columns, ...added].map((column) => `l.${column}`).join(', ')} FROM ${name} l
        JOIN (SELECT ${key.join(', ')} FROM ${before} UNION ALL SELECT ${key.join(', ')} FROM ${after} a WHERE NOT EXISTS (SELECT FROM ${before} b WHERE ${sameKey('b', 'a')})) i ON ${sameKey('l', 'i')}`,
      `ANALYZE ${now}`,
      decision(table, names, sameKey),
      `ANALYZE ${plan}`,
    ],
    count: `SELECT ${step}, pg_catalog.count(*) FROM ${plan} GROUP BY ${step}`,
    conflicts: (most) => `SELECT p.${step}, p.${why}, ${rowText('p', key)}, ${['b', 'a', 'n'].map((alias) => `CASE WHEN ${isThere(alias, key)} THEN ${valuesOf(alias, columns)} END`).join(', ')}
      FROM ${plan} p LEFT JOIN ${before} b ON ${sameKey('b', 'p')} LEFT JOIN ${after} a ON ${sameKey('a', 'p')} LEFT JOIN ${now} n ON ${sameKey('n', 'p')}
      WHERE p.${step} IN ('conflict', 'blocked', 'merge') ORDER BY ${key.map((column) => `p.${column}`).join(', ')} LIMIT ${most}`,
    remove: [`DELETE FROM ${name} l USING ${plan} p WHERE ${sameKey('l', 'p')} AND ${isDone('p')} AND p.${step} <> 'insert'`],
    put: [
      `INSERT INTO ${name} (${[...columns, ...added].join(', ')}) OVERRIDING SYSTEM VALUE SELECT ${[...columns, ...added].join(', ')} FROM (${final}) f WHERE f.${live}`,
      insertion(table, final),
    ],
    insert: insertion(table, final),
    update: written.length === 0 ? undefined : `UPDATE ${name} l SET ${written.map((column) => `${column} = f.${column}`).join(', ')} FROM (${final}) f WHERE ${sameKey('l', 'f')} AND f.${live}`,
    delete: `DELETE FROM ${name} l USING ${plan} p WHERE ${sameKey('l', 'p')} AND ${isDone('p')} AND NOT EXISTS (SELECT FROM ${before} b WHERE ${sameKey('b', 'p')})`,
    unlike: proof(table, names, { sameKey, isDone, final }),
  };
}

interface Names { readonly before: string; readonly after: string; readonly now: string; readonly plan: string }
interface Parts { readonly sameKey: RowUndo['sameKey']; readonly isDone: RowUndo['isDone'] }

/** Forced, a row of which other columns were edited is put back whole unless it is to be merged. */
function doneBy({ merges, forces }: UndoChoices): RowUndo['isDone'] {
  const steps = ['insert', 'delete', 'put-back', ...(merges || forces ? ['merge'] : []), ...(forces ? ['conflict'] : [])];
  return (alias) => `${alias}.${step} IN (${steps.map((step) => `'${step}'`).join(', ')})`;
}

/** For a composite value IS NOT NULL would look into it. */
function isThere(alias: string, key: readonly string[]): string { return `(${alias}.${key[0] ?? ''} IS DISTINCT FROM NULL)`; }

/** Takes rows `p` out of the plan for a reason, and tells how many. `from`: the rest of an UPDATE of the plan. */
export function blocking({ plan }: Pick<RowUndo, 'plan'>, reason: string, from: string): string {
  return `WITH blocked AS (UPDATE ${plan} p SET ${step} = 'blocked', ${why} = '${reason.replaceAll("'", "''")}' ${from} RETURNING 1) SELECT pg_catalog.count(*) FROM blocked`;
}

/** What the types themselves print: a cast to text may be somebody's own, or drop blanks. */
function rowText(alias: string, columns: readonly string[]): string { return `ROW(${columns.map((column) => `${alias}.${column}`).join(', ')})::pg_catalog.text`; }

function equalRows(a: string, b: string, columns: readonly string[]): string { return `${rowText(a, columns)} OPERATOR(pg_catalog.=) ${rowText(b, columns)}`; }

/** For people, who read only the beginning of what is long. */
const shownCharacters = 200;

function valuesOf(alias: string, columns: readonly string[]): string {
  const values = columns.map((column) => `CASE WHEN ${alias}.${column} IS DISTINCT FROM NULL THEN pg_catalog.left(pg_catalog.format('%s', ${alias}.${column}), ${shownCharacters}) END`);
  return `pg_catalog.to_json(ARRAY[${values.join(', ')}]::pg_catalog.text[])::pg_catalog.text`;
}

function decision({ columns, key, keyEquals }: UndoneTable, { before, after, now, plan }: Names, sameKey: RowUndo['sameKey']): string {
  const there = (alias: string): string => isThere(alias, key);
  const clash = columns.filter((column) => !key.includes(column)).map((column) => `(NOT ${equalRows('a', 'b', [column])} AND NOT ${equalRows('n', 'a', [column])})`).join(' OR ');
  const list = key.join(', ');
  // What is usual is asked first: texts of whole rows are what this costs.
  return `INSERT INTO ${plan} SELECT ${list}, ${step}, CASE ${step} WHEN 'merge' THEN 'other columns were edited since' WHEN 'conflict' THEN
      CASE WHEN "backstop gone" THEN 'its key is in use again' WHEN "backstop deleted" THEN 'it was deleted since' WHEN "backstop new" THEN 'it was edited since' ELSE 'what the action had changed was edited since' END END AS ${why}
    FROM (SELECT ${key.map((column) => `coalesce(b.${column}, a.${column}) AS ${column}`).join(', ')},
      ${there('b')} AND NOT ${there('a')} AS "backstop gone", NOT ${there('n')} AS "backstop deleted", NOT ${there('b')} AS "backstop new",
      CASE WHEN ${there('n')} AND ${there('a')} AND ${equalRows('n', 'a', columns)} THEN CASE WHEN ${there('b')} THEN 'put-back' ELSE 'delete' END
        WHEN ${there('n')} = ${there('b')} AND (NOT ${there('n')} OR ${equalRows('n', 'b', columns)}) THEN 'done'
        WHEN ${there('b')} AND NOT ${there('a')} AND NOT ${there('n')} THEN 'insert'
        WHEN NOT ${there('n')} OR NOT ${there('b')} OR NOT ${there('a')} OR ${clash === '' ? 'true' : clash} THEN 'conflict' ELSE 'merge' END AS ${step}
      FROM ${before} b FULL JOIN ${after} a ON ${sameKey('a', 'b')} LEFT JOIN ${now} n ON ${key.map((column, index) => `n.${column} ${keyEquals[index] ?? ''} coalesce(b.${column}, a.${column})`).join(' AND ')}) decided`;
}

/** Of a merged row each column that the action had not changed stays as it is now. */
function finalRows({ columns, key, added }: UndoneTable, { before, after, now, plan }: Names, { sameKey, isDone, merges }: Parts & Pick<UndoChoices, 'merges'>): string {
  const valueOf = (column: string): string => (merges && !key.includes(column)
    ? `CASE WHEN p.${step} = 'merge' AND ${equalRows('a', 'b', [column])} THEN n.${column} ELSE b.${column} END AS ${column}` : `b.${column}`);
  return `SELECT ${[...columns.map(valueOf), ...added.map((column) => `n.${column}`)].join(', ')}, ${isThere('n', key)} AS ${live}
    FROM ${plan} p JOIN ${before} b ON ${sameKey('b', 'p')}${merges ? ` LEFT JOIN ${after} a ON ${sameKey('a', 'p')}` : ''} LEFT JOIN ${now} n ON ${sameKey('n', 'p')} WHERE ${isDone('p')}`;
}

/** Of rows that are not there; what was added since gets its default. */
function insertion({ name, columns }: UndoneTable, final: string): string {
  return `INSERT INTO ${name} (${columns.join(', ')}) OVERRIDING SYSTEM VALUE SELECT ${columns.join(', ')} FROM (${final}) f WHERE NOT f.${live}`;
}

/** Of what was to be as before, what was to go, and what was to stay as it was found, each asked in the way that costs least. */
function proof({ name, columns, key, added }: UndoneTable, { before, now, plan }: Names, { sameKey, isDone, final }: Parts & { readonly final: string }): string {
  const there = (alias: string): string => isThere(alias, key);
  const keptAdded = added.length === 0 ? '' : ` AND (NOT f.${live} OR ${equalRows('f', 'l', added)})`;
  return `SELECT (SELECT pg_catalog.count(*) FROM (${final}) f LEFT JOIN ${name} l ON ${sameKey('l', 'f')} WHERE NOT (${there('l')} AND ${equalRows('f', 'l', columns)}${keptAdded}))
    + (SELECT pg_catalog.count(*) FROM ${plan} p JOIN ${name} l ON ${sameKey('l', 'p')} WHERE ${isDone('p')} AND NOT EXISTS (SELECT FROM ${before} b WHERE ${sameKey('b', 'p')}))
    + (SELECT pg_catalog.count(*) FROM ${plan} p LEFT JOIN ${now} n ON ${sameKey('n', 'p')} LEFT JOIN ${name} l ON ${sameKey('l', 'p')}
      WHERE NOT ${isDone('p')} AND NOT (${there('n')} = ${there('l')} AND (NOT ${there('l')} OR ${equalRows('n', 'l', [...columns, ...added])})))`;
}
