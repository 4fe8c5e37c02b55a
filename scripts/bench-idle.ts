/**
 * `npm run bench:idle`: how long Backstop takes from its start to its first answer, and what memory each idle connection
 * takes, in one process before a PostgreSQL 18. Memory is what the process holds (VmRSS) after its collector was made to run, so it moves by
 * some kilobytes from run to run; open many connections to see through that.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { encodeQuery } from '../src/lib/pgwire/frontend-encode.ts';
import { startBackstopProcess } from '../test/fixtures/backstop-process.ts';
import { startPostgresServer } from '../test/fixtures/postgres-server.ts';
import { connectWire, type WireClient } from '../test/fixtures/wire-client.ts';

const { values } = parseArgs({ options: { connections: { type: 'string', default: '400' }, json: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } } });
const usage = 'npm run bench:idle -- [--connections N (default 400)] [--json]';
const settleMs = 3_000;
/** An idle process collects nothing by itself, and then what logins left behind would be counted. */
const collecting = 'data:text/javascript,setInterval(globalThis.gc, 500).unref()';
/** The first connections also fill caches and compile code, which is not theirs. */
const warmUpConnections = 50;

interface Figures { readonly connections: number; readonly startMs: number; readonly firstAnswerMs: number; readonly idleKb: number; readonly rssMb: number }

async function measure(connections: number): Promise<Figures> {
  const server = await startPostgresServer({ max_connections: String(connections + warmUpConnections + 20) });
  const most = String(connections + warmUpConnections + 1);
  const startedAt = performance.now();
  const backstop = await startBackstopProcess({
    upstream: server.url('postgres'), nodeFlags: ['--expose-gc', '--import', collecting],
    flags: ['--policy', 'protect', '--log-level', 'warn', '--workers', '1', '--environment', 'dev', '--gateway-max-connections', most, '--gateway-max-agent-connections', most],
  });
  const clients: WireClient[] = [];
  try {
    const startMs = performance.now() - startedAt;
    const { stdout } = await backstop.cli('agents', 'add', 'idle', '--json');
    const token = readToken(stdout);
    const open = async (count: number): Promise<void> => {
      for (let index = 0; index < count; index += 1) {
        const client = await connectWire({ host: '127.0.0.1', port: backstop.port, user: 'idle', password: token, parameters: { database: 'postgres' } });
        clients.push(client);
        await client.send(encodeQuery('SELECT 1')).until('Z');
      }
    };
    const askedAt = performance.now();
    await open(1);
    const firstAnswerMs = startMs + performance.now() - askedAt;
    await open(warmUpConnections - 1);
    await pause(settleMs);
    const before = rssKb(backstop.pid);
    await open(connections);
    await pause(settleMs);
    const after = rssKb(backstop.pid);
    return { connections, startMs, firstAnswerMs, idleKb: (after - before) / connections, rssMb: after / 1024 };
  } finally {
    for (const client of clients) client.end();
    await backstop.stop();
    await server.stop();
  }
}

function readToken(json: string): string {
  const agent: unknown = JSON.parse(json);
  if (typeof agent === 'object' && agent !== null && 'token' in agent && typeof agent.token === 'string') return agent.token;
  throw new Error('`backstop agents add --json` printed no token');
}

function rssKb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

if (values.help) process.stdout.write(`${usage}\n`);
else {
  const figures = await measure(Number(values.connections));
  if (values.json) process.stdout.write(`${JSON.stringify(figures)}\n`);
  else process.stdout.write(`ready after ${figures.startMs.toFixed(0)} ms, first answer after ${figures.firstAnswerMs.toFixed(0)} ms; ${figures.idleKb.toFixed(1)} kB for each of ${figures.connections} idle connections, ${figures.rssMb.toFixed(0)} MB in all\n`);
}
