/**
 * COPY through the gateway, message by message: in and out in both protocols, data that comes unasked, errors in the
 * middle, and refusals whose data must be drained. Before a real PostgreSQL 18 with a scripted judgement.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import * as say from '../../src/lib/pgwire/frontend-encode.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { startScriptedGateway, type ScriptedGateway } from '../fixtures/scripted-gateway.ts';
import { bind, execute, flush, parse, query, sync } from '../fixtures/unnamed-messages.ts';
import type { WireClient } from '../fixtures/wire-client.ts';

let server: PostgresServer;
let backstop: ScriptedGateway;
before(async () => {
  server = await startPostgresServer();
  await server.run('CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE forbidden (id int)');
  backstop = await startScriptedGateway(server);
});
after(async () => {
  await backstop?.stop();
  await server?.stop();
  assert.deepEqual(backstop?.faults, [], 'no session ended by a fault');
});
beforeEach(async () => { await server.run('TRUNCATE t, forbidden; INSERT INTO t SELECT i, i::text FROM generate_series(1, 5) i'); });

async function withClient(work: (client: WireClient) => Promise<void>): Promise<void> {
  const client = await backstop.client();
  try { await work(client); } finally { client.end(); }
}
const forwardedText = (): string => Buffer.concat(backstop.forwarded).toString('latin1');
const count = async (table: string): Promise<number> => Number((await server.run(`SELECT count(*)::int AS n FROM ${table}`))[0]?.['n']);

describe('COPY', () => {
  const rows = [say.encodeCopyData(Buffer.from('100\ta\n')), say.encodeCopyData(Buffer.from('101\tb\n'))];

  it('in and out passes in both protocols', () => withClient(async (client) => {
    client.send(query('COPY t FROM STDIN'));
    await client.until('G');
    client.send(...rows, say.encodeCopyDone());
    assert.deepEqual(await client.until('Z'), ['C:COPY 2', 'Z:I']);
    client.send(parse('COPY t FROM STDIN'), bind(), execute(), sync);
    assert.deepEqual(await client.until('G'), ['1', '2', 'G']);
    client.send(say.encodeCopyData(Buffer.from('102\tc\n')), say.encodeCopyDone(), sync);
    assert.deepEqual(await client.until('Z'), ['C:COPY 1', 'Z:I']);
    client.send(query('COPY (SELECT id FROM t WHERE id > 100 ORDER BY id) TO STDOUT'));
    assert.deepEqual(await client.until('Z'), ['H', 'd', 'd', 'c', 'C:COPY 2', 'Z:I']);
  }));

  it('data sent without waiting is taken, and drained when the COPY was refused (H83)', () => withClient(async (client) => {
    client.send(query('COPY t FROM STDIN'), ...rows, say.encodeCopyDone(), query('SELECT 1'));
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z')], ['G', 'C:COPY 2', 'Z:I', 'T', 'D:1', 'C:SELECT 1', 'Z:I']);
    client.send(query('COPY forbidden FROM STDIN'), ...rows, say.encodeCopyDone(), query('SELECT 2'));
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z')], ['E:42501', 'Z:I', 'T', 'D:2', 'C:SELECT 1', 'Z:I']);
    client.send(parse('COPY forbidden FROM STDIN'), bind(), execute(), ...rows, say.encodeCopyDone(), sync, query('SELECT 3'));
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z')], ['1', 'E:42501', 'Z:I', 'T', 'D:3', 'C:SELECT 1', 'Z:I']);
  }));

  it('that fails in the middle recovers at Sync', () => withClient(async (client) => {
    client.send(parse('COPY t FROM STDIN'), bind(), execute(), sync);
    await client.until('G');
    client.send(say.encodeCopyData(Buffer.from('not a number\tc\n')), ...rows, say.encodeCopyDone(), sync, query('SELECT 1'));
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z')], ['E:22P02', 'Z:I', 'T', 'D:1', 'C:SELECT 1', 'Z:I']);
  }));

  it('ignores a Sync as the server does, and takes it once an error has ended the COPY', () => withClient(async (client) => {
    client.send(parse('COPY t FROM STDIN'), bind(), execute(), flush);
    await client.until('G');
    client.send(sync, ...rows, say.encodeCopyDone(), sync, query('SELECT 1'));
    assert.deepEqual([...await client.until('Z'), ...await client.until('Z')], ['C:COPY 2', 'Z:I', 'T', 'D:1', 'C:SELECT 1', 'Z:I']);
    client.send(parse('COPY t FROM STDIN'), bind(), execute(), flush);
    await client.until('G');
    client.send(sync, say.encodeCopyData(Buffer.from('not a number\tc\n')), say.encodeCopyData(Buffer.from('1\tc\n')));
    assert.deepEqual(await client.until('Z'), ['E:22P02', 'Z:I']);
    client.send(query('SELECT 2'));
    assert.deepEqual(await client.until('Z'), ['T', 'D:2', 'C:SELECT 1', 'Z:I']);
  }));

  it('is broken off by CopyFail, and with its session by a message that does not belong there', () => withClient(async (client) => {
    client.send(query('COPY t FROM STDIN'));
    await client.until('G');
    client.send(...rows, say.encodeCopyFail('changed my mind'));
    assert.deepEqual(await client.until('Z'), ['E:57014', 'Z:I']);
    client.send(query('COPY t FROM STDIN'));
    await client.until('G');
    client.send(...rows, query('DELETE FROM t'));
    assert.deepEqual(await client.untilClosed(), ['E:08P01', 'E:08P01']);
    assert.deepEqual(client.errors.slice(-2).map(({ severity, message }) => [severity, message]), [
      ['ERROR', 'unexpected message type 0x51 during COPY from stdin'], ['FATAL', 'terminating connection because protocol synchronization was lost'],
    ]);
    assert.equal(await count('t'), 5);
    assert.ok(!forwardedText().includes('DELETE'));
  }));
});
