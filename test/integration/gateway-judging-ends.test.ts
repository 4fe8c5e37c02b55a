/**
 * What ends a session ends it also while its statement is being judged: a client that is gone, an administrator, a
 * revocation, a server that dies or hangs, a shutdown of Backstop, a time-out of the session's own. The client is told
 * what PostgreSQL would tell it, it is not kept waiting for the judgement, and no permit stays open.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { Failure } from '../../src/core/failure.ts';
import { startJudgingScene, requestCancel, type JudgingScene } from '../fixtures/judging-scene.ts';
import { query } from '../fixtures/messages.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { startScriptedGateway, type ScriptedGateway } from '../fixtures/scripted-gateway.ts';
import { until } from '../fixtures/until.ts';
import { connectWire, type WireClient } from '../fixtures/wire-client.ts';

const insert = 'INSERT INTO lines VALUES (1)';
/** A cancel request and then a goodbye that a server does not answer are waited for 5 s each. */
const forgottenMsMax = 20_000;

/** What is judged over a connection of Backstop's own, and what is asked in the session itself, inside its transaction. */
const kinds: readonly { readonly what: string; readonly before: string; readonly sent: string }[] = [
  { what: 'the catalog is compared', before: 'SELECT 1', sent: insert },
  { what: 'its own transaction is asked', before: 'BEGIN; CREATE TABLE unseen (id int)', sent: 'INSERT INTO unseen VALUES (1)' },
];

describe('while its statement is being judged', () => {
  let scene: JudgingScene;
  before(async () => { scene = await startJudgingScene(); });
  after(async () => { await scene?.stop(); });
  afterEach(async () => {
    await until('every permit has its outcome', async () => await scene.openPermits() === 0);
    assert.equal(await scene.rows(), 0);
  });

  async function whileJudged({ before: first, sent }: (typeof kinds)[number], client: WireClient, work: () => Promise<void>): Promise<void> {
    await client.send(query(first)).until('Z');
    await scene.whileBlocked(async () => {
      client.send(query(sent));
      await scene.judging();
      await work();
    });
    client.end();
  }

  for (const kind of kinds) {
    it(`a client whose connection breaks is gone from the server at once, when ${kind.what}`, async () => {
      const client = await scene.client();
      await whileJudged(kind, client, async () => {
        client.socket.resetAndDestroy();
        await until('its session is over', async () => await scene.sessions() === 0);
      });
    });

    it(`a session that an administrator ends is told so in PostgreSQL's words, when ${kind.what}`, async () => {
      const client = await scene.client();
      const direct = await scene.direct();
      await whileJudged(kind, client, async () => {
        await direct.send(query('BEGIN')).until('Z');
        await scene.backstop.upstream.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shopkeeper' AND application_name NOT LIKE 'backstop%'");
        assert.deepEqual((await client.untilClosed()).slice(-1), ['E:57P01']);
        await direct.untilClosed();
        assert.deepEqual(client.errors, direct.errors);
      });
    });

    it(`the session of a revoked agent ends, when ${kind.what}`, async () => {
      const name = `gone-${kinds.indexOf(kind)}`;
      const { url } = await scene.backstop.addAgent(name);
      const client = await scene.client({ name, token: new URL(url).password });
      await whileJudged(kind, client, async () => {
        await scene.backstop.revokeAgent(name);
        assert.deepEqual(await client.untilClosed(), ['E:57P01']);
        assert.match(client.errors[0]?.message ?? '', /revoked/);
        await until('its session is over', async () => await scene.sessions() === 0);
      });
    });
  }

  it('a client that has only closed its side gets its answer, as from PostgreSQL', async () => {
    const client = await scene.client();
    const direct = await scene.direct();
    await scene.whileBlocked(async () => {
      client.send(query(insert)).socket.end();
      await scene.judging();
    });
    direct.send(query(insert)).socket.end();
    assert.deepEqual(await client.untilClosed(), await direct.untilClosed());
    assert.equal(await scene.rows(), 2);
    await scene.backstop.upstream.run('DELETE FROM lines', 'shop');
  });

  it('a transaction that lasts too long ends the session in PostgreSQL\'s words', async () => {
    const client = await scene.client();
    await client.send(query("BEGIN; SET LOCAL transaction_timeout = '400ms'; CREATE TABLE unseen (id int)")).until('Z');
    await scene.whileBlocked(async () => {
      client.send(query('INSERT INTO unseen VALUES (1)'));
      assert.deepEqual(await client.untilClosed(), ['E:25P04']);
    });
  });
});

