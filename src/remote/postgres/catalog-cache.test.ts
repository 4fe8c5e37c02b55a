/** When a catalog snapshot may be trusted, with a fake database whose version and failures the test chooses. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Catalog } from '../../core/sql/catalog.ts';
import { createCatalogCache, staleMsMax, type CatalogCache, type ServerCatalogs } from './catalog-cache.ts';
import type { Link } from './link.ts';
import type { LinkAddress } from './link-target.ts';
import { ServerError } from './server-error.ts';

interface Scene {
  readonly cache: CatalogCache; ms: number; version: string; loads: number; compares: number; fails: boolean; links: number; failCompare: boolean; failLoads: number;
  /** Which server answers at the address. */
  identity: string;
  /** The catalogs of whichever that is. */
  here(): Promise<ServerCatalogs>;
}

const address: LinkAddress = { kind: 'tcp', host: 'db', ip: '10.0.0.1', port: 5432 };

function scene(): Scene {
  const state: Omit<Scene, 'cache' | 'here'> = { ms: 0, version: 'v1', loads: 0, compares: 0, fails: false, links: 0, failCompare: false, failLoads: 0, identity: 'first' };
  const linkTo = (identity: string): Link => ({
    address, relay: () => undefined, destroy: () => undefined, end: () => Promise.resolve(),
    query: (sql: string) => {
      const answer = sql === 'version' ? state.version : identity;
      return state.failCompare ? Promise.reject(new Error('lost')) : Promise.resolve({ columns: [], rows: [[answer]], command: { command: 'SELECT', rows: 1 } });
    },
  } as unknown as Link);
  const cache = createCatalogCache({
    inside: { load: () => Promise.resolve(undefined), version: () => Promise.resolve(undefined) },
    connect: () => { state.links += 1; return state.fails ? Promise.reject(new Error('no server')) : Promise.resolve(linkTo(state.identity)); },
    catalogVersion: async (ask) => { state.compares += 1; return (await ask('version'))[0]?.[0] ?? ''; },
    loadCatalog: () => { state.loads += 1; if (state.loads <= state.failLoads) throw new ServerError({ severity: 'ERROR', code: '40P01', message: 'deadlock detected' }); return Promise.resolve({ version: `${state.version} of ${state.identity}` } as Catalog); },
    clock: { now: () => new Date(state.ms), monotonicMs: () => state.ms },
  });
  return Object.assign(state, { cache, here: () => cache.of(linkTo(state.identity)) });
}

test('a snapshot serves reads for a bounded time, then is compared, and is read again only when its version moved', async () => {
  const on = scene();
  const server = await on.here();
  assert.equal(server.cached('shop'), undefined);
  const first = await server.current('shop', { fresh: false });
  assert.equal(server.cached('shop'), first);
  on.ms = staleMsMax;
  assert.equal(server.cached('shop'), undefined);
  assert.equal(await server.current('shop', { fresh: false }), first);
  on.version = 'v2';
  assert.equal(server.cached('shop'), first);
  assert.notEqual(await server.current('shop', { fresh: true }), first);
  assert.deepEqual([on.loads, on.compares, on.links], [2, 3, 1]);
});

test('a reading that deadlocks with those who change the schema is done again, and fails by name in the end', async () => {
  const on = scene();
  on.failLoads = 2;
  const server = await on.here();
  assert.equal((await server.current('shop', { fresh: true })).version, 'v1 of first');
  Object.assign(on, { version: 'v2', failLoads: 1_000 });
  await assert.rejects(server.current('shop', { fresh: true }), { code: 'schema_moved' });
  on.failLoads = 0;
  assert.equal((await server.current('shop', { fresh: true })).version, 'v2 of first');
});

test('a snapshot counts as just compared from the end of its comparison on, however long that took', async () => {
  const on = scene();
  const server = await on.here();
  assert.equal(server.justCompared('shop', 20), undefined);
  const comparing = server.current('shop', { fresh: true });
  on.ms = 500;
  const catalog = await comparing;
  assert.equal(server.justCompared('shop', 20), catalog);
  on.ms = 520;
  assert.deepEqual([server.justCompared('shop', 20), server.cached('shop')], [undefined, catalog]);
});

test('callers that come while a comparison waits to begin share it; one that has begun is not fresh for them', async () => {
  const on = scene();
  const server = await on.here();
  await Promise.all(Array.from({ length: 50 }, () => server.current('shop', { fresh: true })));
  assert.ok(on.compares <= 2 && on.loads === 1, `${on.compares} comparisons`);
});

test('a database that cannot be asked gives an error, not an old snapshot, and is asked again later', async () => {
  const on = scene();
  const server = await on.here();
  await server.current('shop', { fresh: true });
  on.failCompare = true;
  await assert.rejects(server.current('shop', { fresh: true }), /lost/);
  on.failCompare = false;
  on.fails = true;
  await assert.rejects(server.current('shop', { fresh: true }), /no server/);
  on.fails = false;
  await server.current('shop', { fresh: true });
  assert.equal(on.links, 3);
});

test('refresh reads again even when the version is the same', async () => {
  const on = scene();
  const server = await on.here();
  await server.current('shop', { fresh: true });
  await server.refresh('shop');
  assert.equal(on.loads, 2);
});

test('links to the same server share its catalogs, and those to another have their own', async () => {
  const on = scene();
  const first = await on.here();
  assert.equal(await on.here(), first);
  const catalog = await first.current('shop', { fresh: true });
  on.identity = 'second';
  const second = await on.here();
  assert.notEqual(second, first);
  assert.equal(second.cached('shop'), undefined);
  assert.notEqual(await second.current('shop', { fresh: false }), catalog);
  assert.equal(first.cached('shop'), catalog, 'a session on the first server keeps its own');
});

test('a session whose server was replaced behind its address is judged by nobody else\'s catalog', async () => {
  const on = scene();
  const first = await on.here();
  await first.current('shop', { fresh: true });
  on.failCompare = true;
  await assert.rejects(first.current('shop', { fresh: true }), /lost/);
  on.failCompare = false;
  on.identity = 'second';
  await assert.rejects(first.current('shop', { fresh: true }), /Another database server/);
  assert.equal((await on.cache.current('shop', { fresh: true })).version, 'v1 of second', 'new sessions go on with the new server');
});

test('servers come and go without end, and few are remembered', async () => {
  const on = scene();
  const kept = await on.here();
  const seen = new Set<ServerCatalogs>();
  for (let number = 0; number < 100; number += 1) {
    on.identity = `restart ${number}`;
    seen.add(await on.here());
  }
  on.identity = 'first';
  assert.notEqual(await on.here(), kept, 'forgotten, so read again');
  assert.equal(seen.size, 100);
});

test('closing does not fail over a connection that is being opened and cannot be', async () => {
  const on = scene();
  const server = await on.here();
  on.fails = true;
  const asked = assert.rejects(server.current('shop', { fresh: true }), /no server/);
  while (on.links === 0) await Promise.resolve();
  await on.cache.close();
  await asked;
});
