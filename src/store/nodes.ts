/**
 * Nodes: the processes that serve from one store. Each has a row with a lease that it renews, on the store's clock; each
 * append of a node asks in its own transaction whether that row is still there. When a lease has ended, whichever node
 * sees it first takes the row away and settles what that node had permitted as `unknown`, and the recovery points of its
 * transactions, in one transaction. So a node that was thought dead and is not can append nothing in its old name: it
 * joins again under a new one. A node that cannot renew its lease knows so before it ends.
 */
import { sql, type RawBuilder } from 'kysely';
import { Failure } from '../core/failure.ts';
import type { Clock } from '../lib/clock.ts';
import type { Changes, StoreDatabase } from './database.ts';
import { appendEntries } from './ledger-append.ts';
import { outcomeBody } from './read-batch.ts';

export interface Node {
  /** Its name now; another one after it was given up by the others and has joined again. */
  readonly id: string;
  /** By our own clock, with a margin. When false, nothing may be permitted from memory. */
  readonly isLeased: boolean;
  /** In the transaction of an append: its name. Throws Failure `store_unavailable` when it was given up by the others. */
  fence(changes: Changes): Promise<string>;
  /** What it does every few seconds: renews its lease, and settles what dead nodes left. */
  renew(): Promise<void>;
  /** Its permits that are still open are settled as unknown by whoever looks next. */
  leave(): Promise<void>;
}

export interface NodeDeps {
  readonly database: StoreDatabase;
  readonly clock: Clock;
  /** `nod_…` */
  readonly newId: () => string;
  /** The data folder's own id; see `resolveLeft`. */
  readonly place: string;
  readonly host: string;
  readonly pid: number;
  /** Something a log should say. */
  readonly onEvent?: (what: string, details: Readonly<Record<string, unknown>>) => void;
}

export const leaseMs = 10_000;
const renewEveryMs = 2_000;
/** The lease is over by our own clock this much earlier than by the store's. */
const marginMs = 1_000;
const permitsPerTransaction = 1_000;

/** Throws Failure `store_unavailable`. */
export async function joinNodes(deps: NodeDeps): Promise<Node> {
  const node = new StoreNode(deps);
  await node.renew();
  return node;
}

class StoreNode implements Node {
  readonly #deps: NodeDeps;
  #id: string;
  #leasedUntil = -Infinity;
  #renewing: Promise<void> | undefined;
  readonly #timer: NodeJS.Timeout;
  #hasJoined = false;

