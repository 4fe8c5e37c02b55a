/**
 * Does a WHERE hold anything back? A predicate that cannot be false for any row, or that does not depend on the row at
 * all, counts as absent (H70). Three-valued logic over sets of possible values; what is not understood may be anything.
 * A predicate nested deeper than this looks counts as absent too.
 */
import { isSurelyTrueOnSubselect, isIndependent } from './row-independence.ts';
import type { Target } from './row-independence.ts';
import { flagIn, isTree, namesIn, nodeIn, nodesIn, nodeOf, stringIn, treeIn } from './tree.ts';
import type { Node } from './tree.ts';

/** A set of truth values: bits for true, false and null. */
type Values = number;
const yes: Values = 1;
const no: Values = 2;
const unknown: Values = 4;
const anything: Values = 7;

// `id = id` is null where id is null; such rows are left out of account, because nobody means them by it.

/** Objects and lists inside each other; each node of the grammar counts two or three. */
const depthMax = 600;
const comparedCharsMax = 10_000_000;

/** True when the WHERE is missing, or keeps back no row of `target`. */
export function isUnbounded(where: Node | undefined, target: Target): boolean {
  if (where === undefined) return true;
  if (isTooDeep(where)) return true;
  const budget = { charsLeft: comparedCharsMax };
  const values = valuesOf(where, { target, worst: yes, budget });
  return budget.charsLeft < 0 || ((values & yes) !== 0 && (values & no) === 0);
}

function isTooDeep(node: Node): boolean {
  const waiting: (readonly [unknown, number])[] = [[node.tree, 0]];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [value, depth] = next;
    if (depth > depthMax) return true;
    const inner: readonly unknown[] = Array.isArray(value) ? value : isTree(value) ? Object.values(value) : [];
    for (const one of inner) if (typeof one === 'object') waiting.push([one, depth + 1]);
  }
  return false;
}

interface Context {
  readonly target: Target;
  /** What an operand counts as that is the same for all rows but not known. */
  readonly worst: Values;
  /** Comparing expressions costs their length at every level; once it is used up the WHERE counts as none. */
  readonly budget: { charsLeft: number };
}

function valuesOf(node: Node, context: Context): Values {
  const constant = constantValue(node);
  if (constant !== undefined) return constant;
  const known = structured(node, context);
  if (known !== anything) return known;
  return isIndependent(node, context.target) ? context.worst : anything;
}

function structured(node: Node, context: Context): Values {
  switch (node.type) {
    case 'BoolExpr': return connective(node, context);
    case 'A_Expr': return comparison(node, context);
    case 'NullTest': return nullTest(node, context);
    case 'BooleanTest': return booleanTest(node, context);
    case 'CaseExpr': return caseOf(node, context);
    case 'CoalesceExpr': return coalesceOf(node, context);
    case 'TypeCast': case 'CollateClause': { const arg = nodeIn(node.tree, 'arg'); return arg === undefined ? anything : valuesOf(arg, context); }
    case 'SubLink': return isSurelyTrueOnSubselect(node, context.target) ? yes : anything;
    default: return anything;
  }
}

const truths: ReadonlySet<string> = new Set(['t', 'tr', 'tru', 'true', 'y', 'ye', 'yes', 'on', '1']);
const falsehoods: ReadonlySet<string> = new Set(['f', 'fa', 'fal', 'fals', 'false', 'n', 'no', 'of', 'off', '0']);

function constantValue({ type, tree }: Node): Values | undefined {
  if (type !== 'A_Const') return undefined;
  if (flagIn(tree, 'isnull')) return unknown;
  const flag = treeIn(tree, 'boolval');
  if (flag !== undefined) return flagIn(flag, 'boolval') ? yes : no;
  const text = treeIn(tree, 'sval');
  if (text !== undefined) {
    const word = (stringIn(text, 'sval') ?? '').trim().toLowerCase();
    return truths.has(word) ? yes : falsehoods.has(word) ? no : undefined;
  }
  const integer = treeIn(tree, 'ival');
  return integer === undefined ? undefined : integer['ival'] === undefined || integer['ival'] === 0 ? no : yes;
}

function flip(values: Values): Values {
  return ((values & yes) === 0 ? 0 : no) | ((values & no) === 0 ? 0 : yes) | (values & unknown);
}

function connective(node: Node, context: Context): Values {
  const args = nodesIn(node.tree, 'args');
  const kind = stringIn(node.tree, 'boolop');
  if (kind === 'NOT_EXPR') {
    const [arg] = args;
    return arg === undefined ? anything : flip(valuesOf(arg, { ...context, worst: flip(context.worst) }));
  }
  const sets = args.map((arg) => valuesOf(arg, context));
  // NOT (a AND b) is NOT a OR NOT b, so an AND whose parts exclude each other is what an OR that covers all is.
  if (kind === 'AND_EXPR') return coversAll(args.map(negated), context) ? no : conjunction(sets);
  return coversAll(args, context) ? yes : flip(conjunction(sets.map(flip)));
}

