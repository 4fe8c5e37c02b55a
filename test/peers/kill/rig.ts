/**
 * The rig of the kill test: `backstop up` in a process of its own in front of a server that survives, started and killed
 * again and again on the same data, beside an operator who answers and a reader of the record in this process.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openMemory, type Memory } from '../../../src/app/memory.ts';
import { fillShop } from '../../fixtures/backstop.ts';
import { freePort, type PostgresServer } from '../../fixtures/postgres-server.ts';
import { placeFromText } from '../../fixtures/store.ts';

export interface Rig {
  readonly memory: Memory;
  /** As the agent, through the gateway. */
  readonly url: string;
  readonly operatorToken: string;
  readonly starts: readonly number[];
  /** Begins a process; resolves once it says that it serves. */
  start(workers: number): Promise<void>;
  /** Begins a process and kills it that much later, whether it serves by then or not. */
  startAndKill(workers: number, afterMs: number): Promise<void>;
  /** One of several workers; its supervisor starts another. */
  killWorker(which: number): Promise<void>;
  kill(): Promise<void>;
  close(): Promise<void>;
}

/** A process, and the end of what it has said. */
interface Begun { readonly child: ChildProcess; readonly log: () => string }

const main = fileURLToPath(new URL('../../../src/main.ts', import.meta.url));
const policy = `
name: killed
description: Permits writes, holds those of one table, refuses programs.
levels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: hold }
unknown: hold
recovery: { required_from: never }
blocked: [program]
protected: { tables: [held], on_write: hold }
approval: { wait: 30, expires: 3600 }
`;
const tables = `
CREATE TABLE written (n int PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE held (n int PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE together (n int PRIMARY KEY);
ALTER TABLE written OWNER TO shopkeeper; ALTER TABLE held OWNER TO shopkeeper; ALTER TABLE together OWNER TO shopkeeper`;

/** `storeUrl`: a PostgreSQL store; absent, the file in the data folder. */
export async function startRig(server: PostgresServer, storeUrl: string | undefined): Promise<Rig> {
  const dataDir = mkdtempSync(join(tmpdir(), 'backstop-killed-'));
  const upstream = await fillShop(server);
  await server.run(tables, 'shop');
  writeFileSync(join(dataDir, 'killed.yaml'), policy);
  const memory = await openMemory(placeFromText(storeUrl ?? dataDir));
  const { token } = await memory.identities.addAgent('ada', null, 'test');
  const { token: operatorToken } = await memory.identities.addOperator('olga');
  const port = await freePort();
  const starts: number[] = [];
  let child: ChildProcess | undefined;

  const begin = (workers: number): Begun => {
    const begun = child = spawn(process.execPath, [
      '--disable-warning=ExperimentalWarning', main, 'up', '--data', dataDir, '--upstream', upstream, '--policy', join(dataDir, 'killed.yaml'), '--environment', 'dev',
      '--gateway-port', String(port), '--gateway-tls', 'off', '--http-port', '0', '--workers', String(workers), ...(storeUrl === undefined ? [] : ['--store', storeUrl]),
    ], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NODE_COMPILE_CACHE: join(dataDir, 'compiled') } });
    // Of this one alone: what one before had said may come only now.
    let log = '';
    for (const stream of [begun.stdout, begun.stderr]) stream.setEncoding('utf8').on('data', (text: string) => { log = (log + text).slice(-5_000); });
    return { child: begun, log: () => log };
  };
  const kill = async (): Promise<void> => {
    const last = child;
    child = undefined;
    if (last === undefined || last.exitCode !== null || last.signalCode !== null) return;
    const ended = once(last, 'exit');
    last.kill('SIGKILL');
    await ended;
  };
  const abandon = (): void => { child?.kill('SIGKILL'); };
  process.once('exit', abandon);
  return {
    memory, operatorToken, starts, kill, url: `postgres://ada:${token}@127.0.0.1:${port}/shop`,
    start: async (workers) => {
      const since = performance.now();
      await untilServing(begin(workers));
      starts.push(performance.now() - since);
    },
    startAndKill: async (workers, afterMs) => {
      begin(workers);
      await new Promise((resolve) => { setTimeout(resolve, afterMs); });
      await kill();
    },
    killWorker: async (which) => {
      const nodes = await memory.database.queries.selectFrom('node').select('pid').orderBy('id').execute();
      const pid = nodes[which % nodes.length]?.pid;
      // Only what is ours: it may have ended since, and its number be another's.
      if (pid !== undefined && parentOf(pid) === child?.pid) process.kill(pid, 'SIGKILL');
    },
    close: async () => {
      process.off('exit', abandon);
      await kill();
      await memory.close();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

const startMsMax = 60_000;

function parentOf(pid: number): number | undefined {
  try {
    return Number(execFileSync('ps', ['-o', 'ppid=', '-p', String(pid)], { stdio: ['ignore', 'pipe', 'ignore'] }));
  } catch {
    return undefined;
  }
}

function untilServing({ child, log }: Begun): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => { reject(new Error(`it does not serve after ${startMsMax} ms:\n${log()}`)); }, startMsMax);
    const ended = (code: number | null): void => { clearTimeout(timer); reject(new Error(`it ended with code ${code}:\n${log()}`)); };
    child.once('exit', ended);
    child.stdout?.on('data', () => {
      if (!log().includes('Ctrl-C stops everything')) return;
      clearTimeout(timer);
      child.off('exit', ended);
      resolve();
    });
  });
}
