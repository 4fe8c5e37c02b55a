/**
 * Access to libpg-query's parse tree. A node is `{ TypeName: { …fields } }`, except where a field can hold only one type:
 * there the fields stand bare, and grammar-nodes.ts says of which type they are. Everything here tolerates absence, because
 * the tree leaves out what is empty, zero or false.
 */
export type Tree = Readonly<Record<string, unknown>>;

export interface Node {
  readonly type: string;
  readonly tree: Tree;
}

const empty: Tree = {};

export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `{ Type: {…} }`; undefined for anything else. */
export function nodeOf(value: unknown): Node | undefined {
  if (!isTree(value)) return undefined;
  const entries = Object.entries(value);
  const [entry] = entries;
  if (entry === undefined || entries.length !== 1 || !isTree(entry[1])) return undefined;
  return { type: entry[0], tree: entry[1] };
}

export function nodeIn(tree: Tree, field: string): Node | undefined {
  return Object.hasOwn(tree, field) ? nodeOf(tree[field]) : undefined;
}

export function nodesIn(tree: Tree, field: string): readonly Node[] {
  const value = Object.hasOwn(tree, field) ? tree[field] : undefined;
  if (!Array.isArray(value)) return [];
  return value.flatMap((item: unknown) => nodeOf(item) ?? []);
}

/** Fields that stand bare, or those of a node of that one type. */
export function treeIn(tree: Tree, field: string): Tree | undefined {
  const value = Object.hasOwn(tree, field) ? tree[field] : undefined;
  return isTree(value) ? value : undefined;
}

export function stringIn(tree: Tree, field: string): string | undefined {
  const value = Object.hasOwn(tree, field) ? tree[field] : undefined;
  return typeof value === 'string' ? value : undefined;
}

export function numberIn(tree: Tree, field: string): number {
  const value = Object.hasOwn(tree, field) ? tree[field] : undefined;
  return typeof value === 'number' ? value : 0;
}

export function flagIn(tree: Tree, field: string): boolean {
  return Object.hasOwn(tree, field) && tree[field] === true;
}

/** The texts of a list of String nodes: a qualified name as written. */
export function namesIn(tree: Tree, field: string): readonly string[] {
  return nodesIn(tree, field).flatMap(textOfString);
}

export function textOfString(node: Node | undefined): string[] {
  return node?.type === 'String' ? [stringIn(node.tree, 'sval') ?? ''] : [];
}

/** The names inside a node that is a List of String nodes, a String, a TypeName, a RangeVar or an ObjectWithArgs. */
export function namesOf(node: Node | undefined): readonly string[] {
  switch (node?.type) {
    case 'String': return textOfString(node);
    case 'List': return namesIn(node.tree, 'items');
    case 'TypeName': return namesIn(node.tree, 'names');
    case 'ObjectWithArgs': return namesIn(node.tree, 'objname');
    case 'RangeVar': return rangeVarNames(node.tree);
    default: return [];
  }
}

export function rangeVarNames(tree: Tree): readonly string[] {
  return [stringIn(tree, 'catalogname'), stringIn(tree, 'schemaname'), stringIn(tree, 'relname')].filter((name) => name !== undefined);
}

/** Value of an A_Const that is a string. */
export function stringConstant(node: Node | undefined): string | undefined {
  if (node?.type !== 'A_Const' || !Object.hasOwn(node.tree, 'sval')) return undefined;
  return stringIn(treeIn(node.tree, 'sval') ?? empty, 'sval') ?? '';
}
