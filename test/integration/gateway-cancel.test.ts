/**
 * A cancel reaches the query it was meant for and no other, whoever asks and however often: thousands of forged and stale
 * requests while two sessions work. A request is never answered, so what it did shows only in the sessions.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, afterEach, before, describe, it } from 'node:test';
import type { BackendKey } from '../../src/lib/pgwire/backend-decode.ts';
import * as say from '../../src/lib/pgwire/frontend-encode.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { startScriptedGateway, type ScriptedGateway } from '../fixtures/scripted-gateway.ts';
import { until } from '../fixtures/until.ts';
import { openSocket, type WireClient } from '../fixtures/wire-client.ts';

let server: PostgresServer;
let backstop: ScriptedGateway;
before(async () => {
  server = await startPostgresServer();
  backstop = await startScriptedGateway(server, { limits: { loginsMax: 64 } });
});
after(async () => {
  await backstop?.stop();
  await server?.stop();
});
afterEach(() => { assert.deepEqual(backstop.faults, []); });

/** Resolves when the gateway has taken the request and closed the connection. */
async function request({ processId, secretKey }: BackendKey): Promise<void> {
  const socket = await openSocket(backstop.host, backstop.port);
  const closed = new Promise<void>((resolve) => { socket.on('close', () => { resolve(); }).on('error', () => { /* close follows */ }); });
  socket.resume();
  socket.write(say.encodeCancelRequest(processId, secretKey));
  await closed;
}

function keyOf(client: WireClient): BackendKey {
  assert.ok(client.key !== undefined);
  return client.key;
}

/** Keys that look like those of `real` and are not. */
function forged(real: BackendKey): readonly BackendKey[] {
  const flipped = Buffer.from(real.secretKey);
  flipped.writeUInt8((flipped[0] ?? 0) ^ 1, 0);
  return [
    { ...real, secretKey: flipped }, { ...real, secretKey: randomBytes(real.secretKey.length) }, { ...real, secretKey: real.secretKey.subarray(0, -1) },
    { ...real, secretKey: Buffer.concat([real.secretKey, Buffer.alloc(1)]) }, { ...real, secretKey: Buffer.alloc(4) }, { ...real, processId: real.processId ^ 1 },
    { processId: randomBytes(4).readUInt32BE() >>> 1, secretKey: randomBytes(4) },
  ];
}

async function inParallel(count: number, work: readonly (() => Promise<void>)[]): Promise<void> {
  const left = [...work];
  await Promise.all(Array.from({ length: count }, async () => { for (let next = left.pop(); next !== undefined; next = left.pop()) await next(); }));
}

describe('a storm of stale and forged cancel requests', () => {
  it('hits no query, costs little, and the right key still cancels (H81)', async () => {
    const ended = await Promise.all(Array.from({ length: 5 }, () => backstop.client()));
    const stale = ended.map(keyOf);
    for (const client of ended) client.send(say.encodeTerminate());
    await until('they have left', () => Promise.resolve(backstop.gateway.clients === 0));
    const [sleeping, counting, modern] = [await backstop.client(), await backstop.client(), await backstop.client({ minor: 2 })];
    sleeping.send(say.encodeQuery('SELECT pg_sleep(60)'));
    modern.send(say.encodeQuery('SELECT pg_sleep(60)'));
    await until('both sleep', () => Promise.resolve(backstop.actions.filter(({ text }) => text.includes('pg_sleep')).length === 2));
    const wrong = [...stale, ...[sleeping, counting, modern].flatMap((client) => forged(keyOf(client)))];
    const used = process.cpuUsage();
    let isStorming = true;
    let reads = 0;
    const reading = (async (): Promise<void> => {
      for (; isStorming; reads += 1) {
        counting.send(say.encodeQuery(`SELECT ${reads}`));
        assert.deepEqual(await counting.until('Z'), ['T', `D:${reads}`, 'C:SELECT 1', 'Z:I']);
      }
    })();
    const requests = Array.from({ length: 2_000 }, (_, index) => wrong[index % wrong.length]).flatMap((key) => (key === undefined ? [] : [() => request(key)]));
    await inParallel(16, requests);
    isStorming = false;
    await reading;
    assert.ok(reads > 10, `${reads} reads were answered meanwhile`);
    const { user, system } = process.cpuUsage(used);
    assert.ok((user + system) / requests.length < 10_000, `${Math.round((user + system) / requests.length)} µs for one request`);
    for (const client of [sleeping, modern]) {
      await request(keyOf(client));
      assert.deepEqual(await client.until('Z'), ['T', 'E:57014', 'Z:I']);
    }
    for (const client of [sleeping, counting, modern]) client.end();
  });

  it('with the right key between two statements hits neither of them', async () => {
    const client = await backstop.client();
    const key = keyOf(client);
    for (let round = 0; round < 100; round += 1) {
      await request(key);
      client.send(say.encodeQuery(`SELECT ${round}`));
      assert.deepEqual(await client.until('Z'), ['T', `D:${round}`, 'C:SELECT 1', 'Z:I']);
    }
    client.end();
  });

  it('with the right key at any moment hits one statement at most, and the one after is whole', async () => {
    const client = await backstop.client();
    const key = keyOf(client);
    let cancelled = 0;
    for (let round = 0; round < 100; round += 1) {
      client.send(say.encodeQuery(`SELECT pg_sleep(${(round % 10) * 0.003})`));
      await Promise.all([request(key), client.until('Z').then((lines) => { if (lines.includes('E:57014')) cancelled += 1; })]);
      // Sent while the gateway may still be passing the cancel on.
      client.send(say.encodeQuery(`SELECT ${round}, pg_sleep(0.001)`));
      assert.deepEqual(await client.until('Z'), ['T', `D:${round}|`, 'C:SELECT 1', 'Z:I']);
    }
    assert.ok(cancelled > 0, 'some of them arrived in time');
    client.end();
  });
});
