/**
 * Where a statement is judged: a parser and a catalog of one PostgreSQL version, offline or as a live database has it,
 * and how a session begins there.
 */
import { Failure } from '../core/failure.ts';
import type { Catalog } from '../core/sql/catalog.ts';
import { loadParser, parserMajors, type Parser } from '../lib/pgsql/parser.ts';
import { loadBuiltinCatalog } from '../remote/postgres/builtin-catalog.ts';
import { loadCatalog } from '../remote/postgres/catalog.ts';
import { connectLink } from '../remote/postgres/link.ts';
import { parseConnectionString } from '../remote/postgres/link-target.ts';

/** A catalog to judge statements with, and how a session there begins. */
export interface JudgingPlace {
  readonly catalog: Catalog;
  readonly parser: Parser;
  readonly searchPath: readonly string[];
  readonly role: string;
}

/** Without a server: PostgreSQL's own catalog of that version. Throws Failure `upstream_unsupported`. */
export async function offlinePlace(major: number): Promise<JudgingPlace> {
  const parser = await parserFor(major);
  return { catalog: await loadBuiltinCatalog(major), parser, searchPath: ['public'], role: '' };
}

/** As a session of that user begins in that database. It is asked for its catalog and for nothing else. Throws Failure. */
export async function livePlace(connectionString: string): Promise<JudgingPlace> {
  const link = await connectLink(parseConnectionString(connectionString), { parameters: new Map([['application_name', 'backstop classify']]) });
  try {
    const { rows: [role, ...schemas] } = await link.query('SELECT current_user UNION ALL SELECT pg_catalog.unnest(pg_catalog.current_schemas(false))');
    const parser = await parserFor(link.serverMajor);
    const catalog = await loadCatalog(async (sql, parameters) => (await link.query(sql, parameters)).rows);
    return { catalog, parser, role: role?.[0] ?? '', searchPath: schemas.map(([name]) => name ?? '') };
  } finally {
    await link.end();
  }
}

/** Throws Failure `upstream_unsupported`. */
export function parserFor(major: number): Promise<Parser> {
  const known = parserMajors.find((supported) => supported === major);
  if (known !== undefined) return loadParser(known);
  return Promise.reject(new Failure('upstream_unsupported', `The server is PostgreSQL ${major}, for which Backstop has no parser.`));
}
