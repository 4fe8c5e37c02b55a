/**
 * The statement table: one row for each statement of PostgreSQL's grammar, 15 to 18. A row says how dangerous the shape is,
 * what it does to which objects, what it loses, and what it changes in its session. A node type that is neither here nor in
 * the expression rows is unknown, and unknown is CRITICAL; a test holds both tables against the grammars.
 */
import type { StatementRow } from './own-reading.ts';
import { dataRows } from './statements-data.ts';
import { schemaRows } from './statements-schema.ts';
import { serverRows } from './statements-server.ts';
import { sessionRows } from './statements-session.ts';

export const statementRows: ReadonlyMap<string, StatementRow> = new Map(
  [dataRows, schemaRows, sessionRows, serverRows].flatMap((rows) => Object.entries(rows)),
);
