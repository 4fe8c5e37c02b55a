/**
 * The gateway changes nothing that a client can see: sequences of protocol messages, written by hand and generated, are
 * played direct and through a gateway that lets everything pass, and the two streams of answers are compared byte for
 * byte. What may differ is listed with its reason in docs/wire.md and test/fixtures/compare-recordings.ts.
 *
 * Through a whole Backstop every statement is judged, recorded and settled, which takes its time; so the many sequences
 * are played through the same gateway with a scripted judgement. A failure prints the seed and the smallest sequence
 * that still differs. `--seed=N` and `--runs=N` choose others.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { sequenceRows } from '../fixtures/protocol-rows.ts';
import { anySequence } from '../fixtures/protocol-sequences.ts';
import { scriptedToken, startScriptedGateway, type ScriptedGateway } from '../fixtures/scripted-gateway.ts';
import { TransparentPair } from '../fixtures/transparent-pair.ts';

const given = (name: string, otherwise: number): number => Number(process.argv.find((argument) => argument.startsWith(`--${name}=`))?.slice(name.length + 3) ?? otherwise);
const seed = given('seed', 20_261_121);
const runs = given('runs', 2_000);
/** Of them, through a whole Backstop. */
const wholeRuns = Math.ceil(runs / 20);
/** Sequences that one connection plays before it is replaced, so that what one leaves behind meets the next. */
const sequencesPerConnection = 40;

async function compareGenerated(pair: TransparentPair, numRuns: number, seedOfRun: number): Promise<void> {
  for (const [index, sequence] of fc.sample(anySequence, { numRuns, seed: seedOfRun }).entries()) {
    if (index % sequencesPerConnection === 0) pair.renew();
    const lines = await pair.play(sequence);
    if (lines.length === 0) continue;
    const small = await pair.shrink(sequence);
    assert.fail(['', `sequence ${index} of seed ${seedOfRun} differs:`, ...small, 'when it was found:', ...lines].join('\n'));
  }
  assert.ok(pair.excused <= 2 + numRuns / 50, `what may differ is rare: ${pair.excused} of ${numRuns}`);
}

describe('through a whole Backstop in observe the client sees what it sees direct', () => {
  let backstop: RunningBackstop;
  let pair: TransparentPair;
  before(async () => {
    backstop = await startBackstop({ policy: 'observe' });
    const { username, password } = new URL(backstop.directUrl());
    pair = await TransparentPair.make(
      backstop.upstream, { host: backstop.upstream.host, port: backstop.upstream.port, user: username, password },
      { host: backstop.host, port: backstop.port, user: backstop.agent.name, password: backstop.agent.token },
    );
  });
  after(async () => {
    await pair?.close();
    await backstop?.stop();
  });

  for (const minor of [0, 1, 2, 9]) {
    it(`at start-up in protocol 3.${minor}`, async () => {
      const [direct, through] = await pair.startups(minor);
      assert.deepEqual(through, direct);
    });
  }

  it('at start-up with options of the protocol that nobody knows', async () => {
    const [direct, through] = await pair.startups(2, { '_pq_.unheard_of': '1', '_pq_.another': '' });
    assert.deepEqual(through, direct);
  });

  for (const [what, sequence] of sequenceRows) {
    it(what, async () => {
      pair.renew();
      assert.deepEqual(await pair.play(sequence), []);
    });
  }

  it(`in ${wholeRuns} generated sequences (seed ${seed})`, () => compareGenerated(pair, wholeRuns, seed));
});

describe('through the gateway with a scripted judgement the client sees what it sees direct', () => {
  let server: PostgresServer;
  let gateway: ScriptedGateway;
  let pair: TransparentPair;
  before(async () => {
    server = await startPostgresServer();
    gateway = await startScriptedGateway(server);
    const { host, port, user, password } = server;
    pair = await TransparentPair.make(server, { host, port, user, password }, { host: gateway.host, port: gateway.port, user: 'ada', password: scriptedToken });
  });
  after(async () => {
    await pair?.close();
    await gateway?.stop();
    await server?.stop();
  });

  it(`in ${runs} generated sequences (seed ${seed + 1})`, () => compareGenerated(pair, runs, seed + 1));
});
