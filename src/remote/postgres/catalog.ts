/**
 * Reads a live server's catalog into one immutable Catalog, in one REPEATABLE READ READ ONLY snapshot and about twenty
 * questions that any role may ask. PostgreSQL's own functions come from the reviewed snapshot of its major version, once
 * a digest shows that the server still has them unchanged; a replaced one is judged like a user's. catalogVersion is a
 * cheap mark that any DDL changes, temporary objects aside; loadCatalog carries the same mark as `version`.
 */
import { Failure } from '../../core/failure.ts';
import { createCatalog, type Catalog } from '../../core/sql/catalog.ts';
import type { CatalogFacts } from '../../core/sql/catalog-facts.ts';
import { loadBuiltinFacts, majors, type BuiltinFacts } from './builtin-catalog.ts';
import {
  builtinFunctionDigestQuery, castsQuery, checksQuery, dependenciesQuery, eventTriggersQuery, firstUserOid,
  foreignKeysQuery, functionNamesQuery, functionsQuery, indexExpressionsQuery, operatorClassQuery, operatorsQuery, otherDependentsQuery,
  policiesQuery, relationsQuery, rulesQuery, schemasQuery, triggersQuery, typesQuery, uniqueKeysQuery, versionQuery,
} from './catalog-queries.ts';
import { ServerError } from './server-error.ts';
import { functionHashOf, Names, readFunction, readOperator, readType, type Row } from './catalog-rows.ts';
import { readForeignKey, readRelations } from './catalog-relations.ts';

/** Answers in text columns; runs one statement at a time on a connection of its own between calls. */
export type CatalogQuery = (sql: string, parameters?: readonly string[]) => Promise<readonly Row[]>;

export async function loadCatalog(query: CatalogQuery): Promise<Catalog> {
  const builtin = await loadBuiltinFacts(await majorOf(query));
  return createCatalog(await inSnapshot(query, () => readFacts(query, builtin)));
}

export function catalogVersion(query: CatalogQuery): Promise<string> {
  return versionFrom(query, versionQuery);
}

/** Planning the question takes far longer than its answer, so a connection that asks it often prepares it once. */
export async function prepareCatalogVersion(query: CatalogQuery): Promise<void> {
  await query(`PREPARE backstop_catalog_version AS ${versionQuery}`);
}

/** The same mark, on a connection that prepared it. */
export function preparedCatalogVersion(query: CatalogQuery): Promise<string> {
  return versionFrom(query, 'EXECUTE backstop_catalog_version');
}

async function versionFrom(query: CatalogQuery, sql: string): Promise<string> {
  const version = (await query(sql))[0]?.[0];
  if (version === null || version === undefined) throw new Failure('upstream_unavailable', 'The server gave no mark of its catalog.');
  return version;
}

async function majorOf(query: CatalogQuery): Promise<number> {
  const rows = await query(`SELECT current_setting('server_version_num')`);
  const major = Math.floor(Number(rows[0]?.[0]) / 10_000);
  if (!majors.some((known) => known === major)) {
    throw new Failure('upstream_unsupported', `The server is PostgreSQL ${major}.`);
  }
  return major;
}

/** An empty search_path makes the server qualify every name that it deparses. */
export async function inSnapshot<T>(query: CatalogQuery, read: () => Promise<T>): Promise<T> {
  await query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  try {
    await query(`SELECT set_config('search_path', '', true)`);
    const result = await read();
    await query('COMMIT');
    return result;
  } catch (error) {
    await query('ROLLBACK');
    throw error;
  }
}

/**
 * The same as a session's own transaction sees it, which has changed the catalog itself; asked on that session, so nothing
 * of it may be left behind. undefined: the server refuses it (over a time-out of the client's, for instance), or it is
 * above READ COMMITTED, where the questions would not see what others have committed since and the server would. Temporary relations are found last, or one of the client's could pass for a system catalog.
 */
export async function loadCatalogInside(query: CatalogQuery): Promise<Catalog | undefined> {
  if ((await query('SHOW transaction_isolation'))[0]?.[0] !== 'read committed') return undefined;
  return inSavepoint(query, async () => {
    const builtin = await loadBuiltinFacts(await majorOf(query));
    return createCatalog(await readFacts(query, builtin));
  });
}