function conjunction(sets: readonly Values[]): Values {
  const canBeTrue = sets.every((set) => (set & yes) !== 0);
  const canBeFalse = sets.some((set) => (set & no) !== 0);
  const canBeNull = sets.some((set) => (set & unknown) !== 0) && sets.every((set) => set !== no);
  return (canBeTrue ? yes : 0) | (canBeFalse ? no : 0) | (canBeNull ? unknown : 0);
}

interface Literal { readonly node: Node; readonly isNegated: boolean }

function negated(node: Node): Node {
  return { type: 'BoolExpr', tree: { boolop: 'NOT_EXPR', args: [{ [node.type]: node.tree }] } };
}

function literalOf(node: Node): Literal {
  let current = node;
  let isNegated = false;
  while (current.type === 'BoolExpr' && stringIn(current.tree, 'boolop') === 'NOT_EXPR') {
    const [arg] = nodesIn(current.tree, 'args');
    if (arg === undefined) break;
    current = arg;
    isNegated = !isNegated;
  }
  return { node: current, isNegated };
}

/** One of the alternatives holds for every row: `x OR NOT x`, `a < b OR a >= b`, `a IS NULL OR a IS NOT NULL`. */
function coversAll(alternatives: readonly Node[], context: Context): boolean {
  const covered = new Map<string, Set<string>>();
  for (const alternative of alternatives) {
    const { about, cases, of } = claimOf(literalOf(alternative), context);
    const seen = covered.get(about) ?? new Set<string>();
    covered.set(about, seen);
    for (const one of cases) seen.add(one);
    if (of.every((one) => seen.has(one))) return true;
  }
  return false;
}

interface Claim { readonly about: string; readonly cases: readonly string[]; readonly of: readonly string[] }

const orders = ['<', '=', '>'] as const;
const orderCases: ReadonlyMap<string, readonly string[]> = new Map([
  ['<', ['<']], ['<=', ['<', '=']], ['=', ['=']], ['>=', ['>', '=']], ['>', ['>']], ['<>', ['<', '>']], ['!=', ['<', '>']],
]);
/** Operators that are each other's negation, as the positive one. */
const positives: ReadonlyMap<string, string> = new Map([['!~~', '~~'], ['!~~*', '~~*'], ['!~', '~'], ['!~*', '~*'], ['<>', '='], ['!=', '=']]);
const kindPositives: ReadonlyMap<string, string> = new Map([
  ['AEXPR_NOT_BETWEEN', 'AEXPR_BETWEEN'], ['AEXPR_NOT_BETWEEN_SYM', 'AEXPR_BETWEEN_SYM'], ['AEXPR_NOT_DISTINCT', 'AEXPR_DISTINCT'],
]);

/** What a literal says: one of some cases about a subject; all cases together cover everything but null. */
function claimOf({ node, isNegated }: Literal, context: Context): Claim {
  const { type, tree } = node;
  if (type === 'NullTest') return yesNo(`null ${keyOf(tree['arg'], context)}`, (stringIn(tree, 'nulltesttype') === 'IS_NULL') !== isNegated);
  if (type === 'BooleanTest') {
    const test = stringIn(tree, 'booltesttype') ?? '';
    return yesNo(`${test.replace('NOT_', '')} ${keyOf(tree['arg'], context)}`, test.includes('NOT_') === isNegated);
  }
  if (type !== 'A_Expr') return yesNo(keyOf({ [type]: tree }, context), !isNegated);
  const kind = stringIn(tree, 'kind') ?? '';
  const operator = namesIn(tree, 'name').at(-1) ?? '';
  const [left, right] = [keyOf(tree['lexpr'], context), keyOf(tree['rexpr'], context)];
  const order = kind === 'AEXPR_OP' ? orderCases.get(operator) : undefined;
  if (order !== undefined) {
    const said = isNegated ? orders.filter((one) => !order.includes(one)) : order;
    const isTurned = left > right;
    const cases = isTurned ? said.map((one) => (one === '<' ? '>' : one === '>' ? '<' : one)) : said;
    return { about: `order ${isTurned ? right : left} ${isTurned ? left : right}`, cases, of: orders };
  }
  const positiveKind = kindPositives.get(kind) ?? kind;
  const positive = positives.get(operator) ?? operator;
  const isPositive = (positiveKind === kind) === (positive === operator || kind !== positiveKind);
  const label = positiveKind.includes('BETWEEN') || positiveKind.includes('DISTINCT') ? '' : positive;
  return yesNo(`${positiveKind} ${label} ${left} ${right}`, isPositive !== isNegated);
}

