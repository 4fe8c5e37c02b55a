/**
 * Connection strings against real servers: client certificates and their keys, channel binding, direct TLS, passfiles,
 * login methods that are not allowed, and a choice among several servers, some of which are away or of another kind.
 */
import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Failure } from '../../src/core/failure.ts';
import { makeCertificate } from '../../src/lib/pgwire/certificate.ts';
import { encodeErrorResponse } from '../../src/lib/pgwire/backend-encode.ts';
import { connectLink, type Link, type LinkOptions } from '../../src/remote/postgres/link.ts';
import { parseConnectionString } from '../../src/remote/postgres/link-target.ts';
import { freePort, startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { enableTls } from '../fixtures/postgres-tls.ts';

let server: PostgresServer;
/** Like a standby as far as a client is told: its sessions are read-only by default. */
let readOnly: PostgresServer;
let folder: string;
let rootFile: string;
const open: Link[] = [];
const listening: Server[] = [];
const at = (name: string): string => join(folder, name);

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'link-upstream-'));
  chmodSync(folder, 0o777); // the server runs as another user when the tests run as root
  [server, readOnly] = await Promise.all([startPostgresServer({ unix_socket_directories: folder }), startPostgresServer({ default_transaction_read_only: 'on' })]);
  const client = makeCertificate(['certuser'], new Date(), 30, 'client');
  writeFileSync(at('client.crt'), client.certificatePem);
  writeFileSync(at('client.key'), client.privateKeyPem, { mode: 0o600 });
  writeFileSync(at('locked.key'), createPrivateKey(client.privateKeyPem).export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'opens the key' }), { mode: 0o600 });
  writeFileSync(at('open.key'), client.privateKeyPem);
  chmodSync(at('open.key'), 0o644);
  rootFile = await enableTls(server, folder, ['localhost'], [
    'hostssl all certuser all cert', 'host all clearuser all password', 'host all md5user all md5', 'hostssl all bound all scram-sha-256 clientcert=verify-ca', 'host all trusted all trust',
    'hostnossl all tlsonly all reject',
  ], client.certificatePem);
  await server.run(`create role certuser login; create role bound login password 'p'; create role trusted login; create role tlsonly login password 'p';
    create role clearuser login password 'p'; set password_encryption = md5; create role md5user login password 'p'`);
});

