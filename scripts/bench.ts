/**
 * `npm run bench`: what it costs to put a relay between clients and a PostgreSQL 18: straight to the server, through
 * PgBouncer where it is installed, and through Backstop, one after another on the same server in one run. Reads, writes,
 * bulk transfer and idle connections. It prints tables, or one JSON object with --json; --write puts the tables and a
 * chart into docs/benchmarks.md. Compare figures of one run only: they move with the machine.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startPostgresServer, type PostgresServer } from '../test/fixtures/postgres-server.ts';
import { copyIn, readAll, type Transfer } from './bench/bulk.ts';
import { guardedPolicy, measureGuarded, type Guarded } from './bench/guarded.ts';
import { cpuMs } from './bench/cpu-time.ts';
import { measureIdle, type Idle } from './bench/idle.ts';
import { forgetPeak, memoryOf } from './bench/memory.ts';
import { fillTables, hasPgbench, modes, runPgbench, type Mode, type Script, type Workload } from './bench/pgbench.ts';
import { direct, findPgbouncer, startBackstop, startPgbouncer, type Relay } from './bench/relays.ts';
import { formatRun, versionsOf, writePage, type Run } from './bench/report.ts';
import type { BulkResult, Result } from './bench/table.ts';

const usage = `npm run bench -- [options]
  --parts LIST     of reads, writes, bulk, idle, guarded (default all)
  --seconds N      how long each pgbench measurement takes (default 5)
  --rounds N       measure everything N times and keep each one's median by tps (default 1)
  --clients LIST   numbers of clients (default 1,16,64)
  --modes LIST     of simple, extended, prepared (default all)
  --relays LIST    of direct, pgbouncer, backstop (default all)
  --scale N        pgbench's scale, 100000 accounts each (default 10)
  --idle N         idle connections (default 2000)
  --rows N         rows of the table that is destroyed and brought back (default 1000000)
  --json           one JSON object instead of tables
  --write          put tables and chart into docs/benchmarks.md
  --cpu-prof DIR   let Backstop write a CPU profile there
  --workers N      worker processes of Backstop (default: as \`backstop up\` chooses)

Examples:
  npm run bench -- --parts reads --modes prepared --clients 16 --seconds 3
  npm run bench -- --rounds 3 --write`;

const database = 'bench';
const warmUpSeconds = 3;
/** Once for each mode: V8 compiles what a relay does for the first tens of thousands of transactions, which one client alone does not reach. */
const firstWarmUp = { clients: 16, seconds: 8 };
const bulkRows = 1_000_000;
/** As servers run in production: what is committed is on disk. */
const durable = { fsync: 'on', synchronous_commit: 'on', full_page_writes: 'on' };
const partNames = ['reads', 'writes', 'bulk', 'idle', 'guarded'] as const;
type Part = (typeof partNames)[number];

interface Plan {
  readonly parts: readonly Part[];
  readonly seconds: number;
  readonly rounds: number;
  readonly clients: readonly number[];
  readonly modes: readonly Mode[];
  readonly relays: readonly string[];
  readonly scale: number;
  readonly idle: number;
  readonly rows: number;
  readonly json: boolean;
  readonly write: boolean;
  readonly profile: string | undefined;
  readonly workers: string | undefined;
}

const say = (text: string): void => { process.stderr.write(`${text}\n`); };

async function bench(plan: Plan): Promise<void> {
  if (findPgbouncer() === undefined && plan.relays.includes('pgbouncer')) say('PgBouncer is not installed, so it is left out of the comparison (Debian: apt-get install pgbouncer).');
  const before = loadavg()[0] ?? Number.NaN;
  const has = (part: Part): boolean => plan.parts.includes(part);
  const results: Result[] = [];
  let bulk: readonly BulkResult[] = [];
  let version = 'unknown';
  await onServer({ shared_buffers: '512MB', max_connections: '300', ...durable }, async (server) => {
    version = String((await server.run('SHOW server_version'))[0]?.['server_version']).split(' ')[0] ?? version;
    await fillTables(direct(server, database).address, plan.scale);
    if (has('reads') || has('bulk')) {
      await withRelays(server, plan, 'protect', async (relays) => {
        if (has('reads')) results.push(...await measureScript('select-only', plan, relays));
        if (has('bulk')) bulk = await measureReading(relays);
      });
    }
    if (has('writes') || has('bulk')) {
      await withRelays(server, plan, 'develop', async (relays) => {
        if (has('bulk')) bulk = [...bulk, ...await measureCopyIn(server, relays)];
        if (has('writes')) results.push(...await measureScript('tpcb-like', plan, relays));
      });
    }
  });
  const idle = has('idle') ? await measureAllIdle(plan) : [];
  const guarded = has('guarded') ? await measureAllGuarded(plan, results) : [];
  const run: Run = {
    at: new Date().toISOString(), versions: versionsOf(version, findPgbouncer()), load: { before, after: loadavg()[0] ?? Number.NaN },
    scale: plan.scale, seconds: plan.seconds, rounds: plan.rounds, results, bulk, idle, guarded,
  };
  process.stdout.write(plan.json ? `${JSON.stringify(run, null, 2)}\n` : `\n${formatRun(run)}\n`);
  if (plan.write) writePage(run);
}

