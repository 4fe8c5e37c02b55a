/**
 * `backstop snapshots`: the recovery points that there are, what one keeps, whether all of it is still there, its rows in
 * formats that other programs read, and the removal of those whose time is over. With --storage it needs no store: the bucket
 * alone says what it holds.
 */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { Memory } from '../../app/memory.ts';
import type { Snapshots } from '../../app/snapshots.ts';
import type { Config } from '../../config.ts';
import { Failure } from '../../core/failure.ts';
import { recoveryPointStates, type RecoveryPointState } from '../../core/recovery/recovery-point.ts';
import type { Manifest } from '../../core/recovery/manifest.ts';
import type { KnownPoint, PointFilter } from '../../flow/snapshots.ts';
import type { CliDeps, CommandMaker } from './command.ts';
import { type Options, configOf, wholeNumber, withJson, withMemory, withRecovery } from './options.ts';
import { checkLine, pointsText, pointText } from './snapshot-text.ts';
import { addSnapshotsExport } from './snapshots-export.ts';
import { addSnapshotsPurge } from './snapshots-purge.ts';

const listMax = 1_000_000;
const listDefault = 50;

export const addSnapshotsCommand: CommandMaker = (program, deps) => {
  const snapshots = program.command('snapshots').description('List, show, verify, export and purge recovery points').addHelpText('after', `
Examples:
  backstop snapshots list --agent reporting --since 2026-11-01
  backstop snapshots list --table orders --json
  backstop snapshots show act_01ks3v9m2q
  backstop snapshots verify                     # read everything again; exit code 5 when something is broken
  backstop snapshots verify --storage s3://undo/shop
  backstop snapshots export act_01ks3v9m2q --format csv --out orders.csv
  backstop snapshots purge --older-than 90      # shows what would go; --yes removes it`);
  addList(snapshots, deps);
  withPlace(snapshots.command('show <point|action>').description('Show what a recovery point keeps'), 'print the whole manifest')
    .action((name: string, options: Options) => withSnapshots(deps, options, async (found) => {
      const point = await onlyPoint(found, name);
      const manifest = await found.manifest(point);
      await deps.print(options['json'] === true ? `${JSON.stringify({ ...point, manifest })}\n` : pointText(point, manifest));
    }));
  addVerify(snapshots, deps);
  addSnapshotsExport(snapshots, deps);
  addSnapshotsPurge(snapshots, deps);
};

function addList(snapshots: Command, deps: CliDeps): void {
  withFilter(withPlace(snapshots.command('list').description('List recovery points, newest first'), 'print one JSON object a line'))
    .option('--limit <count>', `at most so many (default ${listDefault}; with --json all)`)
    .action((options: Options) => withSnapshots(deps, options, async (found) => {
      const isJson = options['json'] === true;
      const limit = options['limit'] === undefined ? (isJson ? listMax : listDefault) : wholeNumber(String(options['limit']), '--limit', 1, listMax);
      const points: KnownPoint[] = [];
      let count = 0;
      for await (const point of wanted(found, options)) {
        if (isJson) await deps.print(`${JSON.stringify(point)}\n`);
        else points.push(point);
        count += 1;
        if (count >= limit) break;
      }
      if (!isJson) await deps.print(pointsText(points));
    }));
}

function addVerify(snapshots: Command, deps: CliDeps): void {
  withFilter(withPlace(snapshots.command('verify [point|action]').description('Read every object of one recovery point, or of all, and hash it again'), 'print one JSON object a line'))
    .action((name: string | undefined, options: Options) => withSnapshots(deps, options, async (found, broken) => {
      let count = 0;
      const points = name === undefined ? wanted(found, options) : await found.catalog.find(name);
      for await (const point of points) {
        // What was rolled back nobody will undo, and a crash may have cut it short.
        if (point.state === 'purged' || (point.state === 'discarded' && name === undefined)) continue;
        const checked = await found.check(point);
        count += 1;
        if (checked.broken !== null) broken.push(point.id);
        await deps.print(options['json'] === true ? `${JSON.stringify(checked)}\n` : checkLine(checked));
      }
      const [first] = broken;
      if (first !== undefined) throw new Failure('recovery_point_broken', `${first}${broken.length > 1 ? ` and ${broken.length - 1} more` : ''} cannot be relied on`, { detail: `${count} recovery points were read.` });
      if (options['json'] !== true) await deps.print(`All ${count} recovery points are whole.\n`);
    }));
}

