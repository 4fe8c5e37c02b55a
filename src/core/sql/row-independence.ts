/**
 * Whether a predicate looks at the row that it is asked about. One that does not (a parameter, the clock, a subquery that
 * never mentions the table) holds for all rows or for none, so it keeps nothing back.
 */
import { isTree, nodeIn, nodeOf, nodesIn, stringIn, textOfString, treeIn } from './tree.ts';
import type { Node, Tree } from './tree.ts';

/** The table whose rows are chosen. */
export interface Target {
  readonly relation: string;
  /** What columns are qualified with: the alias where there is one. */
  readonly alias: string;
}

interface Visit { readonly value: unknown; readonly hidden: ReadonlySet<string> }

/** True when no part of the expression can depend on a row of the target. */
export function isIndependent(node: Node, target: Target): boolean {
  const waiting: Visit[] = [{ value: { [node.type]: node.tree }, hidden: new Set() }];
  for (let visit = waiting.pop(); visit !== undefined; visit = waiting.pop()) {
    const { value, hidden } = visit;
    if (Array.isArray(value)) {
      for (const item of value as readonly unknown[]) waiting.push({ value: item, hidden });
      continue;
    }
    if (!isTree(value)) continue;
    for (const [key, child] of Object.entries(value)) {
      if (key === 'CurrentOfExpr') return false;
      if (key === 'ColumnRef' && isTree(child)) {
        if (looksAt(child, target, hidden)) return false;
        continue;
      }
      const isSelect = isTree(child) && (key === 'SelectStmt' || key === 'larg' || key === 'rarg');
      waiting.push({ value: child, hidden: isSelect ? new Set([...hidden, ...sourcesOf(child)]) : hidden });
    }
  }
  return true;
}

function looksAt(column: Tree, target: Target, hidden: ReadonlySet<string>): boolean {
  const fields = nodesIn(column, 'fields');
  const qualifier = textOfString(fields.at(-2))[0];
  // A bare name may be a column of the target, wherever it stands.
  if (fields.length < 2 || qualifier === undefined) return true;
  return qualifier === target.alias && !hidden.has(qualifier);
}

/** The names by which the FROM of a SELECT calls its parts. */
function sourcesOf(select: Tree): readonly string[] {
  const names: string[] = [];
  const waiting: Node[] = [...nodesIn(select, 'fromClause')];
  for (let item = waiting.pop(); item !== undefined; item = waiting.pop()) {
    const alias = stringIn(treeIn(item.tree, 'alias') ?? {}, 'aliasname') ?? (item.type === 'RangeVar' ? stringIn(item.tree, 'relname') : undefined);
    if (alias !== undefined) names.push(alias);
    for (const part of ['larg', 'rarg', 'relation']) {
      const inner = item.type === 'RangeVar' ? undefined : nodeIn(item.tree, part);
      if (inner !== undefined) waiting.push(inner);
    }
  }
  return names;
}

/** `EXISTS (SELECT 1)`, and `id IN (SELECT id FROM the_table_itself)`. */
export function isSurelyTrueOnSubselect(subLink: Node, target: Target): boolean {
  const select = nodeIn(subLink.tree, 'subselect');
  if (select?.type !== 'SelectStmt' || isNarrowed(select.tree)) return false;
  const kind = stringIn(subLink.tree, 'subLinkType');
  const from = nodesIn(select.tree, 'fromClause');
  if (kind === 'EXISTS_SUBLINK') return from.length === 0 || (from.length === 1 && isTarget(from[0], target));
  const tested = lastName(nodeOf(subLink.tree['testexpr']));
  const [chosen, ...more] = nodesIn(select.tree, 'targetList');
  const selected = chosen === undefined || more.length > 0 ? undefined : lastName(nodeOf(chosen.tree['val']));
  return kind === 'ANY_SUBLINK' && tested !== undefined && tested === selected && from.length === 1 && isTarget(from[0], target);
}

function isNarrowed(select: Tree): boolean {
  return ['whereClause', 'havingClause', 'limitCount', 'limitOffset', 'groupClause', 'distinctClause', 'valuesLists', 'larg'].some((field) => Object.hasOwn(select, field));
}

function isTarget(item: Node | undefined, target: Target): boolean {
  return item?.type === 'RangeVar' && stringIn(item.tree, 'relname') === target.relation;
}

function lastName(node: Node | undefined): string | undefined {
  return node?.type === 'ColumnRef' ? textOfString(nodesIn(node.tree, 'fields').at(-1))[0] : undefined;
}
