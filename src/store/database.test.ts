/**
 * What every kind of store promises: transactions that do not interleave, not even between processes, that leave nothing
 * when they throw, and that take only what they can keep; and secrets that all who share it have in common.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sql } from 'kysely';
import { Failure } from '../core/failure.ts';
import { openDatabase } from './database.ts';
import { sharedSecret } from './shared-secrets.ts';
import { openStore, stores, withStore } from '../../test/fixtures/store.ts';

const operator = (name: string) => ({ name, token_hash: 'h', created_at: 'now', revoked_at: null });
const agent = { name: 'ada', database_name: null, verifier: 'v', created_at: 'now', rotated_at: null, revoked_at: null, generation: 0, login: 'token', connections_max: null };

test('transactions that run at the same time never interleave, whoever runs them', () => withStore(async ({ database, place }) => {
  await database.transact((changes) => changes.insertInto('agent').values(agent).execute());
  const other = await openStore(place);
  await Promise.all(Array.from({ length: 50 }, (_, index) => {
    const { transact, transactRelaxed } = index % 2 === 0 ? database : other.database;
    return (index % 3 === 0 ? transactRelaxed : transact)(async (changes) => {
      const { generation } = await changes.selectFrom('agent').select('generation').executeTakeFirstOrThrow();
      await new Promise(setImmediate);
      await changes.updateTable('agent').set({ generation: generation + 1 }).execute();
    });
  }));
  await other.close();
  assert.equal((await database.queries.selectFrom('agent').select('generation').executeTakeFirstOrThrow()).generation, 50);
}));

test('a transaction that throws leaves nothing, and the next one works', () => withStore(async ({ database }) => {
  const boom = new Error('boom');
  await assert.rejects(database.transact(async (changes) => {
    await changes.insertInto('operator').values(operator('a')).execute();
    throw boom;
  }), boom);
  await database.transact((changes) => changes.insertInto('operator').values(operator('b')).execute());
  assert.deepEqual((await database.queries.selectFrom('operator').select('name').execute()).map(({ name }) => name), ['b']);
}));

test('a statement that fails fails its transaction', () => withStore(async ({ database }) => {
  await database.transact((changes) => changes.insertInto('operator').values(operator('a')).execute());
  const twice = database.transact((changes) => changes.insertInto('operator').values(operator('a')).execute());
  await assert.rejects(twice, (error) => error instanceof Failure && error.code === 'store_unavailable');
  await database.transact((changes) => changes.insertInto('operator').values(operator('b')).execute());
}));

test('a value that the store cannot keep is a bug, not a null', () => withStore(async ({ database }) => {
  await assert.rejects(sql`SELECT ${true}`.execute(database.queries), { name: 'Bug' });
}));

test('the clock of the store is the time in milliseconds, and goes on in a transaction', () => withStore(async ({ database }) => {
  const near = Date.now();
  const { rows: [row] } = await database.transact((changes) => sql<{ ms: number }>`SELECT ${database.nowMs} AS ms`.execute(changes));
  assert.equal(typeof row?.ms, 'number');
  assert.ok(Math.abs((row?.ms ?? 0) - near) < 60_000);
}));

test('all who share a store share its secrets, whoever is first', () => withStore(async ({ database, place }) => {
  const other = await openStore(place);
  let makes = 0;
  const make = (): string => `secret ${makes += 1}`;
  const got = await Promise.all([database, other.database, database, other.database].map((one) => sharedSecret(one, 'login', make)));
  await other.close();
  assert.deepEqual(new Set(got), new Set(['secret 1']));
  assert.equal(await sharedSecret(database, 'login', make), 'secret 1');
}));

test('a store that is not there is not made for whoever only looks', async () => {
  const place = await stores().newPlace();
  await assert.rejects(openDatabase(place, { isThere: true }), (error) => error instanceof Failure && error.code === 'not_found');
  await (await openStore(place)).close();
  await (await openDatabase(place, { isThere: true })).close();
  await stores().remove(place);
});