function yesNo(about: string, isYes: boolean): Claim {
  return { about, cases: [isYes ? 'yes' : 'no'], of: ['yes', 'no'] };
}

/** Equal for expressions that read the same, wherever they stand. */
function keyOf(value: unknown, { budget }: Context): string {
  if (budget.charsLeft < 0) return '';
  const key = JSON.stringify(value, (name, field: unknown) => (name.endsWith('location') || name.startsWith('rexpr_list') ? undefined : field)) ?? '';
  budget.charsLeft -= key.length;
  return key;
}

const reflexive: ReadonlySet<string> = new Set(['=', '<=', '>=', '~~', '~~*', '@>', '<@', '&&', '~=', '||']);
const irreflexive: ReadonlySet<string> = new Set(['<>', '!=', '<', '>']);
/** LIKE patterns and regular expressions that any text matches. */
const matchesAll: ReadonlySet<string> = new Set(['%', '%%', '%%%']);
const regexMatchesAll: ReadonlySet<string> = new Set(['', '.*', '^', '$', '.*?', '^.*', '.*$', '^.*$', '()', '(.*)', '.{0,}', '[\\s\\S]*']);

function comparison(node: Node, context: Context): Values {
  const { tree } = node;
  const kind = stringIn(tree, 'kind') ?? '';
  const [left, right] = [nodeIn(tree, 'lexpr'), nodeIn(tree, 'rexpr')];
  const operator = namesIn(tree, 'name').at(-1) ?? '';
  if (left === undefined) return anything;
  const isSame = keyOf(tree['lexpr'], context) === keyOf(tree['rexpr'], context);
  switch (kind) {
    case 'AEXPR_DISTINCT': return isSame ? no : anything;
    case 'AEXPR_NOT_DISTINCT': return isSame ? yes : anything;
    case 'AEXPR_IN': return membership(left, Array.isArray(tree['rexpr']) ? tree['rexpr'] : nodesIn(right?.tree ?? {}, 'items').map(wrap), operator === '<>', context);
    case 'AEXPR_BETWEEN': case 'AEXPR_BETWEEN_SYM': return isBetweenItself(left, right, context) ? yes : anything;
    case 'AEXPR_OP_ANY': return operator === '=' && right?.type === 'A_ArrayExpr' ? membership(left, nodesIn(right.tree, 'elements').map(wrap), false, context) : anything;
    case 'AEXPR_OP': case 'AEXPR_LIKE': case 'AEXPR_ILIKE': case 'AEXPR_SIMILAR': break;
    default: return anything;
  }
  if (isSame && reflexive.has(operator)) return yes;
  if (isSame && irreflexive.has(operator)) return no;
  return matching(operator, right) ?? booleanComparison(operator, left, right, context) ?? constantComparison(operator, left, right);
}

function wrap(node: Node): unknown {
  return { [node.type]: node.tree };
}

function membership(left: Node, items: readonly unknown[], isNegated: boolean, context: Context): Values {
  const own = keyOf(wrap(left), context);
  const isMember = items.some((item) => keyOf(item, context) === own);
  if (!isMember) return anything;
  return isNegated ? no : yes;
}

function isBetweenItself(left: Node, right: Node | undefined, context: Context): boolean {
  const [low, high] = nodesIn(right?.tree ?? {}, 'items').map((item) => keyOf(wrap(item), context));
  return low === keyOf(wrap(left), context) && high === low;
}

function matching(operator: string, right: Node | undefined): Values | undefined {
  const pattern = textConstant(right);
  if (pattern === undefined) return undefined;
  if (operator === '~~' || operator === '~~*') return matchesAll.has(pattern) ? yes : undefined;
  if (operator === '!~~' || operator === '!~~*') return matchesAll.has(pattern) ? no : undefined;
  if (operator === '~' || operator === '~*') return regexMatchesAll.has(pattern) ? yes : undefined;
  if (operator === '!~' || operator === '!~*') return regexMatchesAll.has(pattern) ? no : undefined;
  return undefined;
}

function textConstant(node: Node | undefined): string | undefined {
  const inner = node?.type === 'TypeCast' || node?.type === 'CollateClause' ? nodeOf(node.tree['arg']) : node;
  return inner?.type === 'A_Const' && treeIn(inner.tree, 'sval') !== undefined ? stringIn(treeIn(inner.tree, 'sval') ?? {}, 'sval') ?? '' : undefined;
}

