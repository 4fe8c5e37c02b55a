/**
 * Measures what a DROP, TRUNCATE or their like would take away, by the server's own records: pg_depend is followed as DROP
 * itself follows it (dependency.c), pg_shdepend for what a role owns, pg_inherits and pg_constraint as TRUNCATE does. Names
 * are resolved in the session's search path; everything after that is asked with an empty one. It only reads, and runs in
 * the transaction that measure.ts has begun and will roll back.
 */
import type { LockImpact, LossImpact, ObjectList, RowCount, TableLoss, TriggerImpact } from '../../core/impact.ts';
import { lossTablesMax, objectNamesMax } from '../../core/impact.ts';
import { Failure } from '../../core/failure.ts';
import type { LossQuery, LossTarget } from '../../core/sql/loss-query.ts';
import type { Ask } from './link-query.ts';
import { addressesSql, closureSql, describeSql, emptiedSql, eventTriggersSql, heirsSql, lockedSql, ownedSql, ownersSql, refusingKeysSql, roleSql, tablesSql, truncateTriggersSql, wholesSql } from './measure-loss-queries.ts';
import { ServerError } from './server-error.ts';

export interface LossPlace {
  readonly role: string;
  /** The client's own server process. */
  readonly processId: number;
  /** Of what is left of the time, at most so much. */
  readonly leftMs: (most: number) => number;
}

/** pg_depend's name for an object. */
interface Address { readonly classId: string; readonly objectId: string; readonly part: string }

interface Lost {
  /** What the statement names, and all that goes with it, those among it. */
  readonly named: readonly Address[];
  readonly all: readonly Address[];
  readonly refusing: readonly Address[];
  /** In words, beside the named. */
  readonly namedWords: readonly string[];
  readonly alsoWords: readonly string[];
}

/** Of what would go; beyond it nobody would read the list, and one question could not hold it. */
const objectsMax = 20_000;
const exactTablesMax = 100;
const exactRowsMax = 2_000_000;
const classOfRelations = '1259';

export async function measureLoss(ask: Ask, query: LossQuery, place: LossPlace): Promise<LossImpact> {
  const found = await resolve(ask, query.targets, place);
  await ask({ sql: "SELECT pg_catalog.set_config('search_path', '', true)" });
  const lost = query.verb === 'drop' ? await dropped(ask, query, found) : await emptied(ask, query, found);
  const relations = lost.all.filter(({ classId, part }) => classId === classOfRelations && part === '0').map(({ objectId }) => objectId);
  const named = await describe(ask, lost.named, [], []);
  const also = await describe(ask, lost.all, lost.named, lost.all);
  const refusedBy = await describe(ask, lost.refusing, [], []);
  const triggers = await readTriggers(ask, query, relations);
  const lock = relations.length === 0 ? null : await readLocks(ask, lost.all, place.processId);
  const tables = await countTables(ask, relations, place);
  return {
    kind: 'loss', verb: query.verb, named: joined(lost.namedWords, named), also: joined(lost.alsoWords, also), refusedBy,
    tables: tables.toSorted((a, b) => (b.rows?.count ?? Infinity) - (a.rows?.count ?? Infinity)).slice(0, lossTablesMax), tableCount: tables.length,
    rows: sumOf(tables.map(({ rows }) => rows)), bytes: tables.reduce((sum, { bytes }) => sum + bytes, 0), triggers, lock,
  };
}

interface Found {
  readonly addresses: readonly Address[];
  /** TRUNCATE without ONLY. */
  readonly whole: readonly Address[];
  readonly owned: readonly string[];
  readonly roles: readonly { readonly name: string; readonly id: string }[];
}

async function resolve(ask: Ask, targets: readonly LossTarget[], { role }: LossPlace): Promise<Found> {
  const addresses: Address[] = [];
  const whole: Address[] = [];
  const roles: { name: string; id: string }[] = [];
  const owned: string[] = [];
  for (const target of targets) {
    switch (target.kind) {
      case 'object': addresses.push(...await orMissing(ask, addressesSql.object, [target.type, list(target.name), list(target.arguments)])); break;
      case 'routine': addresses.push(...await orMissing(ask, addressesSql.routine, [target.name])); break;
      case 'emptied': {
        const found = await orMissing(ask, addressesSql.relation, [target.name]);
        addresses.push(...found);
        if (!target.isAlone) whole.push(...found);
        break;
      }
      case 'owned': case 'role': {
        const name = target.name ?? role;
        const { rows: [row] } = await ask({ sql: roleSql, values: buffers([name]) });
        if (typeof row?.[0] !== 'string') break;
        if (target.kind === 'owned') owned.push(row[0]);
        roles.push({ name, id: row[0] });
      }
    }
  }
  return { addresses: unique(addresses), whole, owned, roles };
}

