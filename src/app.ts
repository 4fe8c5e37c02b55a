/**
 * The app: builds every part from Config, joins them, and starts and stops them in order.
 *   start  policy → claim → store, settling what a crash left → PostgreSQL (unless one is given) → catalogs → gateway → HTTP
 *   stop   HTTP → gateway (its sessions end) → catalogs → PostgreSQL → ledger (what is left is written) → store
 * Whatever was started is stopped again when a later part fails.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Config } from './config.ts';
import type { Answer, Approval } from './core/approval.ts';
import { Failure } from './core/failure.ts';
import { assess, assessStatement, mayRunWhenParsed, nextSession } from './core/sql/assess.ts';
import type { Catalog } from './core/sql/catalog.ts';
import { fingerprint, redact } from './core/sql/redact.ts';
import { refuseSilentObserving, withApprovalTimes, type Policy } from './core/policy/policy.ts';
import { createGateway, type Fellows, type Gateway, type GatewayTls } from './entry/gateway/gateway.ts';
import type { GatewayLimits } from './entry/gateway/limits.ts';
import { createHttp, type PolicyHealth } from './entry/http/http.ts';
import { createMetrics, type Metrics } from './entry/http/metrics.ts';
import { answerApproval } from './flow/answer-approval.ts';
import { counted } from './flow/counted-approvals.ts';
import { createGuard } from './flow/guard.ts';
import { startPolicy, type PolicyInForce } from './flow/policy-in-force.ts';
import { Bug } from './lib/assert.ts';
import { systemClock, type Clock } from './lib/clock.ts';
import type { Log } from './lib/log.ts';
import type { Secret } from './lib/secret.ts';
import { loadParser, parserMajors, type Parser } from './lib/pgsql/parser.ts';
import { makeCertificate } from './lib/pgwire/certificate.ts';
import { formatVerifier, makeVerifier, saltBytesDefault } from './lib/pgwire/scram-verifier.ts';
import { randomPool, shortId, sortableId } from './lib/sortable-id.ts';
import { startEmbeddedPostgres } from './remote/embedded-postgres.ts';
import { loadPolicy, policyText as readPolicyText } from './remote/policy-file.ts';
import { watchPolicy } from './remote/policy-watch.ts';
import { loadBuiltinCatalog } from './remote/postgres/builtin-catalog.ts';
import { catalogVersionInside, loadCatalog, loadCatalogInside, prepareCatalogVersion, preparedCatalogVersion } from './remote/postgres/catalog.ts';
import { createCatalogCache, type CatalogCache } from './remote/postgres/catalog-cache.ts';
import { connectLink, type Link } from './remote/postgres/link.ts';
import { createMeasurer, type Measurer } from './remote/postgres/measure.ts';
import { parseConnectionString, type LinkTarget } from './remote/postgres/link-target.ts';
import { createApprovals, type Approvals } from './store/approvals.ts';
import { createBudgets, type Budgets } from './store/budgets.ts';
import { claimFolder, shareClaim } from './store/claim.ts';
import { openDatabase, type StoreDatabase, type StorePlace } from './store/database.ts';
import { createIdentities, type Identities } from './store/identities.ts';
import { createLedger, type Ledger } from './store/ledger.ts';
import { joinNodes, resolveLeft, type Node, type NodeDeps } from './store/nodes.ts';
import { readOrMakeSecretFile } from './store/secret-files.ts';
import { sharedSecret } from './store/shared-secrets.ts';

/** What we remember, without serving anything: all that most commands need. */
export interface Memory {
  readonly database: StoreDatabase;
  readonly ledger: Ledger;
  readonly approvals: Approvals;
  readonly identities: Identities;
  /** Needs an operator's token. */
  answer(token: string, id: string, given: Pick<Answer, 'answer' | 'reason'>): Promise<Approval>;
  close(): Promise<void>;
}

export interface MemoryOptions {
  /** Fail rather than make a new store. */
  readonly isThere?: boolean;
  /** To serve from it, and so to issue permits: the data folder that was claimed for it, and what a log should say. */
  readonly serving?: { readonly dataDir: string; readonly onEvent: NonNullable<NodeDeps['onEvent']>; readonly isWorker?: boolean };
}

/** Throws Failure `store_unavailable`, `data_version` or `not_found`. */
export async function openMemory(place: StorePlace, options: MemoryOptions = {}): Promise<Memory> {
  const database = await openDatabase(place, options);
  try {
    return await remember(database, options);
  } catch (error) {
    await database.close();
    throw error;
  }
}

