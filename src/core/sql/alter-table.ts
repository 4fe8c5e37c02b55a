/**
 * ALTER TABLE, one command at a time. Each of the grammar's commands has a row: which ones lose data (H72), which ones
 * open what was closed, which ones switch off what keeps data right. A command without a row is unknown.
 */
import type { Level, Recoverability, Risk } from '../risk.ts';
import { joinAll, joinRisks } from '../risk.ts';
import { objectKind } from './object-kinds.ts';
import { effect, nameOf, risk, temporaryWrite, useOf } from './own-reading.ts';
import type { OwnReading, RangeVarUse, RowContext } from './own-reading.ts';
import { nodeIn, nodesIn, rangeVarNames, stringIn, treeIn } from './tree.ts';
import type { Node, Tree } from './tree.ts';

interface Command {
  readonly level: Exclude<Level, 'SAFE' | 'LOW'>;
  readonly rule: string;
  readonly message: string;
  readonly lost?: Recoverability;
}

const plain: Command = { level: 'HIGH', rule: 'alter.table', message: 'It changes the definition of a table.' };
const rowSecurity: Command = { level: 'CRITICAL', rule: 'privilege.row-security', message: 'It changes whether row security holds for a table.' };
const triggers: Command = { level: 'HIGH', rule: 'alter.trigger-state', message: 'It changes which triggers or rules fire.' };
const allTriggers: Command = { level: 'CRITICAL', rule: 'alter.all-triggers-off', message: 'It switches off triggers, among them those that keep foreign keys right.' };
const options: Command = { level: 'CRITICAL', rule: 'alter.foreign-options', message: 'It changes where a foreign table gets its data from.' };

const commands: Readonly<Record<string, Command>> = {
  ...all(plain, [
    'AddColumn', 'AddColumnToView', 'ColumnDefault', 'CookedColumnDefault', 'DropNotNull', 'SetNotNull', 'CheckNotNull', 'SetStatistics', 'SetOptions',
    'ResetOptions', 'SetStorage', 'SetCompression', 'AddIndex', 'ReAddIndex', 'AddConstraint', 'ReAddConstraint', 'ReAddDomainConstraint',
    'AlterConstraint', 'ValidateConstraint', 'AddIndexConstraint', 'DropConstraint', 'ReAddComment', 'ClusterOn', 'DropCluster', 'SetLogged',
    'SetUnLogged', 'DropOids', 'SetAccessMethod', 'SetTableSpace', 'SetRelOptions', 'ResetRelOptions', 'ReplaceRelOptions', 'AddInherit',
    'DropInherit', 'AddOf', 'DropOf', 'ReplicaIdentity', 'AttachPartition', 'DetachPartition', 'DetachPartitionFinalize', 'AddIdentity',
    'SetIdentity', 'DropIdentity', 'ReAddStatistics', 'DropExpression', 'AddColumnRecurse', 'AddConstraintRecurse', 'ValidateConstraintRecurse',
    'DropConstraintRecurse',
  ]),
  ...all(triggers, [
    'EnableTrig', 'EnableAlwaysTrig', 'EnableReplicaTrig', 'DisableTrig', 'EnableTrigAll', 'EnableTrigUser', 'DisableTrigUser', 'EnableRule',
    'EnableAlwaysRule', 'EnableReplicaRule', 'DisableRule',
  ]),
  ...all(allTriggers, ['DisableTrigAll']),
  ...all(rowSecurity, ['EnableRowSecurity', 'DisableRowSecurity', 'ForceRowSecurity', 'NoForceRowSecurity']),
  ...all(options, ['GenericOptions', 'AlterColumnGenericOptions']),
  AT_ChangeOwner: { level: 'CRITICAL', rule: 'privilege.owner', message: 'It gives a table to another owner.' },
  ...all({ level: 'HIGH', rule: 'alter.drop-column', message: 'It drops a column and what it holds.', lost: 'table' }, ['DropColumn', 'DropColumnRecurse']),
  AT_AlterColumnType: { level: 'HIGH', rule: 'alter.column-type', message: 'It changes the type of a column, which may lose part of its values and rewrites the table.', lost: 'table' },
  AT_SetExpression: { level: 'HIGH', rule: 'alter.generated-column', message: 'It replaces the values of a generated column.', lost: 'table' },
};

