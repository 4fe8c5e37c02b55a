/**
 * Undo: puts back what actions changed, itself an action on record that can be undone. Asked for by an operator, it asks
 * nobody else:
 *   find     the recovery points, committed and not undone yet, newest first by when their images were taken
 *   record   the verdict, in the operator's name, is durable before anything is touched
 *   restore  all of them in one transaction; what somebody edited since is a conflict, and never overwritten unless that is asked for
 *   protect  what the undo changed is a recovery point of its own, read back and on record before COMMIT
 *   settle   where the answer to COMMIT is lost, the server is asked
 * Without an operator's word to do it, the same is done and rolled back, so what is shown is what would happen.
 */
import { Failure } from '../core/failure.ts';
import type { VerdictBody } from '../core/ledger/entry.ts';
import type { Outcome } from '../core/outcome.ts';
import type { Manifest } from '../core/recovery/manifest.ts';
import type { RecoveryPointOnRecord, TransactionFate } from '../core/recovery/recovery-point.ts';
import { rowsLeft, rowsUndone, type UndonePoint, type UndoPolicy, type UndoReport } from '../core/recovery/undo-plan.ts';
import { canonicalJson } from '../lib/canonical-json.ts';
import type { Clock } from '../lib/clock.ts';
import { sha256Hex } from '../lib/sha256.ts';
import type { UndoTransaction } from '../remote/postgres/restore/undo-transaction.ts';
import type { Identities } from '../store/identities.ts';
import type { Ledger } from '../store/ledger.ts';
import type { RecoveryPoints } from '../store/recovery-points.ts';
import type { Protector, RecoveryPoint } from './protect.ts';
import { findPoints, undoSession, type FindDeps, type Wanted } from './undo-points.ts';

export interface UndoDeps {
  readonly identities: Pick<Identities, 'authenticateOperator'>;
  readonly ledger: Pick<Ledger, 'issue' | 'settle'>;
  readonly points: Pick<RecoveryPoints, 'list' | 'startingWith' | 'change'>;
  readonly resolve: FindDeps['resolve'];
  readonly stored: FindDeps['stored'];
  readonly protector: Pick<Protector, 'begin'>;
  /** Throws Failure `recovery_point_broken`, `not_found` or `bucket_unavailable`. */
  readonly readManifest: (point: RecoveryPointOnRecord) => Promise<Manifest>;
  readonly begin: (database: string) => Promise<UndoTransaction>;
  readonly policy: { readonly name: string; readonly hash: string };
  /** As whom the server is reached. */
  readonly role: string;
  /** `act_…` */
  readonly newActionId: () => string;
  readonly clock: Pick<Clock, 'monotonicMs'>;
}

interface Found { readonly point: RecoveryPointOnRecord; readonly manifest: Manifest }

/** Looks, and changes nothing. Throws Failure. */
export async function planUndo(deps: UndoDeps, wanted: Wanted, policy: UndoPolicy): Promise<UndoReport> {
  const found = await find(deps, wanted);
  const transaction = await deps.begin(databaseOf(found));
  try {
    const points = await restore(transaction, found, policy, false);
    return reportOf(found, points, policy);
  } finally {
    await transaction.rollback();
  }
}

/** Throws Failure: then nothing was changed, unless it says that nobody knows. */
export async function applyUndo(deps: UndoDeps, token: string, wanted: Wanted, policy: UndoPolicy): Promise<UndoReport> {
  const by = await deps.identities.authenticateOperator(token);
  const found = await find(deps, wanted);
  const actionId = deps.newActionId();
  const permit = await deps.ledger.issue(verdictOf(deps, { by, actionId, found, policy }));
  const sinceMs = deps.clock.monotonicMs();
  const settle = (kind: Outcome['kind'], rows: number | null): Promise<void> => deps.ledger.settle(permit, { kind, rows, durationMs: deps.clock.monotonicMs() - sinceMs });
  try {
    const done = await perform(deps, { by, actionId, found, policy });
    await settle(done.fate, done.rows);
    if (done.fate === 'unknown') throw new Failure('upstream_unavailable', 'the connection was lost at COMMIT, and the server does not say what became of the undo', { hint: 'Look with `backstop undo` without --yes what is still to be done.' });
    const unsaid = await onRecord(deps, done.unsaid);
    if (unsaid.length > 0) await deps.points.change(unsaid, 'undone', { by, note: `by ${actionId}` });
    return { ...reportOf(found, done.points, policy), applied: { actionId, recoveryPointId: done.recoveryPointId } };
  } catch (error) {
    // A permit takes the first answer only.
    await settle('rolled-back', null).catch(() => { /* what went wrong first is told */ });
    throw error;
  }
}

