/**
 * `npm run bench`: pgbench's select-only workload in its three protocol modes, straight to a PostgreSQL 18, through
 * PgBouncer where it is installed, and through Backstop, one after another on the same server in one run. It prints a
 * table, or one JSON object with --json. Compare figures of one run only: they move with the machine.
 */
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { startPostgresServer, type PostgresServer } from '../test/fixtures/postgres-server.ts';
import { cpuMs } from './bench/cpu-time.ts';
import { fillTables, hasPgbench, modes, runSelectOnly, type Mode, type Workload } from './bench/pgbench.ts';
import { direct, findPgbouncer, startBackstop, startPgbouncer, type Relay } from './bench/relays.ts';
import { formatTable, type Result } from './bench/table.ts';

const usage = `npm run bench -- [options]
  --seconds N      how long each measurement takes (default 5)
  --rounds N       measure everything N times and keep each one's median by tps (default 1)
  --clients LIST   numbers of clients (default 1,16)
  --modes LIST     of simple, extended, prepared (default all)
  --relays LIST    of direct, pgbouncer, backstop (default all)
  --scale N        pgbench's scale, 100000 accounts each (default 10)
  --json           one JSON object instead of the table
  --cpu-prof DIR   let Backstop write a CPU profile there`;

const database = 'bench';
const warmUpSeconds = 3;

interface Plan {
  readonly seconds: number;
  readonly rounds: number;
  readonly clients: readonly number[];
  readonly modes: readonly Mode[];
  readonly relays: readonly string[];
  readonly scale: number;
  readonly json: boolean;
  readonly profile: string | undefined;
}

async function bench(plan: Plan): Promise<void> {
  const server = await startPostgresServer({ shared_buffers: '512MB' });
  const say = (text: string): void => { process.stderr.write(`${text}\n`); };
  const relays: Relay[] = [];
  try {
    await server.run(`CREATE DATABASE ${database}`);
    await fillTables(direct(server, database).address, plan.scale);
    for (const start of starters(server, plan, say)) relays.push(await start());
    const loadBefore = loadavg()[0] ?? Number.NaN;
    const results = await measureAll(plan, relays, say);
    const machine = { cores: cpus().length, cpu: cpus()[0]?.model ?? 'unknown', node: process.version, loadBefore, loadAfter: loadavg()[0] ?? Number.NaN };
    if (plan.json) process.stdout.write(`${JSON.stringify({ at: new Date().toISOString(), machine, ...plan, results }, null, 2)}\n`);
    else process.stdout.write(`\n${machine.cores} cores, ${machine.cpu}, Node ${machine.node}; pgbench -S, scale ${plan.scale}, ${plan.seconds} s each after ${warmUpSeconds} s to warm up, median of ${plan.rounds}; load of the machine ${machine.loadBefore.toFixed(1)} before, ${machine.loadAfter.toFixed(1)} after\n\n${formatTable(results)}\n`);
  } finally {
    for (const relay of relays.toReversed()) await relay.stop();
    await server.stop();
  }
}

function starters(server: PostgresServer, plan: Plan, say: (text: string) => void): readonly (() => Promise<Relay>)[] {
  const pgbouncer = findPgbouncer();
  if (pgbouncer === undefined && plan.relays.includes('pgbouncer')) {
    say('PgBouncer is not installed, so it is left out of the comparison (Debian: apt-get install pgbouncer).');
  }
  const flags = plan.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${plan.profile}`];
  return [
    ...(plan.relays.includes('direct') ? [() => Promise.resolve(direct(server, database))] : []),
    ...(plan.relays.includes('pgbouncer') && pgbouncer !== undefined ? [() => startPgbouncer(pgbouncer, server, database)] : []),
    ...(plan.relays.includes('backstop') ? [() => startBackstop(server, database, flags)] : []),
  ];
}

/** Neighbouring measurements are of different relays, so that a noisy minute does not fall on one of them alone. */
async function measureAll(plan: Plan, relays: readonly Relay[], say: (text: string) => void): Promise<Result[]> {
  const results: Result[] = [];
  for (const clients of plan.clients) {
    for (const mode of plan.modes) {
      const rounds: Result[][] = relays.map(() => []);
      for (let round = 0; round < plan.rounds; round++) {
        for (const [i, relay] of relays.entries()) rounds[i]?.push(await measure(relay, { mode, clients, seconds: plan.seconds }, say));
      }
      results.push(...rounds.map(medianByTps));
    }
  }
  return results;
}

async function measure(relay: Relay, workload: Workload, say: (text: string) => void): Promise<Result> {
  // Without it a short measurement is one of the just-in-time compiler and of cold caches.
  await runSelectOnly(relay.address, { ...workload, seconds: warmUpSeconds });
  const before = relay.pid === undefined ? undefined : cpuMs(relay.pid);
  const measured = await runSelectOnly(relay.address, workload);
  const after = relay.pid === undefined ? undefined : cpuMs(relay.pid);
  const cpuUsPerTransaction = before === undefined || after === undefined ? undefined : ((after - before) * 1000) / measured.transactions;
  say(`${workload.mode} c=${workload.clients} ${relay.name}: ${measured.tps.toFixed(0)} tps`);
  return { relay: relay.name, mode: workload.mode, clients: workload.clients, ...measured, cpuUsPerTransaction };
}

function medianByTps(results: readonly Result[]): Result {
  const middle = results.toSorted((a, b) => a.tps - b.tps)[Math.floor(results.length / 2)];
  if (middle === undefined) throw new Error('nothing was measured');
  return middle;
}

const text = { type: 'string' } as const;
const options = {
  seconds: text, rounds: text, clients: text, modes: text, relays: text, scale: text, 'cpu-prof': text,
  json: { type: 'boolean' }, help: { type: 'boolean' },
} as const;

function readValues(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return { help: true };
  }
}

/** Undefined when help is wanted, or something is not understood. */
function readPlan(args: readonly string[]): Plan | undefined {
  const values = readValues(args);
  const [seconds = 5, rounds = 1, scale = 10] = [values.seconds, values.rounds, values.scale].map((value) => (value === undefined ? undefined : Number(value)));
  const clients = (values.clients ?? '1,16').split(',').map(Number);
  const wanted = (values.modes ?? modes.join(',')).split(',');
  const chosen = modes.filter((mode) => wanted.includes(mode));
  const sound = [seconds, rounds, scale, ...clients].every((n) => Number.isInteger(n) && n > 0) && chosen.length === wanted.length;
  if (values.help === true || !sound) return undefined;
  const relays = (values.relays ?? 'direct,pgbouncer,backstop').split(',');
  return { seconds, rounds, clients, modes: chosen, relays, scale, json: values.json === true, profile: values['cpu-prof'] };
}

const plan = readPlan(process.argv.slice(2));
if (plan === undefined) {
  process.stderr.write(`${usage}\n`);
  process.exitCode = 2;
} else if (!hasPgbench()) {
  process.stderr.write('pgbench is not installed. Debian and Ubuntu: apt-get install postgresql-contrib pgbouncer; macOS: brew install postgresql pgbouncer.\n');
  process.exitCode = 3;
} else {
  await bench(plan);
}
