/**
 * Kept rows and the rows of now in one table, as SQL. Kept rows wait as text in a temporary table, because their types may have
 * fallen too; they are compared by what they print. Rows belong together by the primary key, and without one
 * by all that the statement left alone, in the order in which they stand.
 */
import type { KeptTable } from '../../../core/recovery/manifest.ts';
import type { RebuiltTable } from '../definition/kept.ts';

export interface Mix {
  /** Makes the tables that set rows aside; kept rows are copied into `kept`. */
  readonly begin: readonly string[];
  readonly kept: string;
  readonly ready: readonly string[];
  /** Counts of rows that cannot be both what they were and what they are. */
  readonly conflicts: readonly { readonly sql: string; readonly why: string }[];
  /** Once the table is there; and, with its defaults, the rows for which nothing was kept. */
  readonly load: readonly string[];
  readonly late: readonly string[];
  /** Counts that must be 0. */
  readonly checks: readonly { readonly sql: string; readonly message: string }[];
  readonly putBack: string;
  readonly since: string;
}

export interface MixNames { readonly kept: string; readonly live: string }

const row = (cells: readonly string[]): string => `ROW(${cells.join(', ')})::text`;

function keptTable({ columns }: KeptTable, { kept }: MixNames): string {
  return `CREATE TEMPORARY TABLE ${kept} (${columns.map((column) => `${column} text`).join(', ')}) ON COMMIT DROP`;
}

function typesOf({ columns, types }: Pick<KeptTable, 'columns' | 'types'>): ReadonlyMap<string, string> {
  return new Map(columns.map((column, index) => [column, types[index] ?? 'text']));
}

/** A table that was emptied, and into which others have put rows since. */
export function refilled(table: KeptTable, names: MixNames, forces: boolean): Mix {
  const { name, columns, key } = table;
  const types = typesOf(table);
  const was = (column: string): string => `k.${column}::${types.get(column) ?? 'text'}`;
  const same = key.map((column) => `t.${column} = ${was(column)}`).join(' AND ');
  const differs = `${row(columns.map((column) => `t.${column}`))} IS DISTINCT FROM ${row(columns.map(was))}`;
  const isThere = `EXISTS (SELECT FROM ONLY ${name} t WHERE ${same}${forces ? ` AND NOT ${differs}` : ''})`;
  const put = `INSERT INTO ${name} (${columns.join(', ')}) OVERRIDING SYSTEM VALUE SELECT ${columns.map(was).join(', ')} FROM ${names.kept} k`;
  const all = `SELECT count(*) FROM ${names.kept}`;
  const base = { begin: [keptTable(table, names)], kept: names.kept, ready: [`ANALYZE ${names.kept}`], late: [] };
  if (key.length === 0) {
    return {
      ...base, conflicts: [], load: [put], putBack: all, since: `SELECT (SELECT count(*) FROM ONLY ${name}) - (${all})`,
      checks: [{ sql: `SELECT greatest((${all}) - (SELECT count(*) FROM ONLY ${name}), 0)`, message: 'Not every row came back' }],
    };
  }
  const clash = `FROM ${names.kept} k JOIN ONLY ${name} t ON ${same} WHERE ${differs}`;
  const putBack = `SELECT count(*) FROM ${names.kept} k JOIN ONLY ${name} t ON ${same} WHERE NOT (${differs})`;
  return {
    ...base, conflicts: [{ sql: `SELECT count(*) ${clash}`, why: 'rows of the same key were put there since' }],
    load: [...(forces ? [`DELETE FROM ONLY ${name} t USING ${names.kept} k WHERE ${same} AND ${differs}`] : []), `${put} WHERE NOT EXISTS (SELECT FROM ONLY ${name} t WHERE ${same})`],
    checks: [{ sql: `${all} k WHERE NOT ${isThere}`, message: 'Not every row came back' }],
    putBack, since: `SELECT (SELECT count(*) FROM ONLY ${name}) - (${putBack})`,
  };
}

