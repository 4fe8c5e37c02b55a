/** Tests of SCRAM: the vectors of RFC 7677, both sides against each other, and every way to be refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ScramClient } from './scram-client.ts';
import { mockVerifier, ScramServer, scramMechanism, scramPlusMechanism } from './scram-server.ts';
import { formatVerifier, hash, hmac, makeVerifier, parseVerifier, saltPassword, xor, type ScramVerifier } from './scram-verifier.ts';

const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
const verifier = await makeVerifier('pencil', { salt });
const mock = mockVerifier('nobody', Buffer.from('installation secret'));
const rfcServerNonce = '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0';
const nonce = 'an unguessable one'.replaceAll(' ', '-');

const rfcFirst = Buffer.from('n,,n=user,r=rOprNGfwEbeRWgbNEkqO');
const rfcFinal = 'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=';

function rfcServer(known: ScramVerifier | undefined = verifier): ScramServer {
  return new ScramServer({ verifier: known, nonce: rfcServerNonce }, mock);
}

test('the conversation of RFC 7677 is accepted, message by message', () => {
  const server = rfcServer();
  const step = server.first(scramMechanism, rfcFirst);
  assert.ok(step.kind === 'continue');
  assert.equal(step.data.toString(), 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096');
  assert.deepEqual(server.final(Buffer.from(rfcFinal)), { kind: 'accepted', data: Buffer.from('v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=') });
});

test('one changed character of the proof, the nonce or the binding is refused', () => {
  const changes: readonly (readonly [string, string])[] = [['p=dHz', 'p=eHz'], ['r=rOpr', 'r=sOpr'], ['c=biws', 'c=eSws'], ['=biws', '=biws,m=x'], [',p=', ',x=1,p='], ['7AndVQ=', '7AndVR=']];
  for (const [from, to] of changes) {
    const server = rfcServer();
    server.first(scramMechanism, rfcFirst);
    const changed = rfcFinal.replace(from, to);
    assert.notEqual(changed, rfcFinal);
    assert.notEqual(server.final(Buffer.from(changed)).kind, 'accepted', to);
  }
});

test('a proof that is right for another nonce is refused, so a recorded login cannot be replayed', async () => {
  const server = rfcServer();
  const step = server.first(scramMechanism, rfcFirst);
  assert.ok(step.kind === 'continue');
  const clientKey = hmac(await saltPassword('pencil', salt, 4096), 'Client Key');
  const withProof = (nonceUsed: string): Buffer => {
    const withoutProof = `c=biws,r=${nonceUsed}`;
    const signature = hmac(hash(clientKey), `n=user,r=rOprNGfwEbeRWgbNEkqO,${step.data.toString()},${withoutProof}`);
    return Buffer.from(`${withoutProof},p=${xor(clientKey, signature).toString('base64')}`);
  };
  assert.equal(server.final(withProof('rOprNGfwEbeRWgbNEkqOanother-nonce')).kind, 'malformed');
  const again = rfcServer();
  again.first(scramMechanism, rfcFirst);
  assert.equal(again.final(withProof(`rOprNGfwEbeRWgbNEkqO${rfcServerNonce}`)).kind, 'accepted');
});

test('a user who does not exist is refused even by a proof that fits the made-up verifier', () => {
  const server = new ScramServer({ verifier: undefined, nonce: rfcServerNonce }, verifier);
  assert.equal(server.first(scramMechanism, rfcFirst).kind, 'continue');
  assert.equal(server.final(Buffer.from(rfcFinal)).kind, 'refused');
});

test('a verifier survives being written down, in the spelling of PostgreSQL', () => {
  const text = formatVerifier(verifier);
  assert.match(text, /^SCRAM-SHA-256\$4096:W22ZaJ0SNY7soEsUEjb6gQ==\$[^:]+:[^:]+$/);
  assert.deepEqual(parseVerifier(text), verifier);
});

for (const bad of ['', 'pencil', 'md5c4ca4238', formatVerifier(verifier).slice(0, -4), `${formatVerifier(verifier)}x`, formatVerifier(verifier).replace('4096', '0'), formatVerifier(verifier).replace('SHA-256', 'SHA-1')]) {
  test(`${JSON.stringify(bad.slice(0, 30))}… (${bad.length} characters) is no verifier`, () => { assert.equal(parseVerifier(bad), undefined); });
}

interface Login { readonly password: string; readonly known?: ScramVerifier | undefined; readonly clientBinding?: Buffer; readonly serverBinding?: Buffer; readonly offered?: readonly string[] }

async function run(login: Login): Promise<{ readonly mechanism: string; readonly end: string; readonly isServer: boolean }> {
  const server = new ScramServer({ verifier: 'known' in login ? login.known : verifier, nonce, ...(login.serverBinding ? { channelBinding: login.serverBinding } : {}) }, mock);
  const client = ScramClient.choose({ offered: login.offered ?? server.mechanisms(), password: login.password, nonce: 'client-nonce-1234', ...(login.clientBinding ? { channelBinding: login.clientBinding } : {}) });
  assert.ok(client !== undefined);
  const first = server.first(client.mechanism, client.first());
  if (first.kind === 'malformed') return { mechanism: client.mechanism, end: first.flaw, isServer: false };
  const answer = await client.answer(first.data);
  assert.ok(answer !== undefined);
  const end = server.final(answer);
  return { mechanism: client.mechanism, end: end.kind === 'malformed' ? end.flaw : end.kind, isServer: end.kind === 'accepted' && client.isServer(end.data) };
}

const [bound, otherBound] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
const logins: readonly { readonly why: string; readonly login: Login; readonly mechanism: string; readonly end: string }[] = [
  { why: 'the right password without TLS', login: { password: 'pencil' }, mechanism: scramMechanism, end: 'accepted' },
  { why: 'a wrong password', login: { password: 'pencils' }, mechanism: scramMechanism, end: 'refused' },
  { why: 'an unknown user', login: { password: 'pencil', known: undefined }, mechanism: scramMechanism, end: 'refused' },
  { why: 'both ends of one TLS channel', login: { password: 'pencil', clientBinding: bound, serverBinding: bound }, mechanism: scramPlusMechanism, end: 'accepted' },
  { why: 'two TLS channels with somebody between', login: { password: 'pencil', clientBinding: bound, serverBinding: otherBound }, mechanism: scramPlusMechanism, end: 'a channel binding that is not this channel' },
  { why: 'a client that can bind and a server that cannot', login: { password: 'pencil', clientBinding: bound }, mechanism: scramMechanism, end: 'accepted' },
  { why: 'a client that cannot bind and a server that can', login: { password: 'pencil', serverBinding: bound }, mechanism: scramMechanism, end: 'accepted' },
  { why: 'an offer of binding that was removed on the way', login: { password: 'pencil', clientBinding: bound, serverBinding: bound, offered: [scramMechanism] }, mechanism: scramMechanism, end: 'a channel binding downgrade' },
];
for (const { why, login, mechanism, end } of logins) {
  test(`${why}: ${end}`, async () => {
    assert.deepEqual(await run(login), { mechanism, end, isServer: end === 'accepted' });
  });
}

const badFirsts: readonly (readonly [why: string, mechanism: string, data: string | null])[] = [
  ['no message', scramMechanism, null],
  ['a mechanism that was not offered', scramPlusMechanism, 'p=tls-server-end-point,,n=,r=abcdefgh'],
  ['a mechanism nobody knows', 'PLAIN', 'n,,n=,r=abcdefgh'],
  ['a binding under the mechanism without it', scramMechanism, 'p=tls-server-end-point,,n=,r=abcdefgh'],
  ['an authorization identity', scramMechanism, 'n,a=admin,n=,r=abcdefgh'],
  ['a mandatory extension', scramMechanism, 'n,,m=x,n=,r=abcdefgh'],
  ['an optional extension', scramMechanism, 'n,,n=,r=abcdefgh,x=1'],
  ['an empty nonce', scramMechanism, 'n,,n=,r='],
  ['a nonce of 257 characters (H90)', scramMechanism, `n,,n=,r=${'a'.repeat(257)}`],
  ['a nonce with a space', scramMechanism, 'n,,n=,r=abcd efgh'],
  ['a message of 3,000 bytes (H77)', scramMechanism, `n,,n=${'a'.repeat(3000)},r=abcdefgh`],
];
for (const [why, mechanism, data] of badFirsts) {
  test(`a first message with ${why} is not SCRAM`, () => {
    assert.equal(rfcServer().first(mechanism, data === null ? null : Buffer.from(data)).kind, 'malformed');
  });
}

test('a PLUS login must bind, and to the kind that is offered', () => {
  for (const header of ['n,,', 'y,,', 'p=tls-unique,,', 'p=tls-exporter,,']) {
    const server = new ScramServer({ verifier, nonce, channelBinding: bound }, mock);
    assert.equal(server.first(scramPlusMechanism, Buffer.from(`${header}n=,r=abcdefgh`)).kind, 'malformed', header);
  }
});

test('a made-up user has the same salt each time, another user another, and the right form', () => {
  const again = mockVerifier('nobody', Buffer.from('installation secret'));
  assert.deepEqual(again, mock);
  assert.notDeepEqual(mockVerifier('somebody', Buffer.from('installation secret')).salt, mock.salt);
  assert.equal(mock.salt.length, 16);
  assert.equal(mock.iterations, 4096);
});

const badChallenges: readonly (readonly [why: string, data: string])[] = [
  ['somebody else\'s nonce', 'r=other-nonce-12345,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'],
  ['our nonce and nothing of the server\'s', 'r=client-nonce-1234,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'],
  ['no iterations', 'r=client-nonce-1234x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0'],
  ['iterations for hours', 'r=client-nonce-1234x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=99999999'],
  ['a salt that is not base64', 'r=client-nonce-1234x,s=W22ZaJ0SNY7soEsUEjb6gQ,i=4096'],
  ['an error', 'e=other-error'],
];
for (const [why, data] of badChallenges) {
  test(`a client does not answer a challenge with ${why}`, async () => {
    const client = ScramClient.choose({ offered: [scramMechanism], password: 'pencil', nonce: 'client-nonce-1234' });
    assert.equal(await client?.answer(Buffer.from(data)), undefined);
  });
}

test('a server that does not know the verifier is not believed', async () => {
  const client = ScramClient.choose({ offered: [scramMechanism], password: 'pencil', nonce: 'client-nonce-1234' });
  assert.ok(client !== undefined);
  await client.answer(Buffer.from('r=client-nonce-1234x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'));
  assert.equal(client.isServer(Buffer.from(`v=${Buffer.alloc(32).toString('base64')}`)), false);
  assert.equal(client.isServer(Buffer.from('e=invalid-proof')), false);
  assert.equal(client.isServer(Buffer.alloc(0)), false);
});

test('a client finds nothing to use where only unknown mechanisms are offered', () => {
  assert.equal(ScramClient.choose({ offered: ['OAUTHBEARER'], password: 'x', nonce }), undefined);
});

test('passwords are compared after SASLprep, where it is defined', async () => {
  const pairs: readonly (readonly [string, string])[] = [['I\u{AD}X', 'IX'], ['\u{AA}', 'a'], ['\u{2168}', 'IX'], ['a\u{A0}b', 'a b'], ['u\u{308}', '\u{FC}']];
  for (const [typed, stored] of pairs) assert.deepEqual(await makeVerifier(typed, { salt }), await makeVerifier(stored, { salt }));
  assert.notDeepEqual((await makeVerifier('\u{AD}', { salt })).storedKey, (await makeVerifier('', { salt })).storedKey);
});

test('random messages never throw and are never accepted', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 300 }), (first, final) => {
    rfcServer().first(scramMechanism, Buffer.from(first));
    const server = rfcServer();
    server.first(scramMechanism, rfcFirst);
    assert.notEqual(server.final(Buffer.from(final)).kind, 'accepted');
  }), { numRuns: 500 });
});
