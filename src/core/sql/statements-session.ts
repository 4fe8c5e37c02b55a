/**
 * Rows of the statement table: what changes the session or the transaction that a statement runs in, and what runs a body
 * that was named before. What stays inside the session is LOW, unless it changes identity or lifts a limit.
 */
import type { Risk } from '../risk.ts';
import { joinRisks, nothing } from '../risk.ts';
import { typeOf } from './expressions.ts';
import { readingSetting } from './observing.ts';
import { effect, harmless, risk } from './own-reading.ts';
import type { OwnReading, RowContext, StatementRow } from './own-reading.ts';
import { settingRisk } from './settings.ts';
import type { SessionChange, TransactionVerb } from './statement.ts';
import { flagIn, nodeIn, nodesIn, numberIn, stringConstant, stringIn, treeIn } from './tree.ts';
import type { Node, Tree } from './tree.ts';

export const sessionRows: Readonly<Record<string, StatementRow>> = {
  VariableSetStmt: set,
  VariableShowStmt: (tree) => ({ risk: readingSetting(stringIn(tree, 'name') ?? null) }),
  TransactionStmt: transaction,
  PrepareStmt: prepare,
  ExecuteStmt: (tree) => ({ ...harmless, runs: { kind: 'prepared', name: stringIn(tree, 'name') ?? '' } }),
  DeallocateStmt: (tree) => confined('It forgets prepared statements.', 'prepared statement', stringIn(tree, 'name'), { kind: 'deallocate', name: stringIn(tree, 'name') ?? null }),
  DeclareCursorStmt: declare,
  FetchStmt: (tree) => ({ ...confined('It moves a cursor.', 'cursor', stringIn(tree, 'portalname')), runs: { kind: 'cursor', name: stringIn(tree, 'portalname') ?? '' } }),
  ClosePortalStmt: (tree) => confined('It closes cursors.', 'cursor', stringIn(tree, 'portalname'), { kind: 'close', name: stringIn(tree, 'portalname') ?? null }),
  ExplainStmt: explain,
  DiscardStmt: discard,
  ConstraintsSetStmt: (tree) => {
    const uses = nodesIn(tree, 'constraints').map((node) => ({ rangeVar: node.tree, mentions: [] }));
    return { ...confined('It changes when constraints are checked in this transaction.', 'constraint', undefined), uses };
  },
  ListenStmt: (tree) => ({ risk: message('message.listen', 'It listens on a channel.', tree) }),
  UnlistenStmt: (tree) => ({ risk: message('message.listen', 'It stops listening on a channel.', tree) }),
  NotifyStmt: (tree) => ({ risk: message('message.notify', 'It sends a message to whoever listens on a channel.', tree) }),
};

function confined(text: string, objectKind: string, name: string | undefined, change?: SessionChange): OwnReading {
  const own = risk('LOW', 'session.confined', text, [effect('session', objectKind, name)]);
  return { risk: own, ...(change === undefined ? {} : { changes: [change] }) };
}

function message(rule: string, text: string, tree: Tree): Risk {
  return risk('LOW', rule, text, [effect('message', 'channel', stringIn(tree, 'conditionname'))]);
}

function set(tree: Tree): OwnReading {
  const name = (stringIn(tree, 'name') ?? '').toLowerCase();
  switch (stringIn(tree, 'kind')) {
    case 'VAR_RESET_ALL':
      return { ...confined('It puts the settings of this session back to what they were at its start.', 'setting', 'all'), changes: [{ kind: 'reset-all' }, { kind: 'search-path', path: null }] };
    case 'VAR_SET_MULTI': return setTransaction(name, nodesIn(tree, 'args'));
    case 'VAR_SET_VALUE': return changing(name, valuesOf(tree, name), 'set');
    // FROM CURRENT only stands in a function's SET clause; it gives no value to judge.
    case 'VAR_SET_CURRENT': return changing(name, undefined, 'set');
    default: return changing(name, undefined, 'reset');
  }
}

