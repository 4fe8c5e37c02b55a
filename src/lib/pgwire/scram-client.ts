/**
 * ScramClient: the client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677). It proves that it knows the password without
 * sending it, and then that the server knows its verifier: a login that ends without a valid server signature has not
 * succeeded. With the data of tls-server-end-point it uses SCRAM-SHA-256-PLUS where the server offers it.
 *
 *   first() → SASLInitialResponse · answer(data) → SASLResponse · isServer(data) → may go on
 */
import { timingSafeEqual } from 'node:crypto';
import { assert } from '../assert.ts';
import { isNonce, readServerFinal, readServerFirst } from './scram-message.ts';
import { bindingType, scramMechanism, scramPlusMechanism } from './scram-server.ts';
import { hash, hmac, iterationsMax, saltPassword, xor } from './scram-verifier.ts';

export interface ScramClientOptions {
  /** Mechanisms that the server offers. */
  readonly offered: readonly string[];
  readonly password: string;
  /** Unguessable, fresh for each login, printable without commas. */
  readonly nonce: string;
  /** Hash of the server's certificate when the connection is encrypted. */
  readonly channelBinding?: Buffer;
}

export class ScramClient {
  readonly mechanism: string;
  readonly #options: ScramClientOptions;
  readonly #header: string;
  #serverSignature: Buffer | undefined;

  /** undefined when the server offers nothing that is spoken here. */
  static choose(options: ScramClientOptions): ScramClient | undefined {
    const canBind = options.channelBinding !== undefined && options.offered.includes(scramPlusMechanism);
    if (canBind) return new ScramClient(options, scramPlusMechanism, `p=${bindingType},,`);
    if (!options.offered.includes(scramMechanism)) return undefined;
    // 'y': we could bind but were not offered it, which tells an honest server that somebody removed the offer.
    return new ScramClient(options, scramMechanism, options.channelBinding === undefined ? 'n,,' : 'y,,');
  }

  private constructor(options: ScramClientOptions, mechanism: string, header: string) {
    assert(isNonce(options.nonce), 'a client nonce has an unusual length');
    this.#options = options;
    this.mechanism = mechanism;
    this.#header = header;
  }

  first(): Buffer {
    return Buffer.from(this.#header + this.#bare());
  }

  /** The proof; undefined when the server's message is not SCRAM or not an answer to ours. */
  async answer(data: Buffer): Promise<Buffer | undefined> {
    const { nonce, password } = this.#options;
    const server = readServerFirst(data);
    if (server === undefined || server.iterations > iterationsMax) return undefined;
    if (!server.nonce.startsWith(nonce) || server.nonce.length === nonce.length) return undefined;

    const salted = await saltPassword(password, server.salt, server.iterations);
    const clientKey = hmac(salted, 'Client Key');
    const withoutProof = `c=${this.#binding().toString('base64')},r=${server.nonce}`;
    const signed = `${this.#bare()},${server.text},${withoutProof}`;
    const proof = xor(clientKey, hmac(hash(clientKey), signed));
    this.#serverSignature = hmac(hmac(salted, 'Server Key'), signed);
    return Buffer.from(`${withoutProof},p=${proof.toString('base64')}`);
  }

  /** True when the server has proved that it knows the verifier. */
  isServer(data: Buffer): boolean {
    const signature = readServerFinal(data);
    const expected = this.#serverSignature;
    return signature !== undefined && expected !== undefined && signature.length === expected.length && timingSafeEqual(signature, expected);
  }

  /** The user name is that of the start-up message; PostgreSQL ignores it here. */
  #bare(): string { return `n=,r=${this.#options.nonce}`; }

  #binding(): Buffer {
    const header = Buffer.from(this.#header);
    const { channelBinding } = this.#options;
    return this.mechanism === scramPlusMechanism && channelBinding !== undefined ? Buffer.concat([header, channelBinding]) : header;
  }
}
