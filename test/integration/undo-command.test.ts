/**
 * `backstop undo` as an operator types it: what it shows, that it changes nothing unless it is told to, what it says of rows
 * that were edited since, and its exit codes.
 */
import assert from 'node:assert/strict';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { tmpdir } from 'node:os';
import { after, before, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startBackstop } from '../../src/app/backstop.ts';
import { loadConfig } from '../../src/config.ts';
import type { UndoReport } from '../../src/core/recovery/undo-plan.ts';
import { createLog } from '../../src/lib/log.ts';
import { startPostgresServer, type PostgresServer } from '../fixtures/postgres-server.ts';
import { folderOf } from '../fixtures/store.ts';
import { startUndoFlow, type UndoFlow } from '../fixtures/undo-flow.ts';
import { stateOf } from '../fixtures/undo-scene.ts';
import { until } from '../fixtures/until.ts';

const program = fileURLToPath(new URL('../../bin/backstop', import.meta.url));
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('BACKSTOP_')));

let server: PostgresServer;
let flow: UndoFlow;
before(async () => { server = await startPostgresServer(); });
after(async () => {
  await flow?.close();
  await server?.stop();
});
beforeEach(async () => {
  await flow?.close();
  await server.run("DROP TABLE IF EXISTS public.orders; CREATE TABLE public.orders (id int PRIMARY KEY, who text, note text); INSERT INTO public.orders SELECT i, 'who ' || i, NULL FROM generate_series(1, 5) i");
  flow = await startUndoFlow(server.url());
});

interface Ran { readonly code: number; readonly stdout: string; readonly stderr: string }

function undo(...args: readonly string[]): Promise<Ran> {
  const all = ['undo', ...args, '--data', folderOf(flow.store.place), '--upstream', `${server.url()}?sslmode=disable`];
  return new Promise((resolve) => {
    const child = execFile(program, all, { env: { ...env, BACKSTOP_OPERATOR_TOKEN: flow.token }, cwd: tmpdir() }, (error, stdout, stderr) => { resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, stdout, stderr }); });
    child.stdin?.end();
  });
}

const kills = Number(process.env['UNDO_KILLS'] ?? 4);

/** Each moment by what can be seen from outside: at once, when it has connected, when it holds its locks, or not before it has ended. */
async function killAt(run: number, child: ChildProcess): Promise<void> {
  const seen = ['SELECT 1', "SELECT FROM pg_stat_activity WHERE application_name = 'backstop undo'", "SELECT FROM pg_locks WHERE mode = 'ExclusiveLock' AND relation = 'public.orders'::regclass", 'SELECT WHERE false'][run % 4] ?? '';
  await until('the moment has come', async () => child.exitCode !== null || (await server.run(seen)).length > 0, 30_000);
}

const state = (): Promise<readonly string[]> => stateOf(flow.link, ['public.orders']);
const log = async (): Promise<string> => new Promise((resolve) => { execFile(program, ['log', '--data', folderOf(flow.store.place)], { env, cwd: tmpdir() }, (_, stdout) => { resolve(stdout); }); });

test('it shows what would change and how to do it, does it, and says how that is taken back', async () => {
  const was = await state();
  const action = await flow.act('DELETE FROM public.orders WHERE id < 3', ['public.orders']);
  const gone = await state();
  const shown = await undo(action.slice(0, 20));
  assert.equal(shown.code, 0, shown.stderr);
  assert.match(shown.stdout, /^To undo: 1 action in database postgres\n\n {2}act_\w+ {2}ada {2}\S+ \S+ {2}DELETE FROM public\.orders WHERE id < 3\n\n {2}TABLE {10}COME BACK\n {2}public\.orders {10}2\n\nNothing was changed\. To do it:\n {2}\S+ undo act_\w+ --upstream "\$BACKSTOP_UPSTREAM" --data \S+ --yes\n$/);
  assert.deepEqual(await state(), gone);
  assert.match(await log(), /UNDO +STATEMENT\n.* can +DELETE FROM public\.orders/);
  const done = await undo(action, '--yes');
  assert.equal(done.code, 0, done.stderr);
  assert.deepEqual(await state(), was);
  assert.match(await log(), /ada .* undone +DELETE FROM public\.orders[^]*olga .* can +undo act_/);
  const own = /\n {2}\S+ undo (act_\w+) --upstream "\$BACKSTOP_UPSTREAM" --data \S+\n$/.exec(done.stdout)?.[1] ?? assert.fail(done.stdout);
  assert.equal((await undo(own, '--yes')).code, 0);
  assert.deepEqual(await state(), gone);
});

