/**
 * CatalogCache: one catalog snapshot per server and database, shared by all sessions there. Each is compared with the
 * database's own fingerprint before it is trusted: at most `staleMsMax` before a read, and right now for anything riskier.
 * Questions go over a connection of our own, one per database, opened when needed and again when lost; concurrent callers
 * share one answer. Where an address may lead to several servers (a failover, a standby that was promoted, a restart), a
 * session is judged by the catalog of the server that it is on, or not at all. A catalog that cannot be read is a Failure,
 * never an old snapshot.
 */
import { Failure } from '../../core/failure.ts';
import type { Catalog } from '../../core/sql/catalog.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Link } from './link.ts';
import type { LinkAddress } from './link-target.ts';
import { ServerError } from './server-error.ts';

export type Rows = readonly (readonly (string | null)[])[];
export type Ask = (sql: string, parameters?: readonly string[]) => Promise<Rows>;

export interface CatalogCacheDeps {
  /** `at`: the very server there; without it, any that fits. */
  readonly connect: (database: string, at?: LinkAddress) => Promise<Link>;
  readonly loadCatalog: (ask: Ask) => Promise<Catalog>;
  readonly catalogVersion: (ask: Ask) => Promise<string>;
  readonly inside: InsideCatalog;
  readonly clock: Clock;
}

/** What a session's own open transaction sees, asked on that session. */
export interface InsideCatalog {
  /** undefined: it cannot be told there. */
  readonly load: (ask: Ask) => Promise<Catalog | undefined>;
  readonly version: (ask: Ask) => Promise<string | undefined>;
}

/** Of one server. */
export interface ServerCatalogs {
  /** The snapshot if it was compared with the database less than `staleMsMax` ago. */
  cached(database: string): Catalog | undefined;
  /** The snapshot if a comparison with the database has ended less than `msMax` ago. */
  justCompared(database: string, msMax: number): Catalog | undefined;
  /** `fresh`: compared with the database after the call. Throws Failure when it cannot be read. */
  current(database: string, options: { readonly fresh: boolean }): Promise<Catalog>;
  /** Reads it again, whatever its version says. */
  refresh(database: string): Promise<Catalog>;
  query(database: string, sql: string, parameters: readonly string[]): Promise<Rows>;
  readonly inside: InsideCatalog;
}

export interface CatalogCache {
  /** Those of the server that this idle link reached; the same object for each link to it. */
  of(link: Pick<Link, 'query' | 'address'>): Promise<ServerCatalogs>;
  /** Of whatever server a new session would get. Throws Failure when there is none. */
  current(database: string, options: { readonly fresh: boolean }): Promise<Catalog>;
  close(): Promise<void>;
}

/** What another session's DDL may be behind when a read is judged. */
export const staleMsMax = 1_000;
const questionMsMax = 20_000;
const loadsMax = 5;
/** Servers remembered; each restart makes another. One that is forgotten goes on serving the sessions that have it. */
const serversMax = 8;

/** A restarted or replaced server has another start, however alike its address, name and data are. */
const identitySql = "SELECT pg_catalog.current_setting('server_version_num') || ' ' || EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time())::pg_catalog.text";

export function createCatalogCache(deps: CatalogCacheDeps): CatalogCache {
  return new ServersCatalogs(deps);
}

class ServersCatalogs implements CatalogCache {
  readonly #deps: CatalogCacheDeps;
  /** By identity, the latest last. */
  readonly #servers = new Map<string, OneServer>();

