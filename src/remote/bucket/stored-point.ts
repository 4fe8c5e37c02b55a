/**
 * Reading a recovery point back from a bucket: its manifest out of a pack, and the rows that the manifest names. Every
 * object is hashed again, and so is all the text of a table; nothing that differs passes as what was kept.
 */
import { createHash } from 'node:crypto';
import { Failure } from '../../core/failure.ts';
import { readManifest, type KeptRows, type Manifest } from '../../core/recovery/manifest.ts';
import { sha256Hex } from '../../lib/sha256.ts';
import { asObjectName, endingOf, getChecked, type Bucket } from './bucket.ts';
import type { Opener } from './seal.ts';

export interface StoredIn {
  readonly bucket: Pick<Bucket, 'get' | 'place'>;
  readonly opener: Opener;
}

/** Throws Failure `not_found`, `recovery_point_broken`, `data_version`, `not_permitted` or `bucket_unavailable`. */
export async function readStoredManifest(from: StoredIn, { pack, line }: { readonly pack: string; readonly line: string }): Promise<Manifest> {
  const text = (await readObject(from, pack)).toString();
  const manifest = text.split('\n').find((candidate) => sha256Hex(candidate) === line);
  if (manifest === undefined) throw new Failure('recovery_point_broken', `${pack} in ${from.bucket.place} does not hold the manifest that it was to hold`);
  return readManifest(manifest);
}

/** COPY text, piece by piece; throws Failure, as `readStoredManifest` does, before the end where it is not all that was kept, so whoever writes it must be able to roll back. */
export async function* readStoredRows(from: StoredIn, { sha256, bytes, inline, chunks = [] }: KeptRows): AsyncGenerator<Buffer, void, undefined> {
  const hash = createHash('sha256');
  let read = 0;
  for (const part of inline === undefined ? chunks : [inline]) {
    const text = typeof part === 'string' ? Buffer.from(part) : await readObject(from, part.name);
    hash.update(text);
    read += text.length;
    yield text;
  }
  if (read !== bytes || hash.digest('hex') !== sha256) throw new Failure('recovery_point_broken', `the rows in ${from.bucket.place} are not those that were kept`);
}

/** Opened; checked by its name first. Throws Failure. */
export async function readObject({ bucket, opener }: StoredIn, text: string): Promise<Buffer> {
  const name = asObjectName(text);
  if (name === undefined) throw new Failure('recovery_point_broken', 'a recovery point names an object that is none');
  return opener.open(await getChecked(bucket, name), endingOf(name));
}
