/**
 * The ledger in a real store: permits only after the record, batches of reads, a bound when it cannot be written, tampering
 * that is found, several processes, and a process that is killed.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { Failure } from '../core/failure.ts';
import type { EntryBody } from '../core/ledger/entry.ts';
import type { StorePlace } from './database.ts';
import { readsMax } from './read-batch.ts';
import { openStore, placeToText, readOf, stores, verdictOf, withStore, type TestStore } from '../../test/fixtures/store.ts';

const committed = { kind: 'committed', rows: 1, durationMs: 2.5 } as const;

async function bodies(store: TestStore): Promise<EntryBody[]> {
  return (await store.ledger.entriesAfter(0, 10_000)).map((entry) => JSON.parse(entry.body) as EntryBody);
}

const isUnavailable = (error: unknown): boolean => error instanceof Failure && error.code === 'ledger_unavailable';

test('a permit exists only after its verdict is in the store', () => withStore(async (store) => {
  const permit = await store.ledger.issue(verdictOf('act_1'));
  assert.deepEqual((await stores().run(store.place, 'SELECT kind FROM ledger')).map((row) => row['kind']), ['verdict']);
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
  const store = await openStore();
  for (let index = 0; index < 450; index += 1) {
    void store.ledger.settle(store.ledger.issueRead(readOf(`act_${index}`, index % 2 === 0 ? 'SELECT a' : 'SELECT b')), committed);
  }
  await store.close();
  const again = await openStore(store.place);
  const reads = (await bodies(again)).filter((body) => body.kind === 'reads');
  assert.equal(reads.length, 3);
  assert.equal(reads.reduce((sum, body) => sum + body.reads.length, 0), 450);
  assert.deepEqual(reads[0]?.texts.map(({ text }) => text), ['SELECT a', 'SELECT b']);
  assert.equal(await again.ledger.resolveOpenPermits(), 0);
  await again.close();
});

test('a read that is still running at close is on record as open, and start-up settles it', async () => {
  const store = await openStore();
  store.ledger.issueRead(readOf('act_slow'));
  await store.close();
  const again = await openStore(store.place);
  assert.equal(await again.ledger.resolveOpenPermits(), 1);
  const last = (await bodies(again)).at(-1);
  assert.ok(last?.kind === 'outcome' && last.actionId === 'act_slow' && last.outcome === 'unknown' && last.note !== null);
  assert.equal(await again.ledger.resolveOpenPermits(), 0);
  await again.close();
});

test('when the record cannot be written nothing risky gets a permit, reads stop at the bound, and all is written once it can be again', () => withStore(async (store) => {
  const outcomeLate = await store.ledger.issue(verdictOf('act_0'));
  await stores().run(store.place, stores().block);
  await assert.rejects(store.ledger.issue(verdictOf('act_1')), isUnavailable);
  await assert.rejects(store.ledger.settle(outcomeLate, committed), isUnavailable);
  for (let index = 0; index < readsMax - 1; index += 1) void store.ledger.settle(store.ledger.issueRead(readOf(`r${index}`)), committed);
  assert.throws(() => store.ledger.issueRead(readOf('one too many')), isUnavailable);
  assert.ok(store.ledger.fault !== undefined);
  await stores().run(store.place, stores().unblock);
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
  for (const sql of ['UPDATE ledger SET at = \'\'', 'DELETE FROM ledger']) await assert.rejects(async () => stores().run(store.place, sql), /append-only/);
}));

const tampering: readonly (readonly [sql: string, broken: number | undefined])[] = [
  ['SELECT 1', undefined],
  ['UPDATE ledger SET body = replace(body, \'act_3\', \'act_9\') WHERE seq = 3', 3],
  ['UPDATE ledger SET at = \'2000\' WHERE seq = 2', 2],
  ['UPDATE ledger SET hash = \'0\' WHERE seq = 4', 4],
  ['DELETE FROM ledger WHERE seq = 2', 2],
  ['DELETE FROM ledger WHERE seq = 5', 5],
  ['DELETE FROM ledger', 1],
  ['DELETE FROM ledger_head', 1],
  ['INSERT INTO ledger SELECT 6, at, kind, body, hash FROM ledger WHERE seq = 5', 6],
  ['INSERT INTO ledger SELECT -1, at, kind, body, hash FROM ledger WHERE seq = 5', -1],
];
for (const [sql, broken] of tampering) {
  test(`verify names the first entry that is wrong after: ${sql}`, () => withStore(async ({ ledger, place }) => {
    for (let index = 1; index <= 5; index += 1) await ledger.append(verdictOf(`act_${index}`));
    await stores().run(place, stores().disarm);
    await stores().run(place, sql);
    assert.equal((await ledger.verify()).broken?.seq, broken);
  }));
}

const appender = `
  import { openStore, placeFromText, verdictOf } from ${JSON.stringify(new URL('../../test/fixtures/store.ts', import.meta.url).href)};
  const [place, name, count] = process.argv.slice(1);
  const store = await openStore(placeFromText(place));
  for (let index = 0; index < Number(count); index += 1) {
    await store.ledger.issue(verdictOf(name + index));
    process.stdout.write(name + index + '\\n');
  }
  if (name === 'killed') setInterval(() => undefined, 1000); else await store.close();
`;

function append(place: StorePlace, name: string, count: number): ReturnType<typeof spawn> {
  return spawn(process.execPath, ['--input-type=module', '-e', appender, placeToText(place), name, String(count)], { stdio: ['ignore', 'pipe', 'inherit'] });
}

test('two processes append to one chain', async () => {
  const place = await stores().newPlace();
  const children = ['a', 'b'].map((name) => append(place, name, 50));
  await Promise.all(children.map(async (child) => assert.deepEqual(await once(child, 'exit'), [0, null])));
  const store = await openStore(place);
  assert.deepEqual(await store.ledger.verify(), { entries: 100, broken: undefined });
  await store.close();
  await stores().remove(place);
});

test('a permit whose process was killed gets the outcome unknown at start-up, and no recorded verdict is lost', async () => {
  const place = await stores().newPlace();
  const child = append(place, 'killed', 3);
  let said = '';
  assert.ok(child.stdout !== null);
  for await (const chunk of child.stdout) {
    said += String(chunk);
    if (said.includes('killed2')) break;
  }
  child.kill('SIGKILL');
  const store = await openStore(place);
  assert.equal(await store.ledger.resolveOpenPermits(), 3);
  assert.deepEqual((await bodies(store)).map((body) => body.kind), ['verdict', 'verdict', 'verdict', 'outcome', 'outcome', 'outcome']);
  await store.close();
  await stores().remove(place);
});
