/**
 * ScramServer: the server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), with channel binding when given the data of
 * tls-server-end-point. One object for one login: `first`, then `final`. A user who does not exist is walked through the
 * same steps with a made-up verifier, at the same cost, and fails at the end like a wrong password. Salt and nonce are
 * arguments, so there is no hidden input.
 *
 *   mechanisms() → client picks one → first(mechanism, data) → final(data) → accepted | refused
 */
import { timingSafeEqual } from 'node:crypto';
import { assert } from '../assert.ts';
import { isNonce, readClientFinal, readClientFirst, type ClientFirst } from './scram-message.ts';
import { hash, hmac, iterationsDefault, saltBytesDefault, xor, type ScramVerifier } from './scram-verifier.ts';

export const scramMechanism = 'SCRAM-SHA-256';
export const scramPlusMechanism = 'SCRAM-SHA-256-PLUS';
export const bindingType = 'tls-server-end-point';

export interface ScramServerOptions {
  /** undefined: no such user. */
  readonly verifier: ScramVerifier | undefined;
  /** Unguessable, fresh for each login, printable without commas, e.g. 24 random bytes in base64. */
  readonly nonce: string;
  /** Hash of our certificate when the connection is encrypted; offers SCRAM-SHA-256-PLUS. */
  readonly channelBinding?: Buffer;
}

export type ScramStep =
  | { readonly kind: 'continue'; readonly data: Buffer }
  /** The message was not SCRAM, or its channel binding is wrong; not a wrong password. */
  | { readonly kind: 'malformed'; readonly flaw: string };

export type ScramEnd =
  | { readonly kind: 'accepted'; readonly data: Buffer }
  | { readonly kind: 'refused' }
  | { readonly kind: 'malformed'; readonly flaw: string };

export class ScramServer {
  readonly #options: ScramServerOptions;
  readonly #verifier: ScramVerifier;
  #first: { readonly client: ClientFirst; readonly nonce: string; readonly server: string } | undefined;

  constructor(options: ScramServerOptions, mock: ScramVerifier) {
    assert(isNonce(options.nonce), 'a server nonce has an unusual length');
    this.#options = options;
    this.#verifier = options.verifier ?? mock;
  }

  /** In the order of preference. */
  mechanisms(): readonly string[] {
    return this.#options.channelBinding === undefined ? [scramMechanism] : [scramPlusMechanism, scramMechanism];
  }

  first(mechanism: string, data: Buffer | null): ScramStep {
    assert(this.#first === undefined, 'a SCRAM login is begun twice');
    if (!this.mechanisms().includes(mechanism)) return { kind: 'malformed', flaw: 'a mechanism that was not offered' };
    const client = data === null ? undefined : readClientFirst(data);
    if (client === undefined) return { kind: 'malformed', flaw: 'a first message that is not SCRAM' };
    const flaw = flagFlaw(client, mechanism, this.#options.channelBinding !== undefined);
    if (flaw !== undefined) return { kind: 'malformed', flaw };
    const nonce = client.nonce + this.#options.nonce;
    const server = `r=${nonce},s=${this.#verifier.salt.toString('base64')},i=${this.#verifier.iterations}`;
    this.#first = { client, nonce, server };
    return { kind: 'continue', data: Buffer.from(server) };
  }

  final(data: Buffer): ScramEnd {
    const first = this.#first;
    assert(first !== undefined, 'a SCRAM login is ended before it is begun');
    this.#first = undefined;
    const final = readClientFinal(data);
    if (final === undefined || final.nonce !== first.nonce) return { kind: 'malformed', flaw: 'a final message that does not belong to the first' };
    if (!final.binding.equals(this.#expectedBinding(first.client))) return { kind: 'malformed', flaw: 'a channel binding that is not this channel' };

    const signed = `${first.client.bare},${first.server},${final.withoutProof}`;
    const clientKey = xor(final.proof, hmac(this.#verifier.storedKey, signed));
    const isProved = timingSafeEqual(hash(clientKey), this.#verifier.storedKey);
    const signature = hmac(this.#verifier.serverKey, signed);
    // Only here is it asked whether the user exists: all the work above was done either way.
    if (!isProved || this.#options.verifier === undefined) return { kind: 'refused' };
    return { kind: 'accepted', data: Buffer.from(`v=${signature.toString('base64')}`) };
  }

  #expectedBinding(client: ClientFirst): Buffer {
    const header = Buffer.from(client.header);
    const { channelBinding } = this.#options;
    return client.flag.kind === 'bound' && channelBinding !== undefined ? Buffer.concat([header, channelBinding]) : header;
  }
}

/**
 * A verifier for a user who does not exist. The salt follows from the name and a secret of the installation, so that
 * asking twice shows the same salt, as it would for a real user.
 */
export function mockVerifier(userName: string, secret: Buffer): ScramVerifier {
  return {
    iterations: iterationsDefault, salt: hmac(secret, `salt of ${userName}`).subarray(0, saltBytesDefault),
    storedKey: hmac(secret, `stored key of ${userName}`), serverKey: hmac(secret, `server key of ${userName}`),
  };
}

/** RFC 5802, section 6: what the client says of channel binding must fit what was offered and what it picked. */
function flagFlaw(client: ClientFirst, mechanism: string, isOffered: boolean): string | undefined {
  const { flag } = client;
  if (mechanism === scramPlusMechanism) {
    if (flag.kind !== 'bound') return 'a mechanism with channel binding but no binding';
    return flag.type === bindingType ? undefined : 'a channel binding of another type';
  }
  if (flag.kind === 'bound') return 'a channel binding under a mechanism without it';
  // The client believes that we cannot bind, though we offered it: somebody removed the offer on the way.
  if (flag.kind === 'server-cannot' && isOffered) return 'a channel binding downgrade';
  return undefined;
}
