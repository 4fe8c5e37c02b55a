/**
 * Another policy takes its place whole, on record and only then; a bad one leaves the old one in force and says so.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../core/failure.ts';
import type { EntryBody, PolicyBody } from '../core/ledger/entry.ts';
import { parsePolicy } from '../core/policy/policy.ts';
import { systemClock } from '../lib/clock.ts';
import { createLog } from '../lib/log.ts';
import { withStore, type TestStore } from '../../test/fixtures/store.ts';
import { startPolicy, type PolicyInForce } from './policy-in-force.ts';

const file = (high: string): string => `name: test\ndescription: d\nlevels: { SAFE: allow, LOW: allow, HIGH: ${high}, CRITICAL: deny }\n`;

interface Scene { readonly store: TestStore; readonly policy: PolicyInForce; readonly lines: string[]; readonly results: string[]; write(text: string): void }

function scene(work: (scene: Scene) => Promise<void>): Promise<void> {
  return withStore(async (store) => {
    let text = file('hold');
    const [lines, results]: [string[], string[]] = [[], []];
    const policy = await startPolicy({
      load: () => Promise.resolve().then(() => parsePolicy(text, 'test.yaml')), ledger: store.ledger, clock: systemClock,
      log: createLog({ level: 'info', destination: { write: (line) => { lines.push(line); } } }), onReload: (result) => { results.push(result); },
    });
    await work({ store, policy, lines, results, write: (changed) => { text = changed; } });
  });
}

async function recorded({ store }: Scene): Promise<readonly PolicyBody[]> {
  return (await store.ledger.entriesAfter(0, 100)).map((entry) => JSON.parse(entry.body) as EntryBody).filter((body) => body.kind === 'policy');
}

test('another policy is in force, wakes who waits, and is on record with both hashes', () => scene(async (on) => {
  const [first, waiting] = [on.policy.current(), on.policy.untilChanged()];
  on.write(file('deny'));
  assert.equal(await on.policy.reload('file'), true);
  assert.equal(on.policy.current().levels.HIGH, 'deny');
  assert.deepEqual([waiting.aborted, on.policy.untilChanged().aborted], [true, false]);
  assert.deepEqual((await recorded(on)).map(({ change, trigger, policyHash, previousHash }) => [change, trigger, policyHash, previousHash]), [
    ['in-force', 'start', first.hash, null], ['in-force', 'file', on.policy.current().hash, first.hash],
  ]);
  assert.deepEqual(on.results, ['changed']);
}));

test('a bad file leaves the old policy in force, and says where the mistake is until a good one comes', () => scene(async (on) => {
  const [first, waiting] = [on.policy.current(), on.policy.untilChanged()];
  on.write(file('hld'));
  assert.equal(await on.policy.reload('file'), true);
  assert.equal(on.policy.current(), first);
  assert.equal(waiting.aborted, false);
  assert.match(on.policy.refusal?.why ?? '', /^test\.yaml:3:42: `levels\.HIGH` is "hld"; allowed: allow, hold, deny/);
  assert.match(on.lines.join(''), /"level":50.*refused and the old one stays in force: test\.yaml:3:42/);
  const [, entry] = await recorded(on);
  assert.deepEqual([entry?.change, entry?.policyHash, entry?.note?.slice(0, 15)], ['refused', first.hash, 'test.yaml:3:42:']);
  on.write(file('hold'));
  await on.policy.reload('signal');
  assert.equal(on.policy.refusal, undefined);
  assert.deepEqual(on.results, ['refused', 'unchanged']);
}));

test('a file that was written while it was read is neither taken nor refused, and is tried again', () => scene(async (on) => {
  const first = on.policy.current();
  for (const half of [file('allow'), 'name: te']) {
    on.write(half);
    assert.equal(await on.policy.reload('file', () => Promise.resolve(false)), false);
    assert.equal(on.policy.current(), first);
  }
  assert.deepEqual([on.policy.refusal, on.results, (await recorded(on)).length], [undefined, [], 1]);
  on.write(file('deny'));
  assert.equal(await on.policy.reload('file', () => Promise.resolve(true)), true);
  assert.equal(on.policy.current().levels.HIGH, 'deny');
}));

test('a policy that cannot be put on record is not in force, and is tried again', () => scene(async (on) => {
  const first = on.policy.current();
  await on.store.database.queries.schema.alterTable('ledger_head').renameTo('gone').execute();
  on.write(file('allow'));
  assert.equal(await on.policy.reload('file'), false);
  assert.equal(on.policy.current(), first);
  await on.store.database.queries.schema.alterTable('gone').renameTo('ledger_head').execute();
  assert.equal(await on.policy.reload('file'), true);
  assert.equal(on.policy.current().levels.HIGH, 'allow');
}));

test('reloads at the same time come one after the other', () => scene(async (on) => {
  on.write(file('deny'));
  await Promise.all([on.policy.reload('file'), on.policy.reload('signal'), on.policy.reload('file')]);
  assert.equal((await recorded(on)).length, 2);
}));

test('without a policy to begin with nothing starts', () => withStore(async (store) => {
  const load = (): Promise<never> => Promise.reject(new Failure('policy_invalid', 'no'));
  await assert.rejects(startPolicy({ load, ledger: store.ledger, clock: systemClock, log: createLog({ level: 'silent' }) }), /no/);
}));
