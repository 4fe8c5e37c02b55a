/**
 * What runs ahead of its record because it is bound to its recovery point: it is neither sealed nor committed, nor heard of,
 * before its verdict is on record, and where that cannot be written nothing of it is left.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { Failure } from '../../src/core/failure.ts';
import { startProtectedScene, type ProtectedScene } from '../fixtures/protected-scene.ts';
import { query } from '../fixtures/unnamed-messages.ts';
import { until } from '../fixtures/until.ts';

let scene: ProtectedScene;
before(async () => { scene = await startProtectedScene(); });
after(async () => { await scene?.stop(); });
beforeEach(() => scene.refill());

const unavailable = (): Promise<never> => Promise.reject(new Failure('ledger_unavailable', 'the record cannot be written, so nothing may run'));
const hasRun = async (): Promise<boolean> => (await scene.server.run("SELECT FROM pg_stat_activity WHERE datname = 'guarded' AND state = 'idle in transaction' AND backend_xid IS NOT NULL")).length > 0;

test('its client hears of it, and it is committed, once its verdict is on record', async () => {
  const recorded = Promise.withResolvers<void>();
  scene.faults.verdict = () => recorded.promise;
  const [was, client] = [await scene.state(), await scene.client()];
  client.send(query('DELETE FROM child WHERE id = 1'));
  await until('it has run', hasRun);
  assert.deepEqual([scene.points.length, scene.lastSettled()], [0, undefined]);
  recorded.resolve();
  assert.deepEqual((await client.until('Z')).at(-1), 'Z:I');
  assert.deepEqual(scene.points.map(({ fate }) => fate), ['committed']);
  await scene.assertUndoable(was);
  client.end();
});

test('where its verdict cannot be written it is rolled back, with the reason, and its session goes on', async () => {
  const [was, client] = [await scene.state(), await scene.client()];
  scene.faults.verdict = unavailable;
  client.send(query('DELETE FROM child WHERE id = 1'));
  await client.until('Z');
  assert.deepEqual(client.errors.map(({ code }) => code), ['58030']);
  assert.deepEqual([scene.points.length, await scene.state()], [0, was]);
  scene.faults.verdict = undefined;
  client.send(query('DELETE FROM child WHERE id = 1'));
  await client.until('Z');
  assert.deepEqual(scene.points.map(({ fate }) => fate), ['committed']);
  client.end();
});

test('in the client\'s own transaction that fails with it', async () => {
  const [was, client] = [await scene.state(), await scene.client()];
  client.send(query('BEGIN'));
  await client.until('Z');
  scene.faults.verdict = unavailable;
  client.send(query('DELETE FROM child WHERE id = 1'));
  assert.deepEqual((await client.until('Z')).at(-1), 'Z:E');
  client.send(query('COMMIT'));
  await client.until('Z');
  assert.deepEqual([scene.points.length, await scene.state()], [0, was]);
  client.end();
});

test('a cancel does not wait for the record', async () => {
  scene.faults.verdict = () => Promise.withResolvers<void>().promise;
  const [was, client] = [await scene.state(), await scene.client()];
  client.send(query('DELETE FROM child WHERE id = 1'));
  await until('it has run', hasRun);
  await scene.cancel(client);
  await client.until('Z');
  assert.deepEqual(client.errors.map(({ code }) => code), ['57014']);
  assert.deepEqual([scene.points.length, await scene.state()], [0, was]);
  client.end();
});
