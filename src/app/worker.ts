/**
 * The executable of one worker: a whole node of the store that serves the gateway's port together with its fellows, under
 * a supervisor that started it, hears from it and outlives it. It ends when the supervisor says so, at once when the
 * supervisor is gone, and never by a signal from the terminal, which both of them get.
 */
import { configFromText, type Config } from '../config.ts';
import { Failure } from '../core/failure.ts';
import type { Fellows } from '../entry/gateway/gateway.ts';
import { createLog, type Log } from '../lib/log.ts';
import { claimAsWorker } from './data-folder.ts';
import { openMemory, type Memory } from './memory.ts';
import { policyHealth } from './policy.ts';
import { serve, type Served } from './serve.ts';
import { stopAll, type Started } from './start-whole.ts';
import { targetOf } from './upstream.ts';
import { fromSupervisor, type FromSupervisor, type FromWorker } from './worker-messages.ts';

type Begin = Extract<FromSupervisor, { kind: 'begin' }>;
interface Running { readonly config: Config; readonly served: Served; readonly memory: Memory; readonly started: Started; readonly log: Log }

const faultExitCode = 70;
/** Cancel requests on their way to the supervisor; more are dropped, as a server drops what it is flooded with. */
const cancelsWaitingMax = 100;
const enterMsMax = 5_000;

let running: Running | undefined;
const entering = new Map<number, (room: { readonly own: number; readonly all: number }) => void>();
let nextEntering = 0;
let cancelsWaiting = 0;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
process.on('disconnect', () => process.exit(faultExitCode));
process.on('message', (message) => {
  take(fromSupervisor.parse(message)).catch((error: unknown) => {
    running?.log.error({ error }, 'a worker ends by a fault');
    process.exit(faultExitCode);
  });
});

async function take(message: FromSupervisor): Promise<void> {
  switch (message.kind) {
    case 'begin': await begin(message); break;
    case 'entered': entering.get(message.id)?.(message); break;
    case 'cancel': running?.served.entry.cancel({ processId: message.processId, secretKey: Buffer.from(message.secretKey, 'base64') }); break;
    case 'reload': await running?.served.policy.reload('signal'); break;
    case 'ask': await answer(message.id, message.what); break;
    case 'stop': await stop();
  }
}

async function begin({ slot, slots, config: text }: Begin): Promise<void> {
  const config = configFromText(text);
  const log = createLog({ level: config.logLevel }).child({ worker: slot });
  const started: Started = [];
  try {
    started.push(claimAsWorker(config));
    const memory = await openMemory(config.store, { serving: { dataDir: config.dataDir, isWorker: true, onEvent: (what, details) => { log.warn(details, what); } } });
    started.push(() => memory.close());
    const served = await serve(config, log, { memory, target: targetOf(config), fellows: fellowsOf(slot, slots) }, started);
    running = { config, served, memory, started, log };
    tell({ kind: 'listening', address: served.gateway.address, port: served.gateway.port });
  } catch (error) {
    await stopAll(started).catch(() => undefined);
    if (!(error instanceof Failure)) throw error;
    const { code, message, detail, hint } = error;
    process.send?.({ kind: 'failed', failure: { code, message, hint, ...(detail === undefined ? {} : { detail }) } } satisfies FromWorker, () => process.exit(error.exitCode));
  }
}

function fellowsOf(slot: number, slots: number): Fellows {
  return {
    place: { slot, slots },
    enter: (agent) => new Promise((resolve, reject) => {
      const id = nextEntering += 1;
      const timer = setTimeout(() => { entering.delete(id); tell({ kind: 'leave', agent }); reject(new Failure('internal', 'the supervisor does not answer')); }, enterMsMax);
      entering.set(id, (room) => { clearTimeout(timer); entering.delete(id); resolve(room); });
      tell({ kind: 'enter', id, agent });
    }),
    leave: (agent) => { tell({ kind: 'leave', agent }); },
    cancel: (to, { processId, secretKey }) => {
      if (cancelsWaiting >= cancelsWaitingMax) return;
      cancelsWaiting += 1;
      process.send?.({ kind: 'cancel', slot: to, processId, secretKey: secretKey.toString('base64') } satisfies FromWorker, () => { cancelsWaiting -= 1; });
    },
  };
}

async function answer(id: number, what: 'health' | 'metrics'): Promise<void> {
  if (running === undefined) return;
  const { served: { policy, metrics, storage }, memory, config } = running;
  if (what === 'metrics') tell({ kind: 'metrics', id, parts: [...await metrics.parts()] as Record<string, unknown>[] });
  else tell({ kind: 'health', id, health: { policy: policyHealth(policy, config), isLedgerWritable: memory.ledger.fault === undefined, storageFault: storage.fault?.message ?? null } });
}

async function stop(): Promise<void> {
  const { started = [], log } = running ?? {};
  running = undefined;
  let exitCode = 0;
  await stopAll(started).catch((error: unknown) => {
    log?.error({ error }, 'a worker could not stop cleanly');
    exitCode = faultExitCode;
  });
  process.exit(exitCode);
}

function tell(message: FromWorker): void { process.send?.(message); }
