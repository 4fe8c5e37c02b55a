/**
 * Measures what a statement would change by asking the server on connections of our own: the same database, role and
 * search path as the session's, always in a READ ONLY transaction that is rolled back, within a time of its own. Whatever
 * goes wrong (time, privileges, a lock, an error of the statement's own expressions) is an unknown impact with a reason;
 * the server's own message may quote data, so only its SQLSTATE is told.
 */
import type { Impact, LockImpact, MeasuredImpact, Sample } from '../../core/impact.ts';
import { sampleRowsMax, sampleValueCharsMax, unknownImpact } from '../../core/impact.ts';
import type { LossQuery } from '../../core/sql/loss-query.ts';
import type { CountColumn, MeasureQuery } from '../../core/sql/measure-query.ts';
import { Failure } from '../../core/failure.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Link } from './link.ts';
import type { LinkAddress } from './link-target.ts';
import type { Ask, QueryResult, Question } from './link-query.ts';
import { measureLoss } from './measure-loss.ts';
import { ServerError } from './server-error.ts';

export interface MeasureRequest {
  /** The very server that the client's session is on. */
  readonly address: LinkAddress;
  readonly database: string;
  readonly role: string;
  readonly searchPath: readonly string[];
  /** What the session says of how its server reads and shows values: TimeZone, DateStyle, IntervalStyle. */
  readonly settings: ReadonlyMap<string, string>;
  readonly query: MeasureQuery | LossQuery;
  /** Bind values of the client's; absent for a simple Query. */
  readonly bind?: Pick<Question, 'parameterTypes' | 'formats' | 'values'> | undefined;
  /** The client's own server process, which is not one of the others. */
  readonly processId: number;
  /** The client gave up. */
  readonly signal?: AbortSignal | undefined;
}

export interface Measure {
  (request: MeasureRequest): Promise<Impact>;
}

export interface Measurer {
  readonly measure: Measure;
  close(): Promise<void>;
}

export interface MeasurerDeps {
  readonly connect: (database: string, at: LinkAddress) => Promise<Link>;
  readonly clock: Clock;
  readonly timeoutMs?: number;
}

const timeoutMsDefault = 2_000;
const lockMsMax = 500;
/** For the table's own number of rows, which the share needs and nothing else. */
const totalMsMax = 500;
const exactTotalRowsMax = 2_000_000;
/** Beyond the server's own time-out: the connection hangs. */
const graceMs = 3_000;
const idleLinksMax = 4;

export function createMeasurer(deps: MeasurerDeps): Measurer {
  const links = new IdleLinks(deps.connect);
  return {
    measure: async (request) => {
      let link: Link | undefined;
      // A server that counts does not see that nobody listens any more.
      const stop = (): void => {
        link?.cancel().catch(() => { /* its own time-out ends the count all the same */ });
        link?.destroy();
      };
      try {
        link = await links.take(request);
        request.signal?.addEventListener('abort', stop, { once: true });
        if (request.signal?.aborted === true) stop();
        const impact = await measureOn(link, request, deps);
        links.put(request, link);
        return impact;
      } catch (error) {
        link?.destroy();
        return unknownImpact(reasonOf(error, deps.timeoutMs ?? timeoutMsDefault));
      } finally {
        request.signal?.removeEventListener('abort', stop);
      }
    },
    close: () => links.close(),
  };
}

class IdleLinks {
  readonly #connect: MeasurerDeps['connect'];
  readonly #idle = new Map<string, Link[]>();
  readonly #lost = new WeakSet<Link>();
  #isClosed = false;

  constructor(connect: MeasurerDeps['connect']) {
    this.#connect = connect;
  }

