/** What a transaction owes is paid before it commits, by verdicts that are on record and a catalog that has not changed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../../core/failure.ts';
import { nothing } from '../../core/risk.ts';
import type { Statement } from '../../core/sql/statement.ts';
import { blockOf, changesRowsOnly, mayCommit, TransactionDebts } from './transaction-debts.ts';

const unavailable = new Failure('ledger_unavailable', 'full');
const isUnavailable = (error: unknown): boolean => error === unavailable;
const hasMoved = (error: unknown): boolean => error instanceof Failure && error.code === 'schema_moved';
const version = (name: string) => (): Promise<string> => Promise.resolve(name);

function openBlock(): TransactionDebts {
  const debts = new TransactionDebts();
  debts.begin('open');
  return debts;
}

test('debts may be incurred in an open block only, and not behind what may end it', () => {
  const debts = new TransactionDebts();
  assert.equal(debts.mayIncur, false);
  for (const block of ['open', 'failed', 'none-sure'] as const) {
    debts.begin(block);
    assert.equal(debts.mayIncur, block === 'open');
    assert.equal(debts.isSurelyFailed, block === 'failed');
  }
  debts.begin('open');
  debts.mayLeaveBlock();
  assert.equal(debts.mayIncur, false);
});

test('a block is sure only where ReadyForQuery was the last word of the server', () => {
  const sure = { isSettled: true, isUnsynced: false };
  assert.deepEqual((['idle', 'in-transaction', 'failed'] as const).map((status) => blockOf({ ...sure, status })), ['none-sure', 'open', 'failed']);
  for (const unsure of [{ isSettled: false }, { isUnsynced: true }]) {
    for (const status of ['in-transaction', 'failed'] as const) assert.equal(blockOf({ ...sure, ...unsure, status }), 'none-sure');
  }
});

test('it is paid once every verdict is on record and the catalog is the one that was judged by', async () => {
  const debts = openBlock();
  const recorded = Promise.withResolvers<void>();
  debts.incur(recorded.promise, 'c1');
  debts.incur(Promise.resolve(), 'c1');
  debts.begin('open');
  let isPaid = false;
  const paying = debts.pay(version('c1')).then(() => { isPaid = true; });
  await new Promise((resolve) => { setImmediate(resolve); });
  assert.deepEqual([debts.isOwing, isPaid], [true, false]);
  recorded.resolve();
  await paying;
  assert.deepEqual([debts.isOwing, isPaid], [false, true]);
});

test('what was answered is compared while its verdict is written; what is not sent yet only afterwards', async () => {
  for (const isSent of [true, false]) {
    const debts = openBlock();
    const recorded = Promise.withResolvers<void>();
    debts.incur(recorded.promise, 'c1');
    if (isSent) debts.begin('open');
    let isCompared = false;
    const paying = debts.pay(() => { isCompared = true; return Promise.resolve('c1'); });
    await new Promise((resolve) => { setImmediate(resolve); });
    assert.equal(isCompared, isSent);
    recorded.resolve();
    await paying;
    assert.equal(debts.isOwing, false);
  }
});

test('another catalog than any of them was judged by stays a reason until the transaction is over', async () => {
  const debts = openBlock();
  debts.incur(Promise.resolve(), 'c1');
  debts.incur(Promise.resolve(), 'c2');
  await assert.rejects(debts.pay(version('c2')), hasMoved);
  assert.deepEqual([debts.mayIncur, debts.isOwing], [false, true]);
  await assert.rejects(debts.pay(version('c1')), hasMoved);
  debts.transactionEnded();
  debts.begin('open');
  assert.deepEqual([debts.mayIncur, debts.isOwing], [true, false]);
});

test('a verdict that could not be written stays a reason, and none of the next transaction\'s', async () => {
  const debts = openBlock();
  const late = Promise.withResolvers<void>();
  debts.incur(Promise.reject(unavailable), 'c1');
  debts.incur(late.promise, 'c1');
  await assert.rejects(debts.pay(version('c1')), isUnavailable);
  assert.equal(debts.mayIncur, false);
  await assert.rejects(debts.pay(version('c1')), isUnavailable);
  debts.transactionEnded();
  debts.begin('open');
  late.reject(unavailable);
  await new Promise((resolve) => { setImmediate(resolve); });
  assert.deepEqual([debts.mayIncur, debts.isOwing], [true, false]);
  await debts.pay(version('c9'));
});

test('a catalog that cannot be compared leaves the debt as it is', async () => {
  const debts = openBlock();
  debts.incur(Promise.resolve(), 'c1');
  await assert.rejects(debts.pay(() => Promise.reject(new Error('gone'))), /gone/);
  assert.equal(debts.isOwing, true);
  await debts.pay(version('c1'));
  assert.equal(debts.isOwing, false);
});

function statementOf(node: string, more: Partial<Statement> = {}): Statement {
  return { node, text: '', own: nothing, mentions: { relations: [], functions: [], operators: [], types: [], attributes: [], ctes: [] }, changes: [], ...more };
}

const control = (verb: NonNullable<Statement['transaction']>['verb']): Statement => statementOf('TransactionStmt', { transaction: { verb, chain: false } });

test('whatever is not known never to commit may commit', () => {
  for (const verb of ['begin', 'rollback', 'savepoint', 'release', 'rollback-to'] as const) assert.equal(mayCommit([control(verb)]), false, verb);
  for (const verb of ['commit', 'prepare', 'commit-prepared', 'rollback-prepared'] as const) assert.equal(mayCommit([statementOf('SelectStmt'), control(verb)]), true, verb);
});

test('only plain statements that change rows are taken for nothing else', () => {
  assert.equal(changesRowsOnly([statementOf('UpdateStmt'), statementOf('InsertStmt')]), true);
  const others: readonly (readonly Statement[])[] = [
    [], [statementOf('UpdateStmt'), control('commit')], [statementOf('CallStmt')], [statementOf('ExplainStmt')],
    [statementOf('SelectStmt', { changes: [{ kind: 'catalog' }] })], [statementOf('UpdateStmt', { runs: { kind: 'prepared', name: 'p' } })],
  ];
  for (const statements of others) assert.equal(changesRowsOnly(statements), false);
});
