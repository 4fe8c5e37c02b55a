/**
 * Logs in at the guarded server: start-up message, authentication, and what the server tells until it is ready. The
 * password is sent in clear only where nobody else can listen, and a SCRAM login counts only once the server has proved
 * that it knows the password too. One method is gone through, and none that the connection string forbids. Throws Failure;
 * ServerError is its cause where the server said no.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { Failure } from '../../core/failure.ts';
import {
  decodeAuthentication, decodeBackendKeyData, decodeParameterStatus, type BackendKey,
} from '../../lib/pgwire/backend-decode.ts';
import type { AuthenticationRequest } from '../../lib/pgwire/backend-encode.ts';
import { decodeDiagnostic } from '../../lib/pgwire/diagnostic.ts';
import { serverLimits } from '../../lib/pgwire/frame-limits.ts';
import { FrameReader, type Frame } from '../../lib/pgwire/frame-reader.ts';
import { encodePassword, encodeSaslInitialResponse, encodeSaslResponse, encodeStartup } from '../../lib/pgwire/frontend-encode.ts';
import { backendType } from '../../lib/pgwire/message-type.ts';
import { ScramClient } from '../../lib/pgwire/scram-client.ts';
import { scramPlusMechanism } from '../../lib/pgwire/scram-server.ts';
import type { OpenSocket } from './link-socket.ts';
import type { LinkAddress, LinkTarget, LoginMethod } from './link-target.ts';
import { passwordFor } from './link-password.ts';
import { ServerError } from './server-error.ts';

export interface Login {
  readonly method: LoginMethod;
  /** The proof was bound to this TLS connection, so nobody stands between. */
  readonly isBound: boolean;
  readonly parameters: ReadonlyMap<string, string>;
  /** undefined: the server gives none, so nothing can be cancelled there. */
  readonly key: BackendKey | undefined;
  /** Bytes that came after the first ReadyForQuery. */
  readonly rest: Buffer;
}

/** A server that talks longer than this before it is ready is not one. */
const messagesMax = 500;
const loginLengthMax = 1_000_000;
const nonceBytes = 18;

export interface LoginPlace {
  readonly open: OpenSocket;
  readonly target: LinkTarget;
  readonly address: LinkAddress;
}

export async function login(place: LoginPlace, parameters: ReadonlyMap<string, string>, signal: AbortSignal): Promise<Login> {
  const conversation = new Conversation(place.open.socket, signal);
  try {
    place.open.socket.write(encodeStartup(parameters));
    const account = new Account(place, parameters.get('database') ?? '');
    const proof = await authenticate(conversation, account, place);
    return { ...proof, ...await untilReady(conversation) };
  } finally {
    conversation.close();
  }
}

type Proof = Pick<Login, 'method' | 'isBound'>;

/** Answers until AuthenticationOk, which must follow the first method that the server asks for. */
async function authenticate(conversation: Conversation, account: Account, { open, target }: LoginPlace): Promise<Proof> {
  const request = await conversation.authentication();
  const method = methodOf(request);
  checkMethod(method, target);
  let isBound = false;
  switch (request.kind) {
    case 'ok': return { method, isBound };
    case 'cleartext-password':
      if (!open.isPrivate) throw refusedLogin('The database server asks for the password in clear over a connection without TLS.');
      open.socket.write(encodePassword(await account.password()));
      break;
    case 'md5-password': open.socket.write(encodePassword(md5Answer(await account.password(), target.user, request.salt))); break;
    default: isBound = await proveByScram(conversation, account, { open, target, offered: request.kind === 'sasl' ? request.mechanisms : [] });
  }
  const end = await conversation.authentication();
  if (end.kind !== 'ok') throw refusedLogin('The database server asks for a second proof after the first.');
  return { method, isBound };
}

function methodOf(request: AuthenticationRequest): LoginMethod {
  switch (request.kind) {
    case 'ok': return 'none';
    case 'cleartext-password': return 'password';
    case 'md5-password': return 'md5';
    case 'sasl': return 'scram-sha-256';
    case 'sasl-continue':
    case 'sasl-final': throw refusedLogin('The database server continues a login that was not begun.');
  }
}

/** Before anything is answered: a password once sent cannot be taken back. */
function checkMethod(method: LoginMethod, { loginMethods, channelBinding }: LinkTarget): void {
  if (loginMethods !== undefined && !loginMethods.has(method)) {
    throw refusedLogin(`The database server asks for the login method ${method}, which require_auth does not allow.`);
  }
  if (channelBinding === 'require' && method !== 'scram-sha-256') {
    throw refusedLogin(`The database server asks for the login method ${method}, and channel_binding=require needs SCRAM.`);
  }
}

interface ScramOffer extends Pick<LoginPlace, 'open' | 'target'> { readonly offered: readonly string[] }

