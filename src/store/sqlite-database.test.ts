/**
 * The SQLite file: private to its owner, safe to share, and either exactly what this version wrote or a clear refusal.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test, type TestContext } from 'node:test';
import { Worker } from 'node:worker_threads';
import { sql } from 'kysely';
import { Failure } from '../core/failure.ts';
import type { Changes, StoreDatabase } from './database.ts';
import { openSqlite } from './sqlite-database.ts';
import { isBusy } from './sqlite-dialect.ts';
import { folderOf, newFolder, verdictOf, withStore } from '../../test/fixtures/store.ts';

function temporaryFolder(t: TestContext): string {
  const folder = newFolder();
  t.after(() => { rmSync(folder, { recursive: true }); });
  return folder;
}

function opened(t: TestContext): { readonly database: StoreDatabase; readonly place: string } {
  const place = newFolder();
  const database = openSqlite(place);
  t.after(async () => {
    await database.close();
    rmSync(place, { recursive: true });
  });
  return { database, place };
}

const code = (expected: Failure['code']) => (error: unknown): boolean => {
  assert.ok(error instanceof Failure, String(error));
  assert.equal(error.code, expected);
  return true;
};
const isUnavailable = (error: unknown): boolean => error instanceof Failure && error.code === 'ledger_unavailable';
const operator = (name: string) => ({ name, token_hash: 'h', created_at: 'now', revoked_at: null });

test('the folder and every file that holds data are readable by their owner only', async (t) => {
  const place = join(temporaryFolder(t), 'new', 'data');
  const database = openSqlite(place);
  await database.transact((changes) => changes.insertInto('operator').values(operator('a')).execute());
  assert.equal(statSync(place).mode & 0o777, 0o700);
  const modes = readdirSync(place).map((file) => [file, statSync(join(place, file)).mode & 0o777] as const);
  assert.ok(modes.some(([file]) => file.endsWith('-wal')), 'the write-ahead log is there to be looked at');
  assert.deepEqual(modes.filter(([file, mode]) => !file.startsWith('serving.lock') && (mode & 0o077) !== 0), []);
  await database.close();
});

test('the log is written ahead, and SQLite itself syncs it before it moves it into the file', async (t) => {
  const { database } = opened(t);
  const settings = await database.transact(async (changes) => {
    const { rows: [mode] } = await sql<{ journal_mode: string }>`PRAGMA journal_mode`.execute(changes);
    const { rows: [synchronous] } = await sql<{ synchronous: number }>`PRAGMA synchronous`.execute(changes);
    return [mode?.journal_mode, synchronous?.synchronous];
  });
  assert.deepEqual(settings, ['wal', 1]);
});

test('a durable transaction counts once its log is synced, also one that was committed by then; a relaxed one does not wait', async (t) => {
  const folder = newFolder();
  const asked: { readonly bytes: number; readonly synced: PromiseWithResolvers<void> }[] = [];
  const database = openSqlite(folder, {
    syncs: (path) => ({
      sync: () => { const synced = Promise.withResolvers<void>(); asked.push({ bytes: statSync(path).size, synced }); return synced.promise; },
      close: () => Promise.resolve(),
    }),
  });
  t.after(async () => { await database.close(); rmSync(folder, { recursive: true }); });
  const insert = (name: string) => (changes: Changes) => changes.insertInto('operator').values(operator(name)).execute();
  const before = statSync(join(folder, 'backstop.db-wal')).size;
  await database.transactRelaxed(insert('relaxed'));
  assert.equal(asked.length, 0);
  let counts = false;
  const durable = database.transact(insert('durable')).then(() => { counts = true; });
  // Another one is served while it is synced.
  await database.transactRelaxed(insert('beside'));
  assert.equal(asked.length, 1);
  assert.ok((asked[0]?.bytes ?? 0) > before, 'it was committed before the sync was asked for');
  assert.equal(counts, false);
  asked[0]?.synced.resolve();
  await durable;
  assert.equal(counts, true);
  const failing = database.transact(insert('failing'));
  await database.transactRelaxed(insert('behind'));
  asked[1]?.synced.reject(Object.assign(new Error('the disk is gone'), { code: 'EIO' }));
  await assert.rejects(failing, code('store_unavailable'));
});

test('a store that another process holds for too long is unavailable, not waited for without end', async (t) => {
  const { database, place } = opened(t);
  const other = new DatabaseSync(join(place, 'backstop.db'));
  t.after(() => { other.close(); });
  other.exec('BEGIN IMMEDIATE');
  await assert.rejects(database.transact((changes) => changes.insertInto('operator').values(operator('a')).execute()), code('store_unavailable'));
  other.exec('ROLLBACK');
  await database.transact((changes) => changes.insertInto('operator').values(operator('a')).execute());
});

test('a full store is unavailable, and works again once there is room', async (t) => {
  const { database } = opened(t);
  const pages = async (most: string) => { await sql.raw(`PRAGMA max_page_count = ${most}`).execute(database.queries); };
  await pages('1');
  const big = { ...operator('a'), token_hash: 'x'.repeat(1_000_000) };
  await assert.rejects(database.transact((changes) => changes.insertInto('operator').values(big).execute()), code('store_unavailable'));
  await pages('1000000');
  await database.transact((changes) => changes.insertInto('operator').values(big).execute());
});

test('data of a newer version is refused and left as it is', (t) => {
  const place = temporaryFolder(t);
  const newer = new DatabaseSync(join(place, 'backstop.db'));
  newer.exec('PRAGMA user_version = 9999; CREATE TABLE future (a)');
  newer.close();
  assert.throws(() => openSqlite(place), (error) => code('data_version')(error) && error instanceof Failure && error.message.includes('9999'));
  const kept = new DatabaseSync(join(place, 'backstop.db'));
  assert.deepEqual(kept.prepare('SELECT name FROM sqlite_schema').all().map(({ name }) => name), ['future']);
  kept.close();
});

const unusable: readonly (readonly [what: string, make: (place: string) => void])[] = [
  ['a file that is no database', (place) => { mkdirSync(place); writeFileSync(join(place, 'backstop.db'), 'not a database at all'.repeat(500)); }],
  ['a file where the folder should be', (place) => { writeFileSync(place, ''); }],
  ['a folder where the file should be', (place) => { mkdirSync(join(place, 'backstop.db'), { recursive: true }); }],
  ['a database of somebody else', (place) => { mkdirSync(place); const other = new DatabaseSync(join(place, 'backstop.db')); other.exec('CREATE TABLE ledger (a)'); other.close(); }],
];
for (const [what, make] of unusable) {
  test(`${what} is refused with its place`, (t) => {
    const place = join(temporaryFolder(t), 'data');
    make(place);
    assert.throws(() => openSqlite(place), (error) => code('store_unavailable')(error) && error instanceof Failure && error.message.includes(place));
  });
}

/** Opens a new folder in each round, at the same moment as the other one; says what failed. */
const opener = `
  const { parentPort, workerData: { place, rounds, counter } } = require('node:worker_threads');
  import(${JSON.stringify(new URL('sqlite-database.ts', import.meta.url).href)}).then(async ({ openSqlite }) => {
    const arrived = new Int32Array(counter);
    const failures = [];
    for (let round = 1; round <= rounds; round += 1) {
      Atomics.add(arrived, 0, 1);
      while (Atomics.load(arrived, 0) < 2 * round);
      try { await openSqlite(place + '/' + round).close(); } catch (error) { failures.push(error.message); }
    }
    parentPort.postMessage(failures);
  });
`;

