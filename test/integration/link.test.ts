/** The link against a real PostgreSQL 18: login in every way, relay, own questions beside a client's, cancel, loss. */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Failure } from '../../src/core/failure.ts';
import { Bug } from '../../src/lib/assert.ts';
import { decodeDiagnostic } from '../../src/lib/pgwire/diagnostic.ts';
import { serverLimits } from '../../src/lib/pgwire/frame-limits.ts';
import { FrameReader, type Frame } from '../../src/lib/pgwire/frame-reader.ts';
import * as encode from '../../src/lib/pgwire/frontend-encode.ts';
import { backendType } from '../../src/lib/pgwire/message-type.ts';
import { formatVerifier, makeVerifier, parseVerifier } from '../../src/lib/pgwire/scram-verifier.ts';
import { connectLink, type Link, type LinkOptions } from '../../src/remote/postgres/link.ts';
import { parseConnectionString, type LinkTarget } from '../../src/remote/postgres/link-target.ts';
import { ServerError } from '../../src/remote/postgres/server-error.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { enableTls } from '../fixtures/postgres-tls.ts';

let server: PostgresServer;
let folder: string;
let certificateFile: string;
const open: Link[] = [];

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'link-test-'));
  chmodSync(folder, 0o777); // the server runs as another user when the tests run as root
  server = await startPostgresServer({ unix_socket_directories: folder });
  await server.run(`create role ours login password '${formatVerifier(await makeVerifier('we made this verifier', { salt: Buffer.alloc(16, 5) }))}'`);
  await server.run(`set password_encryption = md5; create role md5user login password 'old'`);
  await server.run(`create role clearuser login password 'clear'`);
  await server.run('create table items (id int primary key, name text); insert into items select i, \'item \' || i from generate_series(1, 20000) i');
  certificateFile = await enableTls(server, folder, ['localhost'], ['host all md5user all md5', 'host all clearuser all password', 'local all all scram-sha-256']);
});

