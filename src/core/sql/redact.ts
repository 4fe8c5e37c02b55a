/**
 * Redaction: a statement's text without anything that could be a value, so that it may be stored and shown. Literals
 * become `?`, comments go, whitespace folds; names and `$1` parameters stay, and so does the code of DO blocks and functions,
 * without its own literals, because whoever approves it must see what it does. Text that the grammar does not accept is
 * never kept at all, because where its literals end is anybody's guess.
 */
import { sha256Hex } from '../../lib/sha256.ts';
import { tokensOf } from '../../lib/pgsql/tokens.ts';
import type { Token } from '../../lib/pgsql/tokens.ts';
import type { Parser } from '../../lib/pgsql/parser.ts';

export const redactedCharsMax = 8_000;
const fingerprintHexChars = 32;

export function redact(sql: string, parser: Pick<Parser, 'parse'>): string {
  const tokens = parser.parse(sql).kind === 'parsed' ? tokensOf(sql) : undefined;
  // The grammar knows no place for a string right behind a number; where each ends differs between majors.
  if (tokens === undefined || tokens.some(({ kind }, at) => kind === 'number' && tokens[at + 1]?.kind === 'string')) {
    return `[unparsable, ${Buffer.byteLength(sql)} bytes]`;
  }
  const text = withoutLiterals(withCode(tokens)).join('').trim();
  return text.length <= redactedCharsMax ? text : `${cutWhole(text, redactedCharsMax)} … (cut: ${text.length - redactedCharsMax} characters more)`;
}

/** Groups statements of one shape: the same for every value, letter case, spacing and length of a list. */
export function fingerprint(sql: string): string {
  const words = withoutLiterals(tokensOf(sql)).filter((word) => word !== ' ').map((word) => (word.startsWith('"') ? word : word.toLowerCase()));
  return sha256Hex(foldLists(words).join(' ')).slice(0, fingerprintHexChars);
}

/** Strings that are code in a language with the lexical rules of SQL, as symbols of what may be kept of them. */
function withCode(tokens: readonly Token[]): readonly Token[] {
  const said = tokens.flatMap((token, at) => (token.kind === 'space' || token.kind === 'comment' ? [] : [{ at, word: token.text.toLowerCase(), kind: token.kind }]));
  const code = new Set<number>();
  let start = 0;
  for (const [index, { word }] of [...said, { word: ';' }].entries()) {
    if (word !== ';') continue;
    const statement = said.slice(start, index);
    start = index + 1;
    const words = statement.map((one) => one.word);
    const isRoutine = words[0] === 'create' && words.slice(1, 4).some((one) => one === 'function' || one === 'procedure');
    const language = words[words.indexOf('language') + 1]?.replaceAll(/^['"]|['"]$/g, '');
    if (!(words[0] === 'do' || isRoutine) || (words.includes('language') ? language !== 'plpgsql' && language !== 'sql' : isRoutine)) continue;
    for (const [place, { at, kind }] of statement.entries()) {
      if (kind === 'string' && words[place - 1] !== 'language' && (!isRoutine || words[place - 1] === 'as')) code.add(at);
    }
  }
  return code.size === 0 ? tokens : tokens.map((token, at) => (code.has(at) ? codeToken(token) : token));
}

function codeToken(token: Token): Token {
  const [opening] = /^\$[^$]*\$/.exec(token.text) ?? [];
  const inner = opening !== undefined ? token.text.slice(opening.length, -opening.length) : token.text.startsWith("'") ? token.text.slice(1, -1).replaceAll("''", "'") : undefined;
  return inner === undefined ? token : { kind: 'symbol', text: `$$ ${withoutLiterals(tokensOf(inner)).join('').trim()} $$` };
}

/** Each token as it may be kept; one space for any run of whitespace and comments. */
function withoutLiterals(tokens: readonly Token[]): readonly string[] {
  const kept: string[] = [];
  /** The words of the statement so far, lower case, the first and the last few. */
  let first: string | undefined;
  let before: readonly string[] = [];
  for (const token of tokens) {
    const text = keptText(token, isCustomValue(token, first, before));
    if (text !== ' ') {
      const word = token.text.toLowerCase();
      first = word === ';' ? undefined : (first ?? word);
      before = [...before.slice(-2), word];
    }
    keep(kept, text);
  }
  return kept;
}

function keep(kept: string[], text: string): void {
  const last = kept.at(-1);
  if (text === ' ' && last === ' ') return;
  // A string may go on in the next line: still one literal.
  if (text === '?' && last === ' ' && kept.at(-2) === '?') { kept.pop(); return; }
  if (text === '?' && last !== undefined && /[\w$"?]$/u.test(last)) kept.push(' ');
  kept.push(text);
}

function keptText({ kind, text }: Token, isValue: boolean): string {
  if (kind === 'space' || kind === 'comment') return ' ';
  return kind === 'string' || kind === 'number' || isValue ? '?' : text;
}

/** SET myapp.token TO abc123: the value of a custom setting may be a bare word. Elsewhere `a.b = c` compares columns. */
function isCustomValue({ kind }: Token, first: string | undefined, before: readonly string[]): boolean {
  const [dot, , assign] = before;
  return (kind === 'word' || kind === 'quoted-name') && (first === 'set' || first === 'alter' || first === 'create')
    && dot === '.' && (assign === 'to' || assign === '=');
}

function cutWhole(text: string, chars: number): string {
  const cut = text.slice(0, chars);
  return cut.isWellFormed() ? cut : cut.slice(0, -1);
}

const constants: ReadonlySet<string> = new Set(['null', 'true', 'false', 'default']);

/** `in ( ? , ? )` and `values ( ? ) , ( ? )` become one element, parameters and constants included. */
function foldLists(words: readonly string[]): readonly string[] {
  const folded: string[] = [];
  for (const [at, word] of words.entries()) {
    folded.push(asValue(word, words[at - 1], words[at + 1]));
    while (foldSign(folded) || foldElement(folded)) { /* each fold may make room for the next */ }
  }
  return folded;
}

function asValue(word: string, before: string | undefined, after: string | undefined): string {
  if (/^\$\d+$/u.test(word)) return '?';
  const isElement = (before === '(' || before === '[' || before === ',') && (after === ')' || after === ']' || after === ',');
  return isElement && constants.has(word) ? '?' : word;
}

/** `( - ?` is a value like any other. */
function foldSign(folded: string[]): boolean {
  const [before, sign, value] = folded.slice(-3);
  if (value !== '?' || (sign !== '-' && sign !== '+') || !/^[[(,=<>]$/u.test(before ?? '')) return false;
  folded.splice(-2, 2, '?');
  return true;
}

function foldElement(folded: string[]): boolean {
  for (const element of [['?'], ['(', '?', ')']]) {
    const pattern = [...element, ',', ...element];
    if (pattern.every((word, index) => folded.at(index - pattern.length) === word)) {
      folded.splice(-element.length - 1);
      return true;
    }
  }
  return false;
}
