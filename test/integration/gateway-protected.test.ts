/**
 * What must be undoable, through the real gateway before a real server: nothing of it lasts without a recovery point that was
 * read back, and its client sees what PostgreSQL itself would have shown, message for message.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { startProtectedScene, type ProtectedScene } from '../fixtures/protected-scene.ts';
import { bind, describePortal, execute, flush, parse, query, sync } from '../fixtures/unnamed-messages.ts';
import type { WireClient } from '../fixtures/wire-client.ts';

let scene: ProtectedScene;
before(async () => { scene = await startProtectedScene(); });
after(async () => { await scene?.stop(); });
beforeEach(() => scene.refill());

const whole = (sql: string, values: readonly string[] = []): Buffer => Buffer.concat([parse(sql), bind(values), describePortal, execute()]);

/** Each batch, and what ends its answer. */
type Batch = readonly [messages: readonly Buffer[], end: string];
const asQuery = (sql: string): Batch => [[query(sql)], 'Z'];

interface Sequence { readonly what: string; readonly batches: readonly Batch[]; /** Of the points that were sealed, in their order. */ readonly fates: readonly string[] }

const sequences: readonly Sequence[] = [
  { what: 'a Query', batches: [asQuery('DELETE FROM child WHERE id <= 3')], fates: ['committed'] },
  { what: 'a Query with RETURNING', batches: [asQuery('DELETE FROM child WHERE id <= 3 RETURNING id, parent_id')], fates: ['committed'] },
  { what: 'a Query that reaches other tables through keys and triggers', batches: [asQuery("UPDATE parent SET v = 'n' WHERE id < 4"), asQuery('DELETE FROM parent WHERE id < 3')], fates: ['committed', 'committed'] },
  { what: 'a Query that changes nothing', batches: [asQuery('DELETE FROM child WHERE id < 0')], fates: [] },
  { what: 'a Query of several statements', batches: [asQuery("UPDATE parent SET v = 'n' WHERE id = 1 RETURNING v; SELECT 1; DELETE FROM child WHERE id = 1")], fates: ['committed'] },
  { what: 'a Query of several statements, the last of which fails', batches: [asQuery("DELETE FROM child WHERE id = 1; INSERT INTO child VALUES (2, 1)"), asQuery('SELECT 1')], fates: [] },
  { what: 'a Query that fails', batches: [asQuery('DELETE FROM child WHERE 1 / (id - 3) = 0'), asQuery('SELECT 1')], fates: [] },
  { what: 'a Query of which a deferred constraint takes everything back', batches: [asQuery('UPDATE late SET other = 1 WHERE id = 2'), asQuery('SELECT 1')], fates: [] },
  { what: 'a deferred constraint that holds in the end', batches: [asQuery('UPDATE late SET other = CASE id WHEN 1 THEN 2 ELSE 1 END WHERE id < 3')], fates: ['committed'] },
  { what: 'extended messages', batches: [[[whole('DELETE FROM child WHERE id = $1 RETURNING *', ['3']), sync], 'Z']], fates: ['committed'] },
  { what: 'extended messages of which a deferred constraint takes everything back', batches: [[[whole('UPDATE late SET other = 1 WHERE id = 2'), sync], 'Z'], asQuery('SELECT 1')], fates: [] },
  {
    what: 'several Executes before one Sync', fates: ['committed'],
    batches: [[[whole('DELETE FROM child WHERE id = 1'), whole('SELECT 7'), whole("UPDATE parent SET v = 'n' WHERE id = $1", ['2']), parse('SELECT 1', 'kept'), sync], 'Z'], [[bind([], 'kept'), execute(), sync], 'Z']],
  },
  {
    what: 'several Executes of which one fails', fates: [],
    batches: [[[whole('DELETE FROM child WHERE id = 1'), whole('INSERT INTO child VALUES (2, 1)'), whole('DELETE FROM child WHERE id = 3'), sync], 'Z'], asQuery('SELECT 1')],
  },
  { what: 'an Execute with a row limit', batches: [[[parse('DELETE FROM child WHERE id < 5 RETURNING id'), bind(), execute(2), execute(0), sync], 'Z']], fates: ['committed'] },
  { what: 'a prepared statement that is executed again', batches: [[[parse('DELETE FROM child WHERE id = $1', 's'), sync], 'Z'], [[bind(['1'], 's'), execute(), sync], 'Z'], [[bind(['2'], 's'), execute(), sync], 'Z']], fates: ['committed', 'committed'] },
  {
    what: 'an unnamed statement that lives on', fates: ['committed', 'committed', 'committed'],
    batches: [[[parse('DELETE FROM child WHERE id = $1'), bind(['1']), execute(), sync], 'Z'], [[bind(['2']), execute(), sync], 'Z'], asQuery('BEGIN'), [[parse('DELETE FROM child WHERE id = $1'), bind(['3']), execute(), sync], 'Z'], [[bind(['3']), execute(), sync], 'Z'], asQuery('COMMIT')],
  },
  { what: 'a COMMIT that a deferred constraint turns into a rollback', batches: [asQuery('BEGIN'), asQuery('DELETE FROM child WHERE id = 1'), asQuery('UPDATE late SET other = 1 WHERE id = 2'), asQuery('COMMIT'), asQuery('SELECT 1')], fates: ['discarded', 'discarded'] },
  { what: 'definitions behind it in one transaction', batches: [asQuery('BEGIN'), asQuery('DELETE FROM child WHERE id = 1'), asQuery('CREATE TABLE made (id int)'), asQuery('DELETE FROM child WHERE id = 2'), asQuery('DROP TABLE made'), asQuery('COMMIT')], fates: ['committed', 'committed'] },
  { what: 'COMMIT AND CHAIN', batches: [asQuery('BEGIN'), asQuery('DELETE FROM child WHERE id = 1'), asQuery('COMMIT AND CHAIN'), asQuery('DELETE FROM child WHERE id = 2'), asQuery('ROLLBACK')], fates: ['committed', 'discarded'] },
  { what: 'the client\'s own transaction', batches: [asQuery('BEGIN'), asQuery('DELETE FROM child WHERE id = 1 RETURNING id'), asQuery('SELECT count(*) FROM child'), asQuery('COMMIT')], fates: ['committed'] },
  { what: 'the client\'s own transaction, rolled back', batches: [asQuery('BEGIN'), asQuery('DELETE FROM child WHERE id = 1'), asQuery('ROLLBACK')], fates: ['discarded'] },
  { what: 'the client\'s own transaction that fails', batches: [asQuery('BEGIN'), asQuery('DELETE FROM child WHERE id = 1'), asQuery('SELECT 1 / 0'), asQuery('COMMIT')], fates: ['discarded'] },
  { what: 'the client\'s own transaction in which the statement fails', batches: [asQuery('BEGIN'), asQuery('DELETE FROM child WHERE 1 / (id - 3) = 0'), asQuery('SELECT 1'), asQuery('ROLLBACK'), asQuery('SELECT 1')], fates: [] },
  {
    what: 'savepoints, one of which is rolled back to', fates: ['committed', 'discarded', 'committed'],
    batches: [asQuery('BEGIN'), asQuery('DELETE FROM child WHERE id = 1'), asQuery('SAVEPOINT s'), asQuery('DELETE FROM child WHERE id = 2'), asQuery('ROLLBACK TO s'), asQuery('DELETE FROM child WHERE id = 3'), asQuery('COMMIT')],
  },
  {
    what: 'a savepoint that saves what failed', fates: ['committed', 'committed'],
    batches: [asQuery('BEGIN'), asQuery('DELETE FROM child WHERE id = 1'), asQuery('SAVEPOINT s'), asQuery('DELETE FROM child WHERE 1 / (id - 3) = 0'), asQuery('ROLLBACK TO s'), asQuery('DELETE FROM child WHERE id = 3'), asQuery('COMMIT')],
  },
  { what: 'BEGIN and the statement in one batch, as some drivers send it', batches: [[[whole('BEGIN'), whole('DELETE FROM child WHERE id = 1'), sync], 'Z'], [[whole('COMMIT'), sync], 'Z']], fates: ['committed'] },
  { what: 'the statement and COMMIT in one batch', batches: [asQuery('BEGIN'), [[whole('DELETE FROM child WHERE id = 1'), whole('COMMIT'), sync], 'Z'], asQuery('SELECT 1')], fates: ['committed'] },
  { what: 'a statement that fails, and COMMIT in one batch', batches: [asQuery('BEGIN'), [[whole('DELETE FROM child WHERE 1 / (id - 3) = 0'), whole('COMMIT'), sync], 'Z'], asQuery('ROLLBACK')], fates: [] },
  {
    what: 'savepoints and statements in one batch', fates: ['committed', 'discarded', 'committed'],
    batches: [asQuery('BEGIN'), [[whole('DELETE FROM child WHERE id = 1'), whole('SAVEPOINT s'), whole('DELETE FROM child WHERE id = 2'), whole('ROLLBACK TO s'), whole('DELETE FROM child WHERE id = 3'), whole('COMMIT'), sync], 'Z']],
  },
  { what: 'messages that end with Flush in the client\'s own transaction', batches: [asQuery('BEGIN'), [[whole('DELETE FROM child WHERE id = 1 RETURNING id'), flush], 'C'], [[whole('SELECT 1'), sync], 'Z'], asQuery('COMMIT')], fates: ['committed'] },
  { what: 'messages that fail and end with Flush in the client\'s own transaction', batches: [asQuery('BEGIN'), [[whole('DELETE FROM child WHERE 1 / (id - 3) = 0'), flush], 'E'], [[whole('SELECT 1'), sync], 'Z'], asQuery('ROLLBACK')], fates: [] },
  { what: 'REPEATABLE READ', batches: [asQuery('BEGIN ISOLATION LEVEL REPEATABLE READ'), asQuery('SELECT count(*) FROM child'), asQuery('DELETE FROM child WHERE id = 1'), asQuery('COMMIT')], fates: ['committed'] },
  { what: 'a cursor beside it', batches: [asQuery('BEGIN'), asQuery('DECLARE c CURSOR FOR SELECT id FROM keyless'), asQuery('FETCH 1 FROM c'), asQuery('DELETE FROM child WHERE id = 1'), asQuery('FETCH BACKWARD 1 FROM c'), asQuery('COMMIT')], fates: ['committed'] },
  { what: 'a notice that a trigger raises', batches: [asQuery('SET client_min_messages = notice'), asQuery('UPDATE parent SET v = v WHERE id = 1')], fates: ['committed'] },
];