  constructor(deps: NodeDeps) {
    this.#deps = deps;
    this.#id = deps.newId();
    this.#timer = setInterval(() => {
      this.renew().catch((error: unknown) => { deps.onEvent?.('the lease of this node could not be renewed', { node: this.#id, error }); });
    }, renewEveryMs);
    this.#timer.unref();
  }

  get id(): string { return this.#id; }
  get isLeased(): boolean { return this.#deps.clock.monotonicMs() < this.#leasedUntil; }

  async fence(changes: Changes): Promise<string> {
    const id = this.#id;
    const row = await changes.selectFrom('node').select('id').where('id', '=', id).executeTakeFirst();
    if (row === undefined) throw new Failure('store_unavailable', 'this node was given up by the others, because it had not renewed its lease');
    return id;
  }

  renew(): Promise<void> {
    this.#renewing ??= this.#renew().finally(() => { this.#renewing = undefined; });
    return this.#renewing;
  }

  async leave(): Promise<void> {
    clearInterval(this.#timer);
    await this.#renewing?.catch(() => undefined);
    this.#leasedUntil = -Infinity;
    await this.#deps.database.transactRelaxed((changes) => changes.deleteFrom('node').where('id', '=', this.#id).execute());
  }

  async #renew(): Promise<void> {
    const { database, clock } = this.#deps;
    // Before it is sent: however long the answer takes, the lease does not last longer for us than for the others.
    const since = clock.monotonicMs();
    const id = await database.transactRelaxed(async (changes) => {
      const { numUpdatedRows } = await changes.updateTable('node').set({ lease_until: leaseEnd(database) }).where('id', '=', this.#id).executeTakeFirst();
      return numUpdatedRows > 0n ? this.#id : this.#join(changes);
    });
    if (id !== this.#id) this.#deps.onEvent?.('this node had been given up by the others and has joined again', { before: this.#id, now: id });
    this.#id = id;
    this.#hasJoined = true;
    this.#leasedUntil = since + leaseMs - marginMs;
    const left = await resolveLeft(this.#deps);
    if (left > 0) this.#deps.onEvent?.('a node ended without the outcome of some statements; they are recorded as unknown', { permits: left });
  }

  async #join(changes: Changes): Promise<string> {
    const { database, clock, newId, place, host, pid } = this.#deps;
    const id = this.#hasJoined ? newId() : this.#id;
    await changes.insertInto('node').values({ id, place, host, pid, started_at: clock.now().toISOString(), lease_until: leaseEnd(database) }).execute();
    return id;
  }
}

function leaseEnd({ nowMs }: StoreDatabase): ReturnType<typeof sql<number>> { return sql<number>`${nowMs} + ${sql.lit(leaseMs)}`; }

/** Whoever holds the claim of a data folder knows that the nodes of earlier runs there are dead, and sees its own workers die. */
export interface DeadNodes { readonly place: string; readonly pid?: number }

export interface ResolveDeps {
  readonly database: StoreDatabase;
  readonly clock: Clock;
}

/**
 * Settles every permit, and every recovery point, whose node is gone as `unknown`; returns how many permits. A node is gone when its lease has ended, or when
 * it is known to be dead.
 */
export async function resolveLeft({ database, clock }: ResolveDeps, dead?: DeadNodes): Promise<number> {
  const isDead = dead === undefined ? sql<boolean>`1 = 0` : dead.pid === undefined ? sql<boolean>`place = ${dead.place}` : sql<boolean>`place = ${dead.place} AND pid = ${dead.pid}`;
  for (let resolved = 0; ;) {
    const { rows } = await sql`
      SELECT 1 FROM node WHERE lease_until <= ${database.nowMs} OR (${isDead})
      UNION ALL SELECT 1 FROM open_permit WHERE node_id IS NULL OR node_id NOT IN (SELECT id FROM node)
      UNION ALL SELECT 1 FROM recovery_point WHERE state = 'sealed' AND (node_id IS NULL OR node_id NOT IN (SELECT id FROM node)) LIMIT 1`.execute(database.queries);
    if (rows.length === 0) return resolved;
    resolved += await database.transact((changes) => resolveSome(changes, database, clock.now(), isDead));
  }
}

async function resolveSome(changes: Changes, { nowMs }: StoreDatabase, at: Date, isDead: RawBuilder<boolean>): Promise<number> {
  await changes.deleteFrom('node').where((where) => where.or([where('lease_until', '<=', nowMs), isDead])).execute();
  await changes.updateTable('recovery_point').set({ state: 'unknown', changed_at: at.toISOString(), node_id: null }).where('state', '=', 'sealed')
    .where((where) => where.or([where('node_id', 'is', null), where('node_id', 'not in', where.selectFrom('node').select('id'))])).execute();
  const left = await changes.selectFrom('open_permit').select('action_id')
    .where((where) => where.or([where('node_id', 'is', null), where('node_id', 'not in', where.selectFrom('node').select('id'))]))
    .orderBy('verdict_seq').limit(permitsPerTransaction).execute();
  if (left.length === 0) return 0;
  const actionIds = left.map(({ action_id: actionId }) => actionId);
  await appendEntries(changes, at, actionIds.map((actionId) => outcomeBody(actionId, { kind: 'unknown', rows: null, durationMs: 0 }, 'its node ended without the outcome')));
  await changes.deleteFrom('open_permit').where('action_id', 'in', actionIds).execute();
  return left.length;
}
