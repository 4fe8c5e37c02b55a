/**
 * Nodes of one store: a permit belongs to its node; when the node's lease has ended another one settles what it left, and
 * from then on it can append nothing in its old name; a node that lives on joins again and goes on.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../core/failure.ts';
import type { EntryBody, OutcomeBody } from '../core/ledger/entry.ts';
import { createLedger } from './ledger.ts';
import { joinNodes, leaseMs, resolveLeft } from './nodes.ts';
import { systemClock, type Clock } from '../lib/clock.ts';
import { openStore, readOf, stores, verdictOf, withStore } from '../../test/fixtures/store.ts';
import type { Ledger } from './ledger.ts';
import type { StorePlace } from './database.ts';

const committed = { kind: 'committed', rows: 1, durationMs: 1 } as const;
const isUnavailable = (error: unknown): boolean => error instanceof Failure && error.code === 'ledger_unavailable';

async function outcomes(ledger: Ledger): Promise<readonly (readonly [id: string, outcome: string])[]> {
  const bodies = (await ledger.entriesAfter(0, 10_000)).map((entry) => JSON.parse(entry.body) as EntryBody);
  return bodies.filter((body): body is OutcomeBody => body.kind === 'outcome').map((body) => [body.actionId, body.outcome]);
}

/** As if it had not been renewed for long. */
async function endLease(place: StorePlace, id: string): Promise<void> {
  await stores().run(place, `UPDATE node SET lease_until = 1 WHERE id = '${id}'`);
}

test('a permit of a node whose lease has ended is settled as unknown by another, once', () => withStore(async ({ place, ledger }) => {
  const [one, two] = [await openStore(place, undefined, 'one'), await openStore(place, undefined, 'two')];
  await one.ledger.issue(verdictOf('act_1'));
  const kept = await two.ledger.issue(verdictOf('act_2'));
  await two.node?.renew();
  assert.deepEqual(await outcomes(ledger), [], 'both nodes live');
  await endLease(place, 'one');
  const three = await openStore(place, undefined, 'three');
  assert.deepEqual(await outcomes(ledger), [['act_1', 'unknown']]);
  await Promise.all([two.node?.renew(), three.node?.renew(), two.node?.renew()]);
  await two.ledger.settle(kept, committed);
  assert.deepEqual(await outcomes(ledger), [['act_1', 'unknown'], ['act_2', 'committed']]);
  assert.equal((await ledger.verify()).broken, undefined);
  for (const store of [one, two, three]) await store.close();
}));

test('a node that was given up can append nothing until it has joined again under another name', () => withStore(async ({ place, ledger }) => {
  const one = await openStore(place, undefined, 'one');
  const permit = await one.ledger.issue(verdictOf('act_1'));
  await endLease(place, 'one');
  await (await openStore(place, undefined, 'two')).close();
  const before = await ledger.head();
  await assert.rejects(one.ledger.issue(verdictOf('act_2')), isUnavailable);
  await assert.rejects(one.ledger.settle(permit, committed), isUnavailable);
  assert.deepEqual(await ledger.head(), before);
  await one.node?.renew();
  assert.equal(one.node?.id, 'one-2');
  await one.ledger.issue(verdictOf('act_3'));
  const permits = await stores().run(place, 'SELECT action_id, node_id FROM open_permit');
  assert.deepEqual(permits.map((row) => ({ ...row })), [{ action_id: 'act_3', node_id: 'one-2' }]);
  // What it knew all the time is still worth recording, after the unknown.
  assert.deepEqual(await outcomes(ledger), [['act_1', 'unknown'], ['act_1', 'committed']]);
  await one.close();
}));

test('a node that slept through its lease goes on if nobody has given it up', () => withStore(async ({ place, ledger }) => {
  const one = await openStore(place, undefined, 'one');
  const permit = await one.ledger.issue(verdictOf('act_1'));
  await endLease(place, 'one');
  await one.node?.renew();
  await one.ledger.settle(permit, committed);
  assert.equal(one.node?.id, 'one');
  assert.deepEqual(await outcomes(ledger), [['act_1', 'committed']]);
  await one.close();
}));