function all(command: Command, names: readonly string[]): Readonly<Record<string, Command>> {
  return Object.fromEntries(names.map((name) => [`AT_${name}`, command]));
}

const unknownCommand: Command = { level: 'CRITICAL', rule: 'statement.unknown-node', message: 'It holds a command that is not known here.', lost: 'none' };

export function isKnownCommand(subtype: string): boolean {
  return Object.hasOwn(commands, subtype);
}

export function alterTable(tree: Tree, context: RowContext): OwnReading {
  const relation = treeIn(tree, 'relation');
  const name = nameOf(relation);
  const cascade = nodesIn(tree, 'cmds').some((node) => stringIn(node.tree, 'behavior') === 'DROP_CASCADE');
  const uses = useOf(relation, cascade ? ['alter', { cascade }] : 'alter');
  const relname = stringIn(relation ?? {}, 'relname') ?? '';
  const { word } = objectKind(stringIn(tree, 'objtype'));
  if (word === 'table' && context.isTemporary(rangeVarNames(relation ?? {}))) {
    // It may have got a default or a check that runs code.
    return { risk: temporaryWrite('alter', name), uses, changes: [{ kind: 'temporary-relation', name: relname, opaque: true }] };
  }
  const risks = nodesIn(tree, 'cmds').map((node) => commandRisk(node.tree, name, word));
  // A composite type is altered with the same commands; its name is no relation.
  const ownUses = [...(word === 'type' ? useOf(relation) : uses), ...nodesIn(tree, 'cmds').flatMap(joinedBy)];
  return { risk: risks.length === 0 ? risk('HIGH', plain.rule, plain.message, [effect('alter', word, name)]) : joinAll(risks), uses: ownUses, changes: [{ kind: 'catalog' }] };
}

/** A partition or a parent: attached or detached it shows other rows, or is shown elsewhere. */
function joinedBy({ tree }: Node): readonly RangeVarUse[] {
  const definition = nodeIn(tree, 'def');
  if (definition?.type === 'PartitionCmd') return useOf(treeIn(definition.tree, 'name'), 'alter', 'read');
  return definition?.type === 'RangeVar' ? useOf(definition.tree, 'alter', 'read') : [];
}

function commandRisk(tree: Tree, table: string, word: string): Risk {
  const subtype = stringIn(tree, 'subtype') ?? '';
  const { level, rule, message, lost } = isKnownCommand(subtype) ? commands[subtype] ?? unknownCommand : unknownCommand;
  const cascade = stringIn(tree, 'behavior') === 'DROP_CASCADE';
  const part = `${table}.${stringIn(tree, 'name') ?? ''}`;
  const main = rule === 'alter.drop-column' ? effect('drop', 'column', part, cascade ? 'CASCADE' : undefined)
    : subtype === 'AT_AlterColumnType' ? effect('alter', 'column', part) : effect('alter', word, table, cascade ? 'CASCADE' : undefined);
  const more = rule.startsWith('privilege.') ? [effect('privilege', word, table)] : rule === options.rule ? [effect('network', word, table)] : [];
  const constraint = subtype.startsWith('AT_DropConstraint') ? [effect('drop', 'constraint', part, cascade ? 'CASCADE' : undefined)] : [];
  const own = risk(level, rule, message, [main, ...constraint, ...more], lost);
  if (!cascade) return own;
  return joinRisks(own, risk('CRITICAL', 'alter.cascade', 'It drops what depends on what it drops.', [main, ...constraint], 'schema'));
}
