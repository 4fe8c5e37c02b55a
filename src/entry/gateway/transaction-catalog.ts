/**
 * TransactionCatalog: the catalog as the session's own open transaction sees it, after DDL of its own that nobody else can
 * see yet. It is read on the client's link, between batches, and leaves nothing behind there. Whatever that transaction
 * does makes it due again; what others commit meanwhile is noticed within a second for reads, and at once for the rest.
 */
import type { Catalog } from '../../core/sql/catalog.ts';
import type { Ask, InsideCatalog } from '../../remote/postgres/catalog-cache.ts';
import type { Link } from '../../remote/postgres/link.ts';
import { notAnswered } from './learn.ts';
import type { SessionState } from './session-state.ts';

export interface TransactionCatalogDeps {
  readonly link: Pick<Link, 'ask' | 'markIdle'>;
  readonly state: Pick<SessionState, 'catalogMark'>;
  readonly inside: InsideCatalog;
  readonly nowMs: () => number;
}

interface Known { readonly catalog: Catalog | undefined; readonly mark: number; comparedAtMs: number }

const hiddenSettings: ReadonlySet<string> = new Set(['search_path']);
const staleMsMax = 1_000;

export class TransactionCatalog {
  readonly #deps: TransactionCatalogDeps;
  #known: Known | undefined;

  constructor(deps: TransactionCatalogDeps) {
    this.#deps = deps;
  }

  /** It is this transaction's, and nothing has happened since that could have changed it. */
  has(catalog: Catalog): boolean { return this.#valid?.catalog === catalog; }

  /** It was asked for in vain. */
  get isUnreadable(): boolean { return this.#valid !== undefined && this.#valid.catalog === undefined; }

  cached(): Catalog | undefined {
    const known = this.#valid;
    return known !== undefined && this.#deps.nowMs() - known.comparedAtMs < staleMsMax ? known.catalog : undefined;
  }

  /** undefined: it cannot be told, and what the transaction changed stays in doubt. */
  current(): Promise<Catalog | undefined> { return Promise.resolve(this.cached() ?? this.compared()); }

  /** Compared with the server after the call. */
  async compared(): Promise<Catalog | undefined> {
    const { inside, state, nowMs } = this.#deps;
    const mark = state.catalogMark;
    const known = this.#valid;
    const comparedAtMs = nowMs();
    if (known !== undefined && (known.catalog === undefined || await this.#ask(inside.version) === known.catalog.version)) {
      known.comparedAtMs = comparedAtMs;
      return known.catalog;
    }
    const catalog = await this.#ask(inside.load);
    this.#known = { catalog, mark, comparedAtMs };
    return catalog;
  }

  get #valid(): Known | undefined { return this.#known?.mark === this.#deps.state.catalogMark ? this.#known : undefined; }

  #ask<T>(question: (ask: Ask) => Promise<T>): Promise<T> {
    const { link } = this.#deps;
    link.markIdle();
    return question(async (sql, parameters = []) =>
      (await link.ask({ sql, values: parameters.map((value) => Buffer.from(value)), hiddenSettings })).rows).catch(notAnswered);
  }
}
