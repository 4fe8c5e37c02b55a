/**
 * A bucket in storage that speaks S3. Nothing is overwritten (If-None-Match), the server checks the SHA-256 that each object
 * is sent with, and where the bucket has Object Lock, objects are locked for as long as they are kept, so that no credential
 * of the gateway can remove them. To write it needs PutObject and GetObject on its prefix; listing and removing are the
 * purge's, which may have credentials of its own. Credentials come as the AWS tools find them.
 */
import { DeleteObjectCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, ListObjectVersionsCommand, PutObjectCommand, S3Client, S3ServiceException } from '@aws-sdk/client-s3';
import { Failure } from '../../core/failure.ts';
import { sha256Hex } from '../../lib/sha256.ts';
import { asObjectName, digestOf, objectKinds, type Bucket, type ObjectKind, type ObjectName, type StoredObject } from './bucket.ts';

/** `s3://bucket/prefix@https://endpoint`; without an endpoint, Amazon's. */
export interface S3Place {
  readonly bucket: string;
  /** Ends in `/`, or is empty. */
  readonly prefix: string;
  readonly endpoint: string | undefined;
}

export interface S3Options {
  readonly region?: string | undefined;
  /** Objects are locked this long, in mode COMPLIANCE; the bucket must have Object Lock. */
  readonly lockDays?: number | undefined;
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken?: string } | undefined;
  readonly now?: () => Date;
}

const attemptsMax = 4;
const connectMsMax = 5_000;
const requestMsMax = 60_000;
const form = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/([^@]*))?(?:@(https?:\/\/[^/@]+))?$/;

/** Throws Failure `config_invalid`. */
export function parseS3Place(text: string): S3Place {
  const [, bucket, prefix = '', endpoint] = form.exec(text) ?? [];
  if (bucket === undefined) throw new Failure('config_invalid', `${text.replace(/\/\/[^/]*@/, '//…@')} is no place in S3`, { hint: 'It looks like s3://bucket/prefix or s3://bucket/prefix@https://storage.example:9000.' });
  return { bucket, prefix: prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`, endpoint };
}

export function openS3Bucket(place: S3Place, options: S3Options = {}): Bucket {
  const client = new S3Client({
    region: options.region ?? 'us-east-1', maxAttempts: attemptsMax,
    ...(place.endpoint === undefined ? {} : { endpoint: place.endpoint, forcePathStyle: true }),
    ...(options.credentials === undefined ? {} : { credentials: options.credentials }),
    requestHandler: { connectionTimeout: connectMsMax, requestTimeout: requestMsMax },
  });
  const shown = `s3://${place.bucket}/${place.prefix}${place.endpoint === undefined ? '' : `@${place.endpoint}`}`;
  const at = (name: ObjectName): { readonly Bucket: string; readonly Key: string } => ({ Bucket: place.bucket, Key: `${place.prefix}${name}` });
  const ask = <T>(work: () => Promise<T>): Promise<T> => work().catch((error: unknown) => { throw asBucketFailure(error, shown); });
  return {
    place: shown,
    put: (name, bytes) => ask(() => put(client, at(name), name, bytes, lockOf(options))),
    get: (name) => ask(() => getTrue(client, at(name), name)),
    list: (kind) => list(client, place, kind === undefined ? objectKinds : [kind], ask),
    remove: (name) => ask(() => removeVersions(client, at(name))),
    close: () => { client.destroy(); return Promise.resolve(); },
  };
}

type Lock = Pick<ConstructorParameters<typeof PutObjectCommand>[0], 'ObjectLockMode' | 'ObjectLockRetainUntilDate'>;

function lockOf({ lockDays, now = () => new Date() }: S3Options): Lock {
  return lockDays === undefined ? {} : { ObjectLockMode: 'COMPLIANCE', ObjectLockRetainUntilDate: new Date(now().getTime() + lockDays * 86_400_000) };
}

async function put(client: S3Client, at: { readonly Bucket: string; readonly Key: string }, name: ObjectName, bytes: Buffer, lock: Lock): Promise<void> {
  const checksum = Buffer.from(digestOf(name), 'hex').toString('base64');
  try {
    await client.send(new PutObjectCommand({ ...at, ...lock, Body: bytes, ContentLength: bytes.length, ChecksumSHA256: checksum, IfNoneMatch: '*' }));
  } catch (error) {
    // There already: put by an attempt whose answer was lost, or the same bytes from another action.
    if (!(error instanceof S3ServiceException) || error.$metadata.httpStatusCode !== 412) throw error;
  }
}

/** Where the bucket keeps versions, somebody may have hidden or covered what is locked; the version that was put is still there. */
async function getTrue(client: S3Client, at: { readonly Bucket: string; readonly Key: string }, name: ObjectName): Promise<Buffer> {
  const latest = await get(client, at).catch((error: unknown) => { if (isMissing(error)) return undefined; throw error; });
  if (latest !== undefined && isTrue(latest, name)) return latest;
  const { Versions: versions = [] } = await client.send(new ListObjectVersionsCommand({ Bucket: at.Bucket, Prefix: at.Key })).catch(() => ({ Versions: [] }));
  for (const { Key: key, VersionId: id } of versions) {
    const earlier = key === at.Key ? await get(client, { ...at, VersionId: id }) : undefined;
    if (earlier !== undefined && isTrue(earlier, name)) return earlier;
  }
  return latest ?? get(client, at);
}

async function get(client: S3Client, at: { readonly Bucket: string; readonly Key: string; readonly VersionId?: string | undefined }): Promise<Buffer> {
  const { Body: body } = await client.send(new GetObjectCommand(at));
  return Buffer.from(await body?.transformToByteArray() ?? []);
}

function isTrue(bytes: Buffer, name: ObjectName): boolean { return sha256Hex(bytes) === digestOf(name); }

function isMissing(error: unknown): boolean { return error instanceof S3ServiceException && error.$metadata.httpStatusCode === 404 && error.name === 'NoSuchKey'; }

async function* list(client: S3Client, { bucket, prefix }: S3Place, kinds: readonly ObjectKind[], ask: <T>(work: () => Promise<T>) => Promise<T>): AsyncIterable<StoredObject> {
  for (const kind of kinds) {
    for (let after: string | undefined, more = true; more;) {
      const page = await ask(() => client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: `${prefix}${kind}/`, ContinuationToken: after })));
      for (const { Key: key = '', Size: bytes = 0, LastModified: storedAt = new Date(0) } of page.Contents ?? []) {
        const name = asObjectName(key.slice(prefix.length));
        if (name !== undefined) yield { name, bytes, storedAt };
      }
      after = page.NextContinuationToken;
      more = page.IsTruncated === true && after !== undefined;
    }
  }
}