test('two that open a new store at the same moment both succeed', async (t) => {
  const workerData = { place: temporaryFolder(t), rounds: 50, counter: new SharedArrayBuffer(4) };
  const failures = await Promise.all([1, 2].map(() => new Promise((resolve, reject) => {
    new Worker(opener, { eval: true, workerData }).once('message', resolve).once('error', reject);
  })));
  assert.deepEqual(failures, [[], []]);
});

test('every kind of busy counts as busy, and nothing else does', (t) => {
  const path = join(temporaryFolder(t), 'busy.db');
  const [one, two] = [new DatabaseSync(path), new DatabaseSync(path)];
  one.exec('PRAGMA journal_mode = WAL; CREATE TABLE t (a)');
  one.exec('BEGIN');
  one.prepare('SELECT * FROM t').all();
  two.exec('INSERT INTO t VALUES (1)');
  assert.throws(() => { one.exec('INSERT INTO t VALUES (2)'); }, isBusy, 'SQLITE_BUSY_SNAPSHOT');
  assert.throws(() => { one.exec('nonsense'); }, (error) => !isBusy(error));
  assert.equal(isBusy(new Error('busy')), false);
  one.close();
  two.close();
});

test('a disk that is full stops what is risky, and nothing of it is half written', () => withStore(async ({ database, ledger }) => {
  await ledger.append(verdictOf('act_0'));
  await sql`PRAGMA max_page_count = 1`.execute(database.queries);
  let permits = 0;
  let failed = 0;
  // SQLite still has free pages at first.
  for (let index = 1; index <= 200 && failed === 0; index += 1) {
    await ledger.issue(verdictOf(`act_${index}`)).then(() => { permits += 1; }, (error: unknown) => { failed += Number(isUnavailable(error)); });
  }
  assert.equal(failed, 1);
  assert.match(ledger.fault?.message ?? '', /full/);
  await sql`PRAGMA max_page_count = 1000000`.execute(database.queries);
  await ledger.append(verdictOf('act_last'));
  assert.deepEqual(await ledger.verify(), { entries: permits + 2, broken: undefined });
}));

test('an entry cannot be put in the place of another', () => withStore(async ({ place: at, ledger }) => {
  await ledger.append(verdictOf('act_1'));
  const other = new DatabaseSync(join(folderOf(at), 'backstop.db'));
  assert.throws(() => { other.exec('INSERT OR REPLACE INTO ledger SELECT seq, \'2000\', kind, body, hash FROM ledger'); }, /append-only/);
  assert.throws(() => { other.exec('REPLACE INTO ledger VALUES (1, \'\', \'\', \'\', \'\')'); }, /append-only/);
  other.close();
  assert.deepEqual(await ledger.verify(), { entries: 1, broken: undefined });
}));
