/**
 * Undo, joined: the store as a node of its own, the storage of recovery points, and links to the guarded server as the role
 * by which Backstop reaches it. For `backstop undo` and for its call over HTTP, for as long as one takes.
 */
import { randomBytes } from 'node:crypto';
import type { Config } from '../config.ts';
import { Failure } from '../core/failure.ts';
import type { UndoPolicy, UndoReport } from '../core/recovery/undo-plan.ts';
import type { PerformUndo } from '../entry/http/undo.ts';
import { createProtector } from '../flow/protect.ts';
import { createPointResolver } from '../flow/resolve-points.ts';
import { applyUndo, planUndo, type UndoDeps } from '../flow/undo.ts';
import type { Wanted } from '../flow/undo-points.ts';
import { systemClock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Secret } from '../lib/secret.ts';
import { sortableId } from '../lib/sortable-id.ts';
import { Packs } from '../remote/bucket/packs.ts';
import { RowsWriter } from '../remote/bucket/rows-writer.ts';
import { createSeal } from '../remote/bucket/seal.ts';
import { listStoredManifests } from '../remote/bucket/stored-packs.ts';
import { readStoredManifest, readStoredRows } from '../remote/bucket/stored-point.ts';
import { embeddedUpstream } from '../remote/embedded-postgres.ts';
import { connectLink } from '../remote/postgres/link.ts';
import { parseConnectionString } from '../remote/postgres/link-target.ts';
import { beginUndo } from '../remote/postgres/restore/undo-transaction.ts';
import { openMemory } from './memory.ts';
import { loadFor } from './policy.ts';
import { connectWitness } from './protection.ts';
import { openerOf, openStorage } from './storage.ts';

export interface Undo {
  /** Whose token it is. Throws Failure `not_permitted`. */
  authenticate(token: string): Promise<string>;
  /** Looks, and changes nothing. Throws Failure. */
  plan(wanted: Wanted, policy: UndoPolicy): Promise<UndoReport>;
  /** Needs an operator's token. Throws Failure: then nothing was changed. */
  apply(token: string, wanted: Wanted, policy: UndoPolicy): Promise<UndoReport>;
}

export interface UndoHooks {
  /** One short sentence for each step. */
  readonly onProgress: (what: string) => void;
  /** Where the guarded server is, if that is known already. */
  readonly upstream?: Secret;
}

/** For the record only: an undo must not fail because of a policy file that is wrong. */
async function policyOf(config: Config): Promise<{ readonly name: string; readonly hash: string }> {
  try {
    return await loadFor(config);
  } catch (error) {
    if (error instanceof Failure && error.code === 'policy_invalid') return { name: config.policy, hash: '' };
    throw error;
  }
}

/** What HTTP calls: each opens what it needs, and shows nothing to whoever is no operator. */
export function undoOverHttp(config: Config, upstream: Secret, log: Log): PerformUndo {
  return ({ token, actionId, isDry, policy }) => withUndo(config, { upstream, onProgress: (step) => { log.debug({ step }, 'an undo goes on'); } }, async (undo) => {
    await undo.authenticate(token);
    const wanted: Wanted = actionId === 'last' ? { kind: 'last' } : { kind: 'ids', ids: [actionId] };
    return isDry ? undo.plan(wanted, policy) : undo.apply(token, wanted, policy);
  });
}

/** Throws Failure, also `not_found` where there is no store. */
export async function withUndo<T>(config: Config, { onProgress, upstream = config.upstream ?? embeddedUpstream(config.dataDir) }: UndoHooks, work: (undo: Undo) => Promise<T>): Promise<T> {
  const target = parseConnectionString(upstream.reveal());
  const policy = await policyOf(config);
  const memory = await openMemory(config.store, { isThere: true, isVisiting: true });
  try {
    const bucket = await openStorage(config.recovery);
    try {
      const closing = { bucket, seal: await createSeal(config.recovery.recipients) };
      const stored = { bucket, opener: await openerOf(config.recovery) };
      const newId = (prefix: string): string => sortableId(prefix, { nowMs: Date.now, randomBytes });
      const protector = createProtector({ openRows: () => new RowsWriter(closing), packs: new Packs(closing), record: memory.recoveryPoints, clock: systemClock, newId: () => newId('rp') });
      const deps: UndoDeps = {
        resolve: createPointResolver({ points: memory.recoveryPoints, connect: () => connectWitness(target) }).resolve,
        identities: memory.identities, ledger: memory.ledger, points: memory.recoveryPoints, protector, clock: systemClock, role: target.user,
        policy: { name: policy.name, hash: policy.hash }, readManifest: (point) => readStoredManifest(stored, point), stored: () => listStoredManifests(stored), newActionId: () => newId('act'),
        begin: (database) => beginUndo({
          connect: () => connectLink(target, { database, parameters: new Map([['application_name', 'backstop undo']]) }),
          readRows: (kept) => readStoredRows(stored, kept), newMark: () => randomBytes(8).toString('hex'), onProgress,
        }),
      };
      return await work({
        authenticate: (token) => memory.identities.authenticateOperator(token), plan: (wanted, how) => planUndo(deps, wanted, how), apply: (token, wanted, how) => applyUndo(deps, token, wanted, how),
      });
    } finally {
      await bucket.close();
    }
  } finally {
    await memory.close();
  }
}
