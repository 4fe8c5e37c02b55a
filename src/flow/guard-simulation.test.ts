/**
 * A day of the guard in seconds: agents send, people answer, policies and schemas move, the store fails before or after a
 * commit, and the process crashes, all in an order that a seed decides. Whatever happens, an independent reader of the
 * record must find that nothing ran without a durable verdict, nothing held ran without an approval of exactly that, no
 * approval was used twice, every permit ends with an outcome, and the chain holds. A failure names its seed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bindingOf } from '../core/approval.ts';
import { Failure } from '../core/failure.ts';
import type { ApprovalBody, EntryBody, OutcomeBody, VerdictBody } from '../core/ledger/entry.ts';
import { parsePolicy, type Policy } from '../core/policy/policy.ts';
import { levels, type Level, type Risk } from '../core/risk.ts';
import { openDatabase, type StoreDatabase, type StorePlace } from '../store/database.ts';
import { createApprovals, type Approvals } from '../store/approvals.ts';
import { createBudgets } from '../store/budgets.ts';
import { createLedger, type Ledger } from '../store/ledger.ts';
import { openStore, stores, type TestStore } from '../../test/fixtures/store.ts';
import { answerApproval } from './answer-approval.ts';
import { createGuard, type Admission, type Guard, type GuardRequest, type Permitted } from './guard.ts';

/** Where each step is many messages to a server, fewer show enough. */
const seeds = stores().isRemote ? 10 : 24;
const stepsPerSeed = 150;
const inFlightMax = 6;
const secret = 'secret-4711';

