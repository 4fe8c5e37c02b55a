/**
 * What serves clients, in this process alone or as one of several workers: catalogs, policy, measurer, budgets, and the
 * gateway over them with its metrics.
 */
import { randomBytes } from 'node:crypto';
import type { Config } from '../config.ts';
import { assess, assessStatement, mayRunWhenParsed, nextSession } from '../core/sql/assess.ts';
import { fingerprint, redact } from '../core/sql/redact.ts';
import { createGateway, type Fellows, type Gateway } from '../entry/gateway/gateway.ts';
import { createMetrics, type Metrics } from '../entry/http/metrics.ts';
import { counted } from '../flow/counted-approvals.ts';
import { createGuard } from '../flow/guard.ts';
import { startPolicy, type PolicyInForce } from '../flow/policy-in-force.ts';
import type { Protector } from '../flow/protect.ts';
import { systemClock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { randomPool, shortId, sortableId } from '../lib/sortable-id.ts';
import type { WatchedBucket } from '../remote/bucket/watched-bucket.ts';
import { policySignature, watchPolicy } from '../remote/policy-watch.ts';
import { catalogVersionInside, loadCatalog, loadCatalogInside, prepareCatalogVersion, preparedCatalogVersion } from '../remote/postgres/catalog.ts';
import { createCatalogCache, type CatalogCache } from '../remote/postgres/catalog-cache.ts';
import { KnownTables } from '../remote/postgres/capture/known-tables.ts';
import { connectLink } from '../remote/postgres/link.ts';
import type { LinkTarget } from '../remote/postgres/link-target.ts';
import { createMeasurer, type Measurer } from '../remote/postgres/measure.ts';
import { createBudgets, type Budgets } from '../store/budgets.ts';
import { sharedSecret } from '../store/shared-secrets.ts';
import type { Address } from './backstop.ts';
import { createCaptures } from './captures.ts';
import { limitsOf, tlsOf } from './gateway-options.ts';
import { parserFor } from './judging-place.ts';
import type { Memory } from './memory.ts';
import { loadFor } from './policy.ts';
import { openProtector, watchStorage } from './protection.ts';
import type { Started } from './start-whole.ts';
import { warnOfWeakLogin } from './upstream.ts';

export interface Served {
  readonly gateway: Address;
  readonly entry: Gateway;
  readonly catalogs: CatalogCache;
  readonly policy: PolicyInForce;
  readonly metrics: Metrics;
  readonly storage: WatchedBucket;
  readonly protector: Protector;
}

/** What it serves from and in front of; `fellows` when it is one of several workers. */
interface Serving { readonly memory: Memory; readonly target: LinkTarget; readonly fellows?: Fellows }

/** Throws Failure. */
export async function serve(config: Config, log: Log, serving: Serving, started: Started): Promise<Served> {
  const { memory, target } = serving;
  const catalogs = createCatalogs(target, log);
  started.push(() => catalogs.close());
  await catalogs.current(target.database, { fresh: true });

  const since = await policySignature(config.policy);
  const policy = await startPolicy({
    load: () => loadFor(config), ledger: memory.ledger, clock: systemClock, log, onReload: (result) => { gateway.metrics.countReload(result); },
  });
  // The same on every node, or an unknown name would be known by its salts.
  const mockSecret = Buffer.from(await sharedSecret(memory.database, 'login', () => randomBytes(32).toString('base64')), 'base64');
  const measurer = createMeasurer({
    connect: (database, at) => connectLink(target, { database, at, parameters: new Map([['application_name', 'backstop preview']]) }), clock: systemClock,
  });
  started.push(() => measurer.close());
  const budgets = createBudgets({ database: memory.database, clock: systemClock, onFault: (error) => { log.warn({ error }, 'what agents have used of their budgets could not be written, and is tried again'); } });
  started.push(() => budgets.close());
  const storage = await watchStorage(config.recovery, log, started);
  const protector = await openProtector(config.recovery, storage, memory.recoveryPoints, (point, seconds) => { gateway.metrics.observeSeal(point, seconds); });
  const gateway = createGatewayWithMetrics(config, log, { ...serving, policy, budgets, catalogs, measurer, mockSecret, storage, protector });
  const address = await gateway.entry.listen();
  started.push(() => gateway.entry.close());
  const watch = watchPolicy(config.policy, { since, onChange: (isUnchanged) => policy.reload('file', isUnchanged) });
  started.push(() => watch.close());
  return { gateway: address, entry: gateway.entry, catalogs, policy, metrics: gateway.metrics, storage, protector };
}

function createCatalogs(target: LinkTarget, log: Log): CatalogCache {
  return createCatalogCache({
    connect: async (database, at) => {
      const link = await connectLink(target, { database, ...(at === undefined ? {} : { at }), parameters: new Map([['application_name', 'backstop'], ['search_path', '']]) });
      warnOfWeakLogin(link, target, log);
      await prepareCatalogVersion(async (sql) => (await link.query(sql)).rows);
      return link;
    },
    loadCatalog, catalogVersion: preparedCatalogVersion, inside: { load: loadCatalogInside, version: catalogVersionInside }, clock: systemClock,
  });
}

interface GatewayParts extends Serving { readonly policy: PolicyInForce; readonly budgets: Budgets; readonly catalogs: CatalogCache; readonly measurer: Measurer; readonly mockSecret: Buffer; readonly storage: WatchedBucket; readonly protector: Protector }

function createGatewayWithMetrics(config: Config, log: Log, { policy, budgets, memory, target, catalogs, measurer, mockSecret, fellows, storage, protector }: GatewayParts): { readonly entry: Gateway; readonly metrics: Metrics } {
  let holds = 0;
  const metrics = createMetrics({
    sessions: () => entry.clients, holds: () => holds,
    waitingReads: () => memory.ledger.waitingReads, isLedgerWritable: () => memory.ledger.fault === undefined, isPolicyRefused: () => policy.refusal !== undefined,
    isStorageUsable: () => storage.fault === undefined,
  });
  const guard = createGuard({
    budgets,
    ledger: memory.ledger, policy: () => policy.current(), untilPolicyChanged: () => policy.untilChanged(), environment: config.environment, clock: systemClock,
    approvals: counted(memory.approvals, systemClock, metrics.observeHold, (change) => { holds += change; }),
    newApprovalId: () => shortId('apr', { randomBytes }), onVerdict: metrics.countVerdict,
  });
  const ids = { nowMs: Date.now, randomBytes: randomPool(randomBytes) };
  const entry = createGateway({
    host: config.gateway.host, port: config.gateway.port, tls: tlsOf(config), limits: limitsOf(config.gateway.limits), identities: memory.identities, ledger: memory.ledger, guard, catalogs, measure: measurer.measure,
    core: { assess, assessStatement, mayRunWhenParsed, nextSession, redact, fingerprint },
    connect: ({ database, parameters }) => connectLink(target, { database, parameters }), parserFor,
    mockSecret, protection: { protector, capture: createCaptures(new KnownTables()) }, ...(fellows === undefined ? {} : { fellows }),
    newId: (prefix) => sortableId(prefix, ids), clock: systemClock, log,
  });
  return { entry, metrics };
}