  constructor(deps: CatalogCacheDeps) { this.#deps = deps; }

  async of(link: Pick<Link, 'query' | 'address'>): Promise<OneServer> {
    const identity = await identityOf(link);
    const server = this.#servers.get(identity) ?? new OneServer(identity, this.#deps);
    server.address = link.address;
    this.#servers.delete(identity);
    this.#servers.set(identity, server);
    const [oldest] = this.#servers.keys();
    if (this.#servers.size > serversMax && oldest !== undefined) {
      const forgotten = this.#servers.get(oldest);
      this.#servers.delete(oldest);
      await forgotten?.close();
    }
    return server;
  }

  async current(database: string, { fresh }: { readonly fresh: boolean }): Promise<Catalog> {
    const latest = [...this.#servers.values()].at(-1);
    try {
      if (latest !== undefined) return await latest.current(database, { fresh });
    } catch { /* it is gone, perhaps; whether another has taken its place is asked below */ }
    const link = await this.#deps.connect(database);
    try {
      return await (await this.of(link)).current(database, { fresh });
    } finally {
      await link.end();
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#servers.values()].map((server) => server.close()));
  }
}

async function identityOf(link: Pick<Link, 'query'>): Promise<string> {
  const identity = (await link.query(identitySql, [], questionMsMax)).rows[0]?.[0];
  if (typeof identity !== 'string') throw new Failure('upstream_unavailable', 'The database server does not tell which one it is.');
  return identity;
}

class OneServer implements ServerCatalogs {
  /** The latest way to it that is known. */
  address: LinkAddress | undefined;
  readonly #identity: string;
  readonly #deps: CatalogCacheDeps;
  readonly #databases = new Map<string, DatabaseCatalog>();

  constructor(identity: string, deps: CatalogCacheDeps) {
    this.#identity = identity;
    this.#deps = deps;
  }

  get inside(): InsideCatalog { return this.#deps.inside; }
  cached(database: string): Catalog | undefined { return this.#databases.get(database)?.cached(); }
  justCompared(database: string, msMax: number): Catalog | undefined { return this.#databases.get(database)?.justCompared(msMax); }
  async current(database: string, { fresh }: { readonly fresh: boolean }): Promise<Catalog> {
    return (fresh ? undefined : this.#of(database).cached()) ?? this.#of(database).compared();
  }
  refresh(database: string): Promise<Catalog> { return this.#of(database).read(); }
  query(database: string, sql: string, parameters: readonly string[]): Promise<Rows> { return this.#of(database).ask(sql, parameters); }
  async close(): Promise<void> { await Promise.all([...this.#databases.values()].map((known) => known.close())); }

  #of(database: string): DatabaseCatalog {
    const known = this.#databases.get(database) ?? new DatabaseCatalog(database, { ...this.#deps, connect: (name) => this.#connect(name) });
    this.#databases.set(database, known);
    return known;
  }

  /** The address may lead elsewhere by now. */
  async #connect(database: string): Promise<Link> {
    const link = await this.#deps.connect(database, this.address);
    const isSame = await identityOf(link).then((identity) => identity === this.#identity, (error: unknown) => { link.destroy(); throw error; });
    if (isSame) return link;
    link.destroy();
    throw new Failure('upstream_unavailable', 'Another database server answers now than the one that this session is on.', { hint: 'Connect again.' });
  }
}

class DatabaseCatalog {
  readonly #database: string;
  readonly #deps: CatalogCacheDeps;
  #link: Promise<Link> | undefined;
  #snapshot: { readonly catalog: Catalog; readonly version: string; comparedAtMs: number; answeredAtMs: number } | undefined;
  /** A comparison that has been asked for but not begun: later callers may join it, since it begins after their call. */
  #next: Promise<Catalog> | undefined;
  #running: Promise<unknown> = Promise.resolve();

  constructor(database: string, deps: CatalogCacheDeps) {
    this.#database = database;
    this.#deps = deps;
  }

  cached(): Catalog | undefined {
    const snapshot = this.#snapshot;
    return snapshot !== undefined && this.#deps.clock.monotonicMs() - snapshot.comparedAtMs < staleMsMax ? snapshot.catalog : undefined;
  }

  justCompared(msMax: number): Catalog | undefined {
    const snapshot = this.#snapshot;
    return snapshot !== undefined && this.#deps.clock.monotonicMs() - snapshot.answeredAtMs < msMax ? snapshot.catalog : undefined;
  }

  compared(): Promise<Catalog> {
    if (this.#next !== undefined) return this.#next;
    const next = this.#running.then(() => {
      this.#next = undefined;
      return this.#compare(false);
    });
    this.#next = next;
    // The chain goes on whatever became of one comparison; its callers get the error.
    this.#running = next.then(() => undefined, () => undefined);
    return next;
  }

  read(): Promise<Catalog> {
    const reading = this.#running.then(() => this.#compare(true));
    this.#running = reading.then(() => undefined, () => undefined);
    return reading;
  }

  readonly ask: Ask = async (sql, parameters = []) => {
    const opening = this.#link ?? this.#open();
    const link = await opening;
    try {
      return (await link.query(sql, parameters, questionMsMax)).rows;
    } catch (error) {
      // A question that failed may have left a transaction or a lost connection behind: the next one starts anew.
      if (this.#link === opening) this.#link = undefined;
      link.destroy();
      throw error;
    }
  };

  async close(): Promise<void> {
    const opening = this.#link;
    this.#link = undefined;
    // One that never opened is closed already; whoever asked for it has been told.
    const link = await opening?.catch(() => undefined);
    await link?.end();
  }

  #open(): Promise<Link> {
    const opening = this.#deps.connect(this.#database);
    this.#link = opening;
    opening.then(
      (link) => { link.relay({ onData: () => undefined, onDrain: () => undefined, onClose: () => { if (this.#link === opening) this.#link = undefined; } }); },
      () => { if (this.#link === opening) this.#link = undefined; },
    );
    return opening;
  }

  /** The version is asked before the facts are read: a change in between is then seen by the next comparison. */
  async #compare(mustRead: boolean): Promise<Catalog> {
    const comparedAtMs = this.#deps.clock.monotonicMs();
    const version = await this.#deps.catalogVersion(this.ask);
    const answeredAtMs = this.#deps.clock.monotonicMs();
    if (!mustRead && this.#snapshot?.version === version) {
      this.#snapshot.comparedAtMs = comparedAtMs;
      this.#snapshot.answeredAtMs = answeredAtMs;
      return this.#snapshot.catalog;
    }
    const catalog = await this.#load();
    this.#snapshot = { catalog, version, comparedAtMs, answeredAtMs };
    return catalog;
  }

  /** The server locks what it puts into words: that can deadlock with those who change it, or what it looks at is gone by then. */
  async #load(): Promise<Catalog> {
    for (let tried = 1; ; tried += 1) {
      try {
        return await this.#deps.loadCatalog(this.ask);
      } catch (error) {
        if (!(error instanceof ServerError)) throw error;
        if (tried === loadsMax) throw new Failure('schema_moved', `Backstop: the schema could not be read (SQLSTATE ${error.code}), perhaps because others change it, so nothing was judged by it`, { cause: error });
      }
    }
  }
}
