/**
 * Whatever goes wrong while something protected is on its way, at whatever moment: either nothing of it lasts and its client
 * knows, or it lasts and can be undone. Storage that fails, waits or lies low; cancels; clients, servers and the gateway that go.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { Failure } from '../../src/core/failure.ts';
import { connectLink } from '../../src/remote/postgres/link.ts';
import { parseConnectionString } from '../../src/remote/postgres/link-target.ts';
import { transactionFate } from '../../src/remote/postgres/transaction-fate.ts';
import { startProtectedScene, type ProtectedScene } from '../fixtures/protected-scene.ts';
import { run, ways } from '../fixtures/protected-ways.ts';
import { query } from '../fixtures/unnamed-messages.ts';
import { until } from '../fixtures/until.ts';
import type { WireClient } from '../fixtures/wire-client.ts';

let scene: ProtectedScene;
before(async () => {
  scene = await startProtectedScene();
  // One that waits for the end of its transaction, and then for as long as a lock says.
  await scene.server.run(`CREATE FUNCTION wait_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER wait_late AFTER DELETE ON late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_late();`, 'guarded');
});
after(async () => { await scene?.stop(); });
beforeEach(() => scene.refill());

async function withClient(work: (client: WireClient) => Promise<void>): Promise<void> {
  const client = await scene.client();
  try { await work(client); } finally { client.end(); }
}

describe('where its recovery point cannot be kept it does not last', () => {
  const faults: readonly { readonly what: string; readonly code: string; readonly arrange: () => void; readonly message: RegExp }[] = [
    { what: 'the bucket fails', code: '58030', message: /no space left/, arrange: () => { scene.faults.put = () => Promise.reject(new Failure('bucket_unavailable', 'no space left')); } },
    { what: 'the bucket fails at its last step', code: '58030', message: /no space left/, arrange: () => { scene.faults.keep = () => Promise.reject(new Failure('bucket_unavailable', 'no space left')); } },
    { what: 'the record fails', code: '58030', message: /cannot be written/, arrange: () => { scene.faults.seal = () => Promise.reject(new Failure('ledger_unavailable', 'the record cannot be written')); } },
    { what: 'a table has no key', code: '0A000', message: /public\.keyless cannot be kept, because it has no primary key/, arrange: () => { scene.tables = ['public.child', 'public.keyless']; } },
    { what: 'a table is gone', code: '40001', message: /not there any more/, arrange: () => { scene.tables = ['public.child', 'public.never']; } },
  ];
  for (const { what, code, arrange, message } of faults) {
    for (const { how, begin, messages, refused } of ways) {
      it(`${what}: ${how}`, () => withClient(async (client) => {
        const was = await scene.state();
        if (begin !== undefined) await run(client, begin);
        arrange();
        const lines = await client.send(...messages('DELETE FROM child WHERE id = 1')).until('Z');
        assert.match(lines.join(' '), refused(code));
        assert.match(client.errors.at(-1)?.message ?? '', message);
        await run(client, 'ROLLBACK');
        assert.deepEqual(await scene.state(), was);
        assert.ok(scene.points.every(({ fate }) => fate === 'discarded'), 'on record perhaps, and taken back');
        assert.match(scene.lastSettled()?.outcome.kind ?? '', /^(failed|rolled-back)$/);
        // The session goes on, and so does protection once the fault is over.
        await scene.refill();
        assert.deepEqual(await run(client, 'DELETE FROM child WHERE id = 1'), ['C:DELETE 1', 'Z:I']);
        assert.deepEqual(scene.points.map(({ fate }) => fate), ['committed']);
        assert.deepEqual(scene.gateway.faults, []);
      }));
    }
  }

  it('rows of many chunks, of which the last cannot be kept', () => withClient(async (client) => {
    await scene.server.run('INSERT INTO child SELECT i, 1 FROM generate_series(100, 40000) i', 'guarded');
    const was = await scene.state();
    let puts = 0;
    scene.faults.put = () => ((puts += 1) > 5 ? Promise.reject(new Failure('bucket_unavailable', 'no space left')) : Promise.resolve());
    assert.deepEqual(await run(client, 'DELETE FROM child WHERE id >= 100'), ['E:58030', 'Z:I']);
    assert.deepEqual(await scene.state(), was);
    scene.faults.put = undefined;
    assert.deepEqual(await run(client, 'DELETE FROM child WHERE id >= 100'), ['C:DELETE 39901', 'Z:I']);
    await scene.assertUndoable(was);
  }));

  it('within a transaction whose savepoint takes it back', () => withClient(async (client) => {
    const was = await scene.state();
    await run(client, 'BEGIN');
    await run(client, 'SAVEPOINT s');
    scene.faults.put = () => Promise.reject(new Failure('bucket_unavailable', 'no space left'));
    assert.deepEqual(await run(client, 'DELETE FROM child WHERE id = 1'), ['E:58030', 'Z:E']);
    scene.faults.put = undefined;
    assert.deepEqual(await run(client, 'ROLLBACK TO s'), ['C:ROLLBACK', 'Z:T']);
    assert.deepEqual(await run(client, 'DELETE FROM child WHERE id = 2'), ['C:DELETE 1', 'Z:T']);
    assert.deepEqual(await run(client, 'COMMIT'), ['C:COMMIT', 'Z:I']);
    await scene.assertUndoable(was);
    assert.equal((await scene.state())['child']?.length, 39);
  }));
});

/** A moment at which it stays until it is let go. */
interface Phase {
  readonly what: string;
  readonly sql: string;
  /** Before it is sent; returns how to let it go on. */
  readonly hold: () => Promise<() => Promise<void>>;
  /** It has come there. */
  readonly reached: () => Promise<unknown>;
}

