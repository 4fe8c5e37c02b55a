/**
 * The gateway: accepts PostgreSQL clients, logs agents in, gives each a session with an upstream link of its own, and
 * keeps account of who is connected: for cancel requests, for revocations, for the limit, and for the record.
 */
import { constants, randomBytes } from 'node:crypto';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createSecureContext } from 'node:tls';
import { Failure } from '../../core/failure.ts';
import { timeLimitsFrom, type TimeLimits } from '../../core/sql/time-limits.ts';
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
import { CancelKeys, type CancelKey, type CancelPlace } from './cancel.ts';
import type { Guard } from '../../flow/guard.ts';
import type { Catalogs, Protection, SessionContext } from './context.ts';
import type { Unit } from './fate.ts';
import { endLargest } from './hoarding.ts';
import { Judgements, type JudgementCore } from './judgements.ts';
import { Judging } from './judging.ts';
import { closeLock, keepTimeLimits, learnPath } from './learn.ts';
import { drainMsMax, gatewayLimitsDefault, sweepMs, type GatewayLimits } from './limits.ts';
import { Lingering } from './lingering.ts';
import { LoginClock } from './login-clock.ts';
import { login, type KnownAgent, type Login, type LoginDeps, type LoginTls } from './login.ts';
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
  readonly tls: GatewayTls | undefined;
  readonly limits?: Partial<GatewayLimits>;
  /** Other workers on the same port. */
  readonly fellows?: Fellows;
  readonly identities: Pick<Identities, 'findLogin' | 'generationsOf'>;
  /** Who came and went. A connection that cannot be recorded is refused. */
  readonly ledger: Pick<Ledger, 'append'>;
  readonly guard: Guard;
  readonly catalogs: Pick<CatalogCache, 'of'>;
  readonly measure: Measure;
  readonly protection?: Protection;
  readonly core: JudgementCore;
  connect(options: { readonly database: string; readonly parameters: ReadonlyMap<string, string> }): Promise<Link>;
  /** Throws Failure upstream_unsupported for a major without a parser. */
  parserFor(major: number): Promise<Parser>;
  readonly mockSecret: Buffer;
  newId(prefix: 'act' | 'ses'): string;
  readonly clock: Clock;
  readonly log: Log;
}

export interface GatewayTls {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
  /** Authorities whose certificates log agents in; absent: no certificate is asked for. */
  readonly clientAuthoritiesPem?: string;
  /** Their revocation lists. */
  readonly clientRevocationsPem?: string;
}

/** Clients that are in. */
interface Room { readonly own: number; readonly all: number }

/** What one of several workers on one port needs of the others. */
export interface Fellows {
  readonly place: CancelPlace;
  /** Counts a client in; returns how many of its agent, and of all, were in before, wherever they are. */
  enter(agent: string): Promise<Room>;
  leave(agent: string): void;
  /** Passes a cancel request on to the worker of that slot. */
  cancel(slot: number, key: CancelKey): void;
}

export interface Gateway {
  /** Throws Failure port_in_use. */
  listen(): Promise<AddressInfo>;
  /** Takes no new client, lets what runs finish, then ends every session. */
  close(): Promise<void>;
  readonly address: AddressInfo | undefined;
  readonly clients: number;
  /** A cancel request that came to another worker. */
  cancel(key: CancelKey): void;
}

export function createGateway(deps: GatewayDeps): Gateway {
  return new PostgresGateway(deps);
}

interface Client { socket: Socket; agent: KnownAgent | undefined; session: Session | undefined; certificateEndsMs: number | undefined }
type LoggedIn = Extract<Login, { kind: 'agent' }>;

class PostgresGateway implements Gateway {
  readonly #deps: GatewayDeps;
  readonly #server: Server;
  readonly #clients = new Set<Client>();
  readonly #keys: CancelKeys;
  readonly #judgements = new Map<number, Judgements>();
  /** PostgreSQL's own OIDs differ between majors, so each server has its names. */
  readonly #oids = new WeakMap<Catalogs, OidNames>();
  readonly #arrivals: Arrivals;
  readonly #loginDeps: LoginDeps;
  readonly #limits: GatewayLimits;
  readonly #lingering: Lingering;
  #sweepTimer: NodeJS.Timeout | undefined;
  #isCheckingRevoked = false;
  #onEmpty: (() => void) | undefined;

