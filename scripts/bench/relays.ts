/**
 * The three ways to the same server that the benchmark compares: straight to it, through PgBouncer in session mode where
 * that is installed, and through a whole Backstop as `backstop up` starts it, with its judgement and its record.
 * Each relay is a process of its own, so that its CPU time can be read apart from the server's and pgbench's.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { startBackstopProcess, type BackstopProcess } from '../../test/fixtures/backstop-process.ts';
import { freePort, unprivileged, type PostgresServer } from '../../test/fixtures/postgres-server.ts';
import type { Address } from './pgbench.ts';

export interface Relay {
  readonly name: 'direct' | 'pgbouncer' | 'backstop';
  readonly address: Address;
  /** Whose CPU time counts; none for the direct way. */
  readonly pid: number | undefined;
  /** Of Backstop: undoes the last action that can be undone, over HTTP, and returns in how many milliseconds. */
  readonly undoLast?: () => Promise<number>;
  stop(): Promise<void>;
}

const startMsMax = 30_000;
const connections = ['--gateway-max-connections', '5000', '--gateway-max-agent-connections', '5000'];

export function direct(server: PostgresServer, database: string): Relay {
  const { host, port, user, password } = server;
  return { name: 'direct', address: { host, port, user, password, database }, pid: undefined, stop: () => Promise.resolve() };
}

/** Where the pgbouncer program is; undefined when it is not installed. */
export function findPgbouncer(): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  return folders.map((folder) => join(folder, 'pgbouncer')).find((path) => existsSync(path));
}

export async function startPgbouncer(program: string, server: PostgresServer, database: string): Promise<Relay> {
  const folder = mkdtempSync(join(tmpdir(), 'backstop-bench-pgbouncer-'));
  const identity = unprivileged();
  const port = await freePort();
  const users = join(folder, 'users.txt');
  const settings = join(folder, 'pgbouncer.ini');
  writeFileSync(users, `"${server.user}" "${server.password}"\n`);
  writeFileSync(settings, [
    '[databases]', `${database} = host=${server.host} port=${server.port}`,
    '[pgbouncer]', 'listen_addr = 127.0.0.1', `listen_port = ${port}`, 'unix_socket_dir =', 'pool_mode = session',
    'auth_type = scram-sha-256', `auth_file = ${users}`, 'max_client_conn = 5000', 'default_pool_size = 100',
    'log_connections = 0', 'log_disconnections = 0', '',
  ].join('\n'));
  chmodSync(folder, 0o700);
  if (identity !== undefined) for (const path of [folder, users, settings]) chownSync(path, identity.uid, identity.gid);
  const child = spawn(program, [settings], { ...identity, cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  await untilListening(child, port, 'PgBouncer');
  const address = { host: '127.0.0.1', port, user: server.user, password: server.password, database };
  return { name: 'pgbouncer', address, pid: child.pid, stop: () => stopChild(child, 'SIGTERM', folder) };
}

export interface BackstopOptions {
  /** The default one for reads; one that lets bounded writes pass without a person for writes; or the path of one. */
  readonly policy: string;
  /** They go before the program: `--cpu-prof` writes a profile when it ends. */
  readonly nodeFlags?: readonly string[];
  readonly flags?: readonly string[];
}

export async function startBackstop(server: PostgresServer, database: string, { policy, nodeFlags = [], flags = [] }: BackstopOptions): Promise<Relay> {
  const backstop = await startBackstopProcess({
    upstream: server.url(database), nodeFlags,
    flags: ['--policy', policy, '--environment', policy === 'protect' ? 'production' : 'dev', '--gateway-tls', 'off', '--log-level', 'warn', ...connections, ...flags],
  });
  const { code, stdout, stderr } = await backstop.cli('agents', 'add', 'bench', '--database', database, '--json');
  if (code !== 0) throw new Error(`\`backstop agents add\` ended with code ${code}: ${stderr}`);
  const address = { host: '127.0.0.1', port: backstop.port, user: 'bench', password: readToken(stdout), database };
  return { name: 'backstop', address, pid: backstop.pid, undoLast: () => undoLast(backstop), stop: backstop.stop };
}

async function undoLast({ httpPort, dataDir }: BackstopProcess): Promise<number> {
  const token = readFileSync(join(dataDir, 'operator.token'), 'utf8').trim();
  const started = performance.now();
  const response = await fetch(`http://127.0.0.1:${httpPort}/v1/actions/last/undo`, { method: 'POST', headers: { authorization: `Bearer ${token}` } });
  const text = await response.text();
  if (!response.ok) throw new Error(`the undo was refused: ${text}`);
  return performance.now() - started;
}

function readToken(json: string): string {
  const agent: unknown = JSON.parse(json);
  if (typeof agent === 'object' && agent !== null && 'token' in agent && typeof agent.token === 'string') return agent.token;
  throw new Error('`backstop agents add --json` printed no token');
}

async function untilListening(child: ChildProcess, port: number, name: string): Promise<void> {
  let log = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => { log = (log + text).slice(-10_000); });
  const deadline = Date.now() + startMsMax;
  while (!(await accepts(port))) {
    if (child.exitCode !== null) throw new Error(`${name} ended with code ${child.exitCode}:\n${log}`);
    if (Date.now() > deadline) throw new Error(`${name} did not listen within ${startMsMax} ms:\n${log}`);
    await pause(50);
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => { socket.destroy(); resolve(true); });
    socket.once('error', () => resolve(false));
  });
}

function stopChild(child: ChildProcess, signal: NodeJS.Signals, folder: string): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => { rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 25 }); resolve(); };
    if (child.exitCode !== null || child.signalCode !== null) return done();
    child.once('exit', done);
    child.kill(signal);
  });
}