async function locked(sql: string): Promise<() => Promise<void>> {
  const other = await scene.other();
  await other.send(query(`BEGIN; ${sql}`)).until('Z:T');
  return async () => {
    other.end();
    await until('its lock is gone', async () => (await scene.server.run(`SELECT FROM pg_stat_activity WHERE query LIKE 'BEGIN; %' AND state = 'idle in transaction'`)).length === 0);
  };
}

const waits = (event: string): Promise<unknown> => until(`it waits: ${event}`, async () => (await scene.server.run(`SELECT FROM pg_stat_activity WHERE datname = 'guarded' AND ${event}`)).length > 0);

const phases: readonly Phase[] = [
  { what: 'it waits for its lock', sql: 'DELETE FROM child WHERE id = 1', hold: () => locked('LOCK TABLE child IN ROW EXCLUSIVE MODE'), reached: () => waits("wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE%'") },
  {
    what: 'it runs', sql: "DELETE FROM child WHERE id = 1 AND pg_advisory_xact_lock_shared(7) IS NOT NULL", hold: () => locked('SELECT pg_advisory_xact_lock(7)'),
    reached: () => waits("wait_event = 'advisory' AND query LIKE 'DELETE%'"),
  },
  { what: 'what is deferred runs', sql: 'DELETE FROM late WHERE id = 1', hold: () => locked('SELECT pg_advisory_xact_lock(7)'), reached: () => waits("wait_event = 'advisory' AND query LIKE 'SET CONSTRAINTS%'") },
  {
    what: 'its point is sealed', sql: 'DELETE FROM child WHERE id = 1',
    hold: () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      scene.faults.put = () => { isPutting = true; return promise; };
      return Promise.resolve(() => { resolve(); return Promise.resolve(); });
    },
    reached: () => until('the bucket is asked', () => Promise.resolve(isPutting)),
  },
];
let isPutting = false;
beforeEach(() => { isPutting = false; });

const inBlock = phases.filter(({ what }) => what !== 'what is deferred runs');

async function inPhase({ sql, hold, reached }: Phase, client: WireClient, messages: (sql: string) => readonly Buffer[], act: () => Promise<void>): Promise<void> {
  const letGo = await hold();
  try {
    client.send(...messages(sql));
    await reached();
    await act();
  } finally {
    await letGo();
  }
}

/** Nothing of it lasts, and no session of an agent is left on the server but those that are still connected. */
async function assertNothingLasts(was: Awaited<ReturnType<ProtectedScene['state']>>): Promise<void> {
  assert.deepEqual(await scene.state(), was);
  await until('every point knows', () => Promise.resolve(scene.points.every(({ fate }) => fate === 'discarded')));
  assert.match(scene.lastSettled()?.outcome.kind ?? '', /^(failed|rolled-back)$/);
}

