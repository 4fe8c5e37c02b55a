/**
 * What keeps recovery points while agents are served: one protector for the process, over storage that is watched. Where
 * the storage cannot be used, reads go on and what needs protection is refused.
 */
import { randomBytes } from 'node:crypto';
import type { RecoveryConfig } from '../config.ts';
import type { Metrics } from '../entry/http/metrics.ts';
import { createProtector, type Protector } from '../flow/protect.ts';
import { systemClock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { sortableId } from '../lib/sortable-id.ts';
import { Packs } from '../remote/bucket/packs.ts';
import { RowsWriter } from '../remote/bucket/rows-writer.ts';
import { createSeal } from '../remote/bucket/seal.ts';
import { watchBucket, type WatchedBucket } from '../remote/bucket/watched-bucket.ts';
import type { RecoveryPoints } from '../store/recovery-points.ts';
import type { Started } from './start-whole.ts';
import { checkStorage, openStorage } from './storage.ts';

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

/** Throws Failure `config_invalid`. */
export async function openProtector({ recipients }: RecoveryConfig, bucket: WatchedBucket, record: RecoveryPoints, onSealed: Metrics['observeSeal']): Promise<Protector> {
  const closing = { bucket, seal: await createSeal(recipients) };
  return createProtector({
    openRows: () => new RowsWriter(closing), packs: new Packs(closing), record, clock: systemClock, fault: () => bucket.fault,
    newId: () => sortableId('rp', { nowMs: Date.now, randomBytes }), onSealed,
  });
}
