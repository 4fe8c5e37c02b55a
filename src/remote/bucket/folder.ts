/**
 * A bucket in a local folder. An object appears whole or not at all: it is written beside, synced, and linked to its name,
 * which fails where there is one already; the folders that hold the new names are synced too. Readable by its owner only.
 */
import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Failure } from '../../core/failure.ts';
import { asObjectName, type Bucket, type StoredObject } from './bucket.ts';

const folderMode = 0o700;
const fileMode = 0o600;
/** What a crash may leave half written; nothing reads it. */
const unfinished = 'unfinished';

/** Makes the folder where it is missing. Throws Failure `bucket_unavailable`. */
export async function openFolderBucket(folder: string): Promise<Bucket> {
  const inFolder = <T>(work: () => Promise<T>): Promise<T> => work().catch((error: unknown) => { throw asBucketFailure(error, folder); });
  await inFolder(async () => {
    await mkdir(join(folder, unfinished), { recursive: true, mode: folderMode });
    await mkdir(join(folder, 'objects'), { recursive: true, mode: folderMode });
    await syncFolder(folder);
  });
  /** Folders whose own name is on disk. */
  const known = new Set<string>();
  return {
    place: folder,
    put: (name, bytes) => inFolder(async () => {
      const path = join(folder, name);
      const home = dirname(path);
      if (!known.has(home)) {
        await mkdir(home, { recursive: true, mode: folderMode });
        await syncFolder(join(folder, 'objects'));
        known.add(home);
      }
      await putNew(join(folder, unfinished, randomUUID()), path, bytes);
      await syncFolder(home);
    }),
    get: (name) => inFolder(() => readFile(join(folder, name))),
    list: () => listFolder(folder, inFolder),
    remove: (name) => inFolder(async () => {
      const path = join(folder, name);
      await rm(path, { force: true });
      await syncFolder(dirname(path)).catch((error: unknown) => { if (codeOf(error) !== 'ENOENT') throw error; });
    }),
    close: () => Promise.resolve(),
  };
}

async function putNew(beside: string, path: string, bytes: Buffer): Promise<void> {
  try {
    const file = await open(beside, 'wx', fileMode);
    try {
      await file.writeFile(bytes);
      await file.datasync();
    } finally {
      await file.close();
    }
    await link(beside, path).catch((error: unknown) => { if (codeOf(error) !== 'EEXIST') throw error; });
  } finally {
    await rm(beside, { force: true });
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function* listFolder(folder: string, inFolder: <T>(work: () => Promise<T>) => Promise<T>): AsyncIterable<StoredObject> {
  for (const home of await inFolder(() => readdir(join(folder, 'objects')))) {
    for (const file of await inFolder(() => readdir(join(folder, 'objects', home)))) {
      const name = asObjectName(`objects/${home}/${file}`);
      if (name === undefined) continue;
      const { size, mtime } = await inFolder(() => stat(join(folder, name)));
      yield { name, bytes: size, storedAt: mtime };
    }
  }
}

function asBucketFailure(error: unknown, folder: string): unknown {
  const code = codeOf(error);
  if (code === undefined || error instanceof Failure) return error;
  if (code === 'ENOENT') return new Failure('not_found', `there is no such object in ${folder}`, { cause: error });
  return new Failure('bucket_unavailable', `the folder of recovery points ${folder} cannot be used (${code})`, { cause: error });
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
