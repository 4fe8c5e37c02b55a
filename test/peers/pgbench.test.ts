/**
 * pgbench, unaware of Backstop, drives its built-in workloads through the gateway: reads under the default policy, its
 * writing workload where policy lets it, a new connection for each transaction, and pipelines. The last figures of its
 * accounts are then checked on the server itself.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { startBackstop, type RunningBackstop } from '../fixtures/backstop.ts';
import { runProgram } from '../fixtures/run-program.ts';
import { missing } from './peer.ts';

const skip = missing('pgbench');
const folder = mkdtempSync(join(tmpdir(), 'backstop-pgbench-'));
after(() => { rmSync(folder, { recursive: true, force: true }); });

async function fill(url: string): Promise<void> {
  const ended = await runProgram('pgbench', ['--initialize', '--quiet', '--scale=1', url]);
  assert.equal(ended.code, 0, ended.stderr);
}

/** Every transaction must succeed: pgbench itself only fails when a client had to stop. */
async function drive(backstop: RunningBackstop, args: readonly string[], transactions: number): Promise<void> {
  const ended = await runProgram('pgbench', [...args, backstop.agentUrl()], { msMax: 120_000 });
  assert.equal(ended.code, 0, `${ended.stdout}\n${ended.stderr}`);
  assert.match(ended.stdout, new RegExp(`transactions actually processed: ${transactions}/${transactions}`));
  assert.match(ended.stdout, /failed transactions: 0/);
}

describe('pgbench through the gateway', { skip }, () => {
  let backstop: RunningBackstop;
  before(async () => {
    backstop = await startBackstop();
    await fill(backstop.directUrl());
  });
  after(async () => { await backstop?.stop(); });

  for (const mode of ['simple', 'extended', 'prepared']) {
    for (const clients of [1, 4]) {
      it(`reads in ${mode} mode with ${clients} ${clients === 1 ? 'client' : 'clients'}`, () =>
        drive(backstop, ['--select-only', '--no-vacuum', `--protocol=${mode}`, `--client=${clients}`, '--transactions=500'], clients * 500));
    }
  }

  it('reads over a new connection for each transaction', () =>
    drive(backstop, ['--select-only', '--no-vacuum', '--connect', '--client=2', '--transactions=25'], 50));

  it('reads in a pipeline', async () => {
    const script = join(folder, 'pipeline.sql');
    const read = 'SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n';
    writeFileSync(script, `\\set aid random(1, 100000)\n\\startpipeline\n${read.repeat(10)}\\endpipeline\n`);
    for (const mode of ['extended', 'prepared']) {
      await drive(backstop, ['--no-vacuum', `--protocol=${mode}`, '--client=2', '--transactions=50', `--file=${script}`], 100);
    }
  });
});

describe('pgbench’s writing workload through the gateway', { skip }, () => {
  for (const policy of ['develop', 'observe'] as const) {
    it(`keeps its books under ${policy}`, async () => {
      const backstop = await startBackstop({ policy });
      try {
        await fill(backstop.directUrl());
        for (const mode of ['simple', 'extended', 'prepared']) {
          await drive(backstop, ['--no-vacuum', `--protocol=${mode}`, '--client=4', '--transactions=25'], 100);
        }
        const [sums] = await backstop.upstream.run(
          `SELECT (SELECT sum(abalance) FROM pgbench_accounts)::int AS accounts, (SELECT sum(bbalance) FROM pgbench_branches)::int AS branches,
             (SELECT sum(delta) FROM pgbench_history)::int AS history, (SELECT count(*) FROM pgbench_history)::int AS n`, 'shop');
        assert.deepEqual(sums, { accounts: sums?.['history'], branches: sums?.['history'], history: sums?.['history'], n: 300 });
      } finally {
        await backstop.stop();
      }
    });
  }
});
