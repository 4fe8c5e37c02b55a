/**
 * A pooler before the server (PgBouncer) takes only the start-up parameters that it tracks, and ends the connection over
 * any other. Then the others are set after the login instead, by questions of our own. Which targets are poolers is
 * remembered, so that only the first connection is tried twice.
 */
import { Failure } from '../../core/failure.ts';
import { parseStartupOptions } from '../../lib/pgwire/startup-options.ts';
import type { Link } from './link.ts';
import type { LinkTarget } from './link-target.ts';
import { ServerError } from './server-error.ts';

export type Parameters = ReadonlyMap<string, string>;
/** Connects with these start-up parameters. */
export type Open = (parameters: Parameters) => Promise<Link>;

/** What every version of PgBouncer takes. */
const tracked: ReadonlySet<string> = new Set(['user', 'database', 'application_name', 'client_encoding', 'standard_conforming_strings', 'datestyle', 'timezone']);
const poolers = new WeakSet<LinkTarget>();
const setMsMax = 10_000;

export async function openThroughPooler(target: LinkTarget, parameters: Parameters, open: Open): Promise<Link> {
  if (!poolers.has(target)) {
    try {
      return await open(parameters);
    } catch (error) {
      if (!isParameterRefused(error)) throw error;
      poolers.add(target);
    }
  }
  const { atStartup, later } = splitParameters(parameters);
  const link = await open(atStartup);
  try {
    for (const [name, value] of later) {
      await link.ask({ sql: 'SELECT pg_catalog.set_config($1, $2, false)', values: [Buffer.from(name), Buffer.from(value)], isOfLogin: true }, setMsMax);
    }
    return link;
  } catch (error) {
    link.destroy();
    throw error instanceof ServerError
      ? new Failure('upstream_unavailable', `The database server refuses a setting of the connection (SQLSTATE ${error.code}).`, { cause: error, hint: 'Correct the parameters of the connection string.' }) : error;
  }
}

/** PgBouncer's words and SQLSTATE; PostgreSQL itself answers an unknown parameter with another one. */
function isParameterRefused(error: unknown): boolean {
  return error instanceof Failure && error.cause instanceof ServerError && error.cause.code === '08P01' && /unsupported startup parameter/i.test(error.cause.message);
}

export function splitParameters(parameters: Parameters): { readonly atStartup: Parameters; readonly later: Parameters } {
  const [atStartup, later] = [new Map<string, string>(), new Map<string, string>()];
  for (const [name, value] of parameters) {
    if (tracked.has(name.toLowerCase())) atStartup.set(name, value);
    else if (name === 'options') for (const [option, optionValue] of readOptions(value)) later.set(option, optionValue);
    else later.set(name, value);
  }
  return { atStartup, later };
}

function readOptions(value: string): readonly (readonly [string, string])[] {
  const options = parseStartupOptions(value);
  if (options !== undefined) return options;
  throw new Failure('config_invalid', 'The connection string\'s `options` hold more than settings written as -c name=value, which a pooler does not take.');
}