describe('a cancel request', () => {
  for (const { how, begin, messages, refused } of ways) {
    for (const phase of begin === undefined ? phases : inBlock) {
      it(`stops ${how} while ${phase.what}, and nothing after it`, () => withClient(async (client) => {
        const was = await scene.state();
        if (begin !== undefined) await run(client, begin);
        await inPhase(phase, client, messages, async () => {
          await scene.cancel(client);
          assert.match((await client.until('Z')).join(' '), refused('57014'));
        });
        if (begin !== undefined) assert.deepEqual(await run(client, 'ROLLBACK'), ['C:ROLLBACK', 'Z:I']);
        await assertNothingLasts(was);
        scene.faults.put = undefined;
        assert.deepEqual(await run(client, 'DELETE FROM child WHERE id = 2'), ['C:DELETE 1', 'Z:I']);
        assert.deepEqual(scene.gateway.faults, []);
      }));
    }
  }
});

describe('without its client', () => {
  for (const { how, begin, messages } of ways) {
    for (const phase of begin === undefined ? phases : inBlock) {
      it(`${how} ends, and nothing lasts, when it goes while ${phase.what}`, async () => {
        const was = await scene.state();
        const client = await scene.client();
        if (begin !== undefined) await run(client, begin);
        await inPhase(phase, client, messages, async () => {
          // A client that only closes its side still gets its answer.
          client.socket.resetAndDestroy();
          await until('its session has ended', () => Promise.resolve(scene.gateway.gateway.clients === 0));
        });
        assert.equal(scene.gateway.settled.filter(({ text }) => text === phase.sql).length, 1);
        await assertNothingLasts(was);
        assert.deepEqual(scene.gateway.faults, []);
      });
    }
  }
});

describe('without its server', () => {
  for (const { how, begin, messages } of ways) {
    for (const phase of begin === undefined ? phases : inBlock) {
      it(`${how} ends, and nothing lasts, when that goes while ${phase.what}`, async () => {
        const was = await scene.state();
        const client = await scene.client();
        if (begin !== undefined) await run(client, begin);
        const pid = Number((await client.send(query('SELECT pg_backend_pid()')).until('Z')).find((line) => line.startsWith('D:'))?.slice(2));
        await inPhase(phase, client, messages, async () => {
          await scene.server.run(`SELECT pg_terminate_backend(${pid}, 10000)`);
          assert.match((await client.untilClosed()).join(' '), /E:57P01$/);
        });
        await assertNothingLasts(was);
        assert.deepEqual(scene.gateway.faults, []);
      });
    }
  }

  it('that goes while it commits, its fate is unknown until the server is asked again', async () => {
    const was = await scene.state();
    const client = await scene.client();
    // A COMMIT that is done and waits for a standby that does not exist.
    const [other, probe] = [await scene.other(), await scene.other()];
    await other.send(query('SET synchronous_commit = local')).until('Z');
    for (const one of [probe, client]) await one.send(query('SET synchronous_commit = on')).until('Z');
    await other.send(query("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")).until('Z');
    await other.send(query('SELECT pg_reload_conf()')).until('Z');
    try {
      // The server takes a moment to heed it.
      await until('a commit waits', async () => {
        probe.send(query('INSERT INTO keyless VALUES (2)'));
        return (await scene.server.run("SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'")).length > 0;
      });
      client.send(query('DELETE FROM child WHERE id = 1'));
      await until('its commit waits', async () => (await scene.server.run("SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'")).length > 1);
      assert.deepEqual(scene.points.map(({ fate }) => fate), [undefined], 'sealed before it commits');
      await other.send(query("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")).until('Z');
      const lines = await client.untilClosed();
      assert.ok(!lines.includes('C:DELETE 1'), lines.join(' '));
      assert.deepEqual(scene.points.map(({ fate }) => fate), ['unknown']);
      assert.equal(scene.lastSettled()?.outcome.kind, 'unknown');
    } finally {
      await other.send(query('ALTER SYSTEM RESET synchronous_standby_names')).until('Z');
      await other.send(query('SELECT pg_reload_conf()')).until('Z');
      for (const one of [other, probe, client]) one.end();
    }
    const link = await connectLink(parseConnectionString(`${scene.server.url('guarded')}?sslmode=disable`));
    const [point] = scene.points;
    assert.ok(point !== undefined);
    const { sealed } = point;
    point.fate = await transactionFate(async (sql, parameters) => (await link.query(sql, parameters)).rows, { ...sealed }) as 'committed';
    await link.end();
    assert.equal(point.fate, 'committed');
    assert.equal((await scene.state())['child']?.length, 39);
    await scene.assertUndoable(was);
  });
});

