/** The names of a session follow the server through errors, transaction ends, DEALLOCATE and DISCARD. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../../core/failure.ts';
import { nothing } from '../../core/risk.ts';
import type { Statement } from '../../core/sql/statement.ts';
import { bytesPerName, namedBytesMax, treeBytesPerCharacter } from './limits.ts';
import { Registry, type Portal, type Prepared } from './registry.ts';

const noMentions = { relations: [], functions: [], operators: [], types: [], attributes: [], ctes: [] };
const statement = (text: string): Statement => ({ node: 'SelectStmt', text, own: nothing, mentions: noMentions, changes: [] });
const prepared = (text: string): Prepared => ({ source: text, statement: statement(text), parameterTypes: [] });
const portal = (text: string, hold = false): Portal => ({ source: text, statement: statement(text), epoch: 0, hold, committed: false });

test('wire Parse and SQL PREPARE share one name space in both directions (H10)', () => {
  const registry = new Registry();
  registry.prepare('q', prepared('SELECT 1'));
  assert.equal(registry.preparedStatements.get('q')?.text, 'SELECT 1');
  registry.apply([{ kind: 'prepare', name: 'q', body: statement('DELETE FROM t') }], 'PREPARE q AS DELETE FROM t', 0);
  assert.equal(registry.prepared('q')?.statement?.text, 'DELETE FROM t');
});

test('DECLARE and Bind share one name space (H11)', () => {
  const registry = new Registry();
  registry.apply([{ kind: 'declare', name: 'c', body: statement('SELECT f()'), hold: false }], 'DECLARE c', 0);
  assert.equal(registry.portal('c')?.statement?.text, 'SELECT f()');
  registry.open('c', portal('SELECT 2'));
  assert.equal(registry.cursors.get('c')?.text, 'SELECT 2');
});

test('what the server refused is undone, and what stood there before is back', () => {
  const registry = new Registry();
  registry.prepare('q', prepared('SELECT 1'));
  const undos = [registry.prepare('q', prepared('SELECT 2')), registry.deallocate(null), registry.prepare('r', prepared('SELECT 3'))];
  for (const undo of undos.toReversed()) undo();
  assert.equal(registry.prepared('q')?.source, 'SELECT 1');
  assert.equal(registry.preparedStatements.get('q')?.text, 'SELECT 1');
  assert.equal(registry.prepared('r'), undefined);
  assert.equal(registry.preparedStatements.has('r'), false);
});

test('portals end with their transaction, held cursors with a rollback of the one that made them', () => {
  const registry = new Registry();
  registry.open('p', portal('SELECT 1'));
  registry.open('h', portal('SELECT 2', true));
  registry.transactionEnded('committed');
  assert.equal(registry.portal('p'), undefined);
  registry.open('h2', portal('SELECT 3', true));
  registry.transactionEnded('rolled-back');
  assert.equal(registry.portal('h')?.source, 'SELECT 2', 'committed before, so it stays');
  assert.equal(registry.portal('h2'), undefined);
  assert.equal(registry.cursors.has('h2'), false);
});

test('prepared statements outlive every transaction', () => {
  const registry = new Registry();
  registry.prepare('q', prepared('SELECT 1'));
  registry.transactionEnded('rolled-back');
  assert.equal(registry.prepared('q')?.source, 'SELECT 1');
});

test('a simple Query takes the unnamed statement and portal away, and no named one', () => {
  const registry = new Registry();
  registry.prepare('', prepared('SELECT 1'));
  registry.prepare('q', prepared('SELECT 2'));
  registry.open('', portal('SELECT 1'));
  registry.beginQuery(false);
  assert.equal(registry.prepared(''), undefined);
  assert.equal(registry.portal('')?.source, 'SELECT 1', 'a failed transaction runs no Query');
  registry.beginQuery(true);
  assert.equal(registry.prepared(''), undefined);
  assert.equal(registry.portal(''), undefined);
  assert.equal(registry.prepared('q')?.source, 'SELECT 2');
});

test('the unnamed statement has no name in SQL', () => {
  const registry = new Registry();
  registry.prepare('', prepared('SELECT 1'));
  assert.equal(registry.preparedStatements.size, 0);
});

test('a name that the server reports with another statement is forgotten, not trusted', () => {
  const registry = new Registry();
  registry.prepare('same', prepared('SELECT 1'));
  registry.prepare('changed', prepared('SELECT 1'));
  registry.prepare('gone', prepared('SELECT 1'));
  registry.open('c', portal('SELECT 1'));
  registry.keepOnly({ prepared: new Map([['same', 'SELECT 1'], ['changed', 'DELETE FROM t'], ['unseen', 'DELETE FROM t']]), portals: new Map() });
  assert.deepEqual([...registry.preparedStatements.keys()], ['same']);
  assert.equal(registry.portal('c'), undefined);
});

test('names are bounded, and a refusal for that changes nothing', () => {
  const registry = new Registry(100);
  for (let i = 0; i < 100; i += 1) registry.prepare(`s${i}`, prepared('SELECT 1'));
  assert.throws(() => registry.prepare('one more', prepared('SELECT 1')), (error) => error instanceof Failure && error.code === 'too_large');
  registry.prepare('s0', prepared('SELECT 2'));
  assert.throws(() => { registry.checkRoomFor([{ ...statement('PREPARE'), changes: [{ kind: 'prepare', name: 'one more', body: statement('SELECT 1') }] }], 'PREPARE'); }, Failure);
  for (let i = 0; i < 100; i += 1) registry.open(`p${i}`, portal('SELECT 1'));
  assert.throws(() => registry.open('one more', portal('SELECT 1')), Failure);
});

test('what names hold in memory is bounded as well, and given back when they are closed', () => {
  const registry = new Registry();
  const large = prepared(' '.repeat(namedBytesMax / treeBytesPerCharacter / 4));
  for (const name of ['a', 'b', 'c', 'd']) registry.prepare(name, large);
  assert.throws(() => registry.prepare('e', large), (error) => error instanceof Failure && error.code === 'too_large');
  const many = statement('SELECT 1');
  const wide = { ...prepared('SELECT 1'), statement: { ...many, mentions: { ...many.mentions, attributes: Array.from({ length: namedBytesMax / bytesPerName }, () => 'a') } } };
  assert.throws(() => new Registry().prepare('w', wide), (error) => error instanceof Failure && error.code === 'too_large');
  registry.deallocate('a');
  registry.prepare('e', large);
  assert.throws(() => registry.open('p', { ...portal(''), bind: { prepared: large, values: { formats: [], values: [Buffer.alloc(1)] } } }), Failure);
});
