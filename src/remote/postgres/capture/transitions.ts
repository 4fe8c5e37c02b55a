/**
 * Before- and after-images of every row that a statement changes, whatever changes it: the statement itself, foreign keys,
 * triggers. Statement triggers with transition tables gather old and new rows into temporary tables, in the transaction that
 * they belong to, and are gone before it ends. Which came first need not be known: of one key each version in between is once
 * a new row and once an old one, so the old rows less the new ones are the rows as they were before, and the new rows less
 * the old ones are the rows as they are now. Rows are compared by what they print, exactly, and not by what equals what.
 */
import type { CapturedTable } from './tables.ts';

export interface TransitionCapture {
  /** Before the statement, each by itself. Takes SHARE ROW EXCLUSIVE on every table, in one order for all. */
  readonly begin: readonly string[];
  /** After the statement: what comes after it is not gathered. Takes no lock. */
  readonly pause: readonly string[];
  /**
   * Before its transaction may commit: nothing of ours is left on any table. Takes ACCESS EXCLUSIVE on every
   * table, as whatever drops a trigger does. A rollback to a savepoint may have taken some of it away.
   */
  readonly end: readonly string[];
  /** After its images were read: they take no more room. */
  readonly forget: string;
  /** One for each table, in the order given. */
  readonly images: readonly ImageQueries[];
}

/** SELECTs of the columns of a table, in their order. */
export interface ImageQueries {
  /** One value: `none` of its rows were touched, `some` were, or so many that netting them costs much: `each-once`, then it is not needed. */
  readonly extent: string;
  readonly before: string;
  readonly after: string;
  /** Where each row was touched once; one that reads as before may be among them. */
  readonly onceBefore: string;
  readonly onceAfter: string;
}

/** `mark`: letters and digits that nobody can guess, part of every name of ours. */
export function captureTransitions(tables: readonly CapturedTable[], mark: string): TransitionCapture {
  const named = tables.map((table, index) => ({ table, log: `backstop_${mark}_${index}` }));
  return {
    begin: [
      `LOCK TABLE ${tables.map(({ name }) => name).toSorted().join(', ')} IN SHARE ROW EXCLUSIVE MODE`,
      ...named.flatMap(({ table, log }) => gather(table, log)),
    ],
    pause: named.flatMap(({ log }) => events.map(({ event }) => functionOf(log, event, ''))),
    end: named.flatMap(({ table, log }) => [
      ...[table.name, ...table.partitions].flatMap((on) => events.map(({ event }) => `DROP TRIGGER IF EXISTS ${triggerOf(log, event)} ON ${on}`)),
      // A temporary table goes with its transaction, a function would stay as long as the session.
      `DROP FUNCTION IF EXISTS ${events.map(({ event }) => `pg_temp.${triggerOf(log, event)}()`).join(', ')}`,
    ]),
    // They go with their transaction, which may be long and hold many rows.
    forget: `TRUNCATE TABLE ${named.map(({ log }) => `pg_temp.${log}`).join(', ')}`,
    images: named.map(({ table, log }) => ({
      extent: extentOf(table, log), before: netRows(table, log, oldRows), after: netRows(table, log, newRows), onceBefore: rowsOf(table, log, oldRows), onceAfter: rowsOf(table, log, newRows),
    })),
  };
}

/** What `sum` leaves is old where it is above zero. */
const oldRows = 1;
const newRows = -1;
const events = [
  { event: 'INSERT', reads: [['new_rows', newRows]] },
  { event: 'UPDATE', reads: [['old_rows', oldRows], ['new_rows', newRows]] },
  { event: 'DELETE', reads: [['old_rows', oldRows]] },
] as const;

function triggerOf(log: string, event: string): string { return `${log}_${event.toLowerCase()}`; }

function functionOf(log: string, event: string, does: string): string {
  return `CREATE OR REPLACE FUNCTION pg_temp.${triggerOf(log, event)}() RETURNS trigger LANGUAGE plpgsql SET search_path TO pg_catalog AS $backstop$ BEGIN ${does} RETURN NULL; END $backstop$`;
}

/** ENABLE ALWAYS, or a session that plays a replica would pass them by. Nothing in a body is found by a search path. */
function gather({ name, columns, partitions }: CapturedTable, log: string): readonly string[] {
  const list = columns.join(', ');
  // Qualified, because in PL/pgSQL `found` and `tg_op` alone are variables.
  const of = (rows: string): string => columns.map((column) => `${rows}.${column}`).join(', ');
  return [
    `CREATE TEMPORARY TABLE ${log} ON COMMIT DROP AS SELECT 0::pg_catalog.int2 AS ${sign}, ${list} FROM ONLY ${name} WHERE false`,
    ...events.flatMap(({ event, reads }) => [
      functionOf(log, event, reads.map(([from, value]) => `INSERT INTO pg_temp.${log} SELECT ${value}, ${of(from)} FROM ${from};`).join(' ')),
      ...[name, ...partitions].flatMap((on) => [
        `CREATE TRIGGER ${triggerOf(log, event)} AFTER ${event} ON ${on} REFERENCING ${reads.map(([from]) => `${from.slice(0, 3).toUpperCase()} TABLE AS ${from}`).join(' ')} FOR EACH STATEMENT EXECUTE FUNCTION pg_temp.${triggerOf(log, event)}()`,
        `ALTER TABLE ONLY ${on} ENABLE ALWAYS TRIGGER ${triggerOf(log, event)}`,
      ]),
    ]),
  ];
}

/** No column of a user's is called that. */
const sign = '"backstop sign"';

function netRows({ columns }: CapturedTable, log: string, wanted: 1 | -1): string {
  const list = columns.join(', ');
  const row = `ROW(${list})::pg_catalog.text`;
  return `SELECT ${list} FROM (SELECT *, pg_catalog.sum(${sign}) OVER (PARTITION BY ${row}) AS "backstop net", pg_catalog.row_number() OVER (PARTITION BY ${row}) AS "backstop place" FROM pg_temp.${log}) net
    WHERE "backstop net" * ${wanted} >= "backstop place"`;
}

/** Netting sorts all that was gathered by all that it prints. Fewer rows than these are sorted in no time. */
const manyRows = 20_000;

function extentOf({ key }: CapturedTable, log: string): string {
  const gathered = `(SELECT pg_catalog.count(*) FROM pg_temp.${log})`;
  return `SELECT CASE WHEN ${gathered} OPERATOR(pg_catalog.=) 0 THEN 'none' WHEN ${gathered} OPERATOR(pg_catalog.<) ${manyRows} THEN 'some'
    WHEN EXISTS (SELECT FROM pg_temp.${log} GROUP BY ${[sign, ...key].join(', ')} HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1) THEN 'some' ELSE 'each-once' END`;
}

function rowsOf({ columns }: CapturedTable, log: string, wanted: 1 | -1): string {
  return `SELECT ${columns.join(', ')} FROM pg_temp.${log} WHERE ${sign} OPERATOR(pg_catalog.=) ${wanted}::pg_catalog.int2`;
}