after(async () => {
  for (const link of open) link.destroy();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Who { readonly user?: string; readonly password?: string; readonly host?: string; readonly query?: string }

function target(who: Who = {}): LinkTarget {
  const user = who.user ?? server.user;
  const password = encodeURIComponent(who.password ?? server.password);
  return parseConnectionString(`postgres://${user}:${password}@${who.host ?? '127.0.0.1'}:${server.port}/postgres${who.query ?? '?sslmode=disable'}`);
}

async function connect(who: Who = {}, options: LinkOptions = {}): Promise<Link> {
  const link = await connectLink(target(who), options);
  open.push(link);
  return link;
}

async function ask(link: Link, sql: string, parameters?: readonly (string | null)[]): Promise<readonly (readonly (string | null)[])[]> {
  return (await link.query(sql, parameters)).rows;
}

/** A client's side of the relay: writes, and waits for what the server says up to ReadyForQuery. */
class Client {
  readonly link: Link;
  readonly #reader = new FrameReader(serverLimits);
  readonly frames: Frame[] = [];
  #wake: () => void = () => {};
  readonly closed: Promise<Error | undefined>;

  constructor(link: Link) {
    this.link = link;
    const { promise, resolve } = Promise.withResolvers<Error | undefined>();
    this.closed = promise;
    link.relay({
      onData: (chunk) => {
        this.#reader.push(chunk);
        for (let frame; (frame = this.#reader.next()) !== undefined;) this.frames.push(frame);
        this.#wake();
      },
      onDrain: () => this.#wake(),
      onClose: resolve,
    });
  }

  async until(type: number): Promise<readonly Frame[]> {
    for (;;) {
      const at = this.frames.findIndex((frame) => frame.type === type);
      if (at >= 0) return this.frames.splice(0, at + 1);
      await new Promise<void>((resolve) => { this.#wake = resolve; });
    }
  }

  async send(...messages: readonly Buffer[]): Promise<readonly Frame[]> {
    this.link.write(Buffer.concat(messages));
    const answers = await this.until(backendType.readyForQuery);
    this.link.markIdle();
    return answers;
  }
}

/** Ends when the server's session does; a session that stays keeps the test from ending. */
async function untilGone(link: Link): Promise<void> {
  for (let sessions = 1; sessions > 0;) {
    const [row] = await server.run(`select count(*)::int as sessions from pg_stat_activity where pid = ${link.processId}`);
    sessions = Number(row?.['sessions']);
  }
}

const letters = (frames: readonly Frame[]): string => frames.map(({ type }) => String.fromCharCode(type)).join('');

test('a SCRAM login over TCP tells the server\'s parameters and version', async () => {
  const link = await connect();
  assert.equal(link.serverMajor, 18);
  assert.equal(link.isEncrypted, false);
  assert.equal(link.parameters.get('client_encoding'), 'UTF8');
  assert.deepEqual(await ask(link, 'select pg_backend_pid()::text'), [[String(link.processId)]]);
});

const ways: readonly { readonly why: string; readonly who: () => Who; readonly isEncrypted: boolean }[] = [
  { why: 'a verifier that we made ourselves', who: () => ({ user: 'ours', password: 'we made this verifier' }), isEncrypted: false },
  { why: 'md5', who: () => ({ user: 'md5user', password: 'old' }), isEncrypted: false },
  { why: 'SCRAM bound to the TLS channel', who: () => ({ query: '?sslmode=require' }), isEncrypted: true },
  { why: 'TLS because it is preferred', who: () => ({ query: '' }), isEncrypted: true },
  { why: 'a password in clear inside TLS', who: () => ({ user: 'clearuser', password: 'clear', query: '?sslmode=require' }), isEncrypted: true },
  { why: 'TLS with host and issuer checked', who: () => ({ host: 'localhost', query: `?sslmode=verify-full&sslrootcert=${certificateFile}` }), isEncrypted: true },
  { why: 'TLS with only the issuer checked', who: () => ({ query: `?sslmode=verify-ca&sslrootcert=${certificateFile}` }), isEncrypted: true },
  { why: 'a Unix socket', who: () => ({ host: encodeURIComponent(folder), query: '' }), isEncrypted: false },
];
for (const { why, who, isEncrypted } of ways) {
  test(`a login by ${why} succeeds, and so does a cancel on it`, async () => {
    const link = await connect(who());
    assert.equal(link.isEncrypted, isEncrypted);
    assert.deepEqual(await ask(link, 'select coalesce((select ssl::text from pg_stat_ssl where pid = pg_backend_pid()), $1)', ['-']), [[String(isEncrypted)]]);
    await link.cancel();
    await link.end();
  });
}

const refusals: readonly { readonly why: string; readonly who: () => Who; readonly options?: LinkOptions; readonly code: string; readonly message: RegExp; readonly cause?: string }[] = [
  { why: 'a wrong password', who: () => ({ password: 'hunter2' }), code: 'upstream_unavailable', message: /refuses the login \(SQLSTATE 28P01\)/, cause: '28P01' },
  { why: 'an unknown database', who: () => ({}), options: { database: 'nowhere' }, code: 'not_found', message: /no such database/, cause: '3D000' },
  { why: 'a password in clear without TLS', who: () => ({ user: 'clearuser', password: 'hunter2' }), code: 'upstream_unavailable', message: /in clear/ },
  { why: 'a certificate of an unknown issuer', who: () => ({ host: 'localhost', query: '?sslmode=verify-full' }), code: 'upstream_unavailable', message: /CERT/ },
  { why: 'a certificate for another name', who: () => ({ query: `?sslmode=verify-full&sslrootcert=${certificateFile}` }), code: 'upstream_unavailable', message: /ALTNAME/ },
  { why: 'an unknown start-up parameter', who: () => ({}), options: { parameters: new Map([['no_such_setting', '1']]) }, code: 'upstream_unavailable', message: /42704/, cause: '42704' },
];
for (const { why, who, options, code, message, cause } of refusals) {
  test(`${why} is a Failure that says so and holds no credential`, async () => {
    await assert.rejects(connect(who(), options), (error) => {
      assert.ok(error instanceof Failure);
      assert.equal(error.code, code);
      assert.match(error.message, message);
      assert.doesNotMatch(`${error.message} ${error.hint} ${error.detail ?? ''}`, /hunter2|superuser-of-the-test|127\.0\.0\.1/);
      if (cause !== undefined) assert.ok(error.cause instanceof ServerError && error.cause.code === cause);
      return true;
    });
  });
}

test('nobody may ask for another encoding or for replication', async () => {
  for (const name of ['client_encoding', 'replication', 'user', 'Standard_Conforming_Strings']) {
    await assert.rejects(connect({}, { parameters: new Map([[name, 'x']]) }), Bug);
  }
});

test('an own question leaves the client\'s unnamed statement, portal and transaction as they were', async () => {
  const link = await connect();
  const client = new Client(link);
  await client.send(encode.encodeQuery('begin'));
  await client.send(encode.encodeParse({ statement: '', sql: 'select id from items order by id', parameterTypes: [] }), encode.encodeSync());
  await client.send(
    encode.encodeBind({ portal: '', statement: '', formats: [], values: [], resultFormats: [] }),
    encode.encodeExecute({ portal: '', rowsMax: 2 }), encode.encodeSync(),
  );
  assert.deepEqual(await ask(link, 'select $1::int + 1, $2::text', ['41', null]), [['42', null]]);
  assert.equal(letters(await client.send(encode.encodeExecute({ portal: '', rowsMax: 1 }), encode.encodeSync())), 'DsZ');
  assert.equal(letters(await client.send(encode.encodeDescribe({ target: 'statement', name: '' }), encode.encodeSync())), 'tTZ');
  await client.send(encode.encodeQuery('commit'));
  assert.deepEqual(await ask(link, 'select count(*) from pg_prepared_statements where name not like \'own%\' and name <> \'\''), [['0']]);
});

test('an own question that fails tells the SQLSTATE, leaves nothing behind, and the link goes on', async () => {
  const link = await connect();
  for (const sql of ['select 1/0', 'select broken from nowhere', 'select 1; select 2']) {
    await assert.rejects(link.query(sql), (error) => error instanceof ServerError && ['22012', '42P01', '42601'].includes(error.code));
  }
  // The one that asks is the only one there.
  assert.deepEqual(await ask(link, 'select count(*) from pg_prepared_statements'), [['1']]);
  const result = await link.query('update items set name = name where id <= $1', ['3']);
  assert.deepEqual(result.command, { command: 'UPDATE', rows: 3 });
});

test('questions asked at once are answered in their order', async () => {
  const link = await connect();
  const answers = await Promise.all(['1', '2', '3'].map((value) => ask(link, 'select $1::int', [value])));
  assert.deepEqual(answers, [[['1']], [['2']], [['3']]]);
  assert.equal((await ask(link, 'select id, name from items')).length, 20_000);
});

test('several questions asked in one breath are answered each, until one fails, which leaves nothing behind', async () => {
  const link = await connect();
  const answers = await link.askAll([{ sql: 'begin' }, { sql: 'select $1::int8', values: [Buffer.from('7')] }, { sql: 'select id from items where id < 3 order by id' }, { sql: 'commit' }]);
  assert.deepEqual(answers.map(({ command: { command } }) => command), ['BEGIN', 'SELECT', 'SELECT', 'COMMIT']);
  assert.deepEqual(answers.map(({ rows }) => rows), [[], [['7']], [['1'], ['2']], []]);
  const failing = ['update items set name = name where id = 1', 'select 1/0', 'update items set name = name where id = 2'];
  await assert.rejects(link.askAll(failing.map((sql) => ({ sql }))), (error) => error instanceof ServerError && error.code === '22012');
  await assert.rejects(link.askAll([{ sql: 'select 1' }, { sql: 'select id, name from items' }], 10_000), (error) => error instanceof Failure && error.code === 'too_large');
  assert.deepEqual(await ask(link, 'select count(*) from pg_prepared_statements'), [['1']]);
});

test('a question while the relay is busy is a bug, and so is writing while a question is asked', async () => {
  const link = await connect();
  const client = new Client(link);
  link.write(encode.encodeQuery('select 1'));
  assert.throws(() => link.query('select 2'), Bug);
  await client.until(backendType.readyForQuery);
  link.markIdle();
  const answer = link.query('select pg_sleep(0.05)');
  await Promise.resolve();
  assert.throws(() => link.write(encode.encodeSync()), Bug);
  assert.equal((await answer).rows.length, 1);
});

test('notifications and parameter changes during an own question reach the client, notices about it do not', async () => {
  const link = await connect();
  const client = new Client(link);
  await client.send(encode.encodeQuery('listen news'));
  const sql = `with a as (select pg_notify('news', 'hello')), b as (select set_config('application_name', 'other', false)) select 1 from a, b`;
  await link.query(sql);
  assert.deepEqual(letters(client.frames.splice(0)).split('').sort(), ['A', 'S']);
  await link.query('do $$ begin raise notice \'about us\'; end $$');
  assert.equal(client.frames.length, 0);
});

test('a cancel ends what runs on this link with 57014 and nothing else', async () => {
  const [link, other] = [await connect(), await connect()];
  const [client, bystander] = [new Client(link), new Client(other)];
  link.write(encode.encodeQuery('select pg_sleep(30)'));
  other.write(encode.encodeQuery('select pg_sleep(0.4)'));
  for (let isRunning = false; !isRunning;) {
    const [row] = await server.run(`select state = 'active' as running from pg_stat_activity where pid = ${link.processId}`);
    isRunning = row?.['running'] === true;
  }
  await link.cancel();
  const answers = await client.until(backendType.readyForQuery);
  const error = answers.find(({ type }) => type === backendType.errorResponse);
  assert.equal(decodeDiagnostic(error?.body ?? Buffer.of(0)).code, '57014');
  assert.equal(letters(await bystander.until(backendType.readyForQuery)), 'TDCZ');
});

test('a slow reader pauses the server, and every byte arrives after it resumes', async () => {
  const link = await connect();
  const client = new Client(link);
  link.pause();
  link.write(encode.encodeQuery('select repeat(\'x\', 1000) from generate_series(1, 50000)'));
  for (let isBlocked = false; !isBlocked;) {
    const [row] = await server.run(`select wait_event as waits from pg_stat_activity where pid = ${link.processId}`);
    isBlocked = row?.['waits'] === 'ClientWrite';
  }
  assert.equal(client.frames.length, 0);
  link.resume();
  const answers = await client.until(backendType.readyForQuery);
  assert.equal(answers.filter(({ type }) => type === backendType.dataRow).length, 50_000);
});

test('a server that ends the session is noticed by the relay and by the question under way', async () => {
  const [link, asking] = [await connect(), await connect()];
  const client = new Client(link);
  const answer = asking.query('select pg_sleep(30)');
  const failed = assert.rejects(answer, (error) => error instanceof Failure && error.code === 'upstream_unavailable');
  await server.run(`select pg_terminate_backend(pid) from pg_stat_activity where pid in (${link.processId}, ${asking.processId})`);
  await failed;
  await client.closed;
  assert.equal(decodeDiagnostic(client.frames[0]?.body ?? Buffer.of(0)).code, '57P01');
  await assert.rejects(async () => { await link.query('select 1'); }, Failure);
});

test('a question without an answer in its time ends the link, and the server is rid of it', async () => {
  const link = await connect();
  const client = new Client(link);
  await assert.rejects(link.query('select pg_sleep(30)', [], 50), (error) => error instanceof Failure && error.code === 'upstream_unavailable');
  assert.match((await client.closed)?.message ?? '', /no answer within 50 ms/);
  await untilGone(link);
});

test('ending a link ends the server\'s session', async () => {
  const link = await connect();
  const client = new Client(link);
  await link.end();
  assert.equal(await client.closed, undefined);
  await untilGone(link);
});

test('PostgreSQL\'s own verifier is read, and made again from its password', async () => {
  await server.run('set password_encryption = \'scram-sha-256\'; create role theirs login password \'päss wörd \u2168\'');
  const [row] = await server.run('select rolpassword as verifier from pg_authid where rolname = \'theirs\'');
  const verifier = parseVerifier(String(row?.['verifier']));
  assert.ok(verifier !== undefined);
  assert.deepEqual(await makeVerifier('päss wörd IX', verifier), verifier);
  const link = await connect({ user: 'theirs', password: 'päss wörd IX' });
  await link.end();
});