/** Over the store and its bucket, or with --storage over a bucket alone; `broken` has the packs that could not even be listed. */
export async function withSnapshots(deps: CliDeps, options: Options, work: (found: Snapshots, broken: string[]) => Promise<void>): Promise<void> {
  const broken: string[] = [];
  const onBroken = (pack: string, failure: Failure): void => {
    broken.push(pack);
    deps.tell(`backstop: ${pack} cannot be read: ${failure.message}.`);
  };
  const run = async (config: Config, memory: Memory | undefined): Promise<void> => {
    const found = await deps.openSnapshots(config.recovery, memory, onBroken);
    try {
      await work(found, broken);
    } finally {
      await found.close();
    }
  };
  const { storage } = options;
  if (typeof storage !== 'string') return withMemory(deps, options, (memory, config) => run(config, memory));
  const config = configOf(options);
  return run({ ...config, recovery: { ...config.recovery, storage: storage.startsWith('s3://') ? storage : resolve(storage) } }, undefined);
}

/** Throws Failure `not_found`, or `usage` where an action has several. */
export async function onlyPoint({ catalog }: Snapshots, name: string): Promise<KnownPoint> {
  const [point, ...others] = await catalog.find(name);
  if (point !== undefined && others.length === 0) return point;
  throw new Failure('usage', `${name} means several recovery points`, { hint: `Name one of them: ${[point, ...others].slice(0, 5).map((one) => one?.id).join(', ')}${others.length > 4 ? ' …' : ''}` });
}

export function withPlace(command: Command, json: string): Command {
  return withRecovery(withJson(command, json)).option('--storage <place>', 'use this folder or s3://bucket/prefix alone, without a store');
}

function withFilter(command: Command): Command {
  return command.option('--agent <name>', 'only of this agent').option('--table <name>', 'only those that keep rows of this table')
    .option('--state <state>', `only in this state: ${recoveryPointStates.join(', ')}`)
    .option('--since <time>', 'only those taken at that time or later, such as 2026-11-01 or 2026-11-01T12:00:00Z').option('--until <time>', 'only those taken before that time');
}

async function* wanted({ catalog, manifest }: Snapshots, options: Options): AsyncGenerator<KnownPoint> {
  const filter = filterOf(options);
  const { table } = options;
  for await (const point of catalog.list(filter)) {
    if (typeof table !== 'string') yield point;
    else if (point.state !== 'purged' && hasTable(await manifest(point), table)) yield point;
  }
}

function hasTable({ tables }: Manifest, wantedName: string): boolean {
  const plain = (name: string): string => name.replaceAll('"', '');
  return tables.some(({ name }) => plain(name) === plain(wantedName) || plain(name).endsWith(`.${plain(wantedName)}`));
}

function filterOf(options: Options): PointFilter {
  const { agent, state, since, until, storage } = options;
  if (state !== undefined && storage !== undefined) throw new Failure('usage', 'a bucket alone does not know the state of a recovery point, so --state does not go with --storage');
  return {
    ...(typeof agent === 'string' ? { agent } : {}), ...(state === undefined ? {} : { states: [stateOf(state)] }),
    ...(since === undefined ? {} : { since: timeOf(since, '--since') }), ...(until === undefined ? {} : { until: timeOf(until, '--until') }),
  };
}

function stateOf(given: unknown): RecoveryPointState {
  const state = recoveryPointStates.find((known) => known === given);
  if (state !== undefined) return state;
  throw new Failure('usage', `--state takes ${recoveryPointStates.join(', ')}`);
}

/** ISO 8601; a day alone is its beginning in UTC. */
function timeOf(given: unknown, flag: string): string {
  const ms = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d))?$/.test(String(given)) ? Date.parse(String(given)) : Number.NaN;
  if (Number.isFinite(ms)) return new Date(ms).toISOString();
  throw new Failure('usage', `${flag} takes a time such as 2026-11-01 or 2026-11-01T12:00:00Z`);
}
