/** Who may speak: agents by verifier, operators by token hash, neither token kept. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../core/failure.ts';
import { stores, withStore } from '../../test/fixtures/store.ts';

const failsWith = (code: string) => (error: unknown): boolean => error instanceof Failure && error.code === code;

test('an agent logs in with its newest token until it is revoked', () => withStore(async ({ identities }) => {
  const { agent, token } = await identities.addAgent('ada', 'shop', 'olga');
  assert.match(token, /^bsa_[A-Za-z0-9_-]{43}$/);
  assert.deepEqual([agent.database, agent.generation], ['shop', 1]);
  const rotated = await identities.rotateAgent('ada', 'olga');
  assert.notEqual(rotated.token, token);
  assert.equal((await identities.findLogin('ada'))?.generation, 2);
  await identities.revokeAgent('ada', 'olga');
  assert.equal(await identities.findLogin('ada'), undefined);
  assert.equal((await identities.listAgents())[0]?.generation, 3);
}));

test('a generation is told of each agent that is asked about and not revoked', () => withStore(async ({ identities }) => {
  for (const name of ['ada', 'bob', 'eve']) await identities.addAgent(name, null, 'olga');
  await identities.rotateAgent('bob', 'olga');
  await identities.revokeAgent('eve', 'olga');
  assert.deepEqual(await identities.generationsOf(['bob', 'eve', 'nobody']), new Map([['bob', 2]]));
}));

test('a name is taken once, must be a name, and a revoked agent stays revoked', () => withStore(async ({ identities }) => {
  await identities.addAgent('ada', null, 'olga');
  await assert.rejects(identities.addAgent('ada', null, 'olga'), failsWith('conflict'));
  for (const name of ['', 'Ada', '1a', 'a b', 'a\0', `a${'b'.repeat(63)}`]) await assert.rejects(identities.addAgent(name, null, 'olga'), failsWith('usage'));
  await identities.revokeAgent('ada', 'olga');
  await assert.rejects(identities.rotateAgent('ada', 'olga'), failsWith('conflict'));
  await assert.rejects(identities.rotateAgent('bob', 'olga'), failsWith('not_found'));
}));

test('only an operator\'s token speaks for an operator', () => withStore(async ({ identities }) => {
  assert.equal(await identities.hasOperators(), false);
  const { token } = await identities.addOperator('olga');
  const agent = await identities.addAgent('ada', null, 'olga');
  assert.equal(await identities.authenticateOperator(token), 'olga');
  for (const wrong of [agent.token, `${token}x`, '', 'bso_']) await assert.rejects(identities.authenticateOperator(wrong), failsWith('not_permitted'));
}));

test('no token is in the store', () => withStore(async ({ identities, place }) => {
  const tokens = [(await identities.addAgent('ada', null, 'olga')).token, (await identities.addOperator('olga')).token];
  const tables = ['agent', 'operator', 'ledger'];
  const kept = JSON.stringify(await Promise.all(tables.map((table) => stores().run(place, `SELECT * FROM ${table}`))));
  assert.ok(kept.includes('olga'));
  for (const token of tokens) assert.equal(kept.includes(token.slice(4)), false);
}));
