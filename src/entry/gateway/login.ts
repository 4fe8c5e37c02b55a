/**
 * Login: from an accepted socket to an authenticated agent. TLS when asked for and configured, nothing accepted between
 * that request and the handshake; SCRAM-SHA-256 against the agent's stored verifier, at the same cost for a name that
 * does not exist; the database that the agent may use. Throws Failure for what the client is told, ProtocolError for
 * what is no start-up at all.
 */
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { TLSSocket, type SecureContext } from 'node:tls';
import { Failure } from '../../core/failure.ts';
import { acceptByte, encodeAuthentication, encodeNegotiateProtocolVersion, refuseByte } from '../../lib/pgwire/backend-encode.ts';
import { FrameReader, type Frame } from '../../lib/pgwire/frame-reader.ts';
import { loginLimits } from '../../lib/pgwire/frame-limits.ts';
import { decodeSaslInitialResponse } from '../../lib/pgwire/frontend-decode.ts';
import { ProtocolError } from '../../lib/pgwire/protocol-error.ts';
import { mockVerifier, ScramServer } from '../../lib/pgwire/scram-server.ts';
import type { ScramVerifier } from '../../lib/pgwire/scram-verifier.ts';
import { protocolMinorMax, StartupReader, type StartupMessage, type StartupPacket } from '../../lib/pgwire/startup-reader.ts';
import { ChunkSource } from './chunk-source.ts';
import { clientCertificate } from './client-certificate.ts';
import type { CancelKey } from './cancel.ts';
import { readStartupParameters, type UpstreamStartup } from './startup-parameters.ts';

const alpn = 'postgresql';

/** An agent as the gateway needs to know it. */
export interface KnownAgent {
  readonly name: string;
  /** undefined: it has no token and comes with a certificate. */
  readonly verifier: ScramVerifier | undefined;
  /** The only database that it may use; null: any. */
  readonly database: string | null;
  /** Counts its tokens: a session that logged in with an older one must end. */
  readonly generation: number;
  /** Connections at once; null: as any agent. */
  readonly connectionsMax: number | null;
}

export interface LoginDeps {
  /** undefined: no such agent, or a revoked one. */
  readonly findAgent: (name: string) => Promise<KnownAgent | undefined>;
  readonly tls: LoginTls | undefined;
  /** Makes verifiers of agents that do not exist; secret, and the same as long as the installation lives. */
  readonly mockSecret: Buffer;
}

export interface LoginTls {
  readonly context: SecureContext;
  /** tls-server-end-point */
  readonly channelBinding: Buffer | undefined;
  /** There is an authority whose certificates log agents in. */
  readonly asksForCertificate: boolean;
}

/** What a client is waited for; each has a time limit. */
export type LoginPhase = 'first-byte' | 'tls' | 'login';

export type Login =
  | { readonly kind: 'cancel'; readonly key: CancelKey }
  /** The client went away without a word, as port checks do. */
  | { readonly kind: 'gone' }
  | {
    readonly kind: 'agent'; readonly agent: KnownAgent; readonly database: string; readonly startup: UpstreamStartup;
    /** The socket to go on with: the encrypted one if there is one. */
    readonly socket: Socket; readonly minor: number; readonly rest: Buffer; readonly isEncrypted: boolean;
    /** When the certificate that it came with ends. */
    readonly certificateEndsMs: number | undefined;
  };

export interface LoginHooks {
  /** The encrypted socket stands for the connection from now on. */
  readonly onSocket: (socket: Socket) => void;
  readonly onPhase: (phase: LoginPhase) => void;
}

export async function login(raw: Socket, deps: LoginDeps, { onSocket, onPhase }: LoginHooks): Promise<Login> {
  const reader = new StartupReader();
  let socket = raw;
  const secure = async (tls: LoginTls, received: Buffer): Promise<void> => {
    onPhase('tls');
    socket = await encrypt(socket, tls, received);
    onSocket(socket);
    onPhase('login');
    reader.encrypted();
  };
  onPhase('first-byte');
  for (;;) {
    const packet = await nextPacket(socket, reader, () => { onPhase('login'); });
    if (packet === undefined) return { kind: 'gone' };
    switch (packet.kind) {
      case 'gss-request': socket.write(refuseByte); break;
      case 'ssl-request':
        if (deps.tls === undefined) socket.write(refuseByte);
        else {
          socket.write(acceptByte);
          await secure(deps.tls, Buffer.alloc(0));
        }
        break;
      case 'direct-tls':
        if (deps.tls === undefined) throw new ProtocolError('type', 'TLS is switched off here');
        await secure(deps.tls, reader.takeRest());
        // Without it a handshake made for another protocol could be turned to this one; PostgreSQL demands it as well.
        if (!(socket instanceof TLSSocket) || socket.alpnProtocol !== alpn) throw new ProtocolError('type', `a direct TLS connection must agree on the protocol "${alpn}" (ALPN)`);
        break;
      case 'cancel': return { kind: 'cancel', key: packet };
      case 'startup': return authenticate(socket, packet, reader.takeRest(), deps);
    }
  }
}

async function nextPacket(socket: Socket, reader: StartupReader, onByte: () => void): Promise<StartupPacket | undefined> {
  const chunks = new ChunkSource(socket);
  for (;;) {
    const chunk = await chunks.next();
    if (chunk === undefined) return undefined;
    onByte();
    const packet = reader.push(chunk);
    if (packet !== undefined) return packet;
  }
}