/** A table of which columns were dropped or got another type: it is made anew, and its rows are those of now. */
export function reshapedTable(table: KeptTable, now: RebuiltTable, names: MixNames, forces: boolean): Mix {
  const { name, columns, key } = table;
  const [types, nowTypes] = [typesOf(table), typesOf(now)];
  const was = (column: string): string => `k.${column}::${types.get(column) ?? 'text'}`;
  const kept = columns.filter((column) => nowTypes.get(column) === types.get(column));
  const dropped = columns.filter((column) => !nowTypes.has(column));
  const retyped = columns.filter((column) => nowTypes.has(column) && !kept.includes(column));
  const asNow = (column: string): string => (retyped.includes(column) ? `(${was(column)})::${nowTypes.get(column) ?? 'text'}` : was(column));
  const hasKey = key.length > 0 && !key.some((column) => dropped.includes(column));
  const places = (cells: readonly string[]): string => `SELECT *, ${row(cells)} AS "backstop row", row_number() OVER (PARTITION BY ${row(cells)}) AS "backstop place"`;
  const live = hasKey ? `${names.live} l` : `(${places(kept.map((column) => `r.${column}`))} FROM ${names.live} r) l`;
  const keptRows = hasKey ? `${names.kept} k` : `(${places(kept.map(was))} FROM ${names.kept} k) k`;
  const same = hasKey ? key.map((column) => (retyped.includes(column) ? `l.${column}::text = (${asNow(column)})::text` : `l.${column} = ${was(column)}`)).join(' AND ')
    : 'l."backstop row" = k."backstop row" AND l."backstop place" = k."backstop place"';
  const edited = (column: string): string => `l.${column}::text IS DISTINCT FROM (${asNow(column)})::text`;
  const converted = (column: string): string => `l.${column}::${types.get(column) ?? 'text'}`;
  const value = (column: string): string => (kept.includes(column) ? `l.${column}` : dropped.includes(column) || forces ? was(column) : `CASE WHEN ${edited(column)} THEN ${converted(column)} ELSE ${was(column)} END`);
  const pairs = `FROM ${live} JOIN ${keptRows} ON ${same}`;
  const alone = `FROM ${live} WHERE NOT EXISTS (SELECT FROM ${keptRows} WHERE ${same})`;
  const others = columns.filter((column) => !dropped.includes(column));
  return {
    begin: [`CREATE TEMPORARY TABLE ${names.live} ON COMMIT DROP AS SELECT ${now.columns.join(', ')} FROM ONLY ${name}`, keptTable(table, names)],
    kept: names.kept, ready: [`ANALYZE ${names.live}`, `ANALYZE ${names.kept}`],
    conflicts: retyped.length === 0 ? [] : [{ sql: `SELECT count(*) ${pairs} WHERE ${retyped.map(edited).join(' OR ')}`, why: 'values of a column that had got another type were edited since' }],
    load: [`INSERT INTO ${name} (${columns.join(', ')}) OVERRIDING SYSTEM VALUE SELECT ${columns.map(value).join(', ')} ${pairs}`],
    // Rows of a table that was left without columns are all alike, and are counted below.
    late: others.length === 0 ? [] : [`INSERT INTO ${name} (${others.join(', ')}) OVERRIDING SYSTEM VALUE SELECT ${others.map((column) => (retyped.includes(column) ? converted(column) : `l.${column}`)).join(', ')} ${alone}`],
    checks: [
      { sql: `SELECT abs((SELECT count(*) FROM ONLY ${name}) - (SELECT count(*) FROM ${names.live}))`, message: 'There would be more or fewer rows' },
      ...(hasKey && dropped.length > 0 && !key.some((column) => retyped.includes(column))
        ? [{ sql: `SELECT count(*) FROM ONLY ${name} l JOIN ${names.kept} k ON ${same} WHERE ${row(dropped.map((column) => `l.${column}`))} IS DISTINCT FROM ${row(dropped.map(was))}`, message: 'Values would not be what they were' }] : []),
    ],
    putBack: `SELECT count(*) ${pairs}`, since: `SELECT count(*) ${alone}`,
  };
}
