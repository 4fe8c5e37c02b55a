/**
 * UndoTransaction: the one transaction in which recovery points are undone, on a connection of its own as the role by which
 * Backstop reaches the server. Nothing of it lasts before `commit`; whatever is thrown before, `rollback` leaves everything
 * as it was. What the server refuses is told to the operator in the server's own words.
 */
import { Failure } from '../../../core/failure.ts';
import { fingerprintOf, type KeptRows, type KeptTable, type Manifest, type ServerIdentity } from '../../../core/recovery/manifest.ts';
import type { RowConflict, TableChange, UndoPolicy } from '../../../core/recovery/undo-plan.ts';
import type { TransactionFate } from '../../../core/recovery/recovery-point.ts';
import type { CapturedContents, RecoveryDraft } from '../../../flow/protect.ts';
import { readPlace } from '../capture/capture.ts';
import { pinPrinting } from '../capture/printing.ts';
import type { Link } from '../link.ts';
import { ServerError } from '../server-error.ts';
import { sessionOf, type TransactionSession } from '../transaction-session.ts';
import { transactionFate } from '../transaction-fate.ts';
import { ImageTables } from './image-tables.ts';
import { planRows } from './restore-rows.ts';
import { restoreTables } from './restore-tables.ts';
import { TouchedRows } from './touched-rows.ts';

export interface UndoTransaction {
  /** Where it runs, to be compared with where the recovery point was taken. */
  readonly server: ServerIdentity;
  /** What is to be done for one recovery point, and how to do it; in the order in which they are to be undone. Throws Failure. */
  plan(manifest: Manifest, policy: UndoPolicy): Promise<PlannedUndo>;
  /** What was done so far, kept by the draft. Throws Failure. */
  keep(draft: Pick<RecoveryDraft, 'rows'>): Promise<CapturedContents>;
  /** Where nobody heard the answer, the server is asked what became of it. Throws Failure where it refuses: then nothing was changed. */
  commit(xid: string): Promise<TransactionFate>;
  /** Never rejects. */
  rollback(): Promise<void>;
}

export interface PlannedUndo {
  readonly changes: readonly TableChange[];
  readonly conflicts: readonly RowConflict[];
  /** What is made again or changed back: `relation app.orders`. */
  readonly made: readonly string[];
  /** False: nothing of it can be done, because of the conflicts. */
  readonly isDoable: boolean;
  /** Throws Failure. */
  apply(): Promise<void>;
}

export interface UndoTransactionDeps {
  readonly connect: () => Promise<Link>;
  /** COPY text of what was kept; throws Failure where it is not that any more. */
  readonly readRows: (kept: KeptRows) => AsyncIterable<Buffer>;
  /** Letters and digits that nobody can guess. */
  readonly newMark: () => string;
  readonly onProgress: (what: string) => void;
}

const lockMsMax = 10_000;
/** Of this one connection, for joins of as many rows as were changed. */
const settings = [
  "SET LOCAL work_mem TO '64MB'",
  'SET LOCAL row_security TO off', 'SET LOCAL statement_timeout TO 0', 'SET LOCAL idle_in_transaction_session_timeout TO 0', `SET LOCAL lock_timeout TO ${lockMsMax}`,
  "SET LOCAL search_path TO ''", 'SET LOCAL synchronous_commit TO on',
];

/** Throws Failure. */
export async function beginUndo(deps: UndoTransactionDeps): Promise<UndoTransaction> {
  const link = await deps.connect();
  const session = sessionOf(link);
  try {
    await session.query('BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE');
    for (const sql of settings) await session.query(sql);
    const { server } = await readPlace(session.query);
    return transactionOn(link, session, server, deps);
  } catch (error) {
    link.destroy();
    throw explained(error);
  }
}

function transactionOn(link: Link, session: TransactionSession, server: ServerIdentity, { connect, readRows, newMark, onProgress }: UndoTransactionDeps): UndoTransaction {
  const [touched, images] = [new TouchedRows(session, newMark()), new ImageTables(newMark())];
  return {
    server,
    plan: (manifest, policy) => explaining(async () => {
      if (manifest.method === 'tables' || manifest.method === 'tombstone') return planTables(session, manifest, readRows, policy, onProgress);
      const choices = { merges: policy.merges, forces: policy.onConflict === 'force' };
      const planned = await planRows({ session, readRows, choices, touched, images, onProgress }, manifest);
      return { ...planned, made: [], isDoable: true, apply: () => explaining(() => planned.apply()) };
    }),
    keep: (draft) => explaining(() => keep(session, touched, draft)),
    commit: async (xid) => {
      try {
        await explaining(() => session.query('COMMIT'));
      } catch (error) {
        if (!(error instanceof Failure) || error.code !== 'upstream_unavailable') throw error;
        return await fateOf(connect, server, xid);
      }
      await link.end();
      return 'committed';
    },
    rollback: async () => {
      await session.query('ROLLBACK').catch(() => { /* the server does so when the connection goes */ });
      await link.end();
    },
  };
}