test('rows that were edited since are shown as they were, as the action left them and as they are, and need a choice', async () => {
  const action = await flow.act("UPDATE public.orders SET note = 'x', who = 'nobody' WHERE id <= 3", ['public.orders']);
  await server.run("UPDATE public.orders SET who = 'mine' WHERE id = 2; DELETE FROM public.orders WHERE id = 3");
  const is = await state();
  const shown = await undo(action);
  assert.equal(shown.code, 0, shown.stderr);
  assert.match(shown.stdout, /TABLE {10}PUT BACK {2}IN CONFLICT\n {2}public\.orders {9}1 {12}2\n/);
  assert.match(shown.stdout, /public\.orders \(2\): what the action had changed was edited since\n {6}COLUMN {2}BEFORE {2}AFTER THE ACTION {2}NOW\n {6}who {5}who 2 {3}nobody {12}mine\n {6}note {4}NULL {4}x {17}x\n/);
  assert.match(shown.stdout, /2 rows cannot be undone without a choice:\n {2}--on-conflict skip +leaves them.*\n {2}--merge .*\n {2}--on-conflict force .*\n\nFor example:\n.* --on-conflict skip --yes\n$/);
  const refused = await undo(action, '--yes');
  assert.equal(refused.code, 8);
  assert.match(refused.stderr, /^backstop: 2 rows of rp_\w+ cannot be undone without overwriting what was done since, so nothing was changed\.\n {2}public\.orders \(2\): .*\n {2}public\.orders \(3\): it was deleted since\n {2}Leave these rows/);
  assert.deepEqual(await state(), is);
  const skipped = await undo(action, '--on-conflict', 'skip', '--yes');
  assert.match(skipped.stdout, /2 rows were left as they are/);
  assert.deepEqual((await state()).map((row) => row.slice(14)), ['(1,"who 1",)', '(2,mine,x)', '(4,"who 4",)', '(5,"who 5",)']);
  const forced = await undo(action, '--on-conflict', 'force', '--yes', '--json');
  const report = JSON.parse(forced.stdout) as { rowsLeft: number; applied: { actionId: string } };
  assert.equal(report.rowsLeft, 0);
  assert.match(report.applied.actionId, /^act_/);
  assert.equal((await state()).length, 5);
});

test('`last` is the newest action that can be undone, and no undo', async () => {
  const was = await state();
  await flow.act("UPDATE public.orders SET note = 'x'", ['public.orders'], 'eve');
  const first = await state();
  await flow.act('DELETE FROM public.orders', ['public.orders']);
  assert.equal((await undo('last', '--yes')).code, 0);
  assert.deepEqual(await state(), first);
  assert.equal((await undo('last', '--agent', 'ada')).code, 7);
  assert.equal((await undo('last', '--agent', 'eve', '--yes')).code, 0);
  assert.deepEqual(await state(), was);
  const none = await undo('last', '--yes');
  assert.equal(none.code, 7);
  assert.match(none.stderr, /no action that could be undone/);
});

test('all that an agent did since some time goes at once', async () => {
  const was = await state();
  await flow.act("UPDATE public.orders SET note = 'x'", ['public.orders']);
  await flow.act('DELETE FROM public.orders', ['public.orders']);
  assert.equal((await undo('--agent', 'ada', '--since', '10m', '--yes')).code, 0);
  assert.deepEqual(await state(), was);
  // To undo everything is not to do again what was undone.
  assert.equal((await undo('--since', '10m', '--yes')).code, 7);
  assert.deepEqual(await state(), was);
});