/** Undefined table, column, object, function or schema: it is not there, and so takes nothing away. */
const missing: ReadonlySet<string> = new Set(['42P01', '42703', '42704', '42883', '3F000']);

async function orMissing(ask: Ask, sql: string, values: readonly string[]): Promise<readonly Address[]> {
  await ask({ sql: 'SAVEPOINT target' });
  try {
    return addressesOf(await ask({ sql, values: buffers(values) }));
  } catch (error) {
    if (!(error instanceof ServerError) || !missing.has(error.code)) throw error;
    await ask({ sql: 'ROLLBACK TO target' });
    return [];
  }
}

async function dropped(ask: Ask, { cascade }: LossQuery, { addresses, owned, roles }: Found): Promise<Lost> {
  const named = [...addresses, ...await askAddresses(ask, heirsSql, columnsOf(addresses))];
  const belongings = owned.length === 0 ? [] : await askAddresses(ask, ownedSql, [list(owned)]);
  const roots = unique([...named, ...belongings]);
  const all = await askAddresses(ask, closureSql, [...columnsOf(roots), String(cascade)]);
  const whole = cascade ? all : await askAddresses(ask, closureSql, [...columnsOf(roots), 'true']);
  const goes = new Set(all.map(markOf));
  // A part goes with its whole: the column, for instance, that an identity's sequence belongs to.
  const stays = (one: Address): boolean => !goes.has(markOf(one)) && !goes.has(markOf({ ...one, part: '0' }));
  const given = new Set(roots.map(markOf));
  const wholes = (await askAddresses(ask, wholesSql, columnsOf(named))).filter((one) => !given.has(markOf(one)));
  const holding = roles.filter(({ id }) => !owned.includes(id));
  const refusing = holding.length === 0 ? [] : await askAddresses(ask, ownersSql, [list(holding.map(({ id }) => id))]);
  return {
    named: unique(named), all, refusing: unique([...wholes, ...whole.filter(stays), ...refusing]),
    namedWords: roles.map(({ name, id }) => (owned.includes(id) ? `all that ${name} owns` : `role ${name}`)),
    alsoWords: roles.map(({ name, id }) => (owned.includes(id) ? `the privileges of ${name}, and its part in policies` : `the memberships of ${name}`)),
  };
}

async function emptied(ask: Ask, { cascade, restarts }: LossQuery, { addresses, whole }: Found): Promise<Lost> {
  const isWhole = addresses.map((one) => whole.some((other) => markOf(other) === markOf(one)));
  const all = await askAddresses(ask, emptiedSql, [list(addresses.map(({ objectId }) => objectId)), list(isWhole.map(String)), String(cascade), String(restarts)]);
  const refusing = cascade ? [] : await askAddresses(ask, refusingKeysSql, [list(all.map(({ objectId }) => objectId))]);
  return { named: addresses, all, refusing, namedWords: [], alsoWords: [] };
}

/** What a person wants to read of them: without `left`, and without what is only a part of another in `beside`. */
async function describe(ask: Ask, all: readonly Address[], left: readonly Address[], beside: readonly Address[]): Promise<ObjectList> {
  const without = new Set(left.map(markOf));
  const shown = all.filter((one) => !without.has(markOf(one)));
  if (shown.length === 0) return { names: [], count: 0 };
  const relations = beside.filter(({ classId, part }) => classId === classOfRelations && part === '0').map(({ objectId }) => objectId);
  const { rows } = await ask({ sql: describeSql, values: buffers([...columnsOf(shown), list(relations), String(objectNamesMax)]) });
  return { names: rows.map(([name]) => name ?? ''), count: Number(rows[0]?.[1] ?? 0) };
}

function joined(words: readonly string[], { names, count }: ObjectList): ObjectList {
  return { names: [...words, ...names].slice(0, objectNamesMax), count: words.length + count };
}

async function readTriggers(ask: Ask, { verb }: LossQuery, relations: readonly string[]): Promise<readonly TriggerImpact[]> {
  const { rows } = verb === 'drop' ? await ask({ sql: eventTriggersSql }) : await ask({ sql: truncateTriggersSql, values: buffers([list(relations)]) });
  return rows.map(([table, name, when, fn, enabled]) => ({
    table: table ?? '', name: name ?? '', when: when ?? '', function: fn ?? '', fires: enabled === 'A' ? 'always' : enabled === 'R' ? 'replica' : 'origin',
  }));
}

