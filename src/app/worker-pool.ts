/**
 * The workers of a supervisor: started together, asked together, stopped together, and started again one by one when one
 * ends by itself. What they tell of themselves is checked; a cancel request goes to the worker it names and to no other.
 */
import cluster, { type Worker } from 'node:cluster';
import { Failure, failureKinds, type FailureCode } from '../core/failure.ts';
import { Bug } from '../lib/assert.ts';
import type { Log } from '../lib/log.ts';
import { fromWorker, type FromSupervisor, type FromWorker, type WorkerHealth } from './worker-messages.ts';

export interface WorkerPoolDeps {
  /** The program of a worker. */
  readonly exec: string;
  readonly slots: number;
  /** The configuration as text. */
  readonly config: string;
  /** A worker is dead; called before another takes its place. */
  readonly onDeath: (pid: number) => Promise<void>;
  readonly log: Log;
}

type Listening = Extract<FromWorker, { kind: 'listening' }>;
type Answer = Extract<FromWorker, { kind: 'health' | 'metrics' }>;
interface Place {
  worker: Worker;
  isListening: boolean;
  /** How many clients of each agent are in. */
  readonly clients: Map<string, number>;
}

const answerMsMax = 2_000;
/** Longer than a gateway waits for what runs, and then for its sessions to end. */
const stopMsMax = 25_000;
const restartMsMin = 100;
const restartMsMax = 10_000;
/** A worker that served this long has shown that it can. */
const soundAfterMs = 30_000;

export class WorkerPool {
  readonly #deps: WorkerPoolDeps;
  readonly #places = new Map<number, Place>();
  readonly #asked = new Map<number, { readonly slot: number; readonly resolve: (answer: Answer | undefined) => void }>();
  readonly #restarts = new Set<NodeJS.Timeout>();
  readonly #delays = new Map<number, number>();
  #nextAsked = 0;
  #isStopping = false;

  constructor(deps: WorkerPoolDeps) {
    this.#deps = deps;
    cluster.setupPrimary({ exec: deps.exec, args: [], execArgv: ['--disable-warning=ExperimentalWarning', ...process.execArgv] });
    // Handed out in turn by this process: left to the system, one worker would get most of the connections.
    cluster.schedulingPolicy = cluster.SCHED_RR;
  }