  async take({ database, address }: Place): Promise<Link> {
    const idle = this.#idle.get(nameOf({ database, address }));
    for (let link = idle?.pop(); link !== undefined; link = idle?.pop()) if (!this.#lost.has(link)) return link;
    const link = await this.#connect(database, address);
    link.relay({ onData: () => undefined, onDrain: () => undefined, onClose: () => { this.#lost.add(link); } });
    return link;
  }

  put(place: Place, link: Link): void {
    const idle = this.#idle.get(nameOf(place)) ?? [];
    if (this.#isClosed || idle.length >= idleLinksMax) return link.destroy();
    idle.push(link);
    this.#idle.set(nameOf(place), idle);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const all = [...this.#idle.values()].flat();
    this.#idle.clear();
    await Promise.all(all.map((link) => link.end()));
  }
}

type Place = Pick<MeasureRequest, 'database' | 'address'>;

function nameOf({ database, address }: Place): string { return JSON.stringify([database, address]); }

async function measureOn(link: Link, request: MeasureRequest, { clock, timeoutMs = timeoutMsDefault }: MeasurerDeps): Promise<Impact> {
  const { query, role, processId } = request;
  const ask: Ask = (question) => link.ask(question, timeoutMs + graceMs);
  const startedMs = clock.monotonicMs();
  const leftMs = (most: number): number => Math.max(1, Math.min(most, Math.round(timeoutMs - (clock.monotonicMs() - startedMs))));
  await begin(link, request, timeoutMs);
  if (query.kind === 'loss') {
    const loss = await measureLoss(ask, query, { role, processId, leftMs });
    await ask({ sql: 'ROLLBACK' });
    return loss;
  }
  const bind = request.bind === undefined ? {} : await typed(ask, query.statement, request.bind);
  const counted = await ask({ sql: query.count, ...bind });
  const numbers = readCounts(query.columns, counted);
  await within(ask, leftMs(timeoutMs));
  const sampled = await ask({ sql: query.sample, ...bind });
  const lock = await readLock(ask, query, processId);
  // Last, because running out of time there spoils nothing but itself.
  const tableRows = await readTotal(ask, query, leftMs(totalMsMax));
  await ask({ sql: 'ROLLBACK' });
  const changed = numbers.actions === undefined ? numbers.rows : numbers.actions.update + numbers.actions.delete;
  return {
    kind: 'measured', table: query.table, ...numbers, tableRows, percent: tableRows === null ? null : shareOf(changed, tableRows.count),
    triggers: query.triggers, lock, sample: readSample(sampled),
  };
}

async function begin(link: Link, { role, searchPath, settings }: MeasureRequest, timeoutMs: number): Promise<void> {
  await link.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY', [], timeoutMs + graceMs);
  const path = searchPath.map((schema) => `"${schema.replaceAll('"', '""')}"`).join(', ');
  const wanted: readonly (readonly [string, string])[] = [
    ['statement_timeout', `${timeoutMs}ms`], ['lock_timeout', `${Math.min(timeoutMs, lockMsMax)}ms`], ['idle_in_transaction_session_timeout', `${timeoutMs + graceMs}ms`],
    ...settings, ['search_path', path === '' ? '""' : path],
  ];
  const places = wanted.map((_one, index) => `pg_catalog.set_config($${2 * index + 1}, $${2 * index + 2}, true)`);
  await link.query(`SELECT ${places.join(', ')}`, wanted.flat(), timeoutMs + graceMs);
  await link.query("SELECT CASE WHEN CURRENT_USER OPERATOR(pg_catalog.=) $1 THEN '' ELSE pg_catalog.set_config('role', $1, true) END", [role], timeoutMs + graceMs);
}

/** The types that the server gives the parameters in the statement itself; in the question they might be inferred otherwise. */
async function typed(ask: Ask, statement: string, bind: NonNullable<MeasureRequest['bind']>): Promise<NonNullable<MeasureRequest['bind']>> {
  const given = bind.parameterTypes ?? [];
  const values = bind.values ?? [];
  if (values.length === 0) return bind;
  const isKnown = given.length >= values.length && given.every((type) => type !== 0);
  const { parameterTypes } = isKnown ? { parameterTypes: given } : await ask({ sql: statement, parameterTypes: given, isDescribed: true });
  return { ...bind, parameterTypes };
}

function readCounts(columns: readonly CountColumn[], { rows: [row] }: QueryResult): Pick<MeasuredImpact, 'rows' | 'actions' | 'cascades'> {
  const counts = columns.map((column, index) => ({ column, rows: Number(row?.[index] ?? Number.NaN) }));
  if (counts.some(({ rows }) => !Number.isSafeInteger(rows) || rows < 0)) throw new Failure('internal', 'a count is no number');
  const action = (name: 'update' | 'delete' | 'insert'): number => counts.find(({ column }) => column.kind === 'action' && column.action === name)?.rows ?? 0;
  const isMerge = columns.some(({ kind }) => kind === 'action');
  const actions = { update: action('update'), delete: action('delete'), insert: action('insert') };
  return {
    rows: isMerge ? actions.update + actions.delete + actions.insert : counts.find(({ column }) => column.kind === 'rows')?.rows ?? 0,
    ...(isMerge ? { actions } : {}),
    cascades: counts.flatMap(({ column, rows }) => (column.kind === 'cascade' && rows > 0 ? [{ table: column.table, rows, how: column.how, isExact: column.isExact }] : [])),
  };
}

function readSample({ columns, rows }: QueryResult): Sample {
  return { columns, rows: rows.slice(0, sampleRowsMax).map((row) => row.map((value) => (value === null ? null : cut(value)))) };
}

function cut(value: string): string {
  const characters = [...value.slice(0, sampleValueCharsMax * 2)];
  return characters.length <= sampleValueCharsMax ? value : `${characters.slice(0, sampleValueCharsMax - 1).join('')}…`;
}

/** Conflicts with ROW EXCLUSIVE, from the table of lock modes in PostgreSQL's documentation, chapter "Explicit Locking". */
const lockSql = `SELECT
  pg_catalog.count(DISTINCT pid) FILTER (WHERE granted AND mode OPERATOR(pg_catalog.=) ANY (ARRAY['ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'])),
  pg_catalog.count(DISTINCT pid) FILTER (WHERE granted AND mode OPERATOR(pg_catalog.=) 'RowExclusiveLock'),
  pg_catalog.count(DISTINCT pid) FILTER (WHERE NOT granted)
FROM pg_catalog.pg_locks
WHERE locktype OPERATOR(pg_catalog.=) 'relation' AND database OPERATOR(pg_catalog.=) (SELECT oid FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
  AND relation OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1) AND pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid() AND pid OPERATOR(pg_catalog.<>) $2::pg_catalog.int4`;

async function readLock(ask: Ask, { relation, lockMode }: MeasureQuery, processId: number): Promise<LockImpact> {
  const { rows: [row] } = await ask({ sql: lockSql, values: [Buffer.from(relation), Buffer.from(String(processId))] });
  const [heldBy = 0, writers = 0, waiting = 0] = (row ?? []).map(Number);
  return { mode: lockMode, heldBy, writers, waiting };
}

async function readTotal(ask: Ask, { relation, total }: MeasureQuery, ms: number): Promise<MeasuredImpact['tableRows']> {
  const { rows: [row] } = await ask({ sql: 'SELECT reltuples::pg_catalog.int8 FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1)', values: [Buffer.from(relation)] });
  const estimate = Number(row?.[0] ?? -1);
  if (estimate <= exactTotalRowsMax) {
    await ask({ sql: 'SAVEPOINT total' });
    try {
      await within(ask, ms);
      const { rows: [counted] } = await ask({ sql: total });
      return { count: Number(counted?.[0]), isExact: true };
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      await ask({ sql: 'ROLLBACK TO total' });
    }
  }
  return estimate <= 0 ? null : { count: estimate, isExact: false };
}

async function within(ask: Ask, ms: number): Promise<void> {
  await ask({ sql: "SELECT pg_catalog.set_config('statement_timeout', $1, true)", values: [Buffer.from(`${ms}ms`)] });
}

function shareOf(rows: number, all: number): number {
  // An estimate may be smaller than what was counted.
  return rows === 0 ? 0 : Math.min(100, (rows / Math.max(all, 1)) * 100);
}

function reasonOf(error: unknown, timeoutMs: number): string {
  if (error instanceof Failure && error.code === 'too_large') return error.message;
  if (!(error instanceof ServerError)) return 'the connection that measures it failed';
  switch (error.code) {
    case '57014': return `counting took longer than ${timeoutMs / 1000} s`;
    case '55P03': return 'the table is locked by another session';
    case '42501': return 'the role may not read all that counting needs';
    default: return `counting failed with SQLSTATE ${error.code}`;
  }
}
