/**
 * What each expression and clause node of the grammar mentions: functions, operators, types, attribute notation. Every
 * node type that a statement can contain has a row; most run nothing of their own, because what they hold is walked as
 * nodes of its own. Calls in disguise (TABLESAMPLE, BETWEEN, LIKE, ORDER BY USING, quantified subqueries) have theirs here.
 */
import type { FunctionMention, OperatorMention, TypeMention } from './mentions.ts';
import { flagIn, namesIn, nodeIn, nodeOf, nodesIn, stringConstant, stringIn, textOfString, treeIn } from './tree.ts';
import type { Node, Tree } from './tree.ts';

/** Where a node's mentions go. */
export interface MentionSink {
  readonly functions: FunctionMention[];
  readonly operators: OperatorMention[];
  readonly types: TypeMention[];
  readonly attributes: string[];
  readonly fields: string[];
  /** TypeName nodes that are option words, not types. */
  readonly notTypes: Set<Tree>;
}

type ExpressionRow = (tree: Tree, sink: MentionSink) => void;

const runsNothing: ExpressionRow = () => {};

const silent = [
  'A_ArrayExpr', 'A_Const', 'A_Indices', 'A_Star', 'ATAlterConstraint', 'AccessPriv', 'Alias', 'AlterTableCmd', 'BitString', 'BoolExpr', 'Boolean',
  'BooleanTest', 'CTECycleClause', 'CTESearchClause', 'CaseWhen', 'CoalesceExpr', 'CollateClause', 'ColumnDef', 'CommonTableExpr',
  'Constraint', 'CreateOpClassItem', 'CurrentOfExpr', 'Float', 'FunctionParameter', 'GroupingFunc', 'GroupingSet', 'IndexElem', 'InferClause',
  'Integer', 'IntoClause', 'JsonAggConstructor', 'JsonArgument', 'JsonArrayAgg', 'JsonArrayConstructor', 'JsonArrayQueryConstructor',
  'JsonBehavior', 'JsonFormat', 'JsonFuncExpr', 'JsonIsPredicate', 'JsonKeyValue', 'JsonObjectAgg', 'JsonObjectConstructor', 'JsonOutput',
  'JsonParseExpr', 'JsonReturning', 'JsonScalarExpr', 'JsonSerializeExpr', 'JsonTable', 'JsonTableColumn', 'JsonTablePathSpec', 'JsonValueExpr',
  'List', 'LockingClause', 'MergeSupportFunc', 'MergeWhenClause', 'MinMaxExpr', 'MultiAssignRef', 'NamedArgExpr', 'NullTest', 'ObjectWithArgs',
  'OnConflictClause', 'ParamRef', 'PartitionBoundSpec', 'PartitionCmd', 'PartitionElem', 'PartitionRangeDatum', 'PartitionSpec', 'PublicationObjSpec',
  'PublicationTable', 'RangeFunction', 'RangeSubselect', 'RangeTableFunc', 'RangeTableFuncCol', 'RawStmt', 'ReplicaIdentityStmt', 'ResTarget',
  'ReturningClause', 'ReturningOption', 'RoleSpec', 'RowExpr', 'SQLValueFunction', 'SetToDefault', 'SinglePartitionSpec', 'StatsElem', 'String',
  'TableLikeClause', 'TriggerTransition', 'TypeCast', 'VacuumRelation', 'WindowDef', 'WithClause', 'XmlExpr', 'XmlSerialize',
  // Its names and their scope are walk.ts's business.
  'RangeVar',
] as const;

export const expressionRows: ReadonlyMap<string, ExpressionRow> = new Map<string, ExpressionRow>([
  ...silent.map((type) => [type, runsNothing] as const),
  ['A_Expr', (tree, sink) => { sink.operators.push(...operatorsOf(tree)); }],
  ['A_Indirection', (tree, sink) => { sink.fields.push(...nodesIn(tree, 'indirection').flatMap(textOfString)); }],
  ['ColumnRef', (tree, sink) => { sink.attributes.push(...attributeOf(tree)); }],
  ['DefElem', (tree, sink) => { const arg = nodeIn(tree, 'arg'); if (arg?.type === 'TypeName') sink.notTypes.add(arg.tree); }],
  ['FuncCall', (tree, sink) => { sink.functions.push(callOf(tree)); }],
  ['RangeTableSample', (tree, sink) => { sink.functions.push({ ...qualified(namesIn(tree, 'method')), argCount: 1, constants: [null], kind: 'call' }); }],
  ['SortBy', (tree, sink) => { sink.operators.push(...named(namesIn(tree, 'useOp'), 2)); }],
  ['CaseExpr', (tree, sink) => { if (nodeIn(tree, 'arg') !== undefined) sink.operators.push(equality); }],
  ['JoinExpr', (tree, sink) => { if (flagIn(tree, 'isNatural') || nodesIn(tree, 'usingClause').length > 0) sink.operators.push(equality); }],
  ['SubLink', (tree, sink) => { sink.operators.push(...comparisonOf(tree)); }],
  ['TypeName', (tree, sink) => { if (!sink.notTypes.has(tree)) sink.types.push(typeOf(tree)); }],
]);