/** True when the proof was bound to the channel. */
async function proveByScram(conversation: Conversation, account: Account, { open, target, offered }: ScramOffer): Promise<boolean> {
  const binding = target.channelBinding === 'disable' ? undefined : open.channelBinding;
  const scram = ScramClient.choose({
    offered, password: await account.password(), nonce: randomBytes(nonceBytes).toString('base64'),
    ...(binding === undefined ? {} : { channelBinding: binding }),
  });
  if (scram === undefined) throw refusedLogin('The database server offers no login method that is spoken here.');
  const isBound = scram.mechanism === scramPlusMechanism;
  if (target.channelBinding === 'require' && !isBound) throw refusedLogin('The database server cannot bind the login to the TLS connection, and channel_binding=require asks for it.');
  open.socket.write(encodeSaslInitialResponse(scram.mechanism, scram.first()));
  const challenge = await conversation.authentication();
  const answer = challenge.kind === 'sasl-continue' ? await scram.answer(challenge.data) : undefined;
  if (answer === undefined) throw refusedLogin('The database server answers a SCRAM login with something else.');
  open.socket.write(encodeSaslResponse(answer));
  const final = await conversation.authentication();
  if (final.kind !== 'sasl-final' || !scram.isServer(final.data)) {
    throw refusedLogin('What answers there could not prove that it is the database server.');
  }
  return isBound;
}

async function untilReady(conversation: Conversation): Promise<Omit<Login, keyof Proof>> {
  const parameters = new Map<string, string>();
  let key: BackendKey | undefined;
  for (;;) {
    const frame = await conversation.next();
    switch (frame.type) {
      case backendType.parameterStatus: {
        const { name, value } = decodeParameterStatus(frame.body);
        parameters.set(name, value);
        break;
      }
      case backendType.backendKeyData: key = decodeBackendKeyData(frame.body); break;
      case backendType.readyForQuery: return { parameters, key, rest: conversation.takeRest() };
      default: throw refusedLogin('The database server says something unexpected during the login.');
    }
  }
}

class Account {
  readonly #place: LoginPlace;
  readonly #database: string;

  constructor(place: LoginPlace, database: string) {
    this.#place = place;
    this.#database = database;
  }

  async password(): Promise<string> {
    const password = await passwordFor(this.#place.target, this.#place.address, this.#database);
    if (password === undefined) throw refusedLogin('The database server asks for a password, and none is configured.');
    return password;
  }
}

/** md5(md5(password, user), salt), each in hexadecimal; PostgreSQL documentation, AuthenticationMD5Password. */
function md5Answer(password: string, user: string, salt: Buffer): string {
  const md5 = (...parts: readonly (string | Buffer)[]): string => {
    const hash = createHash('md5');
    for (const part of parts) hash.update(part);
    return hash.digest('hex');
  };
  return `md5${md5(md5(password, user), salt)}`;
}

function refusedLogin(message: string): Failure {
  return new Failure('upstream_unavailable', message, { hint: 'An operator must correct the connection string of the database server.' });
}

/** What an ErrorResponse during the login means to us. The server's own text names our user, so it is only the cause. */
function failureOf(error: ServerError): Failure {
  const cause = error;
  switch (error.code) {
    case '3D000': return new Failure('not_found', 'There is no such database on the server.', { cause, hint: 'Name a database that exists.' });
    case '53300': return new Failure('upstream_unavailable', 'The database server has no connection left.', { cause, hint: 'Try again later, or raise max_connections.' });
    case '57P03': return new Failure('upstream_unavailable', 'The database server is starting up or shutting down.', { cause, hint: 'Try again in a moment.' });
    default: return new Failure('upstream_unavailable', `The database server refuses the login (SQLSTATE ${error.code}).`, {
      cause, hint: 'An operator must correct the connection string or the rights of its user.',
    });
  }
}

/** The messages of one login, one at a time; notices are skipped, and an error ends it. */
class Conversation {
  readonly #socket: Socket;
  readonly #signal: AbortSignal;
  readonly #reader = new FrameReader((type) => Math.min(serverLimits(type), loginLengthMax));
  #messages = 0;
  #flaw: unknown;
  #wake: () => void = () => {};
  readonly #onData = (chunk: Buffer): void => { this.#reader.push(chunk); this.#wake(); };
  readonly #onError = (error: Error): void => { this.#stop(error); };
  readonly #onClose = (): void => { this.#stop(new Error('the server closed the connection')); };
  readonly #onAbort = (): void => { this.#stop(this.#signal.reason); };

  constructor(socket: Socket, signal: AbortSignal) {
    this.#socket = socket;
    this.#signal = signal;
    socket.on('data', this.#onData).on('error', this.#onError).on('close', this.#onClose).resume();
    signal.addEventListener('abort', this.#onAbort);
    if (signal.aborted) this.#onAbort();
    else if (socket.destroyed) this.#onClose();
  }

  async next(): Promise<Frame> {
    for (;;) {
      const frame = this.#reader.next();
      if (frame === undefined) {
        if (this.#flaw !== undefined) throw this.#flaw;
        await new Promise<void>((resolve) => { this.#wake = resolve; });
        continue;
      }
      this.#messages += 1;
      if (this.#messages > messagesMax) throw refusedLogin('The database server does not come to the end of the login.');
      if (frame.type === backendType.errorResponse) throw failureOf(new ServerError(decodeDiagnostic(frame.body)));
      if (frame.type !== backendType.noticeResponse) return frame;
    }
  }

  async authentication(): Promise<AuthenticationRequest> {
    const frame = await this.next();
    if (frame.type !== backendType.authentication) throw refusedLogin('The database server leaves out the authentication.');
    return decodeAuthentication(frame.body);
  }

  takeRest(): Buffer { return this.#reader.takeRest(); }

  /** Leaves the socket paused, for its next owner. */
  close(): void {
    this.#socket.pause().off('data', this.#onData).off('error', this.#onError).off('close', this.#onClose);
    this.#signal.removeEventListener('abort', this.#onAbort);
  }

  #stop(flaw: unknown): void {
    this.#flaw ??= flaw;
    this.#wake();
  }
}
