/**
 * Kept rows and the rows of now in one table, as SQL. Kept rows wait as text in a temporary table, because their types may have
 * fallen too; they are compared by what they print. Rows belong together by the primary key, and without one by all
 * that they hold.
 */
import type { KeptTable } from '../../../core/recovery/manifest.ts';
import type { RebuiltTable } from '../definition/kept.ts';

export interface Mix {
  /** Makes the tables that set rows aside; kept rows are copied into `kept`. */
  readonly begin: readonly string[];
  readonly kept: string;
  /** For the rows as the statement left them, where those were kept. */
  readonly left?: string;
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

export interface MixNames { readonly kept: string; readonly live: string; readonly left: string; readonly pairs: string }

/** Kept rows stand in the order in which they were read; so do those of the same table as the statement left it. */
const place = '"backstop place"';
const row = (cells: readonly string[]): string => `ROW(${cells.join(', ')})::text`;

function keptTable({ columns }: Pick<KeptTable, 'columns'>, name: string): string {
  return `CREATE TEMPORARY TABLE ${name} (${[`${place} int8 GENERATED ALWAYS AS IDENTITY`, ...columns.map((column) => `${column} text`)].join(', ')}) ON COMMIT DROP`;
}

function typesOf({ columns, types }: Pick<KeptTable, 'columns' | 'types'>): ReadonlyMap<string, string> {
  return new Map(columns.map((column, index) => [column, types[index] ?? 'text']));
}

/** A table that was emptied, and into which others have put rows since. */
export function refilled(table: KeptTable, names: MixNames, forces: boolean): Mix {
  const { name, columns, key } = table;
  const types = typesOf(table);
  const was = (column: string): string => `k.${column}::${types.get(column) ?? 'text'}`;
  const same = key.map((column) => `t.${column}::text = (${was(column)})::text`).join(' AND ');
  const differs = `${row(columns.map((column) => `t.${column}`))} IS DISTINCT FROM ${row(columns.map(was))}`;
  const isThere = `EXISTS (SELECT FROM ONLY ${name} t WHERE ${same}${forces ? ` AND NOT ${differs}` : ''})`;
  const put = `INSERT INTO ${name} (${columns.join(', ')}) OVERRIDING SYSTEM VALUE SELECT ${columns.map(was).join(', ')} FROM ${names.kept} k`;
  const all = `SELECT count(*) FROM ${names.kept}`;
  const base = { begin: [keptTable(table, names.kept)], kept: names.kept, ready: [`ANALYZE ${names.kept}`], late: [] };
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

/**
 * A table of which columns were dropped or got another type: it is made anew, and its rows are those of now. `left`: the
 * columns kept of it as the statement left it, for those that got another type; a rewritten table keeps the order of its rows.
 */
export function reshapedTable(table: KeptTable, now: RebuiltTable, left: readonly string[] | undefined, names: MixNames, forces: boolean): Mix {
  const { name, columns, key } = table;
  const [types, nowTypes] = [typesOf(table), typesOf(now)];
  const was = (column: string): string => `k.${column}::${types.get(column) ?? 'text'}`;
  const dropped = columns.filter((column) => !nowTypes.has(column));
  const retyped = columns.filter((column) => nowTypes.has(column) && nowTypes.get(column) !== types.get(column));
  const others = columns.filter((column) => nowTypes.has(column));
  const hasKey = key.length > 0 && !key.some((column) => dropped.includes(column));
  const converted = (column: string): string => (retyped.includes(column) ? `l.${column}::${types.get(column) ?? 'text'}` : `l.${column}`);
  const value = (column: string): string => (dropped.includes(column) ? was(column) : retyped.includes(column) ? `CASE WHEN ${forces ? 'false' : 'p.edited'} THEN ${converted(column)} ELSE ${was(column)} END` : `l.${column}`);
  const pairs = `FROM ${names.pairs} p JOIN ${names.live} l ON l.${place} = p.live JOIN ${names.kept} k ON k.${place} = p.kept`;
  const alone = `FROM ${names.live} l WHERE NOT EXISTS (SELECT FROM ${names.pairs} p WHERE p.live = l.${place})`;
  const lonely = (rows: string, side: string): string => `(SELECT count(*) FROM ${rows} r WHERE NOT EXISTS (SELECT FROM ${names.pairs} p WHERE p.${side} = r.${place}))`;
  return {
    begin: [
      `CREATE TEMPORARY TABLE ${names.live} ON COMMIT DROP AS SELECT ${[`row_number() OVER () AS ${place}`, ...now.columns].join(', ')} FROM ONLY ${name}`, keptTable(table, names.kept),
      ...(left === undefined ? [] : [keptTable({ columns: left }, names.left)]),
    ],
    kept: names.kept,
    ready: [`CREATE TEMPORARY TABLE ${names.pairs} ON COMMIT DROP AS ${pairing({ key: hasKey ? key : [], others, retyped, nowTypes, names })}`, ...[names.live, names.kept, names.pairs].map((one) => `ANALYZE ${one}`)],
    conflicts: [
      ...(hasKey ? [{ sql: `SELECT count(*) FROM ${names.pairs} WHERE edited`, why: 'values of a column that had got another type were edited since' }]
        : [{ sql: `SELECT least(${lonely(names.live, 'live')}, ${lonely(names.kept, 'kept')})`, why: 'rows were edited since, and without a key nobody knows which they were' }]),
    ],
    load: [`INSERT INTO ${name} (${columns.join(', ')}) OVERRIDING SYSTEM VALUE SELECT ${columns.map(value).join(', ')} ${pairs}`],
    // Rows of a table that was left without columns are all alike, and are counted below.
    late: others.length === 0 ? [] : [`INSERT INTO ${name} (${others.join(', ')}) OVERRIDING SYSTEM VALUE SELECT ${others.map(converted).join(', ')} ${alone}`],
    checks: [
      { sql: `SELECT abs((SELECT count(*) FROM ONLY ${name}) - (SELECT count(*) FROM ${names.live}))`, message: 'There would be more or fewer rows' },
      ...(hasKey && dropped.length > 0 && !key.some((column) => retyped.includes(column))
        ? [{ sql: `SELECT count(*) FROM ONLY ${name} l JOIN ${names.kept} k ON ${key.map((column) => `l.${column}::text = (${was(column)})::text`).join(' AND ')} WHERE ${row(dropped.map((column) => `l.${column}`))} IS DISTINCT FROM ${row(dropped.map(was))}`, message: 'Values would not be what they were' }] : []),
    ],
    putBack: `SELECT count(*) FROM ${names.pairs}`, since: `SELECT count(*) ${alone}`,
  };
}

interface Pairing {
  /** Empty: there is none to pair by. */
  readonly key: readonly string[];
  readonly others: readonly string[];
  readonly retyped: readonly string[];
  readonly nowTypes: ReadonlyMap<string, string>;
  readonly names: MixNames;
}

/** Which row of now is which of then, and whether a value of another type is no more what the statement made of it. */
function pairing({ key, others, retyped, nowTypes, names }: Pairing): string {
  const is = (alias: string) => (column: string): string => `${alias}.${column}::${nowTypes.get(column) ?? 'text'}`;
  const stands = (cells: readonly string[], from: string): string => `(SELECT r.*, ${row(cells)} AS "backstop row", row_number() OVER (PARTITION BY ${row(cells)} ORDER BY r.${place}) AS "backstop rank" FROM ${from} r)`;
  const live = key.length > 0 ? names.live : stands(others.map((column) => `r.${column}`), names.live);
  const then = (from: string): string => (key.length > 0 ? from : stands(others.map(is('r')), from));
  const same = (alias: string): string => (key.length > 0 ? key.map((column) => `l.${column}::text = (${is(alias)(column)})::text`).join(' AND ') : `l."backstop row" = ${alias}."backstop row" AND l."backstop rank" = ${alias}."backstop rank"`);
  if (retyped.length === 0) return `SELECT l.${place} AS live, k.${place} AS kept, false AS edited FROM ${live} l JOIN ${then(names.kept)} k ON ${same('k')}`;
  const edited = retyped.map((column) => `l.${column}::text IS DISTINCT FROM (${is('a')(column)})::text`).join(' OR ');
  return `SELECT l.${place} AS live, k.${place} AS kept, ${edited} AS edited FROM ${live} l JOIN ${then(names.left)} a ON ${same('a')} JOIN ${names.kept} k ON k.${place} = a.${place}`;
}