async function play(client: WireClient, batches: readonly Batch[]): Promise<readonly string[]> {
  const lines: string[] = [];
  for (const [messages, end] of batches) {
    client.send(...messages);
    lines.push(...await client.until(end));
  }
  return lines;
}

describe('protected, its client sees what PostgreSQL shows, and what changed can be undone', () => {
  for (const { what, batches, fates } of sequences) {
    it(what, async () => {
      const was = await scene.state();
      const [client, twin] = [await scene.client(), await scene.twin()];
      try {
        assert.deepEqual(await play(client, batches), await play(twin, batches));
        assert.deepEqual(client.errors, twin.errors);
        assert.deepEqual(client.notices, twin.notices);
        assert.deepEqual(await scene.state(), await scene.state('twin'));
        assert.deepEqual(scene.points.map(({ fate }) => fate), fates);
        await scene.assertUndoable(was);
        assert.deepEqual(await scene.server.run("SELECT tgname FROM pg_trigger WHERE tgname LIKE 'backstop%' UNION ALL SELECT proname FROM pg_proc WHERE proname LIKE 'backstop%'", 'guarded'), [], 'nothing of ours is left');
        assert.deepEqual(scene.gateway.faults, []);
      } finally {
        client.end();
        twin.end();
      }
    });
  }
});

it('each point holds what its own statement changed, and nothing that was changed in between', async () => {
  const client = await scene.client();
  const change = (id: number): Batch => asQuery(`DELETE FROM child WHERE id = ${id}`);
  await play(client, [asQuery('BEGIN'), change(1), asQuery('INSERT INTO child VALUES (1, 1), (101, 2), (102, 3)'), change(1), asQuery('INSERT INTO child VALUES (103, 2)'), change(2), asQuery('COMMIT')]);
  client.end();
  assert.deepEqual(scene.points.map(({ sealed, fate }) => [sealed.rows, fate]), [[1, 'committed'], [1, 'committed'], [1, 'committed']]);
});
