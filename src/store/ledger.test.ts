/**
 * The ledger with a real file: permits only after the record, batches of reads, a bound when it cannot be written, tampering
 * that is found, several processes, and a process that is killed.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import fc from 'fast-check';
import { Failure } from '../core/failure.ts';
import type { EntryBody } from '../core/ledger/entry.ts';
import { readsMax } from './read-batch.ts';
import { newFolder, openStore, readOf, verdictOf, withStore, type TestStore } from '../../test/fixtures/store.ts';

const committed = { kind: 'committed', rows: 1, durationMs: 2.5 } as const;

async function bodies(store: TestStore): Promise<EntryBody[]> {
  return (await store.ledger.entriesAfter(0, 10_000)).map((entry) => JSON.parse(entry.body) as EntryBody);
}

const isUnavailable = (error: unknown): boolean => error instanceof Failure && error.code === 'ledger_unavailable';

test('a permit exists only after its verdict is in the file', () => withStore(async (store) => {
  const permit = await store.ledger.issue(verdictOf('act_1'));
  const other = new DatabaseSync(join(store.folder, 'backstop.db'), { readOnly: true });
  assert.deepEqual(other.prepare('SELECT kind FROM ledger').all().map((row) => row['kind']), ['verdict']);
  other.close();
  await store.ledger.settle(permit, committed);
  assert.deepEqual((await bodies(store)).map((body) => body.kind), ['verdict', 'outcome']);
  assert.deepEqual(await store.ledger.verify(), { entries: 2, broken: undefined });
}));

test('no permit comes of a verdict that is not allow', () => withStore(async (store) => {
  for (const decision of ['hold', 'deny'] as const) await assert.rejects(store.ledger.issue({ ...verdictOf('a'), decision }));
  assert.deepEqual(await bodies(store), []);
}));

test('the first outcome counts, and a foreign permit settles nothing', () => withStore(async (store) => {
  const permit = await store.ledger.issue(verdictOf('act_1'));
  await store.ledger.settle(permit, committed);
  await store.ledger.settle(permit, { kind: 'failed', rows: null, durationMs: 1 });
  assert.equal((await bodies(store)).filter((body) => body.kind === 'outcome').length, 1);
}));

test('reads are written in batches with their texts once, and reach the record at close', async () => {
  const store = openStore();
  for (let index = 0; index < 450; index += 1) {
    void store.ledger.settle(store.ledger.issueRead(readOf(`act_${index}`, index % 2 === 0 ? 'SELECT a' : 'SELECT b')), committed);
  }
  await store.close();
  const again = openStore(store.folder);
  const reads = (await bodies(again)).filter((body) => body.kind === 'reads');
  assert.equal(reads.length, 3);
  assert.equal(reads.reduce((sum, body) => sum + body.reads.length, 0), 450);
  assert.deepEqual(reads[0]?.texts.map(({ text }) => text), ['SELECT a', 'SELECT b']);
  assert.equal(await again.ledger.resolveOpenPermits(), 0);
  await again.close();
});

test('a read that is still running at close is on record as open, and start-up settles it', async () => {
  const store = openStore();
  store.ledger.issueRead(readOf('act_slow'));
  await store.close();
  const again = openStore(store.folder);
  assert.equal(await again.ledger.resolveOpenPermits(), 1);
  const last = (await bodies(again)).at(-1);
  assert.ok(last?.kind === 'outcome' && last.actionId === 'act_slow' && last.outcome === 'unknown' && last.note !== null);
  assert.equal(await again.ledger.resolveOpenPermits(), 0);
  await again.close();
});

test('when the record cannot be written nothing risky gets a permit, reads stop at the bound, and all is written once it can be again', () => withStore(async (store) => {
  const outcomeLate = await store.ledger.issue(verdictOf('act_0'));
  const blocker = new DatabaseSync(join(store.folder, 'backstop.db'));
  blocker.exec('CREATE TRIGGER full BEFORE INSERT ON ledger BEGIN SELECT RAISE(ABORT, \'disk full\'); END');
  await assert.rejects(store.ledger.issue(verdictOf('act_1')), isUnavailable);
  await assert.rejects(store.ledger.settle(outcomeLate, committed), isUnavailable);
  for (let index = 0; index < readsMax - 1; index += 1) void store.ledger.settle(store.ledger.issueRead(readOf(`r${index}`)), committed);
  assert.throws(() => store.ledger.issueRead(readOf('one too many')), isUnavailable);
  assert.ok(store.ledger.fault !== undefined);
  blocker.exec('DROP TRIGGER full');
  blocker.close();
  await store.ledger.append({ kind: 'admin', what: 'start', by: 'test', subject: 'test', note: null });
  const written = await bodies(store);
  assert.equal(written.reduce((sum, body) => sum + (body.kind === 'reads' ? body.reads.length : 0), 0), readsMax - 1);
  assert.equal(written.filter((body) => body.kind === 'outcome' && body.actionId === 'act_0').length, 1);
  assert.equal(await store.ledger.resolveOpenPermits(), 0);
  assert.equal(store.ledger.fault, undefined);
  assert.equal((await store.ledger.verify()).broken, undefined);
}));

test('entries cannot be updated or deleted through SQL', () => withStore(async (store) => {
  await store.ledger.append(verdictOf('act_1'));
  const other = new DatabaseSync(join(store.folder, 'backstop.db'));
  assert.throws(() => other.exec('UPDATE ledger SET at = \'\''), /append-only/);
  assert.throws(() => other.exec('DELETE FROM ledger'), /append-only/);
  other.close();
}));

test('verify names the first entry that was changed, removed or added behind SQLite\'s back', async () => {
  const store = openStore();
  for (let index = 1; index <= 5; index += 1) await store.ledger.append(verdictOf(`act_${index}`));
  await store.close();
  const tampered = async (sql: string): Promise<number | undefined> => {
    const copy = newFolder();
    const file = join(copy, 'backstop.db');
    writeFileSync(file, readFileSync(join(store.folder, 'backstop.db')));
    const raw = new DatabaseSync(file);
    raw.exec(`DROP TRIGGER ledger_is_never_updated; DROP TRIGGER ledger_is_never_deleted; ${sql}`);
    raw.close();
    const opened = openStore(copy);
    const { broken } = await opened.ledger.verify();
    await opened.close();
    rmSync(copy, { recursive: true });
    return broken?.seq;
  };
  assert.equal(await tampered('SELECT 1'), undefined);
  assert.equal(await tampered('UPDATE ledger SET body = replace(body, \'act_3\', \'act_9\') WHERE seq = 3'), 3);
  assert.equal(await tampered('UPDATE ledger SET at = \'2000\' WHERE seq = 2'), 2);
  assert.equal(await tampered('UPDATE ledger SET hash = \'0\' WHERE seq = 4'), 4);
  assert.equal(await tampered('DELETE FROM ledger WHERE seq = 2'), 2);
  assert.equal(await tampered('DELETE FROM ledger WHERE seq = 5'), 5);
  assert.equal(await tampered('DELETE FROM ledger'), 1);
  assert.equal(await tampered('DELETE FROM ledger_head'), 1);
  assert.equal(await tampered('INSERT INTO ledger SELECT 6, at, kind, body, hash FROM ledger WHERE seq = 5'), 6);
  assert.equal(await tampered('INSERT INTO ledger SELECT -1, at, kind, body, hash FROM ledger WHERE seq = 5'), -1);
  assert.equal(await tampered('UPDATE ledger SET body = CAST(body AS BLOB) WHERE seq = 1'), 1);
});

test('any one byte of an entry that is changed in the file is found', async () => {
  const store = openStore();
  for (let index = 1; index <= 4; index += 1) await store.ledger.append(verdictOf(`act_${index}`));
  await store.close();
  const file = join(store.folder, 'backstop.db');
  const original = readFileSync(file);
  const first = original.indexOf('"act_1"');
  assert.ok(first > 0);
  await fc.assert(fc.asyncProperty(fc.integer({ min: -200, max: 400 }), fc.integer({ min: 1, max: 255 }), async (offset, flip) => {
    const changed = Buffer.from(original);
    changed.writeUInt8(changed.readUInt8(first + offset) ^ flip, first + offset);
    writeFileSync(file, changed);
    const opened = openStore(store.folder);
    try {
      return (await opened.ledger.verify()).broken !== undefined;
    } finally {
      await opened.close();
    }
  }), { numRuns: 40 });
  rmSync(store.folder, { recursive: true });
});

const appender = `
  import { openStore, verdictOf } from ${JSON.stringify(new URL('../../test/fixtures/store.ts', import.meta.url).href)};
  const [folder, name, count] = process.argv.slice(1);
  const store = openStore(folder);
  for (let index = 0; index < Number(count); index += 1) {
    await store.ledger.issue(verdictOf(name + index));
    process.stdout.write(name + index + '\\n');
  }
  if (name === 'killed') setInterval(() => undefined, 1000); else await store.close();
`;

function append(folder: string, name: string, count: number): ReturnType<typeof spawn> {
  return spawn(process.execPath, ['--input-type=module', '-e', appender, folder, name, String(count)], { stdio: ['ignore', 'pipe', 'inherit'] });
}

test('two processes append to one chain', async () => {
  const folder = newFolder();
  const children = ['a', 'b'].map((name) => append(folder, name, 50));
  await Promise.all(children.map(async (child) => assert.deepEqual(await once(child, 'exit'), [0, null])));
  const store = openStore(folder);
  assert.deepEqual(await store.ledger.verify(), { entries: 100, broken: undefined });
  await store.close();
  rmSync(folder, { recursive: true });
});

test('a permit whose process was killed gets the outcome unknown at start-up, and no recorded verdict is lost', async () => {
  const folder = newFolder();
  const child = append(folder, 'killed', 3);
  let said = '';
  assert.ok(child.stdout !== null);
  for await (const chunk of child.stdout) {
    said += String(chunk);
    if (said.includes('killed2')) break;
  }
  child.kill('SIGKILL');
  const store = openStore(folder);
  assert.equal(await store.ledger.resolveOpenPermits(), 3);
  assert.deepEqual((await bodies(store)).map((body) => body.kind), ['verdict', 'verdict', 'verdict', 'outcome', 'outcome', 'outcome']);
  await store.close();
  rmSync(folder, { recursive: true });
});

test('a store of a newer version, one that is no database and a folder that is a file are each refused by name', async () => {
  const newer = newFolder();
  const raw = new DatabaseSync(join(newer, 'backstop.db'));
  raw.exec('PRAGMA user_version = 999');
  raw.close();
  assert.throws(() => openStore(newer), (error) => error instanceof Failure && error.code === 'data_version' && error.message.includes('999'));
  const garbage = newFolder();
  writeFileSync(join(garbage, 'backstop.db'), 'this is no database, but it is long enough to be taken for one'.repeat(100));
  assert.throws(() => openStore(garbage), (error) => error instanceof Failure && error.code === 'store_unavailable');
  assert.throws(() => openStore(join(garbage, 'backstop.db')), (error) => error instanceof Failure && error.code === 'store_unavailable');
  chmodSync(garbage, 0o700);
});

test('one process serves from a folder at a time, and its end frees it', async () => {
  const store = openStore();
  store.database.claim();
  const second = openStore(store.folder);
  assert.throws(() => { second.database.claim(); }, (error) => error instanceof Failure && error.code === 'conflict');
  await store.close();
  second.database.claim();
  await second.close();
});
