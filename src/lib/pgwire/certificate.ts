/**
 * Makes a self-signed certificate (X.509 v3, RFC 5280) with an elliptic-curve key, for a first start without any
 * set-up. It proves nothing about who we are; it keeps the connection unreadable, and a client that was given the
 * certificate can check it. Node signs and reads certificates but makes none, so the few fields are encoded in DER here.
 */
import { createPrivateKey, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';
import { isIP } from 'node:net';

export interface SelfSignedCertificate {
  readonly certificatePem: string;
  /** PKCS #8; to be kept readable for its owner only. */
  readonly privateKeyPem: string;
}

const subjectAlternativeName = '2.5.29.17';
const basicConstraints = '2.5.29.19';
const extendedKeyUsage = '2.5.29.37';
const purposes = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' } as const;
const commonName = '2.5.4.3';
const ecdsaWithSha256 = '1.2.840.10045.4.3.2';
const msPerDay = 86_400_000;

/** `names` are host names and IP addresses; the first is the subject's common name. */
export function makeCertificate(names: readonly [string, ...string[]], validFrom: Date, days = 3650, purpose: keyof typeof purposes = 'server'): SelfSignedCertificate {
  const pair = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const privateKeyPem = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const body = certificateBody(names, pair.publicKey, [validFrom, new Date(validFrom.getTime() + days * msPerDay)], purposes[purpose]);
  const signature = sign('sha256', body, createPrivateKey(privateKeyPem));
  const der = sequence(body, sequence(oid(ecdsaWithSha256)), bitString(signature));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return { certificatePem: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`, privateKeyPem };
}

/** TBSCertificate, RFC 5280 section 4.1. */
function certificateBody(names: readonly [string, ...string[]], publicKey: KeyObject, [from, until]: readonly [Date, Date], purpose: string): Buffer {
  const serial = randomBytes(16);
  serial[0] = 0x40 | ((serial[0] ?? 0) & 0x3f); // positive and of fixed length
  const name = sequence(tagged(0x31, sequence(oid(commonName), tagged(0x0c, Buffer.from(names[0].slice(0, 64))))));
  const subjectNames = sequence(...names.map(generalName));
  const extensions = sequence(
    sequence(oid(subjectAlternativeName), octetString(subjectNames)),
    sequence(oid(basicConstraints), boolean(true), octetString(sequence(boolean(true)))),
    sequence(oid(extendedKeyUsage), octetString(sequence(oid(purpose)))),
  );
  return sequence(
    tagged(0xa0, integer(Buffer.of(2))), // version 3
    integer(serial),
    sequence(oid(ecdsaWithSha256)),
    name,
    sequence(time(from), time(until)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, extensions),
  );
}

/** dNSName is context tag 2, iPAddress tag 7 (RFC 5280 section 4.2.1.6). */
function generalName(name: string): Buffer {
  return isIP(name) === 0 ? tagged(0x82, Buffer.from(name, 'latin1')) : tagged(0x87, addressBytes(name));
}

function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail] = address.split('::');
  const words = (part: string | undefined): readonly number[] => (part === undefined || part === '' ? [] : part.split(':').map((word) => Number.parseInt(word, 16)));
  const before = words(head);
  const after = words(tail);
  const bytes = Buffer.alloc(16);
  before.forEach((word, index) => bytes.writeUInt16BE(word, index * 2));
  after.forEach((word, index) => bytes.writeUInt16BE(word, 16 - (after.length - index) * 2));
  return bytes;
}

/** RFC 5280 section 4.1.2.5: two-digit years until 2049, four from 2050. */
function time(date: Date): Buffer {
  const digits = date.toISOString().replaceAll(/\D/g, '').slice(0, 14);
  return date.getUTCFullYear() < 2050 ? tagged(0x17, Buffer.from(`${digits.slice(2)}Z`)) : tagged(0x18, Buffer.from(`${digits}Z`));
}

function tagged(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  const header = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...header), content]);
}

function sequence(...items: readonly Buffer[]): Buffer { return tagged(0x30, ...items); }
function integer(bytes: Buffer): Buffer { return tagged(0x02, bytes); }
function boolean(value: boolean): Buffer { return tagged(0x01, Buffer.of(value ? 0xff : 0)); }
function octetString(content: Buffer): Buffer { return tagged(0x04, content); }
function bitString(content: Buffer): Buffer { return tagged(0x03, Buffer.of(0), content); }

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...others] = dotted.split('.').map(Number);
  return tagged(0x06, Buffer.from([first * 40 + second, ...others.flatMap(base128)]));
}

function base128(value: number): readonly number[] {
  const digits = [value & 0x7f];
  for (let rest = value >>> 7; rest > 0; rest >>>= 7) digits.unshift(0x80 | (rest & 0x7f));
  return digits;
}
