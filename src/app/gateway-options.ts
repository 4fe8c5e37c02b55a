/**
 * What configuration says of the gateway, as the gateway takes it: its certificates, read or made, and its limits.
 */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Config } from '../config.ts';
import { Failure } from '../core/failure.ts';
import type { GatewayTls } from '../entry/gateway/gateway.ts';
import type { GatewayLimits } from '../entry/gateway/limits.ts';
import { makeCertificate } from '../lib/pgwire/certificate.ts';
import { systemCode } from '../lib/system-error.ts';
import { readOrMakeSecretFile } from '../store/secret-files.ts';

export function tlsOf(config: Config): GatewayTls | undefined {
  const own = certificateOf(config);
  const { clientCertificates } = config.gateway;
  if (own === undefined || clientCertificates === undefined) return own;
  const { caFile, crlFile } = clientCertificates;
  return { ...own, clientAuthoritiesPem: readPem(caFile), ...(crlFile === undefined ? {} : { clientRevocationsPem: readPem(crlFile) }) };
}

/** Those that were given. */
export function limitsOf({ connections, agentConnections, names, login, firstStatement, stall }: Config['gateway']['limits']): Partial<GatewayLimits> {
  return {
    ...(connections === undefined ? {} : { clientsMax: connections }), ...(agentConnections === undefined ? {} : { clientsPerAgentMax: agentConnections }),
    ...(names === undefined ? {} : { namesMax: names }), ...(login === undefined ? {} : { loginMsMax: login * 1_000 }),
    ...(firstStatement === undefined ? {} : { firstMessageMsMax: firstStatement * 1_000 }), ...(stall === undefined ? {} : { stallMsMax: stall * 1_000 }),
  };
}

function certificateOf({ gateway: { tls, certificate }, dataDir }: Config): { readonly certificatePem: string; readonly privateKeyPem: string } | undefined {
  if (tls === 'off') return undefined;
  if (certificate !== undefined) return { certificatePem: readPem(certificate.certFile), privateKeyPem: readPem(certificate.keyFile) };
  const made = readOrMakeSecretFile(join(dataDir, 'tls', 'server.pem'), () => {
    const { certificatePem, privateKeyPem } = makeCertificate(['localhost', '127.0.0.1', '::1', hostname()], new Date());
    return `${certificatePem}${privateKeyPem}`;
  });
  const [, certificatePem, privateKeyPem] = /^(.*END CERTIFICATE-----\n)(.*)$/s.exec(made) ?? [];
  if (certificatePem === undefined || privateKeyPem === undefined) throw new Failure('config_invalid', `${join(dataDir, 'tls', 'server.pem')} holds no certificate with its key`, { hint: 'Delete the file; the next start makes a new one.' });
  return { certificatePem, privateKeyPem };
}

function readPem(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new Failure('config_invalid', `${path}: cannot be read (${systemCode(cause)})`, { cause });
  }
}