function encrypt(socket: Socket, { context: secureContext, asksForCertificate }: LoginTls, received: Buffer): Promise<Socket> {
  if (received.length > 0) socket.unshift(received);
  // A certificate that is no good ends the login in words, not the handshake in an alert that nobody understands.
  const secured = new TLSSocket(socket, { isServer: true, secureContext, ALPNProtocols: [alpn], requestCert: asksForCertificate, rejectUnauthorized: false });
  return new Promise((resolve, reject) => {
    const failed = (error?: Error): void => { reject(new ProtocolError('malformed', `the TLS handshake failed${error === undefined ? '' : `: ${error.message}`}`, { isFatal: true })); };
    const closed = (): void => { failed(); };
    secured.once('error', failed).once('close', closed).once('secure', () => {
      secured.off('error', failed).off('close', closed);
      resolve(secured);
    });
  });
}

async function authenticate(socket: Socket, message: StartupMessage, received: Buffer, deps: LoginDeps): Promise<Login> {
  if (message.mustNegotiate) socket.write(encodeNegotiateProtocolVersion(protocolMinorMax, message.unknownOptions));
  const startup = readStartupParameters(message.parameters);
  const isEncrypted = socket instanceof TLSSocket;
  const frames = new LoginFrames(socket, received);
  const certificate = clientCertificate(socket);
  if (certificate.kind === 'rejected') throw certificateRefused(`the client certificate is not accepted: ${certificate.why}`);
  const found = await deps.findAgent(startup.user);
  const isByCertificate = found !== undefined && found.verifier === undefined && certificate.kind === 'accepted';
  if (isByCertificate && !certificate.names(found.name)) throw certificateRefused(`certificate authentication failed for user "${startup.user}"`);
  if (isByCertificate) socket.write(encodeAuthentication({ kind: 'ok' }));
  const agent = isByCertificate ? found : await prove(socket, frames, { user: startup.user, agent: found }, deps, isEncrypted ? deps.tls?.channelBinding : undefined);
  if (agent === undefined) return { kind: 'gone' };
  return {
    kind: 'agent', agent, startup, socket, isEncrypted, minor: message.minor, rest: frames.takeRest(),
    certificateEndsMs: isByCertificate ? certificate.endsMs : undefined,
    database: allowedDatabase(agent, startup.database ?? agent.database ?? startup.user),
  };
}

/** An agent without a token fails here like one that does not exist. undefined: the client went away in between. */
async function prove(
  socket: Socket, frames: LoginFrames, { user, agent }: { readonly user: string; readonly agent: KnownAgent | undefined }, deps: LoginDeps, channelBinding: Buffer | undefined,
): Promise<KnownAgent | undefined> {
  const scram = new ScramServer({
    verifier: agent?.verifier, nonce: randomBytes(24).toString('base64'), ...(channelBinding === undefined ? {} : { channelBinding }),
  }, mockVerifier(user, deps.mockSecret));
  socket.write(encodeAuthentication({ kind: 'sasl', mechanisms: scram.mechanisms() }));
  const initial = await frames.next();
  if (initial === undefined) return undefined;
  const { mechanism, data } = decodeSaslInitialResponse(initial.body);
  const first = scram.first(mechanism, data);
  if (first.kind === 'malformed') throw malformed(first.flaw);
  socket.write(encodeAuthentication({ kind: 'sasl-continue', data: first.data }));
  const answer = await frames.next();
  if (answer === undefined) return undefined;
  const end = scram.final(answer.body);
  if (end.kind === 'malformed') throw malformed(end.flaw);
  if (end.kind === 'refused' || agent === undefined) throw new Failure('authentication_failed', `password authentication failed for user "${user}"`);
  socket.write(Buffer.concat([encodeAuthentication({ kind: 'sasl-final', data: end.data }), encodeAuthentication({ kind: 'ok' })]));
  return agent;
}

function allowedDatabase(agent: KnownAgent, database: string): string {
  if (agent.database === null || agent.database === database) return database;
  throw new Failure('not_permitted', `Agent "${agent.name}" may use the database "${agent.database}" only, not "${database}".`, {
    hint: `Connect to the database "${agent.database}", or ask an operator for an agent of the other one.`,
  });
}

function certificateRefused(message: string): Failure {
  return new Failure('authentication_failed', message, { hint: 'Its common name, or a DNS name in it, must be the agent\'s name, and an authority that Backstop was given must have issued it.' });
}

function malformed(flaw: string): ProtocolError {
  return new ProtocolError('malformed', `the login holds ${flaw}`, { isFatal: true });
}

/** Tagged messages during the login. */
class LoginFrames {
  readonly #reader = new FrameReader(loginLimits);
  readonly #chunks: ChunkSource;

  constructor(socket: Socket, received: Buffer) {
    this.#chunks = new ChunkSource(socket);
    this.#reader.push(received);
  }

  async next(): Promise<Frame | undefined> {
    for (;;) {
      const frame = this.#reader.next();
      if (frame !== undefined) return frame;
      const chunk = await this.#chunks.next();
      if (chunk === undefined) return undefined;
      this.#reader.push(chunk);
    }
  }

  takeRest(): Buffer { return this.#reader.takeRest(); }
}
