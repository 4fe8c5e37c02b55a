/**
 * Visits every node and every field of a parse tree, without recursion and without a list of known places, and knows at
 * each node which CTE names are in scope there. PostgreSQL scopes them: WITH names are seen by the statement they belong
 * to and by what is inside it, one CTE sees those before it, and all of them only under RECURSIVE. A name is taken for a
 * CTE only where it surely is one, so that no relation of the same name is overlooked.
 */
import { bareTypeOf } from './grammar-nodes.ts';
import { flagIn, isTree, nodesIn, stringIn, treeIn } from './tree.ts';
import type { Node, Tree } from './tree.ts';

export interface Scope {
  /** CTE names, each with its place in its WITH. */
  readonly names: ReadonlyMap<string, number>;
  /** Only those that stand before this place are seen. */
  readonly before: number;
  readonly outer: Scope | undefined;
}

export interface Visit<C> {
  readonly node: Node;
  readonly scope: Scope | undefined;
  /** What the visitor gave for the node around this one. */
  readonly context: C;
}

/** What is found where a node should be. */
const unknownNode = 'unknown';

/** `visit` returns the context for what is inside the node. */
export function walk<C>(root: Node, context: C, visit: (visit: Visit<C>) => C): void {
  const waiting: Visit<C>[] = [{ node: root, scope: undefined, context }];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const inner = visit(next);
    const children = childrenOf(next.node, next.scope);
    for (const { node, scope } of children.toReversed()) waiting.push({ node, scope, context: inner });
  }
}

interface Child { readonly node: Node; readonly scope: Scope | undefined }

function childrenOf({ type, tree }: Node, scope: Scope | undefined): readonly Child[] {
  if (type === 'WithClause') return cteChildren(tree, scope);
  const withClause = treeIn(tree, 'withClause');
  const own = withClause === undefined ? scope : { names: cteNames(withClause), before: Number.POSITIVE_INFINITY, outer: scope };
  return Object.entries(tree).flatMap(([field, value]) => nodesUnder(type, field, value).map((node) => ({ node, scope: field === 'withClause' ? scope : own })));
}

function cteNames(withClause: Tree): ReadonlyMap<string, number> {
  const names = new Map<string, number>();
  for (const [index, cte] of nodesIn(withClause, 'ctes').entries()) {
    const name = stringIn(cte.tree, 'ctename') ?? '';
    if (!names.has(name)) names.set(name, index);
  }
  return names;
}

function cteChildren(tree: Tree, scope: Scope | undefined): readonly Child[] {
  const names = cteNames(tree);
  const isRecursive = flagIn(tree, 'recursive');
  const ctes = nodesUnder('WithClause', 'ctes', tree['ctes'] ?? []);
  return ctes.map((node, index) => ({ node, scope: { names, before: isRecursive ? Number.POSITIVE_INFINITY : index, outer: scope } }));
}

function nodesUnder(type: string, field: string, value: unknown): readonly Node[] {
  if (Array.isArray(value)) return value.flatMap((item: unknown) => wrapped(item));
  if (!isTree(value)) return [];
  const bare = bareTypeOf(type, field);
  return bare === undefined ? wrapped(value) : [{ type: bare, tree: value }];
}

/** A node with its type's name around it, nothing for an empty place in a list, and an unknown node for anything else. */
function wrapped(value: unknown): readonly Node[] {
  if (!isTree(value)) return Array.isArray(value) ? [{ type: unknownNode, tree: {} }] : [];
  const entries = Object.entries(value);
  const [entry] = entries;
  if (entry === undefined) return [];
  return entries.length === 1 && isTree(entry[1]) ? [{ type: entry[0], tree: entry[1] }] : [{ type: unknownNode, tree: {} }];
}

export function isCte(name: string, scope: Scope | undefined): boolean {
  for (let at = scope; at !== undefined; at = at.outer) if ((at.names.get(name) ?? Number.POSITIVE_INFINITY) < at.before) return true;
  return false;
}