  constructor(deps: GatewayDeps) {
    this.#deps = deps;
    this.#limits = { ...gatewayLimitsDefault, ...deps.limits };
    this.#lingering = new Lingering(this.#limits.stallMsMax);
    this.#keys = new CancelKeys(randomBytes, deps.fellows?.place);
    this.#arrivals = recordArrivals(deps);
    // A client may close its side and still wait for answers.
    this.#server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true, pauseOnConnect: false }, (socket) => { this.#accept(socket); });
    this.#loginDeps = {
      findAgent: (name) => this.#find(name), mockSecret: deps.mockSecret,
      tls: deps.tls === undefined ? undefined : loginTls(deps.tls),
    };
  }

  get address(): AddressInfo | undefined {
    const address = this.#server.address();
    return address !== null && typeof address === 'object' ? address : undefined;
  }

  get clients(): number { return this.#clients.size; }

  cancel(key: CancelKey): void {
    const slot = this.#keys.request(key);
    if (slot !== undefined) this.#deps.fellows?.cancel(slot, key);
  }

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
        this.#sweepTimer = setInterval(() => { this.#sweep(); }, sweepMs);
        const { address } = this;
        if (address === undefined) reject(new Failure('internal', 'The gateway listens but has no address.'));
        else resolve(address);
      });
    });
  }

  async close(): Promise<void> {
    clearInterval(this.#sweepTimer);
    const closed = new Promise<void>((resolve) => { this.#server.close(() => { resolve(); }); });
    for (const client of this.#clients) {
      if (client.session === undefined) client.socket.destroy();
      else client.session.drain();
    }
    await this.#empty(drainMsMax);
    for (const client of this.#clients) client.session?.end(ownErrors.shutDown());
    await this.#empty(drainMsMax);
    for (const client of this.#clients) client.socket.destroy();
    this.#lingering.end(drainMsMax);
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
    const client: Client = { socket, agent: undefined, session: undefined, certificateEndsMs: undefined };
    socket.on('error', () => { /* 'close' follows, and says all there is to say */ });
    if (this.#count(({ agent }) => agent === undefined) >= this.#limits.loginsMax) {
      socket.end(ownErrors.tooManyLogins(this.#limits.loginsMax));
      this.#lingering.add(socket);
      return;
    }
    this.#clients.add(client);
    const clock = new LoginClock(this.#limits, () => client.socket);
    this.#enter(client, clock).catch((error: unknown) => { this.#refuse(client, error); }).finally(() => {
      clock.stop();
      if (client.session === undefined) this.#forget(client);
    });
  }

  #forget(client: Client): void {
    if (!this.#clients.delete(client)) return;
    this.#lingering.add(client.socket);
    if (client.agent !== undefined) this.#deps.fellows?.leave(client.agent.name);
    if (this.#clients.size === 0) this.#onEmpty?.();
  }

  #count(isMeant: (client: Client) => boolean): number {
    let count = 0;
    for (const client of this.#clients) if (isMeant(client)) count += 1;
    return count;
  }

  async #enter(client: Client, clock: LoginClock): Promise<void> {
    const entered = await login(client.socket, this.#loginDeps, {
      onPhase: (phase) => { clock.enter(phase); },
      onSocket: (socket) => {
        client.socket = socket;
        socket.on('error', () => { /* 'close' follows */ });
      },
    });
    clock.stop();
    if (entered.kind === 'cancel') this.cancel(entered.key);
    if (entered.kind !== 'agent') {
      client.socket.end();
      return;
    }
    await this.#takeRoom(client, entered.agent);
    client.certificateEndsMs = entered.certificateEndsMs;
    const { database, startup: { parameters } } = entered;
    const policy = this.#deps.guard.policyFor(entered.agent.name, database);
    // One that only observes changes nothing.
    const timeouts = policy.mode === 'observe' ? {} : policy.timeouts;
    const link = await this.#connect(database, parameters, timeLimitsFrom(timeouts, 0));
    try {
      await this.#begin(client, entered, link, timeLimitsFrom(timeouts, link.serverMajor));
    } catch (error) {
      await link.end();
      throw error;
    }
  }

  /** Asked once it is proved who is there, so that nobody learns it of others, and counted in the same step. */
  async #takeRoom(client: Client, agent: KnownAgent): Promise<void> {
    const { name, connectionsMax } = agent;
    const { fellows } = this.#deps;
    const most = connectionsMax ?? this.#limits.clientsPerAgentMax;
    const here = { own: this.#count((other) => other.agent?.name === name), all: this.#count((other) => other.agent !== undefined) };
    const { own, all } = fellows === undefined ? here : await fellows.enter(name);
    if (own < most && all < this.#limits.clientsMax) { client.agent = agent; return; }
    fellows?.leave(name);
    if (own >= most) throw new Failure('too_many_connections', `too many connections for agent "${name}": ${own} are open, ${most} are allowed`);
    throw new Failure('too_many_connections', `Backstop has as many clients as it takes: ${this.#limits.clientsMax}`);
  }

  /** The limits are the session's own from its start, so that RESET leads back to them. */
  async #connect(database: string, parameters: ReadonlyMap<string, string>, limits: TimeLimits): Promise<Link> {
    const limited = new Map([...parameters, ...[...limits].map(([name, ms]) => [name, String(ms)] as const)]);
    try {
      return await this.#deps.connect({ database, parameters: limited });
    } catch (error) {
      if (error instanceof Failure && error.code === 'not_found') throw new Failure('not_found', `database "${database}" does not exist`, { hint: error.hint, cause: error });
      throw error;
    }
  }

  async #begin(client: Client, entered: LoggedIn, link: Link, limits: TimeLimits): Promise<void> {
    const { socket, database, agent } = entered;
    // As the server told it: what we change for ourselves afterwards is not the client's to see.
    const reported = new Map(link.parameters);
    const catalogs = await this.#deps.catalogs.of(link);
    const context = await this.#contextFor(entered, link, catalogs, limits);
    await keepTimeLimits(link, limits);
    await learnPath(link, context.state, 'idle');
    const catalog = await catalogs.current(database, { fresh: true });
    // What ran at the login has left temporary objects and prepared statements, or not: the server is asked (H35).
    if (catalog.eventTriggers.some(({ event }) => event === 'login')) context.state.areNamesStale = true;
    const arrival = { sessionId: context.sessionId, agent: agent.name, database };
    await this.#arrivals.came(arrival, noteOf(entered));
    // Asked again: it may have been revoked while the connection was made.
    if (socket.destroyed || (await this.#find(agent.name))?.generation !== agent.generation) {
      await this.#arrivals.left(arrival);
      throw new Failure('authentication_failed', `password authentication failed for user "${agent.name}"`);
    }
    const session = new Session({
      socket, link, context, log: this.#deps.log, stallMsMax: this.#limits.stallMsMax, firstMessageMsMax: this.#limits.firstMessageMsMax,
      onEnd: () => { this.#keys.withdraw(key); this.#forget(client); void this.#arrivals.left(arrival); },
    });
    const key = this.#keys.issue(entered.minor >= 2 ? 32 : 4, () => { session.cancel(); });
    client.session = session;
    socket.write(Buffer.concat([
      ...[...reported].map(([name, value]) => encodeParameterStatus(name, value)),
      encodeBackendKeyData(key.processId, key.secretKey), encodeReadyForQuery('idle'),
    ]));
    session.start(entered.rest);
  }

  async #contextFor(entered: LoggedIn, link: Link, catalogs: Catalogs, limits: TimeLimits): Promise<SessionContext> {
    const { guard, newId, clock, measure } = this.#deps;
    const registry = new Registry<Unit>(this.#limits.namesMax);
    const oids = this.#oids.get(catalogs) ?? createOidNames(catalogs);
    this.#oids.set(catalogs, oids);
    const state = new SessionState(registry, '', this.#deps.core.nextSession, limits);
    return {
      actor: { kind: 'agent', name: entered.agent.name }, sessionId: newId('ses'), database: entered.database, serverEncoding: link.parameters.get('server_encoding') ?? '',
      guard, catalogs, oids, protection: this.#deps.protection, judgements: await this.#judgementsFor(link.serverMajor), judging: new Judging(), registry,
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
    if (found === undefined) return undefined;
    const verifier = found.login === 'token' ? parseVerifier(found.verifier) : undefined;
    if (found.login === 'token' && verifier === undefined) return undefined;
    return { name: found.name, verifier, database: found.database, generation: found.generation, connectionsMax: found.connectionsMax };
  }

  #sweep(): void {
    const now = this.#deps.clock.now().getTime();
    for (const { session, certificateEndsMs } of this.#clients) {
      session?.endIfStalled();
      if (certificateEndsMs !== undefined && certificateEndsMs <= now) session?.end(ownErrors.certificateEnded());
    }
    endLargest([...this.#clients].flatMap(({ session }) => session ?? []), this.#limits.heldBytesMax);
    void this.#endRevoked();
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
    if (error instanceof Failure) socket.end(errorOf(this.#forClients(error), 'FATAL'));
    else if (error instanceof ProtocolError) socket.end(errorOf(new Failure('protocol_violation', `Backstop cannot read the start-up: ${error.message}`), 'FATAL'));
    else {
      this.#deps.log.error({ error }, 'a login ended by a fault');
      socket.end(errorOf(new Failure('internal', 'Backstop could not start the session because of a fault of its own.'), 'FATAL'));
    }
    socket.destroySoon();
  }

  /** Where the store is, is for operators. */
  #forClients(failure: Failure): Failure {
    if (failure.code !== 'store_unavailable') return failure;
    this.#deps.log.error({ error: failure }, 'a login ended because the store cannot be used');
    return new Failure('ledger_unavailable', 'Backstop cannot reach its record, so nobody can log in');
  }
}

/** A session that is resumed would skip the checks of a certificate, so none is, as PostgreSQL does it. */
function loginTls({ certificatePem, privateKeyPem, clientAuthoritiesPem, clientRevocationsPem }: GatewayTls): LoginTls {
  return {
    context: createSecureContext({
      cert: certificatePem, key: privateKeyPem, minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
      ...(clientAuthoritiesPem === undefined ? {} : { ca: clientAuthoritiesPem }), ...(clientRevocationsPem === undefined ? {} : { crl: clientRevocationsPem }),
    }),
    channelBinding: serverEndPoint(certificatePem), asksForCertificate: clientAuthoritiesPem !== undefined,
  };
}

/** What the record says of a connection: where from and how. */
function noteOf({ socket, isEncrypted, startup, certificateEndsMs }: LoggedIn): string {
  const application = startup.parameters.get('application_name') ?? '';
  return `from ${socket.remoteAddress ?? 'unknown'}, ${isEncrypted ? 'encrypted' : 'not encrypted'}${certificateEndsMs === undefined ? '' : ', by certificate'}${application === '' ? '' : `, application ${application}`}`;
}