test('over HTTP an operator looks, and does it, and nobody else', async () => {
  const was = await state();
  const action = await flow.act('DELETE FROM public.orders', ['public.orders']);
  const data = folderOf(flow.store.place);
  const log = createLog({ level: 'silent' });
  const running = await startBackstop(loadConfig({ env: {}, cwd: data, flags: { data, upstream: `${server.url()}?sslmode=disable`, gatewayPort: '0', httpPort: '0', logLevel: 'silent' } }), log);
  try {
    const post = (query: string, token: string): Promise<Response> => fetch(`http://127.0.0.1:${running.http.port}/v1/actions/${action}/undo${query}`, { method: 'POST', headers: { authorization: `Bearer ${token}` } });
    const agent = await running.identities.addAgent('reporting', null, 'test');
    for (const token of [agent.token, 'bso_nobody']) assert.equal((await post('?dry=true', token)).status, 403);
    const looked = await post('?dry=true', flow.token);
    assert.equal(looked.status, 200);
    assert.equal((await looked.json() as UndoReport).points[0]?.changes[0]?.insert, 5);
    assert.deepEqual(await state(), []);
    assert.match((await (await post('', flow.token)).json() as UndoReport).applied?.actionId ?? '', /^act_/);
    assert.deepEqual(await state(), was);
    const again = await post('', flow.token);
    assert.deepEqual([again.status, (await again.json() as { code: string }).code], [409, 'conflict']);
  } finally {
    await running.stop();
  }
});

test('killed at any moment it has done all or nothing, and can be asked for again', async () => {
  let [done, undone] = [0, 0];
  for (let run = 0; run < kills; run += 1) {
    const was = await state();
    const action = await flow.act('DELETE FROM public.orders', ['public.orders']);
    const child = spawn(program, ['undo', action, '--yes', '--data', folderOf(flow.store.place), '--upstream', `${server.url()}?sslmode=disable`], { env: { ...env, BACKSTOP_OPERATOR_TOKEN: flow.token }, stdio: 'ignore' });
    const ended = new Promise((resolve) => { child.once('exit', resolve); });
    await killAt(run, child);
    child.kill('SIGKILL');
    await ended;
    await until('the server has seen that it is gone', async () => (await server.run("SELECT FROM pg_stat_activity WHERE application_name = 'backstop undo'")).length === 0);
    const is = await state();
    if (is.length === 0) undone += 1;
    else {
      done += 1;
      assert.deepEqual(is, was);
    }
    const again = await undo(action, '--yes');
    assert.ok(again.code === 0 || /was undone already/.test(again.stderr), again.stderr);
    assert.deepEqual(await state(), was);
  }
  assert.ok(undone > 0 && done > 0, `${undone} killed before it was done, ${done} after`);
});

test('what it cannot do it says in one sentence with an exit code', async () => {
  const action = await flow.act('DELETE FROM public.orders', ['public.orders']);
  const rows: readonly (readonly [args: readonly string[], code: number, text: RegExp])[] = [
    [[], 2, /which actions\?/], [[action, '--since', '1h'], 2, /not both/], [['--since', 'noon'], 2, /takes a time such as/], [[action, '--on-conflict', 'maybe'], 2, /takes skip or force/],
    [['act_01k9x2m4'], 7, /nothing was captured/], [[action, '--yes', '--token', 'bsa_agent'], 6, /agent's token/], [['--until', '1h'], 2, /which actions\?/],
  ];
  for (const [args, code, text] of rows) {
    const ran = await undo(...args);
    assert.equal(ran.code, code, ran.stderr);
    assert.match(ran.stderr, text);
    assert.equal(ran.stdout, '');
  }
  assert.deepEqual(await state(), []);
  assert.match((await undo('--help')).stdout, /Examples:/);
});