test('reads are permitted from memory only while the node knows that its lease holds', () => withStore(async ({ database }) => {
  let ms = 0;
  const clock: Clock = { now: () => systemClock.now(), monotonicMs: () => ms };
  const node = await joinNodes({ database, clock, place: 'p', host: 'h', pid: 1, newId: () => 'nod_1' });
  const ledger = createLedger({ database, clock, node });
  await ledger.settle(ledger.issueRead(readOf('act_1')), committed);
  ms += leaseMs - 1_001;
  await ledger.settle(ledger.issueRead(readOf('act_2')), committed);
  ms += 1;
  assert.throws(() => ledger.issueRead(readOf('act_3')), isUnavailable, 'a second before the others may think it dead');
  await node.renew();
  await ledger.settle(ledger.issueRead(readOf('act_4')), committed);
  await ledger.close();
  await node.leave();
  assert.equal(node.isLeased, false);
}));

test('what is left of a folder whose claim is held is settled at once, whatever its lease says', () => withStore(async ({ place, ledger, database }) => {
  const [one, two] = [await openStore(place, undefined, 'one'), await openStore(place, undefined, 'two')];
  await one.ledger.issue(verdictOf('act_1'));
  await two.ledger.issue(verdictOf('act_2'));
  assert.equal(await resolveLeft({ database, clock: systemClock }), 0);
  assert.equal(await resolveLeft({ database, clock: systemClock }, { place: 'place of one', pid: process.pid + 1 }), 0);
  assert.equal(await resolveLeft({ database, clock: systemClock }, { place: 'place of one', pid: process.pid }), 1);
  assert.equal(await resolveLeft({ database, clock: systemClock }, { place: 'place of two' }), 1);
  assert.deepEqual(await outcomes(ledger), [['act_1', 'unknown'], ['act_2', 'unknown']]);
  await one.close();
  await two.close();
}));

test('a node that leaves with reads still running has them settled by the next that looks', () => withStore(async ({ place, ledger }) => {
  const [one, two] = [await openStore(place, undefined, 'one'), await openStore(place, undefined, 'two')];
  one.ledger.issueRead(readOf('act_slow'));
  await one.close();
  await two.node?.renew();
  assert.deepEqual(await outcomes(ledger), [['act_slow', 'unknown']]);
  assert.deepEqual((await stores().run(place, 'SELECT id FROM node')).map(({ id }) => id), ['two']);
  await two.close();
}));

test('many nodes that append, die and take over at once make one chain in which each permit ends once', () => withStore(async ({ place, ledger }) => {
  const all = await Promise.all(['a', 'b', 'c', 'd'].map((name) => openStore(place, undefined, name)));
  await Promise.all(all.map(async (store, index) => {
    for (let count = 0; count < 25; count += 1) {
      const permit = await store.ledger.issue(verdictOf(`act_${index}_${count}`)).catch(() => undefined);
      if (count % 10 === 5) await endLease(place, store.node?.id ?? '');
      if (count % 5 === 0) await store.node?.renew();
      if (permit !== undefined && count % 3 !== 0) await store.ledger.settle(permit, committed).catch(() => undefined);
    }
  }));
  for (const store of all) { await store.node?.renew(); await store.close(); }
  await ledger.resolveOpenPermits();
  const bodies = (await ledger.entriesAfter(0, 10_000)).map((entry) => JSON.parse(entry.body) as EntryBody);
  const allowed = bodies.flatMap((body) => (body.kind === 'verdict' ? [body.actionId] : []));
  const ended = await outcomes(ledger);
  for (const id of allowed) {
    const said = ended.filter(([of]) => of === id).map(([, outcome]) => outcome).join(' ');
    assert.match(said, /^(committed|unknown|unknown committed)$/, `${id}: ${said}`);
  }
  assert.equal((await ledger.verify()).broken, undefined);
}));
