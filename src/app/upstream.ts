/**
 * The server that is guarded: how it is found or started, how it is reached, and what an operator should know of it.
 */
import { join } from 'node:path';
import type { Config } from '../config.ts';
import { Failure } from '../core/failure.ts';
import { Bug } from '../lib/assert.ts';
import type { Log } from '../lib/log.ts';
import type { Secret } from '../lib/secret.ts';
import { startEmbeddedPostgres } from '../remote/embedded-postgres.ts';
import { connectLink, type Link } from '../remote/postgres/link.ts';
import { parseConnectionString, type LinkTarget } from '../remote/postgres/link-target.ts';
import type { StartHooks } from './backstop.ts';
import type { Started } from './start-whole.ts';

/** The server that is guarded: the one that was named, or a PostgreSQL of our own with the demo database. */
export async function findUpstream(config: Config, { onProgress }: StartHooks, started: Started): Promise<{ readonly target: LinkTarget; readonly url: Secret; readonly ended: Promise<Failure> }> {
  if (config.upstream !== undefined) return { target: parseConnectionString(config.upstream.reveal()), url: config.upstream, ended: new Promise(() => undefined) };
  const embedded = await startEmbeddedPostgres({ dataDir: config.dataDir, onProgress });
  started.push(() => embedded.stop());
  return { target: parseConnectionString(embedded.upstream.reveal()), url: embedded.upstream, ended: embedded.ended.then(() => new Failure('upstream_unavailable', 'the embedded PostgreSQL has ended by itself', { hint: `Its log is ${join(config.dataDir, 'postgres.log')}.` })) };
}

/** The server that is guarded, when it is named. */
export function targetOf({ upstream }: Config): LinkTarget {
  if (upstream === undefined) throw new Bug('no server is named');
  return parseConnectionString(upstream.reveal());
}

/** Logs in there and out again. Throws Failure. */
export async function checkReachable(target: LinkTarget): Promise<void> {
  await (await connectLink(target, { parameters: new Map([['application_name', 'backstop health']]) })).end();
}

/** What an operator should know and can change; the login itself is the server's choice. */
export function warnOfWeakLogin({ loginMethod }: Link, { tls }: LinkTarget, log: Log): void {
  if (loginMethod === 'md5') log.warn({}, 'the database server asks for an md5 password, which PostgreSQL is about to drop; set password_encryption to scram-sha-256 and the password anew');
  const isAnybodys = loginMethod === 'password' && (tls.mode === 'prefer' || tls.mode === 'require');
  if (isAnybodys) log.warn({}, 'the database server was sent the password in clear inside TLS, and its certificate is not checked; add sslmode=verify-full and sslrootcert');
}
