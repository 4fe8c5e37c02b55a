/**
 * The messages of SCRAM (RFC 5802, section 7) as both sides read and write them: attributes in a fixed order, bounded
 * in length, nothing optional accepted that is not understood. Extensions (`m=`) are refused, as the RFC demands of a
 * mandatory one. undefined means that the message is not one.
 */
import { strictBase64 } from './scram-verifier.ts';

/** What a client says of channel binding: it cannot, it could but believes the server cannot, or it uses this kind. */
export type Gs2Flag = { readonly kind: 'none' } | { readonly kind: 'server-cannot' } | { readonly kind: 'bound'; readonly type: string };

export interface ClientFirst {
  readonly flag: Gs2Flag;
  /** The GS2 header as sent, e.g. `n,,`. */
  readonly header: string;
  /** The rest, which the proof covers. */
  readonly bare: string;
  readonly nonce: string;
}

/** Longest message and nonce taken from the other side; PgBouncer CVE-2026-6665 was a long nonce. */
export const messageBytesMax = 2048;
const nonceLengthMin = 8;
const nonceLengthMax = 256;

/** Printable ASCII without the comma (RFC 5802, `printable`). */
const printable = '[\\x21-\\x2b\\x2d-\\x7e]';
// The authorization identity is left out by every PostgreSQL client, and PostgreSQL refuses one; so do we.
const clientFirstPattern = new RegExp(`^((n|y|p=([A-Za-z0-9.-]{1,40})),,)(n=[^,]*,r=(${printable}+))$`);
const serverFirstPattern = new RegExp(`^r=(${printable}+),s=([A-Za-z0-9+/=]{1,1024}),i=([1-9]\\d{0,7})$`);
const clientFinalPattern = new RegExp(`^(c=([A-Za-z0-9+/=]{1,1500}),r=(${printable}+)),p=([A-Za-z0-9+/=]{44})$`);

export function readClientFirst(data: Buffer): ClientFirst | undefined {
  const match = matchText(data, clientFirstPattern);
  if (match === undefined) return undefined;
  const [, header = '', letter, type, bare = '', nonce = ''] = match;
  if (!isNonce(nonce)) return undefined;
  const flag: Gs2Flag = letter === 'n' ? { kind: 'none' } : letter === 'y' ? { kind: 'server-cannot' } : { kind: 'bound', type: type ?? '' };
  return { flag, header, bare, nonce };
}

export interface ServerFirst { readonly text: string; readonly nonce: string; readonly salt: Buffer; readonly iterations: number }

export function readServerFirst(data: Buffer): ServerFirst | undefined {
  const match = matchText(data, serverFirstPattern);
  if (match === undefined) return undefined;
  const [text, nonce = '', encodedSalt = '', iterations] = match;
  const salt = strictBase64(encodedSalt);
  if (salt === undefined || nonce.length > 2 * nonceLengthMax) return undefined;
  return { text, nonce, salt, iterations: Number(iterations) };
}

export interface ClientFinal { readonly withoutProof: string; readonly binding: Buffer; readonly nonce: string; readonly proof: Buffer }

export function readClientFinal(data: Buffer): ClientFinal | undefined {
  const match = matchText(data, clientFinalPattern);
  if (match === undefined) return undefined;
  const [, withoutProof = '', encodedBinding = '', nonce = '', encodedProof = ''] = match;
  const binding = strictBase64(encodedBinding);
  const proof = strictBase64(encodedProof);
  return binding === undefined || proof === undefined ? undefined : { withoutProof, binding, nonce, proof };
}

/** The server's signature, or undefined when the server reports an error or says something else. */
export function readServerFinal(data: Buffer): Buffer | undefined {
  const match = matchText(data, /^v=([A-Za-z0-9+/=]{44})$/);
  return match === undefined ? undefined : strictBase64(match[1] ?? '');
}

export function isNonce(text: string): boolean {
  return text.length >= nonceLengthMin && text.length <= nonceLengthMax;
}

function matchText(data: Buffer, pattern: RegExp): RegExpExecArray | undefined {
  if (data.length > messageBytesMax) return undefined;
  return pattern.exec(data.toString('latin1')) ?? undefined;
}
