/**
 * CatalogCache: one catalog snapshot per database, shared by all sessions. Each is compared with the database's own
 * fingerprint before it is trusted: at most `staleMsMax` before a read, and right now for anything riskier. Questions go
 * over a connection of our own, one per database, opened when needed and again when lost; concurrent callers share one
 * answer. A catalog that cannot be read is a Failure, never an old snapshot.
 */
import type { Catalog } from '../../core/sql/catalog.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Link } from './link.ts';

export type Rows = readonly (readonly (string | null)[])[];
export type Ask = (sql: string, parameters?: readonly string[]) => Promise<Rows>;

export interface CatalogCacheDeps {
  readonly connect: (database: string) => Promise<Link>;
  readonly loadCatalog: (ask: Ask) => Promise<Catalog>;
  readonly catalogVersion: (ask: Ask) => Promise<string>;
  readonly clock: Clock;
}

export interface CatalogCache {
  /** The snapshot if it was compared with the database less than `staleMsMax` ago. */
  cached(database: string): Catalog | undefined;
  /** `fresh`: compared with the database after the call. Throws Failure when it cannot be read. */
  current(database: string, options: { readonly fresh: boolean }): Promise<Catalog>;
  /** Reads it again, whatever its version says. */
  refresh(database: string): Promise<Catalog>;
  query(database: string, sql: string, parameters: readonly string[]): Promise<Rows>;
  close(): Promise<void>;
}

/** What another session's DDL may be behind when a read is judged. */
export const staleMsMax = 1_000;
const questionMsMax = 20_000;

export function createCatalogCache(deps: CatalogCacheDeps): CatalogCache {
  const entries = new Map<string, DatabaseCatalog>();
  const entry = (database: string): DatabaseCatalog => {
    const known = entries.get(database) ?? new DatabaseCatalog(database, deps);
    entries.set(database, known);
    return known;
  };
  return {
    cached: (database) => entries.get(database)?.cached(),
    current: async (database, { fresh }) => (fresh ? undefined : entry(database).cached()) ?? entry(database).compared(),
    refresh: (database) => entry(database).read(),
    query: (database, sql, parameters) => entry(database).ask(sql, parameters),
    close: async () => { await Promise.all([...entries.values()].map((known) => known.close())); },
  };
}

class DatabaseCatalog {
  readonly #database: string;
  readonly #deps: CatalogCacheDeps;
  #link: Promise<Link> | undefined;
  #snapshot: { readonly catalog: Catalog; readonly version: string; comparedAtMs: number } | undefined;
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
    await (await opening)?.end();
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
    if (!mustRead && this.#snapshot?.version === version) {
      this.#snapshot.comparedAtMs = comparedAtMs;
      return this.#snapshot.catalog;
    }
    const catalog = await this.#deps.loadCatalog(this.ask);
    this.#snapshot = { catalog, version, comparedAtMs };
    return catalog;
  }
}
