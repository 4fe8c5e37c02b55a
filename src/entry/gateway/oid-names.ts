/**
 * What an OID on the wire names: FunctionCall names its function by OID, Parse the types of its parameters. Asked of the
 * database over a connection of our own, so the client's transaction takes no snapshot for it. PostgreSQL's own OIDs never
 * change and are remembered; those of users' objects are asked each time.
 */
import type { Catalogs } from './context.ts';

export interface NamedObject { readonly schema: string; readonly name: string }

export interface OidNames {
  functionNamed(database: string, oid: number): Promise<NamedObject | undefined>;
  typeNamed(database: string, oid: number): Promise<NamedObject | undefined>;
}

/** FirstNormalObjectId in PostgreSQL: below it everything is PostgreSQL's own. */
export const firstUserOid = 16_384;
const rememberedMax = 10_000;

const functionSql = 'SELECT n.nspname, p.proname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = $1::pg_catalog.oid';
const typeSql = 'SELECT n.nspname, t.typname FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = $1::pg_catalog.oid';

export function createOidNames(catalogs: Pick<Catalogs, 'query'>): OidNames {
  const remembered = new Map<string, NamedObject>();
  const ask = async (database: string, sql: string, oid: number): Promise<NamedObject | undefined> => {
    const key = `${sql}\0${database}\0${oid}`;
    const known = remembered.get(key);
    if (known !== undefined) return known;
    const [row] = await catalogs.query(database, sql, [String(oid)]);
    const [schema, name] = row ?? [];
    if (typeof schema !== 'string' || typeof name !== 'string') return undefined;
    if (oid < firstUserOid && remembered.size < rememberedMax) remembered.set(key, { schema, name });
    return { schema, name };
  };
  return {
    functionNamed: (database, oid) => ask(database, functionSql, oid),
    typeNamed: (database, oid) => ask(database, typeSql, oid),
  };
}

export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
