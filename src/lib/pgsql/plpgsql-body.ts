/**
 * Reads what PL/pgSQL's own parser says of a function and gives the SQL texts that its body can run, each as a complete
 * statement: expressions as `SELECT expression`, and `SELECT NULL::type` for each declared variable, whose type may be
 * a domain with checks. A body with dynamic SQL, with transaction control, or with anything that is not known here gives null;
 * so does FETCH, because a cursor variable holds the name of any portal, and what that one runs is nowhere in the body.
 */
import { tokensOf } from './tokens.ts';

type Fields = Readonly<Record<string, unknown>>;

/** How PL/pgSQL wants an expression parsed (RawParseMode). */
const statementMode = 0;
const expressionMode = 2;
const assignmentModes: ReadonlySet<unknown> = new Set([3, 4, 5]);

const knownNodes: ReadonlySet<string> = new Set([
  'PLpgSQL_function', 'PLpgSQL_var', 'PLpgSQL_rec', 'PLpgSQL_row', 'PLpgSQL_recfield', 'PLpgSQL_type', 'PLpgSQL_expr', 'PLpgSQL_condition',
  'PLpgSQL_exception', 'PLpgSQL_exception_block', 'PLpgSQL_case_when', 'PLpgSQL_if_elsif', 'PLpgSQL_raise_option', 'PLpgSQL_diag_item',
  'PLpgSQL_stmt_block', 'PLpgSQL_stmt_assign', 'PLpgSQL_stmt_if', 'PLpgSQL_stmt_case', 'PLpgSQL_stmt_loop', 'PLpgSQL_stmt_while',
  'PLpgSQL_stmt_fori', 'PLpgSQL_stmt_fors', 'PLpgSQL_stmt_forc', 'PLpgSQL_stmt_foreach_a', 'PLpgSQL_stmt_exit', 'PLpgSQL_stmt_return',
  'PLpgSQL_stmt_return_next', 'PLpgSQL_stmt_return_query', 'PLpgSQL_stmt_raise', 'PLpgSQL_stmt_assert', 'PLpgSQL_stmt_execsql',
  'PLpgSQL_stmt_getdiag', 'PLpgSQL_stmt_open', 'PLpgSQL_stmt_close', 'PLpgSQL_stmt_perform', 'PLpgSQL_stmt_call',
]);

/** `source` is the text between the quotes of the function's AS clause. */
export function readPlpgsqlBody(parsed: unknown, source: string): readonly string[] | null {
  const texts: string[] = [];
  const waiting: unknown[] = [parsed];
  while (waiting.length > 0) {
    const value = waiting.pop();
    if (Array.isArray(value)) { waiting.push(...value as readonly unknown[]); continue; }
    if (!isFields(value)) continue;
    for (const [key, child] of Object.entries(value)) {
      if (key === 'dynquery') return null;
      if (key.startsWith('PLpgSQL_')) {
        if (!knownNodes.has(key) || !isFields(child)) return null;
        const text = textOf(key, child);
        if (text === null) return null;
        if (key === 'PLpgSQL_rec' && isInitialized(child['refname'], source)) return null;
        if (text !== undefined) texts.push(...text);
      }
      waiting.push(child);
    }
  }
  return texts;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** undefined: runs nothing of its own; null: cannot be told. */
function textOf(node: string, fields: Fields): readonly string[] | null | undefined {
  if (node === 'PLpgSQL_type') return declaration(fields['typname']);
  if (node !== 'PLpgSQL_expr') return undefined;
  const { query, parseMode } = fields;
  if (typeof query !== 'string') return null;
  if (parseMode === undefined || parseMode === statementMode) return [query];
  if (parseMode === expressionMode) return [`SELECT ${query}`];
  return assignmentModes.has(parseMode) ? assignment(query) : null;
}

function declaration(name: unknown): readonly string[] | null | undefined {
  if (typeof name !== 'string' || name.includes('%')) return null;
  return name === 'record' || name === 'refcursor' ? undefined : [`SELECT NULL::${name}`];
}

/** `target := expression`. A target with subscripts is only read when these run nothing. */
function assignment(query: string): readonly string[] | null {
  const match = /^\s*((?:"(?:[^"]|"")*"|[\w$\u0080-\uffff]+)(?:\s*\.\s*(?:"(?:[^"]|"")*"|[\w$\u0080-\uffff]+)|\s*\[[\w\s:+-]*\])*)\s*(?::=|=)/u.exec(query);
  return match === null ? null : [`SELECT ${query.slice(match[0].length)}`];
}

/** The parser's output leaves out what a record variable is initialized with. */
function isInitialized(name: unknown, source: string): boolean {
  if (typeof name !== 'string') return true;
  const tokens = tokensOf(source).filter(({ kind }) => kind !== 'space' && kind !== 'comment');
  return tokens.some(({ text }, at) => {
    if (text.toLowerCase().replaceAll('"', '') !== name.toLowerCase()) return false;
    const [next] = tokens.slice(at + 1, at + 2);
    if (next === undefined || (next.kind !== 'word' && next.kind !== 'quoted-name')) return false;
    const rest = tokens.slice(at + 1).map((token) => token.text.toLowerCase());
    const declaration = rest.slice(0, rest.indexOf(';') + 1);
    return declaration.includes('=') || declaration.includes('default');
  });
}
