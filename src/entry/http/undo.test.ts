/** How an operator's undo over HTTP is read, and that nothing that is misread changes anything. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Hono } from 'hono';
import { Failure } from '../../core/failure.ts';
import { addUndoRoute, type UndoCall } from './undo.ts';

const calls: UndoCall[] = [];
const app = new Hono();
addUndoRoute(app, (call) => {
  calls.push(call);
  if (call.token === 'bso_other') return Promise.reject(new Failure('conflict', '2 rows cannot be undone', { detail: 't (1): it was deleted since' }));
  return Promise.resolve({ database: 'shop', points: [], rowsLeft: 0 });
});
const post = async (query: string, authorization = 'Bearer bso_1'): Promise<Response> => app.fetch(new Request(`http://local/v1/actions/act_1/undo${query}`, { method: 'POST', headers: authorization === '' ? {} : { authorization } }));

const given: readonly (readonly [query: string, call: Omit<UndoCall, 'token' | 'actionId'>])[] = [
  ['', { isDry: false, policy: { onConflict: 'refuse', merges: false } }],
  ['?dry=true', { isDry: true, policy: { onConflict: 'refuse', merges: false } }],
  ['?dry=false&on_conflict=skip&merge=true', { isDry: false, policy: { onConflict: 'skip', merges: true } }],
  ['?on_conflict=force', { isDry: false, policy: { onConflict: 'force', merges: false } }],
];
for (const [query, call] of given) {
  test(`it is read: ${query}`, async () => {
    calls.length = 0;
    const response = await post(query);
    assert.equal(response.status, 200);
    assert.deepEqual(await response.json(), { database: 'shop', points: [], rowsLeft: 0 });
    assert.deepEqual(calls, [{ token: 'bso_1', actionId: 'act_1', ...call }]);
  });
}

const misread: readonly (readonly [query: string, authorization: string, status: number])[] = [
  ['?dry=yes', 'Bearer bso_1', 400], ['?dr=true', 'Bearer bso_1', 400], ['?on_conflict=overwrite', 'Bearer bso_1', 400], ['?merge=1', 'Bearer bso_1', 400], ['', '', 403], ['', 'Basic abc', 403],
];
for (const [query, authorization, status] of misread) {
  test(`it is refused: ${query} ${authorization}`, async () => {
    calls.length = 0;
    assert.equal((await post(query, authorization)).status, status);
    assert.deepEqual(calls, []);
  });
}

test('what cannot be done is a problem document with its code', async () => {
  const response = await post('', 'Bearer bso_other');
  assert.equal(response.status, 409);
  assert.equal(response.headers.get('content-type'), 'application/problem+json');
  const { code, detail, more } = await response.json() as Record<string, string>;
  assert.deepEqual([code, detail, more], ['conflict', '2 rows cannot be undone', 't (1): it was deleted since']);
});