/** null for an argument that is not a plain constant, and for a number that names a schema: the server folds the E of 1E5. */
function valuesOf(tree: Tree, name: string): readonly (string | null)[] {
  return nodesIn(tree, 'args').map((arg) => stringConstant(arg) ?? (name === 'search_path' ? null : numberText(arg)));
}

function numberText({ type, tree }: Node): string | null {
  if (type !== 'A_Const') return null;
  const integer = treeIn(tree, 'ival');
  if (integer !== undefined) return String(numberIn(integer, 'ival'));
  const float = treeIn(tree, 'fval');
  return float === undefined ? null : stringIn(float, 'fval') ?? null;
}

function changing(name: string, values: readonly (string | null)[] | undefined, how: 'set' | 'reset'): OwnReading {
  const isPlain = values !== undefined && values.every((value) => value !== null);
  // SET ROLE NONE goes back to the role of the session.
  const isBack = name === 'role' && isPlain && values.length === 1 && values[0]?.toLowerCase() === 'none';
  const own = settingRisk(name, isPlain ? values.join(', ') : undefined, isBack ? 'reset' : how);
  // What cannot be read is no value that anything takes for harmless.
  const value = how === 'set' ? { value: isPlain ? values.join(', ') : '?' } : {};
  const change: SessionChange = name === 'search_path' ? { kind: 'search-path', path: isPlain ? values.filter((value) => value !== '') : null }
    : name === 'role' || name === 'session_authorization' ? { kind: 'role' } : { kind: 'setting', name, ...value };
  return { risk: own, changes: [change] };
}

/** SET TRANSACTION, SET SESSION CHARACTERISTICS (H57). */
function setTransaction(name: string, options: readonly Node[]): OwnReading {
  const isReadWrite = options.some(({ tree }) => stringIn(tree, 'defname') === 'transaction_read_only' && !isOn(nodeIn(tree, 'arg')));
  const deferrable = name === 'session characteristics' ? options.findLast(({ tree }) => stringIn(tree, 'defname') === 'transaction_deferrable') : undefined;
  if (deferrable !== undefined) {
    const value = isOn(nodeIn(deferrable.tree, 'arg')) ? 'on' : 'off';
    const deferring: SessionChange = { kind: 'setting', name: 'default_transaction_deferrable', value };
    const own = settingRisk('default_transaction_deferrable', value, 'set');
    return { risk: isReadWrite ? joinRisks(own, readWrite) : own, changes: [{ kind: 'setting', name }, deferring] };
  }
  const own = isReadWrite
    ? readWrite
    : risk('LOW', 'session.transaction-mode', 'It changes how this session runs its transactions.', [effect('session', 'setting', name)]);
  return { risk: own, changes: [{ kind: 'setting', name }] };
}

const readWrite = risk('HIGH', 'session.read-write', 'It lets the session write where it may have been read-only.', [effect('session', 'setting', 'transaction_read_only')]);

function isOn(arg: Node | undefined): boolean {
  return arg?.type === 'A_Const' && numberIn(treeIn(arg.tree, 'ival') ?? {}, 'ival') !== 0;
}

const verbs: Readonly<Record<string, TransactionVerb>> = {
  TRANS_STMT_BEGIN: 'begin', TRANS_STMT_START: 'begin', TRANS_STMT_COMMIT: 'commit', TRANS_STMT_ROLLBACK: 'rollback', TRANS_STMT_SAVEPOINT: 'savepoint',
  TRANS_STMT_RELEASE: 'release', TRANS_STMT_ROLLBACK_TO: 'rollback-to', TRANS_STMT_PREPARE: 'prepare',
  TRANS_STMT_COMMIT_PREPARED: 'commit-prepared', TRANS_STMT_ROLLBACK_PREPARED: 'rollback-prepared',
};
const twoPhase: ReadonlySet<string> = new Set(['prepare', 'commit-prepared', 'rollback-prepared']);