async function remember(database: StoreDatabase, { serving }: MemoryOptions): Promise<Memory> {
  const clock = systemClock;
  const node = serving === undefined ? undefined : await enterNodes(database, clock, serving);
  const ledger = createLedger({ database, clock, ...(node === undefined ? {} : { node }) });
  const approvals = createApprovals({ database, clock });
  const identities = createIdentities({
    database, clock, randomBytes,
    makeVerifier: async (token) => formatVerifier(await makeVerifier(token, { salt: randomBytes(saltBytesDefault) })),
  });
  return {
    database, ledger, approvals, identities,
    answer: (token, id, given) => answerApproval({ identities, approvals }, token, id, given),
    close: async () => {
      try {
        await ledger.close();
        await node?.leave();
      } finally {
        await database.close();
      }
    },
  };
}

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

/** Of a shipped policy, or of a file. Throws Failure `policy_invalid`. */
export function policyText(nameOrPath: string): ReturnType<typeof readPolicyText> { return readPolicyText(nameOrPath); }

export interface Backstop {
  readonly gateway: Address;
  readonly http: Address;
  /** The one that connections which name none get. */
  readonly database: string;
  readonly policyName: string;
  readonly environment: Config['environment'];
  /** Reads the policy file again. Never rejects because of the file: then the old one stays in force, and the log says why. */
  reloadPolicy(): Promise<void>;
  readonly identities: Identities;
  readonly memory: Memory;
  /** Resolves when something it cannot do without has ended by itself. */
  readonly ended: Promise<Failure>;
  stop(): Promise<void>;
}

export interface Address { readonly address: string; readonly port: number }

export interface StartHooks {
  /** One short sentence for each step that takes time. */
  readonly onProgress: (what: string) => void;
}

/** Serves until `stop`. Throws Failure, with everything stopped again. */
export function startBackstop(config: Config, log: Log, hooks: StartHooks = { onProgress: () => undefined }): Promise<Backstop> {
  return startWhole(log, (started) => startParts(config, log, hooks, started));
}

/** All parts or none: when one fails to start, those before it are stopped again. */
export async function startWhole<Parts extends object>(log: Log, start: (started: Started) => Promise<Parts>): Promise<Parts & Pick<Backstop, 'stop'>> {
  const started: Started = [];
  try {
    return { ...await start(started), stop: () => stopAll(started) };
  } catch (error) {
    await stopAll(started).catch((second: unknown) => { log.error({ error: second }, 'a part could not be stopped'); });
    throw error;
  }
}

/** Every part is stopped, whatever becomes of the others; the first error is thrown at the end. */
export async function stopAll(started: Started): Promise<void> {
  const errors: unknown[] = [];
  for (let last = started.pop(); last !== undefined; last = started.pop()) {
    await last().catch((error: unknown) => { errors.push(error); });
  }
  if (errors.length > 0) throw errors[0];
}

export type Started = (() => Promise<void>)[];

async function startParts(config: Config, log: Log, hooks: StartHooks, started: Started): Promise<Omit<Backstop, 'stop'>> {
  // A mistake in it is told before anything is touched.
  await loadFor(config);
  started.push(claimAlone(config));
  const memory = await openMemory(config.store, { serving: { dataDir: config.dataDir, onEvent: (what, details) => { log.warn(details, what); } } });
  started.push(() => memory.close());
  await memory.ledger.append({ kind: 'admin', what: 'start', by: 'operator', subject: 'backstop', note: null });
  started.push(() => memory.ledger.append({ kind: 'admin', what: 'stop', by: 'operator', subject: 'backstop', note: null }));

  const { target, ended } = await findUpstream(config, hooks, started);
  const { gateway, catalogs, policy, metrics } = await serve(config, log, { memory, target }, started);
  const http = createHttp({
    host: config.http.host, port: config.http.port, metrics, log,
    policy: () => policyHealth(policy, config),
    checks: {
      upstream: async () => { await catalogs.current(target.database, { fresh: true }); },
      store: async () => { await memory.ledger.head(); },
      ledger: () => (memory.ledger.fault === undefined ? Promise.resolve() : Promise.reject(new Failure('ledger_unavailable', 'the record cannot be written'))),
    },
  });
  const httpPort = await http.listen();
  started.push(() => http.close());
  return {
    gateway, http: { address: config.http.host, port: httpPort }, database: target.database,
    policyName: policy.current().name, environment: config.environment, reloadPolicy: async () => { await policy.reload('signal'); }, identities: memory.identities, memory, ended,
  };
}

export interface Served {
  readonly gateway: Address;
  readonly entry: Gateway;
  readonly catalogs: CatalogCache;
  readonly policy: PolicyInForce;
  readonly metrics: Metrics;
}

