/**
 * Where recovery points are kept: the bucket that configuration names, what seals them for it, and what opens them again.
 */
import { readFileSync } from 'node:fs';
import type { RecoveryConfig } from '../config.ts';
import { Failure } from '../core/failure.ts';
import { systemCode } from '../lib/system-error.ts';
import type { Bucket } from '../remote/bucket/bucket.ts';
import { openFolderBucket } from '../remote/bucket/folder.ts';
import { createOpener, type Opener } from '../remote/bucket/seal.ts';

/** Throws Failure `config_invalid`, or `bucket_unavailable` for a folder that cannot be made; `not_found` for one that has to be there. */
export async function openStorage({ storage, region, lockDays }: Pick<RecoveryConfig, 'storage' | 'region' | 'lockDays'>, options: { readonly isThere?: boolean } = {}): Promise<Bucket> {
  if (!isInS3(storage)) return openFolderBucket(storage, options);
  // Loaded when it is needed: it is large, and most Backstops keep recovery points in a folder.
  const { openS3Bucket, parseS3Place } = await import('../remote/bucket/s3.ts');
  return openS3Bucket(parseS3Place(storage), { region, lockDays });
}

/** A place that is misspelt is told at the start; one that cannot be reached then may come back. Throws Failure `config_invalid`. */
export async function checkStorage({ storage }: Pick<RecoveryConfig, 'storage'>): Promise<void> {
  if (!isInS3(storage)) return;
  const { parseS3Place } = await import('../remote/bucket/s3.ts');
  parseS3Place(storage);
}

/** Throws Failure `config_invalid`. */
export function openerOf({ identitiesFile }: Pick<RecoveryConfig, 'identitiesFile'>): Promise<Opener> {
  return createOpener(identitiesFile === undefined ? [] : readIdentities(identitiesFile));
}

function isInS3(storage: string): boolean { return storage.startsWith('s3://'); }

/** As `age-keygen` writes it: one on a line, comments beside. */
function readIdentities(path: string): readonly string[] {
  try {
    const identities = readFileSync(path, 'utf8').split('\n').map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
    if (identities.length > 0) return identities;
  } catch (cause) {
    throw new Failure('config_invalid', `${path}: cannot be read (${systemCode(cause)})`, { cause });
  }
  throw new Failure('config_invalid', `${path} holds no age identity`, { hint: '`age-keygen -o FILE` makes one.' });
}
