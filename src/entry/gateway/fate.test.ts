/** What became of a statement is what became of its transaction, not its command tag (H93). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Outcome } from '../../core/outcome.ts';
import { nothing } from '../../core/risk.ts';
import type { Statement, TransactionVerb } from '../../core/sql/statement.ts';
import { decodeCommandTag } from '../../lib/pgwire/backend-decode.ts';
import type { TransactionStatus } from '../../lib/pgwire/backend-encode.ts';
import { TransactionFate, type Unit } from './fate.ts';
import { openUnitsMax } from './limits.ts';

const verbs: readonly (readonly [prefix: string, verb: TransactionVerb])[] = [
  ['BEGIN', 'begin'], ['COMMIT', 'commit'], ['ROLLBACK TO', 'rollback-to'], ['ROLLBACK', 'rollback'], ['SAVEPOINT', 'savepoint'], ['RELEASE', 'release'], ['PREPARE TRANSACTION', 'prepare'],
];

function statement(text: string): Statement {
  const verb = verbs.find(([prefix]) => text.startsWith(prefix))?.[1];
  const savepoint = /(?:SAVEPOINT|RELEASE|ROLLBACK TO) (\w+)/.exec(text)?.[1];
  return {
    node: text.startsWith('CALL') ? 'CallStmt' : verb === undefined ? 'SelectStmt' : 'TransactionStmt', text, own: nothing, changes: [],
    mentions: { relations: [], functions: [], operators: [], types: [], attributes: [], ctes: [] },
    ...(verb === undefined ? {} : { transaction: { verb, chain: text.includes('CHAIN'), ...(savepoint === undefined ? {} : { savepoint }) } }),
  };
}

/** Steps: `sql > tag[, tag…]`, `sql ! sqlstate` after tags, `Z I|T|E`, `lost maybe|never`, `skip sql`. */
function play(steps: readonly string[]): Readonly<Record<string, string>> {
  const fate = new TransactionFate();
  const settled: Record<string, string> = {};
  let clock = 0;
  const unitOf = (sql: string): Unit => ({
    actionId: sql, source: sql, isSafe: false, statements: sql.split('; ').map(statement),
    settle: (outcome: Outcome) => {
      assert.equal(settled[sql], undefined, `${sql} is settled twice`);
      settled[sql] = `${outcome.kind}${outcome.rows === null ? '' : ` ${outcome.rows}`}${outcome.sqlstate === undefined ? '' : ` ${outcome.sqlstate}`}`;
    },
  });
  const status: Readonly<Record<string, TransactionStatus>> = { I: 'idle', T: 'in-transaction', E: 'failed' };
  for (const step of steps) {
    clock += 1;
    const [, kind = '', rest = ''] = /^(Z|lost|skip) (.*)$/.exec(step) ?? [];
    if (kind === 'Z') fate.ready(status[rest] ?? 'idle');
    else if (kind === 'lost') fate.lost(rest === 'maybe');
    else if (kind === 'skip') fate.skipped(unitOf(rest));
    else {
      const [left = '', error] = step.split(' ! ');
      const [sql = '', tags = ''] = left.split(' > ');
      const unit = unitOf(sql);
      fate.start(unit, clock);
      for (const tag of tags.split(', ').filter((one) => one !== '' && one !== '...')) fate.ran(unit, decodeCommandTag(tag));
      if (error === undefined && tags !== '...') fate.finished(unit, clock);
      else if (error !== undefined) fate.failed(unit, error, clock);
    }
  }
  return settled;
}

