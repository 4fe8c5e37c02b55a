/** What a bucket holds, told by the bucket alone: every manifest of every pack. A pack that is broken hides no other. */
import { Failure } from '../../core/failure.ts';
import { readManifest, type Manifest } from '../../core/recovery/manifest.ts';
import { sha256Hex } from '../../lib/sha256.ts';
import type { Bucket, ObjectName } from './bucket.ts';
import { readObject, type StoredIn } from './stored-point.ts';

export type StoredManifest =
  | { readonly kind: 'manifest'; readonly pack: ObjectName; readonly line: string; readonly manifest: Manifest }
  | { readonly kind: 'broken'; readonly pack: ObjectName; readonly failure: Failure };

/** In no order. Throws Failure `bucket_unavailable`, or `not_permitted` where they are encrypted for somebody else. */
export async function* listStoredManifests(from: StoredIn & { readonly bucket: Pick<Bucket, 'list'> }): AsyncGenerator<StoredManifest> {
  for await (const { name: pack } of from.bucket.list('packs')) {
    const text = await orFailure(async () => (await readObject(from, pack)).toString());
    if (text instanceof Failure) {
      yield { kind: 'broken', pack, failure: text };
      continue;
    }
    for (const line of text.trimEnd().split('\n')) {
      const manifest = await orFailure(() => readManifest(line));
      yield manifest instanceof Failure ? { kind: 'broken', pack, failure: manifest } : { kind: 'manifest', pack, line: sha256Hex(line), manifest };
    }
  }
}

/** What is wrong with one object; what is wrong with the place, or with the key, is thrown. */
async function orFailure<T>(work: () => T | Promise<T>): Promise<T | Failure> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Failure && (error.code === 'recovery_point_broken' || error.code === 'data_version' || error.code === 'not_found')) return error;
    throw error;
  }
}