async function onServer(settings: Readonly<Record<string, string>>, work: (server: PostgresServer) => Promise<void>): Promise<void> {
  const server = await startPostgresServer(settings);
  try {
    await server.run(`CREATE DATABASE ${database}`);
    await work(server);
  } finally {
    await server.stop();
  }
}

async function withRelays(server: PostgresServer, plan: Plan, policy: string, work: (relays: readonly Relay[]) => Promise<void>): Promise<void> {
  const relays: Relay[] = [];
  try {
    for (const start of starters(server, plan, policy)) relays.push(await start());
    await work(relays);
  } finally {
    for (const relay of relays.toReversed()) await relay.stop();
  }
}

function starters(server: PostgresServer, plan: Plan, policy: string): readonly (() => Promise<Relay>)[] {
  const pgbouncer = findPgbouncer();
  const nodeFlags = plan.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${plan.profile}`];
  const flags = plan.workers === undefined ? [] : ['--workers', plan.workers];
  return [
    ...(plan.relays.includes('direct') ? [() => Promise.resolve(direct(server, database))] : []),
    ...(plan.relays.includes('pgbouncer') && pgbouncer !== undefined ? [() => startPgbouncer(pgbouncer, server, database)] : []),
    ...(plan.relays.includes('backstop') ? [() => startBackstop(server, database, { policy, nodeFlags, flags })] : []),
  ];
}

/** Neighbouring measurements are of different relays, so that a noisy minute does not fall on one of them alone. */
async function measureScript(script: Script, plan: Plan, relays: readonly Relay[]): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (const relay of relays) for (const mode of plan.modes) await runPgbench(relay.address, { script, mode, ...firstWarmUp });
  for (const clients of plan.clients) {
    for (const mode of plan.modes) {
      const rounds: Result[][] = relays.map(() => []);
      for (let round = 0; round < plan.rounds; round++) {
        for (const [i, relay] of relays.entries()) rounds[i]?.push(await measure(relay, { script, mode, clients, seconds: plan.seconds }));
      }
      results.push(...rounds.map(medianByTps));
    }
  }
  return results;
}

async function measure(relay: Relay, workload: Workload): Promise<Result> {
  // Without it a short measurement is one of the just-in-time compiler and of cold caches.
  await runPgbench(relay.address, { ...workload, seconds: warmUpSeconds });
  const { value: measured, ...costs } = await costOf(relay, () => runPgbench(relay.address, workload));
  const cpuUsPerTransaction = costs.cpuMs === undefined ? undefined : (costs.cpuMs * 1000) / measured.transactions;
  say(`${workload.script} ${workload.mode} c=${workload.clients} ${relay.name}: ${measured.tps.toFixed(0)} tps`);
  return { relay: relay.name, ...workload, ...measured, cpuUsPerTransaction, peakKb: costs.peakKb };
}

async function measureReading(relays: readonly Relay[]): Promise<readonly BulkResult[]> {
  const statements = [['SELECT', 'SELECT * FROM pgbench_accounts'], ['COPY out', 'COPY pgbench_accounts TO STDOUT']] as const;
  const results: BulkResult[] = [];
  for (const [what, sql] of statements) {
    for (const relay of relays) {
      await readAll(relay.address, sql);
      results.push(await transferred(relay, what, () => readAll(relay.address, sql)));
    }
  }
  return results;
}

async function measureCopyIn(server: PostgresServer, relays: readonly Relay[]): Promise<readonly BulkResult[]> {
  await server.run('CREATE UNLOGGED TABLE copied (aid int, bid int, abalance int, filler text)', database);
  const results: BulkResult[] = [];
  for (const relay of relays) {
    for (const isMeasured of [false, true]) {
      await server.run('TRUNCATE copied', database);
      const copying = (): Promise<Transfer> => copyIn(relay.address, 'copied', bulkRows);
      if (isMeasured) results.push(await transferred(relay, 'COPY in', copying));
      else await copying();
    }
  }
  return results;
}

async function transferred(relay: Relay, what: string, transfer: () => Promise<Transfer>): Promise<BulkResult> {
  const { value, ...costs } = await costOf(relay, transfer);
  say(`${what} ${relay.name}: ${value.seconds.toFixed(2)} s`);
  return { relay: relay.name, what, ...value, ...costs };
}

async function costOf<T>(relay: Relay, work: () => Promise<T>): Promise<{ readonly value: T; readonly cpuMs: number | undefined; readonly peakKb: number | undefined }> {
  if (relay.pid === undefined) return { value: await work(), cpuMs: undefined, peakKb: undefined };
  forgetPeak(relay.pid);
  const before = cpuMs(relay.pid);
  const value = await work();
  const after = cpuMs(relay.pid);
  return { value, cpuMs: before === undefined || after === undefined ? undefined : after - before, peakKb: memoryOf(relay.pid)?.peakKb };
}

/** On a server of their own, because each connection of Backstop is one of the server's too. */
async function measureAllIdle(plan: Plan): Promise<readonly Idle[]> {
  const results: Idle[] = [];
  await onServer({ shared_buffers: '32MB', max_connections: String(plan.idle + 200) }, async (server) => {
    for (const name of plan.relays.filter((relay) => relay !== 'direct')) {
      await withRelays(server, { ...plan, relays: [name] }, 'protect', async (relays) => {
        for (const relay of relays) {
          const idle = await measureIdle(relay, plan.idle);
          say(`${idle.connections} idle connections ${relay.name}: ${idle.kbPerConnection?.toFixed(1) ?? '–'} kB each`);
          results.push(idle);
        }
      });
    }
  });
  return results;
}

/** Under a policy that lets everything pass that can be undone: one UPDATE by key, a TPC-B-like transaction, and a whole table. */
async function measureAllGuarded(plan: Plan, results: Result[]): Promise<readonly Guarded[]> {
  const folder = mkdtempSync(join(tmpdir(), 'backstop-bench-policy-'));
  const policy = join(folder, 'guarded.yaml');
  writeFileSync(policy, guardedPolicy);
  let guarded: readonly Guarded[] = [];
  try {
    await onServer({ shared_buffers: '512MB', max_connections: '300', max_wal_size: '8GB', ...durable }, async (server) => {
      await fillTables(direct(server, database).address, plan.scale);
      await withRelays(server, plan, policy, async (relays) => {
        const [straight, backstop] = (['direct', 'backstop'] as const).map((name) => relays.find((relay) => relay.name === name));
        if (straight !== undefined && backstop?.undoLast !== undefined) guarded = await measureGuarded({ server, database, direct: straight, backstop, undoLast: backstop.undoLast, rows: plan.rows, say });
        for (const script of ['one-update', 'tpcb-like'] as const) results.push(...(await measureScript(script, { ...plan, clients: [1, 16] }, relays)).map((result) => ({ ...result, isGuarded: true })));
      });
    });
    return guarded;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function medianByTps(results: readonly Result[]): Result {
  const middle = results.toSorted((a, b) => a.tps - b.tps)[Math.floor(results.length / 2)];
  if (middle === undefined) throw new Error('nothing was measured');
  return middle;
}

const text = { type: 'string' } as const;
const flag = { type: 'boolean' } as const;
const options = {
  parts: text, seconds: text, rounds: text, clients: text, modes: text, relays: text, scale: text, idle: text, rows: text, 'cpu-prof': text, workers: text,
  json: flag, write: flag, help: flag,
} as const;

function readValues(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    say(error instanceof Error ? error.message : String(error));
    return { help: true };
  }
}

/** Undefined when help is wanted, or something is not understood. */
function readPlan(args: readonly string[]): Plan | undefined {
  const values = readValues(args);
  const [seconds = 5, rounds = 1, scale = 10, idle = 2000, rows = 1_000_000] = [values.seconds, values.rounds, values.scale, values.idle, values.rows].map((value) => (value === undefined ? undefined : Number(value)));
  const clients = (values.clients ?? '1,16,64').split(',').map(Number);
  const [wantedModes, wantedParts] = [(values.modes ?? modes.join(',')).split(','), (values.parts ?? partNames.join(',')).split(',')];
  const chosen = modes.filter((mode) => wantedModes.includes(mode));
  const parts = partNames.filter((part) => wantedParts.includes(part));
  const isSound = [seconds, rounds, scale, idle, rows, ...clients].every((n) => Number.isInteger(n) && n > 0) && chosen.length === wantedModes.length && parts.length === wantedParts.length;
  if (values.help === true || !isSound) return undefined;
  const relays = (values.relays ?? 'direct,pgbouncer,backstop').split(',');
  return { parts, seconds, rounds, clients, modes: chosen, relays, scale, idle, rows, json: values.json === true, write: values.write === true, profile: values['cpu-prof'], workers: values.workers };
}

const plan = readPlan(process.argv.slice(2));
if (plan === undefined) {
  say(usage);
  process.exitCode = 2;
} else if (!hasPgbench()) {
  say('pgbench is not installed. Debian and Ubuntu: apt-get install postgresql-contrib pgbouncer; macOS: brew install postgresql pgbouncer.');
  process.exitCode = 3;
} else {
  await bench(plan);
}
