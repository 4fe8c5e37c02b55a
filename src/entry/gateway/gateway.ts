/**
 * The gateway: accepts PostgreSQL clients, logs agents in, gives each a session with an upstream link of its own, and
 * keeps account of who is connected: for cancel requests, for revocations, for the limit, and for the record.
 */
import { randomBytes } from 'node:crypto';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createSecureContext } from 'node:tls';
import { Failure } from '../../core/failure.ts';
import { noTimeLimits, timeLimitsFrom, type TimeLimits } from '../../core/sql/time-limits.ts';
import type { Parser } from '../../lib/pgsql/parser.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import { encodeBackendKeyData, encodeParameterStatus, encodeReadyForQuery } from '../../lib/pgwire/backend-encode.ts';
import { serverEndPoint } from '../../lib/pgwire/channel-binding.ts';
import { ProtocolError } from '../../lib/pgwire/protocol-error.ts';
import { parseVerifier } from '../../lib/pgwire/scram-verifier.ts';
import type { CatalogCache } from '../../remote/postgres/catalog-cache.ts';
import type { Measure } from '../../remote/postgres/measure.ts';
import type { Link } from '../../remote/postgres/link.ts';
import type { Identities } from '../../store/identities.ts';
import type { Ledger } from '../../store/ledger.ts';
import { recordArrivals, type Arrivals } from './arrivals.ts';
import { CancelKeys } from './cancel.ts';
import type { Guard } from '../../flow/guard.ts';
import type { Catalogs, SessionContext } from './context.ts';
import type { Unit } from './fate.ts';
import { Judgements, type JudgementCore } from './judgements.ts';
import { closeLock, keepTimeLimits, learnPath } from './learn.ts';
import { clientsMaxDefault, drainMsMax, revocationCheckMs, startupMsMax } from './limits.ts';
import { login, type KnownAgent, type Login, type LoginDeps } from './login.ts';
import { createOidNames, type OidNames } from './oid-names.ts';
import { errorOf, ownErrors } from './refuse.ts';
import { Registry } from './registry.ts';
import { Session } from './session.ts';
import { SessionState } from './session-state.ts';
import { TransactionCatalog } from './transaction-catalog.ts';

export interface GatewayDeps {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly tls: { readonly certificatePem: string; readonly privateKeyPem: string } | undefined;
  readonly clientsMax?: number;
  readonly identities: Pick<Identities, 'findLogin' | 'generationsOf'>;
  /** Who came and went. A connection that cannot be recorded is refused. */
  readonly ledger: Pick<Ledger, 'append'>;
  readonly guard: Guard;
  readonly catalogs: Pick<CatalogCache, 'of'>;
  readonly measure: Measure;
  readonly core: JudgementCore;
  connect(options: { readonly database: string; readonly parameters: ReadonlyMap<string, string> }): Promise<Link>;
  /** Throws Failure upstream_unsupported for a major without a parser. */
  parserFor(major: number): Promise<Parser>;
  readonly mockSecret: Buffer;
  newId(prefix: 'act' | 'ses'): string;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Gateway {
  /** Throws Failure port_in_use. */
  listen(): Promise<AddressInfo>;
  /** Takes no new client, lets what runs finish, then ends every session. */
  close(): Promise<void>;
  readonly address: AddressInfo | undefined;
  readonly clients: number;
}

export function createGateway(deps: GatewayDeps): Gateway {
  return new PostgresGateway(deps);
}

interface Client { socket: Socket; agent: KnownAgent | undefined; session: Session | undefined }
type LoggedIn = Extract<Login, { kind: 'agent' }>;

class PostgresGateway implements Gateway {
  readonly #deps: GatewayDeps;
  readonly #server: Server;
  readonly #clients = new Set<Client>();
  readonly #keys = new CancelKeys(randomBytes);
  readonly #judgements = new Map<number, Judgements>();
  /** PostgreSQL's own OIDs differ between majors, so each server has its names. */
  readonly #oids = new WeakMap<Catalogs, OidNames>();
  readonly #arrivals: Arrivals;
  readonly #loginDeps: LoginDeps;
  #revocationTimer: NodeJS.Timeout | undefined;
  #isCheckingRevoked = false;
  #onEmpty: (() => void) | undefined;

  constructor(deps: GatewayDeps) {
    this.#deps = deps;
    this.#arrivals = recordArrivals(deps);
    // A client may close its side and still wait for answers.
    this.#server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true, pauseOnConnect: false }, (socket) => { this.#accept(socket); });
    this.#loginDeps = {
      findAgent: (name) => this.#find(name), mockSecret: deps.mockSecret,
      tls: deps.tls === undefined ? undefined : {
        context: createSecureContext({ cert: deps.tls.certificatePem, key: deps.tls.privateKeyPem, minVersion: 'TLSv1.2' }),
        channelBinding: serverEndPoint(deps.tls.certificatePem),
      },
    };
  }