/** What serves clients, in this process alone or as one of several workers. Throws Failure. */
export async function serve(config: Config, log: Log, { memory, target, fellows }: { readonly memory: Memory; readonly target: LinkTarget; readonly fellows?: Fellows }, started: Started): Promise<Served> {
  const catalogs = createCatalogCache({
    connect: async (database, at) => {
      const link = await connectLink(target, { database, ...(at === undefined ? {} : { at }), parameters: new Map([['application_name', 'backstop'], ['search_path', '']]) });
      warnOfWeakLogin(link, target, log);
      await prepareCatalogVersion(async (sql) => (await link.query(sql)).rows);
      return link;
    },
    loadCatalog, catalogVersion: preparedCatalogVersion, inside: { load: loadCatalogInside, version: catalogVersionInside }, clock: systemClock,
  });
  started.push(() => catalogs.close());
  await catalogs.current(target.database, { fresh: true });

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
  const gateway = createGatewayWithMetrics(config, log, { policy, budgets, memory, target, catalogs, measurer, mockSecret, fellows });
  const address = await gateway.entry.listen();
  started.push(() => gateway.entry.close());
  const watch = await watchPolicy(config.policy, () => policy.reload('file'));
  started.push(() => watch.close());
  return { gateway: address, entry: gateway.entry, catalogs, policy, metrics: gateway.metrics };
}

export function policyHealth(policy: PolicyInForce, { environment }: Config): PolicyHealth {
  return { name: policy.current().name, hash: policy.current().hash, environment, refused: policy.refusal ?? null };
}

/** What an operator should know and can change; the login itself is the server's choice. */
function warnOfWeakLogin({ loginMethod }: Link, { tls }: LinkTarget, log: Log): void {
  if (loginMethod === 'md5') log.warn({}, 'the database server asks for an md5 password, which PostgreSQL is about to drop; set password_encryption to scram-sha-256 and the password anew');
  const isAnybodys = loginMethod === 'password' && (tls.mode === 'prefer' || tls.mode === 'require');
  if (isAnybodys) log.warn({}, 'the database server was sent the password in clear inside TLS, and its certificate is not checked; add sslmode=verify-full and sslrootcert');
}

/** The policy that configuration means, as its file is now. Throws Failure `policy_invalid`. */
export async function loadFor(config: Config): Promise<Policy> {
  const policy = withApprovalTimes(await loadPolicy(config.policy), config.approval);
  refuseSilentObserving(policy, config.environment);
  return policy;
}

/** The server that is guarded, when it is named. */
export function targetOf({ upstream }: Config): LinkTarget {
  if (upstream === undefined) throw new Bug('no server is named');
  return parseConnectionString(upstream.reveal());
}

/** Returns how to let it go. Throws Failure `conflict`. */
export function claimAlone({ dataDir }: Config): () => Promise<void> {
  const claim = claimFolder(dataDir);
  return () => { claim.release(); return Promise.resolve(); };
}

/** Logs in there and out again. Throws Failure. */
export async function checkReachable(target: LinkTarget): Promise<void> {
  await (await connectLink(target, { parameters: new Map([['application_name', 'backstop health']]) })).end();
}

/** As a worker of whoever claimed the data folder. Returns how to let it go. */
export function claimAsWorker({ dataDir }: Config): () => Promise<void> {
  const claim = shareClaim(dataDir);
  return () => { claim.release(); return Promise.resolve(); };
}

/** The server that is guarded: the one that was named, or a PostgreSQL of our own with the demo database. */
export async function findUpstream(config: Config, { onProgress }: StartHooks, started: Started): Promise<{ readonly target: LinkTarget; readonly url: Secret; readonly ended: Promise<Failure> }> {
  if (config.upstream !== undefined) return { target: parseConnectionString(config.upstream.reveal()), url: config.upstream, ended: new Promise(() => undefined) };
  const embedded = await startEmbeddedPostgres({ dataDir: config.dataDir, onProgress });
  started.push(() => embedded.stop());
  return { target: parseConnectionString(embedded.upstream.reveal()), url: embedded.upstream, ended: embedded.ended.then(() => new Failure('upstream_unavailable', 'the embedded PostgreSQL has ended by itself', { hint: `Its log is ${join(config.dataDir, 'postgres.log')}.` })) };
}

interface Parts { readonly policy: PolicyInForce; readonly budgets: Budgets; readonly memory: Memory; readonly target: LinkTarget; readonly catalogs: CatalogCache; readonly measurer: Measurer; readonly mockSecret: Buffer; readonly fellows: Fellows | undefined }

