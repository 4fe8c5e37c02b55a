/**
 * Does a risk change rows that outlive the session, and where from? Decides what is measured beforehand, what is held to a
 * ceiling, whether the command tag alone tells how much was changed, and what need not be on record before its commit.
 */
import { isAtLeast, type Effect, type Risk } from '../risk.ts';
import type { Statement } from './statement.ts';

const writes: ReadonlySet<string> = new Set(['insert', 'update', 'delete']);
const changes: ReadonlySet<string> = new Set(['update', 'delete']);
const rowHolders: ReadonlySet<string> = new Set(['table', 'view']);

/** It may insert, update or delete rows of permanent tables, or runs code that may; what is LOW stays inside the session. */
export function changesRows({ level, effects }: Pick<Risk, 'level' | 'effects'>): boolean {
  return isAtLeast(level, 'HIGH') && effects.some((effect) => isWrite(effect) || isCode(effect));
}

/** It would update or delete rows that are there already: that much can be counted before it runs. */
export function isMeasured({ effects }: Risk): boolean {
  return effects.some((effect) => changes.has(effect.kind) && isPermanent(effect));
}

/**
 * All that it does to what outlives the session is to add rows: no row that was there before is another one afterwards. What
 * its triggers run has been read, or there would be an unknown effect.
 */
export function onlyAddsRows({ destroys, effects }: Pick<Risk, 'destroys' | 'effects'>): boolean {
  return !destroys && effects.every((effect) => adding.has(effect.kind) || (effect.kind === 'call' && effect.detail === undefined) || isRowLock(effect) || isOfDefault(effect));
}

const adding: ReadonlySet<string> = new Set(['read', 'insert']);

/** A serial column takes its next number. Called by itself, a function of sequences may also set one back. */
function isOfDefault({ kind, object, via = [] }: Effect): boolean {
  return kind === 'sequence' && object?.startsWith('pg_catalog.nextval(') === true && via.some((step) => step.startsWith('default '));
}

function isRowLock({ kind, detail = '' }: Effect): boolean { return kind === 'lock' && (detail.startsWith('rows ') || detail.endsWith(' on referenced rows')); }

/** It drops or empties what outlives the session. */
export function losesObjects({ level, effects }: Pick<Risk, 'level' | 'effects'>): boolean {
  return isAtLeast(level, 'HIGH') && effects.some(isLoss);
}

/** Among what a DROP takes along there may be tables; an index or a function alone takes no rows. */
export function losesRows(effect: Effect): boolean {
  const { kind, objectKind, detail } = effect;
  return isLoss(effect) && (kind === 'truncate' || detail === 'CASCADE' || objectKind === undefined || holders.has(objectKind));
}

const holders: ReadonlySet<string> = new Set(['table', 'relation', 'schema', 'extension', 'database', 'object']);

/** Rows may be changed that its command tag does not count: by foreign keys, triggers, rules and functions. */
export function changesElsewhere({ effects }: Risk): boolean {
  return effects.some((effect) => isCode(effect) || (isWrite(effect) && (effect.via ?? []).some((step) => !/^(?:view|partition) /.test(step))));
}

/**
 * It can run in a transaction of ours, or of the client's, which is looked at before it is committed. What shares its message
 * with others runs in one transaction block already; alone, a command may refuse that, or commit by itself. `isAtomic`: code
 * of its own surely does not, or runs in a block already.
 */
export function canBeHeld(statements: readonly Statement[], isAtomic: boolean): boolean {
  if (statements.some(({ transaction }) => transaction !== undefined)) return false;
  const [first, ...more] = statements;
  return more.length > 0 || (first !== undefined && (heldAlone.has(first.node) || (code.has(first.node) && isAtomic)));
}

const heldAlone: ReadonlySet<string> = new Set([
  'InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt', 'SelectStmt', 'CopyStmt', 'ExecuteStmt', 'ExplainStmt', 'CreateTableAsStmt', 'RefreshMatViewStmt', 'FetchStmt',
]);

/** It reads, changes rows of tables and does nothing else, so a rollback leaves nothing of it. */
export function isUndoneByRollback({ effects }: Pick<Risk, 'effects'>): boolean {
  return effects.length > 0 && effects.every(({ kind, objectKind }) => kind === 'read' || (writes.has(kind) && rowHolders.has(objectKind ?? '')));
}

const code: ReadonlySet<string> = new Set(['DoStmt', 'CallStmt']);

/** Code that may change any rows, whatever can be read of it. */
export function runsCode(statements: readonly Statement[]): boolean { return statements.some(({ node }) => code.has(node)); }

function isWrite(effect: Effect): boolean { return writes.has(effect.kind) && isPermanent(effect); }

function isLoss(effect: Effect): boolean { return (effect.kind === 'drop' || effect.kind === 'truncate') && isPermanent(effect); }

/** A temporary table is nobody else's. */
export function isPermanent({ object }: Effect): boolean { return object?.startsWith('pg_temp.') !== true; }

function isCode({ kind }: Effect): boolean { return kind === 'call' || kind === 'unknown'; }