const rows: readonly (readonly [what: string, steps: readonly string[], settled: Readonly<Record<string, string>>])[] = [
  ['alone, it is committed at ReadyForQuery', ['INSERT > INSERT 0 2', 'Z I'], { INSERT: 'committed 2' }],
  ['inside a transaction it is open until COMMIT', ['BEGIN > BEGIN', 'Z T', 'INSERT > INSERT 0 1', 'Z T'], {}],
  ['COMMIT commits all', ['BEGIN > BEGIN', 'Z T', 'INSERT > INSERT 0 1', 'Z T', 'COMMIT > COMMIT', 'Z I'], { BEGIN: 'committed', INSERT: 'committed 1', COMMIT: 'committed' }],
  ['COMMIT of a failed transaction answers ROLLBACK', ['BEGIN > BEGIN', 'Z T', 'INSERT > INSERT 0 1', 'Z T', 'SELECT ! 22012', 'Z E', 'COMMIT > ROLLBACK', 'Z I'],
    { BEGIN: 'rolled-back', INSERT: 'rolled-back 1', SELECT: 'failed 22012', COMMIT: 'rolled-back' }],
  ['a COMMIT that fails rolls back', ['BEGIN > BEGIN', 'Z T', 'INSERT > INSERT 0 1', 'Z T', 'COMMIT ! 23503', 'Z I'], { BEGIN: 'rolled-back', INSERT: 'rolled-back 1', COMMIT: 'failed 23503' }],
  ['COMMIT AND CHAIN settles the old and opens a new one (H67)', ['BEGIN > BEGIN', 'Z T', 'INSERT 1 > INSERT 0 1', 'Z T', 'COMMIT AND CHAIN > COMMIT', 'Z T', 'INSERT 2 > INSERT 0 1', 'Z T', 'ROLLBACK > ROLLBACK', 'Z I'],
    { BEGIN: 'committed', 'INSERT 1': 'committed 1', 'COMMIT AND CHAIN': 'committed', 'INSERT 2': 'rolled-back 1', ROLLBACK: 'rolled-back' }],
  ['a pipeline is one transaction up to Sync', ['INSERT > INSERT 0 1', 'SELECT ! 22012', 'Z I'], { INSERT: 'rolled-back 1', SELECT: 'failed 22012' }],
  ['a message of several statements counts as committed once a part of it is', ['BEGIN; INSERT; COMMIT; SELECT > BEGIN, INSERT 0 1, COMMIT ! 22012', 'Z I'], { 'BEGIN; INSERT; COMMIT; SELECT': 'committed 1 22012' }],
  ['and as failed when none is', ['INSERT; SELECT > INSERT 0 1 ! 22012', 'Z I'], { 'INSERT; SELECT': 'failed 1 22012' }],
  ['a message that leaves a transaction open is open with it', ['INSERT; BEGIN > INSERT 0 1, BEGIN', 'Z T', 'ROLLBACK > ROLLBACK', 'Z I'], { 'INSERT; BEGIN': 'rolled-back 1', ROLLBACK: 'rolled-back' }],
  ['ROLLBACK TO undoes what came after the savepoint only', [
    'BEGIN > BEGIN', 'Z T', 'INSERT 1 > INSERT 0 1', 'Z T', 'SAVEPOINT a > SAVEPOINT', 'Z T', 'INSERT 2 > INSERT 0 1', 'Z T', 'ROLLBACK TO a > ROLLBACK', 'Z T',
    'INSERT 3 > INSERT 0 1', 'Z T', 'COMMIT > COMMIT', 'Z I',
  ], { BEGIN: 'committed', 'INSERT 1': 'committed 1', 'SAVEPOINT a': 'committed', 'INSERT 2': 'rolled-back 1', 'ROLLBACK TO a': 'committed', 'INSERT 3': 'committed 1', COMMIT: 'committed' }],
  ['the inner of two savepoints of one name is meant first', [
    'BEGIN > BEGIN', 'Z T', 'SAVEPOINT a > SAVEPOINT', 'Z T', 'INSERT 1 > INSERT 0 1', 'Z T', 'SAVEPOINT a > SAVEPOINT', 'Z T', 'INSERT 2 > INSERT 0 1', 'Z T', 'ROLLBACK TO a > ROLLBACK', 'Z T',
  ], { 'INSERT 2': 'rolled-back 1' }],
  ['a savepoint also saves a failed transaction', ['BEGIN > BEGIN', 'Z T', 'SAVEPOINT a > SAVEPOINT', 'Z T', 'SELECT ! 22012', 'Z E', 'ROLLBACK TO a > ROLLBACK', 'Z T', 'COMMIT > COMMIT', 'Z I'],
    { BEGIN: 'committed', 'SAVEPOINT a': 'committed', SELECT: 'failed 22012', 'ROLLBACK TO a': 'committed', COMMIT: 'committed' }],
  ['PREPARE TRANSACTION leaves it unknown', ['BEGIN > BEGIN', 'Z T', 'INSERT > INSERT 0 1', 'Z T', 'PREPARE TRANSACTION > PREPARE TRANSACTION', 'Z I'],
    { BEGIN: 'unknown', INSERT: 'unknown 1', 'PREPARE TRANSACTION': 'unknown' }],
  ['a connection lost while nothing could commit rolls back', ['BEGIN > BEGIN', 'Z T', 'INSERT > INSERT 0 1', 'Z T', 'lost never'], { BEGIN: 'rolled-back', INSERT: 'rolled-back 1' }],
  ['a connection lost in doubt is unknown', ['INSERT > ...', 'lost maybe'], { INSERT: 'unknown' }],
  ['what was permitted and never sent was rolled back', ['skip INSERT'], { INSERT: 'rolled-back' }],
];
for (const [what, steps, settled] of rows) {
  test(what, () => assert.deepEqual(play(steps), settled));
}

test('reads in a transaction of very many are forgotten one by one, writes never', () => {
  const fate = new TransactionFate();
  const settled: string[] = [];
  const unit = (isSafe: boolean): Unit => ({ actionId: '', source: '', statements: [statement('SELECT 1')], isSafe, settle: ({ kind }) => { settled.push(kind); } });
  for (let at = 0; at < openUnitsMax + 10; at += 1) {
    const one = unit(true);
    fate.start(one, 0);
    fate.ran(one, { command: 'SELECT', rows: 1 });
    fate.finished(one, 0);
  }
  assert.ok(fate.size <= openUnitsMax);
  const write = unit(false);
  fate.start(write, 0);
  fate.ran(write, { command: 'INSERT', rows: 1 });
  fate.finished(write, 0);
  const before = settled.length;
  fate.ready('idle');
  assert.equal(settled.length, openUnitsMax + 11);
  assert.ok(before >= 10);
});

test('a procedure that fails may have committed before it did', () => {
  assert.deepEqual(play(['CALL p() ! P0001', 'Z I']), { 'CALL p()': 'unknown P0001' });
});
