/**
 * Which stored columns a statement may read, before any catalog is asked. Names are collected over the whole statement,
 * whichever relation they belong to; a relation whose row may be taken whole, or whose columns have been given other names,
 * is said to be read in every column. So what is told is never less than what is read: stars, whole-row references,
 * attribute notation, NATURAL JOIN, renamed columns and RETURNING old and new count as everything they could mean.
 */
import type { ColumnReads } from './mentions.ts';
import { flagIn, namesIn, nodeIn, nodesIn, stringIn, textOfString, treeIn } from './tree.ts';
import type { Node, Tree } from './tree.ts';

/** In RETURNING and ON CONFLICT these mean the row of the target. */
const targetRows: ReadonlySet<string> = new Set(['old', 'new', 'excluded']);

export class ColumnReading {
  readonly #names = new Set<string>();
  /** Names that may stand for a whole row: `x` and `x.*`. */
  readonly #rows = new Set<string>();
  /** Qualifier → what was selected from it. */
  readonly #selected = new Map<string, Set<string>>();
  /** Relations that a query reads; of any other one nothing is known. */
  readonly #queried = new Set<Tree>();
  /** Relations that an unqualified star stands beside. */
  readonly #starred = new Set<Tree>();
  readonly #starsSeen = new Set<Tree>();
  readonly #joinAliases = new Set<string>();
  readonly #targets = new Set<Tree>();
  #isAnything = false;

  visit({ type, tree }: Node): void {
    switch (type) {
      case 'SelectStmt': this.#select(tree); break;
      case 'InsertStmt': case 'UpdateStmt': case 'DeleteStmt': case 'MergeStmt': this.#change(tree); break;
      case 'JoinExpr': this.#join(tree); break;
      case 'RangeTableSample': this.#query(relationOf({ type, tree })); break;
      case 'ColumnRef': this.#column(tree); break;
      case 'A_Indirection': this.#indirection(tree); break;
      case 'IndexElem': this.#name(stringIn(tree, 'name')); break;
      case 'ReturningOption': this.#isAnything = true; break;
      default: break;
    }
  }

  /** Ask after everything was visited. Undefined: any column. */
  readsOf(rangeVar: Tree): ColumnReads | undefined {
    const alias = treeIn(rangeVar, 'alias') ?? {};
    const known = new Set([stringIn(alias, 'aliasname') ?? stringIn(rangeVar, 'relname') ?? '', ...(this.#targets.has(rangeVar) ? targetRows : [])]);
    const isRenamed = nodesIn(alias, 'colnames').length > 0;
    const isWhole = [...known].some((name) => this.#rows.has(name)) || [...this.#joinAliases].some((name) => this.#rows.has(name) || this.#selected.has(name));
    if (this.#isAnything || isRenamed || isWhole || this.#starred.has(rangeVar) || !this.#queried.has(rangeVar)) return undefined;
    return { names: this.#names, selected: [...known].flatMap((name) => [...this.#selected.get(name) ?? []]) };
  }

  #select(tree: Tree): void {
    const from = nodesIn(tree, 'fromClause');
    for (const item of from) this.#query(relationOf(item));
    const stars = nodesIn(tree, 'targetList').flatMap(({ tree: target }) => nodeIn(target, 'val') ?? []).filter(isStar);
    if (stars.length === 0) return;
    for (const star of stars) this.#starsSeen.add(star.tree);
    for (const item of from) this.#star(item);
  }

  /** Every relation of a FROM item, through its joins. */
  #star(item: Node): void {
    const waiting = [item];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const relation = relationOf(next);
      if (relation !== undefined) this.#starred.add(relation);
      if (next.type === 'JoinExpr') waiting.push(...[nodeIn(next.tree, 'larg'), nodeIn(next.tree, 'rarg')].filter((side) => side !== undefined));
    }
  }

  #change(tree: Tree): void {
    const target = treeIn(tree, 'relation');
    this.#query(target);
    if (target !== undefined) this.#targets.add(target);
    for (const item of [...nodesIn(tree, 'fromClause'), ...nodesIn(tree, 'usingClause'), nodeIn(tree, 'sourceRelation')]) this.#query(relationOf(item));
  }

  #join(tree: Tree): void {
    for (const side of ['larg', 'rarg']) this.#query(relationOf(nodeIn(tree, side)));
    for (const name of namesIn(tree, 'usingClause')) this.#name(name);
    const alias = treeIn(tree, 'alias') ?? {};
    if (flagIn(tree, 'isNatural') || nodesIn(alias, 'colnames').length > 0) this.#isAnything = true;
    const name = stringIn(alias, 'aliasname');
    if (name !== undefined) this.#joinAliases.add(name);
  }

  #column(tree: Tree): void {
    const fields = nodesIn(tree, 'fields');
    const [last] = fields.slice(-1).flatMap(textOfString);
    const [qualifier] = fields.slice(-2, -1).flatMap(textOfString);
    if (last !== undefined && qualifier === undefined) this.#rows.add(last);
    if (last === undefined && qualifier !== undefined) this.#rows.add(qualifier);
    // A star that belongs to no list of a SELECT stands in RETURNING, or somewhere that is not known here.
    if (last === undefined && qualifier === undefined && !this.#starsSeen.has(tree)) this.#isAnything = true;
    this.#name(last);
    if (last !== undefined && qualifier !== undefined) this.#selected.set(qualifier, (this.#selected.get(qualifier) ?? new Set()).add(last));
  }

  #indirection(tree: Tree): void {
    for (const name of nodesIn(tree, 'indirection').flatMap(textOfString)) this.#name(name);
  }

  #name(name: string | undefined): void { if (name !== undefined) this.#names.add(name); }
  #query(relation: Tree | undefined): void { if (relation !== undefined) this.#queried.add(relation); }
}

function isStar({ type, tree }: Node): boolean {
  const fields = nodesIn(tree, 'fields');
  return type === 'ColumnRef' && fields.length === 1 && fields[0]?.type === 'A_Star';
}

/** A relation of a FROM list, also where only a part of it is sampled. */
function relationOf(item: Node | undefined): Tree | undefined {
  if (item?.type === 'RangeVar') return item.tree;
  return item?.type === 'RangeTableSample' ? relationOf(nodeIn(item.tree, 'relation')) : undefined;
}
