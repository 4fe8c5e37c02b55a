/**
 * `npm run fuzz -- [--seconds 600] [--seed N] [--target NAME] [--keep FILE]`: fuzzes start-up, framing, sessions and the
 * parser's boundary, guided by coverage, until the time is over or a promise is broken. A finding is printed as a row for
 * test/corpus/wire and ends the run with exit code 1; `--keep` writes the inputs that reached the most.
 */
import { writeFileSync } from 'node:fs';
import { inspect, parseArgs } from 'node:util';
import { readWireCorpus, wireRow } from '../test/fixtures/fuzz/corpus.ts';
import { watchCoverage } from '../test/fixtures/fuzz/coverage.ts';
import { fuzz, type Target } from '../test/fixtures/fuzz/loop.ts';
import { randomFrom } from '../test/fixtures/fuzz/mutation.ts';
import { pureTargets } from '../test/fixtures/fuzz/pure-targets.ts';
import { openSessionTarget } from '../test/fixtures/fuzz/session-target.ts';

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '600' }, seed: { type: 'string', default: String(Date.now() % 1_000_000) }, target: { type: 'string' }, keep: { type: 'string' } } });
const [seconds, seed] = [Number(values.seconds), Number(values.seed)];
const session = await openSessionTarget();
const targets: readonly Target[] = [...await pureTargets(), session.target].filter(({ name }) => values.target === undefined || name === values.target);
const coverage = watchCoverage((url) => /\/src\/(lib|core|entry)\//.test(url));
const kept: string[] = [];
let failed = 0;
console.log(`seed ${seed}, ${targets.length} targets, ${seconds} s`);
try {
  for (const [index, target] of targets.entries()) {
    // A session is slow and has the most in it: it gets half of the time.
    const share = target.name === 'session' ? 0.5 : 0.5 / Math.max(1, targets.length - 1);
    const end = performance.now() + seconds * 1000 * (targets.length === 1 ? 1 : share);
    const pool = readWireCorpus().filter((row) => row.target === target.name).map(({ input }) => input);
    const { runs, findings } = await fuzz(target, { random: randomFrom(seed + index), coverage, pool, isOver: () => performance.now() > end });
    console.log(`${target.name}: ${runs} runs, ${pool.length} inputs kept, ${coverage.blocks} blocks seen, ${findings.length} findings`);
    for (const { input, error } of findings) console.log(`${inspect(error, { depth: 3 })}\n${wireRow({ target: target.name, input, why: 'found by the fuzzer: …' })}`);
    failed += findings.length;
    kept.push(...pool.slice(-20).map((input) => wireRow({ target: target.name, input, why: 'reaches code that few inputs reach' })));
  }
  if (values.keep !== undefined) writeFileSync(values.keep, `${kept.join('\n')}\n`);
} finally {
  coverage.stop();
  await session.stop();
}
process.exitCode = failed === 0 ? 0 : 1;
