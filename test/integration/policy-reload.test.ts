/**
 * A changed policy file is in force for the sessions that are open; a bad one is refused loudly, and everything goes on
 * under the old one.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { startBackstopProcess, type BackstopProcess } from '../fixtures/backstop-process.ts';
import { asPgError } from '../fixtures/pg-error.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { until } from '../fixtures/until.ts';
import { runProgram } from '../fixtures/run-program.ts';

const workers = 2;
const folder = mkdtempSync(join(tmpdir(), 'policy-reload-'));
const path = join(folder, 'shop.yaml');
const write = (high: string): void => {
  writeFileSync(path, `name: shop\ndescription: For a test.\nlevels: { SAFE: allow, LOW: allow, HIGH: ${high}, CRITICAL: deny }\nunknown: hold\n`);
};

let upstream: PostgresServer;
let backstop: BackstopProcess;
let client: pg.Client;
before(async () => {
  upstream = await startPostgresServer();
  await upstream.run('CREATE TABLE t (a int)');
  write('allow');
  backstop = await startBackstopProcess({ upstream: upstream.url(), flags: ['--policy', path, '--workers', String(workers)] });
  client = new pg.Client({ connectionString: /postgres(?:ql)?:\/\/\S+/.exec(backstop.printed())?.[0] ?? '' });
  await client.connect();
});
after(async () => {
  await client?.end();
  await backstop?.stop();
  await upstream?.stop();
  rmSync(folder, { recursive: true });
});

interface Health { readonly status: string; readonly policy: { readonly name: string; readonly hash: string; readonly environment: string; readonly refused: { readonly why: string } | null } }
const health = async (): Promise<Health> => await (await fetch(`http://127.0.0.1:${backstop.httpPort}/healthz`)).json() as Health;
const metric = async (name: string): Promise<number | undefined> => {
  const text = await (await fetch(`http://127.0.0.1:${backstop.httpPort}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.slice(name.length));
};
const insert = (): Promise<unknown> => client.query('INSERT INTO t VALUES (1)');
const refusal = (): Promise<string> => insert().then(() => 'it ran', (error: unknown) => asPgError(error).message ?? '');

describe('a policy file that changes while Backstop runs', () => {
  it('is in force in the session that is open, without a signal', async () => {
    const { policy: first, status } = await health();
    assert.deepEqual([status, first.name, first.environment, first.refused], ['ok', 'shop', 'production', null]);
    await insert();
    write('deny');
    await until('another policy is in force', async () => (await health()).policy.hash !== first.hash);
    assert.match(await refusal(), /denied by policy shop/);
    assert.deepEqual((await client.query('SELECT 1 AS one')).rows, [{ one: 1 }]);
  });

  it('is refused at its line when it is bad, everywhere one would look, and the old one stays in force', async () => {
    const { policy: inForce } = await health();
    write('alow');
    const { policy, status } = await until('it is refused', async () => { const now = await health(); return now.policy.refused === null ? undefined : now; });
    assert.deepEqual([status, policy.hash], ['degraded', inForce.hash]);
    assert.match(policy.refused?.why ?? '', /shop\.yaml:3:42: `levels\.HIGH` is "alow".*Did you mean allow\?/);
    await until('every worker has said so in the log', () => Promise.resolve(backstop.logged().match(/the old one stays in force: [^"]*shop\.yaml:3:42/g)?.length === workers));
    assert.deepEqual([await metric('backstop_policy_refused'), await metric('backstop_policy_reloads_total{result="refused"}')], [1, 1], 'one file was refused, however many workers read it');
    assert.match(await refusal(), /denied by policy shop/);
  });

  it('is read again on SIGHUP, which ends no session', async () => {
    const { policy: inForce } = await health();
    write('allow');
    process.kill(backstop.pid, 'SIGHUP');
    await until('the good file is in force', async () => { const { policy } = await health(); return policy.refused === null && policy.hash !== inForce.hash; });
    await insert();
    assert.equal(await metric('backstop_policy_refused'), 0);
  });

  it('is refused when it would leave production unprotected without saying so', async () => {
    writeFileSync(path, 'name: shop\ndescription: d\nmode: observe\nlevels: { SAFE: allow, LOW: allow, HIGH: deny, CRITICAL: deny }\n');
    process.kill(backstop.pid, 'SIGHUP');
    await until('it is refused', async () => /only observes, and the environment is production/.test((await health()).policy.refused?.why ?? ''));
    await insert();
  });

  it('leaves the record whole', async () => {
    const { code } = await backstop.cli('ledger', 'verify');
    assert.equal(code, 0);
  });
});

describe('observe in production', () => {
  it('is refused at the start', async () => {
    const main = new URL('../../src/main.ts', import.meta.url).pathname;
    const { code, stderr } = await runProgram(process.execPath, [main, 'up', '--upstream', upstream.url(), '--policy', 'observe', '--data', join(folder, 'data'), '--gateway-port', '0', '--http-port', '0']);
    assert.equal(code, 2);
    assert.match(stderr, /policy observe only observes, and the environment is production/);
    assert.match(stderr, /observe_in_production: "I understand that nothing is enforced"/);
  });
});
