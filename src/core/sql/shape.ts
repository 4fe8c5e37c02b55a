/**
 * The shape of a text: the same for texts that differ in nothing but the values of plain literals. A SAFE judgement may be
 * remembered by shape, because drivers of the simple protocol send other literals each time; but only where no judgement
 * could look at the values: a single SELECT in which every literal is compared with a column. Whatever is not surely
 * read as PostgreSQL reads it has no shape, and a shape allows nothing but what is SAFE.
 */
import type { ParsedStatement } from '../../lib/pgsql/parser.ts';
import { isTree, nodeIn, nodeOf, nodesIn, stringIn, textOfString } from './tree.ts';
import type { Node } from './tree.ts';

export interface Shape {
  /** The text with each literal replaced; it holds NULs, which no text can. */
  readonly key: string;
  readonly literals: number;
}

/** Longer texts are rare, and no two of them are alike. */
const shapedTextLengthMax = 4_096;
/** Up to nine digits are always an integer of four bytes. */
const digitsMax = 9;

const kinds = { other: 0, word: 1, digit: 2, quote: 3, doubleQuote: 4, hyphen: 5, slash: 6, dot: 7, refused: 8 } as const;

/** What an ASCII character is to the lexer. Refused: control characters, `$` (parameters, dollar quotes), backslash, `&` (U&''). */
const classes: Uint8Array = (() => {
  const table = new Uint8Array(128);
  const put = (letters: string, kind: number): void => { for (const letter of letters) table[letter.charCodeAt(0)] = kind; };
  table.fill(kinds.refused, 0, 0x20);
  put('\t\n\r\f', kinds.other);
  put('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_', kinds.word);
  put('0123456789', kinds.digit);
  put("'", kinds.quote);
  put('"', kinds.doubleQuote);
  put('-', kinds.hyphen);
  put('/', kinds.slash);
  put('.', kinds.dot);
  put('$\\&\x7f', kinds.refused);
  return table;
})();

/** undefined: it has none. */
export function shapeOf(sql: string): Shape | undefined {
  if (sql.length > shapedTextLengthMax) return undefined;
  let key = '';
  let literals = 0;
  let from = 0;
  for (let at = 0; at < sql.length;) {
    const kind = classOf(sql, at);
    let end: number | undefined = at + 1;
    switch (kind) {
      case kinds.refused: return undefined;
      case kinds.hyphen: if (classOf(sql, end) === kinds.hyphen) return undefined; break;
      case kinds.slash: if (sql[end] === '*') return undefined; break;
      case kinds.doubleQuote: end = endOfQuoted(sql, at, '"'); break;
      case kinds.word: end = endOfWord(sql, at); break;
      case kinds.digit: end = endOfInteger(sql, at); break;
      case kinds.quote: end = endOfString(sql, at); break;
      default: break;
    }
    if (end === undefined) return undefined;
    if (kind === kinds.digit || kind === kinds.quote) {
      key += `${sql.slice(from, at)}${kind === kinds.digit ? '\0n' : '\0s'}`;
      literals += 1;
      from = end;
    }
    at = end;
  }
  return { key: key + sql.slice(from), literals };
}

/** The end of the text counts as something that ends a token. */
function classOf(sql: string, at: number): number {
  const code = sql.charCodeAt(at);
  return Number.isNaN(code) ? kinds.other : classes[code] ?? kinds.refused;
}

/** A word goes on with digits, so `t1` holds no literal; E'' and the like are no plain strings. */
function endOfWord(sql: string, start: number): number | undefined {
  let at = start + 1;
  for (let kind = classOf(sql, at); kind === kinds.word || kind === kinds.digit; kind = classOf(sql, at)) at += 1;
  return classOf(sql, at) === kinds.quote ? undefined : at;
}

/** Neither a fraction, nor an exponent, another base, an underscore, or something glued to it. */
function endOfInteger(sql: string, start: number): number | undefined {
  if (start > 0 && classOf(sql, start - 1) === kinds.dot) return undefined;
  let at = start + 1;
  while (classOf(sql, at) === kinds.digit) at += 1;
  const next = classOf(sql, at);
  return at - start > digitsMax || next === kinds.word || next === kinds.dot || next === kinds.quote ? undefined : at;
}

/** Without a backslash it ends where it ends under any setting. What is glued behind it is left to the full reading. */
function endOfString(sql: string, start: number): number | undefined {
  const end = endOfQuoted(sql, start, "'");
  if (end === undefined || sql.slice(start, end).includes('\\')) return undefined;
  const next = classOf(sql, end);
  return next === kinds.word || next === kinds.digit ? undefined : end;
}

/** Behind the closing quote; a doubled quote stands for one. */
function endOfQuoted(sql: string, start: number, quote: string): number | undefined {
  let at = sql.indexOf(quote, start + 1);
  while (at >= 0 && sql[at + 1] === quote) at = sql.indexOf(quote, at + 2);
  return at < 0 ? undefined : at + 1;
}

/** Every literal of the text stands where its value is nobody's business. */
export function areLiteralsInert({ literals }: Shape, { node, tree }: ParsedStatement): boolean {
  return node === 'SelectStmt' && inertUnder(tree, false) === literals;
}

/** The statement's own text, as the parser cuts it: without the semicolon behind it. */
export function textOfShaped(sql: string): string {
  return sql.trim().replace(/;$/, '').trim();
}

const conditions: ReadonlySet<string> = new Set(['whereClause', 'quals']);
const comparisons: ReadonlySet<string> = new Set(['=', '<>', '<', '>', '<=', '>=']);
const listKinds: ReadonlySet<string> = new Set(['AEXPR_IN', 'AEXPR_BETWEEN', 'AEXPR_NOT_BETWEEN']);

/** Counts them; one that stands elsewhere is not counted, and so makes fewer than the text has. NaN: there is more than reading. */
function inertUnder(value: unknown, isCondition: boolean): number {
  if (Array.isArray(value)) return value.reduce((sum: number, item: unknown) => sum + inertUnder(item, isCondition), 0);
  if (!isTree(value)) return 0;
  const node = nodeOf(value);
  const own = isCondition && node?.type === 'A_Expr' ? inertIn(node) : 0;
  return Object.entries(value).reduce((sum, [field, inner]) => {
    if (field.endsWith('Stmt') && field !== 'SelectStmt') return Number.NaN;
    return sum + inertUnder(inner, isCondition || conditions.has(field));
  }, own);
}

function inertIn({ tree }: Node): number {
  const kind = stringIn(tree, 'kind') ?? '';
  const names = nodesIn(tree, 'name').flatMap(textOfString);
  const left = nodeIn(tree, 'lexpr');
  const right = nodeIn(tree, 'rexpr');
  if (names.length !== 1) return 0;
  if (kind === 'AEXPR_OP' && comparisons.has(names[0] ?? '')) {
    return (left?.type === 'ColumnRef' && isPlainConstant(right)) || (right?.type === 'ColumnRef' && isPlainConstant(left)) ? 1 : 0;
  }
  if (!listKinds.has(kind) || left?.type !== 'ColumnRef' || right?.type !== 'List') return 0;
  return nodesIn(right.tree, 'items').filter(isPlainConstant).length;
}

/** An integer or a string; zero and the empty string have empty fields. */
function isPlainConstant(node: Node | undefined): boolean {
  return node?.type === 'A_Const' && (Object.hasOwn(node.tree, 'ival') || Object.hasOwn(node.tree, 'sval'));
}