/** What was found in the storage alone is on no record that could say so. */
async function onRecord({ points }: Pick<UndoDeps, 'points'>, ids: readonly string[]): Promise<readonly string[]> {
  const known: string[] = [];
  for (const id of ids) if ((await points.startingWith(id, 1)).length > 0) known.push(id);
  return known;
}

interface Undoing { readonly by: string; readonly actionId: string; readonly found: readonly Found[]; readonly policy: UndoPolicy }
interface Done { readonly fate: Exclude<TransactionFate, 'discarded'>; readonly points: readonly UndonePoint[]; /** Undone, and not said so by a recovery point of the undo's own. */ readonly unsaid: readonly string[]; readonly rows: number; readonly recoveryPointId: string | null }

async function perform(deps: UndoDeps, undoing: Undoing): Promise<Done> {
  const { found, policy } = undoing;
  const transaction = await deps.begin(databaseOf(found));
  let sealed: RecoveryPoint | undefined;
  try {
    const points = await restore(transaction, found, policy, true);
    // What was left in part can be undone again.
    const undone = found.filter((_, index) => rowsLeft(points[index]?.changes ?? [], policy) === 0).map(({ point }) => point);
    // What was made again stays when this undo is undone: only rows are changed in place.
    const [again, said] = [undone.filter(makesAgain), undone.filter((point) => !makesAgain(point))].map((some) => some.map(({ id }) => id)) as [string[], string[]];
    const draft = deps.protector.begin(subjectOf(undoing, said));
    const contents = await transaction.keep(draft);
    sealed = await draft.seal(contents);
    const fate = await transaction.commit(contents.xid);
    sealed.settle(fate);
    if (fate === 'discarded') throw new Failure('upstream_unavailable', 'the connection was lost at COMMIT, and the server rolled the undo back');
    return { fate, points, unsaid: sealed.id === undefined ? [...again, ...said] : again, recoveryPointId: sealed.id ?? null, rows: points.reduce((sum, { changes }) => sum + rowsUndone(changes, policy), 0) };
  } catch (error) {
    sealed?.settle('discarded');
    await transaction.rollback();
    throw error;
  }
}

function makesAgain({ method }: Pick<RecoveryPointOnRecord, 'method'>): boolean { return method === 'tables' || method === 'tombstone'; }

const triedRowsMax = 10_000;

/** One after another: each finds what the one before has left. */
async function restore(transaction: UndoTransaction, found: readonly Found[], policy: UndoPolicy, isMeant: boolean): Promise<readonly UndonePoint[]> {
  const points: UndonePoint[] = [];
  for (const [index, { point, manifest }] of found.entries()) {
    if (manifest.server.systemId !== transaction.server.systemId) {
      throw new Failure('conflict', `the recovery point ${point.id} was taken on another server (${manifest.server.systemId}, this one is ${transaction.server.systemId})`, { hint: 'Point Backstop at that server; rows can be taken out with `backstop snapshots export`.' });
    }
    const planned = await transaction.plan(manifest, policy);
    const left = rowsLeft(planned.changes, policy);
    if (isMeant && ((left > 0 && policy.onConflict !== 'skip') || !planned.isDoable)) throw inConflict(point, planned.conflicts.map(({ table, key, why }) => `${[table, key].filter((part) => part !== '').join(' ')}: ${why}`), left, policy);
    // Looked at, what is large is compared and not tried, unless something that is older comes after it.
    if (isMeant || index < found.length - 1 || rowsUndone(planned.changes, policy) <= triedRowsMax) await planned.apply();
    points.push({
      recoveryPointId: point.id, actionIds: point.actions, agent: point.agent, createdAt: point.createdAt, texts: manifest.texts, changes: planned.changes, conflicts: planned.conflicts, made: planned.made,
    });
  }
  return points;
}

const conflictsNamedMax = 5;

