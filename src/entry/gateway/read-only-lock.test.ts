/** The lock opens and closes when it must and no oftener, and the client sees its own value only. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decodeFrontend } from '../../lib/pgwire/frontend-decode.ts';
import { FrameReader } from '../../lib/pgwire/frame-reader.ts';
import { sessionLimits } from '../../lib/pgwire/frame-limits.ts';
import { Bug } from '../../lib/assert.ts';
import { nothing } from '../../core/risk.ts';
import type { SessionChange, Statement } from '../../core/sql/statement.ts';
import { canRunLocked, ReadOnlyLock, type Switch } from './read-only-lock.ts';

const begun = (own = 'off', isDeferrable = false): ReadOnlyLock => new ReadOnlyLock({ own, isDeferrable });
/** What a switch sets, as the server reads it; null: a RESET. */
function valueOf(switching: Switch | undefined): string | null | undefined {
  if (switching === undefined) return undefined;
  const reader = new FrameReader(sessionLimits(1_000));
  reader.push(switching.bytes);
  const frame = reader.next();
  assert.ok(frame !== undefined && reader.next() === undefined, 'one message');
  const message = decodeFrontend(frame);
  assert.ok(message.kind === 'function-call' && message.functionOid === 2078);
  const [name, value, isLocal] = message.values;
  assert.equal(name?.toString(), 'default_transaction_read_only');
  assert.equal(isLocal?.toString(), 'f');
  return value?.toString() ?? null;
}

describe('the lock', () => {
  test('costs a session that only reads nothing, and neither does work that begins no transaction', () => {
    const lock = begun();
    assert.equal(lock.switchFor('locked'), undefined);
    assert.equal(lock.switchFor('any'), undefined);
    assert.equal(lock.stands, 'locked');
  });

  test('opens once in front of other work, and closes only when the next read comes', () => {
    const lock = begun();
    assert.equal(valueOf(lock.switchFor('own')), null);
    assert.equal(lock.switchFor('own'), undefined);
    assert.equal(lock.switchFor('any'), undefined);
    assert.equal(valueOf(lock.switchFor('locked')), 'on');
    assert.equal(lock.switchFor('locked'), undefined);
  });

  test('brings back the value that the client has set, and a RESET as long as it has set none', () => {
    const lock = begun();
    lock.switchFor('own');
    assert.equal(lock.reported('on', undefined), true, 'the client set it');
    lock.switchFor('locked');
    assert.equal(valueOf(lock.switchFor('own')), 'on');
    assert.equal(lock.reported('off', undefined), true);
    lock.switchFor('locked');
    assert.equal(valueOf(lock.switchFor('own')), 'off');
  });

  test('brings it back from where it came, after a RESET too', () => {
    const lock = begun();
    const setting = (value?: string): SessionChange => ({ kind: 'setting', name: 'default_transaction_read_only', ...(value === undefined ? {} : { value }) });
    const back = (...changes: readonly SessionChange[]): string | null | undefined => {
      lock.switchFor('own');
      lock.follow({ changes });
      lock.switchFor('locked');
      return valueOf(lock.switchFor('own'));
    };
    assert.equal(back(setting('off')), 'off', 'set to what it was anyway');
    assert.equal(back(setting()), null);
    assert.equal(back({ kind: 'setting', name: 'session characteristics' }), 'off');
    assert.equal(back({ kind: 'reset-all' }), null);
    lock.reported('on', undefined);
    assert.equal(back(), 'on', 'a value that the session did not begin with was set');
  });

  test('shows the client its own value only', () => {
    const lock = begun();
    lock.switchFor('own');
    assert.equal(lock.reported('off', { to: 'own' }), false, 'it knows that');
    lock.switchFor('locked');
    assert.equal(lock.reported('on', { to: 'locked' }), false, 'that is ours');
    lock.switchFor('own');
    assert.equal(lock.reported('on', { to: 'own' }), true, 'the operator changed the default meanwhile');
  });

  test('is closed again when something opened it that should not have been able to', () => {
    const lock = begun();
    assert.equal(lock.reported('off', undefined), false, 'to the client nothing changed');
    assert.equal(valueOf(lock.switchFor('locked')), 'on');
  });

  test('that did not close is a bug, which ends the session', () => {
    const lock = begun();
    lock.switchFor('own');
    lock.switched({ to: 'own' }, 'off');
    assert.throws(() => { lock.switched({ to: 'locked' }, 'off'); }, Bug);
    assert.throws(() => { lock.switched({ to: 'locked' }, null); }, Bug);
  });

  const deferrable = (value?: string): SessionChange => ({ kind: 'setting', name: 'default_transaction_deferrable', ...(value === undefined ? {} : { value }) });
  const follow = (lock: ReadOnlyLock, ...changes: readonly SessionChange[]): void => { lock.follow({ changes }); };

  test('stays open while the client wants deferrable transactions, which would wait', () => {
    const lock = begun();
    follow(lock, deferrable('on'));
    assert.equal(valueOf(lock.switchFor('locked')), null, 'it opens even for a read');
    assert.equal(lock.switchFor('locked'), undefined);
    for (const back of [deferrable('off'), deferrable(), { kind: 'reset-all' } as const]) {
      follow(lock, deferrable('on'));
      lock.switchFor('locked');
      follow(lock, back);
      assert.equal(valueOf(lock.switchFor('locked')), 'on');
    }
  });

  test('stays open from the beginning where that is the default, and again after a RESET', () => {
    const lock = begun('off', true);
    assert.equal(valueOf(lock.switchFor('locked')), null);
    follow(lock, deferrable('off'));
    assert.equal(valueOf(lock.switchFor('locked')), 'on');
    follow(lock, { kind: 'reset-all' });
    assert.equal(valueOf(lock.switchFor('locked')), null);
  });
});

describe('work that runs locked', () => {
  const statement = (node: string): Statement => ({ node, text: '', own: nothing, changes: [], mentions: { relations: [], functions: [], operators: [], types: [], attributes: [], ctes: [] } });
  const safe = nothing;
  const rows: readonly (readonly [nodes: readonly string[], risk: typeof nothing, expected: boolean, why: string])[] = [
    [['SelectStmt', 'ExplainStmt', 'CopyStmt', 'ExecuteStmt', 'VariableShowStmt'], safe, true, 'these only read'],
    [[], safe, true, 'the empty query does nothing'],
    [['SelectStmt'], { ...safe, level: 'LOW' }, false, 'it may not be refused what it was allowed'],
    [['TransactionStmt'], safe, false, 'what BEGIN starts is the client\'s own'],
    [['SelectStmt', 'TransactionStmt'], safe, false, 'one of several is enough'],
    [['DeallocateStmt'], safe, false, 'no kind but those that read'],
    [['SelectStmt'], { ...safe, effects: [{ kind: 'read', objectKind: 'setting' }] }, false, 'it looks whether it may write'],
    [['SelectStmt'], { ...safe, effects: [{ kind: 'read', objectKind: 'table', object: 'public.t' }] }, true, 'it looks at a table'],
  ];
  for (const [nodes, risk, expected, why] of rows) {
    test(`is ${expected ? '' : 'not '}${nodes.join('; ') || 'nothing'} at ${risk.level}: ${why}`, () => { assert.equal(canRunLocked(risk, nodes.map(statement)), expected); });
  }
});
