/**
 * TransactionSession: a transaction on a connection of which somebody else is in charge, as capture and undo see it. They ask
 * and copy inside it; that it was begun, and how it ends, is not theirs. The adapter from a link gives each step its time.
 */
import type { CatalogQuery } from './catalog.ts';
import type { RowsWriter } from './link-copy.ts';
import type { QueryResult, Question } from './link-query.ts';
import type { Link } from './link.ts';

export interface TransactionSession {
  /** One statement; values and results as text. Throws ServerError, or Failure when the connection is lost. */
  readonly query: CatalogQuery;
  /** Several in one round trip, with values as a client gave them; throws as `query`, or Failure `too_large` beyond `bytesMax`. */
  queries(questions: readonly Question[], bytesMax?: number): Promise<readonly QueryResult[]>;
  /** `COPY … TO STDOUT`: whole rows to `write`, which may hold back what comes next. Returns how many rows there were. */
  copyOut(sql: string, write: RowsWriter): Promise<number>;
  /** `COPY … FROM STDIN`: returns how many rows were taken. */
  copyIn(sql: string, source: AsyncIterable<Buffer>): Promise<number>;
}

/** What capture and undo ask can work on millions of rows; longer than this and the connection is given up. */
const stepMsMax = 600_000;

/** Whoever captures changes some and sets them back (see capture/printing.ts); a relay's client hears nothing of that. */
const hiddenSettings: ReadonlySet<string> = new Set(['search_path', 'DateStyle', 'IntervalStyle', 'TimeZone', 'is_superuser']);

/** `first`: asked in one breath with whatever is asked first, to begin the transaction for instance. */
export function sessionOf(link: Pick<Link, 'askAll' | 'copyOut' | 'copyIn'>, first: readonly string[] = []): TransactionSession {
  let waiting: readonly Question[] = first.map((sql) => ({ sql }));
  const queries: TransactionSession['queries'] = async (questions, bytesMax) => {
    const before = waiting;
    waiting = [];
    return (await link.askAll([...before, ...questions].map((question) => ({ ...question, hiddenSettings })), bytesMax, stepMsMax)).slice(before.length);
  };
  /** A copy outside of the transaction would be no part of it. */
  const begun = <T>(copy: () => Promise<T>): Promise<T> => (waiting.length === 0 ? copy() : queries([]).then(copy));
  return {
    queries,
    query: async (sql, parameters = []) => (await queries([{ sql, values: parameters.map((value) => Buffer.from(value)) }]))[0]?.rows ?? [],
    copyOut: (sql, write) => begun(() => link.copyOut(sql, write, stepMsMax)),
    copyIn: (sql, source) => begun(() => link.copyIn(sql, source, stepMsMax)),
  };
}