function createGatewayWithMetrics(config: Config, log: Log, { policy, budgets, memory, target, catalogs, measurer, mockSecret, fellows }: Parts): { readonly entry: Gateway; readonly metrics: Metrics } {
  let holds = 0;
  const metrics = createMetrics({
    sessions: () => entry.clients, holds: () => holds,
    waitingReads: () => memory.ledger.waitingReads, isLedgerWritable: () => memory.ledger.fault === undefined, isPolicyRefused: () => policy.refusal !== undefined,
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
    mockSecret, ...(fellows === undefined ? {} : { fellows }),
    newId: (prefix) => sortableId(prefix, ids), clock: systemClock, log,
  });
  return { entry, metrics };
}

async function enterNodes(database: StoreDatabase, clock: Clock, { dataDir, onEvent, isWorker = false }: NonNullable<MemoryOptions['serving']>): Promise<Node> {
  const place = placeOf(dataDir);
  if (!isWorker) await settleTheLastRun(database, dataDir, onEvent);
  return joinNodes({ database, clock, newId: () => sortableId('nod', { nowMs: Date.now, randomBytes }), place, host: hostname(), pid: process.pid, onEvent });
}

/** What earlier runs from this folder left: they are dead, because whoever calls this has claimed it. */
export async function settleTheLastRun(database: StoreDatabase, dataDir: string, onEvent: NonNullable<NodeDeps['onEvent']>): Promise<void> {
  const left = await resolveLeft({ database, clock: systemClock }, { place: placeOf(dataDir) });
  if (left > 0) onEvent('the last run ended without the outcome of some statements; they are recorded as unknown', { permits: left });
}

/** What a worker of ours left that has just died. */
export async function settleWorker(database: StoreDatabase, dataDir: string, pid: number, log: Log): Promise<void> {
  const left = await resolveLeft({ database, clock: systemClock }, { place: placeOf(dataDir), pid });
  if (left > 0) log.warn({ permits: left, pid }, 'a worker ended without the outcome of some statements; they are recorded as unknown');
}

/** A folder keeps its id for as long as it lives, wherever the store is. */
function placeOf(dataDir: string): string {
  return readOrMakeSecretFile(join(dataDir, 'place.id'), () => shortId('plc', { randomBytes }, 20));
}

function parserFor(major: number): ReturnType<typeof loadParser> {
  const known = parserMajors.find((supported) => supported === major);
  if (known !== undefined) return loadParser(known);
  return Promise.reject(new Failure('upstream_unsupported', `The server is PostgreSQL ${major}, for which Backstop has no parser.`));
}

function tlsOf(config: Config): GatewayTls | undefined {
  const own = certificateOf(config);
  const { clientCertificates } = config.gateway;
  if (own === undefined || clientCertificates === undefined) return own;
  const { caFile, crlFile } = clientCertificates;
  return { ...own, clientAuthoritiesPem: readPem(caFile), ...(crlFile === undefined ? {} : { clientRevocationsPem: readPem(crlFile) }) };
}

/** Those that were given. */
function limitsOf({ connections, agentConnections, names, login, firstStatement, stall }: Config['gateway']['limits']): Partial<GatewayLimits> {
  return {
    ...(connections === undefined ? {} : { clientsMax: connections }), ...(agentConnections === undefined ? {} : { clientsPerAgentMax: agentConnections }),
    ...(names === undefined ? {} : { namesMax: names }), ...(login === undefined ? {} : { loginMsMax: login * 1_000 }),
    ...(firstStatement === undefined ? {} : { firstMessageMsMax: firstStatement * 1_000 }), ...(stall === undefined ? {} : { stallMsMax: stall * 1_000 }),
  };
}

function certificateOf({ gateway: { tls, certificate }, dataDir }: Config): { readonly certificatePem: string; readonly privateKeyPem: string } | undefined {
  if (tls === 'off') return undefined;
  if (certificate !== undefined) return { certificatePem: readPem(certificate.certFile), privateKeyPem: readPem(certificate.keyFile) };
  const made = readOrMakeSecretFile(join(dataDir, 'tls', 'server.pem'), () => {
    const { certificatePem, privateKeyPem } = makeCertificate(['localhost', '127.0.0.1', '::1', hostname()], new Date());
    return `${certificatePem}${privateKeyPem}`;
  });
  const [, certificatePem, privateKeyPem] = /^(.*END CERTIFICATE-----\n)(.*)$/s.exec(made) ?? [];
  if (certificatePem === undefined || privateKeyPem === undefined) throw new Failure('config_invalid', `${join(dataDir, 'tls', 'server.pem')} holds no certificate with its key`, { hint: 'Delete the file; the next start makes a new one.' });
  return { certificatePem, privateKeyPem };
}

function readPem(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new Failure('config_invalid', `${path}: cannot be read (${cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error'})`, { cause });
  }
}
