/**
 * Bucket: where recovery points are kept, outside the blast radius of the database: a local folder, or storage that speaks
 * S3. Whatever is in it never changes: an object is named by the SHA-256 of its bytes, is never overwritten, and goes away
 * only by a purge. A name says what must be behind it, so whoever reads an object can tell whether it is still the same.
 */
import { Failure } from '../../core/failure.ts';
import { sha256Hex } from '../../lib/sha256.ts';

export interface Bucket {
  /** For messages; holds no credential. */
  readonly place: string;
  /** Resolves once it is durable; what is there already under this name stays as it is. Throws Failure `bucket_unavailable`. */
  put(name: ObjectName, bytes: Buffer): Promise<void>;
  /**
   * As `put`, where its last steps may overlap with something else: it resolves once the bytes were written and read back, and
   * `kept` resolves once they are durable under their name. Absent where that is one step. Throws, and rejects, as `put` does.
   */
  readonly write?: (name: ObjectName, bytes: Buffer) => Promise<Written>;
  /** As they lie there, whatever they are; where there are several versions, the one that is what its name says. Throws Failure `bucket_unavailable`, or `not_found`. */
  get(name: ObjectName): Promise<Buffer>;
  /** In no order; of one kind, or of both. Throws Failure `bucket_unavailable`. */
  list(kind?: ObjectKind): AsyncIterable<StoredObject>;
  /** With every version of it. Throws Failure `bucket_unavailable`, or `object_locked` where it does not go; nothing there is no mistake. */
  remove(name: ObjectName): Promise<void>;
  close(): Promise<void>;
}

export interface Written {
  readonly back: Buffer;
  readonly kept: Promise<void>;
}

/** Manifests lie in packs, rows in objects: so what is there can be told without a look into every object. */
export const objectKinds = ['packs', 'objects'] as const;
export type ObjectKind = (typeof objectKinds)[number];

/** `objects/ab/abcd….zst`: 64 lower-case hexadecimal digits, and what has to be undone to read it, `.age` the last. */
export type ObjectName = `${ObjectKind}/${string}`;

export interface StoredObject {
  readonly name: ObjectName;
  readonly bytes: number;
  readonly storedAt: Date;
}

/** What stands behind the digest: zstd, and then perhaps age. */
export type Ending = '.zst' | '.zst.age';

const nameForm = /^(?:packs|objects)\/([0-9a-f]{2})\/(\1[0-9a-f]{62})\.zst(?:\.age)?$/;

export function objectName(bytes: Uint8Array, ending: Ending, kind: ObjectKind = 'objects'): ObjectName {
  const digest = sha256Hex(bytes);
  return `${kind}/${digest.slice(0, 2)}/${digest}${ending}`;
}

/** undefined: it is nothing of ours. */
export function asObjectName(text: string): ObjectName | undefined {
  return nameForm.test(text) ? text as ObjectName : undefined;
}

export function endingOf(name: ObjectName): Ending { return name.endsWith('.age') ? '.zst.age' : '.zst'; }

/** The SHA-256 that the name claims, hex. */
export function digestOf(name: ObjectName): string {
  return nameForm.exec(name)?.[2] ?? '';
}

/** What lies there, if it is what was put there. Throws Failure: also `recovery_point_broken`. */
export async function getChecked(bucket: Pick<Bucket, 'get' | 'place'>, name: ObjectName): Promise<Buffer> {
  return checked(bucket, name, await bucket.get(name));
}

function checked({ place }: Pick<Bucket, 'place'>, name: ObjectName, bytes: Buffer): Buffer {
  if (sha256Hex(bytes) === digestOf(name)) return bytes;
  throw new Failure('recovery_point_broken', `${name} in ${place} is not what was stored there`);
}

/** Puts it and reads it back. Throws Failure: then nobody may rely on it. */
export async function putVerified(bucket: Bucket, bytes: Buffer, ending: Ending, kind?: ObjectKind): Promise<ObjectName> {
  const name = objectName(bytes, ending, kind);
  await bucket.put(name, bytes);
  await getChecked(bucket, name);
  return name;
}

/** The same in two steps: when it resolves it was read back, when `kept` does it is durable too. */
export async function writeVerified(bucket: Bucket, bytes: Buffer, ending: Ending, kind?: ObjectKind): Promise<{ readonly name: ObjectName; readonly kept: Promise<void> }> {
  const name = objectName(bytes, ending, kind);
  if (bucket.write === undefined) return { name: await putVerified(bucket, bytes, ending, kind), kept: Promise.resolve() };
  const { back, kept } = await bucket.write(name, bytes);
  try {
    checked(bucket, name, back);
  } catch (error) {
    await kept.catch(() => undefined);
    throw error;
  }
  return { name, kept };
}
