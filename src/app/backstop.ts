/**
 * The app: builds every part from Config, joins them, and starts and stops them in order.
 *   start  policy → claim → store, settling what a crash left → PostgreSQL (unless one is given) → catalogs → gateway → HTTP
 *   stop   HTTP → gateway (its sessions end) → catalogs → PostgreSQL → ledger (what is left is written) → store
 * Whatever was started is stopped again when a later part fails.
 */
import type { Config } from '../config.ts';
import { Failure } from '../core/failure.ts';
import { createHttp } from '../entry/http/http.ts';
import type { Log } from '../lib/log.ts';
import type { Identities } from '../store/identities.ts';
import { claimAlone } from './data-folder.ts';
import { openMemory, recordRun, type Memory } from './memory.ts';
import { loadFor, policyHealth } from './policy.ts';
import { resolvePoints } from './protection.ts';
import { serve } from './serve.ts';
import { startWhole, type Started } from './start-whole.ts';
import { undoOverHttp } from './undo.ts';
import { findUpstream } from './upstream.ts';

export interface Backstop {
  readonly gateway: Address;
  readonly http: Address;
  /** The one that connections which name none get. */
  readonly database: string;
  readonly policyName: string;
  readonly environment: Config['environment'];
  /** Reads the policy file again. Never rejects because of the file: then the old one stays in force, and the log says why. */
  reloadPolicy(): Promise<void>;
  readonly identities: Identities;
  readonly memory: Memory;
  /** Resolves when something it cannot do without has ended by itself. */
  readonly ended: Promise<Failure>;
  stop(): Promise<void>;
}

export interface Address { readonly address: string; readonly port: number }

export interface StartHooks {
  /** One short sentence for each step that takes time. */
  readonly onProgress: (what: string) => void;
}

/** Serves until `stop`. Throws Failure, with everything stopped again. */
export function startBackstop(config: Config, log: Log, hooks: StartHooks = { onProgress: () => undefined }): Promise<Backstop> {
  return startWhole(log, (started) => startParts(config, log, hooks, started));
}

async function startParts(config: Config, log: Log, hooks: StartHooks, started: Started): Promise<Omit<Backstop, 'stop'>> {
  // A mistake in it is told before anything is touched.
  await loadFor(config);
  started.push(claimAlone(config));
  const memory = await openMemory(config.store, { serving: { dataDir: config.dataDir, onEvent: (what, details) => { log.warn(details, what); } } });
  started.push(() => memory.close());
  await recordRun(memory, started);

  const { target, url, ended } = await findUpstream(config, hooks, started);
  resolvePoints(memory, target, log, started);
  const { gateway, catalogs, policy, metrics, storage } = await serve(config, log, { memory, target }, started);
  const http = createHttp({
    host: config.http.host, port: config.http.port, metrics, log, undo: undoOverHttp(config, url, log),
    policy: () => policyHealth(policy, config),
    checks: {
      upstream: async () => { await catalogs.current(target.database, { fresh: true }); },
      store: async () => { await memory.ledger.head(); },
      ledger: () => (memory.ledger.fault === undefined ? Promise.resolve() : Promise.reject(new Failure('ledger_unavailable', 'the record cannot be written'))),
    },
    degrading: { recovery: () => (storage.fault === undefined ? Promise.resolve() : Promise.reject(storage.fault)) },
  });
  const httpPort = await http.listen();
  started.push(() => http.close());
  return {
    gateway, http: { address: config.http.host, port: httpPort }, database: target.database,
    policyName: policy.current().name, environment: config.environment, reloadPolicy: async () => { await policy.reload('signal'); }, identities: memory.identities, memory, ended,
  };
}
