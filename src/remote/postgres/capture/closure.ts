/**
 * All that a statement takes with it, behind locks: the server's own dependencies are followed to the end, every table among
 * it is locked against everybody, and then it is asked again, because what was not locked may have grown meanwhile. Locks are
 * taken in the order of names, as everywhere here. A view is locked by a comment that says what it said.
 */
import { Failure } from '../../../core/failure.ts';
import type { LossTarget } from '../../../core/sql/loss-query.ts';
import type { Taken } from '../../../core/sql/taken.ts';
import type { CatalogQuery } from '../catalog.ts';
import { addressesSql, closureSql, emptiedSql, heirsSql } from '../measure-loss-queries.ts';
import { closureLimits, relationsSql } from './closure-queries.ts';
import { arrayOf } from './tables.ts';

/** Classes, objects and parts, as three arrays that PostgreSQL reads. */
export type Addresses = readonly [classes: string, objects: string, parts: string];

export interface TouchedRelation {
  readonly oid: string;
  /** Quoted. */
  readonly name: string;
  readonly kind: string;
  /** It goes, or all its rows do. */
  readonly isGone: boolean;
  /** A column of it goes, or it is altered. */
  readonly isChanged: boolean;
  /** Why it cannot be kept; undefined: it can. */
  readonly hole: string | undefined;
  /** COMMENT that changes nothing. */
  readonly lock: string | undefined;
}

export interface Closure {
  readonly touched: readonly TouchedRelation[];
  /** All that goes. */
  readonly all: Addresses;
}

/** What the names mean in the session's own search path, which must be in force: asked before anything else. */
export interface Named {
  readonly targets: Addresses;
  readonly altered: readonly string[];
  readonly isWhole: readonly string[];
}

export async function resolveTaken(query: CatalogQuery, taken: Taken): Promise<Named> {
  const rows = [];
  const isWhole: string[] = [];
  for (const target of taken.targets) {
    const found = await resolve(query, target);
    rows.push(...found);
    isWhole.push(...found.map(() => String(target.kind === 'emptied' && !target.isAlone)));
  }
  const altered = taken.altered === undefined ? [] : await resolve(query, taken.altered);
  return { targets: addresses(rows), isWhole, altered: altered.map(([, oid]) => oid ?? '') };
}

type Rows = readonly (readonly (string | null)[])[];

/** A missing object is nothing here: the statement says so itself. */
async function resolve(query: CatalogQuery, target: LossTarget): Promise<Rows> {
  switch (target.kind) {
    case 'object': return orMissing(query, addressesSql.object, [target.type, arrayOf(target.name), arrayOf(target.arguments)]);
    case 'routine': return present(await query(addressesSql.routine, [target.name]));
    case 'emptied': return present(await query(addressesSql.relation, [target.name]));
    case 'owned': case 'role': throw new Failure('feature_not_supported', 'What a role owns cannot be kept as a whole.');
  }
}

function present(rows: Rows): Rows { return rows.filter(([, oid]) => oid !== null && oid !== undefined); }

async function orMissing(query: CatalogQuery, sql: string, values: readonly string[]): Promise<Rows> {
  await query('SAVEPOINT backstop_name');
  try {
    const rows = await query(sql, values);
    await query('RELEASE backstop_name');
    return rows;
  } catch (error) {
    await query('ROLLBACK TO backstop_name');
    await query('RELEASE backstop_name');
    // Whatever else is wrong with the name, the statement will say; what it takes nevertheless is found missing afterwards.
    if (!isMissing(error)) throw error;
    return [];
  }
}

/** Undefined table, column, object, function or schema. */
const missing: ReadonlySet<string> = new Set(['42P01', '42703', '42704', '42883', '3F000']);

function isMissing(error: unknown): boolean { return error instanceof Error && 'code' in error && typeof error.code === 'string' && missing.has(error.code); }

/** Locked, and whole. Under our own settings. Throws Failure where it holds what cannot be kept. */
export async function lockClosure(query: CatalogQuery, taken: Taken, named: Named): Promise<Closure> {
  let before = '';
  for (let round = 0; round < closureLimits.rounds; round += 1) {
    const closure = await touchedBy(query, taken, named);
    const { touched } = closure;
    const hole = touched.find((one) => one.hole !== undefined);
    if (hole !== undefined) throw new Failure('feature_not_supported', `What this takes away cannot be kept before: ${hole.name} ${hole.hole ?? ''}.`, { hint: 'Take away the other objects by themselves, or ask an operator.' });
    const mark = touched.map(({ oid }) => oid).join();
    if (mark === before) return closure;
    before = mark;
    await lock(query, touched);
  }
  throw new Failure('conflict', 'Others keep making objects that this would take away.', { hint: 'Send it again when they are done.' });
}

async function lock(query: CatalogQuery, touched: readonly TouchedRelation[]): Promise<void> {
  const tables = touched.filter(({ kind }) => kind === 'r' || kind === 'p').map(({ name }) => name).toSorted();
  if (tables.length > 0) await query(`LOCK TABLE ${tables.map((name) => `ONLY ${name}`).join(', ')} IN ACCESS EXCLUSIVE MODE`);
  for (const { lock: statement } of touched) if (statement !== undefined) await query(statement);
}

async function touchedBy(query: CatalogQuery, taken: Taken, named: Named): Promise<Closure> {
  const all = await closureOf(query, taken, named);
  const altered = named.altered.length === 0 ? [] : await query(emptiedSql, [arrayOf(named.altered), arrayOf(named.altered.map(() => String(taken.altered?.kind === 'emptied' && !taken.altered.isAlone))), 'false', 'false']);
  const rows = await query(relationsSql, [...all, arrayOf(altered.map(([, oid]) => oid ?? '')), String(!taken.isRowless)]);
  const touched = rows.map(([oid, name, kind, isGone, isChanged, hole, statement]) => ({
    oid: oid ?? '', name: name ?? '', kind: kind ?? '', isGone: isGone === 't', isChanged: isChanged === 't', hole: hole ?? undefined, lock: statement ?? undefined,
  }));
  return { touched, all };
}

/** Columns and constraints go from partitions and children too, and with them what depends on those. */
async function closureOf(query: CatalogQuery, { verb, cascade, restarts }: Taken, { targets, isWhole }: Named): Promise<Addresses> {
  if (verb === 'truncate') return limited(await query(emptiedSql, [targets[1], arrayOf(isWhole), String(cascade), String(restarts)]));
  let [all, size] = [targets, -1];
  for (;;) {
    const rows = await query(closureSql, [...all, String(cascade)]);
    const heirs = await query(heirsSql, [...limited(rows)]);
    all = limited([...rows, ...heirs]);
    const grown = new Set([...rows, ...heirs].map((row) => row.join())).size;
    if (grown === size) return all;
    size = grown;
  }
}

function limited(rows: Rows): Addresses {
  if (rows.length > closureLimits.objects) throw new Failure('too_large', `More than ${closureLimits.objects} objects would go with it, more than can be kept at once.`);
  return addresses(rows);
}

function addresses(rows: Rows): Addresses {
  const unique = [...new Map(rows.map((row) => [row.join(), row])).values()];
  return [arrayOf(unique.map(([one]) => one ?? '')), arrayOf(unique.map(([, one]) => one ?? '')), arrayOf(unique.map(([, , one]) => one ?? ''))];
}