/** CASE x WHEN, JOIN USING and IN (SELECT …) look up `=` like a written one. */
const equality: OperatorMention = { name: '=', arity: 2 };

function comparisonOf(subLink: Tree): readonly OperatorMention[] {
  const written = named(namesIn(subLink, 'operName'), 2);
  return written.length > 0 || stringIn(subLink, 'subLinkType') !== 'ANY_SUBLINK' ? written : [equality];
}

/** What BETWEEN stands for; the grammar makes operators of it that are looked up like written ones. */
const impliedOperators: ReadonlyMap<string, readonly string[]> = new Map([
  ['AEXPR_BETWEEN', ['>=', '<=']], ['AEXPR_NOT_BETWEEN', ['<', '>']], ['AEXPR_BETWEEN_SYM', ['>=', '<=']], ['AEXPR_NOT_BETWEEN_SYM', ['<', '>']],
]);

function operatorsOf(tree: Tree): readonly OperatorMention[] {
  const implied = impliedOperators.get(stringIn(tree, 'kind') ?? '');
  if (implied !== undefined) return implied.map((name) => ({ name, arity: 2 }));
  return named(namesIn(tree, 'name'), nodeIn(tree, 'lexpr') === undefined ? 1 : 2);
}

function named(names: readonly string[], arity: 1 | 2): readonly OperatorMention[] {
  return names.length === 0 ? [] : [{ ...qualified(names), arity }];
}

/** The last part of `a.b`: a column of a, or the function b called with a (H20). A single name is never a call. */
function attributeOf(tree: Tree): readonly string[] {
  const fields = nodesIn(tree, 'fields');
  return fields.length < 2 ? [] : textOfString(fields.at(-1));
}

export function qualified(names: readonly string[]): { readonly schema?: string; readonly name: string } {
  const name = names.at(-1) ?? '';
  const schema = names.at(-2);
  return schema === undefined ? { name } : { schema, name };
}

function callOf(tree: Tree): FunctionMention {
  const args = nodesIn(tree, 'args');
  const namedArgs = args.flatMap((arg) => (arg.type === 'NamedArgExpr' ? [stringIn(arg.tree, 'name') ?? ''] : []));
  // VARIADIC and WITHIN GROUP pass more or fewer arguments than are written: any overload may be meant.
  const isCountKnown = !flagIn(tree, 'func_variadic') && !flagIn(tree, 'agg_within_group');
  return {
    ...qualified(namesIn(tree, 'funcname')),
    ...(isCountKnown ? { argCount: args.length } : {}),
    ...(namedArgs.length > 0 ? { namedArgs } : {}),
    ...(args.some(isColumn) ? { isOfColumn: true } : {}),
    constants: args.map(constantOf),
    kind: 'call',
  };
}

function isColumn(arg: Node): boolean {
  let at: Node | undefined = arg;
  while (at?.type === 'TypeCast') at = nodeIn(at.tree, 'arg');
  return at?.type === 'ColumnRef';
}

/** The text of a constant argument, also behind a cast to text, which leaves it as it is. */
function constantOf(arg: Node): string | null {
  if (arg.type === 'NamedArgExpr') {
    const value = nodeIn(arg.tree, 'arg');
    return value === undefined ? null : constantOf(value);
  }
  if (arg.type !== 'TypeCast') return stringConstant(arg) ?? null;
  const type = treeIn(arg.tree, 'typeName') ?? {};
  const isText = namesIn(type, 'names').at(-1) === 'text' && nodesIn(type, 'arrayBounds').length === 0;
  return isText ? stringConstant(nodeOf(arg.tree['arg'])) ?? null : null;
}

/** `x%TYPE` names a column, whose type nobody has looked up: its name is `%TYPE`, which no type has. */
export function typeOf(tree: Tree): TypeMention {
  return flagIn(tree, 'pct_type') ? { name: '%TYPE' } : qualified(namesIn(tree, 'names'));
}