/** mulberry32: small, and the same everywhere. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const policies: readonly Policy[] = [['hold', 'deny', 0], ['hold', 'hold', 0], ['allow', 'hold', 5], ['hold', 'hold', 5], ['deny', 'deny', 5]].map(([high, critical, wait]) =>
  parsePolicy(`
name: p-${high}-${critical}-${wait}
description: for a simulation
levels: { SAFE: allow, LOW: allow, HIGH: ${high}, CRITICAL: ${critical} }
approval: { wait: ${wait}, expires: 100 }
`, 'simulated.yaml'));

function riskOf(level: Level): Risk {
  return { level, reasons: [{ rule: `is.${level}`, level, message: 'Simulated.' }], effects: [], destroys: false, recoverability: 'not-needed', assumptions: [] };
}

interface Parts { readonly database: StoreDatabase; readonly ledger: Ledger; readonly approvals: Approvals; readonly guard: Guard }

class Simulation {
  readonly place: StorePlace;
  readonly next: (below: number) => number;
  readonly operator: string;
  readonly agentToken: string;
  readonly failures = new Set<string>();
  permits = 0;
  crashes = 0;
  #ms = Date.UTC(2026, 0, 1);
  #ids = 0;
  #policy: Policy = policies[0] as Policy;
  #catalog = 1;
  /** What each text would do under the present schema. */
  readonly #levels: Level[] = ['SAFE', 'LOW', 'HIGH', 'HIGH', 'CRITICAL'];
  #faultyPercent = 0;
  #parts!: Parts;
  readonly #inFlight = new Set<Promise<void>>();
  /** What went wrong in an action of its own. */
  #broken: unknown;
  readonly #running: { readonly actionId: string; readonly permitted: Permitted }[] = [];
  /** Outcomes that the ledger said it has taken. */
  readonly settled = new Map<string, string>();
  /** A stranger with a connection of its own. */
  readonly #reader: TestStore;

  static async begin(seed: number): Promise<Simulation> {
    const store = await openStore();
    const { token: operator } = await store.identities.addOperator('olga');
    const { token: agentToken } = await store.identities.addAgent('ada', null, 'olga');
    await store.close();
    const simulation = new Simulation(seed, await openStore(store.place), operator, agentToken);
    await simulation.start();
    return simulation;
  }

  private constructor(seed: number, reader: TestStore, operator: string, agentToken: string) {
    this.next = generator(seed);
    this.place = reader.place;
    this.#reader = reader;
    this.operator = operator;
    this.agentToken = agentToken;
  }

  async start(): Promise<void> {
    const database = this.#faulty(await openDatabase(this.place));
    const clock = { now: () => new Date(this.#ms), monotonicMs: () => this.#ms };
    const ledger = createLedger({ database, clock });
    const approvals = createApprovals({ database, clock });
    const guard = createGuard({ budgets: createBudgets({ database, clock }), ledger, approvals, clock, policy: () => this.#policy, untilPolicyChanged: () => new AbortController().signal, environment: 'production', newApprovalId: () => `apr_${this.#ids += 1}` });
    this.#parts = { database, ledger, approvals, guard };
  }

  #faulty(database: StoreDatabase): StoreDatabase {
    const failing = (transact: StoreDatabase['transact']): StoreDatabase['transact'] => async (work) => {
      const fate = this.next(100);
      const isFaulty = fate < this.#faultyPercent;
      if (isFaulty && fate % 2 === 0) throw new Failure('store_unavailable', 'injected before');
      const result = await transact(work);
      if (isFaulty) throw new Failure('store_unavailable', 'injected after');
      return result;
    };
    return { ...database, transact: failing(database.transact), transactRelaxed: failing(database.transactRelaxed) };
  }

  async step(): Promise<void> {
    const dice = this.next(100);
    if (dice < 45) this.#send();
    else if (dice < 65) await this.#answer();
    else if (dice < 80) await this.#settleOne();
    else if (dice < 84) this.#policy = policies[this.next(policies.length)] as Policy;
    else if (dice < 87) this.#moveSchema();
    else if (dice < 91) this.#ms += this.next(60_000);
    else if (dice < 95) this.#faultyPercent = this.next(2) * this.next(60);
    else if (dice < 98) await this.#settleDown();
    else await this.#crash();
    if (this.#inFlight.size >= inFlightMax) await Promise.race(this.#inFlight);
    if (this.#broken !== undefined) throw this.#broken;
  }

  #moveSchema(): void {
    this.#levels[1 + this.next(4)] = levels[1 + this.next(3)] as Level;
    // Now and then a risk moves though the schema's version does not, as temporary tables make it.
    if (this.next(3) > 0) this.#catalog += 1;
  }

  #request(): GuardRequest {
    const which = this.next(this.#levels.length);
    const judge = (): { risk: Risk; catalogVersion: string } => ({ risk: riskOf(this.#levels[which] as Level), catalogVersion: `c${this.#catalog}` });
    const action: GuardRequest['action'] = {
      kind: 'sql', id: `act_${this.#ids += 1}`, actor: { kind: 'agent', name: ['ada', 'eve'][this.next(2)] as string }, sessionId: 'ses_1', database: 'shop',
      role: 'app', searchPath: ['public'], text: `UPDATE t${which} SET a = '${secret}'`, redacted: `UPDATE t${which} SET a = ?`, fingerprint: `f${which}`,
      digest: `d${which}`, inTransaction: false,
    };
    const rejudge = (): Promise<{ risk: Risk; catalogVersion: string }> =>
      (this.next(20) === 0 ? Promise.reject(new Failure('upstream_unavailable', 'injected')) : Promise.resolve(judge()));
    return { action, ...judge(), rejudge };
  }

  #send(): void {
    const { guard } = this.#parts;
    const request = this.#request();
    const running = this.#admit(guard, request).then((admission) => this.#check(request, admission))
      .catch((error: unknown) => { this.#broken ??= error; }).finally(() => { this.#inFlight.delete(running); });
    this.#inFlight.add(running);
  }

  async #admit(guard: Guard, request: GuardRequest): Promise<Admission> {
    const now = request.risk.level === 'SAFE' ? guard.admitNow(request) : undefined;
    if (now !== undefined) return now;
    const stop = new AbortController();
    const onHold = (): void => { if (this.next(4) > 0) stop.abort(); else setImmediate(() => { this.#ms += 6_000; }); };
    return guard.admit(request, { onHold, signal: stop.signal });
  }

  /** Reads the record as a stranger would, through a connection of its own. */
  async #check({ action, risk }: GuardRequest, admission: Admission): Promise<void> {
    if (admission.kind === 'refused') {
      this.failures.add(admission.failure.code);
      assert.ok(!`${admission.failure.message}${admission.failure.detail ?? ''}${admission.failure.hint}`.includes(secret));
      return;
    }
    this.permits += 1;
    this.#running.push({ actionId: action.id, permitted: admission });
    if (risk.level === 'SAFE') return;
    const verdict = (await this.#entries<VerdictBody>('verdict')).find(({ actionId }) => actionId === action.id);
    assert.ok(verdict?.decision === 'allow', `${action.id} is permitted without a verdict on record`);
    const policy = policies.find(({ hash }) => hash === verdict.policyHash);
    const given = policy?.levels[verdict.level];
    assert.notEqual(given, 'deny');
    assert.equal(verdict.approvalId !== null, given === 'hold', `${action.id}: ${verdict.level} under ${policy?.name}`);
    if (verdict.approvalId !== null) await this.#checkApproval(verdict, verdict.approvalId);
  }

  async #checkApproval(verdict: VerdictBody, approvalId: string): Promise<void> {
    const said = (await this.#entries<ApprovalBody>('approval')).filter((body) => body.approvalId === approvalId);
    assert.deepEqual(said.map(({ change }) => change), ['requested', 'approved', 'used'], approvalId);
    assert.equal(said[1]?.by, 'olga');
    const { digest, agent, database, role, searchPath, policyHash, catalogVersion, level } = verdict;
    assert.equal(said[0]?.binding, bindingOf({ kind: 'approval', digest, agent, database, role, searchPath, policyHash, catalogVersion, risk: riskOf(level) }));
    const users = (await this.#entries<VerdictBody>('verdict')).filter((body) => body.decision === 'allow' && body.approvalId === approvalId);
    assert.equal(users.length, 1, `${approvalId} let two actions through`);
  }

  async #entries<T extends EntryBody>(kind: T['kind']): Promise<T[]> {
    const rows = await this.#reader.database.queries.selectFrom('ledger').select('body').where('kind', '=', kind).orderBy('seq').execute();
    return rows.map(({ body }) => JSON.parse(body) as T);
  }

  async #answer(): Promise<void> {
    const { approvals, database } = this.#parts;
    const pending = await this.#orNothing(approvals.list('pending', 10), []);
    const one = pending[this.next(pending.length + 1)];
    if (one === undefined) return;
    const identities = { authenticateOperator: async (token: string) => {
      await database.queries.selectFrom('operator').select('name').execute();
      if (token !== this.operator) throw new Failure('not_permitted', 'no operator');
      return 'olga';
    } };
    const token = this.next(8) === 0 ? this.agentToken : this.operator;
    await this.#orNothing(answerApproval({ identities, approvals }, token, one.id, { answer: this.next(4) === 0 ? 'denied' : 'approved', reason: null }), undefined);
  }

  async #orNothing<T>(work: Promise<T>, nothing: T): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (error instanceof Failure) return nothing;
      throw error;
    }
  }

  async #settleOne(): Promise<void> {
    const [one] = this.#running.splice(this.next(this.#running.length + 1), 1);
    if (one === undefined) return;
    const kind = (['committed', 'rolled-back', 'failed'] as const)[this.next(3)] ?? 'failed';
    const isTaken = await this.#orNothing(one.permitted.settle({ kind, rows: this.next(9), durationMs: 1 }).then(() => true), false);
    if (isTaken && one.permitted.verdict.level !== 'SAFE') this.settled.set(one.actionId, kind);
  }

  async #settleDown(): Promise<void> {
    this.#ms += 10_000;
    await Promise.all(this.#inFlight);
    if (this.#broken !== undefined) throw this.#broken;
  }

  /** What was only in memory is gone; what is on disk stays. */
  async #crash(): Promise<void> {
    await this.#settleDown();
    this.crashes += 1;
    this.#running.length = 0;
    await this.#parts.database.close();
    this.#faultyPercent = 0;
    await this.start();
    await this.#parts.ledger.resolveOpenPermits();
    await this.#everyPermitHasAnOutcome();
  }

  async end(): Promise<void> {
    await this.#crash();
    assert.equal((await this.#parts.ledger.verify()).broken, undefined);
    const everything = (await this.#parts.ledger.entriesAfter(0, 1_000_000)).map(({ body }) => body).join();
    assert.ok(!everything.includes(secret) && !everything.includes(this.agentToken), 'a literal or a token is on record');
    const used = (await this.#entries<ApprovalBody>('approval')).filter(({ change }) => change === 'used').map(({ approvalId }) => approvalId);
    assert.equal(new Set(used).size, used.length, 'an approval was used twice');
    await this.#reader.close();
    await this.#parts.ledger.close();
    await this.#parts.database.close();
    await stores().remove(this.place);
  }

  async #everyPermitHasAnOutcome(): Promise<void> {
    const outcomes = Map.groupBy(await this.#entries<OutcomeBody>('outcome'), ({ actionId }) => actionId);
    for (const { actionId, decision } of await this.#entries<VerdictBody>('verdict')) {
      const [first] = outcomes.get(actionId) ?? [];
      assert.equal(first !== undefined, decision === 'allow', `${actionId} was ${decision} and has ${first === undefined ? 'no' : 'an'} outcome`);
      const taken = this.settled.get(actionId);
      if (taken !== undefined) assert.equal(first?.outcome, taken, `${actionId}: another outcome than the one that was taken`);
    }
  }
}

test(`${seeds} seeds of ${stepsPerSeed} steps leave a record that a stranger can trust`, async () => {
  const seen = new Set<string>();
  let [permits, crashes] = [0, 0];
  for (let seed = 1; seed <= seeds; seed += 1) {
    const simulation = await Simulation.begin(seed);
    try {
      for (let step = 0; step < stepsPerSeed; step += 1) await simulation.step();
      await simulation.end();
    } catch (cause) {
      throw new Error(`seed ${seed}`, { cause });
    }
    for (const code of simulation.failures) seen.add(code);
    permits += simulation.permits;
    crashes += simulation.crashes;
  }
  // The days were eventful enough to show something.
  assert.ok(permits > seeds * 10 && crashes > seeds * 2, `${permits} permits, ${crashes} crashes`);
  const rare = stores().isRemote ? [] : ['upstream_unavailable'];
  for (const code of ['statement_denied', 'approval_pending', 'approval_denied', 'ledger_unavailable', ...rare]) assert.ok(seen.has(code), `${code} never came about`);
});
