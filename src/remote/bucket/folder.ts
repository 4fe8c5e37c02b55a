/**
 * A bucket in a local folder. An object appears whole or not at all: it is written beside, synced, and linked to its name,
 * which fails where there is one already; the folders that hold the new names are synced too. Readable by its owner only.
 */
import { randomUUID } from 'node:crypto';
import type { Stats } from 'node:fs';
import { access, link, mkdir, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Failure } from '../../core/failure.ts';
import { asObjectName, objectKinds, type Bucket, type ObjectKind, type StoredObject } from './bucket.ts';

const folderMode = 0o700;
const fileMode = 0o600;
/** What a crash may leave half written; nothing reads it. */
const unfinished = 'unfinished';

/** Makes the folder where it is missing, unless it has to be there. Throws Failure `bucket_unavailable`, or `not_found`. */
export async function openFolderBucket(folder: string, { isThere = false }: { readonly isThere?: boolean } = {}): Promise<Bucket> {
  const inFolder = <T>(work: () => Promise<T>): Promise<T> => work().catch((error: unknown) => { throw asBucketFailure(error, folder); });
  await inFolder(async () => {
    // A copy of one, on a medium that cannot be written, can be read too.
    if (isThere) return access(join(folder, 'packs'));
    for (const part of [unfinished, ...objectKinds]) await mkdir(join(folder, part), { recursive: true, mode: folderMode });
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
        await syncFolder(dirname(home));
        known.add(home);
      }
      await putNew(join(folder, unfinished, randomUUID()), path, bytes);
      await syncFolder(home);
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
