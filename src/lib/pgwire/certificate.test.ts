/** Tests of the self-signed certificate: Node's own reader understands every field, and TLS accepts it. */
import assert from 'node:assert/strict';
import { X509Certificate, createPrivateKey, createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, TLSSocket } from 'node:tls';
import { test } from 'node:test';
import { serverEndPoint } from './channel-binding.ts';
import { makeCertificate } from './certificate.ts';

const from = new Date('2026-01-02T03:04:05Z');
const made = makeCertificate(['localhost', '127.0.0.1', '::1', 'fe80::1:2', 'db.example.org'], from);
const certificate = new X509Certificate(made.certificatePem);

test('the certificate is signed by its own key and belongs to it', () => {
  assert.ok(certificate.verify(certificate.publicKey));
  assert.ok(certificate.checkPrivateKey(createPrivateKey(made.privateKeyPem)));
  assert.equal(certificate.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1');
  assert.equal(certificate.issuer, certificate.subject);
});

test('it names every host and address, and no other', () => {
  assert.equal(certificate.subjectAltName, 'DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, IP Address:FE80:0:0:0:0:0:1:2, DNS:db.example.org');
  assert.equal(certificate.checkHost('db.example.org'), 'db.example.org');
  assert.equal(certificate.checkHost('other.example.org'), undefined);
  assert.equal(certificate.checkIP('::1'), '::1');
});

test('it is valid from the given moment for about ten years, also across 2050', () => {
  assert.equal(certificate.validFromDate.toISOString(), from.toISOString());
  assert.equal(certificate.validToDate.toISOString(), '2035-12-31T03:04:05.000Z');
  const late = new X509Certificate(makeCertificate(['x'], new Date('2045-06-01T00:00:00Z')).certificatePem);
  assert.equal(late.validToDate.getUTCFullYear(), 2055);
});

test('two certificates differ in serial number and key', () => {
  const other = makeCertificate(['localhost'], from);
  assert.notEqual(new X509Certificate(other.certificatePem).serialNumber, certificate.serialNumber);
  assert.notEqual(other.privateKeyPem, made.privateKeyPem);
});

test('a TLS client that trusts it connects with full checks, and both ends bind to the same channel', async () => {
  const server = createServer({ key: made.privateKeyPem, cert: made.certificatePem });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  const current = makeCertificate(['localhost', '127.0.0.1'], new Date());
  server.setSecureContext({ key: current.privateKeyPem, cert: current.certificatePem });
  const client = connect({ host: '127.0.0.1', port: address.port, ca: current.certificatePem, rejectUnauthorized: true });
  try {
    await once(client, 'secureConnect');
    assert.ok(client instanceof TLSSocket && client.authorized);
    const seen = client.getPeerX509Certificate();
    assert.ok(seen !== undefined);
    const expected = createHash('sha256').update(new X509Certificate(current.certificatePem).raw).digest();
    assert.deepEqual(serverEndPoint(seen.raw), expected);
    assert.deepEqual(serverEndPoint(current.certificatePem), expected);
  } finally {
    client.destroy();
    server.close();
  }
});
