/**
 * A short run of the fuzzer from a fixed seed, after every row of test/corpus/wire: start-up, framing both ways, whole
 * sessions and the parser's boundary, each guided by the code that its inputs reach. `npm run fuzz` is the long run.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { inspect } from 'node:util';
import { readWireCorpus, wireRow } from '../fixtures/fuzz/corpus.ts';
import { watchCoverage, type Coverage } from '../fixtures/fuzz/coverage.ts';
import { fuzz, type Target } from '../fixtures/fuzz/loop.ts';
import { randomFrom } from '../fixtures/fuzz/mutation.ts';
import { pureTargets } from '../fixtures/fuzz/pure-targets.ts';
import { openSessionTarget } from '../fixtures/fuzz/session-target.ts';

const seed = Number(process.argv.find((argument) => argument.startsWith('--seed='))?.slice(7) ?? 20_261_121);
/** Runs that a target may take, and the time after which it stops earlier on a slow machine. */
const budget = { pure: 2_000, session: 250, msMax: 4_000 } as const;

let targets: readonly Target[];
let session: Awaited<ReturnType<typeof openSessionTarget>>;
let coverage: Coverage;
before(async () => {
  session = await openSessionTarget();
  targets = [...await pureTargets(), session.target];
});
after(async () => {
  coverage?.stop();
  await session?.stop();
});

describe('the fuzzer', () => {
  it('finds every kept row to be handled as promised', async () => {
    for (const { target: name, input, why } of readWireCorpus()) {
      const target = targets.find((one) => one.name === name);
      assert.ok(target, `a row for ${name}, which is no target`);
      await assert.doesNotReject(async () => { await target.run(input); }, `${name}: ${why}: ${input.toString('base64')}`);
    }
  });

  for (const name of ['startup', 'frames', 'scanner', 'sql-15', 'sql-18', 'session']) {
    it(`finds nothing in ${name}, from the kept rows on`, async () => {
      const target = targets.find((one) => one.name === name);
      assert.ok(target);
      coverage ??= watchCoverage((url) => /\/src\/(lib|core|entry)\//.test(url));
      const runsMax = name === 'session' ? budget.session : budget.pure;
      const end = performance.now() + budget.msMax;
      const pool = readWireCorpus().filter((row) => row.target === name).map(({ input }) => input);
      const { runs, findings } = await fuzz(target, { random: randomFrom(seed), coverage, pool, isOver: (done) => done >= runsMax || performance.now() > end });
      assert.deepEqual(findings.map(({ input, error }) => `${inspect(error)}\n${wireRow({ target: name, input, why: 'found by the fuzzer' })}`), []);
      assert.ok(runs > 0 && coverage.blocks > 5, `${runs} runs reached ${coverage.blocks} blocks: coverage guides`);
    });
  }
});