/** What fell is made again at once: only with it there can its rows be told from those of others. */
async function planTables(session: TransactionSession, manifest: Manifest, readRows: UndoTransactionDeps['readRows'], { onConflict }: UndoPolicy, onProgress: UndoTransactionDeps['onProgress']): Promise<PlannedUndo> {
  onProgress('making again what fell');
  const { isDone, conflicts, tables, made } = await restoreTables(session, manifest, readRows, { onConflict: onConflict === 'refuse' ? 'stop' : onConflict });
  const left = new Map(conflicts.map(({ what, rows = 1 }) => [tableIn(what), rows]));
  const inserted = new Map(tables.map(({ name, rows }) => [name, rows]));
  return {
    made, isDoable: isDone, apply: () => Promise.resolve(),
    changes: [...new Set([...inserted.keys(), ...left.keys()])].map((table) => ({ ...noChange, table, insert: inserted.get(table) ?? 0, conflict: left.get(table) ?? 0 })),
    conflicts: conflicts.map(({ what, why, rows }) => ({ table: tableIn(what), key: rows === undefined ? '' : `${rows} ${rows === 1 ? 'row' : 'rows'}`, why, step: 'conflict', columns: [], before: null, after: null, now: null })),
  };
}

const noChange = { insert: 0, delete: 0, 'put-back': 0, merge: 0, done: 0, conflict: 0, blocked: 0 } as const;

/** `relation app.orders`: as it is called where its rows are counted. */
function tableIn(what: string): string { return what.startsWith('relation ') ? what.slice('relation '.length) : what; }

async function keep(session: TransactionSession, touched: TouchedRows, draft: Pick<RecoveryDraft, 'rows'>): Promise<CapturedContents> {
  const printing = await pinPrinting(session.query);
  const tables: KeptTable[] = [];
  for (const { table: { name, columns, types, key, alwaysIdentity, partitions }, before, after } of touched.images()) {
    const shape = { name, columns, types, key, alwaysIdentity, partitions };
    const sinks = [draft.rows(), draft.rows()] as const;
    await session.copyOut(`COPY (${before}) TO STDOUT`, (rows) => sinks[0].write(rows));
    await session.copyOut(`COPY (${after}) TO STDOUT`, (rows) => sinks[1].write(rows));
    tables.push({ ...shape, fingerprint: fingerprintOf(shape), before: await sinks[0].finish(), after: await sinks[1].finish() });
  }
  return { tables, settings: printing.settings, ...await readPlace(session.query) };
}

/** Until the server has seen that its client is gone, the transaction is in progress to it. */
const fateAsksMax = 20;

async function fateOf(connect: UndoTransactionDeps['connect'], { systemId, timeline }: ServerIdentity, xid: string): Promise<TransactionFate> {
  try {
    const link = await connect();
    const { query } = sessionOf(link);
    try {
      for (let asked = 0; asked < fateAsksMax; asked += 1) {
        const fate = await transactionFate(query, { systemId, timeline, xid });
        if (fate !== 'not-yet') return fate;
        await query('SELECT pg_catalog.pg_sleep(0.25)');
      }
      return 'unknown';
    } finally {
      await link.end();
    }
  } catch {
    return 'unknown';
  }
}

async function explaining<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw explained(error);
  }
}

/** By SQLSTATE, or by its class. */
const reasons: Readonly<Record<string, string>> = {
  '55P03': 'Somebody else is at work in a table. Try again when they are done.',
  40: 'Somebody else is at work in the same tables. Try again.',
  42: 'Give the role by which Backstop reaches the server what it lacks: it must own the tables, or be a superuser.',
  23: 'Look at the rows and the constraint that it names; undo first what was done to them later.',
};
const reasonOtherwise = 'Look at what the server says, and try again.';

function explained(error: unknown): unknown {
  if (!(error instanceof ServerError)) return error;
  return new Failure('conflict', 'the server refused a step of the undo, and everything was rolled back', {
    detail: `${error.code}: ${error.message}`, hint: reasons[error.code] ?? reasons[error.code.slice(0, 2)] ?? reasonOtherwise, cause: error,
  });
}
