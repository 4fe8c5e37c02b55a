/**
 * Several workers on one port: this process is their supervisor. It claims the data folder, settles what a crash left,
 * starts the server of our own if one is needed, serves HTTP for all, and starts a worker again when it ends by itself,
 * after its open permits are settled. Each worker is a whole node of the store; what they need of each other (a cancel
 * request, the number of clients) passes through here. It reads no client's bytes.
 */
import { fileURLToPath } from 'node:url';
import { configToText, type Config } from '../config.ts';
import { Failure } from '../core/failure.ts';
import { createHttp, type PolicyHealth } from '../entry/http/http.ts';
import { addMetrics } from '../entry/http/metrics.ts';
import type { Log } from '../lib/log.ts';
import type { Backstop, StartHooks } from './backstop.ts';
import { claimAlone } from './data-folder.ts';
import { openMemory, recordRun, settleTheLastRun, settleWorker } from './memory.ts';
import { loadFor } from './policy.ts';
import { resolvePoints } from './protection.ts';
import { startWhole, type Started } from './start-whole.ts';
import { undoOverHttp } from './undo.ts';
import { checkReachable, findUpstream } from './upstream.ts';
import { WorkerPool } from './worker-pool.ts';

/** As `startBackstop`, with `config.workers` processes. */
export function startSupervised(config: Config, log: Log, hooks: StartHooks = { onProgress: () => undefined }): Promise<Backstop> {
  return startWhole(log, (started) => startParts(config, log, hooks, started));
}

async function startParts(config: Config, log: Log, hooks: StartHooks, started: Started): Promise<Omit<Backstop, 'stop'>> {
  // A mistake in it is told before anything is touched.
  const { name: policyName } = await loadFor(config);
  started.push(claimAlone(config));
  const memory = await openMemory(config.store);
  started.push(() => memory.close());
  await settleTheLastRun(memory.database, config.dataDir, (what, details) => { log.warn(details, what); });
  await recordRun(memory, started);

  const { target, url, ended } = await findUpstream(config, hooks, started);
  resolvePoints(memory, target, log, started);
  const pool = new WorkerPool({
    exec: fileURLToPath(import.meta.resolve(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js')), slots: config.workers, log,
    config: configToText({ ...config, upstream: url }), onDeath: (pid) => settleWorker(memory.database, config.dataDir, pid, log),
  });
  started.push(() => pool.stop());
  const gateway = await pool.start();

  const http = createHttp({
    host: config.http.host, port: config.http.port, log, undo: undoOverHttp(config, url, log),
    metrics: { contentType: addMetrics([]).contentType, text: async () => addMetrics(await pool.metrics()).text() },
    policy: () => policyOf(pool, { name: policyName, hash: '', since: '', environment: config.environment, refused: null }),
    checks: {
      upstream: () => checkReachable(target),
      store: async () => { await memory.ledger.head(); },
      ledger: () => checkLedger(pool),
      workers: () => checkWorkers(pool, config),
    },
    degrading: { recovery: () => checkStorage(pool) },
  });
  const httpPort = await http.listen();
  started.push(() => http.close());
  return {
    gateway, http: { address: config.http.host, port: httpPort }, database: target.database, policyName, environment: config.environment,
    reloadPolicy: () => { pool.reload(); return Promise.resolve(); }, identities: memory.identities, memory, ended,
  };
}

/**
 * Of policies that differ for a moment, while a file is read again, one that was refused is told first, and else the one
 * that has been in force longest: another is told only once every worker has it.
 */
async function policyOf(pool: WorkerPool, none: PolicyHealth): Promise<PolicyHealth> {
  const policies = (await pool.health()).map(({ policy }) => policy);
  return policies.find(({ refused }) => refused !== null) ?? policies.toSorted((a, b) => Date.parse(a.since) - Date.parse(b.since))[0] ?? none;
}

async function checkLedger(pool: WorkerPool): Promise<void> {
  if ((await pool.health()).some(({ isLedgerWritable }) => !isLedgerWritable)) throw new Failure('ledger_unavailable', 'the record cannot be written');
}

async function checkStorage(pool: WorkerPool): Promise<void> {
  const faulty = (await pool.health()).find(({ storageFault }) => storageFault !== null);
  if (faulty !== undefined) throw new Failure('bucket_unavailable', faulty.storageFault ?? '');
}

function checkWorkers({ serving }: WorkerPool, { workers }: Config): Promise<void> {
  if (serving > 0) return Promise.resolve();
  return Promise.reject(new Failure('internal', `none of ${workers} workers serves`));
}