function transaction(tree: Tree): OwnReading {
  const verb = verbs[stringIn(tree, 'kind') ?? ''];
  if (verb === undefined) return { risk: risk('CRITICAL', 'statement.unknown-node', 'It is a transaction command that is not known here.', [effect('unknown', 'transaction')], 'none') };
  const savepoint = stringIn(tree, 'savepoint_name');
  const mode = nodesIn(tree, 'options').find((option) => stringIn(option.tree, 'defname') === 'transaction_read_only');
  const readOnly = mode === undefined ? undefined : isOn(nodeIn(mode.tree, 'arg'));
  const control = {
    verb, chain: flagIn(tree, 'chain'), ...(readOnly === undefined ? {} : { readOnly }), ...(savepoint === undefined ? {} : { savepoint }),
  };
  const effects = [effect('transaction', 'transaction', undefined, verb)];
  // Whoever ends a prepared transaction need not be who began it (H66).
  if (twoPhase.has(verb)) return { risk: risk('HIGH', 'transaction.two-phase', 'It hands a transaction over to be ended from any session.', effects), transaction: control };
  if (readOnly === false) return { risk: risk('LOW', 'transaction.read-write', 'It asks for a transaction that may write.', effects), transaction: control };
  return { risk: { ...nothing, effects }, transaction: control };
}

function prepare(tree: Tree, context: RowContext): OwnReading {
  const name = stringIn(tree, 'name') ?? '';
  const own = risk('LOW', 'session.prepare', 'It names a statement to be run later.', [effect('session', 'prepared statement', name)]);
  const query = nodeIn(tree, 'query');
  if (query === undefined) return { risk: own };
  const body = context.readBody(query);
  // EXECUTE casts its arguments to the types that are declared here.
  const types = [...body.mentions.types, ...nodesIn(tree, 'argtypes').map((type) => typeOf(type.tree))];
  return { risk: own, changes: [{ kind: 'prepare', name, body: { ...body, mentions: { ...body.mentions, types } } }] };
}

const holdOption = 0x20;

function declare(tree: Tree, context: RowContext): OwnReading {
  const name = stringIn(tree, 'portalname') ?? '';
  const hold = (numberIn(tree, 'options') & holdOption) !== 0;
  const own = risk('LOW', 'session.cursor', 'It opens a cursor.', [effect('session', 'cursor', name, hold ? 'WITH HOLD' : undefined)]);
  const query = nodeIn(tree, 'query');
  return query === undefined ? { risk: own } : { risk: own, changes: [{ kind: 'declare', name, body: context.readBody(query), hold }] };
}

const offWords: ReadonlySet<string> = new Set(['false', 'off', '0']);

/** EXPLAIN ANALYZE runs its statement (H7). The last of several options holds, so one that is on is enough to be careful. */
function explain(tree: Tree): OwnReading {
  const analyze = nodesIn(tree, 'options').filter((option) => stringIn(option.tree, 'defname')?.toLowerCase() === 'analyze');
  const runs = analyze.some((option) => {
    const arg = nodeIn(option.tree, 'arg');
    if (arg === undefined) return true;
    const word = arg.type === 'String' ? stringIn(arg.tree, 'sval') ?? '' : arg.type === 'Integer' ? String(numberIn(arg.tree, 'ival')) : 'unknown';
    return !offWords.has(word.toLowerCase());
  });
  return runs ? harmless : { ...harmless, inner: 'planned' };
}

function discard(tree: Tree): OwnReading {
  const target = stringIn(tree, 'target') ?? 'DISCARD_ALL';
  const { risk: own } = confined('It throws away what this session has set up.', 'session', target.replace('DISCARD_', '').toLowerCase());
  if (target !== 'DISCARD_ALL') return { risk: own };
  const changes: readonly SessionChange[] = [
    { kind: 'reset-all' }, { kind: 'role' }, { kind: 'search-path', path: null }, { kind: 'deallocate', name: null }, { kind: 'close', name: null },
  ];
  return { risk: joinRisks(own, nothing), changes };
}