export function catalogVersionInside(query: CatalogQuery): Promise<string | undefined> {
  return inSavepoint(query, () => catalogVersion(query));
}

async function inSavepoint<T>(query: CatalogQuery, read: () => Promise<T>): Promise<T | undefined> {
  await query('SAVEPOINT backstop_catalog');
  try {
    await query(`SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)`);
    return await read();
  } catch (error) {
    if (error instanceof ServerError) return undefined;
    throw error;
  } finally {
    await query('ROLLBACK TO SAVEPOINT backstop_catalog');
    await query('RELEASE SAVEPOINT backstop_catalog');
  }
}

async function readFacts(query: CatalogQuery, builtin: BuiltinFacts): Promise<CatalogFacts> {
  const version = await catalogVersion(query);
  const typeRows = await query(typesQuery);
  const names = new Names(typeRows);
  const functionRows = await query(functionsQuery(`p.oid >= ${firstUserOid}`));
  const ownFunctions = await unchangedFunctions(query, builtin, names);
  names.addFunctions(functionRows);
  names.addFunctions(await query(functionNamesQuery));
  const relationRows = await query(relationsQuery(`c.oid >= ${firstUserOid}`));
  names.addRelations(relationRows);
  const ownRelations = builtin.facts.relations;
  const userTypes = typeRows.filter((row) => isUserOid(row[0])).map((row) => readType(row, names));
  return {
    mode: 'live', major: builtin.facts.major, version,
    schemas: (await query(schemasQuery)).map((row) => row[0] ?? ''),
    functions: [...ownFunctions, ...functionRows.map((row) => readFunction(row, names))],
    operators: [...builtin.facts.operators, ...(await query(operatorsQuery(`o.oid >= ${firstUserOid}`))).map((row) => readOperator(row, names))],
    types: [...builtin.facts.types, ...userTypes],
    casts: (await query(castsQuery)).map(([source, target, fn, context]) => ({
      source: names.type(source), target: names.type(target), ...(fn === null || fn === undefined ? {} : { function: names.function(fn) }),
      context: context === 'i' ? 'implicit' : context === 'a' ? 'assignment' : 'explicit',
    })),
    operatorClassFunctions: (await query(operatorClassQuery)).map((row) => names.function(row[0])),
    relations: [...ownRelations, ...readRelations({
      relations: relationRows, triggers: await query(triggersQuery), rules: await query(rulesQuery),
      policies: await query(policiesQuery), checks: await query(checksQuery), indexes: await query(indexExpressionsQuery), uniqueKeys: await query(uniqueKeysQuery), otherDependents: await query(otherDependentsQuery),
    }, names)],
    // Temporary tables have keys too, to each other.
    foreignKeys: (await query(foreignKeysQuery)).filter(([, from, , to]) => names.hasRelation(from) && names.hasRelation(to)).map((row) => readForeignKey(row, names)),
    eventTriggers: (await query(eventTriggersQuery)).map(([name, event, fn, enabled]) => ({
      name: name ?? '', event: event ?? '', function: names.functionName(fn), enabled: enabled !== 'f',
    })),
    dependencies: (await query(dependenciesQuery)).flatMap(([from, to]) => names.hasRelation(from) && names.hasRelation(to)
      ? [{ from: names.relation(from), to: names.relation(to) }] : []),
  };
}

function isUserOid(oid: string | null | undefined): boolean {
  return Number(oid) >= firstUserOid;
}

/** One digest answers for some three thousand functions; only when it differs is each compared with the snapshot. */
async function unchangedFunctions(query: CatalogQuery, builtin: BuiltinFacts, names: Names): Promise<CatalogFacts['functions']> {
  const digest = (await query(builtinFunctionDigestQuery))[0]?.[0];
  if (digest === builtin.functionDigest) return builtin.facts.functions;
  const rows = await query(functionsQuery(`p.oid < ${firstUserOid}`));
  return rows.map((row) => {
    const fact = readFunction(row, names);
    const { signature, hash } = functionHashOf(row, names);
    return builtin.functionHashes.get(signature) === hash ? { ...fact, builtin: true } : fact;
  });
}
