/**
 * Damage to the file itself, anywhere in it: whatever byte is changed, the record either still says exactly what was
 * written, or verify names a broken entry, or the store refuses to open. It never quietly says something else.
 */
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { Failure } from '../core/failure.ts';
import type { StoredEntry } from '../core/ledger/entry.ts';
import { newFolder, openStore, readOf, sqliteStores, verdictOf, type TestStore } from '../../test/fixtures/store.ts';

const entries = 120;

async function filled(folder: string): Promise<readonly StoredEntry[]> {
  const store = await openStore({ kind: 'sqlite', folder });
  for (let index = 1; index < entries; index += 1) await store.ledger.append({ ...verdictOf(`act_${index}`), text: 'x'.repeat((index * 37) % 6_000) });
  store.ledger.issueRead(readOf('act_read'));
  await store.ledger.close();
  const all = await store.ledger.entriesAfter(0, entries + 1);
  await store.database.close();
  assert.equal(all.length, entries);
  return all;
}

type Finding = 'refused' | 'broken' | 'as written';

async function lookAt(folder: string, original: readonly StoredEntry[]): Promise<Finding> {
  let store: TestStore;
  try {
    store = await openStore({ kind: 'sqlite', folder });
  } catch (error) {
    assert.ok(error instanceof Failure && (error.code === 'store_unavailable' || error.code === 'data_version'), String(error));
    return 'refused';
  }
  try {
    const { broken, entries: held } = await store.ledger.verify();
    if (broken !== undefined) {
      assert.ok(broken.seq <= held + 1 && broken.why.length > 0, 'it names the first one that does not hold');
      return 'broken';
    }
    assert.equal(held, entries);
    assert.deepEqual((await store.ledger.entriesAfter(0, entries + 1)).map((entry) => ({ ...entry })), original.map((entry) => ({ ...entry })));
    return 'as written';
  } finally {
    await store.database.close();
  }
}

test('a byte changed anywhere in the file is refused, found, or means nothing', async () => {
  const folder = newFolder();
  const original = await filled(folder);
  const file = join(folder, 'backstop.db');
  const bytes = readFileSync(file);
  const seen = new Map<Finding, number>();
  const place = fc.oneof(fc.integer({ min: 0, max: bytes.length - 1 }), fc.integer({ min: 0, max: 4_095 }), fc.integer({ min: 0, max: Math.floor(bytes.length / 4096) - 1 }).chain((page) => fc.integer({ min: page * 4096, max: page * 4096 + 60 })));
  await fc.assert(fc.asyncProperty(place, fc.integer({ min: 1, max: 255 }), async (offset, flip) => {
    const changed = Buffer.from(bytes);
    changed.writeUInt8(changed.readUInt8(offset) ^ flip, offset);
    for (const rest of ['-wal', '-shm']) rmSync(`${file}${rest}`, { force: true });
    writeFileSync(file, changed);
    const found = await lookAt(folder, original);
    seen.set(found, (seen.get(found) ?? 0) + 1);
  }), { numRuns: 120 });
  assert.ok((seen.get('broken') ?? 0) > 10 && (seen.get('refused') ?? 0) > 0 && (seen.get('as written') ?? 0) > 0, JSON.stringify([...seen]));
  rmSync(folder, { recursive: true });
});

test('a file cut off anywhere is refused or found', async () => {
  const folder = newFolder();
  const original = await filled(folder);
  const file = join(folder, 'backstop.db');
  const bytes = readFileSync(file);
  await fc.assert(fc.asyncProperty(fc.integer({ min: 4_096, max: bytes.length - 1 }), async (length) => {
    for (const rest of ['-wal', '-shm']) rmSync(`${file}${rest}`, { force: true });
    writeFileSync(file, bytes.subarray(0, length));
    assert.notEqual(await lookAt(folder, original), 'as written');
  }), { numRuns: 40 });
  rmSync(folder, { recursive: true });
});

test('any one byte of an entry that is changed in the file is found', async () => {
  const folder = newFolder();
  const store = await openStore({ kind: 'sqlite', folder });
  for (let index = 1; index <= 4; index += 1) await store.ledger.append(verdictOf(`act_${index}`));
  await store.close();
  const file = join(folder, 'backstop.db');
  const original = readFileSync(file);
  const first = original.indexOf('"act_1"');
  assert.ok(first > 0);
  await fc.assert(fc.asyncProperty(fc.integer({ min: -200, max: 400 }), fc.integer({ min: 1, max: 255 }), async (offset, flip) => {
    const changed = Buffer.from(original);
    changed.writeUInt8(changed.readUInt8(first + offset) ^ flip, first + offset);
    writeFileSync(file, changed);
    const opened = await openStore({ kind: 'sqlite', folder });
    try {
      return (await opened.ledger.verify()).broken !== undefined;
    } finally {
      await opened.close();
    }
  }), { numRuns: 40 });
  rmSync(folder, { recursive: true });
});

test('a text that became bytes is found, though it reads the same', async () => {
  const store = await openStore();
  await store.ledger.append(verdictOf('act_1'));
  await sqliteStores.run(store.place, `${sqliteStores.disarm}; UPDATE ledger SET body = CAST(body AS BLOB) WHERE seq = 1`);
  assert.equal((await store.ledger.verify()).broken?.seq, 1);
  await store.close();
});
