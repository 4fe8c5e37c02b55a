/**
 * The parser: PostgreSQL's own grammar in the major version of the server behind the gateway, loaded once, so that
 * parsing is synchronous and pure. Whatever is not clean UTF-8 text of a bounded size that the grammar accepts is
 * `unparsable` with a message; parse() never throws, and one bad statement never spoils the next.
 */
import { loadGrammar } from './grammar-module.ts';
import type { GrammarSlot } from './grammar-module.ts';
import { readPlpgsqlBody } from './plpgsql-body.ts';

export interface ParsedStatement {
  /** Parse-tree node name, e.g. `SelectStmt`. */
  readonly node: string;
  /** The node's fields, libpg-query's JSON form. */
  readonly tree: Readonly<Record<string, unknown>>;
  readonly text: string;
}
export type ParseResult =
  | { readonly kind: 'parsed'; readonly statements: readonly ParsedStatement[] }
  | { readonly kind: 'unparsable'; readonly message: string; /** 1-based character, when known */ readonly position?: number };

/** As the server shows it, with the place in the text quoted. */
export interface SyntaxError { readonly message: string; /** 1-based character */ readonly position: number }

export interface Parser {
  readonly major: number;
  parse(sql: string): ParseResult;
  /** What the server says of a text that is unparsable, if that is known. It may quote a literal: for who sent the text, and nobody else. */
  syntaxErrorOf(sql: string): SyntaxError | undefined;
  /** The SQL texts inside a PL/pgSQL function given as its CREATE FUNCTION statement; null when it cannot be read or runs dynamic SQL. */
  readPlpgsql(createFunction: string): readonly string[] | null;
}

export type ParserMajor = 15 | 16 | 17 | 18;
export const parserMajors: readonly ParserMajor[] = [15, 16, 17, 18];

/** Larger texts are not parsed: the parser is synchronous, and a megabyte already takes some tenths of a second. */
export const sqlBytesMax = 1024 * 1024;

/** Comments that open right behind each other; people nest a few. */
const commentsInRunMax = 200;

/** Only this package carries PL/pgSQL's parser; its grammar has grown compatibly. */
const plpgsqlMajor = 18;

/** What PostgreSQL's scanner skips; JavaScript's trim also takes characters that are names to it, such as U+00A0. */
const blankText = /^[ \t\n\r\f]*$/;

const slots = new Map<number, Promise<GrammarSlot>>();

export async function loadParser(major: ParserMajor): Promise<Parser> {
  const [sql, plpgsql] = await Promise.all([slotOf(major), slotOf(plpgsqlMajor)]);
  let last: { readonly sql: string; readonly result: ParseResult } | undefined;
  return {
    major,
    parse(text) {
      // The same text is asked for again at once: to judge it, to redact it, to name its shape.
      if (last?.sql !== text) last = { sql: text, result: parseWith(sql, text) };
      return last.result;
    },
    syntaxErrorOf: (text) => syntaxErrorOf(sql, text),
    readPlpgsql(createFunction) {
      if (refusal(createFunction) !== undefined) return null;
      try {
        const source = sourceOf(plpgsql.current.parseSync(createFunction));
        return source === undefined ? null : readPlpgsqlBody(plpgsql.current.parsePlPgSQLSync(createFunction), source);
      } catch (error) {
        if (!isSyntaxError(error)) plpgsql.replace();
        return null;
      }
    },
  };
}

function slotOf(major: number): Promise<GrammarSlot> {
  const known = slots.get(major) ?? loadGrammar(`libpg-query-${major}`);
  slots.set(major, known);
  return known;
}

function parseWith(slot: GrammarSlot, sql: string): ParseResult {
  const refused = refusal(sql);
  if (refused !== undefined) return { kind: 'unparsable', message: refused };
  if (blankText.test(sql)) return { kind: 'parsed', statements: [] };
  try {
    return { kind: 'parsed', statements: readStatements(slot.current.parseSync(sql), sql) };
  } catch (error) {
    if (isSyntaxError(error)) return syntaxError(error, sql);
    slot.replace();
    return { kind: 'unparsable', message: error instanceof RangeError ? 'nested too deeply to be read' : 'the parser gave up on it' };
  }
}

