/**
 * What happens to a statement while it is still being judged, on a server that makes the judgement wait: a cancel request
 * ends it as it ends a running one, at once, and never hits the next.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { startJudgingScene, requestCancel, type JudgingScene } from '../fixtures/judging-scene.ts';
import { bind, call, describe as describing, execute, parse, query, sync, whole } from '../fixtures/messages.ts';
import { until } from '../fixtures/until.ts';
import type { WireClient } from '../fixtures/wire-client.ts';

let scene: JudgingScene;
before(async () => { scene = await startJudgingScene(); });
after(async () => { await scene?.stop(); });
afterEach(() => until('every permit has its outcome', async () => await scene.openPermits() === 0));

const insert = 'INSERT INTO lines VALUES (1)';

async function withClient(work: (client: WireClient) => Promise<void>): Promise<void> {
  const client = await scene.client();
  try { await work(client); } finally { client.end(); }
}

let made = 0;
/** After DDL of its own a session's next statement, whatever it is, has the catalog read anew. */
async function makeCatalogDue(client: WireClient): Promise<void> {
  made += 1;
  assert.deepEqual(await client.send(query(`CREATE TABLE made_${made} (id int)`)).until('Z'), ['C:CREATE TABLE', 'Z:I']);
}

const int4pl = 177;

interface Row { readonly what: string; readonly sent: readonly Buffer[]; readonly shown: readonly string[] }
const learning: readonly Row[] = [
  { what: 'a read', sent: [query('SELECT 1')], shown: ['E:57014', 'Z:I'] },
  { what: 'several statements', sent: [query(`SELECT 1; ${insert}`)], shown: ['E:57014', 'Z:I'] },
  { what: 'extended messages', sent: [whole('SELECT 1'), whole(insert), sync()], shown: ['E:57014', 'Z:I'] },
  { what: 'a Parse and Describe without an Execute', sent: [parse('s', 'SELECT 1'), describing('statement', 's'), sync()], shown: ['E:57014', 'Z:I'] },
  { what: 'a FunctionCall', sent: [call(int4pl, '1', '2')], shown: ['E:57014', 'Z:I'] },
];

describe('a cancel request while a statement is being judged', () => {
  for (const { what, sent, shown } of learning) {
    it(`ends ${what} for which the catalog is read`, () => withClient(async (client) => {
      await makeCatalogDue(client);
      await scene.whileBlocked(async () => {
        client.send(...sent);
        await scene.judging();
        await requestCancel(scene.backstop, client.key);
        assert.deepEqual(await client.until('Z'), shown, 'before the server has answered');
      });
      assert.equal(client.errors[0]?.message, 'canceling statement due to user request');
      assert.deepEqual(await client.send(query('SELECT 2, pg_sleep(0.05)')).until('Z'), ['T', 'D:2|', 'C:SELECT 1', 'Z:I']);
    }));
  }

  it('ends a write for which the catalog is compared, and nothing of it runs', () => withClient(async (client) => {
    await scene.whileBlocked(async () => {
      client.send(query(insert));
      await scene.judging();
      await requestCancel(scene.backstop, client.key);
      assert.deepEqual(await client.until('Z'), ['E:57014', 'Z:I']);
    });
    assert.equal(await scene.rows(), 0);
  }));

  it('ends the part of a pipeline that is being judged, which takes back what stands before it', () => withClient(async (client) => {
    await scene.whileBlocked(async () => {
      client.send(parse('', 'SELECT 1'), bind('', ''), execute(''), parse('', insert), bind('', ''), execute(''), parse('', 'SELECT 2'), bind('', ''), execute(''), sync());
      await scene.judging();
      await requestCancel(scene.backstop, client.key);
      assert.deepEqual(await client.until('Z'), ['1', '2', 'D:1', 'C:SELECT 1', '1', 'E:57014', 'Z:I']);
    });
    assert.equal(await scene.rows(), 0);
  }));

  it('makes the open transaction fail', () => withClient(async (client) => {
    await client.send(query('BEGIN')).until('Z:T');
    await scene.whileBlocked(async () => {
      // A change of rows would run ahead of its comparison there.
      client.send(query('CREATE TABLE never (id int)'));
      await scene.judging();
      await requestCancel(scene.backstop, client.key);
      assert.deepEqual(await client.until('Z'), ['E:57014', 'Z:E']);
    });
    assert.deepEqual(await client.send(query('SELECT 1'), query('ROLLBACK')).until('Z:I'), ['E:25P02', 'Z:E', 'C:ROLLBACK', 'Z:I']);
  }));

  it('ends a question that Backstop asks in the session itself, and the transaction fails as by any cancel', () => withClient(async (client) => {
    await client.send(query('BEGIN; CREATE TABLE unseen (id int)')).until('Z:T');
    await scene.whileBlocked(async () => {
      client.send(query('INSERT INTO unseen VALUES (1)'));
      await scene.judging();
      await requestCancel(scene.backstop, client.key);
      assert.deepEqual(await client.until('Z'), ['E:57014', 'Z:E']);
    });
    assert.deepEqual(await client.send(query('ROLLBACK')).until('Z'), ['C:ROLLBACK', 'Z:I']);
    assert.deepEqual(await client.send(query('SELECT 2, pg_sleep(0.05)')).until('Z'), ['T', 'D:2|', 'C:SELECT 1', 'Z:I']);
  }));

  it('hits this one statement, and the one sent behind it is whole', () => withClient(async (client) => {
    await makeCatalogDue(client);
    await scene.whileBlocked(async () => {
      client.send(query('SELECT 1'), query('SELECT 2'));
      await scene.judging();
      await requestCancel(scene.backstop, client.key);
      assert.deepEqual(await client.until('Z'), ['E:57014', 'Z:I']);
    });
    assert.deepEqual(await client.until('Z'), ['T', 'D:2', 'C:SELECT 1', 'Z:I']);
  }));

  it('at any moment hits one write at most, whole or not at all, and the one after is whole', () => withClient(async (client) => {
    let [cancelled, written] = [0, 0];
    for (let round = 0; round < 60; round += 1) {
      client.send(query(insert));
      for (let turns = 0; turns < round % 12; turns += 1) await new Promise((resolve) => { setImmediate(resolve); });
      const [, lines] = await Promise.all([requestCancel(scene.backstop, client.key), client.until('Z')]);
      if (lines.includes('E:57014')) cancelled += 1;
      else written += 1;
      assert.deepEqual(lines, [lines.includes('E:57014') ? 'E:57014' : 'C:INSERT 0 1', 'Z:I']);
      assert.deepEqual(await client.send(query(`SELECT ${round}, pg_sleep(0.001)`)).until('Z'), ['T', `D:${round}|`, 'C:SELECT 1', 'Z:I']);
    }
    assert.ok(cancelled > 0, 'some of them arrived in time');
    assert.equal(await scene.rows(), written);
    await client.send(query('DELETE FROM lines')).until('Z');
  }));

  it('leaves a Sync alone, which waits for no catalog', () => withClient(async (client) => {
    await makeCatalogDue(client);
    await scene.whileBlocked(async () => {
      assert.deepEqual(await client.send(sync()).until('Z'), ['Z:I']);
    });
  }));

  it('of another client ends nothing', () => withClient(async (client) => {
    await withClient(async (other) => {
      await scene.whileBlocked(async () => {
        client.send(query(insert));
        await scene.judging();
        await requestCancel(scene.backstop, other.key);
      });
      assert.deepEqual(await client.until('Z'), ['C:INSERT 0 1', 'Z:I']);
      await client.send(query('DELETE FROM lines')).until('Z');
    });
  }));
});
