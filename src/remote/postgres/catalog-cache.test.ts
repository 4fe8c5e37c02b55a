/** When a catalog snapshot may be trusted, with a fake database whose version and failures the test chooses. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Catalog } from '../../core/sql/catalog.ts';
import { createCatalogCache, staleMsMax, type CatalogCache } from './catalog-cache.ts';
import type { Link } from './link.ts';

interface Scene { readonly cache: CatalogCache; ms: number; version: string; loads: number; compares: number; fails: boolean; links: number; failCompare: boolean }

function scene(): Scene {
  const state: Omit<Scene, 'cache'> = { ms: 0, version: 'v1', loads: 0, compares: 0, fails: false, links: 0, failCompare: false };
  const link = {
    relay: () => undefined, destroy: () => undefined, end: () => Promise.resolve(),
    query: () => (state.failCompare ? Promise.reject(new Error('lost')) : Promise.resolve({ columns: [], rows: [[state.version]], command: { command: 'SELECT', rows: 1 } })),
  } as unknown as Link;
  const cache = createCatalogCache({
    connect: () => { state.links += 1; return state.fails ? Promise.reject(new Error('no server')) : Promise.resolve(link); },
    catalogVersion: async (ask) => { state.compares += 1; return (await ask('version'))[0]?.[0] ?? ''; },
    loadCatalog: () => { state.loads += 1; return Promise.resolve({ version: state.version } as Catalog); },
    clock: { now: () => new Date(state.ms), monotonicMs: () => state.ms },
  });
  return Object.assign(state, { cache });
}

test('a snapshot serves reads for a bounded time, then is compared, and is read again only when its version moved', async () => {
  const on = scene();
  assert.equal(on.cache.cached('shop'), undefined);
  const first = await on.cache.current('shop', { fresh: false });
  assert.equal(on.cache.cached('shop'), first);
  on.ms = staleMsMax;
  assert.equal(on.cache.cached('shop'), undefined);
  assert.equal(await on.cache.current('shop', { fresh: false }), first);
  on.version = 'v2';
  assert.equal(on.cache.cached('shop'), first);
  assert.notEqual(await on.cache.current('shop', { fresh: true }), first);
  assert.deepEqual([on.loads, on.compares, on.links], [2, 3, 1]);
});

test('callers that come while a comparison waits to begin share it; one that has begun is not fresh for them', async () => {
  const on = scene();
  await Promise.all(Array.from({ length: 50 }, () => on.cache.current('shop', { fresh: true })));
  assert.ok(on.compares <= 2 && on.loads === 1, `${on.compares} comparisons`);
});

test('a database that cannot be asked gives an error, not an old snapshot, and is asked again later', async () => {
  const on = scene();
  await on.cache.current('shop', { fresh: true });
  on.failCompare = true;
  await assert.rejects(on.cache.current('shop', { fresh: true }), /lost/);
  on.failCompare = false;
  on.fails = true;
  await assert.rejects(on.cache.current('shop', { fresh: true }), /no server/);
  on.fails = false;
  await on.cache.current('shop', { fresh: true });
  assert.equal(on.links, 3);
});

test('refresh reads again even when the version is the same', async () => {
  const on = scene();
  await on.cache.current('shop', { fresh: true });
  await on.cache.refresh('shop');
  assert.equal(on.loads, 2);
});
