/**
 * What only the store on PostgreSQL has to show: least rights that suffice and nothing beyond them, a record that its own
 * role cannot change, servers that go away, hang, stand by or are of another version, and a process that hangs while it
 * holds the lock that all need. No message shows a password.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer, connect, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { sql } from 'kysely';
import pg from 'pg';
import { Failure } from '../../src/core/failure.ts';
import { Secret } from '../../src/lib/secret.ts';
import { openDatabase, type StorePlace } from '../../src/store/database.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { postgresStores, type PostgresStores } from '../fixtures/postgres-stores.ts';
import { openStore, placeToText, readOf, useStores, verdictOf } from '../fixtures/store.ts';
import { until } from '../fixtures/until.ts';

let server: PostgresServer;
let stores: PostgresStores;
before(async () => {
  server = await startPostgresServer();
  stores = await postgresStores(server);
  useStores(stores);
});
after(async () => { await server?.stop(); });

const committed = { kind: 'committed', rows: 1, durationMs: 1 } as const;
const failsWith = (code: Failure['code'], match?: RegExp) => (error: unknown): boolean => {
  assert.ok(error instanceof Failure, String(error));
  assert.ok(!`${error.message} ${error.detail ?? ''} ${error.hint}`.includes('password-of'), 'no password is shown');
  assert.match(error.message, match ?? /./);
  return error.code === code;
};
const at = (place: StorePlace, change: (url: URL) => void): StorePlace => {
  const url = new URL(placeToText(place));
  change(url);
  return { kind: 'postgres', url: new Secret(url.href) };
};

describe('the rights of the store\'s role', () => {
  it('may be those that docs/store.md names: they suffice to serve, and change nothing that is on record', async () => {
    const place = await stores.newPlace();
    await (await openStore(place)).close();
    const documented = /```sql\n(-- least rights[^`]*)```/.exec(readFileSync(new URL('../../docs/store.md', import.meta.url), 'utf8'))?.[1];
    assert.ok(documented !== undefined, 'docs/store.md shows the rights as SQL');
    for (const { name } of await stores.run(place, 'SELECT relname AS name FROM pg_class WHERE relnamespace = \'backstop\'::regnamespace AND relkind = \'r\' AND relname <> \'data_version\'')) {
      assert.ok(documented.includes(`backstop.${String(name)}`), `docs/store.md names no rights for ${String(name)}`);
    }
    await stores.run(place, documented.replace('\'choose-one\'', '\'password-of-the-server\''));
    const least = at(place, (url) => { url.username = 'backstop_serving'; url.password = 'password-of-the-server'; });
    const store = await openStore(least, undefined, 'least');
    await store.identities.addAgent('ada', null, 'olga');
    await store.identities.rotateAgent('ada', 'olga');
    await store.identities.addOperator('olga');
    await store.ledger.settle(await store.ledger.issue(verdictOf('act_1')), committed);
    await store.ledger.settle(store.ledger.issueRead(readOf('act_2')), committed);
    await store.close();
    const client = new pg.Client({ connectionString: placeToText(least), options: '-c search_path=backstop' });
    await client.connect();
    for (const text of ['UPDATE ledger SET at = \'\'', 'DELETE FROM ledger', 'TRUNCATE ledger', 'ALTER TABLE ledger DISABLE TRIGGER ALL', 'DROP TRIGGER ledger_is_never_changed ON ledger',
      'DROP TABLE ledger', 'CREATE TABLE backstop.mine (a int)', 'UPDATE data_version SET version = 0', 'DELETE FROM ledger_head', 'SET session_replication_role = replica', 'CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$']) {
      await assert.rejects(client.query(text), (error) => error instanceof pg.DatabaseError && error.code === '42501', text);
    }
    await client.end();
  });

  it('of the owner do not reach into what is on record either, but by taking the triggers away', async () => {
    const place = await stores.newPlace();
    const store = await openStore(place);
    await store.ledger.append(verdictOf('act_1'));
    await store.close();
    const client = new pg.Client({ connectionString: placeToText(place), options: '-c search_path=backstop' });
    await client.connect();
    for (const text of ['UPDATE ledger SET at = \'\'', 'DELETE FROM ledger', 'TRUNCATE ledger', 'INSERT INTO ledger SELECT * FROM ledger ON CONFLICT (seq) DO UPDATE SET at = \'\'']) await assert.rejects(client.query(text), /append-only/, text);
    await client.end();
  });
});

describe('a store that cannot be used', () => {
  const places: readonly (readonly [what: string, change: (url: URL) => void, code: Failure['code'], match: RegExp])[] = [
    ['where nobody listens', (url) => { url.port = '1'; }, 'store_unavailable', /ECONNREFUSED/],
    ['with a wrong password', (url) => { url.password = 'password-of-nobody'; }, 'store_unavailable', /authentication failed/],
    ['in a database that is not there', (url) => { url.pathname = '/nowhere'; }, 'store_unavailable', /does not exist/],
  ];
  for (const [what, change, code, match] of places) {
    it(`${what} is refused in one sentence`, async () => {
      const place = await stores.newPlace();
      await assert.rejects(openDatabase(at(place, change)), failsWith(code, match));
    });
  }

  it('of a newer version is refused and left as it is', async () => {
    const place = await stores.newPlace();
    await (await openStore(place)).close();
    await stores.run(place, 'UPDATE data_version SET version = 9999');
    await assert.rejects(openDatabase(place), failsWith('data_version', /9999/));
    assert.deepEqual(await stores.run(place, 'SELECT version FROM data_version'), [{ version: '9999' }]);
  });

  it('whose schema belongs to somebody else is not touched', async () => {
    const place = await stores.newPlace();
    await server.run('CREATE SCHEMA backstop; CREATE TABLE backstop.ledger (a int)', stores.nameOf(place));
    await assert.rejects(openDatabase(place), failsWith('store_unavailable'));
    assert.deepEqual((await server.run('SELECT table_name FROM information_schema.tables WHERE table_schema = \'backstop\'', stores.nameOf(place))), [{ table_name: 'ledger' }]);
  });

  it('because its head is gone permits nothing', async () => {
    const place = await stores.newPlace();
    const store = await openStore(place);
    await stores.run(place, 'DELETE FROM ledger_head');
    await assert.rejects(store.ledger.issue(verdictOf('act_1')), failsWith('ledger_unavailable'));
    assert.deepEqual(await stores.run(place, 'SELECT seq FROM ledger'), []);
    await store.database.close();
  });
});

it('two that open a new store at the same moment both succeed', async () => {
  const place = await stores.newPlace();
  const opened = await Promise.all(Array.from({ length: 4 }, () => openDatabase(place)));
  for (const database of opened) await database.close();
  assert.deepEqual((await stores.run(place, 'SELECT count(*)::int AS n FROM ledger_head')), [{ n: 1 }]);
});

it('connections that the server ends are made again', async () => {
  const place = await stores.newPlace();
  const store = await openStore(place, undefined, 'one');
  await store.ledger.append(verdictOf('act_1'));
  await server.run(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${stores.nameOf(place)}'`);
  await until('it writes again', async () => store.ledger.append(verdictOf('act_2')).then(() => true, () => false));
  assert.equal((await store.ledger.verify()).broken, undefined);
  await store.close();
});

it('a durable transaction waits for the disk, a relaxed one does not, whatever the role\'s default', async () => {
  const place = await stores.newPlace();
  const store = await openStore(place);
  await server.run('ALTER ROLE keeper SET synchronous_commit = off');
  const level = (transact: typeof store.database.transact): Promise<unknown> =>
    transact(async (changes) => (await sql<{ synchronous_commit: string }>`SHOW synchronous_commit`.execute(changes)).rows[0]?.synchronous_commit);
  assert.deepEqual([await level(store.database.transact), await level(store.database.transactRelaxed), await level(store.database.transact)], ['on', 'off', 'on']);
  await server.run('ALTER ROLE keeper RESET synchronous_commit');
  await store.close();
});

it('a process that hangs with the lock in its hand is cut off, and the others go on', async () => {
  const place = await stores.newPlace();
  const [hanging, store] = [await openStore(place), await openStore(place)];
  let isHeld = false;
  const { promise: isOver, resolve: goOn } = Promise.withResolvers<void>();
  const hung = hanging.database.transact(() => { isHeld = true; return isOver; });
  const cutOff = assert.rejects(hung, failsWith('store_unavailable'));
  await until('it holds the lock', () => Promise.resolve(isHeld));
  await until('another writes', async () => store.ledger.append(verdictOf('act_1')).then(() => true, () => false), 30_000);
  goOn();
  await cutOff;
  await store.close();
  await hanging.close();
});

describe('a way to the server that loses answers', () => {
  /** Passes bytes on; `cut` ends all connections once that text goes by, before the answer comes back. */
  async function lossyProxy(): Promise<{ readonly port: number; cutAt: string | undefined; close(): void }> {
    const sockets = new Set<Socket>();
    const proxy = createServer((client) => {
      const upstream = connect(server.port, server.host);
      let isCut = false;
      for (const socket of [client, upstream]) { sockets.add(socket); socket.on('error', () => undefined); socket.on('close', () => { client.destroy(); upstream.destroy(); }); }
      client.on('data', (chunk) => {
        if (state.cutAt !== undefined && chunk.includes(state.cutAt)) { isCut = true; state.cutAt = undefined; }
        upstream.write(chunk);
      });
      upstream.on('data', (chunk) => { if (isCut) client.destroy(); else client.write(chunk); });
    });
    await new Promise<void>((resolve) => { proxy.listen(0, '127.0.0.1', resolve); });
    const address = proxy.address();
    const state = {
      port: address !== null && typeof address === 'object' ? address.port : 0, cutAt: undefined as string | undefined,
      close: () => { proxy.close(); for (const socket of sockets) socket.destroy(); },
    };
    return state;
  }

  it('gives no permit for a verdict whose COMMIT was not answered, and resolves it once', async () => {
    const place = await stores.newPlace();
    const proxy = await lossyProxy();
    const store = await openStore(at(place, (url) => { url.port = String(proxy.port); }), undefined, 'far');
    await store.ledger.append(verdictOf('act_0'));
    proxy.cutAt = 'COMMIT';
    await assert.rejects(store.ledger.issue(verdictOf('act_1')), failsWith('ledger_unavailable'));
    await until('it writes again', async () => store.ledger.append(verdictOf('act_2')).then(() => true, () => false));
    await store.close();
    proxy.close();
    const near = await openStore(place, undefined, 'near');
    const kinds = (await near.ledger.entriesAfter(0, 100)).map(({ body }) => JSON.parse(body) as { kind: string; actionId?: string; outcome?: string });
    assert.deepEqual(kinds.map(({ kind, actionId, outcome }) => [kind, actionId, outcome]), [
      ['verdict', 'act_0', undefined], ['verdict', 'act_1', undefined], ['verdict', 'act_2', undefined], ['outcome', 'act_1', 'unknown'],
    ]);
    assert.equal((await near.ledger.verify()).broken, undefined);
    await near.close();
  });
});
