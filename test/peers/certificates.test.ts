/**
 * Certificates in place of tokens with what people really use: an authority of OpenSSL with a revocation list, the
 * command line, and psql.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { startBackstopProcess, type BackstopProcess } from '../fixtures/backstop-process.ts';
import { runProgram, type Ended } from '../fixtures/run-program.ts';
import { missing } from './peer.ts';

const skip = missing('psql', 'openssl');
const folder = mkdtempSync(join(tmpdir(), 'backstop-certificates-'));
const at = (name: string): string => join(folder, name);
let backstop: BackstopProcess;
let url: URL;

async function openssl(...args: readonly string[]): Promise<void> {
  const { code, stderr } = await runProgram('openssl', args, { cwd: folder });
  assert.equal(code, 0, stderr);
}

async function issue(name: string): Promise<void> {
  await openssl('req', '-new', '-newkey', 'rsa:2048', '-nodes', '-subj', `/O=Backstop test/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`);
  await openssl('ca', '-batch', '-config', 'ca.cnf', '-in', `${name}.csr`, '-out', `${name}.pem`, '-notext');
}

before(async () => {
  if (skip !== false) return;
  writeFileSync(at('index.txt'), '');
  writeFileSync(at('serial'), '1000\n');
  writeFileSync(at('ca.cnf'), [
    '[ca]', 'default_ca = own', '[own]', 'database = index.txt', 'serial = serial', 'new_certs_dir = .', 'certificate = ca.pem', 'private_key = ca.key', 'default_md = sha256',
    'default_days = 2', 'default_crl_days = 2', 'policy = any', 'x509_extensions = client', 'unique_subject = no', '[any]', 'organizationName = optional', 'commonName = supplied',
    '[client]', 'extendedKeyUsage = clientAuth', '',
  ].join('\n'));
  await openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=The authority', '-days', '2', '-keyout', 'ca.key', '-out', 'ca.pem');
  await issue('nightly');
  await issue('stolen');
  await openssl('ca', '-config', 'ca.cnf', '-revoke', 'stolen.pem');
  await openssl('ca', '-config', 'ca.cnf', '-gencrl', '-out', 'crl.pem');
  backstop = await startBackstopProcess({ flags: ['--gateway-tls-client-ca', at('ca.pem'), '--gateway-tls-client-crl', at('crl.pem')] });
  url = new URL(/postgres(?:ql)?:\/\/[^\s'"]+/.exec(backstop.printed())?.[0] ?? 'none://was.printed');
  for (const name of ['nightly', 'stolen']) assert.equal((await backstop.cli('agents', 'add', name, '--certificate', '--connections', '1')).code, 0);
});
after(async () => {
  await backstop?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const psql = (user: string, certificate?: string): Promise<Ended> => runProgram('psql', [
  '-X', '-A', '-t', '-c', 'SELECT 42', `host=${url.hostname} port=${url.port} user=${user} dbname=${url.pathname.slice(1)} sslmode=require${certificate === undefined ? '' : ` sslcert=${at(`${certificate}.pem`)} sslkey=${at(`${certificate}.key`)}`}`,
], { env: { LC_ALL: 'C.UTF-8', PGPASSWORD: 'no token' } });

describe('psql with a client certificate', { skip }, () => {
  it('works without a token', async () => {
    const { code, stdout, stderr } = await psql('nightly', 'nightly');
    assert.deepEqual([code, stdout.trim()], [0, '42'], stderr);
  });

  const refused: readonly (readonly [what: string, user: string, certificate: string | undefined, why: RegExp])[] = [
    ['without the certificate', 'nightly', undefined, /password authentication failed/], ['with a certificate of another agent', 'stolen', 'nightly', /certificate authentication failed for user "stolen"/],
    ['with one that is on the revocation list', 'stolen', 'stolen', /certificate is not accepted: cert revoked/],
  ];
  for (const [what, user, certificate, why] of refused) {
    it(`is told why it may not come in ${what}`, async () => {
      const { code, stderr } = await psql(user, certificate);
      assert.equal(code, 2);
      assert.match(stderr, why);
    });
  }

  it('is listed with how it logs in, and gets no new token', async () => {
    const { stdout } = await backstop.cli('agents', 'list');
    assert.match(stdout, /nightly +any +certificate +1 +active/);
    const { code, stderr } = await backstop.cli('agents', 'rotate', 'nightly');
    assert.notEqual(code, 0);
    assert.match(stderr, /certificate/);
  });

  it('is out once its agent is revoked', async () => {
    assert.equal((await backstop.cli('agents', 'revoke', 'nightly')).code, 0);
    assert.equal((await psql('nightly', 'nightly')).code, 2);
  });
});