function refusal(sql: string): string | undefined {
  if (Buffer.byteLength(sql) > sqlBytesMax) return `longer than ${sqlBytesMax} bytes`;
  // The parser would read to the first NUL and leave the rest unread.
  if (sql.includes('\0')) return 'a NUL character inside the text';
  if (!sql.isWellFormed()) return 'not well-formed Unicode';
  if (opensTooManyComments(sql)) return 'too many comments nested in each other';
  return undefined;
}

const operatorCharacters = /^[~!@#^&|`?+\-*/%<>=]*$/;

/** For each comment that begins in a run of operator characters, PostgreSQL's scanner reads that run to its end again. */
function opensTooManyComments(sql: string): boolean {
  let opened = 0;
  let last = -2;
  for (let at = sql.indexOf('/*'); at >= 0; at = sql.indexOf('/*', at + 2)) {
    opened = operatorCharacters.test(sql.slice(last + 2, at)) ? opened + 1 : 1;
    if (opened > commentsInRunMax) return true;
    last = at;
  }
  return false;
}

interface SyntaxFailure extends Error { readonly sqlDetails: { readonly cursorPosition?: number; readonly functionName?: string } }

function isSyntaxError(error: unknown): error is SyntaxFailure {
  return error instanceof Error && 'sqlDetails' in error && typeof error.sqlDetails === 'object' && error.sqlDetails !== null;
}

function syntaxError(error: SyntaxFailure, sql: string): ParseResult {
  const position = positionOf(error, sql);
  return { kind: 'unparsable', message: withoutQuotation(error.message), ...(position === undefined ? {} : { position }) };
}

function positionOf({ sqlDetails: { cursorPosition: at } }: SyntaxFailure, sql: string): number | undefined {
  return at === undefined || at < 0 || at > [...sql].length ? undefined : at + 1;
}

/** Only of what its scanner reports is it known that the server gives it the SQLSTATE of syntax errors, and nothing besides. */
function syntaxErrorOf(slot: GrammarSlot, sql: string): SyntaxError | undefined {
  if (refusal(sql) !== undefined) return undefined;
  try {
    slot.current.parseSync(sql);
    return undefined;
  } catch (error) {
    if (!isSyntaxError(error)) {
      slot.replace();
      return undefined;
    }
    const position = positionOf(error, sql);
    return position === undefined || error.sqlDetails.functionName !== 'scanner_yyerror' ? undefined : { message: error.message, position };
  }
}

/** PostgreSQL quotes the offending text, which may be a literal: `syntax error at or near "…"`. */
function withoutQuotation(message: string): string {
  return message.replace(/ (at or near) ".*$/su, '').replaceAll(/"[^"]*"|'[^']*'/gsu, '…');
}

interface RawStatement { readonly stmt?: Readonly<Record<string, unknown>>; readonly stmt_location?: number; readonly stmt_len?: number }

function readStatements(parsed: unknown, sql: string): readonly ParsedStatement[] {
  const { stmts = [] } = parsed as { readonly stmts?: readonly RawStatement[] };
  // Locations count the bytes of the UTF-8 text.
  const bytes = Buffer.from(sql);
  return stmts.map(({ stmt = {}, stmt_location: start = 0, stmt_len: length = 0 }) => {
    const [[node, tree] = ['', {}]] = Object.entries(stmt);
    const end = length === 0 ? bytes.length : start + length;
    return { node, tree: tree as Readonly<Record<string, unknown>>, text: withoutBlanks(bytes.subarray(start, end)).toString() };
  });
}

function withoutBlanks(bytes: Buffer): Buffer {
  let [start, end] = [0, bytes.length];
  while (start < end && isBlank(bytes[start])) start += 1;
  while (start < end && isBlank(bytes[end - 1])) end -= 1;
  return bytes.subarray(start, end);
}

function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d || byte === 0x0c;
}

interface FunctionOption { readonly DefElem?: { readonly defname?: string; readonly arg?: { readonly List?: { readonly items?: readonly { readonly String?: { readonly sval?: string } }[] } } } }

/** The text between the quotes of AS. */
function sourceOf(parsed: unknown): string | undefined {
  const { stmts = [] } = parsed as { readonly stmts?: readonly RawStatement[] };
  const created = stmts.length === 1 ? stmts[0]?.stmt?.['CreateFunctionStmt'] : undefined;
  const { options = [] } = (created ?? {}) as { readonly options?: readonly FunctionOption[] };
  const as = options.find(({ DefElem: option }) => option?.defname === 'as');
  return as?.DefElem?.arg?.List?.items?.[0]?.String?.sval;
}
