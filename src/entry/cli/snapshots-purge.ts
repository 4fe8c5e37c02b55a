/**
 * `backstop snapshots purge`: removes recovery points whose time is over. It shows what would go, and removes it only when it
 * is told to with an operator's token; what cannot go yet, because it is locked, is named.
 */
import type { Command } from 'commander';
import type { Purging } from '../../app/snapshots.ts';
import type { Config } from '../../config.ts';
import { Failure } from '../../core/failure.ts';
import type { Orphans, Purged } from '../../flow/purge.ts';
import { columns, printable } from './columns.ts';
import type { CliDeps } from './command.ts';
import { sizeText } from './impact-text.ts';
import { operatorTokenOf } from './operator-token.ts';
import { type Options, wholeNumber, withJson, withMemory, withServerAndStorage } from './options.ts';

const daysMax = 36_500;
const dayMs = 86_400_000;

export function addSnapshotsPurge(snapshots: Command, deps: CliDeps): void {
  withServerAndStorage(withJson(snapshots.command('purge').description('Remove recovery points whose time is over'), 'print one JSON object'))
    .option('--older-than <days>', 'those taken longer ago than that (default: recovery.retention_days)')
    .option('--orphans', 'remove objects instead that no recovery point names, as a crash leaves them, once they are a day old')
    .option('--dry-run', 'only show what would go, which is what happens without --yes too')
    .option('--yes', 'remove it; needs the operator\'s token')
    .option('--token <token>', 'the operator\'s token (better: BACKSTOP_OPERATOR_TOKEN, which no list of processes shows)')
    .addHelpText('after', `
Examples:
  backstop snapshots purge                        # what is older than recovery.retention_days
  backstop snapshots purge --older-than 90 --yes
  backstop snapshots purge --orphans --yes
  AWS_PROFILE=undo-purge backstop snapshots purge --yes

It needs credentials that may list and remove; those of the gateway should not. An action whose recovery point was
purged cannot be undone any more. What was interrupted goes on when it is run again.`)
    .action((options: Options) => withMemory(deps, options, async (memory, config) => {
      const purging = await deps.openPurging(config, memory);
      try {
        await (options['orphans'] === true ? purgeOrphans(deps, options, config, purging) : purgeExpired(deps, options, config, purging));
      } finally {
        await purging.close();
      }
    }));
}

async function purgeExpired(deps: CliDeps, options: Options, config: Config, purging: Purging): Promise<void> {
  const given = options['olderThan'];
  const days = given === undefined ? config.recovery.retentionDays : wholeNumber(String(given), '--older-than', 1, daysMax);
  const until = new Date(deps.now().getTime() - days * dayMs).toISOString();
  const expired = await purging.expired(until);
  if (!isMeant(options)) {
    const what = { removed: false, olderThanDays: days, before: until, ...expired };
    await deps.print(options['json'] === true ? `${JSON.stringify(what)}\n` : `${amounts(expired)}${stayText(expired.running)}Nothing was removed: those taken before ${until.slice(0, 16).replace('T', ' ')} UTC would go with --yes.\n`);
    return;
  }
  const purged = await purging.purge({ until, days, token: operatorTokenOf(config, options) });
  await deps.print(options['json'] === true ? `${JSON.stringify({ removed: true, olderThanDays: days, before: until, running: expired.running, ...purged })}\n`
    : `${amounts(purged)}${stayText(expired.running)}Purged, with an entry of the record each; ${purged.objects} objects were removed.\n`);
  refuseLocked(purged);
  if (purged.binsLeft.length > 0) throw new Failure('upstream_unavailable', 'tables that were set aside on the server are there still', { detail: purged.binsLeft.map(printable).join('\n'), hint: 'Run the purge again when it can reach that server.' });
}

async function purgeOrphans(deps: CliDeps, options: Options, config: Config, purging: Purging): Promise<void> {
  const orphans = await purging.orphans(deps.now());
  const { bytes, names: { length: objects }, isAll } = orphans;
  if (!isMeant(options)) {
    await deps.print(options['json'] === true ? `${JSON.stringify({ removed: false, objects, bytes, isAll, names: orphans.names })}\n` : `${orphanText(orphans)}Nothing was removed: they would go with --yes.\n`);
    return;
  }
  const removed = await purging.removeOrphans(orphans, operatorTokenOf(config, options));
  await deps.print(options['json'] === true ? `${JSON.stringify({ removed: true, bytes, isAll, ...removed })}\n` : `${orphanText(orphans)}${removed.objects} were removed.\n`);
  refuseLocked(removed);
}

function isMeant(options: Options): boolean { return options['yes'] === true && options['dryRun'] !== true; }

function amounts({ points, rows, bytes }: Pick<Purged, 'points' | 'rows' | 'bytes'>): string {
  return columns([['Recovery points', String(points)], ['Rows', String(rows)], ['Size', `${sizeText(bytes)} before compression`]]);
}

function stayText(running: number): string {
  return running === 0 ? '' : `${running} as old stay, because nobody knows yet that their transactions have ended.\n`;
}

function orphanText({ names, bytes, isAll }: Orphans): string {
  return `${isAll ? '' : 'At least '}${names.length} objects that no recovery point names (${sizeText(bytes)}).\n`;
}

function refuseLocked({ locked, lockedCount }: Pick<Purged, 'locked' | 'lockedCount'>): void {
  if (lockedCount === 0) return;
  throw new Failure('object_locked', `${lockedCount} objects are locked and stay for now`, { detail: locked.join('\n') });
}
