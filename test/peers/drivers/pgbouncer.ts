/**
 * PgBouncer in session mode in front of a test's server, as many put it: it knows the upstream role's password, and
 * passes every database on. It refuses start-up parameters that it does not know, which is part of what is tested.
 */
import { spawn } from 'node:child_process';
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, unprivileged } from '../../fixtures/postgres-server.ts';
import { until } from '../../fixtures/until.ts';

export interface PgBouncer {
  readonly port: number;
  stop(): Promise<void>;
}

export async function startPgBouncer(upstream: URL): Promise<PgBouncer> {
  const folder = mkdtempSync(join(tmpdir(), 'backstop-pgbouncer-'));
  const port = await freePort();
  const [ini, users] = [join(folder, 'pgbouncer.ini'), join(folder, 'users.txt')];
  writeFileSync(users, `"${upstream.username}" "${upstream.password}"\n`);
  writeFileSync(ini, [
    '[databases]', `* = host=${upstream.hostname} port=${upstream.port}`, '[pgbouncer]', 'listen_addr = 127.0.0.1', `listen_port = ${port}`,
    'unix_socket_dir =', 'auth_type = scram-sha-256', `auth_file = ${users}`, 'pool_mode = session', 'default_pool_size = 40', '',
  ].join('\n'));
  const identity = unprivileged();
  if (identity !== undefined) for (const path of [folder, ini, users]) chownSync(path, identity.uid, identity.gid);
  const child = spawn('pgbouncer', [ini], { ...identity, cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => { log = (log + text).slice(-10_000); });
  const end = (): void => { child.kill('SIGKILL'); };
  process.once('exit', end);
  await until('pgbouncer listens', async () => {
    if (child.exitCode !== null) throw new Error(`pgbouncer ended with code ${child.exitCode}\n${log}`);
    return isOpen(port);
  });
  return {
    port,
    stop: async () => {
      process.off('exit', end);
      const gone = new Promise((resolve) => { child.once('exit', resolve); });
      if (child.exitCode === null) { end(); await gone; }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true); });
    socket.once('error', () => resolve(false));
  });
}
