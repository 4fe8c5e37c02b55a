/** Messages of the gateway's own before a real PostgreSQL: an error in one of them is in the way of none that comes after it. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { commitCommand, constraintsCommand, ownStatements } from '../../src/entry/gateway/own-messages.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { bind, execute, parse, query, sync } from '../fixtures/unnamed-messages.ts';
import { connectWire, type WireClient } from '../fixtures/wire-client.ts';

let server: PostgresServer;
let client: WireClient;
before(async () => {
  server = await startPostgresServer();
  client = await connectWire({ host: server.host, port: server.port, user: server.user, password: server.password, parameters: { database: 'postgres' } });
});
after(async () => {
  client?.end();
  await server?.stop();
});

test('statements of our own go on after one that failed while it ran', async () => {
  assert.deepEqual(await client.send(ownStatements(['SELECT 1 / (random() * 0)::int']), sync).until('Z'), ['1', '2', 'E:22012', 'Z:I']);
  assert.deepEqual(await client.send(ownStatements(['SELECT 1']), sync).until('Z'), ['1', '2', 'D:1', 'C:SELECT 1', '3', '3', 'Z:I']);
});

test('commands of our own do so too, and leave the client its unnamed statement', async () => {
  await client.send(query('CREATE TABLE late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED); BEGIN; INSERT INTO late VALUES (1), (1)')).until('Z');
  await client.send(parse('SELECT 7'), sync).until('Z');
  assert.deepEqual((await client.send(constraintsCommand).until('Z')).slice(-2), ['E:23505', 'Z:E']);
  assert.deepEqual(await client.send(bind(), execute(), sync).until('Z'), ['E:25P02', 'Z:E']);
  await client.send(ownStatements(['ROLLBACK']), sync).until('Z');
  assert.deepEqual(await client.send(ownStatements(['BEGIN']), sync, constraintsCommand, commitCommand).until('Z:I'), [
    '1', '2', 'C:BEGIN', '3', '3', 'Z:T', '3', '3', '1', '2', 'C:SET CONSTRAINTS', '3', '3', 'Z:T', '3', '3', '1', '2', 'C:COMMIT', '3', '3', 'Z:I',
  ]);
  assert.deepEqual(await client.send(bind(), execute(), sync).until('Z'), ['2', 'D:7', 'C:SELECT 1', 'Z:I']);
});
