/** Health, metrics and problem documents of the HTTP entry. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../../core/failure.ts';
import { createLog } from '../../lib/log.ts';
import { createHttp, type Check, type HttpEntry, type PolicyHealth } from './http.ts';
import { addMetrics, createMetrics } from './metrics.ts';

const metrics = createMetrics({ sessions: () => 3, holds: () => 1, waitingReads: () => 7, isLedgerWritable: () => false, isPolicyRefused: () => true, isStorageUsable: () => false });

const since = '2026-01-02T03:04:05.000Z';
function entry(checks: Record<string, Check> = {}, port = 0, refused: PolicyHealth['refused'] = null, degrading: Record<string, Check> = {}): HttpEntry {
  return createHttp({ host: '127.0.0.1', port, checks, degrading, metrics, policy: () => ({ name: 'protect', hash: 'h', since, environment: 'dev', refused }), undo: () => Promise.reject(new Failure('not_found', 'there is nothing to undo')), log: createLog({ level: 'silent' }) });
}

const get = (http: HttpEntry, path: string): Promise<Response> => http.fetch(new Request(`http://local${path}`));

test('it is live whatever it depends on, and ready only when every check is', async () => {
  const http = entry({ store: () => Promise.resolve(), upstream: () => Promise.reject(new Error('no server')) });
  assert.equal((await get(http, '/livez')).status, 200);
  const ready = await get(http, '/readyz');
  assert.equal(ready.status, 503);
  assert.deepEqual(await ready.json(), { status: 'not ready', checks: { store: 'ok', upstream: 'no server' } });
  assert.equal((await get(entry({ store: () => Promise.resolve() }), '/readyz')).status, 200);
});

test('a refused policy file degrades the health and leaves it ready, with the reason', async () => {
  const refused = { at: '2026-01-02T03:04:05.000Z', why: 'shop.yaml:3:1: wrong' };
  const health = await get(entry({ store: () => Promise.resolve() }, 0, refused), '/healthz');
  assert.equal(health.status, 200);
  assert.deepEqual(await health.json(), { status: 'degraded', checks: { store: 'ok' }, policy: { name: 'protect', hash: 'h', since, environment: 'dev', refused } });
  assert.equal((await get(entry({ store: () => Promise.reject(new Error('gone')) }, 0, refused), '/healthz')).status, 503);
});

test('storage of recovery points that cannot be used degrades the health and leaves it ready, with the reason', async () => {
  const http = entry({ store: () => Promise.resolve() }, 0, null, { storage: () => Promise.reject(new Error('no disk')) });
  for (const path of ['/readyz', '/healthz']) {
    const response = await get(http, path);
    assert.equal(response.status, 200);
    const { status, checks } = await response.json() as { status: string; checks: object };
    assert.deepEqual([status, checks], ['degraded', { store: 'ok', storage: 'no disk' }]);
  }
});

test('metrics count verdicts and say what waits', async () => {
  metrics.countVerdict({ decision: 'deny', wouldBe: 'deny', level: 'CRITICAL', fired: [], policyName: 'protect', policyHash: 'x' });
  const text = await (await get(entry(), '/metrics')).text();
  assert.match(text, /backstop_verdicts_total\{level="CRITICAL",decision="deny",would_be="deny"\} 1/);
  for (const line of ['backstop_sessions 3', 'backstop_holds 1', 'backstop_ledger_waiting_reads 7', 'backstop_ledger_writable 0', 'backstop_policy_refused 1', 'backstop_recovery_storage_usable 0']) assert.ok(text.includes(line), line);
});

test('metrics say how many recovery points were sealed, how large, and how fast', async () => {
  metrics.observeSeal({ method: 'rows', bytes: 100 }, 0.004);
  metrics.observeSeal({ method: 'tables', bytes: 900 }, 2);
  const text = await (await get(entry(), '/metrics')).text();
  for (const line of ['backstop_recovery_points_total{method="rows"} 1', 'backstop_recovery_bytes_total 1000', 'backstop_recovery_seal_seconds_bucket{le="0.005"} 1', 'backstop_recovery_seal_seconds_count 2']) assert.ok(text.includes(line), line);
});

test('a policy file that several workers have read is counted once', async () => {
  const workers = [2, 1].map((files) => {
    const worker = createMetrics({ sessions: () => 3, holds: () => 0, waitingReads: () => 0, isLedgerWritable: () => true, isPolicyRefused: () => false, isStorageUsable: () => true });
    for (let file = 0; file < files; file += 1) worker.countReload('refused');
    return worker;
  });
  const text = await addMetrics(await Promise.all(workers.map((worker) => worker.parts()))).text();
  for (const line of ['backstop_policy_reloads_total{result="refused"} 2', 'backstop_sessions 6']) assert.ok(text.includes(line), line);
});

test('what is not there is a problem document', async () => {
  const response = await get(entry(), '/nothing');
  assert.equal(response.status, 404);
  assert.equal(response.headers.get('content-type'), 'application/problem+json');
});

test('a port that is taken is one clear failure', async () => {
  const first = entry();
  const port = await first.listen();
  await assert.rejects(entry({}, port).listen(), (error) => error instanceof Failure && error.code === 'port_in_use' && error.message.includes(String(port)));
  assert.equal((await fetch(`http://127.0.0.1:${port}/livez`)).status, 200);
  await first.close();
});
