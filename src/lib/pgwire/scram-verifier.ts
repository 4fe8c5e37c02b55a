/**
 * ScramVerifier: what a server keeps instead of a password (RFC 5803, in PostgreSQL's spelling
 * `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`). From it a password can be checked but not learned. Pure but for
 * the salt, which is an argument.
 */
import { createHash, createHmac, pbkdf2 } from 'node:crypto';
import { promisify } from 'node:util';

export interface ScramVerifier {
  readonly iterations: number;
  readonly salt: Buffer;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

/** PostgreSQL's default; RFC 7677 asks for at least this. */
export const iterationsDefault = 4096;
/** A server that asks for more than this would keep us busy for seconds. */
export const iterationsMax = 10_000_000;
export const saltBytesDefault = 16;
const hashBytes = 32;

const pbkdf2Async = promisify(pbkdf2);

export async function makeVerifier(password: string, options: { readonly salt: Buffer; readonly iterations?: number }): Promise<ScramVerifier> {
  const iterations = options.iterations ?? iterationsDefault;
  const salted = await saltPassword(password, options.salt, iterations);
  return {
    iterations, salt: options.salt, storedKey: hash(hmac(salted, 'Client Key')), serverKey: hmac(salted, 'Server Key'),
  };
}

/** SaltedPassword of RFC 5802, off the main thread. */
export function saltPassword(password: string, salt: Buffer, iterations: number): Promise<Buffer> {
  return pbkdf2Async(prepare(password), salt, iterations, hashBytes, 'sha256');
}

export function formatVerifier(verifier: ScramVerifier): string {
  const { iterations, salt, storedKey, serverKey } = verifier;
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey.toString('base64')}:${serverKey.toString('base64')}`;
}

/** undefined for anything that is not exactly such a text. */
export function parseVerifier(text: string): ScramVerifier | undefined {
  const match = /^SCRAM-SHA-256\$([1-9]\d{0,7}):([^$:]+)\$([^$:]+):([^$:]+)$/.exec(text);
  if (match === null) return undefined;
  const [, iterations, ...encoded] = match;
  const [salt, storedKey, serverKey] = encoded.map(strictBase64);
  if (salt === undefined || storedKey?.length !== hashBytes || serverKey?.length !== hashBytes) return undefined;
  return { iterations: Number(iterations), salt, storedKey, serverKey };
}

/** Decodes only what encodes back to the same text, so that nothing is skipped over. Never empty. */
export function strictBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.length > 0 && bytes.toString('base64') === text ? bytes : undefined;
}

export function hmac(key: Buffer, data: string): Buffer {
  return createHmac('sha256', key).update(data).digest();
}

export function hash(data: Buffer): Buffer {
  return createHash('sha256').update(data).digest();
}

export function xor(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((byte, index) => byte ^ (b[index] ?? 0)));
}

// RFC 3454 tables: C.1.2 spaces become a space, B.1 vanishes, and C.1.2 to C.9 are prohibited (before a password is used raw).
const spaces = /[\u{A0}\u{1680}\u{2000}-\u{200B}\u{202F}\u{205F}\u{3000}]/gu;
const vanishing = /[\u{AD}\u{34F}\u{1806}\u{180B}-\u{180D}\u{200C}\u{200D}\u{2060}\u{FE00}-\u{FE0F}\u{FEFF}]/gu;
const prohibited = /[\u{0}-\u{1F}\u{7F}-\u{9F}\u{340}\u{341}\u{6DD}\u{70F}\u{180E}\u{200E}\u{200F}\u{2028}-\u{202E}\u{2061}-\u{2063}\u{206A}-\u{206F}\u{2FF0}-\u{2FFB}\u{D800}-\u{F8FF}\u{FDD0}-\u{FDEF}\u{FFF9}-\u{FFFF}\u{1D173}-\u{1D17A}\u{E0001}\u{E0020}-\u{E007F}\u{F0000}-\u{10FFFF}]/u;

/**
 * SASLprep (RFC 4013) as PostgreSQL does it: mapped and normalised, or taken as it is when it holds what is prohibited.
 * The rules for right-to-left text and for unassigned code points are left out; a password that needs them is not
 * normalised as PostgreSQL would and fails to match, it never matches another.
 */
function prepare(password: string): string {
  const mapped = password.replace(spaces, ' ').replace(vanishing, '').normalize('NFKC');
  return mapped === '' || prohibited.test(mapped) ? password : mapped;
}
