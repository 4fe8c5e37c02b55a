/**
 * What keeps recovery points while agents are served: one protector for the process, over storage that is watched. Where
 * the storage cannot be used, reads go on and what needs protection is refused. What a crash left unknown is found out.
 */
import { randomBytes } from 'node:crypto';
import type { RecoveryConfig } from '../config.ts';
import type { Metrics } from '../entry/http/metrics.ts';
import { createProtector, type Protector } from '../flow/protect.ts';
import { createPointResolver, type Witness } from '../flow/resolve-points.ts';
import { systemClock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { sortableId } from '../lib/sortable-id.ts';
import { Packs } from '../remote/bucket/packs.ts';
import { RowsWriter } from '../remote/bucket/rows-writer.ts';
import { createSeal } from '../remote/bucket/seal.ts';
import { watchBucket, type WatchedBucket } from '../remote/bucket/watched-bucket.ts';
import { connectLink } from '../remote/postgres/link.ts';
import type { LinkTarget } from '../remote/postgres/link-target.ts';
import { transactionFate } from '../remote/postgres/transaction-fate.ts';
import type { RecoveryPoints } from '../store/recovery-points.ts';
import type { Memory } from './memory.ts';
import type { Started } from './start-whole.ts';
import { checkStorage, openStorage } from './storage.ts';

const resolveEveryMs = 15_000;

/** Throws Failure `config_invalid`; storage that cannot be reached is no failure here. */
export async function watchStorage(config: RecoveryConfig, log: Log, started: Started): Promise<WatchedBucket> {
  await checkStorage(config);
  const place = config.storage;
  const bucket = watchBucket({
    place, open: () => openStorage(config), clock: systemClock,
    onChange: (fault) => {
      if (fault === undefined) log.info({ place }, 'the storage of recovery points can be used again');
      else log.error({ place, error: fault }, 'the storage of recovery points cannot be used; what destroys is refused until it can');
    },
  });
  started.push(() => bucket.close());
  void bucket.probe();
  return bucket;
}

/** Asks the server now and then of transactions whose end nobody heard. */
export function resolvePoints({ recoveryPoints: points }: Memory, target: LinkTarget, log: Log, started: Started): void {
  const resolver = createPointResolver({ points, connect: () => connectWitness(target) });
  let isRunning = false;
  let running = Promise.resolve();
  const run = async (): Promise<void> => {
    isRunning = true;
    try {
      const resolved = await resolver.resolveAll();
      if (resolved > 0) log.warn({ points: resolved }, 'the server was asked what became of transactions whose end nobody heard; it is on record');
    } catch (error) {
      log.warn({ error }, 'the server cannot be asked what became of transactions whose end nobody heard, and is asked again');
    } finally {
      isRunning = false;
    }
  };
  const timer = setInterval(() => { if (!isRunning) running = run(); }, resolveEveryMs);
  running = run();
  started.push(async () => {
    clearInterval(timer);
    await running;
  });
}

/** Any database of the server knows all its transactions. */
export async function connectWitness(target: LinkTarget): Promise<Witness> {
  const link = await connectLink(target, { parameters: new Map([['application_name', 'backstop witness']]) });
  return { fateOf: (point) => transactionFate(async (sql, parameters) => (await link.query(sql, parameters)).rows, point), end: () => link.end() };
}

/** Throws Failure `config_invalid`. */
export async function openProtector({ recipients }: RecoveryConfig, bucket: WatchedBucket, record: RecoveryPoints, onSealed: Metrics['observeSeal']): Promise<Protector> {
  const closing = { bucket, seal: await createSeal(recipients) };
  return createProtector({
    openRows: () => new RowsWriter(closing), packs: new Packs(closing), record, clock: systemClock, fault: () => bucket.fault,
    newId: () => sortableId('rp', { nowMs: Date.now, randomBytes }), onSealed,
  });
}
