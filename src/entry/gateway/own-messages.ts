/**
 * Messages of our own that go between a client's: statements under a name that no client can have, parsed, executed and
 * closed again, so that the client's unnamed statement and portal stay as they are.
 */
import { randomBytes } from 'node:crypto';
import { encodeBind, encodeClose, encodeExecute, encodeFlush, encodeParse, encodeQuery, encodeSync } from '../../lib/pgwire/frontend-encode.ts';

/** Unguessable. */
function ownName(): string { return `backstop_own_${randomBytes(12).toString('hex')}`; }

/** Closed twice each: 2 CloseComplete for each statement. An error leaves the one that failed, so no other is ever called that. */
export function ownStatements(sqls: readonly string[]): Buffer { return statementsUnder(ownName(), sqls); }

function statementsUnder(name: string, sqls: readonly string[]): Buffer {
  return Buffer.concat(sqls.map((sql) => Buffer.concat([
    encodeParse({ statement: name, sql, parameterTypes: [] }), encodeBind({ portal: name, statement: name, formats: [], values: [], resultFormats: [] }),
    encodeExecute({ portal: name, rowsMax: 0 }), encodeClose({ target: 'portal', name }), encodeClose({ target: 'statement', name }),
  ])));
}

export const beginSql = 'BEGIN';
export const commitMessage: Buffer = encodeQuery('COMMIT');

/** As extended messages, because a Query takes the client's unnamed statement and portal with it. An error may have left the last one's. */
function ownCommand(sql: string): Buffer {
  const name = ownName();
  return Buffer.concat([encodeClose({ target: 'portal', name }), encodeClose({ target: 'statement', name }), statementsUnder(name, [sql]), encodeSync()]);
}

export const commitCommand: Buffer = ownCommand('COMMIT');
/** What was deferred shows before the end what it does. */
export const constraintsCommand: Buffer = ownCommand('SET CONSTRAINTS ALL IMMEDIATE');
export const rollbackMessage: Buffer = encodeQuery('ROLLBACK');
export const syncMessage: Buffer = encodeSync();
export const flushMessage: Buffer = encodeFlush();