/**
 * Where a bucket keeps versions, removing a name only hides it: its bytes stay, and a lock would never be noticed. So each
 * version is removed by itself; markers go last, because the name stays hidden while one of them is left.
 */
async function removeVersions(client: S3Client, at: { readonly Bucket: string; readonly Key: string }): Promise<void> {
  for (;;) {
    const { Versions: versions = [], DeleteMarkers: markers = [], IsTruncated: isMore } = await client.send(new ListObjectVersionsCommand({ Bucket: at.Bucket, Prefix: at.Key }));
    const ids = [...versions, ...markers].filter(({ Key: key }) => key === at.Key).map(({ VersionId: id }) => id);
    for (const id of ids) await client.send(new DeleteObjectCommand({ ...at, VersionId: id })).catch(async (error: unknown) => { throw await lockedUntil(client, { ...at, VersionId: id }) ?? error; });
    if (isMore !== true || ids.length === 0) return;
  }
}

/** A failure that says so, where the version is locked. */
async function lockedUntil(client: S3Client, version: { readonly Bucket: string; readonly Key: string; readonly VersionId: string | undefined }): Promise<Failure | undefined> {
  const { ObjectLockRetainUntilDate: until, ObjectLockLegalHoldStatus: hold } = await client.send(new HeadObjectCommand(version)).catch(() => ({ ObjectLockRetainUntilDate: undefined, ObjectLockLegalHoldStatus: undefined }));
  if (until === undefined && hold !== 'ON') return undefined;
  return new Failure('object_locked', `${version.Key} is locked ${until === undefined ? 'by a legal hold' : `until ${until.toISOString().slice(0, 10)}`}`);
}

/** What the server calls it, or the system: a connection that is refused has no name of its own. */
function whatOf(error: Error): string { return 'code' in error && typeof error.code === 'string' ? error.code : error.name; }

function asBucketFailure(error: unknown, place: string): unknown {
  if (error instanceof Failure || !(error instanceof Error)) return error;
  const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
  if (isMissing(error)) return new Failure('not_found', `there is no such object in ${place}`, { cause: error });
  return new Failure('bucket_unavailable', `the storage of recovery points ${place} cannot be used (${whatOf(error)}${status === undefined ? '' : `, HTTP ${status}`})`, { cause: error });
}