function inConflict(point: RecoveryPointOnRecord, conflicts: readonly string[], left: number, { onConflict }: UndoPolicy): Failure {
  const { id } = point;
  if (makesAgain(point)) {
    return new Failure('conflict', `${id} cannot be undone without overwriting what was done since, so nothing was changed`, {
      detail: conflicts.slice(0, conflictsNamedMax).join('\n'), hint: 'Undo first what was done later; for rows, --on-conflict skip leaves them as they are and --on-conflict force makes them as before.',
    });
  }
  return new Failure('conflict', `${left} ${left === 1 ? 'row' : 'rows'} of ${id} cannot be undone without overwriting what was done since, so nothing was changed`, {
    detail: [...conflicts.slice(0, conflictsNamedMax), ...(left > conflictsNamedMax ? [`and ${left - conflictsNamedMax} more`] : [])].join('\n'),
    hint: onConflict === 'force'
      ? 'Not even force breaks a key: undo first what was done later, or leave these rows as they are with --on-conflict skip.'
      : 'Leave these rows as they are with --on-conflict skip, keep other edits with --merge, or overwrite them with --on-conflict force.',
  });
}

async function find(deps: UndoDeps, wanted: Wanted): Promise<readonly Found[]> {
  const found: Found[] = [];
  for (const point of await findPoints(deps, wanted)) found.push({ point, manifest: await deps.readManifest(point) });
  // Of two that changed the same row, the later one read its images later, however they began.
  return found.sort((a, b) => { const [first, second] = [placeInLog(a.manifest.lsn), placeInLog(b.manifest.lsn)]; return first < second ? 1 : first > second ? -1 : 0; });
}

/** `16/B374D848`: two hexadecimal halves of 64 bits. */
function placeInLog(lsn: string): bigint {
  const [high = '0', low = '0'] = lsn.split('/');
  return (BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`);
}

function databaseOf(found: readonly Found[]): string {
  const databases = [...new Set(found.map(({ point }) => point.database))];
  const [first, second] = databases;
  if (first === undefined) throw new Failure('not_found', 'there is nothing to undo');
  if (second !== undefined) throw new Failure('usage', `these actions were done in several databases (${databases.join(', ')}); undo those of one database at a time`);
  return first;
}

function reportOf(found: readonly Found[], points: readonly UndonePoint[], policy: UndoPolicy): UndoReport {
  return { database: databaseOf(found), points, rowsLeft: points.reduce((sum, { changes }) => sum + rowsLeft(changes, policy), 0) };
}

function textOf({ found, policy: { onConflict, merges } }: Undoing): string {
  return `undo ${found.flatMap(({ point }) => point.actions).join(' ')}${onConflict === 'refuse' ? '' : ` --on-conflict ${onConflict}`}${merges ? ' --merge' : ''}`;
}

function subjectOf(undoing: Undoing, undoes: readonly string[]): Parameters<Protector['begin']>[0] {
  const { by, actionId, found } = undoing;
  return {
    actionIds: [actionId], agent: by, sessionId: undoSession, database: databaseOf(found), texts: [textOf(undoing)], undoes,
    coverage: {
      scope: 'exact-rows', method: 'transitions', sentence: 'Every row that this undo changed in place can be put back as it was.',
      lost: found.some(({ point }) => makesAgain(point)) ? ['Tables and definitions that this undo made again stay.'] : [],
    },
  };
}

const effectsMax = 50;

function verdictOf({ policy: { name, hash }, role }: UndoDeps, undoing: Undoing): VerdictBody {
  const { by, actionId, found, policy } = undoing;
  const tables = [...new Set(found.flatMap(({ manifest }) => manifest.tables.map((table) => table.name)))];
  return {
    kind: 'verdict', actionId, sessionId: undoSession, agent: by, database: databaseOf(found), role, searchPath: [],
    digest: sha256Hex(canonicalJson([found.map(({ point }) => point.line), policy.onConflict, policy.merges])), fingerprint: sha256Hex('undo'), text: textOf(undoing),
    level: 'HIGH', reasons: ['undo'], effects: tables.slice(0, effectsMax).map((table) => `update ${table}`), destroys: true, recoverability: 'exact-rows',
    decision: 'allow', wouldBe: 'allow', fired: [], policyName: name, policyHash: hash, catalogVersion: '', approvalId: null,
  };
}
