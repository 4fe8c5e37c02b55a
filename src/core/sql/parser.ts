/**
 * The parser that core is given: PostgreSQL's own grammar (libpg-query, WebAssembly) in the major version of the server
 * behind the gateway, already loaded, so that parsing is synchronous and pure.
 */
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

export interface Parser {
  readonly major: number;
  /** Never throws: too large, too deep, not UTF-8-clean or not SQL is `unparsable`. */
  parse(sql: string): ParseResult;
  /** The SQL texts inside a PL/pgSQL function given as its CREATE FUNCTION statement; null when it cannot be read or runs dynamic SQL. */
  readPlpgsql(createFunction: string): readonly string[] | null;
}
