/**
 * What is protected is held to its ceiling as anything else is, and what no recovery point could be kept of in the way it was
 * sent is refused; either way nothing of it lasts, nothing is kept, and the session goes on.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { startProtectedScene, type ProtectedScene } from '../fixtures/protected-scene.ts';
import { run, ways, whole } from '../fixtures/protected-ways.ts';
import { bind, execute, flush, parse, query, sync } from '../fixtures/unnamed-messages.ts';
import type { WireClient } from '../fixtures/wire-client.ts';

let scene: ProtectedScene;
before(async () => { scene = await startProtectedScene(); });
after(async () => { await scene?.stop(); });
beforeEach(() => scene.refill());

async function withClient(work: (client: WireClient) => Promise<void>): Promise<void> {
  const client = await scene.client();
  try { await work(client); } finally { client.end(); }
}

describe('its ceiling holds, and then nothing is kept', () => {
  const excess = "UPDATE parent SET v = 'n' WHERE id < 4";
  const below = "UPDATE parent SET v = 'n' WHERE id < 3";
  for (const { how, begin, messages } of ways) {
    it(how, () => withClient(async (client) => {
      const was = await scene.state();
      scene.ceiling = { rows: 2, total: null, by: 'approval' };
      if (begin !== undefined) await run(client, begin);
      const lines = await client.send(...messages(excess)).until('Z');
      assert.deepEqual(lines.slice(-2), ['E:54000', begin === undefined ? 'Z:I' : 'Z:E']);
      assert.ok(!lines.includes('C:UPDATE 3'));
      assert.equal(client.errors.at(-1)?.message, 'Backstop rolled this statement back: it changed 3 rows and was approved for 2');
      await run(client, 'ROLLBACK');
      assert.deepEqual([await scene.state(), scene.points], [was, []]);
      if (begin !== undefined) await run(client, begin);
      assert.ok((await client.send(...messages(below)).until('Z')).includes('C:UPDATE 2'));
      if (begin !== undefined) await run(client, 'COMMIT');
      assert.equal(scene.lastSettled()?.outcome.kind, 'committed');
      await scene.assertUndoable(was);
      assert.deepEqual(scene.points.map(({ fate }) => fate), ['committed']);
    }));
  }
});

describe('what cannot be protected is refused, and its session goes on', () => {
  const refusals: readonly { readonly what: string; readonly begin?: string; readonly messages: readonly Buffer[]; readonly end: string; readonly lines: readonly string[]; readonly message: RegExp }[] = [
    { what: 'extended messages without Sync', messages: [whole('DELETE FROM child WHERE id = 1'), flush], end: 'E', lines: ['E:0A000'], message: /have not ended with Sync/ },
    { what: 'extended messages behind others without Sync', messages: [whole('SELECT 1'), flush, whole('DELETE FROM child WHERE id = 1'), sync], end: 'Z', lines: ['1', '2', 'D:1', 'C:SELECT 1', 'E:0A000', 'Z:I'], message: /have not ended with Sync/ },
    { what: 'a COMMIT in its batch outside of a block', messages: [whole('DELETE FROM child WHERE id = 1'), whole('COMMIT'), sync], end: 'Z', lines: ['E:0A000', 'Z:I'], message: /begin or end transactions/ },
    { what: 'a COMMIT in its Query', messages: [query('DELETE FROM child WHERE id = 1; COMMIT')], end: 'Z', lines: ['E:0A000', 'Z:I'], message: /begin or end transactions/ },
    { what: 'a COPY in its batch', messages: [whole('DELETE FROM child WHERE id = 1'), parse('COPY keyless FROM STDIN'), bind(), execute(), sync], end: 'Z', lines: ['E:0A000', 'Z:I'], message: /with a COPY/ },
    { what: 'a cursor over its tables', begin: 'BEGIN; DECLARE c CURSOR FOR SELECT FROM child; FETCH FROM c', messages: [query('DELETE FROM child WHERE id = 1')], end: 'Z', lines: ['E:55006', 'Z:E'], message: /could not keep what would undo/ },
    { what: 'a transaction that only reads', begin: 'BEGIN READ ONLY', messages: [query('DELETE FROM child WHERE id = 1')], end: 'Z', lines: ['E:25006', 'Z:E'], message: /could not keep what would undo/ },
  ];
  for (const { what, begin, messages, end, lines, message } of refusals) {
    it(what, () => withClient(async (client) => {
      const was = await scene.state();
      if (begin !== undefined) await run(client, begin);
      assert.deepEqual(await client.send(...messages).until(end), lines);
      assert.match(client.errors.at(-1)?.message ?? '', message);
      if (end === 'E') client.send(sync);
      if (end === 'E') await client.until('Z');
      await run(client, 'ROLLBACK');
      assert.deepEqual([await scene.state(), scene.points], [was, []]);
      assert.deepEqual(await run(client, 'DELETE FROM child WHERE id = 2'), ['C:DELETE 1', 'Z:I']);
      assert.deepEqual(scene.gateway.faults, []);
    }));
  }

  it('PREPARE TRANSACTION behind it, which PostgreSQL refuses because of temporary objects', () => withClient(async (client) => {
    const was = await scene.state();
    await run(client, 'BEGIN');
    assert.deepEqual(await run(client, 'DELETE FROM child WHERE id = 1'), ['C:DELETE 1', 'Z:T']);
    assert.deepEqual(await run(client, "PREPARE TRANSACTION 'later'"), ['E:0A000', 'Z:I']);
    assert.deepEqual(await scene.state(), was);
    assert.deepEqual(scene.points.map(({ fate }) => fate), ['discarded']);
  }));
});