/** `p = true`, `true <> p`: p or its negation. Only for what is plainly a truth value. */
function booleanComparison(operator: string, left: Node, right: Node | undefined, context: Context): Values | undefined {
  if (right === undefined || (operator !== '=' && operator !== '<>')) return undefined;
  const [constant, other] = isTruth(right) ? [right, left] : [left, right];
  if (!isTruth(constant)) return undefined;
  const isFlipped = (constantValue(unwrapCast(constant)) === no) !== (operator === '<>');
  const values = valuesOf(other, { ...context, worst: isFlipped ? flip(context.worst) : context.worst });
  return isFlipped ? flip(values) : values;
}

function isTruth(node: Node): boolean {
  return treeIn(unwrapCast(node).tree, 'boolval') !== undefined;
}

function unwrapCast(node: Node): Node {
  return node.type === 'TypeCast' ? nodeIn(node.tree, 'arg') ?? node : node;
}

/** `1 = 2`, `'a' < 'b'`: only equality of like constants and order of integers are computed. */
function constantComparison(operator: string, left: Node, right: Node | undefined): Values {
  const [a, b] = [plainConstant(left), right === undefined ? undefined : plainConstant(right)];
  if (a === undefined || b === undefined) return anything;
  if (a === null || b === null) return unknown;
  const cases = orderCases.get(operator);
  if (cases === undefined || typeof a !== typeof b) return anything;
  // How texts are ordered depends on a collation; whether they are equal hardly does.
  if (typeof a === 'string' && a !== b && operator !== '=' && operator !== '<>' && operator !== '!=') return anything;
  return cases.includes(a === b ? '=' : a < b ? '<' : '>') ? yes : no;
}

function plainConstant(node: Node): number | string | boolean | null | undefined {
  if (node.type !== 'A_Const') return undefined;
  if (flagIn(node.tree, 'isnull')) return null;
  const integer = treeIn(node.tree, 'ival');
  if (integer !== undefined) return typeof integer['ival'] === 'number' ? integer['ival'] : 0;
  const flag = treeIn(node.tree, 'boolval');
  if (flag !== undefined) return flagIn(flag, 'boolval');
  const text = treeIn(node.tree, 'sval');
  return text === undefined ? undefined : stringIn(text, 'sval') ?? '';
}

/** Columns that every row has. */
const systemColumns: ReadonlySet<string> = new Set(['ctid', 'tableoid', 'xmin', 'xmax', 'cmin', 'cmax']);

function nullTest({ tree }: Node, context: Context): Values {
  const arg = nodeIn(tree, 'arg');
  const isNull = stringIn(tree, 'nulltesttype') === 'IS_NULL';
  if (arg === undefined) return anything;
  const last = arg.type === 'ColumnRef' ? nodesIn(arg.tree, 'fields').at(-1) : undefined;
  if (last?.type === 'String' && systemColumns.has(stringIn(last.tree, 'sval') ?? '')) return isNull ? no : yes;
  const constant = plainConstant(arg);
  if (constant !== undefined) return (constant === null) === isNull ? yes : no;
  const values = valuesOf(arg, { ...context, worst: anything });
  if ((values & unknown) === 0) return isNull ? no : yes;
  return anything;
}

function booleanTest({ tree }: Node, context: Context): Values {
  const arg = nodeIn(tree, 'arg');
  if (arg === undefined) return anything;
  const test = stringIn(tree, 'booltesttype') ?? '';
  const isNegated = test.includes('NOT_');
  const wanted = test.endsWith('TRUE') ? yes : test.endsWith('FALSE') ? no : unknown;
  const isTurned = (wanted === no) !== isNegated;
  const values = valuesOf(arg, { ...context, worst: isTurned ? flip(context.worst) : context.worst });
  const result = ((values & wanted) === 0 ? 0 : yes) | ((values & ~wanted) === 0 ? 0 : no);
  return isNegated ? flip(result) : result;
}

function caseOf({ tree }: Node, context: Context): Values {
  const results = nodesIn(tree, 'args').map((when) => nodeIn(when.tree, 'result'));
  const otherwise = nodeIn(tree, 'defresult');
  const reachable = [...results, otherwise].map((result) => (result === undefined ? unknown : valuesOf(result, context)));
  const first = nodesIn(tree, 'args')[0];
  const condition = first === undefined || nodeIn(tree, 'arg') !== undefined ? undefined : nodeIn(first.tree, 'expr');
  if (condition !== undefined && valuesOf(condition, context) === yes) return reachable[0] ?? anything;
  return reachable.reduce((all, one) => all | one, 0);
}

function coalesceOf({ tree }: Node, context: Context): Values {
  let result: Values = 0;
  for (const arg of nodesIn(tree, 'args')) {
    const values = valuesOf(arg, context);
    result |= values & ~unknown;
    if ((values & unknown) === 0) return result;
  }
  return result | unknown;
}