after(async () => {
  for (const link of open) link.destroy();
  for (const one of listening) one.close();
  await Promise.all([server?.stop(), readOnly?.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

async function connect(text: string, options: LinkOptions = {}): Promise<Link> {
  const link = await connectLink(parseConnectionString(text), options);
  open.push(link);
  return link;
}

async function one(link: Link, sql: string): Promise<string | null | undefined> {
  return (await link.query(sql)).rows[0]?.[0];
}

const portOf = (link: Link): number | undefined => (link.address.kind === 'tcp' ? link.address.port : undefined);
const superuser = (host: string, more: string): string => `host=${host} port=${server.port} user=postgres password=${server.password} ${more}`;
const verified = (more: string): string => `host=localhost port=${server.port} sslmode=verify-full sslrootcert=${rootFile} ${more}`;
const certificate = (key = 'client.key'): string => `sslcert=${at('client.crt')} sslkey=${at(key)}`;

describe('a login succeeds by', () => {
  const ways: readonly { readonly how: string; readonly text: () => string; readonly method: string; readonly isBound?: boolean; readonly isEncrypted?: boolean }[] = [
    { how: 'a client certificate alone', text: () => verified(`user=certuser dbname=postgres ${certificate()}`), method: 'none' },
    { how: 'a client certificate whose key is encrypted', text: () => verified(`user=certuser dbname=postgres ${certificate('locked.key')} sslpassword='opens the key'`), method: 'none' },
    { how: 'a client certificate and a password bound to the channel', text: () => verified(`user=bound password=p dbname=postgres ${certificate()} channel_binding=require`), method: 'scram-sha-256', isBound: true },
    { how: 'SCRAM without a channel binding where it is switched off', text: () => verified(`user=tlsonly password=p dbname=postgres channel_binding=disable`), method: 'scram-sha-256', isBound: false },
    { how: 'SCRAM bound to a channel whose certificate nobody checks', text: () => superuser('127.0.0.1', 'sslmode=require channel_binding=require'), method: 'scram-sha-256', isBound: true },
    { how: 'direct TLS', text: () => verified(`user=tlsonly password=p dbname=postgres sslnegotiation=direct`), method: 'scram-sha-256', isBound: true },
    { how: 'TLS 1.2 where nothing newer is allowed', text: () => verified(`user=tlsonly password=p dbname=postgres ssl_max_protocol_version=TLSv1.2`), method: 'scram-sha-256', isBound: true },
    { how: 'a host name for the certificate and an address to go to', text: () => verified('hostaddr=127.0.0.1 user=tlsonly password=p dbname=postgres'), method: 'scram-sha-256', isBound: true },
    { how: 'the only method that is allowed', text: () => superuser('127.0.0.1', 'sslmode=disable require_auth=scram-sha-256'), method: 'scram-sha-256', isEncrypted: false },
    { how: 'a Unix socket and a passfile', text: () => `host=${folder} port=${server.port} user=postgres passfile=${at('passfile')}`, method: 'scram-sha-256', isEncrypted: false },
  ];
  for (const { how, text, method, isBound, isEncrypted = true } of ways) {
    it(how, async () => {
      writeFileSync(at('passfile'), `${folder}:*:*:postgres:${server.password}\n`, { mode: 0o600 });
      const link = await connect(text());
      assert.deepEqual([link.loginMethod, link.isEncrypted], [method, isEncrypted]);
      if (isBound !== undefined) assert.equal(link.isBound, isBound);
      assert.equal(await one(link, 'select ssl::text from pg_stat_ssl where pid = pg_backend_pid()'), String(isEncrypted));
      await link.cancel();
      await link.end();
    });
  }

  it('settings in options, which the caller can add to', async () => {
    const link = await connect(superuser('127.0.0.1', "options='-c geqo=off -c work_mem=7MB' application_name=named"));
    assert.deepEqual([await one(link, 'show geqo'), await one(link, 'show work_mem'), await one(link, 'show application_name')], ['off', '7MB', 'named']);
    const other = await connect(superuser('127.0.0.1', 'application_name=named'), { parameters: new Map([['application_name', 'own']]) });
    assert.equal(await one(other, 'show application_name'), 'own');
  });
});

describe('a login is refused, and nothing secret is told,', () => {
  const refusals: readonly { readonly why: string; readonly text: () => string; readonly message: RegExp }[] = [
    { why: 'without the certificate that the server asks for', text: () => verified('user=certuser dbname=postgres'), message: /28000/ },
    { why: 'with somebody else\'s certificate', text: () => verified(`user=trusted dbname=postgres sslcert=${at('other.crt')} sslkey=${at('other.key')}`), message: /TLS|SSL|reached/ },
    { why: 'when others can read the key', text: () => verified(`user=certuser dbname=postgres ${certificate('open.key')}`), message: /file of sslkey may be read or changed by others \(mode 0644\)/ },
    { why: 'when the key is encrypted and no password is given', text: () => verified(`user=certuser dbname=postgres ${certificate('locked.key')}`), message: /sslpassword/ },
    { why: 'when the key\'s password is wrong', text: () => verified(`user=certuser dbname=postgres ${certificate('locked.key')} sslpassword=hunter2`), message: /sslpassword/ },
    { why: 'when the key is another one\'s', text: () => verified(`user=certuser dbname=postgres sslcert=${at('client.crt')} sslkey=${at('server2.key')}`), message: /sslcert and sslkey cannot be used/ },
    { why: 'when a file is missing', text: () => verified(`user=certuser dbname=postgres sslcert=${at('nowhere')} sslkey=${at('client.key')}`), message: /file of sslcert cannot be read \(ENOENT\)/ },
    { why: 'when others can read the passfile', text: () => `host=127.0.0.1 port=${server.port} user=postgres passfile=${at('open.key')}`, message: /file of passfile may be read/ },
    { why: 'by an issuer that the system does not know', text: () => `host=localhost port=${server.port} user=trusted dbname=postgres sslrootcert=system`, message: /CERT/ },
    { why: 'when a password in clear would show it to anybody', text: () => superuser('127.0.0.1', 'sslmode=disable').replace('user=postgres', 'user=clearuser dbname=postgres'), message: /in clear/ },
    { why: 'when the server asks for no proof and one is required', text: () => verified('user=trusted dbname=postgres require_auth=scram-sha-256'), message: /login method none, which require_auth/ },
    { why: 'when the server asks for md5 and it is excluded', text: () => verified('user=md5user password=hunter2 dbname=postgres require_auth=!md5'), message: /login method md5, which require_auth/ },
    { why: 'when md5 cannot be bound to the channel', text: () => verified('user=md5user password=hunter2 dbname=postgres channel_binding=require'), message: /login method md5, and channel_binding/ },
    { why: 'when a password in clear cannot be bound to the channel', text: () => verified('user=clearuser password=hunter2 dbname=postgres channel_binding=require'), message: /login method password, and channel_binding/ },
    { why: 'when there is no channel to bind to', text: () => `host=${folder} port=${server.port} user=postgres password=hunter2 channel_binding=require`, message: /channel_binding=require asks/ },
    { why: 'when the server refuses what options sets', text: () => superuser('127.0.0.1', "options='-c no_such_setting=1'"), message: /42704/ },
  ];
  for (const { why, text, message } of refusals) {
    it(why, async () => {
      const other = makeCertificate(['trusted'], new Date(), 30, 'client');
      writeFileSync(at('other.crt'), other.certificatePem);
      writeFileSync(at('other.key'), other.privateKeyPem, { mode: 0o600 });
      writeFileSync(at('server2.key'), makeCertificate(['x'], new Date()).privateKeyPem, { mode: 0o600 });
      await assert.rejects(connect(text()), (error) => {
        assert.ok(error instanceof Failure, String(error));
        assert.equal(error.code, 'upstream_unavailable');
        assert.match(error.message, message);
        assert.ok(!`${error.message} ${error.hint}`.includes(folder) && !/hunter2|127\.0\.0\.1/.test(`${error.message} ${error.hint}`), error.message);
        return true;
      });
    });
  }

  it('options cannot change how text is read', async () => {
    const link = await connect(superuser('127.0.0.1', "options='-c standard_conforming_strings=off -c client_encoding=LATIN1'"));
    assert.deepEqual([await one(link, 'show standard_conforming_strings'), await one(link, 'show client_encoding')], ['on', 'UTF8']);
  });
});

/** A server that answers each connection so and ends it, and how often it was asked. */
async function answering(answer: (socket: Socket) => void): Promise<{ readonly port: number; asked: number }> {
  const facts = { port: 0, asked: 0 };
  const made = createServer((socket) => {
    facts.asked += 1;
    socket.on('error', () => { /* the other side hangs up */ });
    socket.once('data', () => { answer(socket); });
  });
  listening.push(made);
  await new Promise<void>((resolve) => { made.listen(0, '127.0.0.1', resolve); });
  const address = made.address();
  facts.port = address !== null && typeof address === 'object' ? address.port : 0;
  return facts;
}

const fatal = (code: string) => (socket: Socket): void => { socket.end(encodeErrorResponse({ severity: 'FATAL', code, message: 'no' })); };

describe('of several servers', () => {
  const list = (ports: readonly number[], more = ''): string =>
    `host=${ports.map(() => '127.0.0.1').join(',')} port=${ports.join(',')} user=postgres password=${server.password} sslmode=disable ${more}`;

  it('the first that can be reached is taken', async () => {
    const closed = await freePort();
    assert.equal(portOf(await connect(list([closed, server.port, readOnly.port]))), server.port);
  });

  it('one that says nothing is given up after its own time, and the next is tried', async () => {
    const silent = await answering(() => undefined);
    assert.equal(portOf(await connect(list([silent.port, server.port], 'connect_timeout=2'))), server.port);
  });

  it('one that is starting up is passed by, one that refuses the login ends the search', async () => {
    const starting = await answering(fatal('57P03'));
    assert.equal(portOf(await connect(list([starting.port, server.port]))), server.port);
    const refusing = await answering(fatal('28P01'));
    const next = await answering(fatal('57P03'));
    await assert.rejects(connect(list([refusing.port, next.port])), /28P01/);
    assert.equal(next.asked, 0, 'the password goes to no further server');
  });

  const kinds: readonly (readonly [wanted: string, first: 'writable' | 'read-only', got: 'writable' | 'read-only' | 'none'])[] = [
    ['any', 'read-only', 'read-only'], ['read-write', 'read-only', 'writable'], ['read-write', 'writable', 'writable'], ['read-only', 'writable', 'read-only'],
    ['primary', 'read-only', 'read-only'], ['standby', 'writable', 'none'], ['prefer-standby', 'writable', 'writable'],
  ];
  for (const [wanted, first, got] of kinds) {
    it(`target_session_attrs=${wanted} takes ${got} when the first is ${first}`, async () => {
      const ports = first === 'writable' ? [server.port, readOnly.port] : [readOnly.port, server.port];
      const connected = connect(list(ports, `target_session_attrs=${wanted}`));
      if (got === 'none') await assert.rejects(connected, /None of the database servers can be used: The database server is not standby/);
      else assert.equal(portOf(await connected), got === 'writable' ? server.port : readOnly.port);
    });
  }

  it('a session that asks to be read-only itself does not make a server read-only', async () => {
    const link = await connect(list([server.port], 'target_session_attrs=read-write'), { parameters: new Map([['default_transaction_read_only', 'on']]) });
    assert.equal(portOf(link), server.port);
  });

  it('a random order reaches each', async () => {
    const seen = new Set<number | undefined>();
    for (let attempt = 0; attempt < 60 && seen.size < 2; attempt += 1) {
      const link = await connect(list([server.port, readOnly.port], 'load_balance_hosts=random'));
      seen.add(portOf(link));
      await link.end();
    }
    assert.equal(seen.size, 2);
  });

  it('none that is left says so, without an address', async () => {
    await assert.rejects(connect(list([await freePort(), await freePort()])), (error) => {
      assert.ok(error instanceof Failure && error.code === 'upstream_unavailable');
      assert.match(error.message, /^None of the database servers can be used: The database server cannot be reached \(ECONNREFUSED\)\.$/);
      return true;
    });
  });

  it('a cancel and a second link go to the very server that the first reached', async () => {
    const link = await connect(list([server.port, readOnly.port]));
    const second = await connect(list([readOnly.port, server.port]), { at: link.address });
    assert.equal(await one(second, 'show port'), String(server.port));
  });
});
