/**
 * Cuts SQL text into tokens as PostgreSQL's scanner does with standard_conforming_strings on. It serves to leave
 * literals out of texts that are kept and to look at declarations, never to judge: a verdict comes from the parse tree.
 * Where it deviates it takes more into a literal, not less.
 */
export type TokenKind = 'space' | 'comment' | 'string' | 'number' | 'parameter' | 'word' | 'quoted-name' | 'symbol';

export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
}

const patterns: readonly (readonly [TokenKind, RegExp])[] = [
  ['space', /[ \t\n\r\f\v]+/yu],
  ['comment', /--[^\n\r]*/yu],
  ['string', /[bBxX]'[^']*(?:'|$)/yu],
  ['string', /(?:[nN]|[uU]&)?'(?:[^']|'')*(?:'|$)/yu],
  ['quoted-name', /(?:[uU]&)?"(?:[^"]|"")*(?:"|$)/yu],
  ['parameter', /\$\d+/yu],
  ['word', /[A-Za-z_\u0080-\u{10ffff}][\w$\u0080-\u{10ffff}]*/yu],
  ['number', /\.?\d(?:[eE][+-]|(?![eE]')[\w.])*/yu],
];

const escapeString = /[eE]'(?:[^'\\]|\\[\s\S]|'')*(?:'|$)/yu;
/** `'…'` on a later line continues the string before it, in the same syntax. */
const escapeContinuation = /[ \t\f\v]*(?:--[^\n\r]*)?[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*[\n\r])*'(?:[^'\\]|\\[\s\S]|'')*(?:'|$)/yu;
const dollarOpening = /\$(?:[A-Za-z_\u0080-\u{10ffff}][\w\u0080-\u{10ffff}]*)?\$/yu;

export function tokensOf(sql: string): readonly Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < sql.length) {
    const token = tokenAt(sql, at);
    tokens.push(token);
    at += token.text.length;
  }
  return tokens;
}

function tokenAt(sql: string, at: number): Token {
  if (sql.startsWith('/*', at)) return { kind: 'comment', text: blockComment(sql, at) };
  const escaped = matchAt(escapeString, sql, at);
  if (escaped !== undefined) return { kind: 'string', text: continued(sql, at, escaped) };
  const opening = matchAt(dollarOpening, sql, at);
  if (opening !== undefined) return { kind: 'string', text: dollarString(sql, at, opening) };
  for (const [kind, pattern] of patterns) {
    const text = matchAt(pattern, sql, at);
    if (text !== undefined) return { kind, text };
  }
  return { kind: 'symbol', text: String.fromCodePoint(sql.codePointAt(at) ?? 0) };
}

function matchAt(pattern: RegExp, sql: string, at: number): string | undefined {
  pattern.lastIndex = at;
  return pattern.exec(sql)?.[0];
}

function continued(sql: string, at: number, first: string): string {
  let text = first;
  for (;;) {
    const more = matchAt(escapeContinuation, sql, at + text.length);
    if (more === undefined) return text;
    text += more;
  }
}

function dollarString(sql: string, at: number, opening: string): string {
  const end = sql.indexOf(opening, at + opening.length);
  return end < 0 ? sql.slice(at) : sql.slice(at, end + opening.length);
}

/** Comments nest. */
function blockComment(sql: string, at: number): string {
  const mark = /\/\*|\*\//gu;
  mark.lastIndex = at;
  let depth = 0;
  for (let found = mark.exec(sql); found !== null; found = mark.exec(sql)) {
    depth += found[0] === '/*' ? 1 : -1;
    if (depth === 0) return sql.slice(at, mark.lastIndex);
  }
  return sql.slice(at);
}
