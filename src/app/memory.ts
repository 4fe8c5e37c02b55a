/**
 * What we remember, joined: the store's tables over one database, and, for a process that serves, its place among the
 * store's nodes. What a run, or a worker, left when it died is settled here.
 */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { Answer, Approval } from '../core/approval.ts';
import { answerApproval } from '../flow/answer-approval.ts';
import { systemClock, type Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { formatVerifier, makeVerifier, saltBytesDefault } from '../lib/pgwire/scram-verifier.ts';
import { shortId, sortableId } from '../lib/sortable-id.ts';
import { createApprovals, type Approvals } from '../store/approvals.ts';
import { openDatabase, type StoreDatabase, type StorePlace } from '../store/database.ts';
import { createIdentities, type Identities } from '../store/identities.ts';
import { createLedger, type Ledger } from '../store/ledger.ts';
import { joinNodes, resolveLeft, type Node, type NodeDeps } from '../store/nodes.ts';
import { createRecoveryPoints, type RecoveryPoints } from '../store/recovery-points.ts';
import { placeOf } from './data-folder.ts';
import type { Started } from './start-whole.ts';

/** What we remember, without serving anything: all that most commands need. */
export interface Memory {
  readonly database: StoreDatabase;
  readonly ledger: Ledger;
  readonly approvals: Approvals;
  readonly recoveryPoints: RecoveryPoints;
  readonly identities: Identities;
  /** Needs an operator's token. */
  answer(token: string, id: string, given: Pick<Answer, 'answer' | 'reason'>): Promise<Approval>;
  close(): Promise<void>;
}

export interface MemoryOptions {
  /** Fail rather than make a new store. */
  readonly isThere?: boolean;
  /** To issue permits for as long as one command takes. */
  readonly isVisiting?: boolean;
  /** To serve from it, and so to issue permits: the data folder that was claimed for it, and what a log should say. */
  readonly serving?: { readonly dataDir: string; readonly onEvent: NonNullable<NodeDeps['onEvent']>; readonly isWorker?: boolean };
}

/** Throws Failure `store_unavailable`, `data_version` or `not_found`. */
export async function openMemory(place: StorePlace, options: MemoryOptions = {}): Promise<Memory> {
  const database = await openDatabase(place, options);
  try {
    return await remember(database, options);
  } catch (error) {
    await database.close();
    throw error;
  }
}

async function remember(database: StoreDatabase, { serving, isVisiting = false }: MemoryOptions): Promise<Memory> {
  const clock = systemClock;
  const node = serving === undefined ? (isVisiting ? await visitNodes(database, clock) : undefined) : await enterNodes(database, clock, serving);
  const ledger = createLedger({ database, clock, ...(node === undefined ? {} : { node }) });
  const approvals = createApprovals({ database, clock });
  const recoveryPoints = createRecoveryPoints({ database, ledger, clock });
  const identities = createIdentities({
    database, clock, randomBytes,
    makeVerifier: async (token) => formatVerifier(await makeVerifier(token, { salt: randomBytes(saltBytesDefault) })),
  });
  return {
    database, ledger, approvals, recoveryPoints, identities,
    answer: (token, id, given) => answerApproval({ identities, approvals }, token, id, given),
    close: async () => {
      try {
        await ledger.close();
        await node?.leave();
      } finally {
        await database.close();
      }
    },
  };
}

async function enterNodes(database: StoreDatabase, clock: Clock, { dataDir, onEvent, isWorker = false }: NonNullable<MemoryOptions['serving']>): Promise<Node> {
  const place = placeOf(dataDir);
  if (!isWorker) await settleTheLastRun(database, dataDir, onEvent);
  return joinNodes({ database, clock, newId: () => sortableId('nod', { nowMs: Date.now, randomBytes }), place, host: hostname(), pid: process.pid, onEvent });
}

/** No start of another process takes this one for the last run of its folder. */
function visitNodes(database: StoreDatabase, clock: Clock): Promise<Node> {
  return joinNodes({ database, clock, newId: () => sortableId('nod', { nowMs: Date.now, randomBytes }), place: shortId('plc', { randomBytes }, 20), host: hostname(), pid: process.pid });
}

/** What earlier runs from this folder left: they are dead, because whoever calls this has claimed it. */
export async function settleTheLastRun(database: StoreDatabase, dataDir: string, onEvent: NonNullable<NodeDeps['onEvent']>): Promise<void> {
  const left = await resolveLeft({ database, clock: systemClock }, { place: placeOf(dataDir) });
  if (left > 0) onEvent('the last run ended without the outcome of some statements; they are recorded as unknown', { permits: left });
}

/** What a worker of ours left that has just died. */
export async function settleWorker(database: StoreDatabase, dataDir: string, pid: number, log: Log): Promise<void> {
  const left = await resolveLeft({ database, clock: systemClock }, { place: placeOf(dataDir), pid });
  if (left > 0) log.warn({ permits: left, pid }, 'a worker ended without the outcome of some statements; they are recorded as unknown');
}

/** The record says that this program begins, and, when it stops, that it ends. */
export async function recordRun({ ledger }: Memory, started: Started): Promise<void> {
  const record = (what: 'start' | 'stop'): Promise<void> => ledger.append({ kind: 'admin', what, by: 'operator', subject: 'backstop', note: null });
  await record('start');
  started.push(() => record('stop'));
}