  /** Where all of them listen. Throws the Failure of the first that cannot serve. */
  async start(): Promise<Pick<Listening, 'address' | 'port'>> {
    const [first] = await Promise.all(Array.from({ length: this.#deps.slots }, (_, slot) => this.#begin(slot)));
    if (first === undefined) throw new Bug('a pool needs a worker');
    return first;
  }

  async health(): Promise<readonly WorkerHealth[]> {
    return (await this.#ask('health')).flatMap((answer) => (answer.kind === 'health' ? [answer.health] : []));
  }

  async metrics(): Promise<readonly (readonly object[])[]> {
    return (await this.#ask('metrics')).flatMap((answer) => (answer.kind === 'metrics' ? [answer.parts] : []));
  }

  /** How many of them serve now. */
  get serving(): number { return [...this.#places.values()].filter(({ isListening }) => isListening).length; }

  reload(): void { for (const { worker } of this.#places.values()) tell(worker, { kind: 'reload' }); }

  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const timer of this.#restarts) clearTimeout(timer);
    await Promise.all([...this.#places.values()].map(({ worker }) => ended(worker)));
  }

  #begin(slot: number): Promise<Listening> {
    const worker = cluster.fork();
    const place: Place = { worker, clients: new Map(), isListening: false };
    this.#places.set(slot, place);
    const since = performance.now();
    return new Promise((resolve, reject) => {
      worker.on('message', (message: unknown) => {
        const told = fromWorker.safeParse(message);
        if (!told.success) return;
        if (told.data.kind === 'listening') { place.isListening = true; resolve(told.data); }
        else if (told.data.kind === 'failed') reject(failureOf(told.data.failure));
        else this.#take(slot, place, told.data);
      });
      worker.once('exit', (code, signal) => {
        reject(new Failure('internal', `a worker ended with ${signal ?? `code ${code}`} before it served`));
        this.#died(slot, place, { code, signal, livedMs: performance.now() - since });
      });
      tell(worker, { kind: 'begin', slot, slots: this.#deps.slots, config: this.#deps.config });
    });
  }

  #take(slot: number, place: Place, message: Exclude<FromWorker, { kind: 'listening' | 'failed' }>): void {
    switch (message.kind) {
      case 'enter': {
        const { agent, id } = message;
        const all = [...this.#places.values()].map(({ clients }) => clients);
        const own = sum(all.map((clients) => clients.get(agent) ?? 0));
        tell(place.worker, { kind: 'entered', id, own, all: sum(all.map((clients) => sum([...clients.values()]))) });
        place.clients.set(agent, (place.clients.get(agent) ?? 0) + 1);
        break;
      }
      case 'leave': {
        const left = (place.clients.get(message.agent) ?? 0) - 1;
        if (left > 0) place.clients.set(message.agent, left);
        else place.clients.delete(message.agent);
        break;
      }
      case 'cancel': {
        const to = this.#places.get(message.slot);
        if (to !== undefined && message.slot !== slot) tell(to.worker, { kind: 'cancel', processId: message.processId, secretKey: message.secretKey });
        break;
      }
      case 'health': case 'metrics':
        this.#asked.get(message.id)?.resolve(message);
        this.#asked.delete(message.id);
    }
  }

  #died(slot: number, place: Place, how: { readonly code: number; readonly signal: string | null; readonly livedMs: number }): void {
    const wasListening = place.isListening;
    place.isListening = false;
    place.clients.clear();
    for (const [id, asked] of this.#asked) if (asked.slot === slot) { asked.resolve(undefined); this.#asked.delete(id); }
    const settled = this.#deps.onDeath(place.worker.process.pid ?? 0).catch((error: unknown) => { this.#deps.log.error({ error }, 'what a dead worker left could not be settled; its lease will end'); });
    // What never served is the start's to report.
    if (this.#isStopping || !(wasListening || this.#delays.has(slot))) return;
    const delay = how.livedMs > soundAfterMs ? restartMsMin : Math.min((this.#delays.get(slot) ?? restartMsMin / 2) * 2, restartMsMax);
    this.#delays.set(slot, delay);
    this.#deps.log.error({ worker: slot, code: how.code, signal: how.signal, againInMs: delay }, 'a worker ended by itself and is started again');
    void settled.then(() => {
      const timer = setTimeout(() => {
        this.#restarts.delete(timer);
        if (!this.#isStopping) this.#begin(slot).catch((error: unknown) => { this.#deps.log.error({ worker: slot, error }, 'a worker could not be started again'); });
      }, delay);
      this.#restarts.add(timer);
    });
  }

  async #ask(what: 'health' | 'metrics'): Promise<readonly Answer[]> {
    const answers = await Promise.all([...this.#places].filter(([, { isListening }]) => isListening).map(([slot, { worker }]) => {
      const id = this.#nextAsked += 1;
      return new Promise<Answer | undefined>((resolve) => {
        const timer = setTimeout(() => { this.#asked.delete(id); resolve(undefined); }, answerMsMax);
        this.#asked.set(id, { slot, resolve: (answer) => { clearTimeout(timer); resolve(answer); } });
        tell(worker, { kind: 'ask', id, what });
      });
    }));
    return answers.filter((answer) => answer !== undefined);
  }
}

function sum(numbers: readonly number[]): number { return numbers.reduce((total, one) => total + one, 0); }

function tell(worker: Worker, message: FromSupervisor): void {
  if (worker.isConnected()) worker.send(message, () => { /* one that cannot be told is about to end, and 'exit' follows */ });
}

function ended(worker: Worker): Promise<void> {
  if (worker.isDead()) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(() => { worker.process.kill('SIGKILL'); }, stopMsMax);
    worker.once('exit', () => { clearTimeout(timer); resolve(); });
    tell(worker, { kind: 'stop' });
  });
}

function failureOf({ code, message, detail, hint }: Extract<FromWorker, { kind: 'failed' }>['failure']): Failure {
  return new Failure(isCode(code) ? code : 'internal', message, { hint, ...(detail === undefined ? {} : { detail }) });
}

function isCode(code: string): code is FailureCode { return code in failureKinds; }
