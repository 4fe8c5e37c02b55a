/**
 * What can be captured of a statement that drops, empties or rewrites: the rows of every table that loses them, and what
 * makes each object again. What falls along is seen when it falls, and brought back in a rehearsal before anything commits;
 * here is only told what the text and the catalog promise.
 */
import type { Effect } from '../risk.ts';
import { keyOf, type Catalog } from '../sql/catalog.ts';
import type { QualifiedName, RelationFact } from '../sql/catalog-facts.ts';
import type { Statement } from '../sql/statement.ts';
import { takenBy } from '../sql/taken.ts';
import { flagIn, nodesIn, stringIn, type Tree } from '../sql/tree.ts';
import { changesDefinition, named, refused, resolve, type Covered, type Resolved } from './covered.ts';
import { hidingHole, isWrite, wholeOf } from './covered-images.ts';
import type { CoverageInput } from './coverage.ts';

export function coveredTables(input: CoverageInput): Covered {
  const { statements: [statement, ...more], risk: { effects, recoverability }, catalog } = input;
  if (statement === undefined || more.length > 0) return refused('what drops, empties or rewrites can be captured only by itself; send its statements one by one');
  if (effects.some(isWrite)) return refused('it changes rows as well as definitions');
  const tree = treeOf(statement, input);
  const why = tree === undefined ? 'its text could not be read by itself' : readers[statement.node]?.(tree);
  if (why !== undefined || !Object.hasOwn(readers, statement.node)) return refused(why ?? 'nothing is known that would make again what it changes');
  if (takenBy(statement, input.parser) === undefined) return refused('what it names cannot be looked up beforehand');
  const { found, missing } = resolve(effects.filter((effect) => changesDefinition(effect) && isNamedTable(effect)), catalog);
  // The catalog that is known here holds no indexes, and they hold no rows.
  if (missing[0] !== undefined && stringIn(tree ?? {}, 'removeType') !== 'OBJECT_INDEX') return refused(`${missing[0]} is not in the catalog that is known here`);
  const losing = losingTables(statement, found, catalog);
  const hole = losing.map((table) => hidingHole(table, catalog)).find((one) => one !== undefined);
  if (hole !== undefined) return refused(hole);
  const tables = [...new Set(losing.map(keyOf))].toSorted();
  const scope = recoverability === 'table' && tables.length > 0 ? 'table' : 'schema';
  return { kind: 'covered', coverage: { scope, method: 'tables', tables, sentence: sentenceOf(statement, tables), lost: lostWith(statement, tables), ...(tables.length > 0 && stringIn(tree ?? {}, 'removeType') === 'OBJECT_TABLE' ? { canSetAside: true } : {}) } };
}

function treeOf({ text, node }: Statement, { parser }: CoverageInput): Tree | undefined {
  const parsed = parser.parse(text);
  const [own, ...more] = parsed.kind === 'parsed' ? parsed.statements : [];
  return own !== undefined && more.length === 0 && own.node === node ? own.tree : undefined;
}

/** Of each statement that can be captured, why this one cannot. */
const readers: Readonly<Record<string, (tree: Tree) => string | undefined>> = {
  TruncateStmt: () => undefined,
  DropStmt: (tree) => {
    if (flagIn(tree, 'concurrent')) return 'DROP … CONCURRENTLY takes no part in a transaction';
    return droppable.has(stringIn(tree, 'removeType') ?? '') ? undefined : 'nothing is known that would make again what it drops';
  },
  AlterTableStmt: (tree) => {
    if (stringIn(tree, 'objtype') !== 'OBJECT_TABLE') return 'only of a table are the old values and definition kept';
    const others = nodesIn(tree, 'cmds').filter((one) => !rewriting.has(stringIn(one.tree, 'subtype') ?? ''));
    return others.length === 0 ? undefined : 'it also changes the table in another way; send that by itself';
  },
};

const droppable: ReadonlySet<string> = new Set([
  'OBJECT_TABLE', 'OBJECT_VIEW', 'OBJECT_MATVIEW', 'OBJECT_SEQUENCE', 'OBJECT_INDEX', 'OBJECT_SCHEMA', 'OBJECT_FUNCTION', 'OBJECT_PROCEDURE', 'OBJECT_ROUTINE', 'OBJECT_TYPE',
  'OBJECT_DOMAIN', 'OBJECT_TRIGGER', 'OBJECT_RULE', 'OBJECT_POLICY', 'OBJECT_STATISTIC_EXT',
]);
const rewriting: ReadonlySet<string> = new Set(['AT_DropColumn', 'AT_AlterColumnType', 'AT_SetExpression', 'AT_DropConstraint']);
const tableWords: ReadonlySet<string> = new Set(['table', 'relation']);

function isNamedTable({ object, objectKind }: Effect): boolean { return object !== undefined && tableWords.has(objectKind ?? ''); }

/** An altered table loses values of all its rows; what loses only a key, or stands for another object, loses none. */
function losingTables({ node }: Statement, found: Resolved['found'], catalog: Catalog): readonly RelationFact[] {
  const isLosing = ({ kind, via = [] }: Effect): boolean => kind === 'drop' || kind === 'truncate' || (kind === 'alter' && node === 'AlterTableStmt' && via.length === 0);
  const tables = found.filter(({ effect, fact }) => isLosing(effect) && (fact.kind === 'table' || fact.kind === 'partitioned-table')).map(({ fact }) => fact);
  // Of a partition that falls alone only its own rows are lost.
  return node === 'AlterTableStmt' ? tables.map((table) => wholeOf(table, catalog)) : tables;
}

function sentenceOf({ node }: Statement, tables: readonly QualifiedName[]): string {
  if (tables.length === 0) return 'It can be undone: the definition of what it drops, and of all that falls with it, is kept before it commits.';
  const what = node === 'TruncateStmt' ? `all rows of ${named(tables)}` : `all rows of ${named(tables)}, and the definition of all that it drops or changes,`;
  return `It can be undone to the whole ${tables.length === 1 ? 'table' : 'tables'}: ${what} are kept before it commits.`;
}

function lostWith({ node, own }: Statement, tables: readonly QualifiedName[]): readonly string[] {
  const dropsColumn = node === 'AlterTableStmt' && own.effects.some(({ kind, objectKind }) => kind === 'drop' && objectKind === 'column');
  return [
    ...(dropsColumn ? ['Rows that others add after it get the default of the dropped column.'] : []),
    ...(tables.length > 0 && node !== 'TruncateStmt' ? ['Statistics of the planner are not kept; ANALYZE gathers them again.'] : []),
    ...(own.effects.some(({ objectKind }) => objectKind === 'materialized view') ? ['A materialized view comes back with what its query gives then.'] : []),
    ...(node === 'DropStmt' ? ['Objects come back under new object ids.'] : []),
  ];
}