describe('storage that takes its time', () => {
  it('holds back the commit and the client, and nobody else sees anything of it meanwhile', () => withClient(async (client) => {
    const was = await scene.state();
    const sealing = phases.at(-1);
    assert.ok(sealing !== undefined);
    const heard: string[] = [];
    await inPhase(sealing, client, (sql) => [query(sql)], async () => {
      assert.deepEqual(await scene.state(), was);
      heard.push(...client.shown);
    });
    assert.deepEqual(heard, []);
    assert.deepEqual(await client.until('Z'), ['C:DELETE 1', 'Z:I']);
    await scene.assertUndoable(was);
  }));

  it('outlasts the time for which a transaction may be idle, in the client\'s own too', () => withClient(async (client) => {
    const was = await scene.state();
    await run(client, "SET idle_in_transaction_session_timeout = '150ms'");
    scene.faults.put = () => new Promise((resolve) => { setTimeout(resolve, 600); });
    assert.deepEqual(await run(client, 'DELETE FROM child WHERE id = 1'), ['C:DELETE 1', 'Z:I']);
    client.send(query('BEGIN; DELETE FROM child WHERE id = 2; COMMIT'), query('BEGIN'), query('DELETE FROM child WHERE id = 3'), query('SHOW idle_in_transaction_session_timeout'), query('COMMIT'));
    const lines: string[] = [];
    for (let at = 0; at < 5; at += 1) lines.push(...await client.until('Z'));
    assert.deepEqual(lines, ['E:0A000', 'Z:I', 'C:BEGIN', 'Z:T', 'C:DELETE 1', 'Z:T', 'T', 'D:150ms', 'C:SHOW', 'Z:T', 'C:COMMIT', 'Z:I']);
    await scene.assertUndoable(was);
  }));
});

describe('side by side', () => {
  it('two that change the same tables wait for each other, and each can be undone', async () => {
    const was = await scene.state();
    const clients = await Promise.all([scene.client(), scene.client(), scene.client()]);
    try {
      const lines = await Promise.all(clients.map((client, at) => run(client, `UPDATE parent SET v = 'of ${at}' WHERE id < 5`)));
      assert.deepEqual(lines, clients.map(() => ['C:UPDATE 4', 'Z:I']));
      assert.deepEqual(scene.points.map(({ fate }) => fate), ['committed', 'committed', 'committed']);
      await scene.assertUndoable(was);
    } finally {
      for (const client of clients) client.end();
    }
  });
});

describe('beside readers of its tables', () => {
  it('it waits until they are done, and nobody who comes then waits for long', () => withClient(async (client) => {
    const was = await scene.state();
    const [reader, newcomer] = [await scene.other(), await scene.other()];
    try {
      await reader.send(query('BEGIN; SELECT count(*) FROM child')).until('Z:T');
      client.send(query('DELETE FROM child WHERE id = 1'));
      // Once it wants to drop its triggers, twice: it let go in between.
      for (const round of [1, 2]) {
        await waits("wait_event_type = 'Lock' AND query LIKE 'DO LANGUAGE plpgsql%'");
        await newcomer.send(query('SELECT count(*) FROM child')).until('Z');
        assert.deepEqual(client.shown, [], `round ${round}`);
      }
      await reader.send(query('COMMIT')).until('Z');
      assert.deepEqual(await client.until('Z'), ['C:DELETE 1', 'Z:I']);
      await scene.assertUndoable(was);
      assert.deepEqual(await run(client, 'SHOW lock_timeout'), ['T', 'D:0', 'C:SHOW', 'Z:I']);
    } finally {
      reader.end();
      newcomer.end();
    }
  }));
});

describe('a gateway that stops', () => {
  it('lets what is being protected come to its end', async () => {
    const own = await startProtectedScene();
    try {
      await own.refill();
      const was = await own.state();
      const client = await own.client();
      const { promise, resolve } = Promise.withResolvers<void>();
      let isAsked = false;
      own.faults.put = () => { isAsked = true; return promise; };
      client.send(query('DELETE FROM child WHERE id = 1'));
      await until('the bucket is asked', () => Promise.resolve(isAsked));
      const closed = own.gateway.gateway.close();
      resolve();
      assert.deepEqual(await client.untilClosed(), ['C:DELETE 1', 'Z:I', 'E:57P01']);
      await closed;
      await own.assertUndoable(was);
      assert.equal((await own.state())['child']?.length, 39);
    } finally {
      await own.stop();
    }
  });
});