/** ACCESS EXCLUSIVE waits for everybody who has any lock. */
async function readLocks(ask: Ask, all: readonly Address[], processId: number): Promise<LockImpact> {
  const { rows: [row] } = await ask({ sql: lockedSql, values: buffers([...columnsOf(all), String(processId)]) });
  const [heldBy = 0, waiting = 0] = (row ?? []).map(Number);
  return { mode: 'ACCESS EXCLUSIVE', heldBy, writers: 0, waiting };
}

interface Countable extends TableLoss { readonly sql: string; readonly isReadable: boolean }

/** Exactly where that is quick and row security hides nothing; the smallest first, so that most of them are exact. */
async function countTables(ask: Ask, relations: readonly string[], { leftMs }: LossPlace): Promise<readonly TableLoss[]> {
  const { rows } = await ask({ sql: tablesSql, values: buffers([list(relations)]) });
  const tables = rows.map((row): Countable => ({ table: row[0] ?? '', sql: row[1] ?? '', bytes: Number(row[3]), isReadable: row[4] === 't', rows: estimateOf(row[2], row[5]) }));
  const counted: TableLoss[] = [];
  let isOutOfTime = false;
  for (const { table, sql, bytes, isReadable, rows: estimate } of tables) {
    const isQuick = isReadable && !isOutOfTime && counted.length < exactTablesMax && (estimate === null || (!estimate.isExact && estimate.count <= exactRowsMax));
    const exact = isQuick ? await countExactly(ask, sql, leftMs(countMsMax)) : undefined;
    if (isQuick && exact === undefined) isOutOfTime = true;
    counted.push({ table, bytes, rows: exact ?? estimate });
  }
  return counted;
}

/** All exact counts together may take the time that is left, one of them so much. */
const countMsMax = 500;

async function countExactly(ask: Ask, sql: string, ms: number): Promise<RowCount | undefined> {
  await ask({ sql: 'SAVEPOINT total' });
  try {
    await ask({ sql: "SELECT pg_catalog.set_config('statement_timeout', $1, true)", values: buffers([`${ms}ms`]) });
    const { rows: [row] } = await ask({ sql });
    return { count: Number(row?.[0]), isExact: true };
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    await ask({ sql: 'ROLLBACK TO total' });
    return undefined;
  }
}

/** `known` is what statistics say, -1 for nothing; a table without a page has no row. */
function estimateOf(known: string | null | undefined, pages: string | null | undefined): RowCount | null {
  if (Number(pages ?? 1) === 0) return { count: 0, isExact: true };
  return Number(known ?? -1) > 0 ? { count: Number(known), isExact: false } : null;
}

function sumOf(all: readonly (RowCount | null)[]): RowCount | null {
  return all.reduce<RowCount | null>((sum, one) => (sum === null || one === null ? null : { count: sum.count + one.count, isExact: sum.isExact && one.isExact }), { count: 0, isExact: true });
}

async function askAddresses(ask: Ask, sql: string, values: readonly string[]): Promise<readonly Address[]> {
  const found = addressesOf(await ask({ sql, values: buffers(values) }));
  if (found.length > objectsMax) throw new Failure('too_large', `more than ${objectsMax} objects would go with it`);
  return found;
}

function addressesOf({ rows }: { readonly rows: readonly (readonly (string | null)[])[] }): readonly Address[] {
  return rows.flatMap(([classId, objectId, part]) => (typeof classId === 'string' && typeof objectId === 'string' ? [{ classId, objectId, part: part ?? '0' }] : []));
}

function unique(addresses: readonly Address[]): readonly Address[] {
  return [...new Map(addresses.map((one) => [markOf(one), one])).values()];
}

function markOf({ classId, objectId, part }: Address): string { return `${classId}/${objectId}/${part}`; }

function columnsOf(addresses: readonly Address[]): readonly string[] {
  return [list(addresses.map(({ classId }) => classId)), list(addresses.map(({ objectId }) => objectId)), list(addresses.map(({ part }) => part))];
}

/** An array as PostgreSQL reads it. */
function list(texts: readonly string[]): string {
  return `{${texts.map((text) => `"${text.replaceAll(/["\\]/g, '\\$&')}"`).join(',')}}`;
}

function buffers(values: readonly string[]): readonly Buffer[] { return values.map((value) => Buffer.from(value)); }