describe('a server that', () => {
  for (const how of ['immediate', 'fast'] as const) {
    it(`is shut down (${how}) ends what is being judged`, async () => {
      const scene = await startJudgingScene();
      try {
        const client = await scene.client();
        await client.send(query('SELECT 1')).until('Z');
        await scene.block();
        client.send(query(insert));
        await scene.judging();
        scene.backstop.upstream.shutDown(how);
        assert.equal((await client.untilClosed()).at(-1), how === 'fast' ? 'E:57P01' : 'E:08006');
        await until('every permit has its outcome', async () => await scene.openPermits() === 0);
      } finally {
        await scene.stop();
      }
    });
  }

  it('hangs keeps no client: a cancel is answered, and who leaves is forgotten', async () => {
    const scene = await startJudgingScene();
    let thaw = (): void => undefined;
    try {
      const [comparing, asking] = [await scene.client(), await scene.client()];
      await asking.send(query('BEGIN; CREATE TABLE unseen (id int)')).until('Z');
      thaw = await scene.freeze();
      comparing.send(query(insert));
      asking.send(query('INSERT INTO unseen VALUES (1)'));
      await requestCancel(scene.backstop, comparing.key);
      assert.deepEqual(await comparing.until('Z'), ['E:57014', 'Z:I']);
      asking.socket.resetAndDestroy();
      await until('it is forgotten', async () => await scene.ended() === 1, forgottenMsMax);
      await until('every permit has its outcome', async () => await scene.openPermits() === 0);
    } finally {
      thaw();
      await scene.stop();
    }
  });
});

describe('while it waits for a person', () => {
  let server: PostgresServer;
  before(async () => {
    server = await startPostgresServer();
    await server.run('CREATE TABLE held (id int)');
  });
  after(async () => { await server?.stop(); });

  async function withGateway(work: (backstop: ScriptedGateway) => Promise<void>, options: Parameters<typeof startScriptedGateway>[1] = {}): Promise<void> {
    const backstop = await startScriptedGateway(server, options);
    try { await work(backstop); } finally { await backstop.stop(); }
    assert.deepEqual(backstop.faults, []);
    assert.equal(backstop.settled.length, backstop.actions.length, 'every permit has one outcome');
    assert.equal((await server.run('SELECT count(*)::int AS n FROM held'))[0]?.['n'], 0);
  }
  const held = query('INSERT INTO held VALUES (1)');

  for (const [setting, begin, code] of [
    ['idle_in_transaction_session_timeout', 'BEGIN', '25P03'], ['transaction_timeout', 'BEGIN', '25P04'], ['idle_session_timeout', 'SELECT 1', '57P05'],
  ] as const) {
    it(`${setting} ends the session in PostgreSQL's words`, () => withGateway(async (backstop) => {
      const direct = await connectWire({ host: server.host, port: server.port, user: server.user, password: server.password, parameters: { database: 'postgres' } });
      const client = await backstop.client();
      for (const one of [direct, client]) one.send(query(`SET ${setting} = '1500ms'`), query(begin));
      client.send(held);
      assert.deepEqual((await client.untilClosed()).slice(-2), ['N:00000', `E:${code}`]);
      await direct.untilClosed();
      assert.deepEqual(client.errors, direct.errors);
    }));
  }

  it('a shutdown of Backstop tells its client at once', () => withGateway(async (backstop) => {
    const client = await backstop.client();
    await client.send(held).until('N');
    const [lines] = await Promise.all([client.untilClosed(), backstop.stop()]);
    assert.deepEqual(lines, ['E:57P01']);
  }));

  it('a client that closes its side is not waited for, before or after it is held', () => withGateway(async (backstop) => {
    const [early, late] = [await backstop.client(), await backstop.client()];
    early.send(held).socket.end();
    await late.send(held).until('N');
    late.socket.end();
    await Promise.all([early.untilClosed(), late.untilClosed()]);
    await until('both sessions are over', () => Promise.resolve(backstop.gateway.clients === 0));
  }));

  it('a catalog that cannot be compared once it is approved leaves no permit open', async () => {
    let comparisons = 0;
    await withGateway(async (backstop) => {
      const client = await backstop.client();
      const sinceMs = performance.now();
      await client.send(held).until('N');
      await until('it would be compared again', () => Promise.resolve(performance.now() - sinceMs > 50));
      comparisons = 1;
      backstop.answer('approve');
      assert.deepEqual(await client.until('Z'), ['E:08006', 'Z:I']);
      assert.deepEqual(backstop.settled.map(({ outcome }) => outcome.kind), ['rolled-back']);
      client.end();
    }, { onCompare: () => {
      // When it is approved it is judged again; what is compared after its permit fails.
      if (comparisons > 0) comparisons += 1;
      if (comparisons > 2) throw new Failure('upstream_unavailable', 'the script is over');
    } });
  });

  it('a statement time-out that hits a question of ours is told in PostgreSQL\'s words, and the session lives', () => withGateway(async (backstop) => {
    const client = await backstop.client();
    for (let round = 0; round < 40; round += 1) {
      await client.send(query("SET statement_timeout = '1ms'")).until('Z');
      const lines = await client.send(query('SELECT 1')).until('Z');
      assert.ok(lines.includes('D:1') || lines.includes('E:57014'), lines.join(' '));
    }
    for (const { message } of client.errors) assert.equal(message, 'canceling statement due to statement timeout');
    client.end();
  }, { timeouts: { statement: 60 } }));
});
