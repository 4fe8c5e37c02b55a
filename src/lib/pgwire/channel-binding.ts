/**
 * The data of the channel binding tls-server-end-point (RFC 5929, section 4.1): the server's certificate hashed with the
 * hash of its own signature, or with SHA-256 where that is MD5 or SHA-1. undefined for signatures without one single
 * hash (Ed25519, RSA-PSS), with which there is no such binding.
 */
import { createHash, X509Certificate } from 'node:crypto';

const hashOfSignature: Readonly<Record<string, string>> = {
  '1.2.840.113549.1.1.4': 'sha256', // md5WithRSAEncryption
  '1.2.840.113549.1.1.5': 'sha256', // sha1WithRSAEncryption
  '1.2.840.113549.1.1.11': 'sha256', '1.2.840.113549.1.1.12': 'sha384', '1.2.840.113549.1.1.13': 'sha512', // RSA
  '1.2.840.113549.1.1.14': 'sha224',
  '1.2.840.10045.4.1': 'sha256', // ecdsa-with-SHA1
  '1.2.840.10045.4.3.1': 'sha224', '1.2.840.10045.4.3.2': 'sha256', '1.2.840.10045.4.3.3': 'sha384', '1.2.840.10045.4.3.4': 'sha512', // ECDSA
};

/** Takes PEM or DER. */
export function serverEndPoint(certificate: string | Buffer): Buffer | undefined {
  const parsed = new X509Certificate(certificate);
  const name = hashOfSignature[parsed.signatureAlgorithmOid ?? ''];
  return name === undefined ? undefined : createHash(name).update(parsed.raw).digest();
}
