/**
 * A bucket in a local folder. An object appears whole or not at all: it is written beside, synced, and linked to its name,
 * which fails where there is one already; the folders that hold the new names are synced too. Readable by its owner only.
 * What is written in two steps has its name before it is synced: a machine that dies between may leave it broken, and nobody
 * was told that it is kept.
 */
import { randomUUID } from 'node:crypto';
import type { Stats } from 'node:fs';
import { access, link, mkdir, open, readdir, readFile, rm, stat, unlink, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Failure } from '../../core/failure.ts';
import { Bug } from '../../lib/assert.ts';
import { asObjectName, objectKinds, type Bucket, type ObjectKind, type StoredObject } from './bucket.ts';

const folderMode = 0o700;
const fileMode = 0o600;
/** What a crash may leave half written; nothing reads it. */
const unfinished = 'unfinished';
/** Nobody writes one object for so long. */
const unfinishedHoursMax = 24;

/** Makes the folder where it is missing, unless it has to be there. Throws Failure `bucket_unavailable`, or `not_found`. */
export async function openFolderBucket(folder: string, { isThere = false }: { readonly isThere?: boolean } = {}): Promise<Bucket> {
  const inFolder = <T>(work: () => Promise<T>): Promise<T> => work().catch((error: unknown) => { throw asBucketFailure(error, folder); });
  await inFolder(async () => {
    // A copy of one, on a medium that cannot be written, can be read too.
    if (isThere) return access(join(folder, 'packs'));
    for (const part of [unfinished, ...objectKinds]) await mkdir(join(folder, part), { recursive: true, mode: folderMode });
    await syncFolder(folder);
    await removeUnfinished(join(folder, unfinished));
  });
  /** Folders whose own name is on disk. */
  const known = new Set<string>();
  const begin = async (path: string, bytes: Buffer): Promise<Begun> => {
    const home = dirname(path);
    try {
      if (!known.has(home)) await makeHome(home);
      known.add(home);
      return await beginFile(join(folder, unfinished, randomUUID()), home, bytes);
    } catch (error) {
      known.delete(home);
      throw codeOf(error) === 'ENOENT' ? new Failure('bucket_unavailable', `the folder of recovery points ${folder} was taken away`, { cause: error }) : error;
    }
  };
  return {
    place: folder,
    put: (name, bytes) => inFolder(async () => {
      const path = join(folder, name);
      const begun = await begin(path, bytes);
      await finish(begun, async () => {
        await begun.file.datasync();
        await linkNew(begun.beside, path);
      }, () => begun.home.sync());
    }),
    write: (name, bytes) => inFolder(async () => {
      const path = join(folder, name);
      const begun = await begin(path, bytes);
      const back = await linkAndRead(begun, path, bytes.length).catch((error: unknown) => giveUp(begun, error));
      return { back, kept: inFolder(() => finish(begun, () => Promise.resolve(), () => Promise.all([begun.file.datasync(), begun.home.sync()]))) };
    }),
    get: (name) => inFolder(() => readFile(join(folder, name))),
    list: (kind) => listFolder(folder, kind === undefined ? objectKinds : [kind], inFolder),
    remove: (name) => inFolder(async () => {
      const path = join(folder, name);
      await rm(path, { force: true });
      await syncFolder(dirname(path)).catch((error: unknown) => { if (codeOf(error) !== 'ENOENT') throw error; });
    }),
    close: () => Promise.resolve(),
  };
}

async function removeUnfinished(folder: string): Promise<void> {
  const before = Date.now() - unfinishedHoursMax * 3_600_000;
  for (const file of await readdir(folder)) {
    const found = await statThere(join(folder, file));
    if (found !== undefined && found.mtimeMs < before) await rm(join(folder, file), { force: true });
  }
}

/** Not with its parents: where those are gone, what was mounted there may be, and something else would be written to. */
async function makeHome(home: string): Promise<void> {
  await mkdir(home, { mode: folderMode }).catch((error: unknown) => { if (codeOf(error) !== 'EEXIST') throw error; });
  await syncFolder(dirname(home));
}

/** Written, and not yet under its name. */
interface Begun { readonly beside: string; readonly file: FileHandle; readonly home: FileHandle }

async function beginFile(beside: string, homePath: string, bytes: Buffer): Promise<Begun> {
  const [file, home] = await bothOpen(open(beside, 'wx+', fileMode), open(homePath, 'r'));
  const begun = { beside, file, home };
  await file.writeFile(bytes).catch((error: unknown) => giveUp(begun, error));
  return begun;
}

/** False: there was one under this name, which stays. */
async function linkNew(beside: string, path: string): Promise<boolean> {
  return link(beside, path).then(() => true, (error: unknown) => { if (codeOf(error) === 'EEXIST') return false; throw error; });
}

/** What lies there now: this very file, unless there was another one under its name. */
async function linkAndRead({ beside, file }: Begun, path: string, length: number): Promise<Buffer> {
  // One byte more than was written, so that a file which is longer is not taken for the same.
  const [isNew, { bytesRead, buffer }] = await Promise.all([linkNew(beside, path), file.read(Buffer.allocUnsafe(length + 1), 0, length + 1, 0)]);
  return isNew ? buffer.subarray(0, bytesRead) : readFile(path);
}

/** What waits for it is a transaction that holds locks, so whatever need not be one after another is done at once. */
async function finish(begun: Begun, first: () => Promise<void>, last: () => Promise<unknown>): Promise<void> {
  try {
    await first();
    await Promise.all([last(), unlink(begun.beside)]);
  } catch (error) {
    await giveUp(begun, error);
  }
  await Promise.all([begun.file.close(), begun.home.close()]);
}

async function giveUp({ beside, file, home }: Begun, error: unknown): Promise<never> {
  await Promise.all([file.close(), home.close(), rm(beside, { force: true })]);
  throw error;
}

/** Both or neither. */
async function bothOpen(first: Promise<FileHandle>, second: Promise<FileHandle>): Promise<readonly [FileHandle, FileHandle]> {
  const [one, two] = await Promise.allSettled([first, second]);
  if (one.status === 'fulfilled' && two.status === 'fulfilled') return [one.value, two.value];
  for (const opened of [one, two]) if (opened.status === 'fulfilled') await opened.value.close();
  throw one.status === 'rejected' ? one.reason : two.status === 'rejected' ? two.reason : new Bug('both were opened');
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function* listFolder(folder: string, kinds: readonly ObjectKind[], inFolder: <T>(work: () => Promise<T>) => Promise<T>): AsyncIterable<StoredObject> {
  for (const kind of kinds) {
    for (const home of await inFolder(() => readdir(join(folder, kind)))) {
      for (const file of await inFolder(() => readdir(join(folder, kind, home)))) {
        const name = asObjectName(`${kind}/${home}/${file}`);
        const found = name === undefined ? undefined : await inFolder(() => statThere(join(folder, name)));
        if (name !== undefined && found !== undefined) yield { name, bytes: found.size, storedAt: found.mtime };
      }
    }
  }
}

/** undefined: it was removed since its name was read. */
async function statThere(path: string): Promise<Stats | undefined> {
  return stat(path).catch((error: unknown) => { if (codeOf(error) === 'ENOENT') return undefined; throw error; });
}

function asBucketFailure(error: unknown, folder: string): unknown {
  const code = codeOf(error);
  if (code === undefined || error instanceof Failure) return error;
  if (code === 'ENOENT') return new Failure('not_found', `there is no such object in ${folder}, or no such folder`, { cause: error });
  return new Failure('bucket_unavailable', `the folder of recovery points ${folder} cannot be used (${code})`, { cause: error });
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
