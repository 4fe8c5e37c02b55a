/**
 * What a TRUNCATE, a DROP or an ALTER TABLE takes hold of, for whoever has to keep it before: the objects that it names, as
 * questions to the server, which alone knows what goes with them. What cannot be told from the statement alone, or cannot
 * run inside a transaction, is not read: then nothing of it can be kept.
 */
import type { Parser } from '../../lib/pgsql/parser.ts';
import { readLoss, type LossTarget } from './loss-query.ts';
import type { Statement } from './statement.ts';
import { flagIn, nodeIn, nodesIn, rangeVarNames, stringIn, treeIn, type Tree } from './tree.ts';

export interface Taken {
  readonly verb: 'drop' | 'truncate' | 'alter';
  readonly cascade: boolean;
  /** TRUNCATE … RESTART IDENTITY. */
  readonly restarts: boolean;
  /** What goes. */
  readonly targets: readonly LossTarget[];
  /** The table that is altered. */
  readonly altered?: LossTarget;
  /** No row of the altered table changes or is rewritten. */
  readonly isRowless: boolean;
}

/** undefined: it cannot be kept in this way. */
export function takenBy(statement: Pick<Statement, 'text' | 'node'>, parser: Parser): Taken | undefined {
  const parsed = parser.parse(statement.text);
  const own = parsed.kind === 'parsed' && parsed.statements.length === 1 ? parsed.statements[0] : undefined;
  if (own === undefined || own.node !== statement.node || !Object.hasOwn(readable, own.node)) return undefined;
  const found = readable[own.node]?.(own.tree) === true ? readLoss(statement, parser) : undefined;
  if (found === undefined) return undefined;
  const { cascade, targets, restarts = false } = found;
  if (own.node !== 'AlterTableStmt') return { verb: found.verb, cascade, restarts, targets, isRowless: false };
  const relation = treeIn(own.tree, 'relation') ?? {};
  return { verb: 'alter', cascade, restarts, targets, altered: { kind: 'emptied', name: quoted(rangeVarNames(relation)), isAlone: !flagIn(relation, 'inh') }, isRowless: commandsOf(own.tree).every((one) => rowless.has(one)) };
}

/** CONCURRENTLY cannot run in a transaction; what a role owns is more than objects. */
const readable: Readonly<Record<string, (tree: Tree) => boolean>> = {
  TruncateStmt: () => true,
  DropStmt: (tree) => !flagIn(tree, 'concurrent'),
  AlterTableStmt: (tree) => stringIn(tree, 'objtype') === 'OBJECT_TABLE' && nodesIn(tree, 'cmds').every((one) => !flagIn(nodeIn(one.tree, 'def')?.tree ?? {}, 'concurrent')),
};

const rowless: ReadonlySet<string> = new Set(['AT_DropConstraint', 'AT_ColumnDefault', 'AT_DropNotNull', 'AT_DropIdentity', 'AT_DetachPartition']);

function commandsOf(tree: Tree): readonly string[] { return nodesIn(tree, 'cmds').map((one) => stringIn(one.tree, 'subtype') ?? ''); }

function quoted(names: readonly string[]): string { return names.map((name) => `"${name.replaceAll('"', '""')}"`).join('.'); }