  get address(): AddressInfo | undefined {
    const address = this.#server.address();
    return address !== null && typeof address === 'object' ? address : undefined;
  }

  get clients(): number { return this.#clients.size; }

  listen(): Promise<AddressInfo> {
    const { host, port } = this.#deps;
    return new Promise((resolve, reject) => {
      const failed = (error: NodeJS.ErrnoException): void => {
        reject(new Failure('port_in_use', `The gateway cannot listen on ${host}:${port} (${error.code ?? error.message}).`, { cause: error }));
      };
      this.#server.once('error', failed);
      this.#server.listen(port, host, () => {
        this.#server.off('error', failed);
        this.#server.on('error', (error) => { this.#deps.log.error({ error }, 'the gateway cannot accept a connection'); });
        this.#revocationTimer = setInterval(() => { void this.#endRevoked(); }, revocationCheckMs);
        const { address } = this;
        if (address === undefined) reject(new Failure('internal', 'The gateway listens but has no address.'));
        else resolve(address);
      });
    });
  }

  async close(): Promise<void> {
    clearInterval(this.#revocationTimer);
    const closed = new Promise<void>((resolve) => { this.#server.close(() => { resolve(); }); });
    for (const client of this.#clients) {
      if (client.session === undefined) client.socket.destroy();
      else client.session.drain();
    }
    await this.#empty(drainMsMax);
    for (const client of this.#clients) client.session?.end(ownErrors.shutDown());
    await this.#empty(drainMsMax);
    for (const client of this.#clients) client.socket.destroy();
    await closed;
  }

  #empty(msMax: number): Promise<void> {
    if (this.#clients.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, msMax);
      this.#onEmpty = () => { clearTimeout(timer); resolve(); };
    });
  }

  #accept(socket: Socket): void {
    const client: Client = { socket, agent: undefined, session: undefined };
    socket.on('error', () => { /* 'close' follows, and says all there is to say */ });
    if (this.#clients.size >= (this.#deps.clientsMax ?? clientsMaxDefault)) {
      socket.end(ownErrors.tooManyClients());
      return;
    }
    this.#clients.add(client);
    const timer = setTimeout(() => { client.socket.destroy(); socket.destroy(); }, startupMsMax);
    this.#enter(client).catch((error: unknown) => { this.#refuse(client, error); }).finally(() => {
      clearTimeout(timer);
      if (client.session === undefined) this.#forget(client);
    });
  }

  #forget(client: Client): void {
    this.#clients.delete(client);
    if (this.#clients.size === 0) this.#onEmpty?.();
  }

  async #enter(client: Client): Promise<void> {
    const entered = await login(client.socket, this.#loginDeps, (socket) => {
      client.socket = socket;
      socket.on('error', () => { /* 'close' follows */ });
    });
    if (entered.kind === 'cancel') this.#keys.request(entered.key);
    if (entered.kind !== 'agent') {
      client.socket.end();
      return;
    }
    client.agent = entered.agent;
    const { database, startup: { parameters } } = entered;
    const { timeouts } = this.#deps.guard.policyFor(entered.agent.name, database);
    const link = await this.#connect(database, parameters, timeLimitsFrom(timeouts, 0));
    try {
      await this.#begin(client, entered, link, timeLimitsFrom(timeouts, link.serverMajor));
    } catch (error) {
      await link.end();
      throw error;
    }
  }

  /** The limits are the session's own from its start, so that RESET leads back to them, unless a pooler knows no such parameters. */
  async #connect(database: string, parameters: ReadonlyMap<string, string>, limits: TimeLimits): Promise<Link> {
    const limited = new Map([...parameters, ...[...limits].map(([name, ms]) => [name, String(ms)] as const)]);
    try {
      return await this.#deps.connect({ database, parameters: limited });
    } catch (error) {
      if (limits.size > 0 && refusesParameters(error)) return this.#connect(database, parameters, noTimeLimits);
      if (error instanceof Failure && error.code === 'not_found') throw new Failure('not_found', `database "${database}" does not exist`, { hint: error.hint, cause: error });
      throw error;
    }
  }

  async #begin(client: Client, entered: LoggedIn, link: Link, limits: TimeLimits): Promise<void> {
    const { socket, database, agent } = entered;
    const catalogs = await this.#deps.catalogs.of(link);
    const context = await this.#contextFor(entered, link, catalogs, limits);
    await keepTimeLimits(link, limits);
    await learnPath(link, context.state, 'idle');
    await catalogs.current(database, { fresh: true });
    const arrival = { sessionId: context.sessionId, agent: agent.name, database };
    await this.#arrivals.came(arrival, noteOf(entered));
    // Asked again: it may have been revoked while the connection was made.
    if (socket.destroyed || (await this.#find(agent.name))?.generation !== agent.generation) {
      await this.#arrivals.left(arrival);
      throw new Failure('authentication_failed', `password authentication failed for user "${agent.name}"`);
    }
    const session = new Session({
      socket, link, context, log: this.#deps.log,
      onEnd: () => { this.#keys.withdraw(key); this.#forget(client); void this.#arrivals.left(arrival); },
    });
    const key = this.#keys.issue(entered.minor >= 2 ? 32 : 4, () => { session.cancel(); });
    client.session = session;
    socket.write(Buffer.concat([
      ...[...link.parameters].map(([name, value]) => encodeParameterStatus(name, value)),
      encodeBackendKeyData(key.processId, key.secretKey), encodeReadyForQuery('idle'),
    ]));
    session.start(entered.rest);
  }

  async #contextFor(entered: LoggedIn, link: Link, catalogs: Catalogs, limits: TimeLimits): Promise<SessionContext> {
    const { guard, newId, clock, measure } = this.#deps;
    const registry = new Registry<Unit>();
    const oids = this.#oids.get(catalogs) ?? createOidNames(catalogs);
    this.#oids.set(catalogs, oids);
    const state = new SessionState(registry, '', this.#deps.core.nextSession, limits);
    return {
      actor: { kind: 'agent', name: entered.agent.name }, sessionId: newId('ses'), database: entered.database,
      guard, catalogs, oids, judgements: await this.#judgementsFor(link.serverMajor), registry,
      measure: (request) => measure({ ...request, database: entered.database, address: link.address, processId: link.processId }),
      state, ownCatalog: new TransactionCatalog({ link, state, inside: catalogs.inside, nowMs: () => clock.monotonicMs() }), lock: await closeLock(link), newActionId: () => newId('act'), nowMs: () => clock.monotonicMs(),
    };
  }

  async #judgementsFor(major: number): Promise<Judgements> {
    const known = this.#judgements.get(major);
    if (known !== undefined) return known;
    const made = new Judgements(this.#deps.core, await this.#deps.parserFor(major));
    this.#judgements.set(major, made);
    return made;
  }

  async #find(name: string): Promise<KnownAgent | undefined> {
    const found = await this.#deps.identities.findLogin(name);
    const verifier = found === undefined ? undefined : parseVerifier(found.verifier);
    if (found === undefined || verifier === undefined) return undefined;
    return { name: found.name, verifier, database: found.database, generation: found.generation };
  }

  /** Tokens are revoked and replaced by other processes too, so the store is asked about every agent that is here. */
  async #endRevoked(): Promise<void> {
    const names = new Set([...this.#clients].flatMap(({ agent }) => (agent === undefined ? [] : [agent.name])));
    if (names.size === 0 || this.#isCheckingRevoked) return;
    this.#isCheckingRevoked = true;
    try {
      const generations = await this.#deps.identities.generationsOf([...names]);
      for (const { agent, session, socket } of this.#clients) {
        // Who logged in meanwhile was not asked about.
        if (agent === undefined || !names.has(agent.name) || generations.get(agent.name) === agent.generation) continue;
        if (session === undefined) socket.destroy();
        else session.end(ownErrors.revoked());
      }
    } catch (error) {
      this.#deps.log.warn({ error }, 'whether an agent was revoked could not be read');
    } finally {
      this.#isCheckingRevoked = false;
    }
  }

  /** The start-up ends here; what the client is told never quotes more than it sent itself. */
  #refuse(client: Client, error: unknown): void {
    const { socket } = client;
    if (error instanceof Failure && error.code === 'authentication_failed') void this.#arrivals.refused(socket.remoteAddress ?? 'unknown', error.message);
    if (error instanceof Failure) socket.end(errorOf(error, 'FATAL'));
    else if (error instanceof ProtocolError) socket.end(errorOf(new Failure('protocol_violation', `Backstop cannot read the start-up: ${error.message}`), 'FATAL'));
    else {
      this.#deps.log.error({ error }, 'a login ended by a fault');
      socket.end(errorOf(new Failure('internal', 'Backstop could not start the session because of a fault of its own.'), 'FATAL'));
    }
    socket.destroySoon();
  }
}

/** What the record says of a connection: where from and how. */
function noteOf({ socket, isEncrypted, startup }: LoggedIn): string {
  const application = startup.parameters.get('application_name') ?? '';
  return `from ${socket.remoteAddress ?? 'unknown'}, ${isEncrypted ? 'encrypted' : 'not encrypted'}${application === '' ? '' : `, application ${application}`}`;
}

/** PgBouncer's answer to a start-up parameter that it does not track. */
function refusesParameters(error: unknown): boolean {
  const cause = error instanceof Failure ? error.cause : undefined;
  return typeof cause === 'object' && cause !== null && 'code' in cause && cause.code === '08P01';
}
